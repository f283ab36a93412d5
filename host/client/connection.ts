/**
 * Calls of a host over HTTP, and what may go wrong with them. They reject with the reason of their signal, or with a
 * HallelujahError: that of the host's problem document, `host-unreachable`, `host-unknown`, or `connection-lost`.
 */
import { HallelujahError } from "../core/errors.ts";
import type { Problem } from "../wire/http.ts";
import { chunksOf } from "./lines.ts";
import { Routes } from "./routes.ts";

export const DEFAULT_URL = "http://127.0.0.1:7747";
/** Pauses between attempts, ms: doubled each time. */
export const FIRST_PAUSE_MS = 50;
export const PAUSE_MS_MAX = 5_000;
/** A host that has not begun to answer is asked after so long, and again, whether it is there; and so long it has to answer that, ms. */
const PROBE_MS = 3_000;
/** Longest that a host is believed to want nothing, ms: timers take no more than 2^31. */
const RETRY_AFTER_MS_MAX = 10 * 60_000;

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

export class Connection {
  /** The host that was named first. */
  readonly url: string;
  private readonly token: string | undefined;
  private readonly routes: Routes;

  /** `url` may name several hosts of a cluster, joined by commas. Throws `url-invalid`. */
  constructor(url: string, token?: string) {
    const urls = url.split(",").map((each) => checked(each.trim()));
    this.url = urls[0];
    this.token = token;
    this.routes = new Routes(urls);
  }

  /**
   * The answer, once it begins; of the host that has the stream, as far as that is known, else of any. Where a host was not reached at all, or
   * has the stream no more, the next one is asked. Rejects if the answer is no good one.
   */
  async call(method: string, path: string, request: Request): Promise<Response> {
    let refused: unknown;
    for (const url of this.routes.of(path)) {
      try {
        return await this.callAt(url, method, path, request);
      } catch (error) {
        if (!this.routes.failed(method, path, url, error)) throw error;
        if ((refused as Failure | undefined)?.code !== "host-unreachable") refused = error;
      }
    }
    throw refused;
  }

  private async callAt(
    url: string,
    method: string,
    path: string,
    { body, headers, signal }: Request,
  ): Promise<Response> {
    let response: Response;
    const probing = new Probing(url);
    try {
      response = await fetch(url + path, {
        method,
        headers: {
          ...headers,
          ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        },
        ...(body === undefined ? {} : { body: body as BodyInit }),
        signal: signal ? AbortSignal.any([signal, probing.signal]) : probing.signal,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      throw unreachable(url, cause);
    } finally {
      probing.end();
    }
    const error = response.ok
      ? undefined
      : await errorOf(response).catch((cause: unknown) => this.lost(cause, signal));
    if (error?.code !== "host-unknown") this.routes.heard(path, url, response.headers);
    if (error) throw error;
    return response;
  }

  /** The answer, which is JSON. */
  async json<T>(method: string, path: string, request: Request): Promise<T> {
    const response = await this.call(method, path, request);
    try {
      return (await response.json()) as T;
    } catch (cause) {
      throw this.lost(cause, request.signal);
    }
  }

  /** The body of an answer, as it comes. */
  async *chunks(response: Response, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
    try {
      yield* chunksOf(response.body!);
    } catch (cause) {
      throw this.lost(cause, signal);
    }
  }

  /** The same until the host takes it: it may be full, or away for a moment. */
  async patiently<T>(
    method: string,
    path: string,
    request: Request,
    onRefused?: (refusal: HallelujahError) => void,
  ): Promise<T> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, PAUSE_MS_MAX)) {
      try {
        return await this.json<T>(method, path, request);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (!isPassing(error)) throw error;
        const { retryAfterMs } = error as Failure;
        // Unreachable for long: whoever called should know.
        if (retryAfterMs === undefined && pause === PAUSE_MS_MAX) throw error;
        if (retryAfterMs !== undefined) onRefused?.(error as HallelujahError);
        await rest((retryAfterMs ?? pause) * (0.75 + Math.random() / 2), request.signal);
      }
    }
  }

  /** An answer broke off. */
  lost(cause: unknown, signal: AbortSignal | undefined): HallelujahError {
    signal?.throwIfAborted();
    const message = `the connection to ${this.url} was lost in the middle of an answer; try again`;
    return new HallelujahError("connection-lost", message, { cause });
  }
}

/**
 * Whether a host that takes long to answer is there at all: one that is stopped, or cut off, closes no connection. `signal` is aborted when it does
 * not answer to anything.
 */
class Probing {
  private readonly url: string;
  private readonly stalled = new AbortController();
  private timer: ReturnType<typeof setTimeout>;
  private isOver = false;

  constructor(url: string) {
    this.url = url;
    this.timer = this.next();
  }

  get signal(): AbortSignal {
    return this.stalled.signal;
  }

  end(): void {
    this.isOver = true;
    clearTimeout(this.timer);
  }

  private next(): ReturnType<typeof setTimeout> {
    return setTimeout(() => void this.probe(), PROBE_MS);
  }

  private async probe(): Promise<void> {
    try {
      const response = await fetch(`${this.url}/v1/host`, { signal: AbortSignal.timeout(PROBE_MS) });
      await response.arrayBuffer();
      if (!this.isOver) this.timer = this.next();
    } catch (cause) {
      const why = `it has not answered for ${(2 * PROBE_MS) / 1000} s`;
      if (!this.isOver) this.stalled.abort(Object.assign(new Error(why, { cause }), { isStalled: true }));
    }
  }
}

/** Where a stream is, on any host. */
export function streamPath(name: string): string {
  return `/v1/streams/${encodeURIComponent(name)}`;
}

/** Throws `url-invalid`. */
function checked(url: string): string {
  if (/^https?:$/.test(protocolOf(url))) return url.replace(/\/+$/, "");
  const meant = /^[\w.-]+:\d+\/*$/.test(url) ? `http://${url}` : DEFAULT_URL;
  throw new HallelujahError("url-invalid", `"${url}" is no URL of a host; it would be ${meant}`);
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

/** What a Retry-After says, ms: seconds, or a date (RFC 9110, 10.2.3); undefined if that is neither. */
function retryAfterOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), RETRY_AFTER_MS_MAX);
}

/** Whether the host may take the same in a moment. */
export function isPassing(error: unknown): boolean {
  const { code, retryAfterMs } = error as Failure;
  return retryAfterMs !== undefined || AWAY.has(code!);
}

/** Waits; rejects with the signal's reason. */
export function rest(ms: number, signal?: AbortSignal): Promise<void> {
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
