/**
 * A stream's output: rows with dense numbers from 0, kept in a log of their own. An entry is the rows of one frame of
 * input (NDJSON lines); its head says which frame, and the number of the first row. Readers that are behind read from
 * disk, those at the end are woken.
 */
import { HallelujahError } from "../core/errors.ts";
import { OUTPUT_BYTES_KEPT } from "../core/limits.ts";
import { Log } from "./log.ts";

export interface Rows {
  /** Number of the first row. */
  from: number;
  count: number;
  /** Lines, a row each. */
  bytes: Buffer;
}

interface Head {
  frame: number;
  from: number;
}

const LF = 0x0a;

export class Outputs {
  /** The number of the next row. */
  next = 0;
  /** The last frame whose output is here; -1 if there is none. */
  lastFrame = -1;
  private readonly log: Log;
  private readonly bytesKept: number;
  /** First row of each entry, and the entry's number. */
  private starts: { row: number; entry: number }[] = [];
  private wakers = new Set<() => void>();

  private constructor(log: Log, bytesKept: number) {
    this.log = log;
    this.bytesKept = bytesKept;
  }

  static async open(folder: string, bytesKept = OUTPUT_BYTES_KEPT): Promise<Outputs> {
    const log = await Log.open(folder, { durable: false });
    const outputs = new Outputs(log, bytesKept);
    // An entry's head tells its first row; the count of its rows stands in its header.
    if (log.next > log.first) {
      const { head } = await log.read(log.first);
      let row = (JSON.parse(head!.toString()) as Head).from;
      for (let entry = log.first; entry < log.next; entry++) {
        outputs.starts.push({ row, entry });
        row += log.place(entry).records;
      }
      outputs.next = row;
      const last = await log.read(log.next - 1);
      outputs.lastFrame = (JSON.parse(last.head!.toString()) as Head).frame;
    }
    return outputs;
  }

  /** The lowest row that is kept. */
  get first(): number {
    return this.starts[0]?.row ?? this.next;
  }

  /** Adds the rows of a frame; to be called in the order of frames, one at a time. */
  async append(bytes: Buffer, count: number, frame: number): Promise<void> {
    if (frame <= this.lastFrame) return;
    const head = Buffer.from(JSON.stringify({ frame, from: this.next } satisfies Head));
    const { number } = await this.log.append({ kind: 0, head, body: [bytes], records: count });
    this.starts.push({ row: this.next, entry: number });
    this.next += count;
    this.lastFrame = frame;
    for (const wake of this.wakers) wake();
    if (this.log.bytes > this.bytesKept) await this.trim();
  }

  /** Resolves when all that was appended would survive a loss of power. Rejects with `disk-full` or `log-unwritable`. */
  sync(): Promise<void> {
    return this.log.sync();
  }

  private async trim(): Promise<void> {
    await this.log.trim(this.log.next - Math.ceil((this.log.next - this.log.first) / 4));
    const { first } = this.log;
    this.starts = this.starts.filter(({ entry }) => entry >= first);
  }

  /** Rows from number `from` on, which may be yet to come, until `signal`. Throws `output-trimmed`. */
  read(from: number, signal: AbortSignal): AsyncGenerator<Rows> {
    if (from < this.first) {
      const message = `row ${from} is not kept any more; the first that is kept has number ${this.first}`;
      throw new HallelujahError("output-trimmed", message);
    }
    return this.follow(from, signal);
  }

  private async *follow(from: number, signal: AbortSignal): AsyncGenerator<Rows> {
    for (let next = from; !signal.aborted; ) {
      if (next >= this.next) {
        await this.grown(signal);
        continue;
      }
      const { row, entry } = this.entryOf(next);
      const { body } = await this.log.read(entry);
      const count = this.log.place(entry).records;
      yield { from: next, count: row + count - next, bytes: behindLines(body, next - row) };
      next = row + count;
    }
  }

  private entryOf(row: number): { row: number; entry: number } {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle].row <= row) low = middle;
      else high = middle - 1;
    }
    return this.starts[low];
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

/** The bytes behind so many lines. */
function behindLines(bytes: Buffer, lines: number): Buffer {
  let at = 0;
  for (let i = 0; i < lines; i++) at = bytes.indexOf(LF, at) + 1;
  return at ? bytes.subarray(at) : bytes;
}
