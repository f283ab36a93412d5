/** One segment of a log: its file, and the sidecar beside it from which it is opened without being read. */
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { FILES, type Files } from "./files.ts";
import { decodeSegment, decodeSidecar, encodeSidecar, SEGMENT_HEADER, SIDECAR_HEADER } from "./log-format.ts";
import { SegmentIndex } from "./log-index.ts";
import {
  type Damage,
  type FileWindow,
  findEntry,
  readFully,
  type Scanned,
  scanSegment,
  windowOf,
} from "./log-scan.ts";

const NO_DIGEST: Buffer = Buffer.alloc(0);

export class Segment {
  readonly path: string;
  /** Number of its first entry. */
  readonly first: number;
  /** Bytes that are written. */
  size: number;
  count = 0;
  bodyBytes = 0;
  /** When it was last written to, by the wall clock, ms. */
  lastAt: number;
  damages: Damage[] = [];
  /** Why its header is not to be used. */
  headerDamage: string | undefined;
  /** Number of the next segment's first entry, if there is one. */
  until: number | undefined;
  /** Nothing more is to be written to it, for what is wrong with it. */
  isClosed = false;
  private isScanned = false;
  private loaded: SegmentIndex | undefined;
  private readonly files: Files;

  constructor(path: string, first: number, size: number, lastAt: number, files: Files) {
    this.files = files;
    this.path = path;
    this.first = first;
    this.size = size;
    this.lastAt = lastAt;
  }

  static pathOf(folder: string, first: number): string {
    return join(folder, `${String(first).padStart(16, "0")}.seg`);
  }

  /** Behind the last entry. */
  get next(): number {
    return this.first + this.count;
  }

  get sidecar(): string {
    return `${this.path.slice(0, -".seg".length)}.idx`;
  }

  /** Whether it was opened by its sidecar, which says that it is synced. */
  get isSealed(): boolean {
    return !this.isScanned;
  }

  get isIntact(): boolean {
    return !this.isClosed && !this.damages.length;
  }

  get isLoaded(): boolean {
    return this.loaded !== undefined;
  }

  /** A new one, whose places are known as they are written. */
  static created(path: string, first: number, size: number, files: Files): Segment {
    const segment = new Segment(path, first, size, Date.now(), files);
    segment.loaded = new SegmentIndex();
    return segment;
  }

  /**
   * Opens the segment in a file; `until` is the first number of the one behind it, or undefined for the last. By its sidecar if
   * there is one that fits, else by reading it through. Where the last one has a torn tail, the result says what to cut off.
   * Throws `log-version`.
   */
  static open(
    path: string,
    first: number,
    until: number | undefined,
    files: Files,
  ): { segment: Segment; torn?: Scanned["torn"] } {
    const fd = files.openSync(path, "r");
    try {
      const { size, mtimeMs } = files.fstatSync(fd);
      const segment = new Segment(path, first, size, mtimeMs, files);
      segment.until = until;
      if (segment.openSidecar(size)) return { segment };
      return { segment, ...segment.scan(fd, size) };
    } finally {
      files.closeSync(fd);
    }
  }

  /** Reads all of a segment, whatever its sidecar says, and tells what is wrong with it. Throws `log-version`. */
  static verify(path: string, first: number, until: number | undefined): Damage[] {
    const fd = FILES.openSync(path, "r");
    try {
      const { size, mtimeMs } = FILES.fstatSync(fd);
      const segment = new Segment(path, first, size, mtimeMs, FILES);
      const window = windowOf(FILES, fd, size, true);
      const at = segment.startOf(window);
      const index = new SegmentIndex();
      const { damages, end, torn } = scanSegment(window, { path, first, at, index, until, whole: true });
      const next = first + index.count;
      const found = (byte: number, from: number, to: number, why: string) =>
        damages.push({ path, byte, from, to, why });
      const known = until === undefined ? segment.readSidecar() : undefined;
      if (known?.first === first && known.size > end)
        found(end, next, first + known.count, "it became shorter");
      else if (torn)
        found(torn.byte, next, next, `a torn tail, which is cut off at the next start: ${torn.why}`);
      if (segment.headerDamage !== undefined) found(0, first, first, segment.headerDamage);
      else if (segment.readPreface() === undefined)
        found(0, first, first, "what it says of the entries before it was changed");
      return damages;
    } finally {
      FILES.closeSync(fd);
    }
  }

