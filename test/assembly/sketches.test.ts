/** The sketches Distinct, Quantiles and Top keep the errors they promise, whatever the cuts, orders and addresses. */
import * as assert from "uvu/assert";
import { suite } from "uvu";
import { compile } from "./compile.ts";

const SOURCE = `
import { releaseFrame, setLasting, takeBlock, giveBlock } from "./heap";
import { cursor, setCursor, setFormat } from "./row";
import { Text } from "./text";
import { Time } from "./time";
import { Decimal } from "./decimal";
import { Pair, pair } from "./state/key";
import { Distinct } from "./state/distinct";
import { Quantiles } from "./state/quantiles";
import { Top } from "./state/top";

export function lasting(on: bool): void { setLasting(on); }
export function release(): void { releaseFrame(); }
export function take(bytes: usize): usize { return takeBlock(bytes); }
export function give(at: usize, bytes: usize): void { giveBlock(at, bytes); }

export function distinctInit(p: usize): void { changetype<Distinct>(p).init(); }
export function distinctWords(p: usize, at: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) changetype<Distinct>(p).add<i64>(load<i64>(at + (i << 3)));
}
export function distinctRange(p: usize, from: i64, n: i64): void {
  for (let i: i64 = 0; i < n; i++) changetype<Distinct>(p).add<i64>(from + i);
}
export function distinctFloats(p: usize, at: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) changetype<Distinct>(p).add<f64>(load<f64>(at + (i << 3)));
}
export function distinctTexts(p: usize, index: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) {
    const from = load<u32>(index + (i << 2));
    changetype<Distinct>(p).add<Text>(Text.view(from, load<u32>(index + (i << 2), 4) - from));
    __heap_release();
  }
}
export function distinctKinds(p: usize): void {
  const d = changetype<Distinct>(p);
  d.add<bool>(true); d.add<bool>(false); d.add<u8>(1); d.add<i32>(-1); d.add<f32>(0.5);
  d.add<Time>(Time.of(99)); d.add<Decimal>(Decimal.of(-77)); d.add<Pair<Text, i32>>(pair(Text.of("a"), 1));
  __heap_release();
}
export function distinctWrite(p: usize, o: usize): usize {
  const room = changetype<Distinct>(p).room();
  const end = changetype<Distinct>(p).write(o);
  assert(end - o <= room);
  return end;
}
export function distinctMerge(p: usize, from: usize): usize { return changetype<Distinct>(p).merge(from); }
export function distinctRender(p: usize, o: usize, format: u32): usize {
  setFormat(format, 0x2c); setCursor(o); changetype<Distinct>(p).render(); return cursor;
}
export function distinctOrder(p: usize, column: u32): f64 { return changetype<Distinct>(p).order(column); }

export function quantilesInit(p: usize): void { changetype<Quantiles>(p).init(); }
export function quantilesFloats(p: usize, at: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) changetype<Quantiles>(p).add(load<f64>(at + (i << 3)));
}
export function quantilesKinds(p: usize): void {
  const q = changetype<Quantiles>(p);
  q.add<i32>(-3); q.add<u64>(4); q.add<f32>(0.5); q.add<Decimal>(Decimal.of(1500000));
  __heap_release();
}
export function quantilesWrite(p: usize, o: usize): usize {
  const room = changetype<Quantiles>(p).room();
  const end = changetype<Quantiles>(p).write(o);
  assert(end - o <= room);
  return end;
}
export function quantilesMerge(p: usize, from: usize): usize { return changetype<Quantiles>(p).merge(from); }
export function quantilesRender(p: usize, o: usize, format: u32): usize {
  setFormat(format, 0x2c); setCursor(o); changetype<Quantiles>(p).render(); return cursor;
}
export function quantilesOrder(p: usize, column: u32): f64 { return changetype<Quantiles>(p).order(column); }
export function quantilesAt(p: usize, q: f64): f64 { return changetype<Quantiles>(p).at(q); }

${top("words", "i64")}
${top("texts", "Text")}
${top("times", "Time")}
${top("pairs", "Pair<Text, i32>")}
export function wordsAdd(p: usize, at: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) changetype<Top<i64>>(p).add(load<i64>(at + (i << 3)));
}
export function wordsMany(p: usize, x: i64, weight: u64): void { changetype<Top<i64>>(p).addMany(x, weight); }
export function timesAdd(p: usize, at: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) changetype<Top<Time>>(p).add(changetype<Time>(at + (i << 3)));
}
export function textsAdd(p: usize, index: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) {
    const from = load<u32>(index + (i << 2));
    changetype<Top<Text>>(p).add(Text.view(from, load<u32>(index + (i << 2), 4) - from));
    __heap_release();
  }
}
export function pairsAdd(p: usize, index: usize, n: u32): void {
  for (let i: usize = 0; i < n; i++) {
    const from = load<u32>(index + (i << 2));
    const text = Text.view(from, load<u32>(index + (i << 2), 4) - from);
    changetype<Top<Pair<Text, i32>>>(p).add(pair<Text, i32>(text, -<i32>text.length));
    __heap_release();
  }
}
`;

