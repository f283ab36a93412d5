/** Inputs that only arrive in order: standard input and compressed files, as chunks of decompressed bytes. */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { HEAD_BYTES } from "../core/limits.ts";
import { isGzip, isRemote } from "./discover.ts";

const CHUNK_BYTES = 256 * 1024;

export class ByteStream {
  /** Name for messages. */
  readonly name: string;
  /** Bytes taken from the file or pipe so far, before decompression. */
  rawBytes = 0;
  /** Whether they are decompressed on the way. */
  compressed = false;
  /** The first bytes, once `head` was asked for. */
  seen: Buffer = Buffer.alloc(0);
  private readonly chunks: AsyncIterator<Buffer>;
  private readonly buffered: Buffer[] = [];
  private readonly closing: () => void;

  private constructor(name: string, chunks: AsyncIterator<Buffer>, closing: () => void) {
    this.name = name;
    this.chunks = chunks;
    this.closing = closing;
  }

  /** Opens a file, an object of a server, or standard input for `-`; `signal` ends what a server sends. */
  static async open(
    path: string,
    stdin: Readable,
    stdinName = "standard input",
    signal?: AbortSignal,
  ): Promise<ByteStream> {
    if (path === "-") return ByteStream.over(stdinName, stdin, () => {});
    if (isRemote(path)) {
      const { openRemote } = await import("./remote.ts");
      const stop = new AbortController();
      const any = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
      const { name, chunks } = openRemote(path, any);
      return ByteStream.over(name, chunks, () => stop.abort());
    }
    const raw = createReadStream(path, { highWaterMark: CHUNK_BYTES });
    return ByteStream.over(path, raw, () => raw.destroy());
  }

  /** Over chunks, of which gzip is recognised by the first bytes; `close` says that no more is read. */
  private static async over(
    name: string,
    raw: AsyncIterable<Buffer | string>,
    close: () => void,
  ): Promise<ByteStream> {
    const counted: { stream?: ByteStream } = {};
    const source = (async function* () {
      for await (const chunk of raw) {
        const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
        if (counted.stream) counted.stream.rawBytes += bytes.length;
        yield bytes;
      }
    })();
    let first: Buffer = Buffer.alloc(0);
    while (first.length < 2) {
      const { value, done } = await source.next();
      if (done) break;
      first = Buffer.concat([first, value]);
    }
    const whole = (async function* () {
      if (first.length) yield first;
      yield* source;
    })();
    const compressed = isGzip(first);
    const chunks = compressed ? gunzip(whole) : whole;
    counted.stream = new ByteStream(name, chunks[Symbol.asyncIterator]() as AsyncIterator<Buffer>, close);
    counted.stream.rawBytes = first.length;
    counted.stream.compressed = compressed;
    return counted.stream;
  }

  /** The first bytes, at most about HEAD_BYTES; `next` gives them again. */
  async head(): Promise<Buffer> {
    let length = 0;
    while (length < HEAD_BYTES) {
      const chunk = await this.pull();
      if (!chunk) break;
      this.buffered.push(chunk);
      length += chunk.length;
    }
    const head = Buffer.concat(this.buffered);
    this.buffered.splice(0, this.buffered.length, ...(head.length ? [head] : []));
    this.seen = head.subarray(0, HEAD_BYTES);
    return this.seen;
  }

  /** The next bytes; undefined at the end. */
  async next(): Promise<Buffer | undefined> {
    return this.buffered.shift() ?? this.pull();
  }

  close(): void {
    this.closing();
  }

  private async pull(): Promise<Buffer | undefined> {
    try {
      const { value, done } = await this.chunks.next();
      return done ? undefined : value;
    } catch (cause) {
      if (cause instanceof HallelujahError) throw cause;
      const zlib = (cause as { code?: string }).code?.startsWith("Z_");
      const what = zlib ? "is broken gzip" : "cannot be read";
      throw new HallelujahError(
        zlib ? "input-corrupt" : "input-unreadable",
        `${this.name} ${what}: ${messageOf(cause)}`,
        {
          cause,
        },
      );
    }
  }
}

/** Decompressed chunks; a stream of several members is one (RFC 1952, 2.2). */
async function* gunzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const feed = (async () => {
    try {
      for await (const chunk of source) {
        if (!gunzip.write(chunk)) await new Promise((done) => gunzip.once("drain", done));
      }
      gunzip.end();
    } catch (error) {
      gunzip.destroy(error as Error);
    }
  })();
  yield* gunzip as AsyncIterable<Buffer>;
  await feed;
}
