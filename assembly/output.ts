/** The stream's output: records that a kernel emits, rendered at once into the lower half of the output window. */
import { EMIT_BYTES, EMIT_END, OUTPUT } from "./abi";
import { endPart } from "./heap";
import { cursor, setCursor, setFormat } from "./row";

let end: usize = OUTPUT;
let rows: u32 = 0;
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
}

/** Bytes emitted since the last part. */
export function emittedBytes(): u32 {
  return <u32>(end - OUTPUT);
}

export function emittedRows(): u32 {
  return rows;
}

export namespace out {
  /** Sends a record (of a `@record` class) to the stream's output, in the order of the input. */
  export function emit<T>(record: T): void {
    if (end + record.__emitRoom() > EMIT_END) throw new Error("the emitted record is too large");
    setFormat(wanted, delimiter);
    setCursor(end);
    record.__emit();
    end = cursor;
    rows++;
    if (end > OUTPUT + EMIT_BYTES) endPart();
  }
}
