/** How fast a stream gets on: bytes and records applied a second, over the last seconds. */

/** Time over which the rate is taken, ms. */
const WINDOW_MS = 3000;

export class Rates {
  private readonly samples: { at: number; bytes: number; records: number }[] = [];
  private bytes = 0;
  private total = 0;

  /** Bytes that were applied everywhere. */
  applied(bytes: number): void {
    this.bytes += bytes;
  }

  /** Records that were mapped. */
  records(count: number): void {
    this.total += count;
  }

  /** Ten times a second or so. */
  sample(now: number): void {
    this.samples.push({ at: now, bytes: this.bytes, records: this.total });
    while (this.samples.length > 2 && now - this.samples[1].at > WINDOW_MS) this.samples.shift();
  }

  private per(count: (sample: { bytes: number; records: number }) => number): number {
    const [first] = this.samples;
    const last = this.samples.at(-1);
    if (!first || !last || last.at === first.at) return 0;
    return ((count(last) - count(first)) * 1000) / (last.at - first.at);
  }

  get bytesPerSecond(): number {
    return this.per(({ bytes }) => bytes);
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