  /** Whether the sidecar tells of all of this segment. */
  private openSidecar(size: number): boolean {
    const header = this.readSidecar();
    if (!header || header.first !== this.first) return false;
    const fits = this.until === undefined ? header.size === size : header.size <= size;
    if (!fits || (this.until !== undefined && this.first + header.count !== this.until)) return false;
    this.size = header.size;
    this.count = header.count;
    this.bodyBytes = header.bodyBytes;
    return true;
  }

  readSidecar(): ReturnType<typeof decodeSidecar> {
    return withFile(this.files, this.sidecar, (fd) =>
      decodeSidecar(readRange(this.files, fd, 0, SIDECAR_HEADER)),
    );
  }

  /** What is known at the segment's end, if it was closed and not written to since. */
  readDigest(): Buffer | undefined {
    return withFile(this.files, this.sidecar, (fd, size) => {
      const header = decodeSidecar(readRange(this.files, fd, 0, SIDECAR_HEADER));
      if (!header?.digestBytes || header.size !== this.size || header.digestBytes > size) return undefined;
      const digest = readRange(this.files, fd, SIDECAR_HEADER, header.digestBytes);
      return crc32(digest) === header.digestSum ? digest : undefined;
    });
  }

  /** What is known of all entries before this segment; undefined if that is damaged. */
  readPreface(): Buffer | undefined {
    return withFile(this.files, this.path, (fd, size) => {
      const header = decodeSegment(readRange(this.files, fd, 0, SEGMENT_HEADER), this.path);
      if (typeof header === "string" || header.first !== this.first) return undefined;
      if (header.digestBytes > size - SEGMENT_HEADER) return undefined;
      const digest = readRange(this.files, fd, SEGMENT_HEADER, header.digestBytes);
      return crc32(digest) === header.digestSum ? digest : undefined;
    });
  }

  /** Reads it through, from behind what its sidecar tells of if that is at hand. */
  private scan(fd: number, size: number): { torn?: Scanned["torn"] } {
    this.isScanned = true;
    const isLast = this.until === undefined;
    const known = isLast ? this.columnsOfSidecar() : undefined;
    if (known && known.size > size) {
      this.take({ index: known.index, end: size, damages: [this.shortened(known.index, size)] });
      this.isClosed = true;
      return {};
    }
    const window = windowOf(this.files, fd, size, isLast);
    const at = known?.size ?? this.startOf(window);
    const options = { path: this.path, first: this.first, at, until: this.until, whole: isLast };
    const scanned = scanSegment(window, { ...options, index: known?.index ?? new SegmentIndex() });
    this.take(scanned);
    this.isClosed = this.headerDamage !== undefined;
    if (!isLast && !this.damages.length && !this.headerDamage) this.writeSidecar();
    return scanned.torn ? { torn: scanned.torn } : {};
  }

  private take({ index, end, damages }: Scanned): void {
    this.loaded = index;
    this.size = end;
    this.count = index.count;
    this.bodyBytes = index.bodyBytes;
    this.damages = damages;
  }

  /** Where the entries start. */
  private startOf(window: FileWindow): number {
    const header = decodeSegment(window.get(0, SEGMENT_HEADER), this.path);
    if (typeof header === "string") this.headerDamage = header;
    else if (header.first !== this.first) this.headerDamage = `it starts with entry ${header.first}`;
    else if (SEGMENT_HEADER + header.digestBytes > window.size) this.headerDamage = "it ends too early";
    else return SEGMENT_HEADER + header.digestBytes;
    return (
      findEntry(window, SEGMENT_HEADER, SEGMENT_HEADER, this.first, Number.MAX_SAFE_INTEGER)?.at ??
      window.size
    );
  }

