/**
 * Where a stream's output goes by itself: a file on this host, or a URL that is called with batches of rows. A sink goes
 * on where it stopped, by the number of the next row, which is kept beside the stream.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { WEBHOOK_PATIENCE_MS, WEBHOOK_RETRY_MS_MAX } from "../core/limits.ts";
import { isCount, seal, unseal } from "../store/sealed.ts";
import type { OutputRows } from "./host.ts";

/** Hears why a sink takes no rows, or that it does. */
type Stands = (problem: string | undefined) => void;

/** What files of positions begin with that were written before they had checksums. */
const BEFORE_CHECKSUMS = '{"next":';
const VERSION = 2;

/** How far a sink has got: the next row, and for a file its length. */
interface Position {
  next: number;
  bytes: number;
}

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
 * Brings rows to `target` until `signal`; `read` gives the rows from a number on. Rejects if it cannot go on: the target
 * refuses rows, or cannot be written. `stands` is told why a target does not take rows for now, and that it takes them.
 */
export async function runSink(
  target: string,
  stream: string,
  positionFile: string,
  read: (from: number) => AsyncIterable<OutputRows>,
  signal: AbortSignal,
  stands: Stands = () => {},
): Promise<void> {
  const position = readPosition(positionFile);
  if (HTTP.test(target)) await callWebhook(target, stream, position, positionFile, read, signal, stands);
  else await appendFile(target, position, positionFile, read);
}

async function appendFile(
  path: string,
  position: Position | undefined,
  positionFile: string,
  read: (from: number) => AsyncIterable<OutputRows>,
): Promise<void> {
  let handle;
  let marks;
  try {
    handle = await open(path, existsSync(path) ? "r+" : "w+");
    marks = new Marks(handle, positionFile);
    const { size } = await handle.stat();
    let at = size;
    if (position) {
      // Rows beyond the position were written, but maybe not all of them: they come again.
      at = Math.min(position.bytes, size);
      await handle.truncate(at);
    } else await writePosition(positionFile, { next: 0, bytes: at });
    for await (const { from, count, bytes } of read(position?.next ?? 0)) {
      for (let done = 0; done < bytes.length; )
        done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
      at += bytes.length;
      marks.reached({ next: from + count, bytes: at });
    }
    await marks.settled();
  } catch (cause) {
    await marks?.settled().catch(() => {});
    if (cause instanceof HallelujahError) throw cause;
    throw new HallelujahError("sink-failed", `${path} cannot be written: ${messageOf(cause)}`, { cause });
  } finally {
    await handle?.close();
  }
}

/**
 * Keeps how far a file has got. A position reaches the disk behind the rows that it counts, or a loss of power would leave a gap;
 * those that come while one is written are one more.
 */
class Marks {
  private readonly handle: FileHandle;
  private readonly positionFile: string;
  private next: Position | undefined;
  private writing: Promise<void> | undefined;
  private failure: { cause: unknown } | undefined;

  constructor(handle: FileHandle, positionFile: string) {
    this.handle = handle;
    this.positionFile = positionFile;
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
        await writePosition(this.positionFile, position);
      }
    } catch (cause) {
      this.failure = { cause };
    }
    this.writing = undefined;
  }
}

async function callWebhook(
  url: string,
  stream: string,
  position: Position | undefined,
  positionFile: string,
  read: (from: number) => AsyncIterable<OutputRows>,
  signal: AbortSignal,
  stands: Stands,
): Promise<void> {
  for await (const { from, count, bytes } of read(position?.next ?? 0)) {
    await deliver(url, stream, from, bytes, signal, stands);
    if (signal.aborted) return;
    stands(undefined);
    await writePosition(positionFile, { next: from + count, bytes: 0 });
  }
}

/** Sends rows until they are taken; a refusal that will not change is an error. */
async function deliver(
  url: string,
  stream: string,
  from: number,
  bytes: Buffer,
  signal: AbortSignal,
  stands: Stands,
): Promise<void> {
  for (let pause = 100; !signal.aborted; pause = Math.min(pause * 2, WEBHOOK_RETRY_MS_MAX)) {
    let askedMs = 0;
    try {
      const response = await fetch(url, {
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
      const { status } = response;
      if (response.ok) return;
      askedMs = Math.min(Number(response.headers.get("retry-after") ?? 0) * 1000 || 0, WEBHOOK_RETRY_MS_MAX);
      if (status < 500 && status !== 408 && status !== 429)
        throw new HallelujahError(
          "sink-refused",
          `${url} answered ${status} to row ${from}; it gets no more`,
        );
      stands(`${url} answered ${status} to row ${from}; it is tried again`);
    } catch (error) {
      if (error instanceof HallelujahError) throw error;
      if (signal.aborted) return;
      const why = messageOf((error as Error).cause ?? error);
      stands(`${url} did not take row ${from} (${why}); it is tried again`);
    }
    // With jitter, so that several sinks of one server do not come back at once.
    await sleep(Math.max(askedMs, pause * (0.5 + Math.random())), undefined, { signal }).catch(() => {});
  }
}

/** Undefined before the first start. */
function readPosition(path: string): Position | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const { next, bytes } = unseal(readFileSync(path), BEFORE_CHECKSUMS) as Record<string, unknown>;
    if (isCount(next) && isCount(bytes)) return { next, bytes };
    throw new Error("it is no position");
  } catch (cause) {
    const message = `${path} cannot be read, so that nobody knows how far this sink has got: ${messageOf(cause)}; bring it back from a backup`;
    throw new HallelujahError("sink-failed", message, { cause });
  }
}

async function writePosition(path: string, position: Position): Promise<void> {
  const handle = await open(`${path}.new`, "w");
  try {
    await handle.writeFile(seal({ version: VERSION, ...position }));
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(`${path}.new`, path);
}
