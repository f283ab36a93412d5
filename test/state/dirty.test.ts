/**
 * No page changes without a mark: random frames, moves, removals and answers go through kernels of every kind, and after each the
 * pages that were marked are saved, as a checkpoint would. What was saved must then be the memory, byte for byte.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import type { RecordField } from "../../host/compiler/descriptor.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { createMemory } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import {
  clearDirty,
  copyPages,
  dirtyPages,
  FIRST_PAGE,
  growForPages,
  PAGE_BYTES,
  pagesEnd,
  putPage,
} from "../../host/kernel/pages.ts";
import { kernelFile, kernelOf, random, seedOf } from "../run.ts";
import { Shard } from "./shard.ts";

const test = suite("assembly/state: no page changes without a mark");
const EMPTY = Buffer.alloc(PAGE_BYTES);
const MINUTE = 60_000;

/** A shard, and the pages of it that were saved. */
class Watched {
  readonly shard: Shard;
  private readonly built: BuiltKernel;
  private readonly saved = new Map<number, Buffer>();

  constructor(built: BuiltKernel, saved = new Map<number, Buffer>(), arenaEnd = 0) {
    this.built = built;
    const memory = createMemory(512 << 20);
    if (arenaEnd) growForPages(memory, arenaEnd);
    for (const [page, bytes] of saved) {
      putPage(memory, page, bytes);
      this.saved.set(page, bytes);
    }
    this.shard = new Shard(built, memory);
  }

  /** Saves what is marked; answers how many pages that were. Then nothing else may have changed. */
  save(after: string): number {
    const { memory, arenaEnd, bytes } = this.shard.kernel;
    const pages = dirtyPages(memory, arenaEnd);
    const copy = copyPages(memory, pages);
    pages.forEach((page, i) => this.saved.set(page, Buffer.from(copy, i * PAGE_BYTES, PAGE_BYTES)));
    clearDirty(memory);
    for (let page = FIRST_PAGE; page < pagesEnd(arenaEnd); page++) {
      const now = bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      const then = this.saved.get(page) ?? EMPTY;
      if (Buffer.compare(then, now) === 0) continue;
      const at = now.findIndex((byte, i) => byte !== then[i]);
      assert.unreachable(`${after}: ${(page * PAGE_BYTES + at).toString(16)} changed without a mark`);
    }
    return pages.length;
  }

  /** What would come back from the pages that were saved. */
  restored(): Watched {
    const { arenaEnd } = this.shard.kernel;
    const other = new Watched(this.built, this.saved, arenaEnd);
    assert.is(other.shard.kernel.arenaEnd, arenaEnd);
    assert.equal(dirtyPages(other.shard.kernel.memory, arenaEnd), [], "a start changes nothing");
    assert.is(Buffer.compare(arenaOf(this), arenaOf(other)), 0);
    return other;
  }
}

function arenaOf({ shard }: Watched): Uint8Array {
  return shard.kernel.bytes.subarray(map.ARENA, shard.kernel.arenaEnd);
}

const ACTIONS = ["view", "cart", "order"];

/** Records of a kernel, at random. Time goes on with them, but for some that come late. */
class Records {
  private readonly fields: RecordField[];
  private readonly draw: () => number;
  private readonly keys: number;
  private now = Date.parse("2024-05-01T00:00:00Z");

  constructor(fields: RecordField[], draw: () => number, keys: number) {
    this.fields = fields;
    this.draw = draw;
    this.keys = keys;
  }

  below(count: number): number {
    return Math.floor(this.draw() * count);
  }

  pass(ms: number): void {
    this.now += ms;
  }

  lines(count: number): string {
    return Array.from({ length: count }, () => `${this.line()}\n`).join("");
  }

  private line(): string {
    const record: Record<string, unknown> = {};
    for (const field of this.fields) {
      if (!field.optional || this.draw() < 0.8) record[field.source] = this.value(field);
    }
    return JSON.stringify(record);
  }

  private value({ name, type }: RecordField): unknown {
    if (type === "Time") {
      this.now += this.below(40);
      const late = this.draw() < 0.05 ? this.below(90 * MINUTE) : this.below(1000);
      return new Date(this.now - late).toISOString();
    }
    if (type === "bool") return this.draw() < 0.5;
    if (type !== "Text") return /^[iu](8|16|32)$/.test(type) ? this.below(100) : this.below(this.keys);
    if (name === "action") return ACTIONS[this.below(3)];
    if (name === "line") return this.logLine();
    return this.text();
  }

  private text(): string {
    const size = this.draw();
    const key = `key ${this.below(this.keys)}`;
    if (size < 0.8) return key;
    if (size < 0.999)
      return `${key}${" with a name that is longer than what an entry holds".repeat(1 + this.below(3))}`;
    return `${key}${"-".repeat(this.below(100_000))}`;
  }

