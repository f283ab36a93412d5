/** Reads a segment through, and says which entries it has and what is damaged. Never throws for what the bytes are. */
import { crc32 } from "node:zlib";
import { checksum } from "./checksum.ts";
import type { Files } from "./files.ts";
import { decodeEntry, ENTRY_HEADER, ENTRY_MARK, type EntryHeader } from "./log-format.ts";
import { SegmentIndex } from "./log-index.ts";

/** A place where a log is not what was written, and the entries [from, to) that are gone with it. */
export interface Damage {
  path: string;
  byte: number;
  from: number;
  to: number;
  why: string;
}

const WINDOW_BYTES = 64 << 10;
const WHOLE_WINDOW_BYTES = 1 << 20;

/** Reads a file in large pieces, forwards. */
export class FileWindow {
  readonly size: number;
  private readonly files: Files;
  private readonly fd: number;
  private buffer: Buffer;
  private start = 0;
  private length = 0;

  constructor(files: Files, fd: number, size: number, bytes = WINDOW_BYTES) {
    this.files = files;
    this.fd = fd;
    this.size = size;
    this.buffer = Buffer.allocUnsafe(Math.max(1, Math.min(bytes, size)));
  }

  /** The `bytes` bytes at `at`, or what the file has of them. Valid until the next call. */
  get(at: number, bytes: number): Buffer {
    const offset = this.load(at, bytes);
    return this.buffer.subarray(offset, Math.min(offset + bytes, this.length));
  }

  /** What is at hand from `at` on, at least `bytes` bytes if the file has them. Valid until the next call. */
  rest(at: number, bytes: number): Buffer {
    const offset = this.load(at, bytes);
    return this.buffer.subarray(offset, this.length);
  }

  /** The header of an entry at `at`; a sentence if there is none. */
  entry(at: number): EntryHeader | string {
    const offset = this.load(at, ENTRY_HEADER);
    return offset + ENTRY_HEADER > this.length ? "it ends too early" : decodeEntry(this.buffer, offset);
  }

  /** CRC-32 of a range; undefined if the file ends within. */
  sum(at: number, bytes: number): number | undefined {
    if (at + bytes > this.size) return undefined;
    if (bytes <= this.buffer.length) {
      const offset = this.load(at, bytes);
      return offset + bytes > this.length ? undefined : checksum(this.buffer, offset, offset + bytes);
    }
    let sum = 0;
    for (const end = at + bytes; at < end; ) {
      const part = this.get(at, Math.min(end - at, this.buffer.length));
      if (!part.length) return undefined;
      sum = crc32(part, sum);
      at += part.length;
    }
    return sum;
  }

  /** Brings a range, as far as the file has it, into the buffer; where it starts there. */
  private load(at: number, bytes: number): number {
    const wanted = Math.max(0, Math.min(bytes, this.size - at));
    if (wanted > this.buffer.length) {
      this.buffer = Buffer.allocUnsafe(wanted);
      this.length = 0;
    }
    if (at < this.start || at + wanted > this.start + this.length) {
      this.start = at;
      this.length = readFully(this.files, this.fd, this.buffer, at);
    }
    return at - this.start;
  }
}

/** Reads as much as there is and the buffer takes; how much that is. */
export function readFully(files: Files, fd: number, buffer: Buffer, at: number): number {
  let length = 0;
  while (length < buffer.length) {
    const got = files.readSync(fd, buffer, length, buffer.length - length, at + length);
    if (!got) break;
    length += got;
  }
  return length;
}

export interface ScanOptions {
  path: string;
  /** Where to begin: behind the entries that `index` has already. */
  at: number;
  first: number;
  index: SegmentIndex;
  /** The number of the next segment's first entry; undefined for the last segment, which may have a torn tail. */
  until?: number | undefined;
  /** Read heads and bodies, too, and hold them against their checksums. */
  whole: boolean;
}

export interface Scanned {
  index: SegmentIndex;
  /** Where the last entry ends. Behind it lies a torn tail, or what a later segment has anew. */
  end: number;
  damages: Damage[];
  /** Why there is a torn tail, and where it starts. */
  torn?: { byte: number; why: string };
}

/** Where entries may be cut off: the start of a group. */
interface Cut {
  end: number;
  count: number;
}

