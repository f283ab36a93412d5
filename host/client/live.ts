/**
 * A host as a program uses it: `connect()` and its methods, over HTTP, in Node and in browsers. Every method takes an
 * AbortSignal, with whose reason it then rejects; other errors are HallelujahErrors, with the code of the host's problem
 * document, or `host-unreachable`, or `connection-lost` for an answer that broke off.
 */
import { HallelujahError } from "../core/errors.ts";
import type {
  DeadLetterInfo,
  ClusterHostInfo,
  HostInfo,
  JahInfo,
  Problem,
  Pushed,
  StreamChange,
  StreamInfo,
  SwapPlan,
  VersionInfo,
} from "../wire/http.ts";
import type { Row } from "./rows.ts";
import { bodiesOf, chunksOf, linesOf, until } from "./lines.ts";

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

const DEFAULT_URL = "http://127.0.0.1:7747";
/** Bytes of a body of records. */
const BODY_BYTES = 1 << 20;
/** Pauses between attempts, ms: doubled each time. */
const FIRST_PAUSE_MS = 50;
const PAUSE_MS_MAX = 5_000;

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

/** A host at an address. Nothing is sent before a method is called. Throws `url-invalid`. */
export function connect(options: ConnectOptions = {}): Hallelujah {
  const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {};
  const token = options.token ?? env.HALLELUJAH_TOKEN;
  return new Hallelujah(options.url ?? (env.HALLELUJAH_URL || DEFAULT_URL), token);
}

export class Hallelujah {
  readonly url: string;
  private readonly token: string | undefined;

