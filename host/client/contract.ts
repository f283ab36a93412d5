/** What the methods of a host (live.ts) take, and what they give. */
import type { HallelujahError } from "../core/errors.ts";

export type {
  DeadLetterInfo,
  ClusterHostInfo,
  HostInfo,
  JahInfo,
  Offer,
  StreamChange,
  StreamInfo,
  SwapPlan,
  VersionInfo,
} from "../wire/http.ts";

export interface ConnectOptions {
  /** `http://host:port`; HALLELUJAH_URL or http://127.0.0.1:7747 if not given. */
  url?: string;
  /** HALLELUJAH_TOKEN if not given. */
  token?: string;
}

export interface DeployOptions {
  /** The kernel: its source, or a built module. */
  kernel: string | Uint8Array;
  /** Name of the kernel's file, for messages. */
  file?: string;
  /** Jahs that the stream has while it works, and may have at most. */
  min?: number;
  max?: number;
  /** Files of the host, or URLs, that it reads. */
  source?: string | string[];
  /** What these are, if name and content do not tell. */
  inputFormat?: "csv" | "ndjson" | "lines" | "parquet" | "arrow";
  /** Another stream whose output it takes in; its records, if its kernel emits nothing or `share` is set. */
  from?: string;
  share?: boolean;
  /** Files of the host, or URLs, to which its output goes. */
  sink?: string | string[];
  /** The host of the cluster that it is on; that of `from`, or the one with the most room, if not given. */
  host?: string;
  /** How much of the log is kept: `applied` (if not given: what checkpoints need), `all`, a size (`10GB`) or an age (`7d`). */
  retain?: string;
  /** A frame that stops the kernel stops the stream, rather than that it is set aside as a dead letter. */
  strict?: boolean;
  signal?: AbortSignal;
}

/** A kernel that takes over: its source or module, or the number of a version that the stream has had. */
export interface SwapOptions {
  kernel?: string | Uint8Array;
  to?: number;
  /** Name of the kernel's file, for messages. */
  file?: string;
  signal?: AbortSignal;
}

/** A kernel that takes in all records again: its source or module, or the number of a version that the stream has had. */
export interface ReprocessOptions extends SwapOptions {
  /** Jahs that it may have; as many as the host has CPUs if not given. It never takes those that others need. */
  max?: number;
  /** `oldest`: take in what the log has, if that does not reach back to the first record; else it is refused then. */
  from?: "oldest";
}

/** What `push` takes: text or bytes of whole records, one after the other, or objects, which become NDJSON. */
export type Records =
  | string
  | Uint8Array
  | ReadableStream<Uint8Array>
  | Iterable<object | string | Uint8Array>
  | AsyncIterable<object | string | Uint8Array>;

export interface PushOptions {
  /** ndjson if not given. CSV starts with its header line, which is sent with every body; lines are plain text. */
  format?: "ndjson" | "csv" | "lines";
  /** CSV: one byte, and the names of the columns where there is no header line. */
  delimiter?: string;
  columns?: string[];
  /**
   * Name under which bodies are numbered, so that one that is sent again is stored once; made up if not given. Give the
   * one of an interrupted push, and the number of its next body, to go on with it.
   */
  producer?: string;
  sequence?: number;
  /**
   * No more records will be pushed: windows that wait for later ones close, as at the end of a file. All pushes are one
   * source, so this speaks for every producer; a record that is pushed later opens it again.
   */
  end?: boolean;
  /**
   * Sends lines that wait for so long, ms, rather than when a body is full. Where it does, bodies depend on when records
   * came, so no other push can go on with this one.
   */
  flushMs?: number;
  onProgress?: (progress: PushProgress) => void;
  /** The host takes nothing for now, and the same is sent again: its disk is full, or the stream's backlog. */
  onRefused?: (refusal: HallelujahError) => void;
  signal?: AbortSignal;
}

export interface PushProgress {
  /** Bytes that the host has stored. */
  bytes: number;
  bodies: number;
  producer: string;
  /** The number of the next body. */
  sequence: number;
  /** Whether a push of the same records under the same producer goes on with this one: `flushMs` has cut no body. */
  repeatable: boolean;
  /** The frame that holds the last record. */
  frame: number;
}

export interface QueryOptions {
  /** One row: the key, an array for a tuple. */
  key?: string | number | boolean | (string | number | boolean)[];
  /** `key`, or a field such as `temperature.mean`; with `-` in front the largest first. */
  order?: string;
  limit?: number;
  signal?: AbortSignal;
}

export interface VisitOptions {
  /** Source of the kernel, and the name of its file for messages; a module only where the host is up with `--allow-wasm-visits`. */
  kernel: string | Uint8Array;
  file?: string;
  /** Which rows: a dataset, or a table. Not needed where the stream has one dataset, or no dataset and one table. */
  dataset?: string;
  /**
   * The stream applies nothing until all rows are met. Without it the rows of a table of more than 65,536 entries are as of `frame` or a
   * later one, each partition for itself.
   */
  hold?: boolean;
  /** The kernel is compiled in half the time, and may take twice the time for a row: for one that is changed soon. */
  quick?: boolean;
  /**
   * What rows that count have in common, both inclusive, times in ms and decimals in millionths: pieces of the rows in which none lies
   * within are passed over. The kernel has to leave out what else lies beyond.
   */
  bounds?: { field: string; least?: number | bigint; greatest?: number | bigint }[];
  /** The kernel's table that is answered; without it all of them, and what the kernel emits. */
  table?: string;
  order?: string;
  limit?: number;
  /** ms after which the host gives it up (60,000). */
  timeout?: number;
  /** The host refuses it where there are more rows than this. */
  rows?: number;
  signal?: AbortSignal;
}

/** Rows of a table, all of one frame. */
export interface Rows<R> extends AsyncIterable<R> {
  /** The answer holds exactly the frames below this number. */
  frame: number;
  /** All rows. */
  all(): Promise<R[]>;
}

export interface OutputRow<R> {
  sequence: number;
  row: R;
}
