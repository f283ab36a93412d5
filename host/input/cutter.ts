/**
 * Cuts a stream of bytes into frames of whole records, at the same places as if it were a file: frame k holds the
 * records that start in bytes [k * frameBytes, (k + 1) * frameBytes). For standard input and compressed files.
 */
import { FRAME_BYTES, RECORD_BYTES_MAX } from "../core/limits.ts";

const LF = 0x0a;
const QUOTE = 0x22;

export interface CutFrame {
  /** Where the frame starts in the stream, bytes. */
  offset: number;
  /** Whole records; empty if a longer one covers the frame. */
  bytes: Buffer;
  /** Records longer than RECORD_BYTES_MAX that were dropped: where each started. */
  tooLong: number[];
}

export class Cutter {
  private buffer: Buffer = Buffer.alloc(0);
  /** Stream offset of the buffer's first byte, a record's start. */
  private offset: number;
  private index: number;
  private skipping = false;
  private tooLong: number[] = [];
  private readonly quotes: boolean;
  private readonly delimiter: number;
  private readonly frameBytes: number;
  private ended = false;

  /** `start` is where the first record starts, `quotes` whether quoted fields may hold line feeds (CSV). */
  constructor(start: number, quotes: boolean, delimiter: number, frameBytes = FRAME_BYTES) {
    this.offset = start;
    this.index = Math.floor(start / frameBytes);
    this.quotes = quotes;
    this.delimiter = delimiter;
    this.frameBytes = frameBytes;
  }

  push(chunk: Buffer): void {
    this.buffer = this.buffer.length ? Buffer.concat([this.buffer, chunk]) : chunk;
    if (this.skipping) this.skipLine();
  }

  end(): void {
    this.ended = true;
  }

  /** The next frame if enough bytes are there; after `end`, all that is left in frames, then undefined. */
  next(): CutFrame | undefined {
    if (this.skipping && !this.ended) return undefined;
    const target = (this.index + 1) * this.frameBytes - this.offset;
    if (this.ended && this.buffer.length <= target) {
      if (!this.buffer.length && !this.tooLong.length) return undefined;
      return this.take(this.buffer.length);
    }
    const cut = this.findCut(target);
    if (cut >= 0) return this.take(cut);
    if (this.ended) return this.take(this.buffer.length);
    if (this.buffer.length > target + RECORD_BYTES_MAX) return this.giveUp(target);
    return undefined;
  }

  private take(length: number): CutFrame {
    const frame = { offset: this.offset, bytes: this.buffer.subarray(0, length), tooLong: this.tooLong };
    this.tooLong = [];
    this.buffer = this.buffer.subarray(length);
    this.offset += length;
    this.index++;
    return frame;
  }

  /** The record over `target` is too long: what comes before it is a frame, its line is dropped. */
  private giveUp(target: number): CutFrame {
    const before = this.buffer.lastIndexOf(LF, Math.max(0, target - 1)) + 1;
    const frame = this.take(before);
    frame.tooLong.push(this.offset);
    this.skipping = true;
    this.skipLine();
    return frame;
  }

  private skipLine(): void {
    const lf = this.buffer.indexOf(LF);
    const length = lf < 0 ? this.buffer.length : lf + 1;
    this.buffer = this.buffer.subarray(length);
    this.offset += length;
    this.index = Math.max(this.index, Math.floor(this.offset / this.frameBytes));
    this.skipping = lf < 0;
  }

  /** The first record's start at or behind `target`, as a length; -1 if it is not there yet. */
  private findCut(target: number): number {
    if (target <= 0) return 0;
    if (this.buffer.length < target) return -1;
    const firstQuote = this.quotes ? this.buffer.indexOf(QUOTE) : -1;
    const lf = this.buffer.indexOf(LF, target - 1);
    if (firstQuote < 0 || (lf >= 0 && firstQuote > lf)) return lf < 0 ? -1 : lf + 1;
    return this.findCutInFields(target);
  }

  /** The same, field by field: as the kernel's decoder reads them. */
  private findCutInFields(target: number): number {
    const { buffer, delimiter } = this;
    let at = 0;
    while (at < buffer.length) {
      if (buffer[at] === QUOTE) {
        at++;
        while (true) {
          const quote = buffer.indexOf(QUOTE, at);
          if (quote < 0 || quote + 1 >= buffer.length) return -1;
          at = quote + 1;
          if (buffer[at] !== QUOTE) break;
          at++;
        }
      }
      while (at < buffer.length && buffer[at] !== delimiter && buffer[at] !== LF) at++;
      if (at >= buffer.length) return -1;
      at++;
      if (buffer[at - 1] === LF && at >= target) return at;
    }
    return -1;
  }
}
