/**
 * The stream's output: records that a kernel emits, rendered at once. What is emitted while a frame is mapped or applied
 * goes to the lower half of the output window; what `late` emits, into the upper one, which is free while a frame is applied.
 */
import { EMIT_BYTES, EMIT_END, ENTRIES, OUTPUT, OUTPUT_END } from "./abi";
import { endPart } from "./heap";
import { cursor, setCursor, setFormat } from "./row";

let end: usize = OUTPUT;
let rows: u32 = 0;
let lateEnd: usize = ENTRIES;
let lateRows: u32 = 0;
/** Whether `late` is running. */
let isLate: bool = false;
let wanted: u32 = 0;
let delimiter: u8 = 0x2c;

/** How emitted records are rendered; called once by the host. */
export function emitAs(format: u32, separator: u8): void {
  wanted = format;
  delimiter = separator;
}

export function resetEmitted(): void {
  end = OUTPUT;
  rows = 0;
  lateEnd = ENTRIES;
  lateRows = 0;
}

/** Bytes emitted since the last part. */
export function emittedBytes(): u32 {
  return <u32>(end - OUTPUT);
}

export function emittedRows(): u32 {
  return rows;
}

export function lateBytes(): u32 {
  return <u32>(lateEnd - ENTRIES);
}

export function lateEmittedRows(): u32 {
  return lateRows;
}

/** From here on, what is emitted is late output; or is not any more. */
export function emitLate(on: bool): void {
  isLate = on;
}

/** Whether the owner should fetch what was emitted before it goes on. */
@inline export function emitFull(): bool {
  return end > OUTPUT + EMIT_BYTES || lateEnd > ENTRIES + EMIT_BYTES;
}

export namespace out {
  /** Sends a record (of a `@record` class) to the stream's output, in the order of the input. */
  export function emit<T>(record: T): void {
    const start = isLate ? lateEnd : end;
    if (start + record.__emitRoom() > (isLate ? OUTPUT_END : EMIT_END))
      throw new Error("the emitted record is too large");
    setFormat(wanted, delimiter);
    setCursor(start);
    record.__emit();
    if (isLate) {
      lateEnd = cursor;
      lateRows++;
      return;
    }
    end = cursor;
    rows++;
    if (end > OUTPUT + EMIT_BYTES) endPart();
  }
}
