/** The segments of a log's folder: how they are found there, and what can be read of them. */
import { crc32 } from "node:zlib";
import { HallelujahError } from "../core/errors.ts";
import { FILES, type Files } from "./files.ts";
import { decodeEntry, ENTRY_HEADER } from "./log-format.ts";
import { type Damage, windowOf } from "./log-scan.ts";
import type { Extent } from "./retention.ts";
import { Segment } from "./segment.ts";
import type { Place } from "./stream-log.ts";

export interface Entry {
  kind: number;
  head: Buffer | undefined;
  body: Buffer;
}

/** What is known of an entry without its body. */
export interface Head {
  number: number;
  kind: number;
  head: Buffer | undefined;
}

/** Segments, beside the last, whose places are kept in memory. */
const LOADED_MAX = 4;

export class Segments {
  /** In order; whoever writes the log adds to them, and takes the first away. */
  readonly all: Segment[] = [];
  /** Damage that is in no segment that is there. */
  readonly lost: Damage[] = [];
  /** The last segment, if only its sidecar is there. */
  missing: Segment | undefined;
  /** The number of the next entry, kept by whoever writes the log. */
  next = 0;
  /** Segments whose places are in memory, the one used last at the end. */
  private readonly loaded: Segment[] = [];
  private readonly folder: string;
  private readonly files: Files;

  private constructor(folder: string, files: Files) {
    this.folder = folder;
    this.files = files;
  }

  /** The segments in a folder, which is there. Throws `log-version`. */
  static open(folder: string, files: Files): Segments {
    const segments = new Segments(folder, files);
    segments.openAll();
    return segments;
  }

  private openAll(): void {
    const firsts = segmentsIn(this.folder, this.files);
    firsts.forEach((first, i) => {
      const path = Segment.pathOf(this.folder, first);
      const { segment, torn } = Segment.open(path, first, firsts[i + 1], this.files);
      if (i < firsts.length - 1) segment.unload();
      else if (!segment.isSealed) settleTail(this.files, this.folder, segment, torn?.byte);
      this.all.push(segment);
    });
    const last = this.all.at(-1);
    this.next = last?.next ?? 0;
    // Its making was torn, so that nothing was in it.
    if (last && last.headerDamage !== undefined && !last.count && !last.damages.length) {
      this.all.pop();
      this.files.removeSync(last.path);
      this.files.removeSync(last.sidecar);
    }
    this.openOrphans();
  }

  /** Sidecars of segments that are gone: trimmed, or missing, if they were the last. */
  private openOrphans(): void {
    for (const first of numbersIn(this.files, this.folder, "idx")) {
      const orphan = new Segment(Segment.pathOf(this.folder, first), first, 0, 0, this.files);
      if (first < this.first) this.files.removeSync(orphan.sidecar);
      if (first < this.next) continue;
      const { count = 0, size = 0 } = orphan.readSidecar() ?? {};
      if (!count) continue;
      orphan.size = size;
      this.next = first + count;
      this.lost.push({
        path: orphan.path,
        byte: 0,
        from: first,
        to: first + count,
        why: "the file is missing",
      });
      this.missing = orphan;
    }
  }

  /** The one that is written to, unless it is full. */
  get last(): Segment | undefined {
    return this.all.at(-1);
  }

  /** The lowest number that is kept. */
  get first(): number {
    return this.all[0]?.first ?? this.next;
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.all.reduce((sum, { size }) => sum + size, 0);
  }

  /** Its segments, of which only whole ones can be trimmed (retention.ts). */
  get extents(): Extent[] {
    return this.all.map(({ first, next, size, lastAt }) => ({ first, next, bytes: size, lastAt }));
  }

  /** Bytes of the bodies from `number` on. */
  bytesFrom(number: number): number {
    let bytes = 0;
    for (let i = this.all.length - 1; i >= 0; i--) {
      const segment = this.all[i];
      if (segment.next <= number) break;
      if (segment.first >= number) bytes += segment.bodyBytes;
      else return bytes + this.indexOf(segment).bytesFrom(number - segment.first);
    }
    return bytes;
  }

  /** Where an entry lies. Throws `log-damaged`; that it is there does not say that its bytes are what was written. */
  place(number: number): Place {
    if (number < this.first || number >= this.next) throw new RangeError(`entry ${number} is not in the log`);
    const segment = this.segmentOf(number);
    const damage = this.damageOf(segment, number);
    if (damage) throw damagedError(damage);
    const { kind, offset, headBytes, bytes, records, sum } = this.indexOf(segment).at(number - segment.first);
    const body = offset + ENTRY_HEADER + headBytes;
    return { kind, path: segment.path, offset: body, bytes, sum, headBytes, records };
  }

  /** The first damage, as far as is known, that affects an entry from `number` on. */
  damageFrom(number: number): Damage | undefined {
    if (number < this.first)
      return {
        path: this.folder,
        byte: 0,
        from: number,
        to: this.first,
        why: "its first segments are missing",
      };
    return [...this.lost, ...this.all.flatMap(({ damages }) => damages)].find(({ to }) => to > number);
  }

  private damageOf(segment: Segment, number: number): Damage | undefined {
    const found = segment.damages.find(({ from, to }) => from <= number && number < to);
    if (found || number < segment.next) return found;
    const { path, size, next } = segment;
    return {
      path,
      byte: size,
      from: next,
      to: number + 1,
      why: "the entries that should follow are missing",
    };
  }

