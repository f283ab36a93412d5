/**
 * Rows that are visited are read where they lie, or copied into a record one after the other, by what `each` does with it: the answers are the same.
 * A function that names the record's class, and that nothing calls, has any kernel get copies.
 */
import { readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { readKernel } from "../../host/compiler/model.ts";
import { KernelPlaces } from "../../host/compiler/places.ts";
import { kernelOf, random, seedOf } from "../run.ts";
import { type Answer, chunksOf, Owners, rowSets, visit } from "./datasets.ts";

const test = suite("visits of rows in place, and of copies");
const seed = seedOf("visit-in-place");

const FIELDS = `a: Text; b: Text; c: Optional<Text>; f: f64; g: f32; h: Optional<f64>; i: i64; j: i32; k: i16; l: i8; m: u64; n: u32; o: u16; p: u8; q: bool;
  r: Optional<bool>; s: Optional<i8>; t: Time; u: Optional<Time>; v: Decimal; w: Optional<Decimal>; x: Optional<i32>`;
const NAMES = `Count, Cursor, Dataset, Decimal, Distinct, First, Last, Max, Min, Optional, Pair, Quantiles, Stats, Sum, Table, Text, Time, Top, Window,
  Windows, out, pair`;
const KEEP = `import { ${NAMES} } from "hallelujah";
@record class Row { ${FIELDS} }
const rows = new Dataset<Row>("rows");
export function each(row: Row): void { rows.add(row); }`;
const UNUSED = "\nfunction unused(row: Row): void {}\n";

const kernel = (rest: string, fields = FIELDS) =>
  `import { ${NAMES} } from "hallelujah";\n@record class Row { ${fields} }\n${rest}`;

/** All types, in all ways in which they are read. */
const VALUES = kernel(`@state class All {
  f: Stats; g: Stats; h: Sum; hs: Count; i: Sum<i64>; j: Min<i32>; k: Max<i16>; l: Max<i8>; m: Max<u64>; n: Sum<u64>; o: Max<u16>; p: Min<u8>; q: Count;
  r: Count; s: Min<i8>; t: Min<Time>; u: Max<Time>; v: Sum<Decimal>; w: First<Decimal>; x: Quantiles; first: First<Text>; last: Last<Text>;
  least: Min<Text>; top: Top<Text>; distinct: Distinct; missing: Count
}
const all = new Table<i32, All>("all");
export function each(row: Row): void {
  const to = all.at(row.t.hour);
  to.f.add(row.f);
  to.g.add(row.g);
  to.h.add(row.h.or(-1));
  if (row.h.present) to.hs.add();
  else to.missing.add();
  to.i.add(row.i);
  to.j.add(row.j);
  to.k.add(row.k);
  to.l.add(row.l);
  to.m.add(row.m);
  to.n.add(row.n);
  to.o.add(row.o);
  to.p.add(row.p);
  if (row.q) to.q.add();
  if (row.r.present && row.r.value) to.r.add();
  if (row.s.present) to.s.add(row.s.value);
  to.t.add(row.t);
  to.u.add(row.u.or(row.t));
  to.v.add(row.v);
  if (row.w.present) to.w.add(row.w.value);
  to.x.add(<f64>row.x.or(row.j));
  to.first.add(row.a);
  to.last.add(row.c.or(row.b));
  to.least.add(row.b);
  to.top.add(row.a);
  to.distinct.add(row.c.or(row.a));
}`);

/** Keys of all kinds, and texts from which others are made. */
const KEYS = kernel(`@state class Rows { count: Count; spent: Sum<i64> }
const texts = new Table<Text, Rows>("texts");
const others = new Table<Text, Rows>("others");
const numbers = new Table<u8, Rows>("numbers");
const flags = new Table<bool, Rows>("flags");
const times = new Table<Time, Rows>("times");
const amounts = new Table<Decimal, Rows>("amounts");
const pairs = new Table<Pair<Text, Time>, Rows>("pairs");
const parts = new Table<Text, Rows>("parts");
function longer(one: Text, other: Text): Text { return one.length < other.length ? other : one; }
export function each(reading: Row): void {
  let a = reading.a;
  texts.at(a).count.add();
  texts.at(reading.b).spent.add(reading.j);
  a = reading.c.present ? reading.c.value : reading.b;
  others.at(a).count.add(reading.p);
  others.at(reading.a).spent.add(1);
  numbers.at(reading.p).count.add();
  flags.at(reading.q).count.add();
  times.at(reading.t).count.add();
  times.at(reading.t.floor(60_000)).spent.add(1);
  amounts.at(reading.w.or(reading.v)).count.add();
  pairs.at(pair(reading.b, reading.t.floor(3_600_000))).count.add();
  const half = reading.a.slice(0, 2);
  const other = reading.b.slice(1).trim();
  parts.at(half).count.add();
  parts.at(longer(half, other)).spent.add(1);
  parts.at(Text.of(reading.a.toString() + "/" + reading.b.toString())).count.add();
  const cursor = new Cursor(reading.a);
  parts.at(cursor.until(0x2d)).count.add();
  parts.at(cursor.rest().toLowerAscii()).count.add(<u64>reading.a.byteAt(0));
  if (reading.a == reading.b) parts.at(Text.of("the same")).count.add();
}`);

/** Rows that come out, and what is decided before. */
const ROWS = kernel(`@record class Out { a: Text; at: Time; sum: f64; c: Optional<Text>; v: Decimal }
@state class Rows { count: Count }
const rows = new Table<Text, Rows>("rows");
export function each(row: Row): void {
  if (row.j < 20 || !(row.h.present && row.h.value > 0.25)) return;
  const twice = (x: i32): i32 => x * 2;
  let n = row.j;
  while (n > 0) n -= twice(row.p) + 1;
  const made = new Out();
  made.a = row.c.present ? row.c.value : row.a;
  made.at = row.t;
  made.sum = row.f + <f64>n;
  made.v = row.v;
  if (row.c.present) made.c.value = row.b;
  out.emit(made);
  rows.at(row.b).count.add();
}`);

const WINDOWS = kernel(
  `@state class Seen { count: Count; texts: Distinct }
@record class Hour { b: Text; start: Time; count: u64; texts: u64 }
const hours = new Windows<Text, Seen>("hours", 3_600_000, 1_800_000);
export function each(row: Row): void {
  const seen = hours.at(row.b, row.t);
  seen.count.add();
  seen.texts.add(row.a);
}
export function close(window: Window, b: Text, seen: Seen): void {
  const hour = new Hour();
  hour.b = b;
  hour.start = window.start;
  hour.count = seen.count.value;
  hour.texts = seen.texts.value;
  out.emit(hour);
}`,
  "a: Text; b: Text; @time(1000) t: Time",
);

/** Fields of other types than the columns have: each value is converted, and those that do not fit are bad rows. */
const OTHER_TYPES = kernel(
  `@state class Rows { f: Sum<f64>; count: Count; x: Stats }
const rows = new Table<Text, Rows>("rows");
export function each(row: Row): void {
  const to = rows.at(row.b);
  to.f.add(row.j + <f64>row.i);
  to.x.add(row.f);
  to.count.add(row.p);
  if (row.c.present) rows.at(row.c.value).count.add();
}`,
  "b: Text; c: Optional<Text>; f: f64; i: i8; j: f64; p: u64",
);

/** Fields of wider types than the columns have, or that may lack a value which all rows have. */
const WIDER = kernel(
  `@state class Rows {
  f: Sum; g: Stats; h: Stats; i: Sum<i64>; j: Sum<i64>; k: Sum<i64>; l: Sum<i64>; m: Max<i64>; n: Sum<i64>; o: Sum<i64>; p: Sum<i64>; s: Sum<i64>; x: Sum<i64>;
  t: Max<Time>; count: Count
}
const rows = new Table<Text, Rows>("rows");
const others = new Table<i64, Rows>("others");
export function each(row: Row): void {
  const to = rows.at(row.b.or(row.c.value));
  to.f.add(row.f);
  to.g.add(row.g.or(-1));
  to.h.add(row.h.or(row.j));
  to.i.add(row.i);
  to.k.add(row.k);
  to.l.add(row.l);
  to.n.add(row.n);
  to.o.add(row.o);
  to.p.add(row.p);
  if (row.s.present) to.s.add(row.s.value);
  if (row.x.present) to.x.add(row.x.value);
  if (row.t.present) to.t.add(row.t.value);
  if (row.c.present) others.at(row.k).i.add(<i64>row.j);
  others.at(row.n % 10).count.add();
}`,
  `b: Optional<Text>; c: Optional<Text>; f: f64; g: Optional<f64>; h: Optional<f64>; i: i64; j: f64; k: i64; l: i64; n: i64; o: f64; p: i64;
  s: Optional<i64>; t: Optional<Time>; x: Optional<i64>`,
).replace("to.o.add(row.o)", "to.o.add(<i64>row.o)");

const MANY = Array.from({ length: 60 }, (_, i) => `s${i}`);

/** States that do not fit a part of a frame. */
const PARTS = kernel(
  `@state class Many { ${MANY.map((name) => `${name}: Stats`).join("; ")} }
const rows = new Table<u64, Many>("rows");
const texts = new Table<Text, Many>("texts");
export function each(row: Row): void {
  texts.at(row.a).s0.add(row.j);
  const to = rows.at(row.m);
  ${MANY.slice(0, 3)
    .map((name) => `to.${name}.add(row.j);`)
    .join("\n  ")}
}`,
  "a: Text; m: u64; j: i64",
);

/** What a kernel does with its record that has it get copies, and what comes of it. */
const CHANGES = kernel(`@state class Rows { count: Count; sum: Sum<i64> }
const set = new Table<Text, Rows>("set");
const given = new Table<Text, Rows>("given");
const cut = new Table<Text, Rows>("cut");
function keyOf(row: Row): Text { return row.j % 2 ? row.a : row.b; }
function shorten(text: Text): void { if (text.length > 2) text.length = 2; }
export function each(row: Row): void {
  const same = row;
  given.at(keyOf(same)).count.add();
  if (row.j % 5 == 0) row.a = row.b;
  same.j += 7;
  set.at(row.a).sum.add(row.j);
  row = same;
  row.t.ms = 5;
  set.at(row.b).count.add(<u64>same.t.ms);
  const text = row.b;
  shorten(text);
  cut.at(row.b).count.add();
  if (row.j % 50 == 0) out.emit(row);
}`);

let made: Promise<{ keeper: BuiltKernel; owners: Owners }> | undefined;

/** Two owners of some thousand rows. */
const kept = () => (made ??= keep());

async function keep(): Promise<{ keeper: BuiltKernel; owners: Owners }> {
  const draw = random(seed);
  const whole = (below: number) => Math.floor(draw() * below);
  const text = () => `${"xyz"[whole(3)]}-${"Abc".slice(whole(3))}${whole(60)}`;
  const time = () => new Date(Date.UTC(2024, 0, 1) + whole(86_400_000)).toISOString();
  const maybe = <T>(name: string, value: () => T) => (draw() < 0.6 ? { [name]: value() } : {});
  const row = () => ({
    a: text(),
    b: draw() < 0.05 ? "x-Abc1" : text(),
    f: draw(),
    g: whole(100) / 4,
    i: whole(400) - 200,
    j: whole(100),
    k: whole(60_000) - 30_000,
    l: whole(256) - 128,
    m: whole(1e9),
    n: whole(4e9),
    o: whole(65_536),
    p: whole(256),
    q: draw() < 0.3,
    t: time(),
    v: (whole(1000) / 8).toString(),
    ...maybe("c", text),
    ...maybe("h", draw),
    ...maybe("r", () => draw() < 0.5),
    ...maybe("s", () => whole(256) - 128),
    ...maybe("u", time),
    ...maybe("w", () => (whole(50) / 4).toString()),
    ...maybe("x", () => whole(30)),
  });
  const keeper = await buildKernel(kernelOf("keep", KEEP));
  const owners = new Owners(keeper, 2);
  for (let frame = 0; frame < 8; frame++)
    await owners.add(Array.from({ length: 2500 }, () => `${JSON.stringify(row())}\n`).join(""));
  // So many together that columns are made wide piece by piece, and that the states of PARTS fill parts of a frame (12 MiB).
  assert.ok(chunksOf(owners.all, rowSets(keeper)[0]).some(([, rows]) => rows > 10_000));
  return { keeper, owners };
}

async function answerOf(source: string, target: "release" | "visit" | "quick-visit"): Promise<Answer> {
  const { keeper, owners } = await kept();
  return visit(owners.all, keeper, await buildKernel(kernelOf("visits", source), { target }));
}

/** Row by row: what differs between thousands of them takes minutes to be shown. */
function same(found: Answer, expected: Answer, why: string): void {
  const at = expected.rows.findIndex((row, i) => row !== found.rows[i]);
  if (at >= 0) assert.is(found.rows[at], expected.rows[at], why);
  assert.is(found.rows.length, expected.rows.length, why);
  assert.ok(found.emitted === expected.emitted, `what is emitted: ${why}`);
  assert.equal([found.visited, found.bad, found.dropped], [expected.visited, expected.bad, expected.dropped]);
}

const readsInPlace = (source: string) => readKernel(source, "visits.ts").model.inPlace !== undefined;

for (const [name, source] of Object.entries({ VALUES, KEYS, ROWS, WINDOWS, OTHER_TYPES, WIDER, PARTS }))
  test(`rows in place answer what copies do: ${name}`, async () => {
    assert.ok(readsInPlace(source));
    const copied = await answerOf(source, "release");
    assert.ok(copied.visited > 1000 && copied.rows.length + copied.emitted.length > 10);
    assert.is(copied.bad > 0, source === OTHER_TYPES);
    assert.not(readsInPlace(source + UNUSED));
    same(await answerOf(source + UNUSED, "visit"), copied, `copies, seed ${seed}`);
    same(await answerOf(source, "visit"), copied, `in place, seed ${seed}`);
    same(await answerOf(source, "quick-visit"), copied, `in place, built quickly, seed ${seed}`);
  });

test("a kernel that changes its record, gives it away and keeps it gets copies, and changes nothing of the rows", async () => {
  assert.not(readsInPlace(CHANGES));
  const first = await answerOf(CHANGES, "visit");
  same(await answerOf(CHANGES, "visit"), first, "a second time");
  same(await answerOf(CHANGES, "release"), first, "by a module that can do more");
  assert.ok(first.emitted.includes('"t":"1970-01-01T00:00:00.005Z"'));
});

test("a kernel that stops while it reads rows in place says where", async () => {
  const source = kernel(`@state class Rows { count: Count }
const rows = new Table<Text, Rows>("rows");
export function each(row: Row): void {
  const to = rows.at(row.a);
  if (row.j == 42)
    throw new Error("it is " + row.j.toString());
  to.count.add();
}`);
  assert.ok(readsInPlace(source));
  const placeOf = async (kernel: string, target: "release" | "visit" | "quick-visit") => {
    const { path } = await buildKernel(kernelOf("visits", kernel), { target });
    let error: Error | undefined;
    await answerOf(kernel, target).catch((thrown: Error) => {
      error = thrown;
    });
    assert.is(error?.message, "it is 42");
    return new KernelPlaces(path, "visits.ts").of(error!.stack!);
  };
  const line = source.split("\n").findIndex((text) => text.includes("throw")) + 1;
  const place = await placeOf(source + UNUSED, "visit");
  assert.match(place!, `in each (visits.ts:${line}:`);
  assert.is(await placeOf(source, "release"), place);
  assert.is(await placeOf(source, "visit"), place);
  assert.is(await placeOf(source, "quick-visit"), place);
});

test("only kernels that read rows in place have the places of columns", async () => {
  const have = async (source: string, target: "release" | "visit") => {
    const { path } = await buildKernel(kernelOf("visits", source), { target });
    return readFileSync(path).includes("generated/views0");
  };
  assert.ok(await have(KEYS, "visit"));
  assert.not(await have(KEYS + UNUSED, "visit"));
  assert.not(await have(KEYS, "release"));
});

test.run();
