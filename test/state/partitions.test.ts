import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { encodeKey } from "../../host/kernel/keys.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { partitionOf } from "../../host/kernel/partitions.ts";
import { kernelFile, kernelOf, seeded } from "../run.ts";
import { Shard } from "./shard.ts";

const test = suite("assembly/state: partitions that move, entries that go");

let built: BuiltKernel;
test.before(async () => {
  built = await buildKernel(kernelFile("everything"));
});

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
  const shard = new Shard(built);
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
  const shard = new Shard(built);
  await shard.add(lines(8000, 1));
  shard.remove(0, 256);
  await shard.add(lines(8000, 2));
  const end = shard.kernel.arenaEnd;
  for (let i = 0; i < 20; i++) {
    shard.remove(0, 256);
    await shard.add(lines(8000, 3 + (i % 2)));
  }
  assert.ok(shard.kernel.arenaEnd < end * 1.05, "the arena grew");
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
      const whole = new Shard(built);
      const left = new Shard(built);
      const right = new Shard(built);
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

test("frames that are mapped while a table is read change nothing of what is read, nor of the state", async () => {
  const shard = new Shard(built);
  await shard.add(lines(5000, 8));
  const rows = shard.rows();
  const end = shard.kernel.arenaEnd;
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
  assert.is(shard.kernel.arenaEnd, end);
});

test("a kernel that was instantiated anew answers nothing of a table that was being read", async () => {
  const shard = new Shard(built);
  await shard.add(lines(100, 11));
  const rows = shard.rows();
  shard.split(0);
  shard.instantiate();
  assert.throws(
    () => shard.rendered(0),
    (error: { code: string }) => error.code === "shard-lost",
  );
  assert.equal(shard.rows(), rows);
});

test("a row is found by its key", async () => {
  const shard = new Shard(built);
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

const NUMBERS = `import { Count, Table } from "hallelujah";
@record class Row { n: i64 }
@state class Seen { count: Count }
const numbers = new Table<i64, Seen>("numbers");
export function each(row: Row): void { numbers.at(row.n).count.add(); }`;

test("the host knows the partition of every key, as kernels have it", async () => {
  const posts = Array.from(
    { length: 400 },
    (_, i) =>
      `{"tag":"tag ${i}${i % 5 ? "" : " of more than thirty-two bytes".repeat(i % 4)}","at":"2024-05-01T10:00:00Z","user":"u"}\n`,
  ).join("");
  const windows = await buildKernel(join(packageRoot, "examples", "trending.ts"));
  const numbers = Array.from({ length: 500 }, (_, i) => `{"n":${(i - 250) * 1_234_567}}\n`).join("");
  for (const [kernel, text] of [
    [await buildKernel(kernelOf("numbers", NUMBERS)), numbers],
    [built, lines(4000, 3)],
    [windows, posts],
  ] as [BuiltKernel, string][]) {
    const [whole, part] = [new Shard(kernel), new Shard(kernel)];
    await whole.add(text);
    const tables = new Map(kernel.descriptor.tables.map((table) => [table.name, table]));
    const seen = new Map<string, number>();
    for (let partition = 0; partition < 256; partition++) {
      whole.give(part, partition, partition + 1);
      for (const row of part.rows()) {
        const { table, key } = JSON.parse(row) as { table: string; key: unknown };
        const { key: types, windows: timed } = tables.get(table)!;
        assert.is(partitionOf(types, encodeKey(types, key), timed!), partition, row);
        seen.set(table, (seen.get(table) ?? 0) + 1);
      }
      part.remove(0, 256);
    }
    for (const table of tables.keys()) assert.ok(seen.get(table)! >= 10, table);
  }
});

test.run();
