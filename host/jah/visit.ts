/**
 * A visit: another kernel runs over rows that lie in the arena of a stream, where they lie: those of a dataset, or the entries of a table. Its instance is made over the same memory, with
 * tables of its own for each visit frame, and nothing in the arena changes. A visit frame is a part of one
 * partition; its entries come out as routed sections, as those of any frame, to be merged in the order of partitions into a kernel with a
 * memory of its own (`VisitResult`). So the answer is the same whatever Jahs hold the rows.
 */
import { KernelInstance, createMemory } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { clearDirty } from "../kernel/pages.ts";
import type { Bounds, RowSet, VisitField } from "../kernel/rows.ts";
import type { TableSet } from "../kernel/table-columns.ts";
import { ROUTED } from "../wire/batch.ts";
import type { Visited } from "../wire/visit.ts";
import { type Applied, Owner } from "./owner.ts";
import { RowsSupply } from "./visit-rows.ts";
import type { VisitFrame, VisitSupply } from "./visit-supply.ts";
import { TableSupply } from "./visit-table.ts";

export interface Visit {
  /** What is visited. */
  over: { dataset: RowSet } | { table: TableSet };
  /** The fields of the record that the visiting kernel takes. */
  fields: VisitField[];
  /** Partitions [from, to) that are visited; none of which is left out may have rows here. */
  from: number;
  to: number;
  /**
   * What the visiting kernel looks for: chunks of a dataset in which no row lies within all bounds are passed over. Rows of the others are
   * given to the kernel as they are, so it has to leave out itself what lies beyond.
   */
  bounds?: Bounds[];
  /** How emitted records are rendered; NDJSON if not said. */
  format?: number;
}

export class Visitor {
  private readonly memory: WebAssembly.Memory;
  private readonly module: WebAssembly.Module;
  private readonly supply: VisitSupply;
  private readonly format: number;

  /**
   * `memory` is that of the stream's kernel, `module` the visiting kernel. Of a dataset the rows that are there now are visited, and none
   * that come later; of a table each partition as it is when its turn comes. Throws `column-missing`, `column-type` or `column-unsupported`
   * where a field does not fit.
   */
  constructor(memory: WebAssembly.Memory, module: WebAssembly.Module, visit: Visit) {
    const { over, fields, from, to, bounds, format = map.NDJSON } = visit;
    this.memory = memory;
    this.module = module;
    this.supply =
      "table" in over
        ? new TableSupply(memory, over.table, fields, from, to)
        : new RowsSupply(memory, over.dataset, fields, from, to, bounds);
    this.format = format;
  }

  /** Rows that are here. */
  get count(): number {
    return this.supply.count;
  }

  /** Rows that were there when the visit began, and were dropped before it came to them. */
  get dropped(): number {
    return this.supply.dropped;
  }

  /** Goes on with the rows that came since. Whether it can: not if rows are gone by now, or changed, that it has met. */
  more(): boolean {
    return this.supply.more();
  }

  /**
   * Visits frames until there are no more, or one is done and `enough` says so; whether there were any. `take` gets each of them, with parts
   * that are views into the memory, to be used before it returns. To be called between frames of the stream; afterwards the stream's kernel
   * has to be instantiated anew over its memory, also when this throws.
   */
  step(enough: () => boolean, take: (visited: Visited) => void): boolean {
    const { supply } = this;
    if (!supply.find(enough)) return true;
    let frame = supply.next();
    if (!frame) return false;
    const bytes = new Uint8Array(this.memory.buffer);
    const owners = bytes.slice(map.OWNERS, map.OWNERS + 256);
    bytes[map.VISITING] = 1;
    try {
      bytes.fill(0, map.OWNERS, map.OWNERS + 256);
      const kernel = new KernelInstance(this.module, this.memory);
      kernel.exports.start(this.format, COMMA);
      while (frame) {
        take(mapped(kernel, frame));
        frame = enough() && !supply.isFleeting ? undefined : supply.next();
      }
      return true;
    } finally {
      bytes[map.VISITING] = 0;
      bytes.set(owners, map.OWNERS);
    }
  }
}

function mapped(kernel: KernelInstance, { partition, index, layOut }: VisitFrame): Visited {
  const { exports } = kernel;
  const visited: Visited = { partition, index, rows: 0, bad: 0, parts: [], emitted: [], emittedRows: 0 };
  exports.beginFrame(partition * 0x10000 + index);
  const nextPart = () => {
    flush(kernel, visited);
    // The next part lies in the same place.
    visited.parts.push(visited.parts.pop()!.slice());
    exports.beginPart();
  };
  for (const hasTexts of layOut()) {
    let row = 0;
    while (exports.mapColumnRows(map.INPUT, row) === map.PART) {
      row = kernel.u32(map.NEXT);
      nextPart();
    }
    // Keys of tables may lie in the window.
    if (hasTexts) nextPart();
  }
  flush(kernel, visited);
  visited.rows = kernel.u32(map.ROWS_GOOD);
  visited.bad = kernel.u32(map.ROWS_BAD);
  return visited;
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

  /** `memory` is new, or was emptied. */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, format: number = map.NDJSON) {
    this.kernel = new KernelInstance(module, memory);
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

/**
 * Memories for results. One that is given back serves again: a new one counts with the whole of the drawn map, for which V8
 * collects all garbage, visit after visit.
 */
export class VisitMemories {
  private readonly stateBytesMax: number;
  private spare: WebAssembly.Memory | undefined;

  constructor(stateBytesMax: number) {
    this.stateBytesMax = stateBytesMax;
  }

  take(): WebAssembly.Memory {
    const { spare } = this;
    this.spare = undefined;
    return spare ?? createMemory(this.stateBytesMax);
  }

  /** No kernel works in it any more. */
  giveBack({ memory, arenaEnd }: KernelInstance): void {
    if (arenaEnd - map.ARENA > SPARE_BYTES_MAX) return;
    new Uint8Array(memory.buffer).fill(0, map.ARENA, arenaEnd);
    clearDirty(memory);
    this.spare = memory;
  }
}

/** State of a result whose memory is kept: emptying a larger one takes longer than a new one. */
const SPARE_BYTES_MAX = 32 << 20;

const COMMA = 0x2c;
