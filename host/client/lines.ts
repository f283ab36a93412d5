/** Whole lines out of chunks of bytes; what a line holds is not looked at. Node and browsers. */

import { HallelujahError } from "../core/errors.ts";

const LF = 0x0a;
const QUOTE = 0x22;
/** A line that is longer than a body may be, is none. */
const LINE_BYTES_MAX = 16 << 20;

/** Yields the lines of a body, without their line feeds, as text. */
export async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const text = rest + decoder.decode(chunk, { stream: true });
    let at = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", at)) {
      if (end > at) yield text.slice(at, end);
      at = end + 1;
    }
    rest = text.slice(at);
  }
  if (rest) yield rest;
}

/** A stream's chunks, where it has no async iterator of its own. */
export async function* chunksOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/**
 * Joins chunks into bodies of whole lines: as many as fit in `bytes`, or the one that does not. With `header` (CSV) each
 * starts with the first line, and a line feed within quotes ends no line. Bodies depend on the bytes alone, not on the
 * chunks in which they come, so that a push of the same records again has the same bodies. Throws `record-too-large`.
 */
export async function* bodiesOf(
  chunks: AsyncIterable<Uint8Array>,
  bytes: number,
  header: boolean,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let first: Uint8Array | undefined;
  let waiting: Uint8Array[] = [];
  let length = 0;
  /** Whether a body could be cut off what waits, if there were enough of it. */
  let lines = false;
  for await (const chunk of chunks) {
    waiting.push(chunk);
    length += chunk.length;
    lines ||= chunk.includes(LF);
    if (!lines) {
      if (length > LINE_BYTES_MAX) throw tooLarge();
      continue;
    }
    const room = Math.max(1, bytes - (first?.length ?? 0));
    if (length < room && (first || !header)) continue;
    let rest = join(waiting);
    if (header && !first) {
      const end = rest.indexOf(LF) + 1;
      first = rest.subarray(0, end);
      rest = rest.subarray(end);
    }
    const head = first ? [first] : [];
    for (let end = endOfBody(rest, bytes, head); end; end = endOfBody(rest, bytes, head)) {
      yield join([...head, rest.subarray(0, end)]);
      rest = rest.subarray(end);
    }
    waiting = [rest];
    length = rest.length;
    lines = rest.includes(LF);
  }
  if (length) yield join(first ? [first, ...waiting] : waiting);
}

/** Where the first body of `rest` ends; 0 if that is not there yet. */
function endOfBody(rest: Uint8Array, bytes: number, head: Uint8Array[]): number {
  const room = Math.max(1, bytes - (head[0]?.length ?? 0));
  if (rest.length < room) return 0;
  const last = rest.lastIndexOf(LF, room - 1);
  if (last < 0) return rest.indexOf(LF, room) + 1;
  if (!head.length) return last + 1;
  let end = -1;
  let quoted = false;
  let behind = 0;
  for (let at = rest.indexOf(QUOTE); at >= 0 && at < last; at = rest.indexOf(QUOTE, at + 1)) {
    const lf = quoted ? -1 : rest.lastIndexOf(LF, at);
    if (lf >= behind) end = lf;
    quoted = !quoted;
    behind = at + 1;
  }
  // Quotes that never close are text.
  return (quoted && end >= 0 ? end : last) + 1;
}

function tooLarge(): HallelujahError {
  const message = `a record is longer than ${LINE_BYTES_MAX >> 20} MiB; records are lines, and this has no line feed`;
  return new HallelujahError("record-too-large", message);
}

/** The same items until `signal`, with whose reason it then throws, also while it waits for one. */
export async function* until<T>(items: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  if (!signal) return yield* items;
  const iterator = items[Symbol.asyncIterator]();
  let stop = () => {};
  const aborted = new Promise<never>((_, fail) => {
    stop = () => fail(signal.reason);
  });
  aborted.catch(() => {});
  signal.addEventListener("abort", stop);
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await Promise.race([iterator.next(), aborted]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // It may wait for something that never comes.
    void iterator.return?.().catch(() => {});
  }
}

function join(parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