  constructor(url: string, token?: string) {
    if (!/^https?:$/.test(protocolOf(url))) {
      const meant = /^[\w.-]+:\d+\/*$/.test(url) ? `http://${url}` : DEFAULT_URL;
      throw new HallelujahError("url-invalid", `"${url}" is no URL of a host; it would be ${meant}`);
    }
    this.url = url.replace(/\/+$/, "");
    this.token = token;
  }

  async deploy(name: string, options: DeployOptions): Promise<StreamInfo> {
    const { kernel, signal, inputFormat, min, max, from, share, retain, strict, file } = options;
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries({ inputFormat, min, max, from, share, retain, strict, file }))
      if (value !== undefined) search.set(key, String(value));
    for (const source of [options.source ?? []].flat()) search.append("source", source);
    for (const sink of [options.sink ?? []].flat()) search.append("sink", sink);
    return this.json("PUT", `${streamPath(name)}?${search}`, {
      ...bodyOfKernel(kernel, { "if-none-match": "*" }),
      signal,
    });
  }

  /**
   * Another kernel for a running stream, whose state stays: from one frame on, on all Jahs. Resolves when they have it.
   * Rejects with `swap-misfit` where its tables do not fit what is there, with `swap-rolled-back` where it stops at once.
   */
  swap(name: string, options: SwapOptions): Promise<StreamInfo> {
    return this.putSwap(name, options);
  }

  /**
   * A kernel takes in all records that a stream has had, beside the one that runs, into a state of its own, and takes over at one frame when
   * it has caught up. Resolves when that has begun; `stream` tells how far it is (`reprocess`), and `versions` what became of
   * it. Rejects with `history-trimmed`, `reprocess-misfit`, `reprocess-running`, `stream-on-trial` or
   * `reprocess-invalid`.
   */
  reprocess(name: string, { max, from, ...options }: ReprocessOptions): Promise<StreamInfo> {
    const more = { max, from };
    const given = Object.entries(more).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, String(value)]],
    );
    return this.putSwap(name, options, { reprocess: "true", ...Object.fromEntries(given) });
  }

  /** Ends a reprocess; what it has done is dropped. Rejects with `reprocess-unknown` if there is none, or it has taken over. */
  async cancelReprocess(name: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.call("DELETE", `${streamPath(name)}?reprocess=true`, options);
  }

  /** What a swap would do; nothing is done. */
  planSwap(name: string, options: SwapOptions): Promise<SwapPlan> {
    return this.putSwap(name, options, { "dry-run": "true" });
  }

  private putSwap<T>(name: string, { to, file, kernel, signal }: SwapOptions, more = {}): Promise<T> {
    const search = new URLSearchParams(more);
    if (to !== undefined) search.set("to", String(to));
    if (file !== undefined) search.set("file", file);
    const there = { "if-match": "*" };
    return this.json("PUT", `${streamPath(name)}?${search}`, {
      ...(kernel === undefined ? { headers: there } : bodyOfKernel(kernel, there)),
      signal,
    });
  }

  /** The versions of a stream's kernel, the oldest first. */
  versions(name: string, options: { signal?: AbortSignal } = {}): Promise<VersionInfo[]> {
    return this.json("GET", `${streamPath(name)}/versions`, options);
  }

  streams(options: { signal?: AbortSignal } = {}): Promise<StreamInfo[]> {
    return this.json("GET", "/v1/streams", options);
  }

  stream(name: string, options: { signal?: AbortSignal } = {}): Promise<StreamInfo> {
    return this.json("GET", streamPath(name), options);
  }

  host(options: { signal?: AbortSignal } = {}): Promise<HostInfo> {
    return this.json("GET", "/v1/host", options);
  }

  /** The hosts of the cluster; of one that is alone, itself. */
  hosts(options: { signal?: AbortSignal } = {}): Promise<ClusterHostInfo[]> {
    return this.json("GET", "/v1/hosts", options);
  }

  jahs(options: { signal?: AbortSignal } = {}): Promise<JahInfo[]> {
    return this.json("GET", "/v1/jahs", options);
  }

  /** Changes capacity, or pauses and goes on. */
  change(name: string, change: StreamChange, options: { signal?: AbortSignal } = {}): Promise<StreamInfo> {
    const headers = { "content-type": "application/json" };
    return this.json("PATCH", streamPath(name), { ...options, headers, body: JSON.stringify(change) });
  }

  async remove(name: string, options: { keepData?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { keepData, signal } = options;
    await this.call("DELETE", `${streamPath(name)}${keepData ? "?keep=data" : ""}`, { signal });
  }

  /** Frames that stopped the kernel twice and were set aside. */
  deadLetters(name: string, options: { signal?: AbortSignal } = {}): Promise<DeadLetterInfo[]> {
    return this.json("GET", `${streamPath(name)}/dead`, options);
  }

  /** The records of one, as they were logged. */
  async deadLetter(name: string, frame: number, options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const response = await this.call("GET", `${streamPath(name)}/dead/${frame}`, options);
    try {
      return new Uint8Array(await response.arrayBuffer());
    } catch (cause) {
      throw this.lost(cause, options.signal);
    }
  }

  /** Logs its records again; resolves with the frame that holds them now. */
  async retryDeadLetter(
    name: string,
    frame: number,
    options: { signal?: AbortSignal } = {},
  ): Promise<number> {
    const path = `${streamPath(name)}/dead/${frame}/retry`;
    return (await this.json<Pushed>("POST", path, options)).frame;
  }

  /** Drops it and its records. */
  async dropDeadLetter(name: string, frame: number, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.call("DELETE", `${streamPath(name)}/dead/${frame}`, options);
  }

  /**
   * Pushes records, in bodies of about 1 MiB, one after the other; resolves when the host has stored all. What the host
   * has no room for, and what was lost on the way, is sent again: bodies are numbered, so none is stored twice.
   */
  async push(name: string, records: Records, options: PushOptions = {}): Promise<PushProgress> {
    const { format = "ndjson", delimiter, columns, end = false, flushMs } = options;
    const { signal, onProgress, onRefused } = options;
    const search = new URLSearchParams();
    if (delimiter !== undefined) search.set("delimiter", delimiter);
    if (columns) search.set("columns", columns.join(","));
    const type = format === "csv" ? "text/csv" : format === "lines" ? "text/plain" : "application/x-ndjson";
    const progress: PushProgress = {
      bytes: 0,
      bodies: 0,
      producer: options.producer ?? randomName(),
      sequence: options.sequence ?? 0,
      repeatable: true,
      frame: -1,
    };
    const path = `${streamPath(name)}/records?${search}`;
    const headers = { "content-type": columns ? `${type}; header=absent` : type };
    const chunks = until(bytesOf(records), signal);
    const onFlush = () => {
      progress.repeatable = false;
      onProgress?.({ ...progress });
    };
    const header = format === "csv" && !columns;
    for await (const body of bodiesOf(chunks, BODY_BYTES, header, flushMs, onFlush)) {
      const numbered = {
        ...headers,
        "hallelujah-producer": progress.producer,
        "hallelujah-sequence": String(progress.sequence),
      };
      const request = { body, headers: numbered, signal };
      const { frame } = await this.patiently<Pushed>("POST", path, request, onRefused);
      progress.bytes += body.length;
      progress.bodies++;
      progress.sequence++;
      progress.frame = frame;
      onProgress?.({ ...progress });
    }
    if (end) {
      search.set("end", "true");
      const ended = `${streamPath(name)}/records?${search}`;
      const { frame } = await this.patiently<Pushed>("POST", ended, { body: "", headers, signal }, onRefused);
      progress.frame = frame;
    }
    return progress;
  }

  /** Reads rows of a table. Resolves when the host answers, with its rows yet to come. */
  async query<R = Row>(name: string, table: string, options: QueryOptions = {}): Promise<Rows<R>> {
    const { key, order, limit, signal } = options;
    const search = new URLSearchParams();
    if (key !== undefined) search.set("key", typeof key === "string" ? key : JSON.stringify(key));
    if (order !== undefined) search.set("order", order);
    if (limit !== undefined) search.set("limit", String(limit));
    const path = `${streamPath(name)}/tables/${encodeURIComponent(table)}?${search}`;
    const response = await this.call("GET", path, { signal, headers: { accept: "application/x-ndjson" } });
    return rowsWith(rowsOf<R>(linesOf(this.chunks(response, signal)), this.url), response);
  }

  /**
   * Runs a kernel over the rows that a stream keeps, or those of a table, where they are. Resolves when its first rows are there: what it emits, then its
   * tables. Leaving the loop ends it. Rejects with `dataset-missing`, `column-missing`, `column-type`, `compile-failed`, `kernel-trapped`,
   * `visit-timeout`, `visit-too-large` or `visit-dropped`.
   */
  async visit<R = Row>(name: string, options: VisitOptions): Promise<Rows<R>> {
    const response = await this.callVisit(name, options, "application/x-ndjson");
    const rows = rowsOf<R>(linesOf(this.chunks(response, options.signal)), this.url);
    return rowsWith(rows, response);
  }

  /** The same as it comes: `accept` is application/x-ndjson, text/csv or application/json. */
  async *visitBytes(name: string, options: VisitOptions, accept: string): AsyncGenerator<Uint8Array> {
    yield* this.chunks(await this.callVisit(name, options, accept), options.signal);
  }

  /**
   * A visit that stays: results of the kernel's tables over the rows that are there and those that come, each of them whole, until the loop
   * is left or `signal`, or the stream is removed. Rejects with what ends it: as `visit`, or `visit-format` if the kernel emits.
   */
  async *follow<R = Row>(name: string, options: VisitOptions): AsyncGenerator<{ frame: number; rows: R[] }> {
    const response = await this.callVisit(name, { ...options, follow: true }, "application/x-ndjson");
    for await (const line of linesOf(this.chunks(response, options.signal))) {
      const { problem, frame, rows } = rowOf<{ frame?: number; rows?: R[]; problem?: Problem }>(
        line,
        this.url,
      );
      if (typeof problem?.code === "string") throw new HallelujahError(problem.code, String(problem.detail));
      if (!Number.isSafeInteger(frame) || !Array.isArray(rows)) throw notExpected(line, this.url, "result");
      yield { frame: frame!, rows };
    }
  }

  private callVisit(
    name: string,
    { kernel, signal, bounds, ...asked }: VisitOptions & { follow?: boolean },
    accept: string,
  ): Promise<Response> {
    const search = new URLSearchParams();
    // JSON has no bigints.
    const text = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
    if (bounds?.length) search.set("bounds", JSON.stringify(bounds, text));
    for (const [key, value] of Object.entries(asked)) if (value !== undefined) search.set(key, String(value));
    const path = `${streamPath(name)}/visit?${search}`;
    return this.call("POST", path, { ...bodyOfKernel(kernel, { accept }), signal });
  }

  /** The same as it comes: `accept` is application/x-ndjson, text/csv or application/json. */
  async *tableBytes(
    name: string,
    table: string,
    search: URLSearchParams,
    accept: string,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const path = `${streamPath(name)}/tables/${encodeURIComponent(table)}?${search}`;
    yield* this.chunks(await this.call("GET", path, { signal, headers: { accept } }), signal);
  }

  /**
   * Rows of a stream's output (with `late` of what its kernel's function `late` emits), from number `from` on (inclusive)
   * or from those that come now, until the loop is left or `signal`. A connection that breaks is made again, behind the
   * last row that was yielded.
   */
  async *output<R = Record<string, unknown>>(
    name: string,
    options: { from?: number; late?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<OutputRow<R>> {
    const { signal, late = false } = options;
    const stream = options.from === undefined ? await this.stream(name, options) : undefined;
    let next = options.from ?? (late ? stream!.lateOutputs : stream!.outputs);
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MS_MAX)) {
      try {
        const path = `${streamPath(name)}/output?from=${next}${late ? "&name=late" : ""}`;
        const response = await this.call("GET", path, {
          signal,
          headers: { accept: "application/x-ndjson" },
        });
        for await (const line of linesOf(this.chunks(response, signal))) {
          yield { sequence: next++, row: rowOf<R>(line, this.url) };
          pause = FIRST_PAUSE_MS;
        }
      } catch (error) {
        signal?.throwIfAborted();
        const { code, retryAfterMs } = error as Failure;
        if (!AWAY.has(code!) && retryAfterMs === undefined) throw error;
      }
      await rest(pause, signal);
    }
  }

  /** Lines of the host's log, as objects. */
  async *logs(
    options: { stream?: string; lines?: number; follow?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<Record<string, unknown>> {
    const { stream, lines = 100, follow = false, signal } = options;
    const search = new URLSearchParams({ lines: String(lines), follow: String(follow) });
    if (stream !== undefined) search.set("stream", stream);
    const response = await this.call("GET", `/v1/logs?${search}`, { signal });
    for await (const line of linesOf(this.chunks(response, signal))) yield rowOf(line, this.url);
  }

  /** A copy of all streams, as a tar archive: what `hallelujah restore` takes. */
  async *backup(options: { signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array> {
    yield* this.chunks(await this.call("POST", "/v1/backup", options), options.signal);
  }

  /** The body of an answer, as it comes. */
  private async *chunks(response: Response, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    try {
      yield* chunksOf(response.body!);
    } catch (cause) {
      throw this.lost(cause, signal);
    }
  }

  private async json<T>(method: string, path: string, request: Request): Promise<T> {
    const response = await this.call(method, path, request);
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw this.lost(cause, request.signal);
    }
  }

  /** An answer broke off. */
  private lost(cause: unknown, signal: AbortSignal | undefined): HallelujahError {
    signal?.throwIfAborted();
    const message = `the connection to ${this.url} was lost in the middle of an answer; try again`;
    return new HallelujahError("connection-lost", message, { cause });
  }

  /** The same until the host takes it: it may be full, or away for a moment. */
  private async patiently<T>(
    method: string,
    path: string,
    request: Request,
    onRefused: PushOptions["onRefused"],
  ): Promise<T> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MS_MAX)) {
      try {
        return await this.json<T>(method, path, request);
      } catch (error) {
        request.signal?.throwIfAborted();
        const { code, retryAfterMs } = error as Failure;
        if (retryAfterMs === undefined && !AWAY.has(code!)) throw error;
        // Unreachable for long: whoever called should know.
        if (retryAfterMs === undefined && pause === PAUSE_MS_MAX) throw error;
        if (retryAfterMs !== undefined) onRefused?.(error as HallelujahError);
        await rest((retryAfterMs ?? pause) * (0.75 + Math.random() / 2), request.signal);
      }
    }
  }

  private async call(method: string, path: string, { body, headers, signal }: Request): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.url + path, {
        method,
        headers: {
          ...headers,
          ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        },
        ...(body === undefined ? {} : { body: body as BodyInit }),
        ...(signal ? { signal } : {}),
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw unreachable(this.url, cause);
    }
    if (response.ok) return response;
    throw await errorOf(response).catch((cause: unknown) => this.lost(cause, signal));
  }
}

