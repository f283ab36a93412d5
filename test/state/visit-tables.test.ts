/** Kernels that visit the entries of tables: what `query` shows of them, each once, whatever owners there are and however they move. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { TableSupply } from "../../host/jah/visit-table.ts";
import type { FieldType } from "../../host/kernel/columns.ts";
import { hashWord } from "../../host/kernel/entries.ts";
import { encodeKey } from "../../host/kernel/keys.ts";
import { partitionOf } from "../../host/kernel/partitions.ts";
import { tableColumns } from "../../host/kernel/table-columns.ts";
import { kernelOf, parseLines, random, type Row, seedOf } from "../run.ts";
import { Owners, rowsOf, tableSet, visit } from "./datasets.ts";

const test = suite("host/jah/visit-table.ts: visits of tables");
const seed = seedOf("visit-tables");

/** Tables by keys of every kind, with every aggregate that can be read. */
const KEYS: [type: string, key: string][] = [
  ["Text", "r.t"],
  ["i32", "r.i"],
  ["bool", "r.b"],
  ["Triple<Text, Text, Time>", "triple(r.t, r.v, r.at)"],
  ["Triple<u64, Text, Decimal>", "triple(r.u, r.t, r.d)"],
];
const KEEP_ALL = `
import { Count, Decimal, First, Last, Max, Min, Optional, Stats, Sum, Table, Text, Time, Triple, triple } from "hallelujah";
@record class R { t: Text; v: Text; i: i32; u: u64; b: bool; at: Time; d: Decimal; x: f64; maybe: Optional<f64> }
@state class S {
  n: Count; sf: Sum; si: Sum<i32>; su: Sum<u8>; sd: Sum<Decimal>; minT: Min<Text>; maxT: Max<Text>; minAt: Min<Time>; maxD: Max<Decimal>;
  maxF: Max<f32>; firstI: First<i16>; lastT: Last<Text>; lastU: Last<u64>; some: Stats; none: Stats; least: Min;
}
${KEYS.map(([type], i) => `const t${i} = new Table<${type}, S>("t${i}");`).join("\n")}
function keep(s: S, r: R): void {
  s.n.add(); s.sf.add(r.x); s.si.add(r.i); s.su.add(<u8>1); s.sd.add(r.d);
  s.maxT.add(r.v); s.minAt.add(r.at); s.maxD.add(r.d); s.maxF.add(<f32>r.x); s.firstI.add(<i16>r.i); s.lastT.add(r.t); s.lastU.add(r.u);
  s.some.add(r.x);
  if (r.maybe.present) { s.least.add(r.maybe.value); s.none.add(r.maybe.value); s.minT.add(r.v); }
}
export function each(r: R): void {
${KEYS.map(([, key], i) => `  keep(t${i}.at(${key}), r);`).join("\n")}
}`;

const TEXTS = [
  "",
  "a",
  "Ünï",
  "with \u0000 in it",
  "\u0000",
  `long ${"x".repeat(60)}`,
  `long with zeros \u0000${"y\u0000".repeat(40)} and more`,
];

function lineOf(draw: () => number, kinds: number): string {
  const n = Math.floor(draw() * kinds);
  const text = TEXTS[n % TEXTS.length] + (n < TEXTS.length ? "" : String(n));
  return JSON.stringify({
    t: text,
    v: TEXTS[Math.floor(draw() * TEXTS.length)],
    i: (n - 100) * 21_000_000,
    u: n % 3 ? n : 2 ** 60 + n * 4096,
    b: n % 2 === 0,
    at: new Date(Date.parse("1969-06-01T00:00:00Z") + n * 86_400_000).toISOString(),
    d: (n - 60) / 8,
    x: (draw() - 0.5) * 1e6,
    ...(draw() < 0.2 ? { maybe: draw() } : {}),
  });
}

const frameOf = (draw: () => number, rows: number, kinds: number) =>
  `${Array.from({ length: rows }, () => lineOf(draw, kinds)).join("\n")}\n`;

