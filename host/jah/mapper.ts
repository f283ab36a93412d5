/**
 * Maps one frame: input window -> decode -> `each` -> the frame's tables -> parts of routed entries per owner. Pure in
 * the frame's bytes: the same frame gives the same parts in any Jah.
 */
import { COLUMN_ROWS, FRAME_BYTES, RECORD_BYTES_MAX, SENTINEL_BYTES } from "../core/limits.ts";
import type { Column, FieldWish } from "../kernel/columns.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import type { Decoded, KeepDecoded } from "../wire/decoded.ts";
import type { FrameDone, FrameTask, Problem, SourceSpec } from "../wire/jah.ts";
import { readDecoded, startKeeping, writeKept } from "./decoded.ts";
import { RangeReader, type Window } from "./reader.ts";

const EXCERPT_BYTES = 80;
const TOO_LONG = 16;
const LF = 0x0a;

/** Reads a row group or record batch by its number. */
type ReadRows = (index: number) => Promise<Pick<ColumnFrame, "rows" | "columns">>;

/** A row group or record batch, and what lays it out. */
export interface ColumnFrame {
  rows: number;
  columns: Column[];
  layout: typeof import("../kernel/columns.ts");
}

// The columnar formats' libraries are loaded only where they are needed.
async function openParquetRows(path: string, wishes: FieldWish[]): Promise<ReadRows> {
  const { openParquet, readRowGroup } = await import("../input/parquet.ts");
  const file = await openParquet(path);
  return (index) => readRowGroup(file, index, wishes);
}

async function openArrowRows(path: string, wishes: FieldWish[]): Promise<ReadRows> {
  const { openArrow, readBatch } = await import("../input/arrow.ts");
  const file = await openArrow(path);
  return (index) => readBatch(file, index, wishes);
}

export interface MappedFrame {
  done: FrameDone;
  /** Parts of routed sections, per owner. */
  parts: Uint8Array[][];
  /** Bytes of the file of decoded records that was written, if one was. */
  keptBytes?: number;
  /** Whether the records came decoded. */
  cameDecoded?: true;
}

/** What is to be kept of the records of a frame for others, or was kept of it by others. */
export interface Sharing {
  keep?: KeepDecoded;
  decoded?: Decoded;
}

export class Mapper {
  private kernel: KernelInstance;
  private readonly sources: SourceSpec[];
  private owners: number;
  private readonly wishes: FieldWish[];
  private readonly frameBytes: number;
  private readonly reader: RangeReader;
  private readonly ordered: boolean;
  private parts: Uint8Array[][] = [];
  private emitted: Uint8Array[] = [];
  private planned = -1;
  private rowSource: { source: number; read: ReadRows } | undefined;

  constructor(
    kernel: KernelInstance,
    sources: SourceSpec[],
    owners: number,
    wishes: FieldWish[],
    frameBytes: number,
  ) {
    this.kernel = kernel;
    this.sources = sources;
    this.owners = owners;
    this.wishes = wishes;
    this.frameBytes = frameBytes;
    this.reader = new RangeReader(kernel);
    this.ordered = kernel.exports.isOrdered() !== 0;
    this.route(
      Uint8Array.from({ length: 256 }, (_, partition) => (partition * owners) >> 8),
      owners,
    );
  }

  /** After the kernel was instantiated anew over the same memory, or others have used it. */
  use(kernel: KernelInstance): void {
    this.kernel = kernel;
    this.planned = -1;
    this.reader.use(kernel);
  }

  close(): void {
    this.reader.close();
  }

  /** Which owner each of the 256 partitions has: its number below `owners`, or NOBODY. */
  route(partitions: Uint8Array, owners: number): void {
    this.kernel.bytes.set(partitions, map.OWNERS);
    this.owners = owners;
  }

  /** Maps a frame. `exactStart` is where the frame before ended, if this Jah mapped it just now. */
  async map(task: FrameTask, exactStart: number | undefined): Promise<MappedFrame> {
    return this.mapRead(task, exactStart, await this.read(task));
  }

  /** What has to be waited for before a frame is mapped: the columns of a row group. */
  async read(task: FrameTask): Promise<ColumnFrame | undefined> {
    return task.kind === "rows" ? this.readColumns(task, this.sources[task.source]) : undefined;
  }

