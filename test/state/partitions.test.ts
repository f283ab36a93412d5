import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Answers } from "../../host/jah/answers.ts";
import { loadImage, saveImage } from "../../host/jah/image.ts";
import { Mapper } from "../../host/jah/mapper.ts";
import { Owner } from "../../host/jah/owner.ts";
import { createMemory, KernelInstance } from "../../host/kernel/instance.ts";
import { encodeKey } from "../../host/kernel/keys.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { decodeBatch, encodeBatch, ROUTED } from "../../host/wire/batch.ts";
import { kernelFile, scratch, seeded } from "../run.ts";

const test = suite("assembly/state: partitions that move, entries that go");

let built: BuiltKernel;
let module: WebAssembly.Module;
test.before(async () => {
  built = await buildKernel(kernelFile("everything"));
  module = new WebAssembly.Module(readFileSync(built.path));
});

const SOURCE = { format: "ndjson" as const, size: 0, dataStart: 0, delimiter: 0, plan: [] };

/** A Jah without its process. */
class Shard {
  kernel: KernelInstance;
  readonly answers = new Answers(() => this.kernel);
  private readonly mapper: Mapper;
  private readonly owner: Owner;
  private frame = 0;

  constructor(memory = createMemory(512 << 20)) {
    this.kernel = new KernelInstance(module, memory);
    this.kernel.exports.start(map.NDJSON, 0x2c);
    this.mapper = new Mapper(this.kernel, [SOURCE], 1, [], 0);
    this.owner = new Owner(this.kernel);
  }

  async add(text: string, from = 0, to = 256): Promise<void> {
    const bytes = Buffer.from(text);
    this.mapper.route(new Uint8Array(256).fill(map.NOBODY).fill(0, from, to), 1);
    const frame = this.frame++;
    const { parts } = await this.mapper.map({ kind: "bytes", frame, source: 0, offset: 0, bytes }, undefined);
    const head = { kind: ROUTED, frame, source: 0, start: 0, end: 0, time: -Infinity, clock: 0 };
    this.owner.apply(decodeBatch(encodeBatch(head, parts[0])));
  }

  give(to: Shard, first: number, behind: number): void {
    const { exports } = this.kernel;
    exports.exportStart(first, behind);
    for (let end = exports.exportStep(); end; end = exports.exportStep()) {
      const chunk = this.kernel.bytes.slice(map.ENTRIES, end);
      to.kernel.bytes.set(chunk, map.INPUT);
      to.kernel.exports.apply(map.INPUT, map.INPUT + chunk.length);
    }
    this.remove(first, behind);
  }

  remove(first: number, behind: number): void {
    const { exports } = this.kernel;
    exports.removeStart(first, behind);
    while (exports.removeStep());
  }

  /** Maps a frame that nobody applies. */
  async map(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    await this.mapper.map({ kind: "bytes", frame: 0, source: 0, offset: 0, bytes }, undefined);
  }

  rows(): string[] {
    return built.descriptor.tables.flatMap((_, table) => {
      this.split(table);
      return this.rendered(table);
    });
  }

  /** Begins to read a table; `rendered` goes on with it. */
  split(table: number): void {
    this.answers.perform("split", { table, column: -1, descending: false, splitters: [] });
  }

  rendered(table: number): string[] {
    const argument = { table, range: 0, limit: 1e9, format: map.NDJSON, others: [] };
    const { chunks } = this.answers.perform("render", argument) as { chunks: Uint8Array[] };
    this.answers.perform("finish", { table });
    return Buffer.concat(chunks).toString().split("\n").filter(Boolean);
  }
}

function lines(count: number, seed: number): string {
  let state = seed;
  let text = "";
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const key = `key ${state % 3000}${state % 7 ? "" : " with a name that is longer than what an entry holds"}`;
    text += `{"key":"${key}","n":${(state >> 4) % 5000},"x":${((state >> 3) % 1000) / 8 - 30}}\n`;
  }
  return text;
}

test("what is removed is gone, and what is added again is new", async () => {
  const shard = new Shard();
  await shard.add(lines(8000, 1));
  const all = shard.rows();
  shard.remove(64, 128);
  const rest = shard.rows();
  assert.ok(rest.length < all.length && rest.every((row) => all.includes(row)));
  shard.remove(0, 256);
  assert.equal(shard.rows(), []);
  await shard.add(lines(8000, 1));
  assert.equal(shard.rows(), all);
});