  /** Reads an entry. Rejects with `log-damaged` if it is not what was written. */
  async read(number: number): Promise<Entry> {
    const { kind, path, offset, headBytes, bytes } = this.place(number);
    const start = offset - headBytes - ENTRY_HEADER;
    const handle = await this.files.open(path, "r");
    try {
      const length = ENTRY_HEADER + headBytes + bytes;
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(length), 0, length, start);
      const why = bytesRead < length ? "it ends too early" : invalid(buffer, number);
      if (why !== undefined) throw damagedError({ path, byte: start, from: number, to: number + 1, why });
      const body = buffer.subarray(ENTRY_HEADER + headBytes);
      return {
        kind,
        head: headBytes ? buffer.subarray(ENTRY_HEADER, ENTRY_HEADER + headBytes) : undefined,
        body,
      };
    } finally {
      await handle.close();
    }
  }

  /** Kinds of the entries from `from` on, as far as is known without reading them. */
  kindsFrom(from: number): Set<number> {
    const kinds = new Set<number>();
    for (const segment of this.all) {
      if (segment.next <= from) continue;
      const index = this.indexOf(segment);
      for (let i = Math.max(0, from - segment.first); i < index.count; i++) kinds.add(index.at(i).kind);
    }
    return kinds;
  }

  /** Kinds and heads of the entries from `from` on that are `wanted`. What is damaged is left out, and kept in mind. */
  *heads(from: number, wanted: (kind: number) => boolean): Generator<Head> {
    for (const segment of this.all) {
      if (segment.next <= from) continue;
      const index = this.indexOf(segment);
      const fd = this.files.openSync(segment.path, "r");
      try {
        const window = windowOf(this.files, fd, segment.size, false);
        for (let i = Math.max(0, from - segment.first); i < index.count; i++) {
          const { kind, offset, headBytes } = index.at(i);
          const number = segment.first + i;
          if (!wanted(kind) || this.damageOf(segment, number)) continue;
          if (!headBytes) {
            yield { number, kind, head: undefined };
            continue;
          }
          const bytes = window.get(offset, ENTRY_HEADER + headBytes);
          const head = bytes.subarray(ENTRY_HEADER);
          const header = decodeEntry(bytes);
          if (typeof header !== "string" && header.number === number && header.headSum === crc32(head))
            yield { number, kind, head: Buffer.from(head) };
          else {
            const why = "its head was changed";
            segment.damages.push({ path: segment.path, byte: offset, from: number, to: number + 1, why });
          }
        }
      } finally {
        this.files.closeSync(fd);
      }
    }
  }

  /** Another one comes behind the last, which is not written to any more, and stays only if it has entries. */
  add(segment: Segment): void {
    const { last } = this;
    if (last && !last.count) this.all.pop();
    else if (last) this.loaded.push(last);
    this.all.push(segment);
  }

  /** One that was taken away. */
  forget(segment: Segment): void {
    const at = this.loaded.indexOf(segment);
    if (at >= 0) this.loaded.splice(at, 1);
  }

  private segmentOf(number: number): Segment {
    let low = 0;
    let high = this.all.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.all[middle].first <= number) low = middle;
      else high = middle - 1;
    }
    return this.all[low];
  }

  /** Places of a segment; of those that are not written to, only some stay in memory. */
  private indexOf(segment: Segment): Segment["index"] {
    if (segment.until === undefined) return segment.index;
    if (this.loaded.at(-1) !== segment) {
      this.forget(segment);
      this.loaded.push(segment);
      if (this.loaded.length > LOADED_MAX) this.loaded.shift()!.unload();
    }
    return segment.index;
  }
}

/** The first numbers of the segments in a folder, in order. */
export function segmentsIn(folder: string, files: Files = FILES): number[] {
  return numbersIn(files, folder, "seg");
}

function numbersIn(files: Files, folder: string, extension: "seg" | "idx"): number[] {
  return files
    .readdirSync(folder)
    .filter((name) => /^\d{16}\.\w+$/.test(name) && name.endsWith(`.${extension}`))
    .map((name) => Number(name.slice(0, 16)))
    .filter(Number.isSafeInteger)
    .toSorted((a, b) => a - b);
}

/** Cuts off a torn tail. What is left may not be synced, as its writer was killed, and is taken for synced from now on. */
function settleTail(files: Files, folder: string, { path }: Segment, cutAt: number | undefined): void {
  for (const [name, cut] of [
    [path, cutAt],
    [folder, undefined],
  ] as const) {
    const fd = files.openSync(name, cut === undefined ? "r" : "r+");
    try {
      if (cut !== undefined) files.ftruncateSync(fd, cut);
      files.fsyncSync(fd);
    } finally {
      files.closeSync(fd);
    }
  }
}

/** Why these bytes are not entry `number`; undefined if they are. */
function invalid(bytes: Buffer, number: number): string | undefined {
  const header = decodeEntry(bytes);
  if (typeof header === "string") return header;
  const { headBytes, bodyBytes, headSum, bodySum } = header;
  const body = ENTRY_HEADER + headBytes;
  if (header.number !== number || body + bodyBytes !== bytes.length) return `entry ${number} should be here`;
  if (crc32(bytes.subarray(ENTRY_HEADER, body)) !== headSum) return "its head was changed";
  return crc32(bytes.subarray(body)) === bodySum ? undefined : "its bytes were changed";
}

/** The frames that a damage affects, as a sentence says it. */
export function damagedError({ path, byte, from, to, why }: Damage): HallelujahError {
  const entries = to - from > 1 ? `entries ${from} to ${to - 1}` : `entry ${from}`;
  const message = `${path} is damaged at byte ${byte}: ${why}; this affects ${entries}`;
  return new HallelujahError("log-damaged", message);
}
