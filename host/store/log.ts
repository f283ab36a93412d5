/**
 * A stream's log: entries numbered from 0, in append-only segment files NNNNNNNNNNNNNNNN.seg, each named by its first
 * number (log-format.ts draws the bytes). Jahs read the bodies from the files themselves.
 *
 * Appends that come while others are written go together in the next write, and are answered when that is synced (group
 * commit). Entries that are appended together are a group: all of them are kept, or none.
 *
 * A segment that is full, or was the last one when the log was closed, has a sidecar NNNNNNNNNNNNNNNN.idx: where its entries
 * lie. It is derived, and made anew where it is missing or damaged; so opening a log (segments.ts) reads a header of each
 * sidecar, and through the last segment at most. What has to be known of all entries, also of those that were trimmed, is a digest (the
 * writer's to make), which stands at the start of each segment.
 *
 * A torn tail is cut off, with what is there of its group. A place that is damaged and had been synced is kept in mind: its
 * entries cannot be read, all others can.
 */
import type { FileHandle } from "node:fs/promises";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { LOG_BATCH_BYTES, SEGMENT_BYTES } from "../core/limits.ts";
import { syncFolder } from "./durable.ts";
import { FILES, type Files } from "./files.ts";
import { ENTRY_HEADER, encodeEntry, encodeSegment, type LogEntry, SEGMENT_HEADER } from "./log-format.ts";
import type { Damage } from "./log-scan.ts";
import type { Extent } from "./retention.ts";
import { Segment } from "./segment.ts";
import { type Entry, type Head, Segments } from "./segments.ts";
import type { Place, StreamLog } from "./stream-log.ts";

/** What is known of all entries that there were. Entries are added in order, when they are kept. */
export interface Digest {
  add(number: number, kind: number, head: Buffer | undefined): void;
  save(): Buffer;
  /** Takes the place of all that was added. Throws if these bytes are none of its own. */
  load(saved: Buffer): void;
}

/** How bytes get to the disk; tests put something that fails in its place. */
export interface Disk {
  writev(handle: FileHandle, buffers: Buffer[], position: number): Promise<void>;
  datasync(handle: FileHandle): Promise<void>;
  syncFolder(path: string): Promise<void>;
}

export const DISK: Disk = {
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
  datasync: (handle) => handle.datasync(),
  syncFolder,
};

export interface LogOptions {
  segmentBytes?: number;
  disk?: Disk;
  /** Where it is, if not in files of the system. */
  files?: Files;
  digest?: Digest;
  /** Whether an append is answered only when it is synced; else `sync` does that for all so far. */
  durable?: boolean;
  /** The number of its first entry, if there is none yet; the digest is that of all before. */
  begin?: number;
}

interface Waiting {
  entries: LogEntry[];
  bytes: number;
  done: (placed: { number: number }) => void;
  fail: (error: unknown) => void;
}

/** Places and lengths within a segment have 32 bits. */
const GROUP_BYTES_MAX = 2 ** 31;

export class Log implements StreamLog {
  private readonly folder: string;
  private readonly segmentBytes: number;
  private readonly disk: Disk;
  private readonly files: Files;
  private readonly digest: Digest | undefined;
  private readonly durable: boolean;
  private readonly segments: Segments;
  private handle: FileHandle | undefined;
  private waiting: Waiting[] = [];
  private writing: Promise<void> | undefined;
  private closed = false;
  /** All entries below are known to be synced. */
  private syncedNext: number;
  private syncing: Promise<void> = Promise.resolve();
  /** Settles when what was to be trimmed is. */
  private trimming: Promise<void> = Promise.resolve();
  /** Whether a segment may have been removed since the folder was synced; also by whoever had the log open before. */
  private hasRemoved = true;
  /** After a sync that failed, what was to be synced has to be written again: the system takes it for synced. */
  private mustRewrite = false;

