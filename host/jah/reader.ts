/** Brings the bytes of a frame into the input window and finds where its first record starts. */
import { closeSync, openSync, readSync } from "node:fs";
import { crc32 } from "node:zlib";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { FRAME_BYTES, FRAME_TAIL_BYTES, RECORD_BYTES_MAX, SENTINEL_BYTES } from "../core/limits.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import { INPUT } from "../kernel/memory-map.ts";
import type { FrameTask, SourceSpec } from "../wire/jah.ts";

const LF = 0x0a;
const QUOTE = 0x22;

/** The part of a source that lies in the input window: bytes [start, end) at INPUT. */
export interface Window {
  start: number;
  end: number;
  /** Whether nothing follows for the record at hand: the source ends, or the record is too long. */
  final: boolean;
}

/** Reads ranges of files into the input window of one kernel. One file is open at a time. */
export class RangeReader {
  private fd = -1;
  private path = "";
  private kernel: KernelInstance;

  constructor(kernel: KernelInstance) {
    this.kernel = kernel;
  }

  /** After the kernel was instantiated anew over the same memory. */
  use(kernel: KernelInstance): void {
    this.kernel = kernel;
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
    this.fd = -1;
    this.path = "";
  }

  /** Reads bytes [start, limit) and a tail, in which the last record is hoped to end. */
  read(source: SourceSpec, start: number, limit: number): Window {
    const end = Math.min(limit + FRAME_TAIL_BYTES, source.size);
    this.fill(source, start, end, INPUT);
    return { start, end, final: end >= source.size };
  }

  /** Reads on behind a window whose last record, which starts at `record`, did not end. */
  extend(source: SourceSpec, window: Window, record: number): Window {
    const more = Math.max(FRAME_TAIL_BYTES, (window.end - record) * 2);
    const end = Math.min(window.end + more, record + RECORD_BYTES_MAX, source.size);
    this.fill(source, window.end, end, INPUT + (window.end - window.start));
    return { start: window.start, end, final: end >= source.size || end >= record + RECORD_BYTES_MAX };
  }

  /** Reads bytes of a log, all of which belong to the frame. Throws `log-damaged`. */
  readSlice({ frame, path, offset, bytes, sum }: FrameTask & { kind: "slice" }): void {
    let why = "its bytes were changed";
    try {
      this.fill({ path }, offset, offset + bytes, INPUT);
      if (crc32(this.kernel.bytes.subarray(INPUT, INPUT + bytes)) === sum) return;
    } catch (error) {
      why = messageOf(error);
    }
    const message = `frame ${frame} cannot be read from the log: ${path} is damaged at byte ${offset}: ${why}`;
    throw new HallelujahError("log-damaged", message);
  }

  private fill(source: { path?: string }, start: number, end: number, address: number): void {
    const bytes = this.kernel.bytes;
    const path = source.path!;
    try {
      if (this.path !== path) {
        this.close();
        this.fd = openSync(path, "r");
        this.path = path;
      }
      let at = start;
      while (at < end) {
        const got = readSync(this.fd, bytes, address + (at - start), end - at, at);
        if (!got)
          throw new HallelujahError(
            "input-shrank",
            `${path} became shorter while it was read (at byte ${at})`,
          );
        at += got;
      }
    } catch (cause) {
      if (cause instanceof HallelujahError) throw cause;
      throw new HallelujahError("input-unreadable", `${path} cannot be read: ${messageOf(cause)}`, { cause });
    }
    const behind = address + (end - start);
    bytes.fill(LF, behind, behind + SENTINEL_BYTES);
  }

  /**
   * Where the first record at or after `at` starts: behind the first line feed from the byte before on. With
   * `quotesFrom`, a record's start further left, line feeds behind an odd number of quotes do not count.
   */
  findStart(source: SourceSpec, at: number, quotesFrom: number | undefined): number {
    if (at <= source.dataStart) return source.dataStart;
    let odd = quotesFrom !== undefined && this.quotesAreOdd(source, quotesFrom, at - 1);
    for (let from = at - 1; from < source.size; ) {
      const to = Math.min(from + FRAME_TAIL_BYTES * (from === at - 1 ? 1 : 16), source.size);
      this.fill(source, from, to, INPUT);
      const bytes = this.kernel.bytes.subarray(INPUT, INPUT + (to - from));
      if (quotesFrom === undefined) {
        const lf = bytes.indexOf(LF);
        if (lf >= 0) return from + lf + 1;
      } else {
        for (let i = 0; i < bytes.length; i++) {
          if (bytes[i] === QUOTE) odd = !odd;
          else if (bytes[i] === LF && !odd) return from + i + 1;
        }
      }
      from = to;
    }
    return source.size;
  }

  private quotesAreOdd(source: SourceSpec, from: number, to: number): boolean {
    let quotes = 0;
    for (let at = from; at < to; at += FRAME_BYTES) {
      const end = Math.min(at + FRAME_BYTES, to);
      this.fill(source, at, end, INPUT);
      quotes += this.kernel.exports.countQuotes(INPUT, INPUT + (end - at));
    }
    return quotes % 2 === 1;
  }

  /** Where the line at or behind `at` ends: behind its line feed. For records that are too long to be held. */
  skipLine(source: SourceSpec, at: number): number {
    return this.findStart(source, at + 1, undefined);
  }
}
