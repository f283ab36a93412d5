/**
 * A stream's log: entries numbered from 0, in append-only segment files NNNNNNNNNNNNNNNN.seg, each named by its first
 * number. Jahs read the bodies from the files themselves.
 *
 *   segment   { u32 magic "hlog", u32 version, u64 first number } then entries, back to back
 *   entry     +0   u32 magic "entr"   u16 version   u16 kind
 *             +8   u64 number
 *             +16  u32 head bytes     u32 body bytes
 *             +24  u32 records (0: unknown)   u32 CRC-32 of head and body
 *             +32  u32 how many entries of its group follow   u32 CRC-32 of the 36 bytes before
 *             +40  head (JSON), then body
 *
 * Entries that are appended together are a group: all of them are kept, or none. The index (number -> place) is kept in
 * memory, some 40 bytes an entry, and made anew from the headers when a log is opened. A torn tail is cut off then, with what
 * is there of its group; damage that has whole entries behind it is an error, as these were acknowledged.
 */
import { mkdirSync, readdirSync, readSync, openSync, closeSync, fstatSync, ftruncateSync } from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { SEGMENT_BYTES } from "../core/limits.ts";

const SEGMENT_MAGIC = 0x676f6c68; // "hlog"
const ENTRY_MAGIC = 0x72746e65; // "entr"
const VERSION = 2;
const SEGMENT_HEADER = 16;
const ENTRY_HEADER = 40;
/** Bytes of the entry's header that its own checksum covers. */
const CHECKED = 36;

export interface LogEntry {
  /** 0 to 65535, the writer's to choose. */
  kind: number;
  head?: Buffer | undefined;
  body: Buffer[];
  /** Records in the body; 0 if that is not known. */
  records: number;
}

export interface Place {
  kind: number;
  path: string;
  /** Where the body starts in the file. */
  offset: number;
  /** Bytes of the body. */
  bytes: number;
  headBytes: number;
  records: number;
}

interface Segment {
  path: string;
  first: number;
  size: number;
}

interface Waiting {
  entries: LogEntry[];
  done: (placed: { number: number }) => void;
  fail: (error: unknown) => void;
}

/** How bytes get to the disk; tests put something that fails in its place. */
export interface Writer {
  writev(handle: FileHandle, buffers: Buffer[], position: number): Promise<void>;
}

const WRITER: Writer = {
  async writev(handle, buffers, position) {
    // The system takes at most 1024 buffers at once, and may write less than it was given.
    for (let i = 0; i < buffers.length; i += 1024) {
      let part = buffers.slice(i, i + 1024);
      while (part.length) {
        const { bytesWritten } = await handle.writev(part, position);
        position += bytesWritten;
        let left = bytesWritten;
        while (part.length && left >= part[0].length) left -= part.shift()!.length;
        if (left) part = [part[0].subarray(left), ...part.slice(1)];
      }
    }
  },
};

export class Log {
  private readonly folder: string;
  private readonly segmentBytes: number;
  private readonly writer: Writer;
  private readonly segments: Segment[] = [];
  private readonly index = new Index();
  private handle: FileHandle | undefined;
  private waiting: Waiting[] = [];
  private writing: Promise<void> | undefined;
  private closed = false;

  private constructor(folder: string, segmentBytes: number, writer: Writer) {
    this.folder = folder;
    this.segmentBytes = segmentBytes;
    this.writer = writer;
  }

  /** Opens the log in a folder, which is made if it is not there. Rejects with `log-damaged`. */
  static async open(
    folder: string,
    { segmentBytes = SEGMENT_BYTES, writer = WRITER }: { segmentBytes?: number; writer?: Writer } = {},
  ): Promise<Log> {
    const log = new Log(folder, segmentBytes, writer);
    mkdirSync(folder, { recursive: true });
    const names = readdirSync(folder)
      .filter((name) => /^\d{16}\.seg$/.test(name))
      .toSorted();
    names.forEach((name, i) =>
      log.scan(join(folder, name), Number(name.slice(0, 16)), i === names.length - 1),
    );
    return log;
  }

  /** The lowest number that is kept, and the number of the next entry. */
  get first(): number {
    return this.segments[0]?.first ?? this.index.next;
  }

  get next(): number {
    return this.index.next;
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.segments.reduce((sum, { size }) => sum + size, 0);
  }

  /** Bytes of the bodies from `number` on. */
  bytesFrom(number: number): number {
    return this.index.bytesFrom(Math.max(number, this.index.first));
  }

