/**
 * A visit: another kernel runs over rows that lie in the arena of a stream, where they lie. Its instance is made over the same memory, with
 * tables of its own for each visit frame, and nothing in the arena changes. A visit frame is a number of chunks of one
 * partition; its entries come out as routed sections, as those of any frame, to be merged in the order of partitions into a kernel with a
 * memory of its own (`VisitResult`). So the answer is the same whatever Jahs hold the rows.
 */
import { VISIT_ROWS } from "../core/limits.ts";
import { KernelInstance, createMemory } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { type Bounds, type Chunk, Rows, type RowSet, type VisitField } from "../kernel/rows.ts";
import { ROUTED } from "../wire/batch.ts";
import type { Visited } from "../wire/visit.ts";
import { type Applied, Owner } from "./owner.ts";
import { VisitColumns } from "./visit-columns.ts";

export interface Visit {
  dataset: RowSet;
  /** The fields of the record that the visiting kernel takes. */
  fields: VisitField[];
  /** Partitions [from, to) that are visited; none of which is left out may have rows here. */
  from: number;
  to: number;
  /**
   * What the visiting kernel looks for: chunks in which no row lies within all bounds are passed over. Rows of the others are given to the
   * kernel as they are, so it has to leave out itself what lies beyond.
   */
  bounds?: Bounds[];
  /** How emitted records are rendered; NDJSON if not said. */
  format?: number;
}

interface VisitFrame {
  partition: number;
  index: number;
  /** Of each, the rows behind the first `from`. */
  chunks: { chunk: Chunk; from: number }[];
}

export class Visitor {
  private readonly memory: WebAssembly.Memory;
  private readonly module: WebAssembly.Module;
  private readonly rows: Rows;
  private readonly columns: VisitColumns;
  private readonly visit: Visit;
  private readonly format: number;
  /** What was there when it began, or went on, by address. */
  private readonly met = new Map<number, Chunk>();
  private frames: VisitFrame[];
  private next = 0;
  /** Rows that were there when the visit began, and dropped before it came to them. */
  dropped = 0;

  /**
   * `memory` is that of the stream's kernel, `module` the visiting kernel. The rows that are there now are visited, and none that come
   * later. Throws `column-missing` or `column-type` where a field does not fit.
   */
  constructor(memory: WebAssembly.Memory, module: WebAssembly.Module, visit: Visit) {
    this.memory = memory;
    this.module = module;
    this.rows = new Rows(memory, visit.dataset);
    this.columns = new VisitColumns(`the dataset ${visit.dataset.name}`, this.rows, visit.fields);
    this.visit = visit;
    this.frames = [...this.fresh()];
    this.format = visit.format ?? map.NDJSON;
  }

  /** Rows of the dataset that are here. */
  get count(): number {
    return this.rows.count;
  }

  /** Goes on with the rows that came since. Whether it can: not if rows are gone by now that it was to meet. */
  more(): boolean {
    const { from, to } = this.visit;
    let still = 0;
    for (let partition = from; partition < to; partition++)
      for (const { address, first } of this.rows.chunks(partition))
        if (this.met.get(address)?.first === first) still++;
    if (still < this.met.size) return false;
    this.frames = [...this.fresh()];
    this.next = 0;
    return true;
  }

  /** Frames of the rows that were not met before: chunks of each partition, as many together as a visit frame may have. */
  private *fresh(): Generator<VisitFrame> {
    const { from, to, bounds = [] } = this.visit;
    for (let partition = from; partition < to; partition++) {
      let frame: VisitFrame = { partition, index: 0, chunks: [] };
      let count = 0;
      for (const chunk of this.rows.chunks(partition)) {
        const known = this.met.get(chunk.address)?.rows ?? 0;
        this.met.set(chunk.address, chunk);
        if (known === chunk.rows || !this.rows.mayHold(chunk, bounds)) continue;
        frame.chunks.push({ chunk, from: known });
        count += chunk.rows - known;
        if (count < VISIT_ROWS) continue;
        yield frame;
        frame = { partition, index: frame.index + 1, chunks: [] };
        count = 0;
      }
      if (frame.chunks.length) yield frame;
    }
  }

