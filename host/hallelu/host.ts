/**
 * What a host can do for its clients: the contract between the HTTP interface (host/hallelu/api/) and the engine behind
 * it (host/hallelu/streams.ts). Everything here may reject with a HallelujahError; `api/problem.ts` has its status.
 */
import type { CompileTarget } from "../compiler/compile.ts";
import type { SourceFormat } from "../wire/jah.ts";
import type { VisitStart } from "../wire/visit.ts";
import type {
  DeadLetterInfo,
  ClusterHostInfo,
  HostInfo,
  JahInfo,
  Pushed,
  StreamChange,
  StreamInfo,
  SwapPlan,
  VersionInfo,
} from "../wire/http.ts";

export interface DeployRequest {
  /** The kernel: a module, or its source, which is compiled here; or a version that the stream has had. */
  kernel:
    | { kind: "wasm"; bytes: Uint8Array }
    | { kind: "source"; text: string }
    | { kind: "version"; version: number };
  /** A stream that must not be there yet, or must be there. Without it either will do. */
  expect?: "new" | "there";
  /** Name of the kernel's file, for messages. */
  file?: string;
  min?: number;
  max?: number;
  /** Files, folders, globs on this host, or a URL: read by the stream's Jahs. */
  source?: string[];
  /** What these are, if name and content do not tell. */
  inputFormat?: SourceFormat;
  /** Another stream, whose output this one takes in. */
  from?: string;
  /** The records of `from` are shared, though it has an output. */
  share?: boolean;
  /** Where the output goes: a file on this host, or an http(s) URL that is called with NDJSON. */
  sink?: string[];
  /** How much of the log is kept (core/retain.ts). */
  retain?: string;
  /** A frame that stops the kernel stops the stream. */
  strict?: boolean;
}

export interface ReprocessRequest extends Pick<DeployRequest, "kernel" | "file" | "max"> {
  oldest?: boolean;
}

export type RecordFormat = "ndjson" | "csv" | "lines";

/** A body of records, as it came. */
export interface PushBody {
  format: RecordFormat;
  /** CSV: one byte; found out from the first body if not given. */
  delimiter?: string;
  /** CSV: names of the columns, for bodies without a header line. */
  columns?: string[];
  chunks: Buffer[];
  bytes: number;
  /** A producer's name and the number of this body: first 0 or 1, then one more each time. */
  producer?: string;
  sequence?: number;
  /** No more records will be pushed, by whomever: what waits for later ones is closed. */
  end?: boolean;
}

export interface QueryRequest {
  table: string;
  /** As in the URL: a text, or JSON for numbers and tuples. */
  key?: string;
  order?: string;
  limit?: number;
  format: "ndjson" | "csv" | "json";
}

export interface VisitRequest {
  /** A source is compiled here. A module is trusted: it can change what the stream keeps. */
  kernel: Exclude<DeployRequest["kernel"], { kind: "version" }>;
  /** The name of its file, for messages. */
  file?: string;
  /** How a source is compiled. */
  target?: CompileTarget;
  /** Which rows: a dataset, or a table. Not needed where the stream has one dataset, or no dataset and one table. */
  dataset?: string;
  /** The stream applies nothing until all rows are met, so that also those of a large table are as of one frame. */
  hold?: boolean;
  /** Chunks in which no row lies within all of them are passed over; see jah/visit.ts. */
  bounds?: VisitStart["bounds"];
  /** The table that is answered; without it, all of them, and what the kernel emits. */
  table?: string;
  order?: string;
  limit?: number;
  format: "ndjson" | "csv" | "json";
  /** It is given up after so long. */
  timeoutMs?: number;
  /** It is refused where there are more rows. */
  rowsMax?: number;
  /** Whoever asked has left. */
  signal?: AbortSignal;
}

export interface Answer {
  /** The answer holds exactly the frames below this number. */
  frame: number;
  /** Rendered rows, in order, in chunks of whole rows; a JSON array and a CSV's header line included. */
  rows: AsyncIterable<Uint8Array>;
}

/** One result of a visit that stays: NDJSON rows, of exactly the frames below `frame`. */
export interface VisitResult {
  frame: number;
  chunks: Uint8Array[];
}

/** Consecutive rows of output: NDJSON lines, the first of which has the number `from`. */
export interface OutputRows {
  from: number;
  count: number;
  bytes: Buffer;
}

export interface Host {
  /** A new stream; or another kernel for one that is there, once all of its shards are of it. */
  deploy(name: string, request: DeployRequest): Promise<{ created: boolean; stream: StreamInfo }>;
  /** What a swap would do; changes nothing. */
  planSwap(name: string, request: DeployRequest): Promise<SwapPlan>;
  /** The versions of a stream's kernel, the oldest first. */
  versions(name: string): VersionInfo[];
  /**
   * Another kernel takes in the records that a stream has had, beside the one that runs, and takes over when it has caught up; resolves when
   * that has begun. `max` Jahs at most; `oldest`: also if the log begins behind frame 0.
   */
  reprocess(name: string, request: ReprocessRequest): Promise<StreamInfo>;
  /** Ends a reprocess before it takes over. */
  cancelReprocess(name: string): Promise<void>;
  streams(): StreamInfo[];
  /** Also those of other hosts of the cluster that are there. */
  allStreams(): Promise<StreamInfo[]>;
  stream(name: string): StreamInfo;
  change(name: string, change: StreamChange): Promise<StreamInfo>;
  remove(name: string, options: { keepData: boolean }): Promise<void>;
  /** Resolves when the records are in the log. Rejects with `backlog-full` (429) and stores nothing if there is no room. */
  push(name: string, body: PushBody): Promise<Pushed>;
  query(name: string, request: QueryRequest): Promise<Answer>;
  /** Runs another kernel over the rows that the stream keeps, or over those of a table. */
  visit(name: string, request: VisitRequest): Promise<Answer>;
  /** The same, over those that come, too: a result whenever there are more, until its client leaves or the stream is gone. */
  follow(name: string, request: VisitRequest): Promise<AsyncGenerator<VisitResult>>;
  /** Frames that stopped the kernel and were set aside. */
  deadLetters(name: string): DeadLetterInfo[];
  /** The records of one. Rejects with `dead-letter-unknown` or `dead-letter-elsewhere`. */
  deadLetter(name: string, frame: number): Promise<Uint8Array>;
  /** Logs its records again. */
  retryDeadLetter(name: string, frame: number): Promise<Pushed>;
  dropDeadLetter(name: string, frame: number): Promise<void>;
  /** Rows from number `from` on (inclusive), then those that come, until `signal`. Without `from`: those that come. `late`: of the kernel's function `late`. */
  output(
    name: string,
    options: { from?: number; late?: boolean; signal: AbortSignal },
  ): AsyncIterable<OutputRows>;
  /** A tar archive of all streams as they are while this is asked for. Rejects with `busy` while another one is made. */
  backup(): Promise<AsyncIterable<Uint8Array>>;
  host(): HostInfo;
  /** The hosts of its cluster, itself among them; itself alone if there is none. */
  hosts(): ClusterHostInfo[];
  jahs(): JahInfo[];
  /** Lines of the host's log (NDJSON), the last `lines` of them, of one stream if named; with `follow` those that come. */
  logs(options: {
    stream?: string;
    lines: number;
    follow: boolean;
    signal: AbortSignal;
  }): AsyncIterable<Uint8Array>;
}
