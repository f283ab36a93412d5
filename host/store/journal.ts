/** The log of a host: JSON lines in DATA/logs/host.ndjson, by pino, appended to by all of its processes. */
import {
  mkdirSync,
  openSync,
  readSync,
  closeSync,
  fstatSync,
  renameSync,
  statSync,
  existsSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Logger, pino } from "pino";
import { JOURNAL_BYTES } from "../core/limits.ts";

export type Journal = Logger;

/** Older files that are kept. */
const KEPT = 3;
const FOLLOW_MS = 200;
/** Bytes of lines that wait for room on the disk. */
const WAITING_BYTES_MAX = 1 << 20;
const LF = 0x0a;
const CHUNK = 64 << 10;

function pathOf(data: string, age = 0): string {
  return join(data, "logs", age ? `host.${age}.ndjson` : "host.ndjson");
}

/** Opens the journal for a process; its name is a field of each line. */
export function openJournal(data: string, name: string): Journal {
  mkdirSync(join(data, "logs"), { recursive: true });
  const destination = pino.destination({
    dest: pathOf(data),
    sync: true,
    append: true,
    mkdir: true,
    maxLength: WAITING_BYTES_MAX,
  });
  // A disk that is full ends no host: what cannot be written waits for the next line, and beyond the limit is dropped.
  destination.on("error", () => {});
  return pino(
    {
      base: { process: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
}

/** Puts a journal that has grown large aside. For the Congregation, before it opens it. */
export function rotateJournal(data: string): void {
  const size = statSync(pathOf(data), { throwIfNoEntry: false })?.size ?? 0;
  if (size < JOURNAL_BYTES) return;
  for (let age = KEPT; age > 0; age--)
    if (existsSync(pathOf(data, age - 1))) renameSync(pathOf(data, age - 1), pathOf(data, age));
}

export interface ReadOptions {
  /** Only lines of this stream. */
  stream?: string;
  /** The last so many. */
  lines: number;
  follow: boolean;
  signal: AbortSignal;
}

/** Lines of the journal; with `follow` also those that come, until `signal`. */
export async function* readJournal(data: string, options: ReadOptions): AsyncGenerator<Buffer> {
  const path = pathOf(data);
  const wanted = (line: Buffer) => !options.stream || line.includes(`"stream":"${options.stream}"`);
  const { lines, end } = lastLines(path, options.lines, wanted);
  if (lines.length) yield Buffer.concat(lines);
  let at = end;
  while (options.follow && !options.signal.aborted) {
    await sleep(FOLLOW_MS, undefined, { signal: options.signal }).catch(() => {});
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    if (size < at) at = 0; // it was put aside
    const bytes = readRange(path, at, size);
    const whole = bytes.subarray(0, bytes.lastIndexOf(LF) + 1);
    at += whole.length;
    const found = splitLines(whole).filter(wanted);
    if (found.length) yield Buffer.concat(found);
  }
}

/** The last `count` lines that are wanted, read from the end; and where the file ends. */
function lastLines(
  path: string,
  count: number,
  wanted: (line: Buffer) => boolean,
): { lines: Buffer[]; end: number } {
  const end = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  let lines: Buffer[] = [];
  let rest: Buffer = Buffer.alloc(0);
  for (let from = end; from > 0 && lines.length < count; ) {
    const to = from;
    from = Math.max(0, from - CHUNK);
    const bytes = Buffer.concat([readRange(path, from, to), rest]);
    const start = from ? bytes.indexOf(LF) + 1 : 0;
    rest = Buffer.from(bytes.subarray(0, start));
    lines = [...splitLines(bytes.subarray(start)).filter(wanted), ...lines];
  }
  return { lines: count ? lines.slice(-count) : [], end };
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const lf = bytes.indexOf(LF, at);
    if (lf < 0) break;
    lines.push(bytes.subarray(at, lf + 1));
    at = lf + 1;
  }
  return lines;
}

function readRange(path: string, from: number, to: number): Buffer {
  if (to <= from) return Buffer.alloc(0);
  const fd = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(Math.min(to, fstatSync(fd).size) - from);
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from));
  } finally {
    closeSync(fd);
  }
}