  /** The columns as they were when the log was closed, and the segment's size then. */
  private columnsOfSidecar(): { index: SegmentIndex; size: number } | undefined {
    const size = this.readSidecar()?.size;
    const index = this.readColumns();
    return index && size !== undefined ? { index, size } : undefined;
  }

  /** What is gone with the end of the file. */
  private shortened(index: SegmentIndex, size: number): Damage {
    const { path, first } = this;
    let kept = index.count;
    while (kept && index.endOf(kept - 1) > size) kept--;
    return { path, byte: size, from: first + kept, to: first + index.count, why: "it became shorter" };
  }

  // --- places ----------------------------------------------------------------------------------------------------

  /** Its places; read from disk where they are not at hand. */
  get index(): SegmentIndex {
    this.loaded ??= this.currentColumns() ?? this.rescan();
    return this.loaded;
  }

  /** Those of the sidecar, if it tells of all entries: one of before some were added stays where another cannot be written. */
  private currentColumns(): SegmentIndex | undefined {
    const index = this.readColumns();
    return index?.count === this.count ? index : undefined;
  }

  /** Entries were added to its places; it has `size` bytes now. */
  wrote(size: number, now: number): void {
    this.size = size;
    this.count = this.index.count;
    this.bodyBytes = this.index.bodyBytes;
    this.lastAt = now;
  }

  /** Lets the places go, if they can be had again. */
  unload(): void {
    if (!this.damages.length) this.loaded = undefined;
  }

  private readColumns(): SegmentIndex | undefined {
    return withFile(this.files, this.sidecar, (fd, size) => {
      const header = decodeSidecar(readRange(this.files, fd, 0, SIDECAR_HEADER));
      if (!header || header.first !== this.first) return undefined;
      const at = SIDECAR_HEADER + header.digestBytes;
      if (size !== at + SegmentIndex.bytesOf(header.count)) return undefined;
      const bytes = readRange(this.files, fd, at, size - at);
      return SegmentIndex.decode(bytes, header.count, header.columnsSum, header.size);
    });
  }

  /** The sidecar is not to be used. */
  private rescan(): SegmentIndex {
    const { size, count } = this;
    const fd = this.files.openSync(this.path, "r");
    try {
      const window = windowOf(this.files, fd, size, false);
      const at = this.startOf(window);
      const until = this.first + count;
      this.take(
        scanSegment(window, {
          path: this.path,
          at,
          first: this.first,
          index: new SegmentIndex(),
          until,
          whole: false,
        }),
      );
      if (!this.damages.length) this.writeSidecar();
      return this.loaded!;
    } finally {
      this.files.closeSync(fd);
    }
  }

  /** Writes the sidecar. It can be made anew, so it is not synced, and nothing depends on whether it can be written. */
  writeSidecar(digest = NO_DIGEST): void {
    const { first, size, index, sidecar, files } = this;
    const { bytes, sum } = index.encode();
    const { count, bodyBytes } = index;
    try {
      const header = encodeSidecar({ first, size, bodyBytes, count, columnsSum: sum }, digest);
      files.writeFileSync(`${sidecar}.new`, Buffer.concat([header, digest, bytes]));
      files.renameSync(`${sidecar}.new`, sidecar);
    } catch {
      files.removeSync(`${sidecar}.new`);
    }
  }
}

function readRange(files: Files, fd: number, at: number, bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  return buffer.subarray(0, readFully(files, fd, buffer, at));
}

/** Undefined as well if the file cannot be read. */
function withFile<T>(
  files: Files,
  path: string,
  read: (fd: number, size: number) => T | undefined,
): T | undefined {
  let fd: number;
  try {
    fd = files.openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    return read(fd, files.fstatSync(fd).size);
  } catch {
    return undefined;
  } finally {
    files.closeSync(fd);
  }
}
