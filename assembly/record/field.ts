/**
 * Decoding of one field from its bytes [p, end) into its slot of the record. The answer is 0 or the reason why the
 * bytes do not fit. Generated code calls these by the field's type.
 */
import { NOT_AN_INTEGER, NOT_A_BOOLEAN, NOT_A_DECIMAL, NOT_A_NUMBER, NOT_A_TIME } from "../abi";
import { DECIMAL_SCALE } from "../decimal";
import { clearFailed, failed, parseDecimal, parseF64, parseI64, parseU64 } from "../number/parse";
import { NO_TIME, parseTime } from "../time";


@inline export function textField(slot: usize, p: usize, end: usize): u32 {
  store<u32>(slot, <u32>p);
  store<u32>(slot, <u32>(end - p), 4);
  return 0;
}


@inline export function f64Field(slot: usize, p: usize, end: usize): u32 {
  const value = parseF64(p, end);
  store<f64>(slot, value);
  return value != value ? NOT_A_NUMBER : 0;
}


@inline export function f32Field(slot: usize, p: usize, end: usize): u32 {
  const value = parseF64(p, end);
  store<f32>(slot, <f32>value);
  return value != value ? NOT_A_NUMBER : 0;
}


@inline export function i64Field(slot: usize, p: usize, end: usize, lowest: i64, highest: i64): u32 {
  clearFailed();
  store<i64>(slot, parseI64(p, end, lowest, highest));
  return failed ? NOT_AN_INTEGER : 0;
}


@inline export function u64Field(slot: usize, p: usize, end: usize, highest: u64): u32 {
  clearFailed();
  store<u64>(slot, parseU64(p, end, highest));
  return failed ? NOT_AN_INTEGER : 0;
}

/** true, t, yes, y, 1 and false, f, no, n, 0 in any case. */
export function boolField(slot: usize, p: usize, end: usize): u32 {
  const length = <u32>(end - p);
  if (length == 0 || length > 5) return NOT_A_BOOLEAN;
  const mask: u64 = 0xff_ffff_ffff >> ((5 - length) << 3);
  const word = (load<u64>(p) | 0x20_2020_2020) & mask;
  const yes = word == 0x65757274 || word == 0x74 || word == 0x736579 || word == 0x79 || word == 0x31;
  const no = word == 0x65736c6166 || word == 0x66 || word == 0x6f6e || word == 0x6e || word == 0x30;
  store<u64>(slot, <u64>yes);
  return yes || no ? 0 : NOT_A_BOOLEAN;
}

export function timeField(slot: usize, p: usize, end: usize): u32 {
  const ms = parseTime(p, end);
  store<i64>(slot, ms);
  return ms == NO_TIME ? NOT_A_TIME : 0;
}

export function decimalField(slot: usize, p: usize, end: usize): u32 {
  clearFailed();
  store<i64>(slot, parseDecimal(p, end, DECIMAL_SCALE));
  return failed ? NOT_A_DECIMAL : 0;
}