function protocolOf(url: string): string {
  return URL.canParse(url) ? new URL(url).protocol : "";
}

/** Nobody answered as a host does; `cause` is what `fetch` says. */
function unreachable(url: string, cause: unknown): HallelujahError {
  const { code = "" } = ((cause as Error).cause ?? {}) as { code?: string };
  if (url.startsWith("https:") && /^(ERR_SSL_|EPROTO)/.test(code)) {
    const message = `what answers at ${url} does not speak https; is it ${url.replace("https:", "http:")}?`;
    return new HallelujahError("url-invalid", message, { cause });
  }
  const message = /^(ENOTFOUND|EAI_AGAIN)$/.test(code)
    ? `the name ${new URL(url).hostname} is not known (${code}); is ${url} the right URL?`
    : `no host answers at ${url}; start one with: hallelujah up`;
  return new HallelujahError("host-unreachable", message, { cause });
}

/** Longest that a host is believed to want nothing, ms: timers take no more than 2^31. */
const RETRY_AFTER_MS_MAX = 10 * 60_000;

/** Characters of a line that cannot be read that are shown. */
const LINE_SHOWN = 60;

/** What the error of a call may say about trying again. */
interface Failure {
  code?: string;
  retryAfterMs?: number;
}

/** Codes of a host that may be there again in a moment. */
const AWAY = new Set(["host-unreachable", "connection-lost"]);

