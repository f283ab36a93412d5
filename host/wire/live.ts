/** What the Hallelu and the Jahs of its live streams say to each other, over one channel for each Jah (wire/channel.ts). */
import type { Failure, FrameDone, FrameTask, OwnerOutput, SourceSpec } from "./jah.ts";

/** Who owns which partitions from frame `start` on, and how to reach them. Never changes once made. */
export interface LiveRouting {
  id: number;
  start: number;
  /** Sorted by their partitions, which are [from, to). */
  targets: { jah: number; from: number; to: number; port: number }[];
  /** State that changes its owner before frame `start` is applied. */
  moves: { from: number; to: number; donor: number; receiver: number }[];
}

/** A frame that a Jah maps. */
export interface LiveTask {
  task: FrameTask;
  /** The source of event time that it advances. */
  clock: number;
  /** Its records do not advance the clock, which others share. */
  still?: boolean;
  /** It stopped the kernel while it was mapped: nothing of it counts, not even its time. */
  skip?: boolean;
  /** Partitions [from, to) for which it was set aside, as their owner stopped: they get its end mark and no entries. */
  voids?: [number, number][];
}

/** The partitions that a Jah owns from its start on, and the state it starts with. */
export interface ShardStart {
  from: number;
  to: number;
  /** The first frame to apply: that of the image, or 0. */
  next: number;
  /** An image to start from; it may hold more partitions. */
  image?: string;
}

export interface LiveStart {
  type: "start";
  jah: number;
  stream: string;
  /** File of the kernel's module. */
  kernel: string;
  stateBytesMax: number;
  sources: SourceSpec[];
  /** Names and types of the wanted columns, for Parquet and Arrow. */
  columns: { name: string; type: string; optional: boolean }[];
  shard?: ShardStart;
  /** Time that a frame may take, ms; and the file that says which one took longer, before the Jah is killed. */
  frameTimeoutMs: number;
  stuckFile: string;
}

/** Kinds of work in that file (core/watchdog.ts). */
export const MAPPING = 0;
export const APPLYING = 1;

export type ToLiveJah =
  | LiveStart
  | { type: "source"; source: number; spec: SourceSpec }
  | { type: "routing"; routing: LiveRouting }
  /** Another Jah ended: nothing more can be sent to it, nothing more comes from it. */
  | { type: "gone"; jah: number }
  | { type: "map"; routing: number; frames: LiveTask[] }
  | { type: "call"; id: number; method: keyof LiveMethods; argument: unknown }
  /** Nothing depends on this Jah any more. */
  | { type: "end" };

export interface Mapped {
  routing: number;
  done: FrameDone;
}

/** What a Jah did since it last told, from which its true rates come (useful time, not wall time). */
export interface Work {
  mapMs: number;
  applyMs: number;
  mappedBytes: number;
  mappedRecords: number;
  appliedFrames: number;
  /** Bytes of routed entries that wait to be applied, and of those that wait to be sent. */
  inboxBytes: number;
  outboxBytes: number;
  stateBytes: number;
  residentBytes: number;
}

export type FromLiveJah =
  | { type: "ready"; port: number; next: number }
  /** `nextClose`: when its first window is over, in event time, ms; null if none is open. */
  | { type: "did"; mapped: Mapped[]; outputs: OwnerOutput[]; next: number; nextClose: number | null }
  | { type: "work"; work: Work }
  /** State was taken in: the move of this routing is complete. */
  | { type: "imported"; routing: number }
  /** The kernel stopped on a frame while mapping it; the Jah goes on. */
  | { type: "trapped"; routing: number; frame: number; failure: Failure }
  /** The Jah cannot go on: while applying `frame`, or whatever else. It ends. */
  | { type: "failed"; failure: Failure; frame?: number }
  | { type: "answer"; id: number; value?: unknown; error?: { code: string; message: string } };

export interface LiveMethods {
  /**
   * Applies nothing from frame `at` on, until `release`; answers the lowest frame not applied when it is there. -1: from
   * now on, and answers at once, even if partitions are still to come.
   */
  hold: { argument: { at: number }; answer: { next: number } };
  release: { argument: undefined; answer: void };
  size: { argument: { table: number }; answer: { entries: number; bytes: number } };
  /** Sets the order and samples keys. */
  sample: {
    argument: { table: number; column: number; descending: boolean; most: number };
    answer: Uint8Array;
  };
  split: {
    argument: { table: number; column: number; descending: boolean; splitters: Uint8Array[] };
    answer: void;
  };
  /** This Jah's entries of a range, encoded. */
  part: { argument: { table: number; range: number }; answer: Uint8Array[] };
  /** Rows of a range: this Jah's and the others' parts. */
  render: {
    argument: { table: number; range: number; limit: number; format: number; others: Uint8Array[] };
    answer: { chunks: Uint8Array[]; rows: number };
  };
  /** The result is read: what was kept for it is given back. */
  finish: { argument: { table: number }; answer: void };
  /** The row of a key, as host/kernel/keys.ts encodes it. */
  find: { argument: { table: number; key: Uint8Array; format: number }; answer: Uint8Array };
  /** Writes the shard's image, as of the lowest frame not applied. */
  save: { argument: { path: string }; answer: { frame: number; bytes: number } };
}
