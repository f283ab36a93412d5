/** No page of the arena changes without a mark, whatever a kernel keeps; see watched.ts. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { FIRST_PAGE, PAGE_BYTES, pagesEnd } from "../../host/kernel/pages.ts";
import { kernelOf, random, seedOf } from "../run.ts";
import { MINUTE, Watched, walk } from "./watched.ts";

const test = suite("assembly/state: no page changes without a mark");

const ALL = `
  count: Count; sum: Sum; least: Min<i64>; most: Max; stats: Stats; first: First<Text>; last: Last<Text>; since: First<i64>;
  low: Min<Text>; high: Max<Text>;
  texts: Distinct; values: Quantiles; top: Top<Text>; numbers: Top<i64>;`;
const ADD = (record: string, state: string) => `
  ${state}.count.add(); ${state}.sum.add(${record}.x); ${state}.least.add(${record}.n); ${state}.most.add(${record}.x); ${state}.stats.add(${record}.x);
  ${state}.first.add(${record}.text); ${state}.last.add(${record}.text); ${state}.since.add(${record}.n); ${state}.low.add(${record}.text); ${state}.high.add(${record}.text); ${state}.texts.add(${record}.text);
  ${state}.values.add(${record}.x); ${state}.top.add(${record}.text); ${state}.numbers.add(${record}.n);`;
const HEAD = `
import {
  Count, Distinct, First, Last, Max, Min, Quantiles, Sessions, Stats, Sum, Table, Text, Time, Top, Window, Windows, out,
} from "hallelujah";
@record class Event { @time(60_000) at: Time; text: Text; n: i64; x: f64 }
@record class Closed { text: Text; start: Time; events: u64; texts: u64 }`;
const CLOSE = (key: string, text: string) => `
export function close(window: Window, key: ${key}, state: All): void {
  const closed = new Closed();
  closed.text = ${text};
  closed.start = window.start;
  closed.events = state.count.value;
  closed.texts = state.texts.value;
  out.emit(closed);
  for (let n: i64 = 0; n < 60; n++) {
    state.texts.add(n);
    state.values.add(<f64>n);
    state.numbers.add(n);
  }
}`;

const SKETCHES = `
import { Count, Distinct, First, Last, Max, Min, Quantiles, Stats, Sum, Table, Text, Top } from "hallelujah";
@record class Row { n: i64; x: f64; text: Text }
@state class All { ${ALL} }
const all = new Table<i64, All>("all");
export function each(row: Row): void { const state = all.at(row.n % 300); ${ADD("row", "state")} }`;

const FOLDED = `
import { Count, Distinct, First, Last, Max, Min, Quantiles, Stats, Sum, Table, Text, Top } from "hallelujah";
@record class Row { n: i64; x: f64; text: Text }
@state class All { step: u8; ${ALL} behind: f64 }
const all = new Table<i64, All>("all");
export function key(row: Row): i64 { return row.n % 300; }
export function fold(row: Row, state: All): void {
  state.step++;
  state.behind = row.x;
  if (row.n % 3 == 0) return;
  ${ADD("row", "state")}
}`;

const PLAIN = `
import { Table, Text } from "hallelujah";
@record class Row { n: i64; x: f64; text: Text }
@state class Kept { a: i64; b: f64; c: i64; d: i64; e: i64; f: i64; g: i64; h: i64; i: i64 }
const all = new Table<Text, Kept>("all");
export function key(row: Row): Text { return row.text; }
export function fold(row: Row, state: Kept): void { if (row.n & 1) state.a++; else state.i = row.n; }`;

const PANES = `${HEAD}
@state class All { ${ALL} }
const all = new Windows<i64, All>("all", 60 * ${MINUTE}, 20 * ${MINUTE});
export function each(event: Event): void { const state = all.at(event.n % 200, event.at); ${ADD("event", "state")} }
${CLOSE("i64", 'Text.of("window")')}`;

const FOLDED_WINDOWS = `${HEAD}
@state class All { ${ALL} seen: i64 }
const all = new Windows<Text, All>("all", 40 * ${MINUTE}, 20 * ${MINUTE});
export function key(event: Event): Text { return event.text; }
export function fold(event: Event, state: All): void { state.seen++; if (event.n % 4 == 0) return; ${ADD("event", "state")} }
${CLOSE("Text", "key")}`;

const SESSIONS = `${HEAD}
@state class All { ${ALL} seen: i64 }
const all = new Sessions<i64, All>("all", 30 * ${MINUTE});
export function key(event: Event): i64 { return event.n; }
export function fold(event: Event, state: All): void { state.seen++; if (event.n % 4 == 0) return; ${ADD("event", "state")} }
${CLOSE("i64", 'Text.of("session")')}`;

/** Short sessions and windows of many keys: heaps of timers that take several pages. */
const TIMERS = `${HEAD}
@state class Seen { last: i64 }
const seen = new Sessions<i64, Seen>("seen", 5 * ${MINUTE});
export function key(event: Event): i64 { return event.n; }
export function fold(event: Event, state: Seen): void { state.last = event.n; }
export function close(window: Window, key: i64, state: Seen): void { state.last = -1; }`;

const WINDOWS = `${HEAD}
@state class Seen { count: Count }
const seen = new Windows<i64, Seen>("seen", 9 * ${MINUTE}, 3 * ${MINUTE});
export function each(event: Event): void { seen.at(event.n, event.at).count.add(); }
export function close(window: Window, key: i64, state: Seen): void {}`;

