/**
 * A host as a program uses it: `connect()` and its methods, over HTTP, in Node and in browsers. Every method takes an
 * AbortSignal; errors are HallelujahErrors with the code of the host's problem document.
 */
import { HallelujahError } from "../core/errors.ts";
import type { HostInfo, JahInfo, Problem, StreamChange, StreamInfo } from "../wire/http.ts";
import type { Row } from "./rows.ts";
import { bodiesOf, chunksOf, linesOf } from "./lines.ts";

export type { HostInfo, JahInfo, Offer, StreamChange, StreamInfo } from "../wire/http.ts";

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
  /** Another stream whose output it takes in. */
  from?: string;
  /** Files of the host, or URLs, to which its output goes. */
  sink?: string | string[];
  retain?: string;
  signal?: AbortSignal;
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
  onProgress?: (progress: PushProgress) => void;
  signal?: AbortSignal;
}

export interface PushProgress {
  /** Bytes that the host has stored. */
  bytes: number;
  bodies: number;
  producer: string;
  /** The number of the next body. */
  sequence: number;
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

/** A host at an address. Nothing is sent before a method is called. */
export function connect(options: ConnectOptions = {}): Hallelujah {
  const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {};
  const token = options.token ?? env.HALLELUJAH_TOKEN;
  return new Hallelujah(options.url ?? env.HALLELUJAH_URL ?? DEFAULT_URL, token);
}

export class Hallelujah {
  readonly url: string;
  private readonly token: string | undefined;

  constructor(url: string, token?: string) {
    this.url = url.replace(/\/+$/, "");
    this.token = token;
  }

  async deploy(name: string, options: DeployOptions): Promise<StreamInfo> {
    const { kernel, signal, min, max, from, retain, file } = options;
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries({ min, max, from, retain, file }))
      if (value !== undefined) search.set(key, String(value));
    for (const source of [options.source ?? []].flat()) search.append("source", source);
    for (const sink of [options.sink ?? []].flat()) search.append("sink", sink);
    const response = await this.call("PUT", `${streamPath(name)}?${search}`, {
      body: typeof kernel === "string" ? kernel : new Uint8Array(kernel),
      headers: { "content-type": typeof kernel === "string" ? "text/typescript" : "application/wasm" },
      signal,
    });
    return (await response.json()) as StreamInfo;
  }

  streams(options: { signal?: AbortSignal } = {}): Promise<StreamInfo[]> {
    return this.get("/v1/streams", options);
  }

  stream(name: string, options: { signal?: AbortSignal } = {}): Promise<StreamInfo> {
    return this.get(streamPath(name), options);
  }

  host(options: { signal?: AbortSignal } = {}): Promise<HostInfo> {
    return this.get("/v1/host", options);
  }

  jahs(options: { signal?: AbortSignal } = {}): Promise<JahInfo[]> {
    return this.get("/v1/jahs", options);
  }

  /** Changes capacity, or pauses and goes on. */
  async change(
    name: string,
    change: StreamChange,
    options: { signal?: AbortSignal } = {},
  ): Promise<StreamInfo> {
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify(change);
    const response = await this.call("PATCH", streamPath(name), { ...options, headers, body });
    return (await response.json()) as StreamInfo;
  }