/** A kernel that emits each row as it is: field c0 for the first column, and so on. */
function emitting(columns: { name: string; type: string; optional: boolean }[]): string {
  const fields = columns.map(({ name, type, optional }, i) => {
    return `  @name(${JSON.stringify(name)}) c${i}: ${optional ? `Optional<${type}>` : type};`;
  });
  return `import { Decimal, Optional, Text, Time, out } from "hallelujah";
@record class Row {\n${fields.join("\n")}\n}
export function each(row: Row): void { out.emit(row); }`;
}

/** A row of `query` as such a kernel emits it. */
function flattened(row: Row, columns: { name: string }[]): Row {
  return Object.fromEntries(
    columns.map(({ name }, i) => [
      `c${i}`,
      name.split(".").reduce((value, part) => value?.[part], row) ?? null,
    ]),
  );
}

const sorted = (rows: Row[]) => rows.map((row) => JSON.stringify(row)).toSorted();

test("of every key and aggregate a visit meets what query shows, for any number of owners", async () => {
  const keep = await buildKernel(kernelOf("keep-tables", KEEP_ALL));
  const draw = random(seed);
  const frames = Array.from({ length: 6 }, (_, i) => frameOf(draw, 300, 30 + 60 * i));
  for (const owners of [1, 3]) {
    const all = new Owners(keep, owners);
    for (const frame of frames) await all.add(frame);
    for (const [table] of KEYS.entries()) {
      const set = tableSet(keep, `t${table}`);
      const columns = tableColumns(set);
      const emit = await buildKernel(kernelOf(`emit-${table}`, emitting(columns)));
      const answer = await visit(all.all, keep, emit, { table: set });
      const shown = all.all
        .flatMap(({ shard }) => rowsOf(shard.kernel, table))
        .map((line) => flattened(JSON.parse(line), columns));
      assert.ok(shown.length > 1);
      assert.equal(sorted(parseLines(answer.emitted)), sorted(shown), `${KEYS[table][0]}, ${owners} owners`);
      assert.is(answer.visited, shown.length);
      assert.is(answer.bad, 0);
    }
  }
});

const STATIONS = `
import { Stats, Table, Text } from "hallelujah";
@record class Reading { station: Text; area: i32; level: f64 }
@state class Levels { level: Stats }
const stations = new Table<Text, Levels>("stations");
export function each(reading: Reading): void { stations.at(reading.station).level.add(reading.level); }`;
/** Groups the stations by how many readings they have; floats are added up, so that their order shows. */
const BY_COUNT = `
import { Count, Last, Sum, Table, Text, Top } from "hallelujah";
@record class Station { key: Text; @name("level.count") readings: i32; @name("level.mean") mean: f64 }
@state class Group { stations: Count; means: Sum; last: Last<Text>; names: Top<Text> }
const groups = new Table<i32, Group>("groups");
export function each(station: Station): void {
  const group = groups.at(station.readings % 5);
  group.stations.add();
  group.means.add(station.mean);
  group.last.add(station.key);
  group.names.add(station.key);
}`;

const EMIT_STATION = `
import { Text, out } from "hallelujah";
@record class Station { key: Text; @name("level.count") readings: i64 }
export function each(station: Station): void { out.emit(station); }`;

const readings = (draw: () => number, count: number, stations: number) =>
  Array.from({ length: count }, () => {
    const n = Math.floor(draw() * stations);
    return `{"station":"S${n}","area":${n % 7},"level":${draw()}}\n`;
  }).join("");

test("the answer is the same to the last bit whoever owns the entries, also after they moved", async () => {
  const keep = await buildKernel(kernelOf("stations", STATIONS));
  const group = await buildKernel(kernelOf("by-count", BY_COUNT));
  const emit = await buildKernel(kernelOf("emit-station", EMIT_STATION));
  const table = tableSet(keep, "stations");
  const answers: string[] = [];
  for (const owners of [1, 2, 5]) {
    const draw = random(seed);
    const all = new Owners(keep, owners);
    for (let i = 0; i < 12; i++) await all.add(readings(draw, 4000, 20_000));
    if (owners > 1) all.give(0, 20);
    if (owners > 2) all.give(2, all.all[2].from + 13);
    const { rows, visited } = await visit(all.all, keep, group, { table });
    assert.ok(visited > 15_000);
    const { emitted } = await visit(all.all, keep, emit, { table });
    answers.push(`${rows.join("\n")}\n${emitted}`);
  }
  assert.ok(answers[1] === answers[0], "two owners answer as one does");
  assert.ok(answers[2] === answers[0], "five owners answer as one does");
});

