// optionals.ts: a field of every type, each of which a record may lack
import { Decimal, Optional, out, Text, Time } from "hallelujah";


@record class Row {
  id: i64;
  f64: Optional<f64>;
  i64: Optional<i64>;
  u8: Optional<u8>;
  yes: Optional<bool>;
  text: Optional<Text>;
  time: Optional<Time>;
  decimal: Optional<Decimal>;
}

export function each(row: Row): void {
  out.emit(row);
}
