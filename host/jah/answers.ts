/**
 * What a Jah answers of its tables, between frames: the row of a key, or its part of an ordered result, range by range as
 * in a run (host/jah/results.ts). The Hallelu holds the shards still meanwhile, so that all ranges are of one frame.
 */
import { HallelujahError } from "../core/errors.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import type { LiveMethods } from "../wire/live.ts";

/** Entries in one encoded part: a part must fit the input window. */
const ENTRIES_PER_PART = 8192;

type Argument<M extends keyof LiveMethods> = LiveMethods[M]["argument"];

export class Answers {
  private readonly kernel: () => KernelInstance;
  /** Has the split that is under way. */
  private splitBy: KernelInstance | undefined;

  constructor(kernel: () => KernelInstance) {
    this.kernel = kernel;
  }

  /** Whether a table is being read, which takes room in the arena meanwhile. */
  get isReading(): boolean {
    return this.splitBy === this.kernel();
  }

  perform(method: keyof LiveMethods, argument: unknown): unknown {
    switch (method) {
      case "size":
        return this.size(argument as Argument<"size">);
      case "find":
        return this.find(argument as Argument<"find">);
      case "sample":
        return this.sample(argument as Argument<"sample">);
      case "split":
        return this.split(argument as Argument<"split">);
      case "part":
        return this.part(argument as Argument<"part">);
      case "render":
        return this.render(argument as Argument<"render">);
      case "finish":
        return this.finish(argument as Argument<"finish">);
      default:
        throw new TypeError(`no method ${method}`);
    }
  }

  private finish({ table }: Argument<"finish">): void {
    this.kernel().exports.splitEnd(table);
    this.splitBy = undefined;
  }

  private size({ table }: Argument<"size">): LiveMethods["size"]["answer"] {
    const { exports, arenaEnd } = this.kernel();
    return { entries: exports.size(table), bytes: arenaEnd - map.ARENA };
  }

  private find({ table, key, format }: Argument<"find">): Uint8Array {
    const kernel = this.kernel();
    kernel.place(key);
    kernel.exports.renderAs(format, COMMA);
    if (!kernel.exports.find(table, map.INPUT, key.length)) return new Uint8Array(0);
    return kernel.bytes.slice(map.OUTPUT, kernel.exports.renderedEnd());
  }

  private sample({ table, column, descending, most }: Argument<"sample">): Uint8Array {
    const kernel = this.kernel();
    kernel.exports.orderBy(table, column, descending);
    return kernel.bytes.slice(map.OUTPUT, kernel.exports.sample(table, most));
  }

  private split({ table, column, descending, splitters }: Argument<"split">): void {
    const kernel = this.kernel();
    kernel.exports.orderBy(table, column, descending);
    kernel.placeSplitters(splitters);
    this.splitBy = kernel;
    kernel.exports.split(table, map.INPUT, splitters.length);
    while (kernel.exports.splitStep(table));
  }

  /** A kernel that stops in a frame is instantiated anew, and knows of no split. */
  private splitKernel(): KernelInstance {
    const kernel = this.kernel();
    if (kernel === this.splitBy) return kernel;
    throw new HallelujahError("shard-lost", "a frame stopped the kernel while this was read; ask again");
  }

  private part({ table, range }: Argument<"part">): Uint8Array[] {
    const kernel = this.splitKernel();
    const size = kernel.exports.rangeSize(table, range);
    const parts: Uint8Array[] = [];
    for (let from = 0; from < size; from += ENTRIES_PER_PART) {
      const end = kernel.exports.encodeRange(table, range, from, Math.min(from + ENTRIES_PER_PART, size));
      parts.push(kernel.bytes.slice(map.OUTPUT, end));
    }
    return parts;
  }

  private render({
    table,
    range,
    limit,
    format,
    others,
  }: Argument<"render">): LiveMethods["render"]["answer"] {
    const kernel = this.splitKernel();
    const { exports } = kernel;
    exports.beginPart();
    for (const part of others) {
      exports.adopt(map.INPUT, kernel.place(part));
    }
    const rows = Math.min(exports.sortRange(table, range), limit);
    exports.renderAs(format, COMMA);
    const chunks: Uint8Array[] = [];
    for (let row = 0; row < rows; ) {
      row = exports.render(table, row, rows);
      chunks.push(kernel.bytes.slice(map.OUTPUT, exports.renderedEnd()));
    }
    return { chunks, rows };
  }
}

const COMMA = 0x2c;
