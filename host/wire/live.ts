/** What the Hallelu and the Jahs of its live streams say to each other, over one channel for each Jah (wire/channel.ts). */
import type { Decoded, KeepDecoded } from "./decoded.ts";
import type { StateFit } from "./fit.ts";
import type { VisitMethods } from "./visit.ts";
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
  /** The source of event time that it advances; NO_CLOCK if none. */
  clock: number;
  /** Its records do not advance the clock, which others share. */
  still?: boolean;
  /** It stopped the kernel while it was mapped: nothing of it counts, not even its time. */
  skip?: boolean;
  /** Partitions [from, to) for which it was set aside, as their owner stopped: they get its end mark and no entries. */
  voids?: [number, number][];
  /**
   * It was set aside for these partitions [from, to) while their owners applied it, and comes again for them alone: the others have its
   * records, and what was emitted and counted while it was mapped has been.
   */
  only?: [number, number][];
  /** Others want what is decoded of it. */
  keep?: KeepDecoded;
  /** Another Jah has decoded it. */
  decoded?: Decoded;
}

/** What the Hallelu keeps in each checkpoint of a shard, beside the state: the stream as it stood at its frame. */
export interface Standing {
  /** Records of all frames below the checkpoint's. */
  counts: { records: number; bad: number; late: number };
  /** Event time (hallelu/event-time.ts). */
  clocks?: [clock: number, time: number | null, at: number, ended: boolean][];
}

/** A shard on disk: its folder, and the partitions [from, to) that count of what is in it. */
export interface ShardOnDisk {
  store: string;
  from: number;
  to: number;
}

/** A shard that was read back. */
export interface Restored extends ShardOnDisk {
  /** The lowest frame that is not in its state, and that of the checkpoint before it, if there is one. */
  frame: number;
  before?: number;
  /** What its checkpoint says; left out if it has none, as it was never saved. */
  checkpoint?: {
    standing: Standing;
    /** Where the last frame of each source ended. */
    places: [number, number][];
  };
  /** Why a newer one could not be used. */
  damage?: string;
}

/** A version of the stream's kernel, for the frames from `from` on, up to those of the next one. */
export interface LiveVersion {
  version: number;
  from: number;
  /** File of its module. */
  kernel: string;
  /** How the state of the version before becomes that of this one. */
  fit: StateFit;
  /** The stream's sources by number, with this version's plan of their columns. */
  sources: SourceSpec[];
  /** Names and types of the wanted columns, for Parquet and Arrow. */
  columns: { name: string; type: string; optional: boolean }[];
}

/** Who takes the checkpoints of a shard elsewhere, and where to: see `ReplicatedStore.replicate`. */
export interface ReplicaStart {
  /** File of the module. */
  module: string;
  target: object;
}

export interface LiveStart {
  type: "start";
  jah: number;
  stream: string;
  /** Of all frames that may have to be mapped or applied, ascending. */
  versions: LiveVersion[];
  /** The last one that will not be rolled back: nothing is saved that holds the work of a later one. */
  confirmed: number;
  /** The first frame of a shard that has no checkpoint; 0 if it is left out. */
  begin?: number;
  /** Clocks of event time that are waited for in such a shard from there on. */
  open?: number[];
  stateBytesMax: number;
  /** Where a persistent Jah that owns nothing yet will keep its state; a transient one has none. */
  store?: string;
  /**
   * Neighbours, sorted: the Jah owns all their partitions from its start on. Its state is that of the one whose frame is lowest,
   * in whose folder it is kept; those of the others come to it when it is at their frames. Folders may hold more.
   */
  shards?: ShardOnDisk[];
  /** Of each folder above, if its checkpoints are taken elsewhere. */
  replicas?: Record<string, ReplicaStart>;
  /** Time that a frame may take, ms; and the file that says which one took longer, before the Jah is killed. */
  frameTimeoutMs: number;
  stuckFile: string;
}