  private constructor(folder: string, segments: Segments, options: LogOptions) {
    const { segmentBytes = SEGMENT_BYTES, disk = DISK, files = FILES, digest, durable = true } = options;
    this.folder = folder;
    this.segments = segments;
    this.segmentBytes = segmentBytes;
    this.disk = disk;
    this.files = files;
    this.digest = digest;
    this.durable = durable;
    this.syncedNext = segments.next;
  }

  /** Opens the log in a folder, which is made if it is not there. Rejects with `log-version`. */
  static async open(folder: string, options: LogOptions = {}): Promise<Log> {
    const { files = FILES, begin = 0 } = options;
    files.makeFolder(folder);
    const segments = Segments.open(folder, files);
    const isNew = segments.next === 0;
    if (isNew) segments.next = begin;
    const log = new Log(folder, segments, options);
    if (!isNew) log.recall();
    return log;
  }

  /** Brings the digest to where the log ends. */
  private recall(): void {
    const { digest } = this;
    const { all, missing, first, next, lost } = this.segments;
    if (!digest || next === 0) return;
    if (this.load((missing ?? all.at(-1))?.readDigest())) return;
    let from = all.length - 1;
    while (from >= 0 && !this.load(all[from].readPreface())) from--;
    if ((from < 0 && first > 0) || missing) {
      const why = "what is known of the entries before cannot be read";
      lost.push({ path: all[0]?.path ?? this.folder, byte: 0, from: first, to: next + 1, why });
    }
    const start = all[Math.max(0, from)]?.first ?? next;
    for (const { number, kind, head } of this.heads(start, () => true)) digest.add(number, kind, head);
  }

  private load(saved: Buffer | undefined): boolean {
    if (saved === undefined) return false;
    try {
      if (saved.length) this.digest!.load(saved);
      return true;
    } catch {
      return false;
    }
  }

  /** The lowest number that is kept, and the number of the next entry. */
  get first(): number {
    return this.segments.first;
  }

  get next(): number {
    return this.segments.next;
  }

  get end(): number {
    return this.next;
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.segments.bytes;
  }

  /** Its segments, of which only whole ones can be trimmed (retention.ts). */
  get extents(): Extent[] {
    return this.segments.extents;
  }

  /** Bytes of the bodies from `number` on. */
  bytesFrom(number: number): number {
    return this.segments.bytesFrom(number);
  }

  /** Where an entry lies. Throws `log-damaged`; that it is there does not say that its bytes are what was written. */
  place(number: number): Place {
    return this.segments.place(number);
  }

  /** Kinds of the entries from `number` on, as far as is known without reading them. */
  kindsFrom(number: number): Set<number> {
    return this.segments.kindsFrom(number);
  }

  /** The first damage, as far as is known, that affects an entry from `number` on. */
  damageFrom(number: number): Damage | undefined {
    return this.segments.damageFrom(number);
  }

  /**
   * Appends an entry; resolves when it is synced. Rejects with `disk-full` or `log-unwritable`, and nothing of it is kept.
   */
  append(entry: LogEntry): Promise<{ number: number }> {
    return this.appendGroup([entry]);
  }

  /** Appends entries of which all are kept or none; resolves with the number of the first. */
  appendGroup(entries: LogEntry[]): Promise<{ number: number }> {
    if (this.closed)
      return Promise.reject(new HallelujahError("log-closed", `the log ${this.folder} is closed`));
    const bytes = entries.reduce((sum, entry) => sum + bytesOf(entry), 0);
    if (bytes > GROUP_BYTES_MAX)
      return Promise.reject(new TypeError(`${bytes} bytes are too many for one group`));
    return new Promise((done, fail) => {
      this.waiting.push({ entries, bytes, done, fail });
      this.writing ??= this.write();
    });
  }

  /** Reads an entry. Rejects with `log-damaged` if it is not what was written. */
  read(number: number): Promise<Entry> {
    return this.segments.read(number);
  }

  /** Kinds and heads of the entries from `from` on that are `wanted`. What is damaged is left out, and kept in mind. */
  heads(from: number, wanted: (kind: number) => boolean): Generator<Head> {
    return this.segments.heads(from, wanted);
  }

