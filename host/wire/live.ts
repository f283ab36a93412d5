/** What the Hallelu and the Jahs of its live streams say to each other, over one channel for each Jah (wire/channel.ts). */
import type { Failure, FrameDone, FrameTask, SourceSpec } from "./jah.ts";

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
  /** It may be the one that stopped a Jah: the Hallelu is told before it is mapped. */
  careful?: boolean;
  /** Partitions [from, to) for which the frame was set aside: they get its end mark and no entries. */
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
  /** Folder for images. */
  folder: string;
}

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

/** Rows that an owner emitted while it applied a frame: by stage, to be joined with those of the other owners. */
export interface OwnerOutput {
  frame: number;
  from: number;
  to: number;
  emitted: Uint8Array[];
  emittedRows: number;
  late: number;
}

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
  | { type: "did"; mapped: Mapped[]; outputs: OwnerOutput[]; next: number }
  | { type: "work"; work: Work }
  /** State was taken in: the move of this routing is complete. */
  | { type: "imported"; routing: number }
  /** The kernel stopped on a frame while mapping it; the Jah goes on. */
  | { type: "trapped"; routing: number; frame: number; failure: Failure }
  /** The Jah cannot go on: while applying `frame`, or whatever else. It ends. */
  | { type: "failed"; failure: Failure; frame?: number }
  /** A frame is in work for long; so that the Hallelu knows which one, should it never end. */
  | { type: "at"; routing: number; frame: number }
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
