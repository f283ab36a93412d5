/**
 * A host as a program uses it: `connect()` and its methods, over HTTP, in Node and in browsers. Every method takes an
 * AbortSignal, with whose reason it then rejects; other errors are HallelujahErrors, with the code of the host's problem
 * document, or `host-unreachable`, or `connection-lost` for an answer that broke off.
 */
import { HallelujahError } from "../core/errors.ts";
import type { Problem, Pushed } from "../wire/http.ts";
import { notExpected, rowOf, rowsWith } from "./answers.ts";
import {
  Connection,
  DEFAULT_URL,
  FIRST_PAUSE_MS,
  isPassing,
  PAUSE_MS_MAX,
  rest,
  streamPath,
} from "./connection.ts";
import type {
  ClusterHostInfo,
  ConnectOptions,
  DeadLetterInfo,
  DeployOptions,
  HostInfo,
  JahInfo,
  OutputRow,
  PushOptions,
  PushProgress,
  QueryOptions,
  Records,
  ReprocessOptions,
  Rows,
  StreamChange,
  StreamInfo,
  SwapOptions,
  SwapPlan,
  VersionInfo,
  VisitOptions,
} from "./contract.ts";
import { linesOf } from "./lines.ts";
import { push } from "./pushing.ts";
import type { Row } from "./rows.ts";

export type * from "./contract.ts";

/** A host at an address. Nothing is sent before a method is called. Throws `url-invalid`. */
export function connect(options: ConnectOptions = {}): Hallelujah {
  const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {};
  const token = options.token ?? env.HALLELUJAH_TOKEN;
  return new Hallelujah(options.url ?? (env.HALLELUJAH_URL || DEFAULT_URL), token);
}

export class Hallelujah {
  readonly url: string;
  private readonly connection: Connection;

  /** Throws `url-invalid`. */
  constructor(url: string, token?: string) {
    this.connection = new Connection(url, token);
    this.url = this.connection.url;
  }

