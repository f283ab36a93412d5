/** How fast a stream gets on: bytes and records that are mapped and applied a second, over the last seconds. */

/** Time over which the rate is taken, ms. */
const WINDOW_MS = 3000;

/** What was done in all, up to a time. */
interface Sample {
  at: number;
  bytes: number;
  mappedBytes: number;
  records: number;
}

export class Rates {
  private readonly samples: Sample[] = [];
  private bytes = 0;
  private mappedBytes = 0;
  private total = 0;

  /** Bytes that were applied everywhere. */
  applied(bytes: number): void {
    this.bytes += bytes;
  }

  /** Records that were mapped, and their bytes. */
  mapped(records: number, bytes: number): void {
    this.total += records;
    this.mappedBytes += bytes;
  }

  /** Ten times a second or so. */
  sample(now: number): void {
    this.samples.push({ at: now, bytes: this.bytes, mappedBytes: this.mappedBytes, records: this.total });
    while (this.samples.length > 2 && now - this.samples[1].at > WINDOW_MS) this.samples.shift();
  }

  private per(count: (sample: Sample) => number): number {
    const [first] = this.samples;
    const last = this.samples.at(-1);
    if (!first || !last || last.at === first.at) return 0;
    return ((count(last) - count(first)) * 1000) / (last.at - first.at);
  }

  get bytesPerSecond(): number {
    return this.per(({ bytes }) => bytes);
  }

  /**
   * Bytes a second for which all was done that there is to do. Applying may be behind for a while, and then make up for it
   * faster than could go on, as the mapping was done before; or mapping may run ahead.
   */
  get throughput(): number {
    return Math.min(
      this.bytesPerSecond,
      this.per(({ mappedBytes }) => mappedBytes),
    );
  }

  get recordsPerSecond(): number {
    return this.per(({ records }) => records);
  }

  /** Time that so many bytes take at the present rate, s; Infinity if nothing is done, 0 for none. */
  secondsFor(bytes: number): number {
    if (!bytes) return 0;
    const rate = this.bytesPerSecond;
    return rate ? bytes / rate : Infinity;
  }

  /** Records in so many bytes, as they were so far. */
  recordsIn(bytes: number): number {
    return this.bytes ? Math.round((bytes * this.total) / this.bytes) : 0;
  }
}