  private logLine(): string {
    const path = `/${this.below(this.keys)}`;
    const status = 200 + this.below(300);
    return `10.0.0.${this.below(256)} - - [10/Oct/2000:13:55:36 -0700] "GET ${path} HTTP/1.0" ${status} ${this.below(1e6)} "-" "agent ${this.below(900)}"`;
  }
}

const ALL = `
  count: Count; sum: Sum; least: Min<i64>; most: Max; stats: Stats; first: First<Text>; last: Last<Text>; since: First<i64>;
  texts: Distinct; values: Quantiles; top: Top<Text>; numbers: Top<i64>;`;
const ADD = (record: string, state: string) => `
  ${state}.count.add(); ${state}.sum.add(${record}.x); ${state}.least.add(${record}.n); ${state}.most.add(${record}.x); ${state}.stats.add(${record}.x);
  ${state}.first.add(${record}.text); ${state}.last.add(${record}.text); ${state}.since.add(${record}.n); ${state}.texts.add(${record}.text);
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

/** One of the things that happen to a shard between two checkpoints. */
async function happen(watched: Watched, other: Watched, records: Records): Promise<string> {
  const { shard } = watched;
  const from = records.below(256);
  const to = Math.min(256, from + 1 + (records.below(4) ? 0 : records.below(40)));
  switch (records.below(13)) {
    case 0:
      await shard.add(records.lines(800));
      return "many records";
    case 1:
      shard.remove(from, to);
      return "a removal";
    case 2:
      shard.give(other.shard, from, to);
      return "partitions given";
    case 3:
      other.shard.give(shard, 0, 256);
      return "partitions taken";
    case 4:
      shard.rows();
      return "an answer";
    case 5:
      records.pass(records.below(30 * MINUTE));
      await shard.add(records.lines(1));
      return "time";
    case 6:
      await shard.add(records.lines(60));
      return "some records";
    case 7:
      records.pass(records.below(MINUTE));
      await shard.add(records.lines(1), 0, 0);
      return "a frame for others, which only says how time passes";
    default:
      await shard.add(records.lines(1 + records.below(2)));
      return "a record";
  }
}

async function walk(
  file: string,
  keys: number,
  first: number,
  steps: number,
  draw: () => number,
): Promise<void> {
  const built = await buildKernel(file);
  const records = new Records(built.descriptor.input.fields, draw, keys);
  const watched = new Watched(built);
  const other = new Watched(built);
  watched.save("a start");
  for (let rest = first; rest > 0; rest -= 2000) await watched.shard.add(records.lines(Math.min(rest, 2000)));
  watched.save("the first records");
  for (let i = 0; i < steps; i++) {
    const what = await happen(watched, other, records);
    watched.save(what);
    other.save(`the other side of ${what}`);
  }
  const back = watched.restored();
  for (let i = 0; i < 5; i++) {
    if (i === 3) records.pass(45 * MINUTE);
    const lines = records.lines(i % 2 ? 2 : 500);
    assert.is(await back.shard.add(lines), await watched.shard.add(lines), "both emit the same");
    back.save("records after a restart");
  }
  assert.equal(back.shard.rows(), watched.shard.rows());
}

const seed = seedOf("dirty pages");

const KERNELS: [name: string, source: string, keys: number, first: number, steps: number][] = [
  ["sketches", SKETCHES, 5000, 10_000, 150],
  ["folded", FOLDED, 5000, 10_000, 150],
  ["plain", PLAIN, 40_000, 30_000, 150],
  ["panes", PANES, 3000, 6000, 150],
  ["folded-windows", FOLDED_WINDOWS, 400, 4000, 150],
  ["sessions", SESSIONS, 600, 6000, 150],
  ["timers", TIMERS, 60_000, 30_000, 200],
  ["windows", WINDOWS, 30_000, 20_000, 200],
];

for (const [name, source, keys, first, steps] of KERNELS) {
  test(`${name}: what is marked is what changed, and all that has to come back`, async () => {
    await walk(kernelOf(name, source), keys, first, steps, random(seed));
  });
}

test("the examples, a kernel of every aggregate, and one without a table", async () => {
  const folder = join(packageRoot, "examples");
  const examples = readdirSync(folder).filter((name) => name.endsWith(".ts"));
  assert.ok(examples.length >= 9);
  for (const file of [
    ...examples.map((name) => join(folder, name)),
    kernelFile("everything"),
    kernelFile("types"),
  ]) {
    await walk(file, 3000, 4000, 40, random(seed));
  }
});

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
