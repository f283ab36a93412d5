/**
 * The kernels of a soak's streams, by their make: what is told apart of them (handled.ts). The others visit what those keep.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../host/core/package-root.ts";
import { HANDLED } from "./handled.ts";

/** Event time between two records of trends, ms: fast, so that an outage is nothing against its lateness. */
export const STEP_MS = 1500;
export const BASE_MS = Date.parse("2024-05-01T10:00:00Z");
/** Entries of the large table: more than are visited as of one frame (VISIT_HELD_ENTRIES). */
export const NUMBERS = 100_000;
/** The make of the kernel that stops late: at one of so many records. */
export const LATE = 4;
const LATE_EVERY = 1000;

/** Whether the kernel that stops late stops at a record. */
export const stopsLate = (n: number) => n % LATE_EVERY === LATE_EVERY - 1;

/** Folds in order by key, and sends each record on. */
export const chains = (make: number) => `import { Count, Table, Text, out } from "hallelujah";
@record class Step { line: Text; n: i64 }
@record class Link { line: Text; n: i64; before: i64; sum: i64; make: i64 }
@state class Line { last: i64; sum: i64; steps: Count }
const lines = new Table<Text, Line>("lines");
export function key(step: Step): Text { return step.line; }
export function fold(step: Step, line: Line): void {
  const link = new Link();
  link.line = step.line;
  link.n = step.n;
  link.before = line.last;
  line.last = step.n;
  line.sum += step.n;
  line.steps.add();
  link.sum = line.sum;
  link.make = ${make};
  out.emit(link);
}`;

/** Takes in what comes out of chains. */
export const totals = (make: number) => `import { Stats, Sum, Table, Text } from "hallelujah";
@record class Link { line: Text; n: i64 }
@state class Total { n: Stats }
const totals = new Table<Text, Total>("totals");
${HANDLED}
export function each(link: Link): void {
  totals.at(link.line).n.add(<f64>link.n);
  handle(${make}, link.n);
}`;

/** Counts, sums and extremes by key. */
export const stations = (make: number) => `import { Stats, Sum, Table, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@state class Weather { temperature: Stats }
const stations = new Table<Text, Weather>("stations");
${HANDLED}
export function each(reading: Reading): void {
  stations.at(reading.station).temperature.add(reading.temperature);
  handle(${make}, <i64>reading.temperature);
}`;
/** Visits the entries of its table. */
export const ENTRIES = `import { Max, Min, Sum, Table, Text } from "hallelujah";
@record class Entry {
  @name("key") station: Text;
  @name("temperature.count") count: i64;
  @name("temperature.sum") sum: f64;
  @name("temperature.min") min: f64;
  @name("temperature.max") max: f64;
}
@state class Station { count: Sum<i64>; sum: Sum<f64>; min: Min<f64>; max: Max<f64> }
const entries = new Table<Text, Station>("entries");
export function each(entry: Entry): void {
  const station = entries.at(entry.station);
  station.count.add(entry.count);
  station.sum.add(entry.sum);
  station.min.add(entry.min);
  station.max.add(entry.max);
}`;

/** Keeps its records as rows. */
export const kept = (make: number) => `import { Dataset, Text } from "hallelujah";
@record class Reading { station: Text; n: i64 }
@record class Kept { station: Text; n: i64; make: i64 }
const readings = new Dataset<Kept>("readings");
export function each(reading: Reading): void {
  const row = new Kept();
  row.station = reading.station;
  row.n = reading.n;
  row.make = ${make};
  readings.add(row);
}`;
/** Visit its rows. */
export const READINGS = `import { Stats, Table, Text } from "hallelujah";
@record class Reading { station: Text; n: f64 }
@state class Total { n: Stats }
const totals = new Table<Text, Total>("totals");
export function each(reading: Reading): void { totals.at(reading.station).n.add(reading.n); }`;
export const MAKES_OF_READINGS = `import { Stats, Sum, Table } from "hallelujah";
@record class Kept { n: i64; make: i64 }
${HANDLED}
export function each(row: Kept): void { handle(row.make, row.n); }`;

/** Sliding windows of event time, beside a large table. */
export const trends = (make: number) =>
  readFileSync(join(packageRoot, "examples", "trending.ts"), "utf8")
    .replace("import { ", "import { Stats, Sum, Table, ")
    .replace(
      "export function each",
      `@state class Seen { records: Count }
const numbers = new Table<i64, Seen>("numbers");
${HANDLED}
export function each`,
    )
    .replace(
      /(function each\([^{]*\{)/,
      `$1
  const n = (post.at.ms - ${BASE_MS}) / ${STEP_MS};
  numbers.at(n % ${NUMBERS}).records.add();
  handle(${make}, n);`,
    );
/** Visits the entries of its large table: how many there are, and of how many records. */
export const SEEN = `import { Count, Sum, Table } from "hallelujah";
@record class Entry { key: i64; records: i64 }
@state class Seen { keys: Count; records: Sum<i64> }
const seen = new Table<i64, Seen>("seen");
export function each(entry: Entry): void {
  const own = seen.at(0);
  own.keys.add();
  own.records.add(entry.records);
}`;

/** Of make `LATE`, works for some frames and then stops. */
export const trials = (make: number) => `import { Stats, Sum, Table } from "hallelujah";
@record class Reading { n: i64 }
${HANDLED}
export function each(reading: Reading): void {
  ${make === LATE ? `if (reading.n % ${LATE_EVERY} == ${LATE_EVERY - 1}) throw new Error("as it should");` : ""}
  handle(${make}, reading.n);
}`;

/** The same kernel, but that it stops at its first record. */
export function broken(kernel: string): string {
  return kernel.replace(/export function (?:each|fold)\([^{]*\{/, '$& throw new Error("as it should");');
}
