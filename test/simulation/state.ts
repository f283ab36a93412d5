/**
 * The state of a simulated Jah, where a real one has it: in the arena of its memory, some partitions to a page, so that a checkpoint is
 * several pages, of which some may be older than others. It is how many frames each partition has had, how many records, a sum that tells
 * under which version of the kernel it had each frame, and of which version it is.
 */
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import { createMemory } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { FIRST_PAGE, PAGE_BYTES } from "../../host/kernel/pages.ts";

const PARTITIONS_PER_PAGE = 64;
const PAGES = PARTITIONS / PARTITIONS_PER_PAGE;
/** Where a page has its records, behind the frames. */
const RECORDS_AT = PARTITIONS_PER_PAGE * 8;

/** Where it has the sums, and the versions. */
const SUMS_AT = PARTITIONS_PER_PAGE * 16;
const VERSIONS_AT = PARTITIONS_PER_PAGE * 24;

/** The address behind the last page. */
export const STATE_END: number = map.ARENA + PAGES * PAGE_BYTES;

/** Memories that nobody needs any more: each takes much of what can be addressed. */
const spare: WebAssembly.Memory[] = [];

function newMemory(): WebAssembly.Memory {
  const memory = createMemory(4 << 20);
  memory.grow(PAGES);
  return memory;
}

/** A memory of zeros, to be given back. */
export function borrowMemory(): WebAssembly.Memory {
  const memory = spare.pop() ?? newMemory();
  new Uint8Array(memory.buffer, map.ARENA, STATE_END - map.ARENA).fill(0);
  new Uint8Array(memory.buffer, map.DIRTY, PAGE_BYTES).fill(0);
  return memory;
}

/** Nobody uses it from here on. */
export function giveBack(memory: WebAssembly.Memory): void {
  spare.push(memory);
}

/** What a partition has had, and of which version it is. */
export interface Part {
  /** Frames; -1 if it is another's. */
  applied: number;
  records: number;
  sum: number;
  version: number;
}

export const NO_PART: Part = { applied: -1, records: 0, sum: 0, version: 0 };

/** What a frame adds to the sum of a partition that has it under a version of the kernel: sums of many are exact. */
export function frameSum(frame: number, version: number): number {
  return Math.imul(Math.imul(frame + 1, 0x9e3779b1) ^ Math.imul(version, 0x85ebca6b), 0xc2b2ae35) >>> 0;
}

export class State {
  readonly memory: WebAssembly.Memory;
  readonly arenaEnd = STATE_END;
  private readonly marks: Uint8Array;
  /** For each partition one more than the frames that it has had, or 0 where it is another's. */
  private readonly frames: Int32Array;
  private readonly counts: Float64Array;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.marks = new Uint8Array(memory.buffer, map.DIRTY + FIRST_PAGE, PAGES);
    this.frames = new Int32Array(memory.buffer, map.ARENA, (PAGES * PAGE_BYTES) / 4);
    this.counts = new Float64Array(memory.buffer, map.ARENA, (PAGES * PAGE_BYTES) / 8);
  }

  /** Frames that a partition has had; -1 if it is another's. */
  applied(p: number): number {
    return this.frames[placeOf(p) >> 2] - 1;
  }

  records(p: number): number {
    return this.counts[(placeOf(p, 8) + RECORDS_AT) >> 3];
  }

  /** The frames that it had, each as `frameSum` has it. */
  sum(p: number): number {
    return this.counts[(placeOf(p, 8) + SUMS_AT) >> 3];
  }

  version(p: number): number {
    return this.counts[(placeOf(p, 8) + VERSIONS_AT) >> 3];
  }

  /** All there is of a partition. */
  get(p: number): Part {
    return {
      applied: this.applied(p),
      records: this.records(p),
      sum: this.sum(p),
      version: this.version(p),
    };
  }

  set(p: number, { applied, records, sum, version }: Part): void {
    this.frames[placeOf(p) >> 2] = applied + 1;
    this.counts[(placeOf(p, 8) + RECORDS_AT) >> 3] = records;
    this.counts[(placeOf(p, 8) + SUMS_AT) >> 3] = sum;
    this.counts[(placeOf(p, 8) + VERSIONS_AT) >> 3] = version;
    this.marks[Math.floor(p / PARTITIONS_PER_PAGE)] = 1;
  }

  /** The partitions that are its own, which are neighbours: [from, to). */
  get range(): { from: number; to: number } {
    let from = 0;
    while (from < PARTITIONS && this.applied(from) < 0) from++;
    let to = from;
    while (to < PARTITIONS && this.applied(to) >= 0) to++;
    return { from, to };
  }
}

/** The address of a partition's number of `bytes` bytes, from the arena's start on. */
function placeOf(p: number, bytes = 4): number {
  return Math.floor(p / PARTITIONS_PER_PAGE) * PAGE_BYTES + (p % PARTITIONS_PER_PAGE) * bytes;
}