/** Kinds of work in that file (core/watchdog.ts). */
export const MAPPING = 0;
export const APPLYING = 1;
export const VISITING = 2;

export type ToLiveJah =
  | LiveStart
  /** Another source, with the plan of each version. */
  | { type: "source"; source: number; specs: { version: number; spec: SourceSpec }[] }
  /** Another kernel takes over at its frame. */
  | { type: "version"; version: LiveVersion }
  | { type: "confirmed"; version: number }
  | { type: "routing"; routing: LiveRouting }
  /** Another Jah ended: nothing more can be sent to it, nothing more comes from it. */
  | { type: "gone"; jah: number }
  | { type: "map"; routing: number; frames: LiveTask[] }
  | { type: "call"; id: number; method: keyof LiveMethods; argument: unknown }
  /** The state is to be saved as of the next moment that allows it. */
  | { type: "checkpoint" }
  /** The checkpoint that was prepared may be made durable. */
  | { type: "commit"; standing: Standing }
  /** Nothing depends on this Jah any more. */
  | { type: "end" };

export interface Mapped {
  routing: number;
  done: FrameDone;
  /** What was kept of what was decoded: by which attempt, and bytes of its file. */
  kept?: { id: number; bytes: number };
  /** Its records came decoded. */
  cameDecoded?: true;
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
  /**
   * `version`: of the kernel whose its state is. `restored`: its shards by their frames, of which the first is `next`; of those that own
   * nothing yet there are none.
   */
  | { type: "ready"; port: number; next: number; version: number; restored: Restored[] }
  /** `nextClose`: when its first window is over, in event time, ms; null if none is open. */
  | { type: "did"; mapped: Mapped[]; outputs: OwnerOutput[]; next: number; nextClose: number | null }
  | { type: "work"; work: Work }
  /** The pages of a checkpoint are written, but not durable; `frame` is the lowest that is not in it. */
  | { type: "prepared"; frame: number }
  /** It is durable; the one before it, if any, is kept as well. */
  | { type: "saved"; frame: number; before?: number; bytes: number; ms: number }
  /** The checkpoint of this frame, of partitions [from, to) in `store`, is kept elsewhere, too, and so is the one of frame `before`. */
  | {
      type: "replicated";
      store: string;
      from: number;
      to: number;
      frame: number;
      before?: number;
      bytes: number;
      ms: number;
    }
  /** It does not get there; unless `isOver`, it is tried again. */
  | { type: "unreplicated"; code: string; message: string; isOver: boolean }
  /** It could not be made, and is tried again; nothing is lost. */
  | { type: "unsaved"; failure: Failure }
  /** State was taken in: the move of this routing is complete. */
  | { type: "imported"; routing: number }
  /** The state here is that of this version of the kernel; time since the last frame was applied, ms. */
  | { type: "switched"; version: number; idleMs: number }
  /** All its shards are one. */
  | { type: "gathered" }
  /** The kernel stopped on a frame while mapping it; the Jah goes on. */
  | { type: "trapped"; routing: number; frame: number; failure: Failure }
  /**
   * The Jah cannot go on: while applying `frame`, or mapping one in the middle of a move of its state, as it cannot read the shard in `store`, or
   * whatever else. It ends.
   */
  | {
      type: "failed";
      failure: Failure;
      frame?: number;
      mapping?: { routing: number; frame: number };
      store?: string;
    }
  | {
      type: "answer";
      id: number;
      value?: unknown;
      error?: { code: string; message: string; stack?: string };
    };

export interface LiveMethods extends VisitMethods {
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
  /** Compiles the module in a file, beside frames, for a version that is to come; answers when that is over, however it went. */
  compile: { argument: { kernel: string }; answer: void };
  /** Makes a checkpoint as of the lowest frame not applied, unless there is one; answers when it is durable. */
  save: { argument: undefined; answer: { frame: number } };
}
