/**
 * Where a stream's output goes by itself: a file on this host, or a URL that is called with batches of rows. A sink goes
 * on where it stopped, by the number of the next row, which is kept beside the stream; one that fails is tried again.
 */
import { existsSync, statSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Backoff } from "../core/backoff.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { SINK_RETRY_MS, SINK_RETRY_MS_MAX, WEBHOOK_PATIENCE_MS } from "../core/limits.ts";
import type { OutputRows } from "./host.ts";
import type { Position, Positions } from "./positions.ts";

/** How a sink stands: the next row that it gets, and why it takes none for now. */
export interface SinkStanding {
  row: number;
  error?: string;
}

type Stands = (standing: SinkStanding) => void;
type Read = (from: number) => AsyncIterable<OutputRows>;

const HTTP = /^https?:\/\//;
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** Throws `sink-invalid` for what can be no sink: a URL of another kind, a file whose folder is not there. */
export function checkSink(target: string): void {
  const invalid = (why: string) => new HallelujahError("sink-invalid", `${target} ${why}`);
  if (HTTP.test(target)) {
    if (!URL.canParse(target)) throw invalid("is no URL");
    return;
  }
  if (SCHEME.test(target)) throw invalid("cannot be a sink; rows go to files of the host, and http(s) URLs");
  const folder = dirname(resolve(target));
  if (!isFolder(folder)) throw invalid(`cannot be written: there is no folder ${folder}`);
  if (isFolder(target)) throw invalid("is a folder; name a file in it");
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/**
 * Brings rows to `target` until `signal`; `read` gives the rows from a number on. Whatever goes wrong, it is tried again, after
 * pauses that grow, from the row behind the last that was taken; `stands` hears of it, and of rows that were taken.
 */
export async function runSink(
  target: string,
  stream: string,
  positions: Positions,
  read: Read,
  signal: AbortSignal,
  stands: Stands = () => {},
): Promise<void> {
  const backoff = new Backoff(SINK_RETRY_MS, SINK_RETRY_MS_MAX);
  let row = 0;
  const takes = (next: number) => {
    backoff.reset();
    row = next;
    stands({ row });
  };
  while (!signal.aborted) {
    try {
      const position = await positions.read();
      row = position?.next ?? 0;
      if (HTTP.test(target)) await callWebhook(target, stream, row, positions, read, signal, takes);
      else await appendFile(target, position, positions, read, takes);
      return;
    } catch (error) {
      if (signal.aborted) return;
      stands({ row, error: `${messageOf(error)}; it is tried again` });
      await backoff.pause(signal, error instanceof Refusal ? error.askedMs : 0);
    }
  }
}

/** Ends when there are no more rows. Rejects with `sink-failed`. */
async function appendFile(
  path: string,
  position: Position | undefined,
  positions: Positions,
  read: Read,
  takes: (next: number) => void,
): Promise<void> {
  let handle;
  let marks;
  try {
    handle = await open(path, existsSync(path) ? "r+" : "w+");
    const { size } = await handle.stat();
    // Rows beyond the position were written, but maybe not all of them: they come again. A file that is shorter is another one.
    let at = Math.min(position?.bytes ?? size, size);
    await handle.truncate(at);
    const next = position?.next ?? 0;
    if (position?.bytes !== at) await positions.write({ next, bytes: at });
    takes(next);
    marks = new Marks(handle, positions, takes);
    for await (const { from, count, bytes } of read(next)) {
      if (!(await isAt(path, handle))) {
        // What is there now, or will be, is gone on with at its end.
        await marks.settled();
        await positions.write({ next: from, bytes: Number.MAX_SAFE_INTEGER });
        throw new Error("it was moved or removed");
      }
      for (let done = 0; done < bytes.length; )
        done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      at += bytes.length;
      marks.reached({ next: from + count, bytes: at });
    }
    await marks.settled();
  } catch (cause) {
    await marks?.settled().catch(() => {});
    throw new HallelujahError("sink-failed", `${path} cannot be written: ${messageOf(cause)}`, { cause });
  } finally {
    await handle?.close();
  }
}

/** Whether a file that is open is the one that its path names. */
async function isAt(path: string, handle: FileHandle): Promise<boolean> {
  const own = await handle.stat();
  const there = await stat(path).catch(() => undefined);
  return there?.ino === own.ino && there.dev === own.dev;
}

/**
 * Keeps how far a file has got. A position reaches the disk behind the rows that it counts, or a loss of power would leave a gap;
 * those that come while one is written are one more.
 */
class Marks {
  private readonly handle: FileHandle;
  private readonly positions: Positions;
  private next: Position | undefined;
  private writing: Promise<void> | undefined;
  private failure: { cause: unknown } | undefined;
  private readonly kept: (next: number) => void;

  /** `kept` hears of each position that is kept. */
  constructor(handle: FileHandle, positions: Positions, kept: (next: number) => void) {
    this.handle = handle;
    this.positions = positions;
    this.kept = kept;
  }

  /** Throws if one before could not be kept. */
  reached(position: Position): void {
    if (this.failure) throw this.failure.cause;
    this.next = position;
    this.writing ??= this.write();
  }

  /** Resolves when the last one is kept. Rejects if it cannot be. */
  async settled(): Promise<void> {
    await this.writing;
    if (this.failure) throw this.failure.cause;
  }

  private async write(): Promise<void> {
    try {
      while (this.next) {
        const position = this.next;
        this.next = undefined;
        await this.handle.datasync();
        await this.positions.write(position);
        this.kept(position.next);
      }
    } catch (cause) {
      this.failure = { cause };
    }
    this.writing = undefined;
  }
}

/** Ends when there are no more rows. Rejects with `sink-refused`. */
async function callWebhook(
  url: string,
  stream: string,
  next: number,
  positions: Positions,
  read: Read,
  signal: AbortSignal,
  takes: (next: number) => void,
): Promise<void> {
  for await (const { from, count, bytes } of read(next)) {
    await post(url, stream, from, bytes, signal);
    await positions.write({ next: from + count, bytes: 0 });
    takes(from + count);
  }
}

/** A server that does not take rows; `askedMs` is how long it wants to be left alone. */
class Refusal extends HallelujahError {
  readonly askedMs: number;

  constructor(message: string, askedMs = 0, cause?: unknown) {
    super("sink-refused", message, { cause });
    this.askedMs = askedMs;
  }
}

/** Sends rows; the same rows have the same key, however often they are sent. */
async function post(
  url: string,
  stream: string,
  from: number,
  bytes: Buffer,
  signal: AbortSignal,
): Promise<void> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: "POST",
      redirect: "manual",
      headers: {
        "content-type": "application/x-ndjson",
        "hallelujah-stream": stream,
        "hallelujah-from": String(from),
        "idempotency-key": `${stream}-${from}`,
      },
      body: new Uint8Array(bytes),
      signal: AbortSignal.any([signal, AbortSignal.timeout(WEBHOOK_PATIENCE_MS)]),
    });
    await response.arrayBuffer();
  } catch (error) {
    const why = messageOf((error as Error).cause ?? error);
    throw new Refusal(`${url} did not take row ${from} (${why})`, 0, error);
  }
  if (response.ok) return;
  const askedMs = Number(response.headers.get("retry-after") ?? 0) * 1000 || 0;
  throw new Refusal(`${url} answered ${response.status} to row ${from}`, askedMs);
}
