// types.ts: a field of every type, required
import { Decimal, out, Text, Time } from "hallelujah";


@record class Row {
  f64: f64;
  f32: f32;
  i64: i64;
  i32: i32;
  i16: i16;
  i8: i8;
  u64: u64;
  u32: u32;
  u16: u16;
  u8: u8;
  yes: bool;
  text: Text;
  time: Time;
  decimal: Decimal;
}

export function each(row: Row): void {
  out.emit(row);
}