  async remove(name: string, options: { keepData?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { keepData, signal } = options;
    await this.call("DELETE", `${streamPath(name)}${keepData ? "?keep=data" : ""}`, { signal });
  }

  /**
   * Pushes records, in bodies of about 1 MiB, one after the other; resolves when the host has stored all. What the host
   * has no room for, and what was lost on the way, is sent again: bodies are numbered, so none is stored twice.
   */
  async push(name: string, records: Records, options: PushOptions = {}): Promise<PushProgress> {
    const { format = "ndjson", delimiter, columns, signal, onProgress } = options;
    const search = new URLSearchParams();
    if (delimiter !== undefined) search.set("delimiter", delimiter);
    if (columns) search.set("columns", columns.join(","));
    const type = format === "csv" ? "text/csv" : format === "lines" ? "text/plain" : "application/x-ndjson";
    const progress: PushProgress = {
      bytes: 0,
      bodies: 0,
      producer: options.producer ?? randomName(),
      sequence: options.sequence ?? 0,
      frame: -1,
    };
    const path = `${streamPath(name)}/records${search.size ? `?${search}` : ""}`;
    for await (const body of bodiesOf(bytesOf(records), BODY_BYTES, format === "csv" && !columns)) {
      const headers = {
        "content-type": columns ? `${type}; header=absent` : type,
        "hallelujah-producer": progress.producer,
        "hallelujah-sequence": String(progress.sequence),
      };
      const response = await this.patiently("POST", path, { body, headers, signal });
      const { frame } = (await response.json()) as { frame: number };
      progress.bytes += body.length;
      progress.bodies++;
      progress.sequence++;
      progress.frame = frame;
      onProgress?.({ ...progress });
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
    const rows = parsed<R>(linesOf(chunksOf(response.body!)));
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

  /** The same as it comes: `accept` is application/x-ndjson, text/csv or application/json. */
  async *tableBytes(
    name: string,
    table: string,
    search: URLSearchParams,
    accept: string,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const path = `${streamPath(name)}/tables/${encodeURIComponent(table)}?${search}`;
    yield* chunksOf((await this.call("GET", path, { signal, headers: { accept } })).body!);
  }

  /**
   * Rows of a stream's output (with `late` of what its kernel's function `late` emits), from number `from` on (inclusive) or from those that come now, without end. A connection
   * that breaks is made again, behind the last row that was yielded.
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
        for await (const line of linesOf(chunksOf(response.body!))) {
          yield { sequence: next++, row: JSON.parse(line) as R };
          pause = FIRST_PAUSE_MS;
        }
      } catch (error) {
        if (signal?.aborted) return;
        if (error instanceof HallelujahError && error.code !== "host-unreachable") throw error;
      }
      await rest(pause, signal);
      if (signal?.aborted) return;
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
    yield* parsed(linesOf(chunksOf(response.body!)));
  }

  private async get<T>(path: string, { signal }: { signal?: AbortSignal }): Promise<T> {
    return (await (await this.call("GET", path, { signal })).json()) as T;
  }

  /** The same until the host takes it: it may be full, or away for a moment. */
  private async patiently(method: string, path: string, request: Request): Promise<Response> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MS_MAX)) {
      try {
        return await this.call(method, path, request);
      } catch (error) {
        request.signal?.throwIfAborted();
        const { code, retryAfterMs } = error as { code?: string; retryAfterMs?: number };
        if (retryAfterMs === undefined && code !== "host-unreachable") throw error;
        // Unreachable for long: whoever called should know.
        if (retryAfterMs === undefined && pause === PAUSE_MS_MAX) throw error;
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
      const message = `no host answers at ${this.url}; start one with: hallelujah up`;
      throw new HallelujahError("host-unreachable", message, { cause });
    }
    if (response.ok) return response;
    throw await errorOf(response);
  }
}

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

function streamPath(name: string): string {
  return `/v1/streams/${encodeURIComponent(name)}`;
}

async function errorOf(response: Response): Promise<HallelujahError> {
  const text = await response.text();
  const retryAfter = response.headers.get("retry-after");
  const more = retryAfter === null ? {} : { retryAfterMs: Number(retryAfter) * 1000 };
  try {
    const { code, detail, offers } = JSON.parse(text) as Problem;
    return Object.assign(new HallelujahError(code, detail), more, offers ? { offers } : {});
  } catch {
    const message = `${response.url} answered ${response.status}, and not as a host does; is the address right?`;
    return Object.assign(new HallelujahError("host-unknown", message), more);
  }
}

async function* parsed<R>(lines: AsyncIterable<string>): AsyncGenerator<R> {
  for await (const line of lines) yield JSON.parse(line) as R;
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

function rest(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const over = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", over);
      done();
    };
    const timer = setTimeout(over, ms);
    signal?.addEventListener("abort", over);
  });
}