  async deploy(name: string, options: DeployOptions): Promise<StreamInfo> {
    const { kernel, signal, inputFormat, min, max, from, share, host, retain, strict, file } = options;
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries({
      inputFormat,
      min,
      max,
      from,
      share,
      host,
      retain,
      strict,
      file,
    }))
      if (value !== undefined) search.set(key, String(value));
    for (const source of [options.source ?? []].flat()) search.append("source", source);
    for (const sink of [options.sink ?? []].flat()) search.append("sink", sink);
    return this.connection.json("PUT", `${streamPath(name)}?${search}`, {
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
    await this.connection.call("DELETE", `${streamPath(name)}?reprocess=true`, options);
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
    return this.connection.json("PUT", `${streamPath(name)}?${search}`, {
      ...(kernel === undefined ? { headers: there } : bodyOfKernel(kernel, there)),
      signal,
    });
  }

  /** The versions of a stream's kernel, the oldest first. */
  versions(name: string, options: { signal?: AbortSignal } = {}): Promise<VersionInfo[]> {
    return this.connection.json("GET", `${streamPath(name)}/versions`, options);
  }

  streams(options: { signal?: AbortSignal } = {}): Promise<StreamInfo[]> {
    return this.connection.json("GET", "/v1/streams", options);
  }

  stream(name: string, options: { signal?: AbortSignal } = {}): Promise<StreamInfo> {
    return this.connection.json("GET", streamPath(name), options);
  }

  host(options: { signal?: AbortSignal } = {}): Promise<HostInfo> {
    return this.connection.json("GET", "/v1/host", options);
  }

  /** The hosts of the cluster; of one that is alone, itself. */
  hosts(options: { signal?: AbortSignal } = {}): Promise<ClusterHostInfo[]> {
    return this.connection.json("GET", "/v1/hosts", options);
  }

  jahs(options: { signal?: AbortSignal } = {}): Promise<JahInfo[]> {
    return this.connection.json("GET", "/v1/jahs", options);
  }

  /** Changes capacity, or pauses and goes on. */
  change(name: string, change: StreamChange, options: { signal?: AbortSignal } = {}): Promise<StreamInfo> {
    const headers = { "content-type": "application/json" };
    return this.connection.json("PATCH", streamPath(name), {
      ...options,
      headers,
      body: JSON.stringify(change),
    });
  }

  async remove(name: string, options: { keepData?: boolean; signal?: AbortSignal } = {}): Promise<void> {
    const { keepData, signal } = options;
    await this.connection.call("DELETE", `${streamPath(name)}${keepData ? "?keep=data" : ""}`, { signal });
  }

  /** Frames that stopped the kernel twice and were set aside. */
  deadLetters(name: string, options: { signal?: AbortSignal } = {}): Promise<DeadLetterInfo[]> {
    return this.connection.json("GET", `${streamPath(name)}/dead`, options);
  }

  /** The records of one, as they were logged. */
  async deadLetter(name: string, frame: number, options: { signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const response = await this.connection.call("GET", `${streamPath(name)}/dead/${frame}`, options);
    try {
      return new Uint8Array(await response.arrayBuffer());
    } catch (cause) {
      throw this.connection.lost(cause, options.signal);
    }
  }

  /** Logs its records again; resolves with the frame that holds them now. */
  async retryDeadLetter(
    name: string,
    frame: number,
    options: { signal?: AbortSignal } = {},
  ): Promise<number> {
    const path = `${streamPath(name)}/dead/${frame}/retry`;
    return (await this.connection.json<Pushed>("POST", path, options)).frame;
  }

  /** Drops it and its records. */
  async dropDeadLetter(name: string, frame: number, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.connection.call("DELETE", `${streamPath(name)}/dead/${frame}`, options);
  }

  /**
   * Pushes records, in bodies of about 1 MiB, one after the other; resolves when the host has stored all. What the host
   * has no room for, and what was lost on the way, is sent again: bodies are numbered, so none is stored twice.
   */
  push(name: string, records: Records, options: PushOptions = {}): Promise<PushProgress> {
    return push(this.connection, name, records, options);
  }

  /** Reads rows of a table. Resolves when the host answers, with its rows yet to come. */
  async query<R = Row>(name: string, table: string, options: QueryOptions = {}): Promise<Rows<R>> {
    const { key, order, limit, signal } = options;
    const search = new URLSearchParams();
    if (key !== undefined) search.set("key", typeof key === "string" ? key : JSON.stringify(key));
    if (order !== undefined) search.set("order", order);
    if (limit !== undefined) search.set("limit", String(limit));
    const path = `${streamPath(name)}/tables/${encodeURIComponent(table)}?${search}`;
    const response = await this.connection.call("GET", path, {
      signal,
      headers: { accept: "application/x-ndjson" },
    });
    return rowsWith(linesOf(this.connection.chunks(response, signal)), response, this.url);
  }

  /**
   * Runs a kernel over the rows that a stream keeps, or those of a table, where they are. Resolves when its first rows are there: what it emits, then its
   * tables. Leaving the loop ends it. Rejects with `dataset-missing`, `column-missing`, `column-type`, `compile-failed`, `kernel-trapped`,
   * `visit-timeout`, `visit-too-large` or `visit-dropped`.
   */
  async visit<R = Row>(name: string, options: VisitOptions): Promise<Rows<R>> {
    const response = await this.callVisit(name, options, "application/x-ndjson");
    return rowsWith(linesOf(this.connection.chunks(response, options.signal)), response, this.url);
  }

  /** The same as it comes: `accept` is application/x-ndjson, text/csv or application/json. */
  async *visitBytes(name: string, options: VisitOptions, accept: string): AsyncGenerator<Uint8Array> {
    yield* this.connection.chunks(await this.callVisit(name, options, accept), options.signal);
  }

  /**
   * A visit that stays: results of the kernel's tables over the rows that are there and those that come, each of them whole, until the loop
   * is left or `signal`, or the stream is removed. Rejects with what ends it: as `visit`, or `visit-format` if the kernel emits.
   */
  async *follow<R = Row>(name: string, options: VisitOptions): AsyncGenerator<{ frame: number; rows: R[] }> {
    const response = await this.callVisit(name, { ...options, follow: true }, "application/x-ndjson");
    for await (const line of linesOf(this.connection.chunks(response, options.signal))) {
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
    return this.connection.call("POST", path, { ...bodyOfKernel(kernel, { accept }), signal });
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
    yield* this.connection.chunks(
      await this.connection.call("GET", path, { signal, headers: { accept } }),
      signal,
    );
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
        const response = await this.connection.call("GET", path, {
          signal,
          headers: { accept: "application/x-ndjson" },
        });
        for await (const line of linesOf(this.connection.chunks(response, signal))) {
          yield { sequence: next++, row: rowOf<R>(line, this.url) };
          pause = FIRST_PAUSE_MS;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (!isPassing(error)) throw error;
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
    const response = await this.connection.call("GET", `/v1/logs?${search}`, { signal });
    for await (const line of linesOf(this.connection.chunks(response, signal))) yield rowOf(line, this.url);
  }

  /** A copy of all streams, as a tar archive: what `hallelujah restore` takes. */
  async *backup(options: { signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array> {
    yield* this.connection.chunks(await this.connection.call("POST", "/v1/backup", options), options.signal);
  }
}

function bodyOfKernel(kernel: string | Uint8Array, headers: Record<string, string>) {
  const isText = typeof kernel === "string";
  return {
    body: isText ? kernel : new Uint8Array(kernel),
    headers: { ...headers, "content-type": isText ? "text/typescript" : "application/wasm" },
  };
}
