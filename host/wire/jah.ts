/** What the main job and its Jahs say to each other, over the channel of a forked process. */

/** How the bytes of a source become records. */
export type SourceFormat = "csv" | "ndjson" | "lines" | "parquet" | "arrow";

/** A source as a Jah needs it. Frames of sources that only the main job can read come with their bytes. */
export interface SourceSpec {
  /** File to read ranges or row groups from; undefined where frames carry their bytes. */
  path?: string;
  format: SourceFormat;
  /** Bytes of the file. */
  size: number;
  /** Where the first record starts, behind a byte-order mark and the header line. */
  dataStart: number;
  /** CSV: the byte between fields. */
  delimiter: number;
  /** CSV: pairs of columns to pass over and the field that follows; see PLAN in assembly/abi.ts. */
  plan: number[];
}

export type FrameTask =
  /** Records that start in bytes [index * frameBytes, (index + 1) * frameBytes) of the source. */
  | {
      kind: "range";
      frame: number;
      source: number;
      index: number;
      /** Where its first record starts, if that is known. */
      start?: number;
      /** A record's start before the frame, from which quotes are counted to guess the frame's first record. */
      quotesFrom?: number;
    }
  /** A row group of a Parquet file or a record batch of an Arrow file. */
  | { kind: "rows"; frame: number; source: number; index: number }
  /** Whole records, which lie in a file: those of a live stream's log. */
  | {
      kind: "slice";
      frame: number;
      source: number;
      path: string;
      offset: number;
      bytes: number;
      /** CRC-32 of the bytes. */
      sum: number;
    }
  /** No records: the clock of the source `ended` comes to `time`, ms; Infinity at its end. `source` is NO_SOURCE. */
  | { kind: "time"; frame: number; source: number; time: number; ended: number }
  /** Whole records. */
  | { kind: "bytes"; frame: number; source: number; bytes: Uint8Array; offset: number };

/** A record that does not fit. */
export interface Problem {
  frame: number;
  source: number;
  /** Where it starts: byte offset, or row number in its row group (columns). */
  offset: number;
  /** Line within the frame, from 0; only where frames carry their bytes. */
  line?: number;
  reason: number;
  field: number;
  detail: number;
  /** The start of the record, as text. */
  excerpt: string;
}

export interface FrameDone {
  frame: number;
  source: number;
  /** Where its records start and end in the source (bytes; 0 for columns). */
  start: number;
  end: number;
  /** Greatest event time of its good records, ms since 1970; -Infinity if there is none, Infinity if its source has ended. */
  time: number;
  rows: number;
  bad: number;
  problems: Problem[];
  emitted?: Uint8Array;
  emittedRows: number;
  /** Lines in the frame; only where frames carry their bytes. */
  lines: number;
  /** Whether a quoted CSV field was seen. */
  quoted: boolean;
}

/** Why a Jah cannot go on. */
export interface Failure {
  kind: "trap" | "memory" | "input" | "internal";
  code: string;
  message: string;
  /** Stack with the places in the kernel's code. */
  stack: string;
  frame?: number;
  source?: number;
  start?: number;
  end?: number;
  table?: number;
  /** Entries of that table in this Jah. */
  entries?: number;
}

/** What an owner emitted while it applied a frame, by stage; those of all owners are joined by stage and partition. */
export interface OwnerOutput {
  frame: number;
  /** Its partitions are [from, to). */
  from: number;
  to: number;
  emitted: Uint8Array[];
  emittedRows: number;
  /** What the kernel's `late` emitted. */
  lateEmitted: Uint8Array[];
  lateRows: number;
  /** Records that came too late for their window. */
  late: number;
}

export interface StartMessage {
  type: "start";
  jah: number;
  jahs: number;
  kernel: string;
  sources: SourceSpec[];
  /** What a connection between Jahs starts with. */
  secret: Uint8Array;
  stateBytesMax: number;
  format: number;
  delimiter: number;
  /** Names and types of the wanted columns, for Parquet and Arrow. */
  columns: { name: string; type: string; optional: boolean }[];
  /** Whether rows are written to the standard output that is shared with the main job. */
  writeRows: boolean;
  /** A new instance of the kernel for every frame: what a kernel keeps outside its tables shows as wrong. */
  freshInstances: boolean;
  /** Bytes of a frame of the sources that are read by ranges. */
  frameBytes: number;
  /** Clocks of event time, one for each source; 0 if the kernel has no windows. */
  clocks: number;
}

export type ToJah =
  | StartMessage
  | { type: "connect"; ports: number[] }
  | { type: "map"; frames: FrameTask[] }
  | { type: "call"; id: number; method: keyof JahMethods; argument: unknown };

export type FromJah =
  | { type: "listening"; port: number }
  | { type: "done"; frames: FrameDone[]; outputs: OwnerOutput[]; applied: number; fieldsSeen: bigint }
  | { type: "at"; frame: number }
  | { type: "applied"; outputs: OwnerOutput[]; applied: number }
  | { type: "failed"; failure: Failure }
  | { type: "answer"; id: number; value: unknown };

/** What the main job asks of a Jah when all frames are applied. */
export interface JahMethods {
  /** Entries of each table, and bytes of the arena. */
  sizes: { argument: { tables: number }; answer: { entries: number[]; bytes: number } };
  order: { argument: { table: number; column: number; descending: boolean }; answer: void };
  /** Sampled keys, in the order-preserving form of Table.sample. */
  sample: { argument: { table: number; most: number }; answer: Uint8Array };
  split: { argument: { table: number; splitters: Uint8Array[] }; answer: void };
  /** Sends this Jah's part of a range to its owner, or renders it as the owner. */
  range: {
    argument: { table: number; range: number; owner: number; limit: number };
    answer: { rows: number };
  };
  /** Writes a rendered range to the standard output; or answers its bytes, where rows are not written by Jahs. */
  write: { argument: { range: number; first: boolean }; answer: { bytes: Uint8Array[] } };
}
