/** The check of a soak that tables, visits that hold a stream, and what is made of another stream's output have all records once sees what is not. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Hallelujah } from "../../host/client/live.ts";
import { LINES } from "./outputs.ts";
import { type Row, series } from "./series.ts";
import { type StreamSpec, STREAMS } from "./streams.ts";
import { checkTables } from "./verify.ts";

const streamOf = (name: string) => STREAMS.find((each) => each.name === name)!;

/** A host whose tables and visits have these rows. */
const hostOf = (rows: Row[], asked: object[] = []) => {
  const answer = async (_stream: string, what: unknown) => {
    asked.push(what as object);
    return { frame: 1, all: async () => rows };
  };
  return { query: answer, visit: answer } as unknown as Hallelujah;
};

/** The rows of `totals` for the first records of each producer. */
const totalsOf = (counts: Record<string, number>): Row[] =>
  Object.entries(counts).flatMap(([producer, records]) =>
    Array.from({ length: Math.min(records, LINES) }, (_, key) => {
      const numbers = Array.from({ length: records }, (__, n) => n).filter((n) => n % LINES === key);
      const sum = numbers.reduce((all, n) => all + n, 0);
      return { key: `${producer}-${key}`, n: { count: numbers.length, sum, min: key, max: numbers.at(-1) } };
    }),
  );

const RECORDS = 3 * LINES;
const due = new Map([
  ["c0", RECORDS],
  ["c1", RECORDS],
]);
const check = (spec: StreamSpec, rows: Row[], counts = due) =>
  checkTables(hostOf(rows), spec, counts).then(
    () => "passes",
    ({ message }: Error) => message,
  );

test("totals with each record of the chains once pass; one that is lost, doubled, or of another key, is seen", async () => {
  const totals = streamOf("totals");
  assert.is(await check(totals, totalsOf({ c0: RECORDS, c1: RECORDS })), "passes");
  assert.match(
    await check(totals, totalsOf({ c0: RECORDS, c1: RECORDS - 1 })),
    `holds ${RECORDS - 1} records of c1, not ${RECORDS}`,
  );
  assert.match(
    await check(totals, totalsOf({ c0: RECORDS + 1, c1: RECORDS })),
    `holds ${RECORDS + 1} records of c0, not ${RECORDS}`,
  );
  assert.match(await check(totals, totalsOf({ c0: RECORDS })), `holds 0 records of c1`);
  const [first, ...rest] = totalsOf({ c0: RECORDS, c1: RECORDS });
  // As many records, of which one is there twice in place of another.
  const twice = { ...first, n: { ...first.n, sum: first.n.sum + LINES } };
  assert.match(await check(totals, [twice, ...rest]), "are due of");
  assert.throws(
    () => series([twice, ...rest], LINES, ({ n }) => [n.count, n.sum, n.min, n.max]),
    /are due of/,
  );
});

test("a visit that holds a stream is asked to, and is to have each record once", async () => {
  const trends = streamOf("trends");
  const tables = trends.tables.filter(({ hold }) => hold);
  assert.is(tables.length, 1);
  const counts = new Map([["t0", 100]]);
  const spec = { ...trends, tables };
  const asked: { hold?: boolean }[] = [];
  await checkTables(hostOf([{ keys: 100, records: 100 }], asked), spec, counts);
  assert.equal(
    asked.map(({ hold }) => hold),
    [true],
  );
  for (const records of [99, 101, 0])
    assert.match(
      await check(spec, [{ keys: 100, records }], counts),
      `holds ${records} records of t0, not 100`,
    );
});

test("a query of a large table is to have its entries, each once", async () => {
  const trends = streamOf("trends");
  const { sql, ...table } = trends.tables.find(({ keys }) => keys)!;
  assert.ok(sql); // it is planned by the host's schema; here it is asked as if it were a table
  const spec = { ...trends, tables: [table] };
  const counts = new Map([["t0", 100]]);
  assert.is(await check(spec, [{ keys: 100, records: 100 }], counts), "passes");
  assert.match(await check(spec, [{ keys: 99, records: 100 }], counts), "has 99 entries of t0, not 100");
  assert.match(await check(spec, [{ keys: 101, records: 100 }], counts), "has 101 entries of t0, not 100");
});

test.run();
