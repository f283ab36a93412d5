/** Rows that are kept in columns, and kernels that visit them: the same rows and answers whatever owners there are. */
import { readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { FIELD_TYPES } from "../../host/compiler/types.ts";
import { visitFieldsOf } from "../../host/input/plan.ts";
import { Visitor } from "../../host/jah/visit.ts";
import { VisitColumns } from "../../host/jah/visit-columns.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { dirtyPages, FIRST_PAGE } from "../../host/kernel/pages.ts";
import { Rows } from "../../host/kernel/rows.ts";
import { kernelOf, parseLines, random, seedOf } from "../run.ts";
import { type Answer, chunksOf, type Owned, Owners, rowSets, visit } from "./datasets.ts";

const COUNT_LATE = `
import { Count, Optional, Sum, Table, Text } from "hallelujah";
@record class Flight { origin: Text; delay: Optional<i32> }
@state class Late { flights: Count; delay: Sum<i64> }
const origins = new Table<Text, Late>("origins");
export function each(flight: Flight): void {
  if (!flight.delay.present || flight.delay.value < 60) return;
  const late = origins.at(flight.origin);
  late.flights.add();
  late.delay.add(flight.delay.value);
}`;

const test = suite("assembly/state: datasets, and visits of them");
const seed = seedOf("datasets");

const FIELDS = `
  a: i8; b: u8; c: i16; d: u16; e: i32; f: u32; g: i64; h: u64; i: f32; j: f64; k: bool; l: Text; m: Time; n: Decimal;
  oa: Optional<i8>; od: Optional<u16>; oh: Optional<u64>; oj: Optional<f64>; ok: Optional<bool>; ol: Optional<Text>; om: Optional<Time>;
  on: Optional<Decimal>;`;
const KEEP_ALL = `
import { Dataset, Decimal, Optional, Text, Time } from "hallelujah";
@record class All { ${FIELDS} }
const all = new Dataset<All>("all");
export function each(record: All): void { all.add(record); }`;
const EMIT_ALL = `
import { Decimal, Optional, Text, Time, out } from "hallelujah";
@record class All { ${FIELDS} }
export function each(record: All): void { out.emit(record); }`;

const KEEP = `
import { Dataset, Optional, Stats, Table, Text, Time } from "hallelujah";
@record class Flight { origin: Text; destination: Text; delay: Optional<i32>; distance: f64; date: Time }
@state class Delays { delay: Stats }
const origins = new Table<Text, Delays>("origins");
const flights = new Dataset<Flight>("flights");
export function each(flight: Flight): void {
  flights.add(flight);
  if (flight.delay.present) origins.at(flight.origin).delay.add(flight.delay.value);
}`;
const AVERAGE = `
import { Distinct, Optional, Pair, Stats, Sum, Table, Text, Top, pair } from "hallelujah";
@record class Flight { origin: Text; destination: Text; delay: Optional<i32>; distance: f64 }
@state class Delays { delay: Stats; distance: Sum }
@state class Routes { routes: Distinct; top: Top<Text> }
const origins = new Table<Text, Delays>("origins");
const routes = new Table<Pair<Text, Text>, Delays>("routes");
const places = new Table<Text, Routes>("places");
export function each(flight: Flight): void {
  const state = origins.at(flight.origin);
  if (flight.delay.present) state.delay.add(flight.delay.value);
  state.distance.add(flight.distance);
  routes.at(pair(flight.origin, flight.destination)).distance.add(flight.distance);
  // The same table, by texts of two columns, and of parts of them.
  places.at(flight.origin).routes.add(flight.destination);
  places.at(flight.destination).top.add(flight.origin);
  places.at(flight.origin.slice(0, 1)).top.add(flight.destination);
}`;

const HOUR = 3_600_000;
const START = Date.parse("2024-01-01T00:00:00Z");

interface Flights {
  airports: number;
  hour: number;
}

/** Flights at random, in the order of their dates. */
function flightLines(draw: () => number, count: number, state: Flights): string {
  const airport = () => {
    const n = Math.floor(draw() ** 2 * state.airports);
    return n % 50 === 7 ? `A very long name of an airport, longer than what an entry holds ${n}` : `AP${n}`;
  };
  return Array.from({ length: count }, () => {
    state.hour += draw() / 100;
    const record: Record<string, unknown> = {
      origin: airport(),
      destination: airport(),
      distance: Math.floor(draw() * 1e6) / 7,
      date: new Date(START + Math.floor(state.hour * HOUR)).toISOString(),
    };
    if (draw() < 0.8) record.delay = Math.floor(draw() * 400) - 60;
    return `${JSON.stringify(record)}\n`;
  }).join("");
}

/** A value for each field of KEEP_ALL that NDJSON and rows write alike. */
function allLine(draw: () => number, i: number): string {
  const bits = (n: number) => Math.floor(draw() * 2 ** n);
  const either = (least: number, greatest: number, value: number) =>
    i % 50 === 3 ? least : i % 50 === 4 ? greatest : value;
  const values: Record<string, unknown> = {
    a: either(-128, 127, bits(8) - 128),
    b: either(0, 255, bits(8)),
    c: either(-32768, 32767, bits(16) - 32768),
    d: either(0, 65535, bits(16)),
    e: either(-(2 ** 31), 2 ** 31 - 1, bits(32) - 2 ** 31),
    f: either(0, 2 ** 32 - 1, bits(32)),
    g: bits(53) - 2 ** 52,
    h: bits(53),
    i: Math.fround(bits(20) / 16),
    j: draw() * 1e9,
    k: draw() < 0.5,
    l: ["", "a", "Ünï", "x".repeat(40), `text ${bits(12)}`][bits(8) % 5],
    m: new Date(START + bits(40)).toISOString(),
    n: bits(30) / 64,
  };
  for (const name of ["a", "d", "h", "j", "k", "l", "m", "n"])
    if (draw() < 0.6 && !(name === "l" && values.l === "")) values[`o${name}`] = values[name];
  return JSON.stringify(values);
}

const sorted = (rows: unknown[]) => rows.map((row) => JSON.stringify(row)).toSorted();

test("every type comes out as it went in, for any number of owners", async () => {
  const keep = await buildKernel(kernelOf("keep-all", KEEP_ALL));
  const emit = await buildKernel(kernelOf("emit-all", EMIT_ALL));
  const draw = random(seed);
  const frames = Array.from({ length: 30 }, (_, f) =>
    Array.from({ length: f % 7 ? 150 : 2100 }, (_, i) => allLine(draw, i)),
  );
  const answers: Answer[] = [];
  for (const count of [1, 2, 4]) {
    const owners = new Owners(keep, count);
    for (const lines of frames) await owners.add(`${lines.join("\n")}\n`);
    const answer = await visit(owners.all, keep, emit);
    assert.equal([answer.visited, answer.bad, answer.dropped], [frames.flat().length, 0, 0]);
    answers.push(answer);
  }
  const wanted = parseLines(frames.flat().join("\n")).map((row) => ({
    ...row,
    ...Object.fromEntries(
      ["oa", "od", "oh", "oj", "ok", "ol", "om", "on"].map((name) => [name, row[name] ?? null]),
    ),
  }));
  const names = Object.keys(parseLines(answers[0].emitted)[0]);
  assert.equal(
    sorted(parseLines(answers[0].emitted)),
    sorted(wanted.map((row) => Object.fromEntries(names.map((name) => [name, row[name]])))),
  );
  for (const answer of answers) assert.is(answer.emitted, answers[0].emitted);
});

test("tables of a visit are the same to the last bit for any number of owners, and leave the arena as it is", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const average = await buildKernel(kernelOf("average", AVERAGE));
  const answers: Answer[] = [];
  for (const count of [1, 2, 4]) {
    const draw = random(seed);
    const state = { airports: 300, hour: 0 };
    const owners = new Owners(keep, count);
    for (let frame = 0; frame < 90; frame++)
      await owners.add(flightLines(draw, frame % 10 ? 700 : 40, state));
    const arenas = () =>
      owners.all.map(({ shard: { kernel } }) =>
        Buffer.from(kernel.bytes.slice(map.ARENA, kernel.bytes.length)),
      );
    for (const { shard } of owners.all) shard.kernel.bytes.fill(0, map.DIRTY, map.DIRTY + 65536);
    const before = arenas();
    answers.push(await visit(owners.all, keep, average));
    arenas().forEach((arena, i) => assert.is(Buffer.compare(arena, before[i]), 0, "the arena is untouched"));
    for (const { shard } of owners.all)
      assert.equal(dirtyPages(shard.kernel.memory, shard.kernel.arenaEnd), [], "nothing is marked");
  }
  assert.is(answers[0].visited, 81 * 700 + 9 * 40);
  assert.ok(answers[0].rows.length > 300);
  for (const answer of answers) assert.equal(answer, answers[0]);
});