/** Rows of which few are kept, with texts that come and go. */
const ROWS = `
import { Count, Dataset, Optional, Table, Text } from "hallelujah";
@record class Row { n: i64; x: f64; text: Text; lacking: Optional<Text> }
@record class Other { text: Text; n: u8 }
@state class Seen { count: Count }
const seen = new Table<i64, Seen>("seen");
const rows = new Dataset<Row>("rows");
const few = new Dataset<Other>("few", 8000);
export function each(row: Row): void {
  seen.at(row.n % 100).count.add();
  rows.add(row);
  const other = new Other();
  other.text = row.text;
  other.n = <u8>row.n;
  for (let i: i64 = 0; i < (row.n & 15); i++) few.add(other);
}`;

const seed = seedOf("dirty pages");

const KERNELS: [name: string, source: string, keys: number, first: number, steps: number][] = [
  ["sketches", SKETCHES, 5000, 10_000, 100],
  ["folded", FOLDED, 5000, 10_000, 100],
  ["rows", ROWS, 100_000, 20_000, 100],
  ["plain", PLAIN, 40_000, 30_000, 100],
  ["panes", PANES, 3000, 6000, 100],
  ["folded-windows", FOLDED_WINDOWS, 400, 4000, 100],
  ["sessions", SESSIONS, 600, 6000, 100],
  ["timers", TIMERS, 60_000, 30_000, 120],
  ["windows", WINDOWS, 30_000, 20_000, 120],
];

for (const [name, source, keys, first, steps] of KERNELS) {
  test(`${name}: what is marked is what changed, and all that has to come back`, async () => {
    await walk(kernelOf(name, source), keys, first, steps, random(seed));
  });
}

const COUNTS = `
import { Count, Table } from "hallelujah";
@record class Row { n: i64 }
@state class Seen { count: Count }
const seen = new Table<i64, Seen>("seen");
export function each(row: Row): void { seen.at(row.n).count.add(); }`;

/** As assembly/hash.ts has it. */
function hashWord(key: bigint): number {
  const word = (x: bigint) => BigInt.asUintN(64, x);
  let h = word(key * 0x9e3779b97f4a7c15n);
  h ^= h >> 32n;
  return Number(word(h * 0xd6e8feb86659fd93n) >> 32n);
}

const rowsOf = (keys: Iterable<number>) => [...keys].map((n) => `{"n":${n}}\n`).join("");

test("slots of the index that move over the edge of a page", async () => {
  const built = await buildKernel(kernelOf("counts", COUNTS));
  const watched = new Watched(built);
  const { shard } = watched;
  await shard.add(rowsOf(Array.from({ length: 20_000 }, (_, i) => i)));
  shard.remove(0, 256);
  watched.save("all removed");
  // The home of the first table starts with the address of its index, and its slots less one.
  const index = shard.kernel.u32(map.ARENA + 0x100);
  const mask = shard.kernel.u32(map.ARENA + 0x104);
  const edge = (Math.ceil(index / PAGE_BYTES) * PAGE_BYTES - index) / 8;
  const atEdge: number[] = [];
  for (let n = 100_000; atEdge.length < 48; n++) {
    const slot = hashWord(BigInt(n)) & mask;
    if (slot >= edge - 24 && slot < edge + 8) atEdge.push(n);
  }
  for (let round = 0; round < 12; round++) {
    for (const n of atEdge) {
      await shard.add(rowsOf([n]));
      watched.save("one more");
    }
    for (let i = 0; i < 256; i++) {
      const partition = (i * 37 + round * 11) & 255;
      shard.remove(partition, partition + 1);
      watched.save("one less");
    }
    assert.is(shard.kernel.exports.size(0), 0);
  }
});

test("sessions that end one by one: the entry that moves, and its timer", async () => {
  const watched = new Watched(await buildKernel(kernelOf("timers", TIMERS)));
  const event = (second: number, n: number) => {
    const at = new Date(1_714_521_600_000 + second * 1000).toISOString();
    return `{"at":"${at}","text":"","n":${n},"x":0}\n`;
  };
  // Ends 6 minutes later, with the lateness; so that none is over yet.
  const open = 20_000;
  for (let n = 0; n < open; n += 2000) {
    const lines = Array.from({ length: 2000 }, (_, i) => event((n + i) / 100, n + i));
    await watched.shard.add(lines.join(""));
  }
  watched.save("all are open");
  assert.is(watched.shard.kernel.exports.size(0), open);
  for (let i = 0; i < 40; i++) {
    await watched.shard.add(event(360 + i / 100, open - 1));
    watched.save("one is over");
  }
  const left = watched.shard.kernel.exports.size(0);
  assert.ok(left < open && left > open - 60, `${left} are left`);
});

test("a record marks a few pages of a large state", async () => {
  const built = await buildKernel(kernelOf("counts", COUNTS));
  const watched = new Watched(built);
  await watched.shard.add(rowsOf(Array.from({ length: 100_000 }, (_, i) => i)));
  assert.ok(watched.save("all") > 30);
  const { arenaEnd } = watched.shard.kernel;
  assert.ok(pagesEnd(arenaEnd) - FIRST_PAGE > 30);
  await watched.shard.add(rowsOf([17]));
  assert.ok(watched.save("one that is there") <= 3);
  await watched.shard.add(rowsOf([170_000]));
  assert.ok(watched.save("one more") <= 5);
  assert.is(watched.save("nothing"), 0);
});

test.run();