test("the entries of the frame at which it began are met, each once and as it is at that moment, while the table grows", async () => {
  const keep = await buildKernel(kernelOf("stations", STATIONS));
  const emit = await buildKernel(kernelOf("emit-station", EMIT_STATION));
  const draw = random(seed);
  const all = new Owners(keep, 2);
  // More than are looked at in one step.
  for (let i = 0; i < 20; i++) await all.add(readings(draw, 6000, 100_000));
  const counts = () =>
    new Map(
      all.all
        .flatMap(({ shard }) => rowsOf(shard.kernel, 0))
        .map((line) => {
          const { key, level } = JSON.parse(line);
          return [key as string, level.count as number];
        }),
    );
  const before = counts();
  let frames = 0;
  const { emitted } = await visit(all.all, keep, emit, {
    table: tableSet(keep, "stations"),
    // The index grows meanwhile.
    between: async () => {
      if (frames++ < 30) await all.add(readings(draw, 3000, 100_000 + frames * 20_000));
    },
  });
  const after = counts();
  assert.ok(before.size > 65_536 && after.size > 1.5 * before.size);
  const met = new Map<string, number>();
  for (const { key, readings: count } of parseLines(emitted)) {
    assert.not.ok(met.has(key), `${key} was met twice`);
    met.set(key, count);
    assert.ok(count >= before.get(key)! && count <= after.get(key)!, key);
  }
  assert.equal([...met.keys()].toSorted(), [...before.keys()].toSorted());
  assert.ok(
    [...met].some(([key, count]) => count > before.get(key)!),
    "some have changed meanwhile",
  );
});

const WINDOWS = `
import { Count, Sum, Text, Time, Window, Windows } from "hallelujah";
@record class Event { @time at: Time; who: Text; n: i32 }
@state class Seen { events: Count; n: Sum<i64> }
const hours = new Windows<Text, Seen>("hours", 3_600_000);
export function each(event: Event): void {
  const seen = hours.at(event.who, event.at);
  seen.events.add();
  seen.n.add(event.n);
}
export function close(window: Window, key: Text, seen: Seen): void {}`;
const EMIT_WINDOW = `
import { Text, Time, out } from "hallelujah";
@record class Span { @name("key.0") start: Time; @name("key.1") who: Text; events: i64; n: i64 }
export function each(span: Span): void { out.emit(span); }`;

test("windows that are open are met once, also while others close and entries take their places", async () => {
  const keep = await buildKernel(kernelOf("windows", WINDOWS));
  const emit = await buildKernel(kernelOf("emit-window", EMIT_WINDOW));
  const draw = random(seed);
  const all = new Owners(keep, 2);
  const start = Date.parse("2024-01-01T00:00:00Z");
  const events = (hour: number, count: number) =>
    Array.from({ length: count }, () => {
      const at = new Date(start + hour * 3_600_000 + Math.floor(draw() * 3_500_000)).toISOString();
      return `{"at":"${at}","who":"w${Math.floor(draw() * 400)}","n":${Math.floor(draw() * 100)}}\n`;
    }).join("");
  await all.add(events(0, 2000));
  const open = all.all
    .flatMap(({ shard }) => rowsOf(shard.kernel, 0))
    .map((line) =>
      flattened(JSON.parse(line), [{ name: "key.0" }, { name: "key.1" }, { name: "events" }, { name: "n" }]),
    );
  const { emitted } = await visit(all.all, keep, emit, { table: tableSet(keep, "hours") });
  assert.equal(
    sorted(parseLines(emitted).map(({ start: c0, who: c1, events: c2, n: c3 }) => ({ c0, c1, c2, c3 }))),
    sorted(open),
  );
  let hour = 0;
  const moving = await visit(all.all, keep, emit, {
    table: tableSet(keep, "hours"),
    between: async () => {
      if (hour < 40) await all.add(events(++hour, 300));
    },
  });
  const met = new Set<string>();
  for (const { start: at, who } of parseLines(moving.emitted)) {
    assert.not.ok(met.has(`${at} ${who}`), `${at} ${who} was met twice`);
    met.add(`${at} ${who}`);
  }
  assert.ok(met.size > 100);
});