interface Request {
  body?: string | Uint8Array;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

/** Also those of another realm: of a frame of a page, or a test runner's. */
function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value);
}

/** 128 random bits; browsers have `randomUUID` for pages that came by https only. */
function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}

function bodyOfKernel(kernel: string | Uint8Array, headers: Record<string, string>) {
  const isText = typeof kernel === "string";
  return {
    body: isText ? kernel : new Uint8Array(kernel),
    headers: { ...headers, "content-type": isText ? "text/typescript" : "application/wasm" },
  };
}

function rowsWith<R>(rows: AsyncGenerator<R>, response: Response): Rows<R> {
  return {
    frame: Number(response.headers.get("hallelujah-frame")),
    [Symbol.asyncIterator]: () => rows,
    async all() {
      const all: R[] = [];
      for await (const row of rows) all.push(row);
      return all;
    },
  };
}

function streamPath(name: string): string {
  return `/v1/streams/${encodeURIComponent(name)}`;
}

async function errorOf(response: Response): Promise<HallelujahError> {
  const text = await response.text();
  const retryAfterMs = retryAfterOf(response.headers.get("retry-after"));
  const more = retryAfterMs === undefined ? {} : { retryAfterMs };
  try {
    const { code, detail, offers } = JSON.parse(text) as Partial<Problem>;
    if (!code || !detail || !/^[a-z][a-z0-9-]{0,63}$/.test(code) || typeof detail !== "string")
      throw new TypeError("no problem document");
    return Object.assign(new HallelujahError(code, detail), more, offers ? { offers } : {});
  } catch {
    const message = `${response.url} answered ${response.status}, and not as a host does; is the address right?`;
    return Object.assign(new HallelujahError("host-unknown", message), more);
  }
}

