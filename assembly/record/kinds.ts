/**
 * What a column of a frame holds. Files come as the first ones (host/kernel/columns.ts draws them), the columns of
 * datasets as all but TEXT and DICTIONARY.
 */
export const ABSENT: u32 = 0;
export const F64: u32 = 1;
/** i64, Time in ms, Decimal in millionths. */
export const I64: u32 = 2;
export const BOOL: u32 = 3;
export const TEXT: u32 = 4;
export const DICTIONARY: u32 = 5;
/** u32 codes of texts whose views { u32 address, u32 length } stand in a list. */
export const CODES: u32 = 6;
export const F32: u32 = 7;
export const I8: u32 = 8;
export const U8: u32 = 9;
export const I16: u32 = 10;
export const U16: u32 = 11;
export const I32: u32 = 12;
export const U32: u32 = 13;
export const U64: u32 = 14;
/** Behind the last kind. */
export const KINDS: u32 = 15;

const SHIFTS: usize = memory.data<u8>([0, 3, 3, 0, 0, 0, 2, 2, 0, 0, 1, 1, 2, 2, 3]);

/** Bytes of a value in its column: 1 << this. */
@inline export function shiftOf(kind: u32): usize {
  return load<u8>(SHIFTS + kind);
}