test("sessions that are open, and values that fold keeps as they are, are met as query shows them", async () => {
  const keep = await buildKernel(
    kernelOf(
      "folded",
      `import { Count, Decimal, Sessions, Text, Time, Window } from "hallelujah";
@record class Event { @time at: Time; who: Text; x: f64; d: Decimal }
@state class Open { events: Count; n: i32; small: u8; half: f32; whole: f64; odd: bool; last: Time; big: u64; cents: Decimal }
const open = new Sessions<Text, Open>("open", 3_600_000);
export function key(event: Event): Text { return event.who; }
export function fold(event: Event, open: Open): void {
  open.events.add();
  open.n -= 3;
  open.small = <u8>open.n;
  open.half = <f32>event.x;
  open.whole += event.x;
  open.odd = !open.odd;
  open.last = event.at;
  open.big = u64.MAX_VALUE / 3 + <u64>open.events.value;
  open.cents = event.d;
}
export function close(window: Window, who: Text, open: Open): void {}`,
    ),
  );
  const columns = tableColumns(tableSet(keep, "open"));
  const emit = await buildKernel(kernelOf("emit-open", emitting(columns)));
  const all = new Owners(keep, 2);
  const draw = random(seed);
  for (let frame = 0; frame < 4; frame++) {
    const lines = Array.from({ length: 200 }, (_, i) => {
      const at = new Date(Date.parse("2024-01-01T00:00:00Z") + (frame * 200 + i) * 1000).toISOString();
      return `{"at":"${at}","who":"w${Math.floor(draw() * 70)}","x":${draw()},"d":${(i - 100) / 4}}\n`;
    });
    await all.add(lines.join(""));
  }
  const { emitted, bad } = await visit(all.all, keep, emit, { table: tableSet(keep, "open") });
  const shown = all.all
    .flatMap(({ shard }) => rowsOf(shard.kernel, 0))
    .map((line) => flattened(JSON.parse(line), columns));
  assert.ok(shown.length > 50);
  assert.is(bad, 0);
  assert.equal(sorted(parseLines(emitted)), sorted(shown));
});

test("words have the hashes that kernels give them", () => {
  const draw = random(seed);
  const word = new DataView(new ArrayBuffer(8));
  for (let i = 0; i < 2000; i++) {
    for (const half of [0, 4]) word.setUint32(half, i % 7 ? draw() * 2 ** 32 : i % 2 ? 0xffff_ffff : i, true);
    const partition = partitionOf(["u64"], new Uint8Array(word.buffer), false);
    assert.is(hashWord(word.getUint32(0, true), word.getUint32(4, true)) >>> 24, partition);
  }
});

test("texts that have to be copied are right where a partition is laid out in several parts", async () => {
  const keep = await buildKernel(
    kernelOf("seconds", WINDOWS.replace("@time at", "@time(1_000_000_000) at").replace("3_600_000", "1000")),
  );
  const group = await buildKernel(
    kernelOf(
      "by-who",
      `import { Count, Table, Text } from "hallelujah";
@record class Span { @name("key.1") who: Text }
@state class Group { spans: Count }
const groups = new Table<Text, Group>("groups");
export function each(span: Span): void { groups.at(span.who).spans.add(); }`,
    ),
  );
  // The partition of a window is that of what stands behind its time.
  const name = (i: number) => `\u0000 ${i} ${"z".repeat(40)}\u0000`;
  const partition = (i: number) =>
    partitionOf(["Time", "Text"], encodeKey(["Time", "Text"], ["2024-01-01T00:00:00Z", name(i)]), true);
  const names = Array.from({ length: 2000 }, (_, i) => i)
    .filter((i) => partition(i) === partition(0))
    .map(name);
  assert.ok(names.length > 3);
  const all = new Owners(keep, 1);
  const start = Date.parse("2024-01-01T00:00:00Z");
  const spans = 20_000;
  for (let from = 0; from < spans; from += 2000) {
    const lines = Array.from({ length: 2000 }, (_, i) => {
      const at = new Date(start + (from + i) * 1000).toISOString();
      return `${JSON.stringify({ at, who: names[(from + i) % names.length], n: 1 })}\n`;
    });
    await all.add(lines.join(""));
  }
  const { rows, visited } = await visit(all.all, keep, group, { table: tableSet(keep, "hours") });
  assert.is(visited, spans);
  const wanted = names.map((key, i) => ({
    table: "groups",
    key,
    spans: Math.ceil((spans - i) / names.length),
  }));
  assert.equal(sorted(rows.map((row) => JSON.parse(row))), sorted(wanted));
});

