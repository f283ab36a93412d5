/**
 * The streams of a soak: the numbered records that go into them, and what is asked of them. A record follows from its producer and its
 * number, so what should be there follows from how many were acknowledged.
 *
 *   stations  counts, sums and extremes by key, asked and visited      s0, s1 -> tables, visits
 *   chains    folded in order by key, each record sent on              c0, c1 -> table, output, sink
 *   totals    what comes out of chains                                 chains -> table
 *   kept      rows that stay, which are visited by another kernel      k0     -> visits
 *   trends    sliding windows of event time, and a large table         t0     -> output, sink, visits
 *   again     the same, from the records of trends                     trends -> output
 *   trials    nothing but what was handled; a kernel stops late        r0     -> table
 *
 * Of each there are kernels of several makes, told apart by what they leave with each record (handled.ts).
 */
import { type Counts, type Piece } from "./handled.ts";
import * as kernels from "./kernels.ts";
import { Chains, LINES, type OutputCheck, post, Trends } from "./outputs.ts";
import { type Row, series, totalsOf } from "./series.ts";

/** Keys of one producer of stations. */
const STATIONS = 1000;

/** A table that is asked for. */
export interface Asked {
  /** Its name; without `visit` and `sql` it is the stream's own. */
  name: string;
  /** A kernel that visits the stream's rows, or those of `dataset`, which may be a table. */
  visit?: string;
  dataset?: string;
  hold?: boolean;
  /** A query, of which `name` is but a name. */
  sql?: string;
}

export interface TableSpec extends Asked {
  /** Records by producer that the rows hold. Throws if that is not the first so many of each, once. */
  countsOf(rows: Row[]): Counts;
  /** Of so many records of a producer, how many entries there are as of the answer's frame; `countsOf` may be as of later ones then. */
  keys?: { of(rows: Row[]): Counts; most: number };
}

export interface StreamSpec {
  name: string;
  kernel(make: number): string;
  /** Its kernels leave their make: in this table, or with what comes out. */
  makes: Asked | "output";
  /** Where it has one that stops late, whether that stops at a record: the frame is a dead letter then, unless the kernel is on trial. */
  stops?(n: number): boolean;
  /** Whose output it takes in, or whose records it shares. */
  from?: string;
  shares?: boolean;
  /** The records of a body of its log, of which no push tells the frame. */
  recordsOf?(body: string): Iterable<{ producer: string; n: number }>;
  /** Its output goes to a file of this name. */
  sink?: string;
  /** Its log keeps everything, so that it can be reprocessed. */
  keeps?: boolean;
  /** Records as lines, by producer and number. */
  producers: { id: string; record(n: number): string }[];
  /** How its rate compares with that of the fastest. */
  share: number;
  /** Records come all the time, not in waves. */
  steady?: boolean;
  tables: TableSpec[];
  /** Takes the rows of its output one after the other; throws if one is not what has to come. */
  output?(): OutputCheck;
  /** Whether windows are open until it is told that no more records come. */
  ends?: boolean;
}

/** Producers with so many keys each, named PRODUCER-NUMBER. */
const keyed = (ids: string[], keys: number, record: (key: string, n: number) => string) =>
  ids.map((id) => ({ id, record: (n: number) => record(`${id}-${n % keys}`, n) }));

/** Rows with the fields of `Stats`. */
const stats = (field: string, keys: number) => (rows: Row[]) =>
  series(rows, keys, ({ [field]: { count, sum, min, max } }: Row) => [count, sum, min, max]);

/** What visits of the large table of trends have. */
const ofPosts = (field: "keys" | "records") => (rows: Row[]) =>
  new Map(rows.map((row: Row) => ["t0", Number(row[field] ?? 0)]));