  /** Forgets segments that hold nothing from `below` on. */
  trim(below: number): Promise<void> {
    this.trimming = this.trimming.catch(() => {}).then(() => this.trimNow(below));
    return this.trimming;
  }

  /**
   * The oldest first, each when it is certain that those before it are gone: power that goes may bring back any of the names that
   * were removed since the folder was synced, and one that is back must not have a hole behind it, as if entries were lost.
   */
  private async trimNow(below: number): Promise<void> {
    const { all } = this.segments;
    while (all.length > 1 && all[1].first <= below) {
      if (this.hasRemoved) await this.syncNames();
      const segment = all.shift()!;
      try {
        await this.files.unlink(segment.path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
          all.unshift(segment);
          throw error;
        }
      } finally {
        this.hasRemoved = true;
      }
      this.segments.forget(segment);
      await this.files.unlink(segment.sidecar).catch(() => {});
    }
  }

  private async syncNames(): Promise<void> {
    const before = this.hasRemoved;
    this.hasRemoved = false; // but what is removed meanwhile
    try {
      await this.disk.syncFolder(this.folder);
    } catch (error) {
      this.hasRemoved ||= before;
      throw error;
    }
  }

  /** Resolves when all that appends were answered for would survive a loss of power. Rejects as `append` does. */
  sync(): Promise<void> {
    if (this.durable) return Promise.resolve();
    this.syncing = this.syncing.catch(() => {}).then(() => this.syncLast());
    return this.syncing;
  }

  private async syncLast(): Promise<void> {
    const segment = this.segments.last;
    if (!segment || this.syncedNext === this.next) return;
    const next = this.next;
    try {
      this.handle ??= await this.files.open(segment.path, "r+");
      if (this.mustRewrite) await this.rewrite(segment, this.handle);
      await this.disk.datasync(this.handle);
    } catch (cause) {
      this.mustRewrite = true;
      throw writeError(segment.path, cause);
    }
    this.mustRewrite = false;
    this.syncedNext = next;
  }

  /** Writes again what is not synced: as it is read now, if that is what was written. */
  private async rewrite(segment: Segment, handle: FileHandle): Promise<void> {
    for (let number = Math.max(segment.first, this.syncedNext); number < segment.next; number++) {
      await this.read(number);
      const { offset, headBytes, bytes } = this.place(number);
      const whole = Buffer.allocUnsafe(ENTRY_HEADER + headBytes + bytes);
      const start = offset - headBytes - ENTRY_HEADER;
      await handle.read(whole, 0, whole.length, start);
      await this.disk.writev(handle, [whole], start);
    }
  }

  /** Ends the log; what is known of the last segment is written beside it, so that it need not be read to be opened. */
  async close(): Promise<void> {
    this.closed = true;
    await this.writing;
    await this.trimming.catch(() => {});
    await this.sync().then(
      () => this.seal(this.digest?.save()),
      () => {}, // it is read through when it is opened
    );
    await this.handle?.close();
    this.handle = undefined;
  }

  private seal(digest?: Buffer): void {
    const last = this.segments.last;
    if (last?.isLoaded && last.isIntact && last.count) last.writeSidecar(digest);
  }

  // --- writing ---------------------------------------------------------------------------------------------------

  private async write(): Promise<void> {
    await Promise.resolve(); // so that `writing` is set before it can be over
    while (this.waiting.length) {
      const batch = this.nextBatch();
      try {
        await this.writeBatch(batch);
      } catch (error) {
        for (const { fail } of batch) fail(error);
      }
    }
    // At once: an append that comes before this promise is settled has to find nobody writing.
    this.writing = undefined;
  }

