// Reads a column frame of the input window: one value of one column, no allocation. The layout is drawn in
// host/kernel/columns.ts; `d` is the address of the column's descriptor, `row` is below the frame's rows.
// Except columnPresent, the accessors may be called only where the value is present; whether a column fits
// its field was decided by the host.

/** Bytes before the first descriptor, and of one descriptor. */
export const COLUMN_FRAME_HEADER: usize = 8;
export const COLUMN_DESCRIPTOR: usize = 32;

// @ts-ignore: decorator
@inline const KIND_ABSENT: u32 = 0;
// @ts-ignore: decorator
@inline const KIND_F64: u32 = 1;
// @ts-ignore: decorator
@inline const KIND_I64: u32 = 2;
// @ts-ignore: decorator
@inline const KIND_TEXT: u32 = 4;

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
  if (load<u32>(d) == KIND_ABSENT) return false;
  const validity = <usize>load<u32>(d, 4);
  return validity == 0 || load<u8>(validity + row) != 0;
}

/** The number as f64; a bool is 0 or 1. */
// @ts-ignore: decorator
@inline export function columnF64(d: usize, row: u32): f64 {
  const kind = load<u32>(d);
  const data = <usize>load<u32>(d, 8);
  if (kind == KIND_F64) return load<f64>(data + ((<usize>row) << 3));
  if (kind == KIND_I64) return <f64>load<i64>(data + ((<usize>row) << 3));
  return <f64>load<u8>(data + row);
}

/** The number as i64 (a u64 as its bits; Time in milliseconds; Decimal in millionths); a bool is 0 or 1. */
// @ts-ignore: decorator
@inline export function columnI64(d: usize, row: u32): i64 {
  const kind = load<u32>(d);
  const data = <usize>load<u32>(d, 8);
  if (kind == KIND_I64) return load<i64>(data + ((<usize>row) << 3));
  if (kind == KIND_F64) return <i64>load<f64>(data + ((<usize>row) << 3));
  return <i64>load<u8>(data + row);
}

// @ts-ignore: decorator
@inline export function columnBool(d: usize, row: u32): bool {
  return load<u8>(<usize>load<u32>(d, 8) + row) != 0;
}

/** Stores where the text lies: its address at `slot`, its length in bytes at `slot + 4`. */
// @ts-ignore: decorator
@inline export function columnText(d: usize, row: u32, slot: usize): void {
  const entry = load<u32>(d) == KIND_TEXT ? row : load<u32>(<usize>load<u32>(d, 16) + ((<usize>row) << 2));
  const offsets = <usize>load<u32>(d, 12) + ((<usize>entry) << 2);
  const start = load<u32>(offsets);
  store<u32>(slot, load<u32>(d, 8) + start);
  store<u32>(slot, load<u32>(offsets, 4) - start, 4);
}