export const STREAMS: StreamSpec[] = [
  {
    name: "stations",
    kernel: kernels.stations,
    makes: { name: "handled" },
    keeps: true,
    producers: keyed(["s0", "s1"], STATIONS, (key, n) => `{"station":"${key}","temperature":${n}}\n`),
    share: 1,
    tables: [
      { name: "stations", countsOf: stats("temperature", STATIONS) },
      {
        name: "entries",
        visit: kernels.ENTRIES,
        dataset: "stations",
        countsOf: (rows) => series(rows, STATIONS, ({ count, sum, min, max }: Row) => [count, sum, min, max]),
      },
      {
        name: "sums of stations",
        sql: `SELECT CASE WHEN key LIKE 's0-%' THEN 's0' ELSE 's1' END AS producer, sum(temperature.count) AS count, sum(temperature.sum) AS sum,
          min(temperature.min) AS min, max(temperature.max) AS max FROM stations GROUP BY 1`,
        countsOf: totalsOf,
      },
    ],
  },
  {
    name: "chains",
    kernel: kernels.chains,
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
    kernel: kernels.totals,
    makes: { name: "handled" },
    from: "chains",
    *recordsOf(body) {
      for (const [, producer, n] of body.matchAll(/"line":"(\w+)-\d+","n":(\d+)/g))
        yield { producer, n: Number(n) };
    },
    keeps: true,
    producers: [],
    share: 0,
    tables: [{ name: "totals", countsOf: stats("n", LINES) }],
  },
  {
    name: "kept",
    kernel: kernels.kept,
    makes: { name: "handled", visit: kernels.MAKES_OF_READINGS },
    producers: keyed(["k0"], LINES, (key, n) => `{"station":"${key}","n":${n}}\n`),
    share: 0.05,
    tables: [
      { name: "totals", visit: kernels.READINGS, countsOf: stats("n", LINES) },
      {
        name: "sums of readings",
        sql: "SELECT 'k0' AS producer, count(*) AS count, sum(n) AS sum, min(n) AS min, max(n) AS max FROM readings",
        countsOf: totalsOf,
      },
    ],
  },
  {
    name: "trends",
    kernel: kernels.trends,
    makes: { name: "handled" },
    tables: [
      {
        name: "seen",
        visit: kernels.SEEN,
        dataset: "numbers",
        hold: true,
        countsOf: ofPosts("records"),
      },
      {
        name: "sums of numbers",
        sql: "SELECT count(*) AS keys, sum(records) AS records FROM numbers",
        countsOf: ofPosts("records"),
        keys: { of: ofPosts("keys"), most: kernels.NUMBERS },
      },
    ],
    sink: "trends.ndjson",
    keeps: true,
    producers: [{ id: "t0", record: post }],
    share: 0.2,
    output: () => new Trends(),
    ends: true,
  },
  {
    name: "again",
    kernel: kernels.trends,
    makes: { name: "handled" },
    from: "trends",
    shares: true,
    producers: [],
    share: 0,
    tables: [],
    output: () => new Trends(),
  },
  {
    name: "trials",
    kernel: kernels.trials,
    makes: { name: "handled" },
    stops: kernels.stopsLate,
    tables: [],
    producers: [{ id: "r0", record: (n) => `{"n":${n}}\n` }],
    share: 0.1,
    steady: true,
  },
];

/** Producers whose records come to a stream, by themselves or through another one. */
export function producersOf(stream: StreamSpec, counts: Counts): Counts {
  const { producers } = upstreamOf(stream) ?? stream;
  return new Map(producers.map(({ id }) => [id, counts.get(id) ?? 0]));
}

/** The stream whose output or records another one takes in. */
export function upstreamOf({ from }: StreamSpec): StreamSpec | undefined {
  return STREAMS.find(({ name }) => name === from);
}

/** Where the records are that were pushed to a stream, or to the one whose records it shares. */
export function piecesOfStream(stream: StreamSpec, pieces: Map<string, Piece[]>): Map<string, Piece[]> {
  const { producers } = stream.shares ? upstreamOf(stream)! : stream;
  return new Map(producers.map(({ id }) => [id, pieces.get(id)!]));
}
