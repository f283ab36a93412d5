/** The order of texts and what they include, tuples within tuples, and spans of months, against a plain count over the same rows. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { kernelOf, random, runRows, seedOf, write } from "../run.ts";

const KERNEL = kernelOf(
  "texts-and-spans",
  `import { Max, Min, Pair, Table, Text, Time, Triple, out, pair, triple } from "hallelujah";
@record class Row { a: Text; n: i64; at: Time }
@record class Span { a: Text; order: i32; wide: bool; month: Time; quarter: Time; year: Time; five: Time }
@state class Group { low: Min<Text>; high: Max<Text> }
const groups = new Table<Triple<Pair<Text, i64>, bool, Pair<Text, Text>>, Group>("groups");
export function each(row: Row): void {
  const even = row.n % 2 == 0;
  const first = row.a.slice(0, 1);
  const group = groups.at(triple(pair(first, row.n), even, pair(Text.of("x"), first)));
  group.low.add(row.a);
  group.high.add(row.a);
  const span = new Span();
  span.a = row.a;
  span.wide = row.a.includes("é");
  span.order = row.a.compare(Text.of("mé"));
  span.month = row.at.floorMonths(1);
  span.quarter = row.at.floorMonths(3);
  span.year = row.at.floorMonths(12);
  span.five = row.at.floorMonths(5);
  out.emit(span);
}`,
);

const bytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

function floorMonths(at: string, months: number): string {
  const date = new Date(at);
  const month = (date.getUTCFullYear() - 2000) * 12 + date.getUTCMonth();
  return new Date(Date.UTC(2000, Math.floor(month / months) * months, 1)).toISOString();
}

test("least and greatest texts, parts of texts, keys of nested tuples and spans of months are those of a plain count", async () => {
  const next = random(seedOf("texts-and-spans"));
  const pick = (of: string[]) => of[Math.floor(next() * of.length)];
  const rows = Array.from({ length: 3000 }, () => ({
    a: Array.from({ length: 1 + Math.floor(next() * 4) }, () =>
      pick(["a", "m", "é", "z", "\u{1f600}", "\uffee"]),
    ).join(""),
    n: Math.floor(next() * 5) - 2,
    at: new Date(Math.floor((next() - 0.3) * 4e12)).toISOString(),
  }));
  const path = write("texts.csv", `a,n,at\n${rows.map(({ a, n, at }) => `${a},${n},${at}`).join("\n")}\n`);
  const ran = await runRows(KERNEL, path, { frameBytes: 4000 });
  const groups = new Map<string, { low: string; high: string }>();
  for (const { a, n } of rows) {
    const first = Buffer.from(a).subarray(0, 1).toString("utf8");
    const key = JSON.stringify([first, n, n % 2 === 0, "x", first]);
    const { low = a, high = a } = groups.get(key) ?? {};
    groups.set(key, { low: bytes(a, low) < 0 ? a : low, high: bytes(a, high) > 0 ? a : high });
  }
  const found = ran.rows.filter(({ table }) => table);
  assert.is(found.length > 10, true);
  // First bytes of longer characters are the same replacement character in rows.
  const plain = found.filter(({ key }) => /^[a-z]/.test(key[0]));
  assert.equal(
    new Map(plain.map(({ key, low, high }) => [JSON.stringify(key), { low, high }])),
    new Map(
      [...groups]
        .filter(([key]) => /^\["[a-z]/.test(key))
        .toSorted(([a], [b]) => (orderOf(a) < orderOf(b) ? -1 : 1)),
    ),
  );
  const spans = ran.rows.filter(({ table }) => !table);
  assert.is(spans.length, rows.length);
  for (const [i, { a, at }] of rows.entries()) {
    const [month, quarter, year, five] = [1, 3, 12, 5].map((months) => floorMonths(at, months));
    const { order, ...span } = spans[i];
    assert.equal(span, { a, wide: a.includes("é"), month, quarter, year, five });
    assert.is(Math.sign(order), Math.sign(bytes(a, "mé")));
  }
});

/** A key's place in the order of the table. */
function orderOf(key: string): string {
  const [text, n] = JSON.parse(key) as [string, number];
  return `${text} ${n + 10}`;
}

test.run();
