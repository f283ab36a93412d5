/**
 * The streams of a soak: their kernels, the numbered records that go into them, and what has to come out. A record follows
 * from its producer and its number, so what should be there follows from how many were acknowledged.
 *
 *   stations  counts, sums and extremes by key, asked and visited      s0, s1 -> tables, visits
 *   chains    folded in order by key, each record sent on              c0, c1 -> table, output, sink
 *   totals    what comes out of chains                                 chains -> table
 *   kept      rows that stay, which are visited by another kernel        k0     -> visits
 *   trends    sliding windows of event time, sent out when they close  t0     -> output, sink
 *
 * Of stations, chains and kept there are kernels of several makes, told apart by what they leave with each record (handled.ts).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Hallelujah, Rows } from "../../host/client/live.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { type Counts, Differences, HANDLED, type History, Makes, type Taken } from "./handled.ts";

/** Keys of one producer. */
const STATIONS = 1000;
const LINES = 100;
const TAGS = 40;
const USERS = 7;
/** Event time between two records of trends, ms: fast, so that an outage is nothing against its lateness. */
const STEP_MS = 1500;
const BASE = Date.parse("2024-05-01T10:00:00Z");
/** The windows of examples/trending.ts, ms. */
const WINDOW_MS = 60 * 60_000;
const SLIDE_MS = 10 * 60_000;

// biome-ignore lint/suspicious/noExplicitAny: rows are whatever the kernels make
type Row = any;

