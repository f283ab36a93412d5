// readings.ts: readings as rows, numbered in the order in which they came
import { Dataset, Text } from "hallelujah";

@record class Reading { station: Text; temperature: f64; n: i32 }

const readings = new Dataset<Reading>("readings");

export function each(reading: Reading): void {
  readings.add(reading);
}