test("what cannot be read of a table is refused, by its name; other columns are read", async () => {
  const keep = await buildKernel(
    kernelOf(
      "sketches",
      `import { Count, Distinct, Quantiles, Table, Text, Top } from "hallelujah";
@record class R { t: Text; x: f64 }
@state class S { n: Count; kinds: Distinct; spread: Quantiles; most: Top<Text> }
const kept = new Table<Text, S>("table");
export function each(r: R): void {
  const s = kept.at(r.t);
  s.n.add(); s.kinds.add(r.x); s.spread.add(r.x); s.most.add(r.t);
}`,
    ),
  );
  const all = new Owners(keep, 1);
  await all.add('{"t":"a","x":1}\n{"t":"a","x":2}\n{"t":"b","x":1}\n');
  const table = tableSet(keep, "table");
  const { memory } = all.all[0].shard.kernel;
  const refusal = (name: string, type: FieldType): { code: string; message: string } => {
    try {
      new TableSupply(memory, table, [{ name, type, optional: false, written: "" }], 0, 256);
    } catch (error) {
      return error as { code: string; message: string };
    }
    return assert.unreachable(`${name} is read`) as never;
  };
  for (const [name, type] of [
    ["kinds", "Distinct"],
    ["spread.p90", "Quantiles"],
    ["most", "Top"],
  ]) {
    const { code, message } = refusal(name, "i64");
    assert.is(code, "column-unsupported", message);
    assert.match(message, new RegExp(`the table table.*"${name}" is of type ${type}`));
  }
  const missing = refusal("t", "text");
  assert.is(missing.code, "column-missing", missing.message);
  assert.match(missing.message, /key, n, kinds, spread\.p50/);
  assert.is(refusal("key", "i64").code, "column-type");
  const source = `import { Optional, Text, out } from "hallelujah";
@record class Row { key: Text; n: f64; @name("nothing") other: Optional<Text> }
export function each(row: Row): void { out.emit(row); }`;
  const { emitted } = await visit(all.all, keep, await buildKernel(kernelOf("some", source)), { table });
  assert.equal(sorted(parseLines(emitted)), [
    '{"key":"a","n":2,"other":null}',
    '{"key":"b","n":1,"other":null}',
  ]);
});

test("values become what fields want, as those of files do", async () => {
  const keep = await buildKernel(kernelOf("keep-tables", KEEP_ALL));
  const all = new Owners(keep, 1);
  const draw = random(seed);
  await all.add(frameOf(draw, 200, 50));
  const source = `import { Decimal, Text, out } from "hallelujah";
@record class Row { key: Text; @name("n") text: Text; @name("n") float: f32; @name("sd") total: f64; @name("minAt") time: Text }
export function each(row: Row): void { out.emit(row); }`;
  const emit = await buildKernel(kernelOf("converts", source));
  const { emitted } = await visit(all.all, keep, emit, { table: tableSet(keep, "t1") });
  const rows = new Map(
    rowsOf(all.all[0].shard.kernel, 1).map((line) => {
      const row = JSON.parse(line);
      return [String(row.key), row];
    }),
  );
  const found = parseLines(emitted);
  assert.is(found.length, rows.size);
  for (const { key, text, float, total, time } of found) {
    const row = rows.get(key);
    assert.equal(
      [text, float, total, Date.parse(time)],
      [String(row.n), row.n, row.sd, Date.parse(row.minAt)],
    );
  }
});

test.run();
