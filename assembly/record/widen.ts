/**
 * Columns of narrower types than the fields that are read from them, for kernels that read rows in place: some rows at a time are made wide.
 * The wider type holds whatever the narrower one does, so there is nothing to check. They lie where the entries of a part are
 * put when it is over.
 */
import { ENTRIES, MAX_FIELDS } from "../abi";
import { F32, F64, I16, I32, I64, I8, U16, U32, U8 } from "./kinds";

/** Rows that are made wide at a time: few enough to stay in the first cache. */
export const WIDE_ROWS: u32 = 1024;
const WIDE_BYTES: usize = 8 * <usize>WIDE_ROWS;
/** Behind the columns: that a value is there, for so many rows. */
const ALL_PRESENT: usize = ENTRIES + <usize>MAX_FIELDS * WIDE_BYTES;

/** The narrower integers, a bit each. */
const INTEGERS: u32 = (1 << I8) | (1 << U8) | (1 << I16) | (1 << U16) | (1 << I32) | (1 << U32);

/** Whether an i64 is read from columns of this kind. */
@inline export function widensToI64(kind: u32): bool {
  return (((INTEGERS | (1 << I64)) >> kind) & 1) != 0;
}

/** Whether an f64 is. */
@inline export function widensToF64(kind: u32): bool {
  return (((INTEGERS | (1 << F64) | (1 << F32)) >> kind) & 1) != 0;
}

/** Where row 0 of a column would be if all were as wide as [from, to), of which there are WIDE_ROWS at most, unless the column is wide. */
export function wideI64(d: usize, field: u32, from: u32, to: u32): usize {
  return load<u32>(d) == I64 ? <usize>load<u32>(d, 8) : widen<i64>(d, field, from, to);
}

/** The same for f64. */
export function wideF64(d: usize, field: u32, from: u32, to: u32): usize {
  return load<u32>(d) == F64 ? <usize>load<u32>(d, 8) : widen<f64>(d, field, from, to);
}

function widen<W>(d: usize, field: u32, from: u32, to: u32): usize {
  const kind = load<u32>(d);
  const data = <usize>load<u32>(d, 8);
  const at = ENTRIES + <usize>field * WIDE_BYTES;
  if (kind == I32) widenFrom<i32, W>(data, from, to, at);
  else if (kind == U32) widenFrom<u32, W>(data, from, to, at);
  else if (kind == I16) widenFrom<i16, W>(data, from, to, at);
  else if (kind == U16) widenFrom<u16, W>(data, from, to, at);
  else if (kind == I8) widenFrom<i8, W>(data, from, to, at);
  else if (kind == U8) widenFrom<u8, W>(data, from, to, at);
  else widenFrom<f32, W>(data, from, to, at);
  return at - ((<usize>from) << 3);
}

function widenFrom<N, W>(data: usize, from: u32, to: u32, at: usize): void {
  for (let row = from; row < to; row++) {
    store<W>(at, <W>load<N>(data + ((<usize>row) << alignof<N>())));
    at += sizeof<W>();
  }
}

/** Where the validity of row 0 would be, of which a column has none whose rows all have values; of rows [from, from + WIDE_ROWS). */
export function validityOf(d: usize, from: u32): usize {
  const validity = <usize>load<u32>(d, 4);
  if (validity) return validity;
  memory.fill(ALL_PRESENT, 1, WIDE_ROWS);
  return ALL_PRESENT - from;
}