  private nextBatch(): Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < this.waiting.length && (!count || bytes + this.waiting[count].bytes <= LOG_BATCH_BYTES))
      bytes += this.waiting[count++].bytes;
    return this.waiting.splice(0, count);
  }

  private async writeBatch(batch: Waiting[]): Promise<void> {
    const segment = await this.current();
    const first = this.next;
    const buffers: Buffer[] = [];
    const headers: Buffer[] = [];
    const synced = this.syncedNext;
    for (const { entries } of batch) {
      entries.forEach((entry, i) => {
        const number = first + headers.length;
        const header = encodeEntry(entry, number, entries.length - 1 - i, number - synced);
        headers.push(header);
        buffers.push(header);
        if (entry.head) buffers.push(entry.head);
        for (const part of entry.body) if (part.length) buffers.push(part);
      });
    }
    await this.writeOrCut(segment, buffers);
    let at = segment.size;
    let number = first;
    for (const { entries } of batch) {
      for (const { kind, head, records } of entries) {
        const header = headers[number - first];
        const bytes = header.readUInt32LE(20);
        const headBytes = head?.length ?? 0;
        segment.index.push({ offset: at, kind, headBytes, bytes, records, sum: header.readUInt32LE(28) });
        this.digest?.add(number, kind, head);
        number++;
        at += ENTRY_HEADER + headBytes + bytes;
      }
    }
    segment.wrote(at, Date.now());
    this.segments.next = number;
    if (this.durable) this.syncedNext = number;
    number = first;
    for (const { entries, done } of batch) {
      done({ number });
      number += entries.length;
    }
  }

  /** Writes at the end of a segment, and syncs that; where it cannot be done, nothing is left of it. */
  private async writeOrCut(segment: Segment, buffers: Buffer[]): Promise<void> {
    const handle = this.handle!;
    let step = "write";
    try {
      await this.disk.writev(handle, buffers, segment.size);
      step = "sync";
      if (this.durable) await this.disk.datasync(handle);
    } catch (cause) {
      const isCut = await handle
        .truncate(segment.size)
        .then(() => handle.datasync())
        .then(
          () => true,
          () => false,
        );
      // The system forgets what it failed to sync, and says that all is well the next time (fsyncgate, 2018): so nothing more
      // goes where that was.
      if (!isCut || step === "sync") segment.isClosed = true;
      throw writeError(segment.path, cause);
    }
  }

  /** The segment that is written to: a new one when the last is full. */
  private async current(): Promise<Segment> {
    const last = this.segments.last;
    const isOpen = last?.until === undefined && last?.next === this.next && !last.isClosed;
    if (isOpen && last.size < this.segmentBytes) {
      this.handle ??= await this.files.open(last.path, "r+");
      return last;
    }
    await this.sync();
    const { segment, handle } = await this.create();
    await this.handle?.close();
    this.handle = handle;
    if (last?.count) {
      last.until = this.next;
      this.seal();
    }
    this.segments.add(segment);
    return segment;
  }

  private async create(): Promise<{ segment: Segment; handle: FileHandle }> {
    const first = this.next;
    const path = Segment.pathOf(this.folder, first);
    const digest = this.digest?.save() ?? Buffer.alloc(0);
    let handle: FileHandle | undefined;
    try {
      await this.files.unlink(path).catch(() => {}); // one in which nothing could be written
      handle = await this.files.open(path, "wx+");
      await this.disk.writev(handle, [encodeSegment(first, digest), digest], 0);
      await this.disk.datasync(handle);
      await this.syncNames();
    } catch (cause) {
      await handle?.close();
      await this.files.unlink(path).catch(() => {});
      throw writeError(path, cause);
    }
    return { segment: Segment.created(path, first, SEGMENT_HEADER + digest.length, this.files), handle };
  }
}

function bytesOf({ head, body }: LogEntry): number {
  return body.reduce((sum, { length }) => sum + length, ENTRY_HEADER + (head?.length ?? 0));
}

function writeError(path: string, cause: unknown): HallelujahError {
  if (cause instanceof HallelujahError) return cause;
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new HallelujahError(
      "disk-full",
      `the disk is full, nothing was stored; make room and send it again (${path})`,
      { cause },
    );
  const message = `${path} cannot be written, nothing was stored: ${messageOf(cause)}`;
  return new HallelujahError("log-unwritable", message, { cause });
}