test("memory of removed entries is used again", async () => {
  const shard = new Shard();
  await shard.add(lines(8000, 1));
  shard.remove(0, 256);
  await shard.add(lines(8000, 2));
  const end = shard.kernel.exports.arenaEnd();
  for (let i = 0; i < 20; i++) {
    shard.remove(0, 256);
    await shard.add(lines(8000, 3 + (i % 2)));
  }
  assert.ok(shard.kernel.exports.arenaEnd() < end * 1.05, "the arena grew");
});

test("partitions that move, and come back, change nothing", async () => {
  const step = fc.record({
    from: fc.nat(255),
    width: fc.integer({ min: 1, max: 256 }),
    back: fc.boolean(),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
      const whole = new Shard();
      const left = new Shard();
      const right = new Shard();
      await whole.add(lines(4000, 7));
      await left.add(lines(4000, 7));
      for (const { from, width, back, seed: each } of steps) {
        const to = Math.min(256, from + width);
        left.give(right, from, to);
        if (back) right.give(left, from, to);
        const text = lines(1500, each);
        await whole.add(text);
        if (back) await left.add(text);
        else {
          await left.add(text, 0, from);
          await left.add("", 0, 0);
          right.give(left, from, to);
          // Only what is outside was added; the rest follows.
          await left.add(text, from, to);
          await left.add(text, to, 256);
        }
      }
      assert.equal(left.rows(), whole.rows());
      assert.is(right.rows().length, 0);
    }),
    seeded(12),
  );
});

test("an image brings the state back as it was", async () => {
  const shard = new Shard();
  await shard.add(lines(5000, 5));
  const path = join(scratch(), "image");
  const meta = { frame: 3, from: 0, to: 256, places: [[0, 17]] as [number, number][] };
  saveImage(path, shard.kernel, meta);
  const memory = createMemory(512 << 20);
  assert.equal(loadImage(path, memory), { ...meta, abi: map.ABI_VERSION });
  const restored = new Shard(memory);
  assert.equal(restored.rows(), shard.rows());
  await shard.add(lines(5000, 6));
  await restored.add(lines(5000, 6));
  assert.equal(restored.rows(), shard.rows());
});

test("frames that are mapped while a table is read change nothing of what is read, nor of the state", async () => {
  const shard = new Shard();
  await shard.add(lines(5000, 8));
  const rows = shard.rows();
  const end = shard.kernel.exports.arenaEnd();
  const read: string[] = [];
  for (const table of built.descriptor.tables.keys()) {
    shard.split(table);
    await shard.map(lines(3000, 9));
    read.push(...shard.rendered(table));
    // What the split took is free again, and nothing else is.
    await shard.map(lines(3000, 10));
  }
  assert.equal(read, rows);
  assert.equal(shard.rows(), rows);
  assert.is(shard.kernel.exports.arenaEnd(), end);
});

test("a kernel that was instantiated anew answers nothing of a table that was being read", async () => {
  const shard = new Shard();
  await shard.add(lines(100, 11));
  const rows = shard.rows();
  shard.split(0);
  shard.kernel = new KernelInstance(module, shard.kernel.memory);
  shard.kernel.exports.start(map.NDJSON, 0x2c);
  assert.throws(
    () => shard.rendered(0),
    (error: { code: string }) => error.code === "shard-lost",
  );
  assert.equal(shard.rows(), rows);
});

test("a row is found by its key", async () => {
  const shard = new Shard();
  await shard.add(
    '{"key":"a","n":-3,"x":1}\n{"key":"a longer key than thirty-two bytes are","n":7,"x":-2}\n',
  );
  const find = (table: number, key: unknown) =>
    Buffer.from(
      shard.answers.perform("find", {
        table,
        key: encodeKey(built.descriptor.tables[table].key, key),
        format: map.NDJSON,
      }) as Uint8Array,
    ).toString();
  assert.is(find(1, "a"), '{"table":"keys","key":"a","count":1,"sum":1}\n');
  assert.match(find(1, "a longer key than thirty-two bytes are"), '"sum":-2');
  assert.is(find(1, "b"), "");
  assert.match(find(0, -3), '"key":-3,');
  assert.match(find(2, [7, true]), '"key":[7,true]');
  assert.is(find(2, [7, false]), "");
});

test.run();