function top(name: string, type: string): string {
  return `
export function ${name}Init(p: usize): void { changetype<Top<${type}>>(p).init(); }
export function ${name}Write(p: usize, o: usize): usize {
  const room = changetype<Top<${type}>>(p).room();
  const end = changetype<Top<${type}>>(p).write(o);
  assert(end - o <= room);
  return end;
}
export function ${name}Merge(p: usize, from: usize): usize { return changetype<Top<${type}>>(p).merge(from); }
export function ${name}Render(p: usize, o: usize, format: u32): usize {
  setFormat(format, 0x2c); setCursor(o); changetype<Top<${type}>>(p).render(); return cursor;
}
export function ${name}Order(p: usize, column: u32): f64 { return changetype<Top<${type}>>(p).order(column); }
`;
}

interface Life {
  init(p: number): void;
  write(p: number, o: number): number;
  merge(p: number, from: number): number;
  render(p: number, o: number, format: number): number;
  order(p: number, column: number): number;
}

type Exports = Record<string, (...args: never[]) => number>;

const NDJSON = 0;
const CSV = 1;
const INPUT = 0x0400_0000;
const OUTPUT = 0x0600_0000;
const WRITTEN = OUTPUT + (8 << 20);
/** Entries lie here, 64 bytes each, below the input window's data. */
const ENTRIES = INPUT + (24 << 20);
const seed = Number(process.env.SEED ?? 20170608);

const { exports, memory, writeTexts } = await compile<Exports>(SOURCE, {
  options: ["--runtime", "assembly/runtime", "--initialMemory", "4096", "--memoryBase", "65536"],
  pages: 4096,
});
const call = exports as unknown as Record<string, (...args: (number | bigint)[]) => number>;
const life = (name: string): Life => ({
  init: (p) => void call[`${name}Init`](p),
  write: (p, o) => call[`${name}Write`](p, o) >>> 0,
  merge: (p, from) => call[`${name}Merge`](p, from) >>> 0,
  render: (p, o, format) => call[`${name}Render`](p, o, format) >>> 0,
  order: (p, column) => call[`${name}Order`](p, column),
});
const distinct = life("distinct");
const quantiles = life("quantiles");
const words = life("words");
const texts = life("texts");

call.__heap_mark();