const chains = (make: number) => `import { Count, Table, Text, out } from "hallelujah";
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
const TOTALS = `import { Stats, Table, Text } from "hallelujah";
@record class Link { line: Text; n: f64 }
@state class Total { n: Stats }
const totals = new Table<Text, Total>("totals");
export function each(link: Link): void { totals.at(link.line).n.add(link.n); }`;

const stations = (make: number) => `import { Stats, Sum, Table, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@state class Weather { temperature: Stats }
const stations = new Table<Text, Weather>("stations");
${HANDLED}
export function each(reading: Reading): void {
  stations.at(reading.station).temperature.add(reading.temperature);
  handle(${make}, <i64>reading.temperature);
}`;
/** Visits the entries of its table. */
const ENTRIES = `import { Max, Min, Sum, Table, Text } from "hallelujah";
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

const kept = (make: number) => `import { Dataset, Text } from "hallelujah";
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
const VISIT = TOTALS.replaceAll("Link", "Reading").replaceAll("line", "station");
const MAKES = `import { Stats, Sum, Table } from "hallelujah";
@record class Kept { n: i64; make: i64 }
${HANDLED}
export function each(row: Kept): void { handle(row.make, row.n); }`;

/** The rows of a table, or of a visit. Rejects as `query` and `visit` do. */
export function rowsOf(
  client: Hallelujah,
  stream: string,
  { name, visit, dataset }: Asked,
  options: { signal?: AbortSignal } = {},
): Promise<Rows<Row>> {
  return visit === undefined
    ? client.query(stream, name, options)
    : client.visit(stream, {
        kernel: visit,
        table: name,
        ...(dataset === undefined ? {} : { dataset }),
        ...options,
      });
}

/** A table that is asked for. */
interface Asked {
  name: string;
  /** It is that of a kernel that visits the stream's rows, or the entries of the table `dataset`. */
  visit?: string;
  dataset?: string;
}

export interface TableSpec extends Asked {
  /** Records by producer that the rows hold. Throws if that is not the first so many of each, once. */
  countsOf(rows: Row[]): Counts;
}

export interface StreamSpec {
  name: string;
  /** Its source; where it has no makes, always the same. */
  kernel(make: number): string;
  /** Its kernels leave their make: in this table, or with what comes out. */
  makes?: Asked | "output";
  from?: string;
  /** Its output goes to a file of this name. */
  sink?: string;
  /** Its log keeps everything, so that it can be reprocessed. */
  keeps?: boolean;
  /** Records as lines, by producer and number. */
  producers: { id: string; record(n: number): string }[];
  /** How its rate compares with that of the fastest. */
  share: number;
  tables: TableSpec[];
  /** Takes the rows of its output one after the other; throws if one is not what has to come. */
  output?(): OutputCheck;
  /** Whether windows are open until it is told that no more records come. */
  ends?: boolean;
}

export interface OutputCheck {
  take(row: Row): void;
  /** Throws unless all rows of these records, and no others, were taken. */
  end(counts: Counts): void;
  /** Throws unless each row came of the make that the history says. */
  endMakes?(pieces: Taken["pieces"], history: History): void;
}

const example = (name: string) => readFileSync(join(packageRoot, "examples", `${name}.ts`), "utf8");

/** Producers with so many keys each, named PRODUCER-NUMBER. */
const keyed = (ids: string[], keys: number, record: (key: string, n: number) => string) =>
  ids.map((id) => ({ id, record: (n: number) => record(`${id}-${n % keys}`, n) }));

export const STREAMS: StreamSpec[] = [
  {
    name: "stations",
    kernel: stations,
    makes: { name: "handled" },
    keeps: true,
    producers: keyed(["s0", "s1"], STATIONS, (key, n) => `{"station":"${key}","temperature":${n}}\n`),
    share: 1,
    tables: [
      {
        name: "stations",
        countsOf: (rows) =>
          series(rows, STATIONS, ({ temperature: { count, sum, min, max } }: Row) => [count, sum, min, max]),
      },
      {
        name: "entries",
        visit: ENTRIES,
        dataset: "stations",
        countsOf: (rows) => series(rows, STATIONS, ({ count, sum, min, max }: Row) => [count, sum, min, max]),
      },
    ],
  },
  {
    name: "chains",
    kernel: chains,
    makes: "output",
    sink: "chains.ndjson",
    keeps: true,
    producers: keyed(["c0", "c1"], LINES, (key, n) => `{"line":"${key}","n":${n}}\n`),
    share: 0.2,
    tables: [
      {
        name: "lines",
        countsOf: (rows) => series(rows, LINES, ({ steps, sum, last }: Row) => [steps, sum, undefined, last]),
      },
    ],
    output: () => new Chains(),
  },
  {
    name: "totals",
    kernel: () => TOTALS,
    from: "chains",
    producers: [],
    share: 0,
    tables: [
      {
        name: "totals",
        countsOf: (rows) =>
          series(rows, LINES, ({ n: { count, sum, min, max } }: Row) => [count, sum, min, max]),
      },
    ],
  },
  {
    name: "kept",
    kernel: kept,
    makes: { name: "handled", visit: MAKES },
    producers: keyed(["k0"], LINES, (key, n) => `{"station":"${key}","n":${n}}\n`),
    share: 0.05,
    tables: [
      {
        name: "totals",
        visit: VISIT,
        countsOf: (rows) =>
          series(rows, LINES, ({ n: { count, sum, min, max } }: Row) => [count, sum, min, max]),
      },
    ],
  },
  {
    name: "trends",
    kernel: () => example("trending"),
    tables: [],
    sink: "trends.ndjson",
    producers: [{ id: "t0", record: post }],
    share: 0.2,
    output: () => new Trends(),
    ends: true,
  },
];

/**
 * Rows that keep count, sum, least and greatest of the numbers by key, where number n of a producer has the key n modulo
 * `keys`. How many numbers there are of each producer; throws unless they are the first so many.
 */
function series(rows: Row[], keys: number, read: (row: Row) => (number | undefined)[]): Counts {
  const counts: Counts = new Map();
  const found = rows.map((row) => {
    const [producer, key] = (row.key as string).split("-");
    const values = read(row);
    counts.set(producer, (counts.get(producer) ?? 0) + values[0]!);
    return { row, producer, key: Number(key), values };
  });
  const wrong = new Differences();
  for (const { row, producer, key, values } of found) {
    const count = Math.max(0, Math.ceil((counts.get(producer)! - key) / keys));
    const last = key + (count - 1) * keys;
    const wanted = [count, ((key + last) * count) / 2, key, last];
    if (values.some((value, i) => value !== undefined && value !== wanted[i]))
      wrong.add(
        `${JSON.stringify(row)} where ${wanted.join(", ")} are due of ${counts.get(producer)} records`,
      );
  }
  wrong.end();
  return counts;
}

/** Each line goes on from its last number, with the sum of all so far. */
class Chains implements OutputCheck {
  private readonly lines = new Map<string, { last: number; sum: number }>();
  private readonly counts: Counts = new Map();
  private readonly makes = new Makes();

  take(row: Row): void {
    const { line, n, before, sum, make } = row;
    const [producer, key] = (line as string).split("-");
    const known = this.lines.get(line);
    const due = known ? known.last + LINES : Number(key);
    const total = (known?.sum ?? 0) + due;
    if (n !== due || before !== (known?.last ?? 0) || sum !== total)
      throw new Error(`${JSON.stringify(row)} came where ${due} is due, with the sum ${total}`);
    this.lines.set(line, { last: n, sum });
    this.counts.set(producer, (this.counts.get(producer) ?? 0) + 1);
    this.makes.set(producer, n, make);
  }

  endMakes(pieces: Taken["pieces"], history: History): void {
    this.makes.check(pieces, history);
  }

  end(counts: Counts): void {
    const wrong = new Differences();
    for (const [producer, count] of counts) {
      const got = this.counts.get(producer) ?? 0;
      if (got !== count) wrong.add(`${got} rows came of the ${count} records of ${producer}`);
    }
    wrong.end();
  }
}

/** Windows of each tag, in the order of their ends. */
class Trends implements OutputCheck {
  private readonly rows = new Map<string, string[]>();

  take(row: Row): void {
    const rows = this.rows.get(row.tag) ?? [];
    this.rows.set(row.tag, rows);
    rows.push(`${row.until} ${row.posts} ${row.users}`);
  }

  end(counts: Counts): void {
    const count = counts.get("t0") ?? 0;
    const wrong = new Differences();
    for (let tag = 0; tag < TAGS; tag++) {
      const due = trendsOf(tag, count);
      const came = this.rows.get(`t${tag}`) ?? [];
      const at = due.findIndex((row, i) => row !== came[i]);
      if (at >= 0 || came.length !== due.length)
        wrong.add(
          `t${tag} has ${came.length} windows of ${due.length}; "${came[at]}" where "${due[at]}" is due`,
        );
    }
    wrong.end();
  }
}

function post(n: number): string {
  const at = new Date(BASE + n * STEP_MS).toISOString();
  return `{"tag":"t${n % TAGS}","at":"${at}","user":"u${Math.floor(n / TAGS) % USERS}"}\n`;
}

/** The windows of a tag over the first `count` records: the end, how many there are, and of how many users. */
function trendsOf(tag: number, count: number): string[] {
  const rows: string[] = [];
  const over = BASE + (count - 1) * STEP_MS + WINDOW_MS;
  /** Records of the tag among the first so many of all. */
  const upTo = (n: number) => Math.max(0, Math.ceil((Math.min(Math.max(n, 0), count) - tag) / TAGS));
  for (let end = Math.ceil(BASE / SLIDE_MS) * SLIDE_MS; end <= over; end += SLIDE_MS) {
    const posts =
      upTo(Math.ceil((end - BASE) / STEP_MS)) - upTo(Math.ceil((end - WINDOW_MS - BASE) / STEP_MS));
    if (posts >= 2) rows.push(`${new Date(end).toISOString()} ${posts} ${Math.min(posts, USERS)}`);
  }
  return rows;
}