  /** Maps a frame that was read. Nothing is waited for: questions are answered between frames, in the same memory. */
  mapRead(
    task: FrameTask,
    exactStart: number | undefined,
    frame: ColumnFrame | undefined,
    sharing: Sharing = {},
  ): MappedFrame {
    if (task.kind === "time") return this.skip(task);
    const source = this.sources[task.source];
    this.plan(task.source);
    this.parts = Array.from({ length: this.owners }, () => []);
    this.emitted = [];
    this.kernel.exports.beginFrame(task.frame);
    const done = emptyDone(task);
    let shared: Pick<MappedFrame, "keptBytes" | "cameDecoded"> = {};
    if (task.kind === "range") this.mapRange(task, source, exactStart ?? task.start, done);
    else if (task.kind === "bytes") this.mapBytes(task, source, done);
    else if (task.kind === "slice") shared = this.mapShared(task, source, done, sharing);
    else this.mapRows(frame!, done);
    this.flush(done);
    done.rows += this.kernel.u32(map.ROWS_GOOD);
    done.bad += this.kernel.u32(map.ROWS_BAD);
    done.quoted = this.kernel.u32(map.QUOTED) !== 0;
    done.time = this.kernel.f64(map.EVENT_TIME);
    if (this.emitted.length) done.emitted = Buffer.concat(this.emitted);
    return { done, parts: this.parts, ...shared };
  }

  /** What comes of a frame that was set aside, or has no records: nothing. */
  skip(task: FrameTask): MappedFrame {
    const done = emptyDone(task);
    if (task.kind === "range") Object.assign(done, this.placeOf(task, this.sources[task.source]));
    return { done, parts: Array.from({ length: this.owners }, () => []) };
  }

  /** Where the records of a range start and end, without the kernel: the frames beside it have to meet it there. */
  private placeOf(task: FrameTask & { kind: "range" }, source: SourceSpec): { start: number; end: number } {
    const from = task.index * this.frameBytes;
    const limit = Math.min(from + this.frameBytes, source.size);
    try {
      const start = task.start ?? this.reader.findStart(source, from, task.quotesFrom);
      if (start >= limit) return { start, end: start };
      const quotesFrom = source.format === "csv" ? start : undefined;
      return { start, end: limit < source.size ? this.reader.findStart(source, limit, quotesFrom) : limit };
    } catch {
      // The file cannot be read, which may be why the frame was set aside.
      return { start: task.start ?? from, end: Math.max(limit, task.start ?? 0) };
    }
  }

  /** The plan of the columns, in the control block. */
  private plan(source: number): void {
    if (this.planned === source) return;
    const { plan } = this.sources[source];
    const bytes = this.kernel.bytes;
    new Uint16Array(bytes.buffer, map.PLAN, plan.length).set(plan);
    this.planned = source;
  }

  private mapRange(
    task: FrameTask & { kind: "range" },
    source: SourceSpec,
    start: number | undefined,
    done: FrameDone,
  ): void {
    const limit = Math.min((task.index + 1) * this.frameBytes, source.size);
    done.start = start ?? this.reader.findStart(source, task.index * this.frameBytes, task.quotesFrom);
    done.end = done.start;
    if (done.start >= limit) return; // a record that started before covers the frame
    let window = this.reader.read(source, done.start, limit);
    let from = map.INPUT;
    while (true) {
      const status = this.call(source, from, map.INPUT + (limit - window.start), window);
      if (status === map.DONE) break;
      from = this.kernel.u32(map.NEXT);
      if (status === map.PART) {
        this.flush(done);
        this.kernel.exports.beginPart();
      } else {
        window = this.reader.extend(source, window, window.start + (from - map.INPUT));
        const there = this.kernel.bytes.subarray(from, map.INPUT + (window.end - window.start));
        if (window.end < source.size && window.final && !there.includes(LF)) {
          const record = window.start + (from - map.INPUT);
          this.note(done, from, TOO_LONG, 0, 0, record);
          done.bad++;
          done.end = this.reader.skipLine(source, window.end);
          this.collectProblems(done, window.start);
          if (done.end >= limit) return;
          window = this.reader.read(source, done.end, limit);
          from = map.INPUT;
        }
      }
    }
    done.end = Math.min(window.start + (this.kernel.u32(map.FRAME_END) - map.INPUT), source.size);
    this.collectProblems(done, window.start);
  }