/** mulberry32 */
function random(start: number): () => number {
  let state = start | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffle<T>(list: T[], next: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

function fresh(sketch: Life, number: number): number {
  const entry = ENTRIES + number * 64;
  new Uint8Array(memory.buffer, entry, 64).fill(0xa5);
  sketch.init(entry);
  return entry;
}

function rendered(sketch: Life, entry: number, format = NDJSON): string {
  const end = sketch.render(entry, OUTPUT, format);
  return Buffer.from(memory.buffer, OUTPUT, end - OUTPUT).toString();
}

function writtenBytes(sketch: Life, entry: number): Buffer {
  const end = sketch.write(entry, WRITTEN);
  return Buffer.from(Buffer.from(memory.buffer, WRITTEN, end - WRITTEN));
}

/** Merges what was written at an odd address; the reader must stop where the writer did. */
function mergeBytes(sketch: Life, entry: number, bytes: Buffer): void {
  const at = WRITTEN + 3;
  new Uint8Array(memory.buffer).set(bytes, at);
  assert.is(sketch.merge(entry, at), at + bytes.length);
}

/** Maps each part in a frame heap of its own, then merges all in the arena; returns the entry. */
function mapAndMerge<P>(sketch: Life, parts: P[], add: (entry: number, part: P) => void): number {
  const frames = parts.map((part) => {
    call.lasting(0);
    call.release();
    const entry = fresh(sketch, 0);
    add(entry, part);
    return writtenBytes(sketch, entry);
  });
  call.lasting(1);
  const owner = fresh(sketch, 1);
  for (const frame of frames) mergeBytes(sketch, owner, frame);
  return owner;
}

function cut<T extends { slice(from: number, to: number): T; length: number }>(all: T, count: number): T[] {
  const size = Math.ceil(all.length / count);
  return Array.from({ length: count }, (_, i) => all.slice(i * size, (i + 1) * size));
}

function addFloats(name: string): (entry: number, values: Float64Array) => void {
  return (entry, values) => {
    new Float64Array(memory.buffer, INPUT, values.length).set(values);
    call[name](entry, INPUT, values.length);
  };
}

function addTexts(name: string): (entry: number, values: string[]) => void {
  return (entry, values) => {
    const index = INPUT;
    writeTexts(values, INPUT + values.length * 4 + 8, index);
    call[name](entry, index, values.length);
  };
}

function addWords(name: string): (entry: number, values: BigInt64Array) => void {
  return (entry, values) => {
    new BigInt64Array(memory.buffer, INPUT, values.length).set(values);
    call[name](entry, INPUT, values.length);
  };
}

function frame(sketch: Life, number = 0): number {
  call.lasting(0);
  call.release();
  return fresh(sketch, number);
}

function runSuite(name: string, body: (test: ReturnType<typeof suite>) => void): void {
  const test = suite(name);
  body(test);
  test.run();
}

runSuite("Distinct", (test) => {
  test("is exact up to 384 values, however often each comes", () => {
    for (const n of [0, 1, 2, 3, 4, 5, 17, 100, 383, 384]) {
      const entry = frame(distinct);
      for (let round = 0; round < 3; round++) call.distinctRange(entry, -5n, BigInt(n));
      assert.is(rendered(distinct, entry), String(n));
      assert.is(rendered(distinct, entry, CSV), `,${n}`);
      assert.is(distinct.order(entry, 0), n);
      assert.is(writtenBytes(distinct, entry).length, 2 + 8 * n);
    }
  });

  test("tells all kinds of values apart", () => {
    const entry = frame(distinct);
    call.distinctKinds(entry);
    assert.is(rendered(distinct, entry), "7"); // true and u8 1 have the same word
  });

  test("takes -0 for 0, and NaN for one value", () => {
    const entry = frame(distinct);
    const values = new Float64Array([0, -0, NaN, NaN, 1, -1, Infinity, -Infinity, 5e-324]);
    addFloats("distinctFloats")(entry, values);
    new DataView(memory.buffer).setBigUint64(INPUT, 0xfff8000000000001n, true); // another NaN
    call.distinctFloats(entry, INPUT, 1);
    assert.is(rendered(distinct, entry), "7");
  });

  test("counts texts by their bytes, whatever lies behind them", () => {
    const entry = frame(distinct);
    const values = [
      "",
      "a",
      "ab",
      "a\0",
      "\0",
      "\0\0",
      "x".repeat(15),
      "x".repeat(16),
      "x".repeat(17),
      "x".repeat(300),
    ];
    for (let i = 0; i < 5; i++)
      addTexts("distinctTexts")(entry, shuffle([...values, ...values], random(seed + i)));
    assert.is(rendered(distinct, entry), String(values.length));
  });

  test("has a standard error of 1.6 % from 400 to 1,000,000 values", () => {
    const rows: string[] = [];
    let from = BigInt(seed) << 20n;
    for (const [n, repeats] of [
      [400, 200],
      [1000, 200],
      [5000, 200],
      [20_000, 100],
      [100_000, 40],
      [1_000_000, 12],
    ]) {
      let squares = 0;
      let sum = 0;
      let worst = 0;
      for (let i = 0; i < repeats; i++) {
        const entry = frame(distinct);
        call.distinctRange(entry, from, BigInt(n));
        from += BigInt(n);
        const error = distinct.order(entry, 0) / n - 1;
        squares += error * error;
        sum += error;
        worst = Math.max(worst, Math.abs(error));
      }
      const rms = Math.sqrt(squares / repeats);
      rows.push(
        `${n}: rms ${(rms * 100).toFixed(2)} %, mean ${((sum / repeats) * 100).toFixed(2)} %, worst ${(worst * 100).toFixed(2)} %`,
      );
      assert.ok(rms < 0.01625 * (1 + 3 / Math.sqrt(2 * repeats)), rows.at(-1));
      assert.ok(Math.abs(sum / repeats) < (4 * 0.01625) / Math.sqrt(repeats), rows.at(-1));
      assert.ok(worst < 5 * 0.01625, rows.at(-1));
    }
    if (process.env.MEASURE) console.log(rows.join("\n"));
  });

  test("estimates random floats and texts as well as consecutive integers", () => {
    const next = random(seed);
    const floats = Float64Array.from({ length: 50_000 }, () => next() * 1e6);
    const a = frame(distinct);
    addFloats("distinctFloats")(a, floats);
    assert.ok(Math.abs(distinct.order(a, 0) / 50_000 - 1) < 0.06);
    for (const make of [(i: number) => `user-${i}`, (i: number) => `https://example.org/${i}/index.html`]) {
      const b = frame(distinct);
      addTexts("distinctTexts")(
        b,
        Array.from({ length: 50_000 }, (_, i) => make(i)),
      );
      assert.ok(Math.abs(distinct.order(b, 0) / 50_000 - 1) < 0.06);
    }
  });

  test("does not depend on the cuts or on the order of merges", () => {
    const next = random(seed + 1);
    for (const n of [3, 384, 385, 1000, 60_000]) {
      const values = BigInt64Array.from({ length: n * 2 }, () => BigInt(Math.floor(next() * n)));
      const once = frame(distinct);
      addWords("distinctWords")(once, values);
      const answer = rendered(distinct, once);
      const bytes = n > 384 ? writtenBytes(distinct, once) : undefined;
      for (const count of [1, 2, 7, 40]) {
        const owner = mapAndMerge(distinct, shuffle(cut(values, count), next), addWords("distinctWords"));
        assert.is(rendered(distinct, owner), answer);
        if (bytes && Number(answer) > 384) assert.equal(writtenBytes(distinct, owner), bytes);
      }
    }
  });
});

/** The value at rank ceil(q n). */
function exact(sorted: Float64Array, percent: number): number {
  return sorted[Math.max(1, Math.ceil((sorted.length * percent) / 100)) - 1];
}

function gaussian(next: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}

runSuite("Quantiles", (test) => {
  const add = addFloats("quantilesFloats");

  test("are null while there are no values", () => {
    const entry = frame(quantiles);
    assert.is(rendered(quantiles, entry), '{"p50":null,"p90":null,"p99":null}');
    assert.is(rendered(quantiles, entry, CSV), ",,,");
    assert.ok(Number.isNaN(quantiles.order(entry, 0)));
    add(entry, new Float64Array([NaN, NaN]));
    assert.is(rendered(quantiles, entry), '{"p50":null,"p90":null,"p99":null}');
    const bytes = writtenBytes(quantiles, entry);
    assert.is(bytes.length, 3);
    const other = frame(quantiles, 2);
    mergeBytes(quantiles, other, bytes);
    assert.ok(Number.isNaN(quantiles.order(other, 2)));
  });

  test("of one value are that value, in few bytes", () => {
    for (const value of [0, 1, -1, 12.3, 250, -1e300, 5e-324, 1 / 3]) {
      const entry = frame(quantiles);
      add(entry, new Float64Array([value, value, value]));
      assert.equal(JSON.parse(rendered(quantiles, entry)), { p50: value, p90: value, p99: value });
      assert.ok(writtenBytes(quantiles, entry).length <= 12);
    }
  });

  test("take integers, floats and decimals", () => {
    const entry = frame(quantiles);
    call.quantilesKinds(entry);
    assert.is(rendered(quantiles, entry), '{"p50":0.5,"p90":4,"p99":4}');
    assert.is(call.quantilesAt(entry, 0.75), 1.5);
  });

  test("have the nearest rank, exact for integers up to 256, at any q", () => {
    for (const n of [1, 2, 3, 10, 99, 100, 101, 200, 256]) {
      const entry = frame(quantiles);
      const sorted = Float64Array.from({ length: n }, (_, i) => i + 1);
      add(entry, sorted);
      for (let percent = 0; percent <= 100; percent++) {
        assert.is(call.quantilesAt(entry, percent / 100), exact(sorted, percent), `n ${n}, q ${percent} %`);
      }
    }
  });

  test("pass over NaN of any bits, also beside infinities", () => {
    const entry = frame(quantiles);
    const bits = [0x7ff0000000000001n, 0xfff0000000000001n, 0x7ff8000000000000n, 0xffffffffffffffffn];
    const values = [Infinity, -Infinity, 1, 2, 3];
    add(entry, Float64Array.from(values));
    for (let round = 0; round < 9; round++) {
      new BigUint64Array(memory.buffer, INPUT, bits.length).set(bits);
      call.quantilesFloats(entry, INPUT, bits.length);
    }
    assert.is(call.quantilesAt(entry, 0.2), -Infinity);
    assert.is(call.quantilesAt(entry, 0.21), 1);
    assert.is(call.quantilesAt(entry, 0.8), 3);
    assert.is(call.quantilesAt(entry, 0.81), Infinity);
  });

  test("put infinities at the ends, zero in the middle, negative values in order", () => {
    const entry = frame(quantiles);
    const values = [Infinity, -Infinity, 0, -0, -1, 1, -2, 2, -1e-310, 1e-310];
    add(entry, Float64Array.from(values));
    const sorted = Float64Array.from(values).sort();
    for (let rank = 1; rank <= sorted.length; rank++) {
      assert.is(call.quantilesAt(entry, rank / sorted.length) + 0, sorted[rank - 1] + 0);
    }
    assert.is(rendered(quantiles, entry), '{"p50":0,"p90":2,"p99":null}');
  });

  const shapes: Record<string, (next: () => number, i: number, n: number) => number> = {
    uniform: (next) => next(),
    integers: (next) => Math.floor(next() * 10_000),
    latency: (next) => Math.exp(3 + 1.5 * gaussian(next)),
    negative: (next) => -Math.exp(gaussian(next)),
    "both signs": (next) => gaussian(next) * 100,
    sorted: (_, i) => i + 1,
    descending: (_, i, n) => (n - i) * 0.1,
    "many zeros": (next) => (next() < 0.6 ? 0 : next() * 50),
    "one value": () => 42.42,
    pareto: (next) => (1 - next()) ** -1.2,
  };

  test("are within 2^-7 of the exact ones, whatever the shape", () => {
    let worst = 0;
    for (const [shape, make] of Object.entries(shapes)) {
      const next = random(seed);
      for (const n of [1, 7, 100, 3000, 100_000]) {
        const values = Float64Array.from({ length: n }, (_, i) => make(next, i, n));
        const entry = frame(quantiles);
        add(entry, values);
        const sorted = values.slice().sort();
        const occurring = new Set(values);
        for (const percent of [1, 10, 25, 50, 75, 90, 99, 100]) {
          const found = call.quantilesAt(entry, percent / 100);
          const truth = exact(sorted, percent);
          const error = truth === 0 ? Math.abs(found) : Math.abs(found / truth - 1);
          worst = Math.max(worst, error);
          assert.ok(error <= 2 ** -7, `${shape}, n ${n}, p${percent}: ${found}, not ${truth}`);
          assert.ok(occurring.has(found));
        }
      }
    }
    if (process.env.MEASURE) console.log(`quantiles: worst relative error ${(worst * 100).toFixed(3)} %`);
  });

  test("over a dense range beyond 24 octaves lose a bit of the fraction at a time", () => {
    const next = random(seed + 2);
    for (const [octaves, error] of [
      [23, 2 ** -7],
      [46, 2 ** -6],
      [92, 2 ** -5],
      [900, 2 ** -1],
    ]) {
      const values = Float64Array.from({ length: 200_000 }, () => 2 ** ((next() - 0.5) * octaves));
      const entry = frame(quantiles);
      add(entry, values);
      const sorted = values.slice().sort();
      for (const percent of [1, 50, 90, 99]) {
        const off = Math.abs(call.quantilesAt(entry, percent / 100) / exact(sorted, percent) - 1);
        assert.ok(off <= error, `${octaves} octaves, p${percent}: off by ${off}`);
      }
      assert.ok(writtenBytes(quantiles, entry).length < 3072 * 11);
    }
  });

  test("take every bit pattern of a float", () => {
    const next = random(seed + 3);
    const bits = new BigUint64Array(200_000);
    for (let i = 0; i < bits.length; i++) bits[i] = (BigInt(Math.floor(next() * 2 ** 32)) << 32n) | BigInt(i);
    const values = new Float64Array(bits.buffer);
    const entry = frame(quantiles);
    add(entry, values);
    const sorted = values.filter((x) => x === x).sort();
    for (const percent of [5, 30, 70, 99]) {
      const ratio = call.quantilesAt(entry, percent / 100) / exact(sorted, percent);
      assert.ok(
        ratio > 0.24 && ratio < 4.1,
        `p${percent}: ${call.quantilesAt(entry, percent / 100)}, not ${exact(sorted, percent)}`,
      );
    }
  });

  test("do not depend on the cuts or on the order of merges", () => {
    const next = random(seed + 4);
    const wide = (): number => (next() - 0.5) * 2 ** (next() * 200 - 100);
    for (const make of [wide, () => gaussian(next), () => Math.floor(next() * 300)]) {
      const values = Float64Array.from({ length: 30_000 }, (_, i) => (i % 50 ? make() : 0));
      const once = frame(quantiles);
      add(once, values);
      const answers = Array.from({ length: 101 }, (_, i) => call.quantilesAt(once, i / 100));
      for (const count of [1, 2, 9, 60]) {
        const owner = mapAndMerge(quantiles, shuffle(cut(values, count), next), add);
        assert.equal(
          Array.from({ length: 101 }, (_, i) => call.quantilesAt(owner, i / 100)),
          answers,
        );
      }
    }
  });

  test("count beyond 32 bits", () => {
    call.lasting(1);
    const entry = fresh(quantiles, 1);
    add(entry, new Float64Array([1, 1, 1, 2]));
    for (let i = 0; i < 40; i++) mergeBytes(quantiles, entry, writtenBytes(quantiles, entry));
    assert.is(call.quantilesAt(entry, 0.75), 1);
    assert.is(call.quantilesAt(entry, 0.76), 2);
  });
});

type Row = { key: unknown; count: number };

function rows(sketch: Life, entry: number): Row[] {
  return JSON.parse(rendered(sketch, entry));
}

function tally<T>(values: Iterable<T>): Map<T, number> {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** The rows of an exact Top. */
function expected(counts: Map<string, number>): Row[] {
  return [...counts]
    .map(([key, count]) => ({ key, count }))
    .sort((a, b) => b.count - a.count || Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)))
    .slice(0, 10);
}

runSuite("Top", (test) => {
  test("of nothing is an empty list", () => {
    const entry = frame(texts);
    assert.is(rendered(texts, entry), "[]");
    assert.is(rendered(texts, entry, CSV), ',"[]"');
    assert.ok(Number.isNaN(texts.order(entry, 0)));
    const bytes = writtenBytes(texts, entry);
    assert.is(bytes.length, 1);
    const other = frame(texts, 2);
    mergeBytes(texts, other, bytes);
    assert.is(rendered(texts, other), "[]");
  });

  test("is exact up to 512 different values, by count, then by key", () => {
    const next = random(seed);
    for (const n of [1, 9, 10, 11, 100, 256, 512]) {
      const all = Array.from({ length: n }, (_, i) => `${"é".repeat(i % 4)}key ${i}${"-".repeat(i % 30)}`);
      const values = Array.from({ length: 5000 }, () => all[Math.floor(next() ** 2 * n)]);
      const entry = frame(texts);
      addTexts("textsAdd")(entry, values);
      const truth = expected(tally(values));
      assert.equal(rows(texts, entry), truth);
      assert.is(texts.order(entry, 0), truth[0].count);
      assert.equal(rows(texts, mapAndMerge(texts, cut(values, 13), addTexts("textsAdd"))), truth);
    }
  });

  test("renders nasty texts as JSON, and as one cell of CSV", () => {
    const nasty = [
      '"',
      '""',
      "\\",
      "a,b",
      "line\nbreak\r",
      "\0",
      "\u001f\t",
      "😀é",
      "",
      `{"x":[1,"2"]}`,
      "\u2028",
      "'",
    ];
    const entry = frame(texts);
    addTexts("textsAdd")(
      entry,
      nasty.flatMap((text, i) => Array.from({ length: 20 - i }, () => text)),
    );
    const answer = rows(texts, entry);
    assert.equal(
      answer,
      nasty.slice(0, 10).map((key, i) => ({ key, count: 20 - i })),
    );
    const csv = rendered(texts, entry, CSV);
    assert.match(csv, /^,"(?:[^"]|"")*"$/);
    assert.not.match(csv, /[\n\r]/);
    assert.equal(JSON.parse(csv.slice(2, -1).replaceAll('""', '"')), answer);
    assert.is(rendered(texts, entry), JSON.stringify(answer)); // the format is as it was
  });

  test("replaces bytes that are no UTF-8", () => {
    const entry = frame(texts);
    new Uint8Array(memory.buffer, INPUT + 64, 2).set([0xff, 0x41]);
    new Uint32Array(memory.buffer, INPUT, 2).set([INPUT + 64, INPUT + 66]);
    call.textsAdd(entry, INPUT, 1);
    assert.equal(rows(texts, entry), [{ key: "\ufffdA", count: 1 }]);
  });

  test("keeps long texts", () => {
    const values = Array.from({ length: 40 }, (_, i) =>
      String.fromCharCode(97 + (i % 8)).repeat(100_000 + (i % 8)),
    );
    const owner = mapAndMerge(texts, cut(values, 4), addTexts("textsAdd"));
    assert.equal(rows(texts, owner), expected(tally(values)));
  });

  test("sorts integers by value, times as ISO 8601, pairs as arrays, large integers as strings", () => {
    const entry = frame(words);
    addWords("wordsAdd")(entry, BigInt64Array.of(3n, -3n, 0n, 1n << 60n, -(1n << 60n), 20n));
    assert.is(
      rendered(words, entry),
      `[${['"-1152921504606846976"', -3, 0, 3, 20, '"1152921504606846976"'].map((key) => `{"key":${key},"count":1}`)}]`,
    );
    const times = life("times");
    const time = frame(times);
    addWords("timesAdd")(time, BigInt64Array.of(0n, 1500n, 0n));
    assert.equal(rows(times, time), [
      { key: "1970-01-01T00:00:00.000Z", count: 2 },
      { key: "1970-01-01T00:00:01.500Z", count: 1 },
    ]);
    const pairs = life("pairs");
    const owner = mapAndMerge(pairs, [["a", "bb\0"], ["bb\0"]], addTexts("pairsAdd"));
    assert.equal(rows(pairs, owner), [
      { key: ["bb\0", -3], count: 2 },
      { key: ["a", -1], count: 1 },
    ]);
    const csv = rendered(pairs, owner, CSV);
    assert.equal(JSON.parse(csv.slice(2, -1).replaceAll('""', '"')), rows(pairs, owner));
  });

  test("counts a value many times at once", () => {
    const entry = frame(words);
    call.wordsMany(entry, 7n, 1_000_000_000_000n);
    call.wordsMany(entry, 8n, 0n);
    assert.equal(rows(words, entry), [{ key: 7, count: 1e12 }]);
  });

  const streams: Record<string, (next: () => number, i: number, n: number) => number> = {
    "all different": (_, i) => i,
    uniform: (next) => Math.floor(next() * 5000),
    "zipf 1.1": (next) => Math.floor((1 - next()) ** -10),
    "zipf 1.5": (next) => Math.floor((1 - next()) ** -2),
    "zipf 2": (next) => Math.floor((1 - next()) ** -1),
    "heavy ones last": (next, i, n) => (i < n * 0.8 ? i : -Math.floor(next() * 20) - 1),
    "heavy ones first": (next, i, n) => (i < n * 0.2 ? -Math.floor(next() * 20) - 1 : i),
    sorted: (_, i) => Math.floor(Math.sqrt(i)),
    "in turns": (_, i) => i % 513,
  };

  test("never counts too much, and too little by less than n / 256, in one pass and merged", () => {
    let worst = 0;
    for (const [stream, make] of Object.entries(streams)) {
      for (const n of [600, 20_000, 200_000]) {
        const next = random(seed + n);
        const values = BigInt64Array.from({ length: n }, (_, i) =>
          BigInt(Math.min(make(next, i, n), 2 ** 52)),
        );
        const counts = tally(Array.from(values, Number));
        const sorted = [...counts].sort((a, b) => b[1] - a[1]);
        for (const parts of [1, 2, 25]) {
          const entry =
            parts === 1 ? frame(words) : mapAndMerge(words, cut(values, parts), addWords("wordsAdd"));
          if (parts === 1) addWords("wordsAdd")(entry, values);
          const answer = rows(words, entry);
          const reported = new Map(answer.map((row) => [row.key as number, row.count]));
          for (const [key, count] of reported) {
            const off = counts.get(key)! - count;
            worst = Math.max(worst, off / n);
            assert.ok(
              off >= 0 && off < n / 256,
              `${stream}, n ${n}, ${parts} parts, key ${key}: off by ${off}`,
            );
          }
          // What is left out is not clearly more frequent than what is reported.
          const least = answer.length < 10 ? 0 : answer.at(-1)!.count;
          for (const [key, count] of sorted.slice(0, 20)) {
            if (!reported.has(key)) assert.ok(count < least + n / 256, `${stream}: ${key} is missing`);
          }
          for (let i = 1; i < answer.length; i++) {
            const [a, b] = [answer[i - 1], answer[i]];
            assert.ok(a.count > b.count || (a.count === b.count && (a.key as number) < (b.key as number)));
          }
        }
      }
    }
    if (process.env.MEASURE) console.log(`top: worst count short by n / ${Math.round(1 / worst)}`);
  });

  test("gives the ten most frequent of a skewed stream exactly", () => {
    const next = random(seed + 9);
    const values = Array.from({ length: 100_000 }, () => `page/${Math.floor((1 - next()) ** -1.2)}`);
    const truth = expected(tally(values));
    const entry = frame(texts);
    addTexts("textsAdd")(entry, values);
    assert.equal(rows(texts, entry), truth);
  });

  test("written and merged into an empty one, goes on alike", () => {
    const next = random(seed + 10);
    const parts = Array.from({ length: 12 }, () =>
      Array.from({ length: 1500 }, () => `k${Math.floor(next() * next() * 3000)}`),
    );
    const frames = parts.map((part) => {
      const entry = frame(texts);
      addTexts("textsAdd")(entry, part);
      return writtenBytes(texts, entry);
    });
    call.lasting(1);
    const stays = fresh(texts, 1);
    let moves = fresh(texts, 2);
    for (const [i, bytes] of frames.entries()) {
      mergeBytes(texts, stays, bytes);
      mergeBytes(texts, moves, bytes);
      const whole = writtenBytes(texts, moves);
      moves = fresh(texts, 3 + i);
      mergeBytes(texts, moves, whole);
    }
    assert.is(rendered(texts, moves), rendered(texts, stays));
    assert.equal(writtenBytes(texts, moves), writtenBytes(texts, stays));
  });
});