  place(number: number): Place {
    const at = this.index.at(number);
    const segment = this.segmentOf(number);
    return {
      kind: at.kind,
      path: segment.path,
      offset: at.offset + ENTRY_HEADER + at.headBytes,
      bytes: at.bytes,
      headBytes: at.headBytes,
      records: at.records,
    };
  }

  /**
   * Appends an entry; resolves when it is written. Entries that come while others are written go together. Rejects with
   * `disk-full` or `log-unwritable`, and nothing of it is kept.
   */
  append(entry: LogEntry): Promise<{ number: number }> {
    return this.appendGroup([entry]);
  }

  /** Appends entries of which all are kept or none; resolves with the number of the first. */
  appendGroup(entries: LogEntry[]): Promise<{ number: number }> {
    if (this.closed)
      return Promise.reject(new HallelujahError("log-closed", `the log ${this.folder} is closed`));
    return new Promise((done, fail) => {
      this.waiting.push({ entries, done, fail });
      this.writing ??= this.write();
    });
  }

  /** Reads an entry. Rejects with `log-damaged` if it is not what was written. */
  async read(number: number): Promise<{ kind: number; head: Buffer | undefined; body: Buffer }> {
    const place = this.place(number);
    const handle = await open(place.path, "r");
    try {
      const length = ENTRY_HEADER + place.headBytes + place.bytes;
      const start = place.offset - place.headBytes - ENTRY_HEADER;
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, start);
      const why = bytesRead < length ? "it ends too early" : invalid(buffer, number, true);
      if (why) throw damaged(place.path, start, why);
      const head = place.headBytes
        ? buffer.subarray(ENTRY_HEADER, ENTRY_HEADER + place.headBytes)
        : undefined;
      return { kind: place.kind, head, body: buffer.subarray(ENTRY_HEADER + place.headBytes) };
    } finally {
      await handle.close();
    }
  }

  /** Forgets segments that hold nothing from `below` on. */
  async trim(below: number): Promise<void> {
    while (this.segments.length > 1 && this.segments[1].first <= below) {
      const segment = this.segments.shift()!;
      this.index.trim(this.segments[0].first);
      await unlink(segment.path);
    }
  }

  /** Makes what was written survive a loss of power. */
  async sync(): Promise<void> {
    await this.handle?.datasync();
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.writing;
    await this.handle?.close();
    this.handle = undefined;
  }

  private async write(): Promise<void> {
    await Promise.resolve(); // so that `writing` is set before it can be over
    while (this.waiting.length) {
      const batch = this.waiting;
      this.waiting = [];
      try {
        await this.writeBatch(batch);
      } catch (error) {
        for (const { fail } of batch) fail(error);
      }
    }
    // At once: an append that comes before this promise is settled has to find nobody writing.
    this.writing = undefined;
  }

  private async writeBatch(batch: Waiting[]): Promise<void> {
    const segment = await this.current();
    const buffers: Buffer[] = [];
    const places: { offset: number; entry: LogEntry; headBytes: number; bytes: number }[] = [];
    let offset = segment.size;
    for (const { entries } of batch) {
      entries.forEach((entry, i) => {
        const follow = entries.length - 1 - i;
        const { header, headBytes, bytes } = encodeHeader(entry, this.index.next + places.length, follow);
        places.push({ offset, entry, headBytes, bytes });
        buffers.push(header);
        if (entry.head) buffers.push(entry.head);
        for (const part of entry.body) if (part.length) buffers.push(part);
        offset += ENTRY_HEADER + headBytes + bytes;
      });
    }
    try {
      await this.writer.writev(this.handle!, buffers, segment.size);
    } catch (cause) {
      await this.handle!.truncate(segment.size).catch(() => {});
      throw writeError(segment.path, cause);
    }
    segment.size = offset;
    for (const { offset: at, entry, headBytes, bytes } of places) {
      this.index.push({ offset: at, kind: entry.kind, headBytes, bytes, records: entry.records });
    }
    let number = this.index.next - places.length;
    for (const { entries, done } of batch) {
      done({ number });
      number += entries.length;
    }
  }

  /** The segment that is written to: a new one when the last is full. */
  private async current(): Promise<Segment> {
    const last = this.segments.at(-1);
    if (last && last.size < this.segmentBytes) {
      this.handle ??= await open(last.path, "r+");
      return last;
    }
    const first = this.index.next;
    const path = join(this.folder, `${String(first).padStart(16, "0")}.seg`);
    try {
      const handle = await open(path, "w+");
      const header = Buffer.alloc(SEGMENT_HEADER);
      header.writeUInt32LE(SEGMENT_MAGIC, 0);
      header.writeUInt32LE(VERSION, 4);
      header.writeBigUInt64LE(BigInt(first), 8);
      await this.writer.writev(handle, [header], 0);
      await this.handle?.close();
      this.handle = handle;
    } catch (cause) {
      throw writeError(path, cause);
    }
    const segment = { path, first, size: SEGMENT_HEADER };
    this.segments.push(segment);
    return segment;
  }

  private segmentOf(number: number): Segment {
    let low = 0;
    let high = this.segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.segments[middle].first <= number) low = middle;
      else high = middle - 1;
    }
    return this.segments[low];
  }

  /** Reads the headers of a segment; cuts off what was being written when the process ended. */
  private scan(path: string, first: number, last: boolean): void {
    const fd = openSync(path, last ? "r+" : "r");
    try {
      const { size } = fstatSync(fd);
      const segment = { path, first, size: SEGMENT_HEADER };
      const header = Buffer.alloc(ENTRY_HEADER);
      if (this.segments.length && first !== this.index.next)
        throw damaged(path, 0, `entry ${this.index.next} is missing`);
      if (!this.segments.length) this.index.start(first);
      const whole = readSync(fd, header, 0, SEGMENT_HEADER, 0) === SEGMENT_HEADER;
      if (!whole && last && !this.segments.length && size === 0) return;
      if (whole && header.readUInt32LE(4) > VERSION && header.readUInt32LE(0) === SEGMENT_MAGIC)
        throw damaged(path, 4, "a newer version of Hallelujah wrote it");
      if (!whole || header.readUInt32LE(0) !== SEGMENT_MAGIC || Number(header.readBigUInt64LE(8)) !== first) {
        if (last) return this.cut(fd, segment, 0);
        throw damaged(path, 0, "it is no segment of a log");
      }
      this.segments.push(segment);
      /** Where the group at hand starts: its place, and the number of its first entry. */
      let group = { at: segment.size, number: this.index.next };
      while (segment.size < size) {
        const at = segment.size;
        const got = readSync(fd, header, 0, ENTRY_HEADER, at);
        const why = got < ENTRY_HEADER ? "it ends too early" : invalid(header, this.index.next, false);
        const headBytes = header.readUInt32LE(16);
        const bytes = header.readUInt32LE(20);
        const end = at + ENTRY_HEADER + headBytes + bytes;
        const torn = why !== undefined || end > size || (last && !this.isWhole(fd, at, end));
        if (torn && last && !this.hasEntryBehind(fd, at, size)) break;
        if (torn) throw damaged(path, at, why ?? "its bytes were changed, or are missing");
        this.index.push({
          offset: at,
          kind: header.readUInt16LE(6),
          headBytes,
          bytes,
          records: header.readUInt32LE(24),
        });
        segment.size = end;
        if (header.readUInt32LE(32) === 0) group = { at: end, number: this.index.next };
      }
      if (segment.size === size && group.at === size) return;
      if (!last) throw damaged(path, group.at, "the end of a group is missing");
      this.index.cut(group.number);
      this.cut(fd, segment, group.at);
    } finally {
      closeSync(fd);
    }
  }

  /** Whether a header that is whole, of an entry that was to come, lies behind a place that is damaged. */
  private hasEntryBehind(fd: number, at: number, size: number): boolean {
    const bytes = Buffer.allocUnsafe(size - at);
    readSync(fd, bytes, 0, bytes.length, at);
    const magic = Buffer.alloc(4);
    magic.writeUInt32LE(ENTRY_MAGIC);
    for (
      let i = bytes.indexOf(magic, 1);
      i >= 0 && i + ENTRY_HEADER <= bytes.length;
      i = bytes.indexOf(magic, i + 1)
    ) {
      const header = bytes.subarray(i, i + ENTRY_HEADER);
      if (crc32(header.subarray(0, CHECKED)) !== header.readUInt32LE(CHECKED)) continue;
      if (Number(header.readBigUInt64LE(8)) > this.index.next) return true;
    }
    return false;
  }

  private isWhole(fd: number, at: number, end: number): boolean {
    const bytes = Buffer.allocUnsafe(end - at);
    return (
      readSync(fd, bytes, 0, bytes.length, at) === bytes.length && !invalid(bytes, this.index.next, true)
    );
  }

  private cut(fd: number, segment: Segment, at: number): void {
    ftruncateSync(fd, at);
    segment.size = at;
    if (at >= SEGMENT_HEADER) return;
    this.segments.splice(this.segments.indexOf(segment) >>> 0, 1);
  }
}