export function scanSegment(window: FileWindow, options: ScanOptions): Scanned {
  const { path, first, index, until = Number.MAX_SAFE_INTEGER, whole } = options;
  const isLast = options.until === undefined;
  const damages: Damage[] = [];
  /** Where the group that holds each damage started. */
  const cuts: Cut[] = [];
  let at = options.at;
  let group: Cut = { end: at, count: index.count };
  /** Everything below was synced when some entry was written. */
  let synced = first + index.count;
  const damage = (byte: number, from: number, to: number, why: string) => {
    damages.push({ path, byte, from, to, why });
    cuts.push(group);
  };
  while (at < window.size && first + index.count < until) {
    const number = first + index.count;
    const header = window.entry(at);
    const why = typeof header === "string" ? header : misplaced(header, number, at, window.size);
    if (why !== undefined) {
      const next = findEntry(window, at + 1, at, number, until);
      damage(at, number, next ? next.header.number : isLast ? number + 1 : until, why);
      if (!next) break;
      // What is gone has a place in the columns, so that numbers and places go on together.
      for (let gone = number; gone < next.header.number; gone++)
        index.push({ offset: at, kind: 0, headBytes: 0, bytes: 0, records: 0, sum: 0 });
      at = next.at;
      group = { end: at, count: index.count };
      continue;
    }
    const { kind, headBytes, bodyBytes, records, bodySum, headSum, follow, unsynced } = header as EntryHeader;
    synced = Math.max(synced, number - unsynced);
    const body = at + ENTRY_HEADER + headBytes;
    if (whole) {
      if (headBytes && window.sum(at + ENTRY_HEADER, headBytes) !== headSum)
        damage(at, number, number + 1, "its head was changed");
      else if (bodyBytes && window.sum(body, bodyBytes) !== bodySum)
        damage(at, number, number + 1, "its bytes were changed");
    }
    index.push({ offset: at, kind, headBytes, bytes: bodyBytes, records, sum: bodySum });
    at = body + bodyBytes;
    if (follow === 0) group = { end: at, count: index.count };
  }
  if (!isLast) {
    const reached = first + index.count;
    if (reached < until && !damages.some(({ to }) => to === until))
      damage(at, reached, until, "the entries that should follow are missing");
    return { index, end: at, damages };
  }
  // What was not known to be synced was not acknowledged either: a power cut leaves any part of it.
  const torn = damages.findIndex(({ from }) => from >= synced);
  const cut = torn >= 0 ? cuts[torn] : group;
  if (cut.end === window.size) return { index, end: at, damages };
  const why = torn >= 0 ? damages[torn].why : "the end of a group is missing";
  index.cut(cut.count);
  return {
    index,
    end: cut.end,
    damages: damages.filter(({ from }) => from < first + cut.count),
    torn: { byte: cut.end, why },
  };
}

function misplaced(header: EntryHeader, number: number, at: number, size: number): string | undefined {
  if (header.number !== number) return `entry ${number} should be here, and not ${header.number}`;
  if (at + ENTRY_HEADER + header.headBytes + header.bodyBytes > size) return "it ends too early";
  return undefined;
}

/** The next entry behind a damaged place that may follow there: one has at least its header for each that is gone. */
export function findEntry(
  window: FileWindow,
  from: number,
  damagedAt: number,
  number: number,
  until: number,
): { at: number; header: EntryHeader } | undefined {
  for (let at = from; at + ENTRY_HEADER <= window.size; ) {
    const part = window.rest(at, ENTRY_HEADER);
    const found = part.indexOf(ENTRY_MARK);
    if (found < 0) {
      at += Math.max(1, part.length - (ENTRY_MARK.length - 1));
      continue;
    }
    at += found;
    const header = window.entry(at);
    if (typeof header !== "string") {
      const gone = header.number - number;
      const fits = gone >= 0 && gone <= (at - damagedAt) / ENTRY_HEADER && header.number < until;
      if (fits && misplaced(header, header.number, at, window.size) === undefined) return { at, header };
    }
    at++;
  }
  return undefined;
}

/** A window that suits: large where all bytes are read. */
export function windowOf(files: Files, fd: number, size: number, whole: boolean): FileWindow {
  return new FileWindow(files, fd, size, whole ? WHOLE_WINDOW_BYTES : WINDOW_BYTES);
}