async function* rowsOf<R>(lines: AsyncIterable<string>, url: string): AsyncGenerator<R> {
  for await (const line of lines) yield rowOf(line, url);
}

/** The row in a line of an answer. Throws `answer-invalid`. */
function rowOf<R>(line: string, url: string): R {
  try {
    const row: unknown = JSON.parse(line);
    if (typeof row === "object" && row !== null) return row as R;
  } catch {
    // Said below.
  }
  throw notExpected(line, url, "JSON object");
}

function notExpected(line: string, url: string, what: string): HallelujahError {
  const shown = line.length > LINE_SHOWN ? `${line.slice(0, LINE_SHOWN)}...` : line;
  const message = `${url} sent a line that is no ${what}, ${JSON.stringify(shown)}; is the address a host's?`;
  return new HallelujahError("answer-invalid", message);
}

/** What a Retry-After says, ms: seconds, or a date (RFC 9110, 10.2.3); undefined if that is neither. */
function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX);
}

async function* bytesOf(records: Records): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  if (typeof records === "string") return yield encoder.encode(records);
  if (isBytes(records)) return yield records;
  if ("getReader" in records) return yield* chunksOf(records);
  for await (const record of records) {
    if (isBytes(record)) yield record;
    else if (typeof record === "string") yield encoder.encode(record);
    else yield encoder.encode(`${JSON.stringify(record)}\n`);
  }
}

/** Waits; rejects with the signal's reason. */
function rest(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const stop = () => {
      clearTimeout(timer);
      fail(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      done();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