test("a visit answers what a table of the stream does", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const average = await buildKernel(kernelOf("average", AVERAGE));
  const owners = new Owners(keep, 1);
  const draw = random(seed);
  const state = { airports: 40, hour: 0 };
  for (let frame = 0; frame < 20; frame++) await owners.add(flightLines(draw, 900, state));
  const { rows } = await visit(owners.all, keep, average);
  const counts = (lines: string[]) =>
    lines
      .map((line) => JSON.parse(line))
      .filter(({ table }) => table === "origins")
      .map(({ key, delay: { count, sum, min, max } }) => [key, count, sum, min, max]);
  assert.equal(counts(rows), counts(owners.all[0].shard.rows()));
});

test("records go on coming between visit frames; the visit meets those that were there when it began", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const average = await buildKernel(kernelOf("average", AVERAGE));
  const draw = random(seed);
  const state = { airports: 50, hour: 0 };
  const owners = new Owners(keep, 2);
  const quiet = new Owners(keep, 2);
  const add = async (lines: string) => {
    await owners.add(lines);
    await quiet.add(lines);
  };
  for (let frame = 0; frame < 70; frame++) await add(flightLines(draw, 300, state));
  const wanted = await visit(quiet.all, keep, average);
  const later: string[] = [];
  const answer = await visit(owners.all, keep, average, {
    between: async () => {
      later.push(flightLines(draw, 400, state));
      await owners.add(later.at(-1)!);
    },
  });
  assert.ok(later.length > 5);
  assert.equal(answer, wanted);
  for (const lines of later) await quiet.add(lines);
  assert.equal(await visit(owners.all, keep, average), await visit(quiet.all, keep, average));
  assert.equal(
    owners.all.flatMap(({ shard }) => shard.rows()),
    quiet.all.flatMap(({ shard }) => shard.rows()),
  );
});

