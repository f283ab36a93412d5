/**
 * Cuts a stream of bytes into frames of whole records, at the same places as if it were a file: frame k holds the
 * records that start in bytes [k * frameBytes, (k + 1) * frameBytes). For standard input and compressed files.
 *
 * A line of more than RECORD_BYTES_MAX is dropped. A quoted field that does not end within as many bytes is taken for
 * unclosed: its record stays in the frame, where the decoder says so and goes on behind its first line, as here.
 */
import { FRAME_BYTES, RECORD_BYTES_MAX } from "../core/limits.ts";

const LF = 0x0a;
const QUOTE = 0x22;

export interface CutFrame {
  /** Where the frame starts, bytes; dropped lines do not count, so that each frame starts where the one before ended. */
  offset: number;
  /** Whole records; empty if a longer one covers the frame. */
  bytes: Buffer;
  /** Lines that were dropped behind these records. */
  dropped: number;
}

export class Cutter {
  private buffer: Buffer = Buffer.alloc(0);
  private readonly pushed: Buffer[] = [];
  private pushedBytes = 0;
  /** Bytes without which `next` has nothing to do. */
  private needed = 0;
  /** Stream offset of the buffer's first byte, a record's start, with and without dropped lines. */
  private offset: number;
  private offsetKept: number;
  private index: number;
  /** A record's start in the buffer: all before it ended. */
  private at = 0;
  /** Within a line that is too long. */
  private dropping = false;
  private readonly quotes: boolean;
  private readonly delimiter: number;
  private readonly frameBytes: number;
  private ended = false;

  /** `start` is where the first record starts, `quotes` whether quoted fields may hold line feeds (CSV). */
  constructor(start: number, quotes: boolean, delimiter: number, frameBytes = FRAME_BYTES) {
    this.offset = start;
    this.offsetKept = start;
    this.index = Math.floor(start / frameBytes);
    this.quotes = quotes;
    this.delimiter = delimiter;
    this.frameBytes = frameBytes;
  }

  push(chunk: Buffer): void {
    this.pushed.push(chunk);
    this.pushedBytes += chunk.length;
  }

  end(): void {
    this.ended = true;
  }

  /** The next frame if enough bytes are there; after `end`, all that is left in frames, then undefined. */
  next(): CutFrame | undefined {
    if (!this.ended && this.buffer.length + this.pushedBytes < this.needed) return undefined;
    if (this.pushedBytes) this.buffer = Buffer.concat([this.buffer, ...this.pushed.splice(0)]);
    this.pushedBytes = 0;
    if (this.dropping) this.drop();
    const { length } = this.buffer;
    if (!length) return undefined;
    const target = (this.index + 1) * this.frameBytes - this.offset;
    if (length < target) return this.ended ? this.take(length) : this.wait(target);
    while (this.at < target) {
      const end = this.quotes ? this.recordEnd(target) : this.lineEnd(target);
      if (end >= 0 && end - this.at <= RECORD_BYTES_MAX) this.at = end;
      else {
        const tooLong = length - this.at > RECORD_BYTES_MAX;
        if (!tooLong && !this.ended)
          return this.wait(Math.min(this.at + 2 * (length - this.at), this.at + RECORD_BYTES_MAX + 1));
        const lf = this.buffer.indexOf(LF, this.at);
        if (lf >= 0 && lf < this.at + RECORD_BYTES_MAX) this.at = lf + 1;
        else if (tooLong) return this.giveUp();
        else this.at = length;
      }
    }
    return this.take(this.at);
  }

  private wait(bytes: number): undefined {
    this.needed = Math.max(bytes, this.buffer.length + 1);
  }

  private take(length: number): CutFrame {
    const frame = { offset: this.offsetKept, bytes: this.buffer.subarray(0, length), dropped: 0 };
    this.buffer = this.buffer.subarray(length);
    this.offset += length;
    this.offsetKept += length;
    this.index++;
    this.at = 0;
    this.needed = 0;
    return frame;
  }

  /** The line at hand is too long: what comes before it is a frame. */
  private giveUp(): CutFrame {
    const frame = this.take(this.at);
    frame.dropped = 1;
    this.dropping = true;
    return frame;
  }

  private drop(): void {
    const lf = this.buffer.indexOf(LF);
    const length = lf < 0 ? this.buffer.length : lf + 1;
    this.buffer = this.buffer.subarray(length);
    this.offset += length;
    this.index = Math.floor(this.offset / this.frameBytes);
    this.dropping = lf < 0;
  }

  /** Where the line before `target` ends, where lines are records; -1 if that is not there yet. */
  private lineEnd(target: number): number {
    if (target > 1) this.at = Math.max(this.at, this.buffer.lastIndexOf(LF, target - 2) + 1);
    return this.buffer.indexOf(LF, Math.max(this.at, target - 1)) + 1 || -1;
  }

  /** Where the record at `at` ends, or a later one before `target`, read as the decoder does; -1 if not there yet. */
  private recordEnd(target: number): number {
    const { buffer, delimiter, ended } = this;
    const quote = buffer.indexOf(QUOTE, this.at);
    const plain = quote < 0 || quote >= target ? this.lineEnd(target) : buffer.lastIndexOf(LF, quote) + 1;
    if (quote < 0 || (plain > this.at && plain <= quote)) return plain;
    const lineFeed = buffer.indexOf(LF, this.at);
    if (lineFeed >= 0 && lineFeed < quote) return lineFeed + 1;
    for (let at = this.at; ; at++) {
      if (buffer[at] === QUOTE) {
        at++;
        while (true) {
          const close = buffer.indexOf(QUOTE, at);
          if (close < 0 || (close + 1 >= buffer.length && !ended)) return -1;
          at = close + 1;
          if (buffer[at] !== QUOTE) break;
          at++;
        }
      }
      while (at < buffer.length && buffer[at] !== delimiter && buffer[at] !== LF) at++;
      if (at >= buffer.length) return ended ? buffer.length : -1;
      if (buffer[at] === LF) return at + 1;
    }
  }
}