runSuite("Sketches", (test) => {
  test("give the same bytes whatever the addresses and whatever lay in their blocks", () => {
    const next = random(seed + 20);
    const floats = Float64Array.from({ length: 40_000 }, () => Math.exp(12 * gaussian(next)));
    const integers = BigInt64Array.from({ length: 40_000 }, () => BigInt(Math.floor(next() * next() * 3000)));
    const names = Array.from(integers, (x) => `name ${x}`);
    const run = (): string[] => [
      ...[mapAndMerge(distinct, cut(integers, 9), addWords("distinctWords"))].flatMap((entry) => [
        rendered(distinct, entry),
        writtenBytes(distinct, entry).toString("hex"),
      ]),
      ...[mapAndMerge(quantiles, cut(floats, 9), addFloats("quantilesFloats"))].flatMap((entry) => [
        rendered(quantiles, entry),
        writtenBytes(quantiles, entry).toString("hex"),
      ]),
      ...[mapAndMerge(texts, cut(names, 9), addTexts("textsAdd"))].flatMap((entry) => [
        rendered(texts, entry, CSV),
        writtenBytes(texts, entry).toString("hex"),
      ]),
    ];
    const before = run();
    // Leave dirty free blocks of all sizes in the arena, and garbage in the frame heap.
    call.lasting(1);
    for (let bytes = 16; bytes <= 1 << 17; bytes <<= 1) {
      const blocks = Array.from({ length: 5 }, () => call.take(bytes) >>> 0);
      for (const at of blocks) new Uint8Array(memory.buffer, at, bytes).fill(0xee);
      for (const at of blocks.slice(1)) call.give(at, bytes);
    }
    new Uint8Array(memory.buffer, 0x0100_0000, 8 << 20).fill(0xee);
    assert.equal(run(), before);
  });

  test("stay small: what one value takes on the wire", () => {
    const d = frame(distinct);
    call.distinctRange(d, 1n, 1n);
    assert.is(writtenBytes(distinct, d).length, 10);
    const t = frame(texts);
    addTexts("textsAdd")(t, ["abc"]);
    assert.is(writtenBytes(texts, t).length, 6);
  });
});