  /**
   * Visits frames until there are no more, or one is done and `enough` says so; whether there were any. `take` gets each of them, with parts
   * that are views into the memory, to be used before it returns. To be called between frames of the stream; afterwards the stream's kernel
   * has to be instantiated anew over its memory, also when this throws.
   */
  step(enough: () => boolean, take: (visited: Visited) => void): boolean {
    if (this.next === this.frames.length) return false;
    const bytes = new Uint8Array(this.memory.buffer);
    const owners = bytes.slice(map.OWNERS, map.OWNERS + 256);
    bytes[map.VISITING] = 1;
    try {
      bytes.fill(0, map.OWNERS, map.OWNERS + 256);
      const kernel = new KernelInstance(this.module, this.memory);
      kernel.exports.start(this.format, COMMA);
      do {
        take(this.map(kernel, this.frames[this.next++]));
      } while (this.next < this.frames.length && !enough());
      return true;
    } finally {
      bytes[map.VISITING] = 0;
      bytes.set(owners, map.OWNERS);
    }
  }

  private map(kernel: KernelInstance, { partition, index, chunks }: VisitFrame): Visited {
    const { exports } = kernel;
    const visited: Visited = { partition, index, rows: 0, bad: 0, parts: [], emitted: [], emittedRows: 0 };
    exports.beginFrame(partition * 0x10000 + index);
    const there = new Map(this.rows.chunks(partition).map(({ address, first }) => [address, first]));
    for (const { chunk, from: known } of chunks) {
      if (there.get(chunk.address) !== chunk.first) {
        this.dropped += chunk.rows - known;
        continue;
      }
      for (let from = known; from < chunk.rows; from += this.columns.step) {
        this.columns.layOut(kernel.bytes, chunk, from, Math.min(from + this.columns.step, chunk.rows));
        let row = 0;
        while (exports.mapColumnRows(map.INPUT, row) === map.PART) {
          row = kernel.u32(map.NEXT);
          flush(kernel, visited);
          // The next part lies in the same place.
          visited.parts.push(visited.parts.pop()!.slice());
          exports.beginPart();
        }
      }
    }
    flush(kernel, visited);
    visited.rows = kernel.u32(map.ROWS_GOOD);
    visited.bad = kernel.u32(map.ROWS_BAD);
    return visited;
  }
}

/** Takes the frame's entries, where they are, and emitted records out as a part. */
function flush(kernel: KernelInstance, visited: Visited): void {
  const { exports } = kernel;
  const emitted = exports.emittedBytes();
  if (emitted) {
    visited.emittedRows += exports.emittedRows();
    visited.emitted.push(kernel.bytes.slice(map.OUTPUT, map.OUTPUT + emitted));
  }
  exports.group(1);
  const end = exports.encode(0);
  visited.parts.push(kernel.bytes.subarray(map.ENTRIES, end));
}

/** Where the entries of visit frames are merged: a kernel with a memory of its own, whose tables then hold the answer. */
export class VisitResult {
  readonly kernel: KernelInstance;
  private readonly owner: Owner;

  constructor(module: WebAssembly.Module, stateBytesMax: number, format: number = map.NDJSON) {
    this.kernel = new KernelInstance(module, createMemory(stateBytesMax));
    this.kernel.exports.start(format, COMMA);
    this.owner = new Owner(this.kernel);
  }

  /** Merges a visit frame. All of them are to come in the order of (partition, index). Answers what was emitted at the owner. */
  take({ parts }: Visited): Applied | undefined {
    return this.apply(parts, -Infinity);
  }

  /** All rows were met: windows close. */
  end(): Applied | undefined {
    return this.apply([], Infinity);
  }

  // Rows do not come in the order of time, so that event time stands still until all are there.
  private apply(parts: Uint8Array[], time: number): Applied | undefined {
    return this.owner.applyParts(parts, { kind: ROUTED, time, clock: 0 });
  }
}

const COMMA = 0x2c;
