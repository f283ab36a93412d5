/**
 * The way of pushed records from the socket to the stream, without a framework in between: a body's chunks are kept as
 * they come, and handed on together.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createGunzip } from "node:zlib";
import { HallelujahError } from "../../core/errors.ts";
import {
  BODIES_BYTES_MAX,
  BODY_BYTES_MAX,
  BODY_BYTES_PER_SECOND_MIN,
  BODY_IDLE_MS,
} from "../../core/limits.ts";
import type { Host, PushBody, RecordFormat } from "../host.ts";

const PATH = /^\/v1\/streams\/([^/?]+)\/records(?:\?(.*))?$/;
const TYPES: Record<string, RecordFormat> = {
  "application/x-ndjson": "ndjson",
  "application/ndjson": "ndjson",
  "application/jsonl": "ndjson",
  "text/csv": "csv",
  "text/plain": "lines",
};
const PRODUCER = /^[A-Za-z0-9._-]{1,128}$/;
const INTEGER = /^\d{1,15}$/;

/** Bytes of all bodies that are being received. */
let receiving = 0;

/** Whether the request is one that pushes records. */
export function isPush(request: IncomingMessage): boolean {
  return request.method === "POST" && PATH.test(request.url!);
}

/** Takes a body in and answers. Rejects with what a client did wrong. */
export async function push(host: Host, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, name, search] = PATH.exec(request.url!)!;
  const body = describe(request, new URLSearchParams(search));
  const { chunks, bytes } = await receive(request);
  try {
    const { frame } = await host.push(decodeName(name), { ...body, chunks, bytes });
    const answer = `{"frame":${frame},"bytes":${bytes}}\n`;
    response.writeHead(200, { "content-type": "application/json", "content-length": answer.length });
    response.end(answer);
  } finally {
    receiving -= bytes;
  }
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new HallelujahError("bad-request", `${text} is no name: its percent-encoding is broken`);
  }
}

/** What the headers say of a body. */
function describe({ headers }: IncomingMessage, search: URLSearchParams): Omit<PushBody, "chunks" | "bytes"> {
  const [type, ...parameters] = (headers["content-type"] ?? "")
    .split(";")
    .map((part) => part.trim().toLowerCase());
  const format = TYPES[type];
  if (!format) {
    const message = `records are sent as application/x-ndjson, text/csv or text/plain (lines), not as ${type || "nothing said"}`;
    throw new HallelujahError("media-type", message);
  }
  const producer = headers["hallelujah-producer"] as string | undefined;
  const sequence = headers["hallelujah-sequence"] as string | undefined;
  if ((producer === undefined) !== (sequence === undefined))
    throw new HallelujahError("bad-request", "Hallelujah-Producer and Hallelujah-Sequence go together");
  if (producer !== undefined && !PRODUCER.test(producer))
    throw new HallelujahError(
      "bad-request",
      "Hallelujah-Producer takes 1 to 128 letters, digits, dots, - and _",
    );
  if (sequence !== undefined && !INTEGER.test(sequence))
    throw new HallelujahError("bad-request", "Hallelujah-Sequence is a whole number");
  const delimiter = search.get("delimiter");
  if (delimiter !== null && (Buffer.byteLength(delimiter) !== 1 || /["\r\n]/.test(delimiter)))
    throw new HallelujahError("bad-request", "delimiter is one byte, and neither a quote nor a line break");
  const columns = search.get("columns")?.split(",");
  if (format === "csv" && parameters.includes("header=absent") && !columns)
    throw new HallelujahError("bad-request", "a body without a header line needs ?columns=a,b,c");
  const end = search.get("end") ?? "false";
  if (end !== "true" && end !== "false") throw new HallelujahError("bad-request", "end is true or false");
  return {
    format,
    end: end === "true",
    ...(delimiter === null ? {} : { delimiter }),
    ...(columns ? { columns } : {}),
    ...(producer === undefined ? {} : { producer, sequence: Number(sequence) }),
  };
}

/** All chunks of a body. What they take counts among `receiving` until the caller takes it off. */
export function receive(request: IncomingMessage): Promise<{ chunks: Buffer[]; bytes: number }> {
  const length = Number(request.headers["content-length"] ?? 0);
  if (length > BODY_BYTES_MAX) return Promise.reject(tooLarge());
  if (receiving + length > BODIES_BYTES_MAX) return Promise.reject(busy());
  const encoding = request.headers["content-encoding"]?.toLowerCase();
  if (encoding !== undefined && encoding !== "gzip" && encoding !== "identity")
    return Promise.reject(
      new HallelujahError("media-type", `bodies are sent as they are, or with gzip; not ${encoding}`),
    );
  const source = encoding === "gzip" ? request.pipe(createGunzip()) : request;
  return new Promise((done, fail) => {
    const chunks: Buffer[] = [];
    const startedAt = performance.now();
    let bytes = 0;
    let sent = 0;
    let over = false;
    const stop = (error: Error) => {
      if (over) return;
      over = true;
      receiving -= bytes;
      chunks.length = 0;
      if (source !== request) source.destroy();
      fail(error);
    };
    request.setTimeout(BODY_IDLE_MS, () =>
      stop(
        new HallelujahError(
          "request-timeout",
          `nothing came for ${BODY_IDLE_MS / 1000} s, and the body is not whole`,
        ),
      ),
    );
    // What was sent, which compressed may come to nothing for long.
    request.on("data", (chunk: Buffer) => {
      sent += chunk.length;
      const allowedMs = BODY_IDLE_MS + (sent * 1000) / BODY_BYTES_PER_SECOND_MIN;
      if (performance.now() - startedAt > allowedMs)
        stop(new HallelujahError("request-timeout", "the body comes too slowly"));
    });
    source.on("data", (chunk: Buffer) => {
      if (over) return;
      bytes += chunk.length;
      receiving += chunk.length;
      chunks.push(chunk);
      if (bytes > BODY_BYTES_MAX) stop(tooLarge());
      else if (receiving > BODIES_BYTES_MAX) stop(busy());
    });
    source.on("end", () => {
      if (over) return;
      over = true;
      request.setTimeout(0);
      done({ chunks, bytes });
    });
    source.on("error", (cause) =>
      stop(new HallelujahError("bad-request", `the body is broken: ${cause.message}`, { cause })),
    );
    request.on("close", () => {
      // A compressed body may be there as a whole and still be in the works.
      if (!request.complete)
        stop(new HallelujahError("bad-request", "the client left before the body was whole"));
    });
  });
}

/** Whoever received a body is done with it. */
export function received(bytes: number): void {
  receiving -= bytes;
}

function busy(): HallelujahError {
  const message = "this host is taking in all the bodies that it can hold; send it again in a moment";
  return new HallelujahError("busy", message);
}

function tooLarge(): HallelujahError {
  const message = `a body may have ${BODY_BYTES_MAX >> 20} MiB at most; send the records in several`;
  return new HallelujahError("body-too-large", message);
}
