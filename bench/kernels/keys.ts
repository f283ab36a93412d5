// keys.ts: what was measured for each of very many keys
import { Stats, Table } from "hallelujah";

@record class Reading { key: i64; value: f64 }
@state  class Value { value: Stats }

const keys = new Table<i64, Value>("keys");

export function each(reading: Reading): void {
  keys.at(reading.key).value.add(reading.value);
}