function encodeHeader(
  entry: LogEntry,
  number: number,
  follow: number,
): { header: Buffer; headBytes: number; bytes: number } {
  const header = Buffer.alloc(ENTRY_HEADER);
  let bytes = 0;
  let sum = entry.head ? crc32(entry.head) : 0;
  for (const part of entry.body) {
    bytes += part.length;
    sum = crc32(part, sum);
  }
  const headBytes = entry.head?.length ?? 0;
  header.writeUInt32LE(ENTRY_MAGIC, 0);
  header.writeUInt16LE(VERSION, 4);
  header.writeUInt16LE(entry.kind, 6);
  header.writeBigUInt64LE(BigInt(number), 8);
  header.writeUInt32LE(headBytes, 16);
  header.writeUInt32LE(bytes, 20);
  header.writeUInt32LE(entry.records, 24);
  header.writeUInt32LE(sum, 28);
  header.writeUInt32LE(follow, 32);
  header.writeUInt32LE(crc32(header.subarray(0, CHECKED)), CHECKED);
  return { header, headBytes, bytes };
}

/** Why these bytes are not entry `number`, header alone or whole; undefined if they are. */
function invalid(bytes: Buffer, number: number, whole: boolean): string | undefined {
  if (bytes.readUInt32LE(0) !== ENTRY_MAGIC) return "it does not start as an entry does";
  if (crc32(bytes.subarray(0, CHECKED)) !== bytes.readUInt32LE(CHECKED)) return "its header was changed";
  if (bytes.readUInt16LE(4) > VERSION) return "a newer version of Hallelujah wrote it";
  if (Number(bytes.readBigUInt64LE(8)) !== number) return `entry ${number} should be here`;
  if (whole && crc32(bytes.subarray(ENTRY_HEADER)) !== bytes.readUInt32LE(28))
    return "its bytes were changed";
  return undefined;
}

