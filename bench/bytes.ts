import { closeSync, openSync, writeSync } from "node:fs";

/** Bytes gathered before a write: few system calls, and still small beside the file. */
const BUFFER_BYTES = 8 << 20;
/** No row of any generated file is longer than this. */
const ROW_BYTES_MAX = 256;

/**
 * A file written through one large buffer. `bytes` and `end` are open to the row writers, which put digits
 * in place: a string for each of 30 million rows would take ten times as long.
 */
export class ByteSink {
  readonly bytes = new Uint8Array(BUFFER_BYTES);
  end = 0;
  readonly #file: number;
  #bytesWritten = 0;

  constructor(file: string) {
    this.#file = openSync(file, "w");
  }

  /** Makes room for a whole row; to be called before each. */
  reserve(): void {
    if (this.end > BUFFER_BYTES - ROW_BYTES_MAX) this.#flush();
  }

  put(text: Uint8Array): void {
    const { bytes } = this;
    let end = this.end;
    for (let i = 0; i < text.length; i++) bytes[end++] = text[i];
    this.end = end;
  }

  /** Writes what is left and returns the size of the file. */
  close(): number {
    this.#flush();
    closeSync(this.#file);
    return this.#bytesWritten;
  }

  #flush(): void {
    let start = 0;
    while (start < this.end) start += writeSync(this.#file, this.bytes, start, this.end - start);
    this.#bytesWritten += this.end;
    this.end = 0;
  }
}

/** Writes a non-negative integer in decimal; returns the new end. */
export function putInteger(bytes: Uint8Array, end: number, value: number): number {
  let digits = 1;
  for (let limit = 10; value >= limit; limit *= 10) digits++;
  for (let i = end + digits - 1, rest = value; i >= end; i--) {
    const tenth = Math.floor(rest / 10);
    bytes[i] = 48 + rest - tenth * 10;
    rest = tenth;
  }
  return end + digits;
}

/** Writes a number of tenths as a decimal with one digit after the point; returns the new end. */
export function putTenths(bytes: Uint8Array, end: number, tenths: number): number {
  let at = end;
  if (tenths < 0) bytes[at++] = 45;
  const size = Math.abs(tenths);
  const whole = Math.floor(size / 10);
  at = putInteger(bytes, at, whole);
  bytes[at++] = 46;
  bytes[at++] = 48 + size - whole * 10;
  return at;
}
