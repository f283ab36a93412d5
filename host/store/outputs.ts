/**
 * A stream's output: rows with dense numbers from 0, kept in a log of their own. An entry is the rows of one frame of
 * input (NDJSON lines); its head says which frame, and the number of the first row. Readers that are behind read from
 * disk, those at the end are woken.
 */
import { HallelujahError } from "../core/errors.ts";
import { OUTPUT_BYTES_KEPT } from "../core/limits.ts";
import { type Digest, Log } from "./log.ts";
import { type StreamLog, VOID_KIND } from "./stream-log.ts";

export interface Rows {
  /** Number of the first row. */
  from: number;
  count: number;
  /** Lines, a row each. */
  bytes: Buffer;
}

/** Of an entry: the frame, its first row, and the row behind its last. */
interface Head {
  frame: number;
  from: number;
  next: number;
}

const LF = 0x0a;

/** Where the rows end, as the last entry says. */
class LastRow implements Digest {
  head: Head | undefined;

  add(_number: number, _kind: number, head: Buffer | undefined): void {
    this.head = parseHead(head);
  }

  save(): Buffer {
    return Buffer.from(JSON.stringify(this.head ?? null));
  }

  load(saved: Buffer): void {
    this.head = (JSON.parse(saved.toString()) as Head | null) ?? undefined;
  }
}

export class Outputs {
  /** The lowest row that is kept, and the next one. */
  first: number;
  next: number;
  /** The last frame whose output is here; -1 if there is none. */
  lastFrame: number;
  private readonly log: StreamLog;
  private readonly bytesKept: number;
  private wakers = new Set<() => void>();
  /** What readers are told behind the last row, where no more will come. */
  private ended: Error | undefined;

  private constructor(log: StreamLog, bytesKept: number, first: number, last: Head | undefined) {
    this.log = log;
    this.bytesKept = bytesKept;
    this.first = first;
    this.next = last?.next ?? 0;
    this.lastFrame = last?.frame ?? -1;
  }

  /** Those in a folder of this host. Rejects with `log-damaged` or `log-version`. */
  static open(folder: string, bytesKept = OUTPUT_BYTES_KEPT, segmentBytes?: number): Promise<Outputs> {
    const options = segmentBytes === undefined ? {} : { segmentBytes };
    return Outputs.over((digest) => Log.open(folder, { ...options, durable: false, digest }), bytesKept);
  }

  /** Those in a log, which `open` opens. */
  static async over(
    open: (digest: Digest) => Promise<StreamLog>,
    bytesKept = OUTPUT_BYTES_KEPT,
  ): Promise<Outputs> {
    const last = new LastRow();
    const log = await open(last);
    return new Outputs(log, bytesKept, await firstRow(log, last.head?.next ?? 0), last.head);
  }

  /** Adds the rows of a frame; to be called in the order of frames, one at a time. */
  async append(bytes: Buffer, count: number, frame: number): Promise<void> {
    if (frame <= this.lastFrame) return;
    const next = this.next + count;
    const head = Buffer.from(JSON.stringify({ frame, from: this.next, next } satisfies Head));
    await this.log.append({ kind: 0, head, body: [bytes], records: count });
    this.next = next;
    this.lastFrame = frame;
    for (const wake of this.wakers) wake();
    if (this.log.bytes > this.bytesKept) await this.trim();
  }

  /** There will be no more rows: who reads beyond the last is told why. */
  end(reason: Error): void {
    this.ended = reason;
    for (const wake of this.wakers) wake();
  }

  /** Resolves when all that was appended would survive a loss of power. Rejects with `disk-full` or `log-unwritable`. */
  sync(): Promise<void> {
    return this.log.sync();
  }

  private async trim(): Promise<void> {
    await this.log.trim(this.log.next - Math.ceil((this.log.next - this.log.first) / 4));
    this.first = await firstRow(this.log, this.next);
  }

  /** Rows from number `from` on, which may be yet to come, until `signal`. Throws `output-trimmed`, or why there are no more. */
  read(from: number, signal: AbortSignal): AsyncGenerator<Rows> {
    if (from < this.first) throw this.trimmed(from);
    if (this.ended && from >= this.next) throw this.ended;
    return this.follow(from, signal);
  }

  private trimmed(row: number): HallelujahError {
    const message = `row ${row} is not kept any more; the first that is kept has number ${this.first}`;
    return new HallelujahError("output-trimmed", message);
  }

  private async *follow(from: number, signal: AbortSignal): AsyncGenerator<Rows> {
    let entry: number | undefined;
    for (let next = from; !signal.aborted; ) {
      if (next >= this.next) {
        if (this.ended) throw this.ended;
        await this.grown(signal);
        continue;
      }
      entry ??= await this.entryOf(next);
      const { kind, head, body } = await this.readEntry(entry++, next);
      if (kind === VOID_KIND) continue;
      const { from: row, next: end } = parseHead(head);
      yield { from: next, count: end - next, bytes: behindLines(body, next - row) };
      next = end;
    }
  }

  /** It may be trimmed at any time, before it is read and while. */
  private async readEntry(entry: number, row: number): ReturnType<StreamLog["read"]> {
    try {
      return await this.log.read(entry);
    } catch (error) {
      throw entry < this.log.first ? this.trimmed(row) : error;
    }
  }

  /** The entry that holds a row. */
  private async entryOf(row: number): Promise<number> {
    let low = this.log.first;
    let high = this.log.next - 1;
    while (low < high) {
      const middle = Math.max(this.log.first, (low + high + 1) >> 1);
      // A number that holds nothing goes with the entry behind it.
      let at = middle;
      let read = await this.readEntry(at, row);
      while (read.kind === VOID_KIND && at < high) read = await this.readEntry(++at, row);
      if (read.kind !== VOID_KIND && parseHead(read.head).from <= row) low = at;
      else high = middle - 1;
    }
    return low;
  }

  private grown(signal: AbortSignal): Promise<void> {
    return new Promise((done) => {
      const wake = () => {
        this.wakers.delete(wake);
        signal.removeEventListener("abort", wake);
        done();
      };
      this.wakers.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  async close(): Promise<void> {
    await this.log.close();
  }
}

/** The lowest row that a log has; `next` if it has none. */
async function firstRow(log: StreamLog, next: number): Promise<number> {
  for (let entry = log.first; entry < log.next; entry++) {
    const { kind, head } = await log.read(entry);
    if (kind !== VOID_KIND) return parseHead(head).from;
  }
  return next;
}

function parseHead(head: Buffer | undefined): Head {
  return JSON.parse(head!.toString()) as Head;
}

/** The bytes behind so many lines. */
function behindLines(bytes: Buffer, lines: number): Buffer {
  let at = 0;
  for (let i = 0; i < lines; i++) at = bytes.indexOf(LF, at) + 1;
  return at ? bytes.subarray(at) : bytes;
}
