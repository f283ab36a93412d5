/** Whole lines out of chunks of bytes; what a line holds is not looked at. Node and browsers. */

import { HallelujahError } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";

const LF = 0x0a;
const QUOTE = 0x22;

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
 * chunks in which they come, so that a push of the same records again has the same bodies; unless lines that wait for
 * `flushMs` are given as they are, which `onFlush` hears of. Throws `record-too-large`.
 */
export async function* bodiesOf(
  chunks: AsyncIterable<Uint8Array>,
  bytes: number,
  header: boolean,
  flushMs?: number,
  onFlush?: () => void,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const bodies = new Bodies(bytes, header);
  const timed = flushMs === undefined ? chunks : orLate(chunks, () => bodies.waitingSince + flushMs);
  for await (const chunk of timed) {
    if (chunk) yield* bodies.add(chunk);
    else {
      const body = bodies.flush();
      if (body) onFlush?.();
      if (body) yield body;
    }
  }
  const last = bodies.rest();
  if (last) yield last;
}

/** The same chunks; undefined when none came by the time `due` (performance.now()). */
async function* orLate<T>(chunks: AsyncIterable<T>, due: () => number): AsyncGenerator<T | undefined> {
  const iterator = chunks[Symbol.asyncIterator]();
  try {
    for (let next = iterator.next(); ; ) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<undefined>((done) => {
        const ms = due() - performance.now();
        if (Number.isFinite(ms)) timer = setTimeout(() => done(undefined), ms);
      });
      const came = await Promise.race([next, late]);
      clearTimeout(timer);
      if (came?.done) return;
      yield came?.value;
      if (came) next = iterator.next();
    }
  } finally {
    void iterator.return?.().catch(() => {});
  }
}

/** Bytes that came, and are no body yet. */
class Bodies {
  /** Since when whole lines wait; Infinity if none do. */
  waitingSince = Infinity;
  private readonly bytes: number;
  private readonly header: boolean;
  /** The first line, once it is there. */
  private head: Uint8Array[] = [];
  private waiting: Uint8Array[] = [];
  private length = 0;
  /** Bytes that came before those that wait. */
  private at = 0;

  constructor(bytes: number, header: boolean) {
    this.bytes = bytes;
    this.header = header;
  }

  /** The bodies that are full with this chunk. */
  *add(chunk: Uint8Array): Generator<Uint8Array<ArrayBuffer>> {
    this.waiting.push(chunk);
    this.length += chunk.length;
    if (this.waitingSince === Infinity && chunk.includes(LF)) this.waitingSince = performance.now();
    if (this.waitingSince === Infinity) {
      if (this.length > FRAME_BYTES) throw tooLarge(this.at);
      return;
    }
    const begun = this.head.length > 0 || !this.header;
    if (begun && this.length < roomFor(this.bytes, this.head)) return;
    let rest: Uint8Array = this.waiting.length > 1 ? join(this.waiting) : this.waiting[0];
    if (!begun) {
      const end = rest.indexOf(LF) + 1;
      this.head = [rest.subarray(0, end)];
      this.passed(this.head[0]);
      rest = rest.subarray(end);
    }
    for (let end = this.endOfBody(rest); end; end = this.endOfBody(rest)) {
      const lines = rest.subarray(0, end);
      this.passed(lines);
      yield join([...this.head, lines]);
      rest = rest.subarray(end);
    }
    this.wait(rest);
  }

  /** All whole lines that wait. */
  flush(): Uint8Array<ArrayBuffer> | undefined {
    const rest = join(this.waiting);
    const end = endOfLines(rest, rest.length, this.header);
    this.passed(rest.subarray(0, end));
    this.wait(rest.subarray(end));
    return end ? join([...this.head, rest.subarray(0, end)]) : undefined;
  }

  /** What there is at the end. */
  rest(): Uint8Array<ArrayBuffer> | undefined {
    if (!this.length) return undefined;
    const lines = join(this.waiting);
    this.passed(lines);
    return join([...this.head, lines]);
  }

  private wait(rest: Uint8Array): void {
    this.waiting = [rest];
    this.length = rest.length;
    this.waitingSince = rest.includes(LF) ? performance.now() : Infinity;
  }

  /** Lines become a body. Throws `record-too-large` if one is longer than a host takes. */
  private passed(lines: Uint8Array): void {
    for (let from = 0, lf = 0; lines.length - from > FRAME_BYTES; from = lf + 1) {
      lf = lines.lastIndexOf(LF, from + FRAME_BYTES - 1);
      if (lf < from) throw tooLarge(this.at + from);
    }
    this.at += lines.length;
  }

  /** Where the first body of `rest` ends; 0 if that is not there yet. */
  private endOfBody(rest: Uint8Array): number {
    const room = roomFor(this.bytes, this.head);
    if (rest.length < room) return 0;
    return endOfLines(rest, room, this.header) || rest.indexOf(LF, room) + 1;
  }
}

/** Bytes of lines that a body may have behind its header line. */
function roomFor(bytes: number, head: Uint8Array[]): number {
  return Math.max(1, bytes - (head[0]?.length ?? 0));
}

/** Where the last whole line within `room` bytes ends; 0 if none does. */
function endOfLines(bytes: Uint8Array, room: number, quotes: boolean): number {
  const last = room ? bytes.lastIndexOf(LF, room - 1) : -1;
  if (last < 0 || !quotes) return last + 1;
  let end = -1;
  let quoted = false;
  let behind = 0;
  for (let at = bytes.indexOf(QUOTE); at >= 0 && at < last; at = bytes.indexOf(QUOTE, at + 1)) {
    const lf = quoted ? -1 : bytes.lastIndexOf(LF, at);
    if (lf >= behind) end = lf;
    quoted = !quoted;
    behind = at + 1;
  }
  // Quotes that never close are text.
  return (quoted && end >= 0 ? end : last) + 1;
}

function tooLarge(at: number): HallelujahError {
  const most = `${FRAME_BYTES >> 10} KiB, the most that a host takes`;
  const message = `the record that starts at byte ${at} is longer than ${most}; records are lines`;
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
