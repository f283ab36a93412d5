// Reads a column frame of the input window: one value of one column, no allocation. The layout is drawn in
// host/kernel/columns.ts; `d` is the address of the column's descriptor, `row` is below the frame's rows.
// Except columnPresent, the accessors may be called only where the value is present; whether a column fits
// its field was decided by the host.
import { ABSENT, CODES, F32, F64, I16, I32, I64, I8, TEXT, U16, U32, U64 } from "./kinds";

/** Bytes before the first descriptor, and of one descriptor. */
export const COLUMN_FRAME_HEADER: usize = 8;
export const COLUMN_DESCRIPTOR: usize = 32;

/** Rows of the frame at `base`. */
// @ts-ignore: decorator
@inline export function columnRows(base: usize): u32 {
  return load<u32>(base);
}

/** Address of the descriptor of field `index` of the frame at `base`. */
// @ts-ignore: decorator
@inline export function columnAt(base: usize, index: u32): usize {
  return base + COLUMN_FRAME_HEADER + <usize>index * COLUMN_DESCRIPTOR;
}

/** Whether the column has a value in this row. */
// @ts-ignore: decorator
@inline export function columnPresent(d: usize, row: u32): bool {
  if (load<u32>(d) == ABSENT) return false;
  const validity = <usize>load<u32>(d, 4);
  return validity == 0 || load<u8>(validity + row) != 0;
}

/** The number as f64; a bool is 0 or 1. */
// @ts-ignore: decorator
@inline export function columnF64(d: usize, row: u32): f64 {
  const kind = load<u32>(d);
  const data = <usize>load<u32>(d, 8);
  if (kind == F64) return load<f64>(data + ((<usize>row) << 3));
  if (kind == I64) return <f64>load<i64>(data + ((<usize>row) << 3));
  if (kind == F32) return <f64>load<f32>(data + ((<usize>row) << 2));
  return <f64>narrow(kind, data, row);
}

/** The number as i64 (a u64 as its bits; Time in milliseconds; Decimal in millionths); a bool is 0 or 1. */
// @ts-ignore: decorator
@inline export function columnI64(d: usize, row: u32): i64 {
  const kind = load<u32>(d);
  const data = <usize>load<u32>(d, 8);
  if (kind == I64 || kind == U64) return load<i64>(data + ((<usize>row) << 3));
  if (kind == F64) return <i64>load<f64>(data + ((<usize>row) << 3));
  return narrow(kind, data, row);
}

/** An integer of up to 32 bits. */
function narrow(kind: u32, data: usize, row: u32): i64 {
  if (kind == I32) return load<i32>(data + ((<usize>row) << 2));
  if (kind == U32) return load<u32>(data + ((<usize>row) << 2));
  if (kind == I16) return load<i16>(data + ((<usize>row) << 1));
  if (kind == U16) return load<u16>(data + ((<usize>row) << 1));
  if (kind == I8) return load<i8>(data + row);
  return load<u8>(data + row);
}

// @ts-ignore: decorator
@inline export function columnBool(d: usize, row: u32): bool {
  return load<u8>(<usize>load<u32>(d, 8) + row) != 0;
}

/** Stores where the text lies: its address at `slot`, its length in bytes at `slot + 4`. */
// @ts-ignore: decorator
@inline export function columnText(d: usize, row: u32, slot: usize): void {
  if (load<u32>(d) == CODES) {
    const code = load<u32>(<usize>load<u32>(d, 8) + ((<usize>row) << 2));
    store<u64>(slot, load<u64>(<usize>load<u32>(d, 16) + ((<usize>code) << 3)));
    return;
  }
  const entry = load<u32>(d) == TEXT ? row : load<u32>(<usize>load<u32>(d, 16) + ((<usize>row) << 2));
  const offsets = <usize>load<u32>(d, 12) + ((<usize>entry) << 2);
  const start = load<u32>(offsets);
  store<u32>(slot, load<u32>(d, 8) + start);
  store<u32>(slot, load<u32>(offsets, 4) - start, 4);
}