  private mapBytes(task: FrameTask & { kind: "bytes" }, source: SourceSpec, done: FrameDone): void {
    const { bytes } = task;
    done.end = task.offset + bytes.length;
    done.start = task.offset;
    const memory = this.kernel.bytes;
    memory.set(bytes, map.INPUT);
    const end = map.INPUT + bytes.length;
    memory.fill(0x0a, end, end + SENTINEL_BYTES);
    const window = { start: 0, end: bytes.length, final: true };
    let from = map.INPUT;
    while (this.call(source, from, end, window) === map.PART) {
      from = this.kernel.u32(map.NEXT);
      this.flush(done);
      this.kernel.exports.beginPart();
    }
    this.collectProblems(done, task.offset);
    for (const problem of done.problems) problem.line = countLines(bytes, problem.offset - task.offset);
    done.lines = countLines(bytes, bytes.length);
  }

  /** Records of a log, which others may have decoded, or may want decoded. */
  private mapShared(
    task: FrameTask & { kind: "slice" },
    source: SourceSpec,
    done: FrameDone,
    { keep, decoded }: Sharing,
  ): Pick<MappedFrame, "keptBytes" | "cameDecoded"> {
    if (decoded && this.mapDecoded(task, decoded, done)) return { cameDecoded: true };
    const keeps = keep !== undefined && startKeeping(this.kernel, keep, task);
    this.mapSlice(task, source, done);
    if (!keeps) return {};
    const { kernel } = this;
    const good = kernel.u32(map.ROWS_BAD) ? undefined : kernel.u32(map.ROWS_GOOD);
    const keptBytes = writeKept(kernel, keep, task, good, kernel.u32(map.QUOTED) !== 0);
    return keptBytes ? { keptBytes } : {};
  }

  /** Maps records that another Jah has decoded, if they can be had. */
  private mapDecoded(task: FrameTask & { kind: "slice" }, decoded: Decoded, done: FrameDone): boolean {
    const { exports } = this.kernel;
    const head = readDecoded(this.kernel, decoded, task);
    if (!head) return false;
    const { rows, words, quoted } = head;
    if (decoded.texts) this.reader.readSlice(task);
    if (decoded.texts && !exports.decodedTextsFit(rows, words * 8, map.INPUT + task.bytes)) return false;
    let row = 0;
    while (exports.mapDecoded(row, rows, words * 8) === map.PART) {
      row = this.kernel.u32(map.NEXT);
      this.flush(done);
      exports.beginPart();
    }
    new Uint32Array(this.kernel.bytes.buffer, map.QUOTED, 1)[0] = Number(quoted);
    return true;
  }

  /** Records of a log: cut already, so that the window holds them all. */
  private mapSlice(task: FrameTask & { kind: "slice" }, source: SourceSpec, done: FrameDone): void {
    this.reader.readSlice(task);
    const end = map.INPUT + task.bytes;
    const window = { start: 0, end: task.bytes, final: true };
    let from = map.INPUT;
    while (this.call(source, from, end, window) === map.PART) {
      from = this.kernel.u32(map.NEXT);
      this.flush(done);
      this.kernel.exports.beginPart();
    }
    this.collectProblems(done, 0);
  }

  private call(source: SourceSpec, from: number, limit: number, window: Window): number {
    const end = map.INPUT + (window.end - window.start);
    const { exports } = this.kernel;
    if (source.format === "csv") return exports.mapCsv(from, limit, end, window.final, source.delimiter);
    if (source.format === "ndjson") return exports.mapNdjson(from, limit, end, window.final);
    return exports.mapLines(from, limit, end, window.final);
  }