test("partitions that change their owner take their rows along, chunk by chunk", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const average = await buildKernel(kernelOf("average", AVERAGE));
  const [set] = rowSets(keep);
  const moved = new Owners(keep, 2);
  const still = new Owners(keep, 1);
  const draw = random(seed);
  const state = { airports: 2000, hour: 0 };
  for (let frame = 0; frame < 240; frame++) {
    const lines = flightLines(draw, frame % 40 === 5 ? 3000 : 200, state);
    await moved.add(lines);
    await still.add(lines);
    if (frame === 31 || frame === 121) {
      // Sections of state that moves hold few of these, and a frame of them has several parts.
      const long = lines.replaceAll(/"origin":"AP/g, `"origin":"${"long".repeat(40_000)}`);
      const few = `${long.split("\n").slice(0, 60).join("\n")}\n`;
      await moved.add(few);
      await still.add(few);
    }
    if (frame === 60) moved.give(0, 100);
    if (frame === 150) moved.give(0, 33);
  }
  moved.give(0, 0);
  assert.equal(chunksOf(moved.all, set), chunksOf(still.all, set));
  assert.is(new Rows(moved.all[0].shard.kernel.memory, set).count, 0);
  assert.equal(await visit(moved.all, keep, average), await visit(still.all, keep, average));
});

const arenaOf = ({ shard: { kernel } }: Owned) => {
  kernel.bytes.fill(0, map.DIRTY, map.DIRTY + 65536);
  return kernel.bytes.slice(map.ARENA, kernel.arenaEnd);
};

/** That every page that is not what it was is marked; fresh ones were zero. */
function assertMarked(before: Uint8Array, { shard: { kernel } }: Owned): void {
  const marked = new Set(dirtyPages(kernel.memory, kernel.arenaEnd));
  for (let page = FIRST_PAGE; page < kernel.arenaEnd / 65536; page++) {
    if (marked.has(page)) continue;
    const start = (page - FIRST_PAGE) * 65536;
    const then = Buffer.alloc(65536);
    then.set(before.subarray(start, start + 65536));
    const now = kernel.bytes.subarray(map.ARENA + start, map.ARENA + start + 65536);
    assert.is(Buffer.compare(then, now), 0, `page ${page} changed without a mark`);
  }
}

const KEEP_FEW = (rows: string, age: string) => `
import { Dataset, Text, Time } from "hallelujah";
@record class Event { at: Time; text: Text; n: i64 }
const events = new Dataset<Event>("events", ${rows}, ${age});
export function each(event: Event): void { events.add(event); }`;
const EMIT_EVENTS = `
import { Text, Time, out } from "hallelujah";
@record class Event { at: Time; text: Text; n: i64 }
export function each(event: Event): void { out.emit(event); }`;

const eventLines = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => {
    const n = from + i;
    return `{"at":"${new Date(START + n * 1000).toISOString()}","text":"event ${n}","n":${n}}\n`;
  }).join("");

test("at least so many rows are kept, and not many more, by all owners alike", async () => {
  const keep = await buildKernel(kernelOf("keep-few", KEEP_FEW("20_000", "0")));
  const emit = await buildKernel(kernelOf("emit-events", EMIT_EVENTS));
  const [set] = rowSets(keep);
  const cuts: unknown[] = [];
  const answers: Answer[] = [];
  for (const count of [1, 3]) {
    const owners = new Owners(keep, count);
    let n = 0;
    for (let frame = 0; frame < 400; frame++) {
      const rows = frame % 20 === 3 ? 1500 : 90;
      await owners.add(eventLines(n, rows));
      n += rows;
      if (frame === 200 && count === 3) owners.give(1, 120);
    }
    cuts.push(chunksOf(owners.all, set));
    const answer = await visit(owners.all, keep, emit);
    const kept = new Set(parseLines(answer.emitted).map((row) => row.n));
    for (let i = n - 20_000; i < n; i++) assert.ok(kept.has(i), `${i} of ${n} is kept`);
    assert.ok(kept.size < 20_000 + 256 * 64 && kept.size < n - 1000, `${kept.size} of ${n} are kept`);
    answers.push(answer);
  }
  assert.equal(cuts[1], cuts[0]);
  assert.is(answers[1].emitted, answers[0].emitted);
});

test("rows that are too old are dropped, memory does not grow with those that come, and what changes is marked", async () => {
  const keep = await buildKernel(kernelOf("keep-young", KEEP_FEW("0", "20_000_000"))); // 20,000 s
  const emit = await buildKernel(kernelOf("emit-events", EMIT_EVENTS));
  const owners = new Owners(keep, 2);
  let n = 0;
  const sizes: number[] = [];
  const add = async (frames: number, watched = false) => {
    for (let frame = 0; frame < frames; frame++) {
      const before = watched ? owners.all.map(arenaOf) : [];
      await owners.add(eventLines((n += 6000) - 6000, 6000));
      before.forEach((bytes, i) => assertMarked(bytes, owners.all[i]));
    }
    sizes.push(Math.max(...owners.all.map(({ shard }) => shard.kernel.arenaEnd)) - map.ARENA);
  };
  await add(64);
  await add(64);
  await add(64, true); // long enough for dictionaries to be made anew
  const { emitted, visited } = await visit(owners.all, keep, emit);
  const kept = new Set(parseLines(emitted).map((row) => row.n));
  for (let i = n - 20_000; i < n; i++) assert.ok(kept.has(i), `${i} of ${n} is kept`);
  assert.ok(visited < 80_000, `${visited} rows are kept`);
  // Texts are all different; of those that were dropped some stay, but not all.
  assert.ok(sizes[2] < sizes[1] * 1.2, `${sizes} bytes`);
});

test("chunks outside of the bounds are passed over, and the answer stays", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const from = Math.floor(START + 300 * HOUR);
  const select = await buildKernel(
    kernelOf(
      "select",
      `
import { Count, Table, Text, Time } from "hallelujah";
@record class Flight { origin: Text; date: Time }
@state class Flights { flights: Count }
const origins = new Table<Text, Flights>("origins");
export function each(flight: Flight): void {
  const ms = flight.date.ms;
  if (ms >= ${from} && ms <= ${from + HOUR}) origins.at(flight.origin).flights.add();
}`,
    ),
  );
  const owners = new Owners(keep, 2);
  const draw = random(seed);
  const state = { airports: 50, hour: 0 };
  for (let frame = 0; frame < 128; frame++) await owners.add(flightLines(draw, 1000, state));
  assert.ok(state.hour > 500);
  const all = await visit(owners.all, keep, select);
  const bounds = [{ field: "date", least: BigInt(from), greatest: from + HOUR }];
  const some = await visit(owners.all, keep, select, { bounds });
  assert.ok(all.rows.length > 10);
  assert.equal(some.rows, all.rows);
  assert.ok(some.visited < all.visited / 4, `${some.visited} of ${all.visited} rows were visited`);
  const none = await visit(owners.all, keep, select, { bounds: [{ field: "delay", least: 1000 }] });
  assert.is(none.visited, 0);
});

test("a visit that goes on meets the rows that came since, once, and not where rows are gone", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const count = await buildKernel(kernelOf("count-late", COUNT_LATE));
  const owners = new Owners(keep, 2);
  const draw = random(seed);
  const state = { airports: 50, hour: 0 };
  const add = async (frames: number) => {
    for (let frame = 0; frame < frames; frame++) await owners.add(flightLines(draw, 700, state));
  };
  await add(20);
  const before = await visit(owners.all, keep, count);
  const gone = await visit(owners.all, keep, count, { more: () => add(31) });
  assert.ok(gone.visited > before.visited);
  assert.equal(gone, await visit(owners.all, keep, count));
  // Chunks that had nothing within the bounds may have it later.
  const bounds = [{ field: "delay", least: 60 }];
  const bounded = await visit(owners.all, keep, count, { bounds, more: () => add(9) });
  assert.equal(bounded.rows, (await visit(owners.all, keep, count)).rows);
  const young = await buildKernel(kernelOf("keep-young", KEEP_FEW("0", "20_000_000")));
  const events = new Owners(young, 1);
  const emit = await buildKernel(kernelOf("emit-events", EMIT_EVENTS));
  await events.add(eventLines(0, 6000));
  const [{ shard }] = events.all;
  const module = new WebAssembly.Module(readFileSync(emit.path));
  const visitor = new Visitor(shard.kernel.memory, module, {
    over: { dataset: rowSets(young)[0] },
    fields: visitFieldsOf(emit.descriptor),
    from: 0,
    to: 256,
  });
  await events.add(eventLines(6000, 6000));
  assert.ok(visitor.more());
  for (let n = 12_000; n < 200_000; n += 6000) await events.add(eventLines(n, 6000));
  assert.not(visitor.more());
});

const TYPES = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "f32",
  "f64",
  "bool",
  "Text",
  "Time",
  "Decimal",
];
const INTEGERS = TYPES.filter((type) => /^[iu]\d/.test(type));
/** What a column of each type can fill, as a column of a file of that type. */
const FILLS: Record<string, string[]> = {
  ...Object.fromEntries(INTEGERS.map((type) => [type, [...INTEGERS, "f32", "f64", "Text", "Decimal"]])),
  f32: [...INTEGERS, "f32", "f64", "Text", "Decimal"],
  f64: [...INTEGERS, "f32", "f64", "Text", "Decimal"],
  bool: ["bool", ...INTEGERS, "f32", "f64", "Text"],
  Text: ["Text"],
  Time: ["Time", "Text"],
  Decimal: [...INTEGERS, "f32", "f64", "Text", "Decimal"],
};
const VALUE: Record<string, unknown> = { bool: true, Text: "some", Time: "1970-01-01T00:00:00.005Z" };

test("a field of another type is filled as from a file, or refused with both types", async () => {
  const line = `${JSON.stringify(Object.fromEntries(TYPES.map((type) => [`x${type}`, VALUE[type] ?? 5])))}\n`;
  const keep = await buildKernel(
    kernelOf(
      "keep-types",
      `
import { Dataset, Decimal, Text, Time } from "hallelujah";
@record class Row { ${TYPES.map((type) => `x${type}: ${type};`).join(" ")} }
const rows = new Dataset<Row>("rows");
export function each(row: Row): void { rows.add(row); }`,
    ),
  );
  const owners = new Owners(keep, 1);
  await owners.add(line.repeat(3));
  const pairs = TYPES.flatMap((has) =>
    TYPES.map((wants) => ({ has, wants, fits: FILLS[has].includes(wants) })),
  );
  const fits = pairs.filter((pair) => pair.fits);
  for (let from = 0; from < fits.length; from += 64) {
    const some = fits.slice(from, from + 64);
    const fields = some.map(({ has, wants }, i) => `@name("x${has}") f${i}: ${wants};`);
    const source = `
import { Decimal, Text, Time, out } from "hallelujah";
@record class Row { ${fields.join(" ")} }
export function each(row: Row): void { out.emit(row); }`;
    const { emitted, bad } = await visit(owners.all, keep, await buildKernel(kernelOf("emit-types", source)));
    assert.is(bad, 0);
    const [row, ...others] = parseLines(emitted);
    assert.equal(others, [row, row]);
    some.forEach(({ has, wants }, i) => {
      const value = VALUE[has] ?? 5;
      const number = has === "bool" && wants !== "bool" ? 1 : value;
      const text = has === "Decimal" ? "5.000000" : String(value); // with all its digits, as from a file
      assert.equal(row[`f${i}`], wants === "Text" ? text : number, `${has} as ${wants}`);
    });
  }
  const [set] = rowSets(keep);
  const rows = new Rows(owners.all[0].shard.kernel.memory, set);
  for (const { has, wants } of pairs.filter((pair) => !pair.fits)) {
    const wish = { name: `x${has}`, type: FIELD_TYPES[wants].column, written: wants, optional: false };
    try {
      void new VisitColumns("the dataset rows", rows, [wish]);
      assert.unreachable(`${has} as ${wants}`);
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      assert.is(code, "column-type");
      assert.match(message, `"x${has}" is ${has}, but the field wants ${wish.type}`);
    }
  }
});

test("values that do not fit a narrower type are bad records; a missing field is refused, or absent", async () => {
  const keep = await buildKernel(
    kernelOf(
      "keep-n",
      `
import { Dataset } from "hallelujah";
@record class Row { n: i32; big: u64 }
const rows = new Dataset<Row>("rows");
export function each(row: Row): void { rows.add(row); }`,
    ),
  );
  const owners = new Owners(keep, 1);
  await owners.add('{"n":5,"big":1}\n{"n":300,"big":18446744073709551615}\n{"n":-1,"big":2}\n');
  const narrow = await buildKernel(
    kernelOf(
      "narrow",
      `
import { Optional, Text, out } from "hallelujah";
@record class Row { n: u8; other: Optional<Text> }
export function each(row: Row): void { out.emit(row); }`,
    ),
  );
  const answer = await visit(owners.all, keep, narrow);
  assert.equal([answer.emitted, answer.visited, answer.bad], ['{"n":5,"other":null}\n', 1, 2]);
  const refused = async (field: string, code: string) => {
    const source = `
import { out } from "hallelujah";
@record class Row { ${field} }
export function each(row: Row): void { out.emit(row); }`;
    const other = await buildKernel(kernelOf("other", source));
    try {
      await visit(owners.all, keep, other);
      assert.unreachable(field);
    } catch (error) {
      assert.is((error as { code: string }).code, code);
    }
  };
  await refused("other: f64", "column-missing");
  await refused("big: i64", "column-value"); // 2^64 - 1 is none
});

test("a frame whose rows pass twelve mebibytes comes in parts, and every row is there once", async () => {
  const keep = await buildKernel(
    kernelOf(
      "keep-long",
      `
import { Dataset, Text } from "hallelujah";
@record class Row { n: i64; text: Text }
const rows = new Dataset<Row>("rows");
export function each(row: Row): void { for (let i = 0; i < 40; i++) rows.add(row); }`,
    ),
  );
  const count = await buildKernel(
    kernelOf(
      "count-long",
      `
import { Count, Sum, Table, Text } from "hallelujah";
@record class Row { n: i64; text: Text }
@state class Seen { rows: Count; bytes: Sum<i64> }
const all = new Table<i64, Seen>("all");
export function each(row: Row): void {
  const seen = all.at(row.n % 10);
  seen.rows.add();
  seen.bytes.add(row.text.length);
}`,
    ),
  );
  const lines = Array.from({ length: 30_000 }, (_, n) => `{"n":${n},"text":"${"text".repeat(10)} ${n}"}\n`);
  const owners = new Owners(keep, 2);
  await owners.add(lines.join(""));
  const { rows, visited } = await visit(owners.all, keep, count);
  assert.is(visited, 1_200_000);
  const seen = rows.map((line) => JSON.parse(line));
  assert.is(
    seen.reduce((sum, { bytes }) => sum + bytes, 0),
    40 * lines.reduce((sum, line) => sum + JSON.parse(line).text.length, 0),
  );
  assert.ok(seen.every(({ rows: of }) => of === 120_000));
});

test("another kernel takes the rows over, and goes on with them", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const more = `${KEEP.replace('new Dataset<Flight>("flights");', 'new Dataset<Flight>("flights", 0, 0);')}
const again = new Dataset<Flight>("again");`;
  const next = await buildKernel(kernelOf("keep-more", more));
  const average = await buildKernel(kernelOf("average", AVERAGE));
  const draw = random(seed);
  const state = { airports: 50, hour: 0 };
  const [swapped, still] = [new Owners(keep, 1), new Owners(keep, 1)];
  for (let frame = 0; frame < 12; frame++) {
    const lines = flightLines(draw, 500, state);
    await swapped.add(lines);
    await still.add(lines);
    if (frame === 5) swapped.all[0].shard.swap(next);
  }
  assert.equal(await visit(swapped.all, keep, average), await visit(still.all, keep, average));
});

test("a few records mark a few pages, however many rows there are", async () => {
  const keep = await buildKernel(kernelOf("keep", KEEP));
  const owners = new Owners(keep, 1);
  const draw = random(seed);
  const state = { airports: 50, hour: 0 };
  for (let frame = 0; frame < 40; frame++) await owners.add(flightLines(draw, 2000, state));
  const { kernel } = owners.all[0].shard;
  const marked = async (rows: number) => {
    kernel.bytes.fill(0, map.DIRTY, map.DIRTY + 65536);
    await owners.add(flightLines(draw, rows, state));
    return dirtyPages(kernel.memory, kernel.arenaEnd).length;
  };
  assert.ok(kernel.arenaEnd / 65536 - FIRST_PAGE > 20);
  await marked(1); // it may begin a chunk
  const pages = await marked(1);
  assert.ok(pages <= 14, `${pages} pages`);
});

test.run();