function damaged(path: string, offset: number, why: string): HallelujahError {
  return new HallelujahError("log-damaged", `${path} is damaged at byte ${offset}: ${why}`);
}

function writeError(path: string, cause: unknown): HallelujahError {
  const full = (cause as NodeJS.ErrnoException).code === "ENOSPC";
  return full
    ? new HallelujahError(
        "disk-full",
        `the disk is full, nothing was stored; make room and send it again (${path})`,
        { cause },
      )
    : new HallelujahError("log-unwritable", `${path} cannot be written: ${messageOf(cause)}`, { cause });
}

/** Places of entries, in columns that grow. */
class Index {
  first = 0;
  next = 0;
  private room = 1024;
  private offsets = new Uint32Array(this.room);
  private kinds = new Uint16Array(this.room);
  private headBytes = new Uint32Array(this.room);
  private records = new Uint32Array(this.room);
  /** Bytes of all bodies before this one. */
  private before = new Float64Array(this.room + 1);

  start(first: number): void {
    this.first = first;
    this.next = first;
  }

  push(at: { offset: number; kind: number; headBytes: number; bytes: number; records: number }): void {
    const i = this.next - this.first;
    if (i === this.room) this.resize(this.room * 2, 0);
    this.offsets[i] = at.offset;
    this.kinds[i] = at.kind;
    this.headBytes[i] = at.headBytes;
    this.records[i] = at.records;
    this.before[i + 1] = this.before[i] + at.bytes;
    this.next++;
  }

  at(number: number): { offset: number; kind: number; headBytes: number; bytes: number; records: number } {
    if (number < this.first || number >= this.next) throw new RangeError(`entry ${number} is not in the log`);
    const i = number - this.first;
    return {
      offset: this.offsets[i],
      kind: this.kinds[i],
      headBytes: this.headBytes[i],
      bytes: this.before[i + 1] - this.before[i],
      records: this.records[i],
    };
  }

  bytesFrom(number: number): number {
    if (number >= this.next) return 0;
    return this.before[this.next - this.first] - this.before[number - this.first];
  }

  /** Forgets the entries from a number on. */
  cut(next: number): void {
    this.next = next;
  }

  trim(first: number): void {
    this.resize(this.room, first - this.first);
    this.first = first;
  }

  private resize(room: number, skip: number): void {
    const moved = <A extends Uint32Array | Uint16Array | Float64Array>(from: A, to: A): A => {
      to.set(from.subarray(skip));
      return to;
    };
    this.room = room;
    this.offsets = moved(this.offsets, new Uint32Array(room));
    this.kinds = moved(this.kinds, new Uint16Array(room));
    this.headBytes = moved(this.headBytes, new Uint32Array(room));
    this.records = moved(this.records, new Uint32Array(room));
    this.before = moved(this.before, new Float64Array(room + 1));
  }
}
