/**
 * Results in order, from Jahs that each hold a hash share of the keys: every Jah splits its entries into the same
 * ranges of the order and sends each range to one of them, which sorts and renders it.
 */
import { writeFully } from "../core/write.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import type { Peers } from "../shuffle/peers.ts";
import { type Batch, encodeBatch, partsOf, RANGE } from "../wire/batch.ts";
import type { JahMethods } from "../wire/jah.ts";

/** Entries encoded in one call: they must fit the output window. */
const ENTRIES_PER_PART = 4096;

type Handlers = {
  [M in keyof JahMethods]: (
    argument: JahMethods[M]["argument"],
  ) => JahMethods[M]["answer"] | Promise<JahMethods[M]["answer"]>;
};

interface Rendered {
  chunks: Uint8Array[];
  rows: number;
}

export class Results implements Handlers {
  private readonly kernel: KernelInstance;
  private readonly peers: Peers;
  private readonly self: number;
  private readonly jahs: number;
  private readonly writeRows: boolean;
  private readonly format: number;
  private readonly delimiter: number;
  private readonly arrived = new Map<string, { batches: Batch[]; wake?: () => void }>();
  private readonly rendered = new Map<number, Rendered>();
  private turn: Promise<unknown> = Promise.resolve();

  constructor(
    kernel: KernelInstance,
    peers: Peers,
    job: { jah: number; jahs: number; writeRows: boolean; format: number; delimiter: number },
  ) {
    this.kernel = kernel;
    this.peers = peers;
    this.self = job.jah;
    this.jahs = job.jahs;
    this.writeRows = job.writeRows;
    this.format = job.format;
    this.delimiter = job.delimiter;
  }

  sizes({ tables }: { tables: number }) {
    const entries = Array.from({ length: tables }, (_, table) => this.kernel.exports.size(table));
    return { entries, bytes: this.kernel.bytes.length - map.ARENA };
  }

  order({ table, column, descending }: { table: number; column: number; descending: boolean }) {
    this.kernel.exports.orderBy(table, column, descending);
  }

  sample({ table, most }: { table: number; most: number }) {
    const end = this.kernel.exports.sample(table, most);
    return this.kernel.bytes.slice(map.OUTPUT, end);
  }

  split({ table, splitters }: { table: number; splitters: Uint8Array[] }) {
    this.kernel.placeSplitters(splitters);
    this.kernel.exports.split(table, map.INPUT, splitters.length);
    while (this.kernel.exports.splitStep(table));
  }

  /** Sends this Jah's part of a range, or gathers all parts and renders them. */
  async range({
    table,
    range,
    owner,
    limit,
  }: {
    table: number;
    range: number;
    owner: number;
    limit: number;
  }) {
    if (owner !== this.self) {
      this.peers.send(
        owner,
        encodeBatch(
          { kind: RANGE, frame: range, source: table, start: 0, end: 0, time: -Infinity, clock: 0 },
          this.encode(table, range),
        ),
      );
      return { rows: 0 };
    }
    const others = await this.others(`${table}/${range}`);
    // One range at a time uses the frame heap and the windows.
    const work = this.turn.then(() => this.render(table, range, others, limit));
    this.turn = work.catch(() => {});
    return work;
  }

  private encode(table: number, range: number): Uint8Array[] {
    const { exports } = this.kernel;
    const size = exports.rangeSize(table, range);
    const parts: Uint8Array[] = [];
    for (let from = 0; from < size; from += ENTRIES_PER_PART) {
      const end = exports.encodeRange(table, range, from, Math.min(from + ENTRIES_PER_PART, size));
      parts.push(this.kernel.bytes.slice(map.OUTPUT, end));
    }
    return parts;
  }

  /** A part of a range arrived from another Jah. */
  receive(batch: Batch): void {
    const waiting = this.waitingFor(`${batch.source}/${batch.frame}`);
    waiting.batches.push(batch);
    if (waiting.batches.length === this.jahs - 1) waiting.wake?.();
  }

  private waitingFor(key: string): { batches: Batch[]; wake?: () => void } {
    let waiting = this.arrived.get(key);
    if (!waiting) this.arrived.set(key, (waiting = { batches: [] }));
    return waiting;
  }

  private async others(key: string): Promise<Batch[]> {
    const waiting = this.waitingFor(key);
    if (waiting.batches.length < this.jahs - 1) {
      await new Promise<void>((wake) => {
        waiting.wake = wake;
      });
    }
    this.arrived.delete(key);
    return waiting.batches;
  }

  private render(table: number, range: number, others: Batch[], limit: number): { rows: number } {
    const { exports } = this.kernel;
    exports.beginPart();
    for (const batch of others) {
      for (const part of partsOf(batch.payload)) {
        exports.adopt(map.INPUT, this.kernel.place(part));
      }
    }
    const rows = Math.min(exports.sortRange(table, range), limit);
    exports.renderAs(this.format, this.delimiter);
    const chunks: Uint8Array[] = [];
    for (let row = 0; row < rows; ) {
      row = exports.render(table, row, rows);
      chunks.push(this.kernel.bytes.slice(map.OUTPUT, exports.renderedEnd()));
    }
    this.rendered.set(range, { chunks, rows });
    return { rows };
  }

  async write({ range, first }: { range: number; first: boolean }) {
    const { chunks } = this.rendered.get(range)!;
    this.rendered.delete(range);
    // In an array, each row brings the comma before it; the very first has none.
    if (first && this.format === map.JSON_ARRAY && chunks.length) chunks[0] = chunks[0].subarray(1);
    if (!this.writeRows) return { bytes: chunks };
    for (const chunk of chunks) await writeFully(1, chunk);
    return { bytes: [] };
  }
}