  /** A row group or a record batch, in slices that fit the input window. */
  private mapRows({ rows, columns, layout }: ColumnFrame, done: FrameDone): void {
    const { cutFrames, sliceColumn, writeFrame } = layout;
    let first = true;
    for (const [from, to] of cutFrames(columns, rows, map.DIRTY - map.INPUT, COLUMN_ROWS)) {
      if (!first) {
        this.flush(done);
        this.kernel.exports.beginPart();
      }
      first = false;
      const slices = columns.map((column) => sliceColumn(column, from, to));
      writeFrame(this.kernel.bytes, map.INPUT, map.DIRTY, to - from, slices);
      let row = 0;
      while (this.kernel.exports.mapColumnRows(map.INPUT, row) === map.PART) {
        row = this.kernel.u32(map.NEXT);
        this.flush(done);
        this.kernel.exports.beginPart();
      }
      this.collectProblems(done, from, false);
    }
  }

  private async readColumns(task: FrameTask & { kind: "rows" }, source: SourceSpec): Promise<ColumnFrame> {
    if (this.rowSource?.source !== task.source) {
      const open = source.format === "parquet" ? openParquetRows : openArrowRows;
      this.rowSource = { source: task.source, read: await open(source.path!, this.wishes) };
    }
    return { ...(await this.rowSource.read(task.index)), layout: await import("../kernel/columns.ts") };
  }

  /** Takes the frame's entries and emitted records out as a part. */
  private flush(done: FrameDone): void {
    const { exports } = this.kernel;
    const emitted = exports.emittedBytes();
    if (emitted) {
      done.emittedRows += exports.emittedRows();
      this.emitted.push(this.kernel.bytes.slice(map.OUTPUT, map.OUTPUT + emitted));
    }
    exports.group(this.owners);
    for (let owner = 0; owner < this.owners; owner++) {
      const end = exports.encode(owner);
      // Where owners emit, their parts are stages, of which each has as many.
      if (end > map.ENTRIES || this.ordered)
        this.parts[owner].push(this.kernel.bytes.slice(map.ENTRIES, end));
    }
  }

  /** Moves the problems of the last call from the control block into `done`. `start` is the source's offset of INPUT. */
  private collectProblems(done: FrameDone, start: number, text = true): void {
    const count = this.kernel.u32(map.PROBLEM_COUNT);
    for (let i = 0; i < count; i++) {
      const at = map.PROBLEMS + i * 16;
      const row = this.kernel.u32(at);
      const offset = text ? start + (row - map.INPUT) : start + row;
      this.note(
        done,
        text ? row : 0,
        this.kernel.u32(at + 4),
        this.kernel.u32(at + 8),
        this.kernel.u32(at + 12),
        offset,
      );
    }
    const { bytes } = this.kernel;
    bytes.fill(0, map.PROBLEM_COUNT, map.PROBLEM_COUNT + 4);
  }

  private note(
    done: FrameDone,
    row: number,
    reason: number,
    field: number,
    detail: number,
    offset: number,
  ): void {
    if (done.problems.length >= map.PROBLEMS_MAX) return;
    const problem: Problem = {
      frame: done.frame,
      source: done.source,
      offset,
      reason,
      field,
      detail,
      excerpt: row ? this.excerpt(row) : "",
    };
    done.problems.push(problem);
  }

  private excerpt(row: number): string {
    const bytes = this.kernel.bytes.subarray(row, row + EXCERPT_BYTES);
    const lf = bytes.indexOf(0x0a);
    const text = Buffer.from(lf < 0 ? bytes : bytes.subarray(0, lf)).toString();
    return lf < 0 ? `${text}...` : text;
  }
}

function emptyDone(task: FrameTask): FrameDone {
  return {
    frame: task.frame,
    source: task.source,
    start: 0,
    end: 0,
    time: task.kind === "time" ? task.time : -Infinity,
    rows: 0,
    bad: 0,
    problems: [],
    emittedRows: 0,
    lines: 0,
    quoted: false,
  };
}

function countLines(bytes: Uint8Array, end: number): number {
  let lines = 0;
  for (let at = bytes.indexOf(0x0a); at >= 0 && at < end; at = bytes.indexOf(0x0a, at + 1)) lines++;
  return lines;
}

if (RECORD_BYTES_MAX + FRAME_BYTES > map.DIRTY - map.INPUT)
  throw new TypeError("a record must fit the input window");
