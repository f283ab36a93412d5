/** State of several shards that comes together in one Jah, where a version of the kernel takes over at that frame. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { fitState } from "../../host/compiler/fit.ts";
import type { Watchdog } from "../../host/core/watchdog.ts";
import { Checkpointer } from "../../host/jah/checkpointer.ts";
import { LiveJah } from "../../host/jah/live.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import type { PageStore } from "../../host/store/page-store.ts";
import { memoryPages } from "../../host/store/pages.ts";
import type { FromLiveJah, LiveMethods, LiveVersion } from "../../host/wire/live.ts";
import { kernelOf } from "../run.ts";
import { Shard } from "../state/shard.ts";

const test = suite("host/jah/gathering.ts: shards that come together in one Jah");

/** The frame as of which all is saved, and at which the second version takes over. */
const FRAME = 5;
const STANDING = { counts: { records: 0, bad: 0, late: 0 } };
const WATCHDOG = { guard: () => {}, enter: () => {}, leave: () => {} } as unknown as Watchdog;

/** Two kernels that have the same tables in another order, and with other fields. */
const kernels = await Promise.all(
  [
    `@state class A { count: Count; sum: Sum<i64> }
@state class B { sum: Sum<i64>; count: Count }
const a = new Table<Text, A>("a");
const b = new Table<Text, B>("b");`,
    `@state class A { least: Min<i64>; sum: Sum<i64>; count: Count }
@state class B { count: Count; most: Max<i64>; sum: Sum<i64> }
const b = new Table<Text, B>("b");
const a = new Table<Text, A>("a");`,
  ].map((state) =>
    buildKernel(
      kernelOf(
        "gathered",
        `import { Count, Max, Min, Sum, Table, Text } from "hallelujah";
@record class Row { key: Text; n: i64 }
${state}
export function each(row: Row): void {
  const one = a.at(row.key);
  one.count.add();
  one.sum.add(row.n);
  const other = b.at(row.key);
  other.count.add();
  other.sum.add(row.n * 3);
}`,
      ),
    ),
  ),
);
const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => `{"key":"key ${i % 90}","n":${i}}\n`).join("");
const TEXT = lines(300);
const MORE = lines(200);

/** Version 1 or 2; the second takes over at the frame. */
function version(number: 1 | 2): LiveVersion {
  const [before, kernel] = number === 1 ? [kernels[0], kernels[0]] : kernels;
  return {
    version: number,
    from: number === 1 ? 0 : FRAME,
    kernel: kernel.path,
    fit: fitState(before.descriptor, kernel.descriptor),
    sources: [{ format: "ndjson", size: 0, dataStart: 0, delimiter: 0, plan: [] }],
    columns: [],
  };
}

/** The state of partitions [from, to), saved as that of a version. */
async function saved(from: number, to: number, of: 1 | 2): Promise<MemoryDatabase> {
  const database = new MemoryDatabase();
  const store: PageStore = await memoryPages(database);
  const shard = new Shard(kernels[0]);
  await shard.add(TEXT, from, to);
  if (of === 2) shard.swap(kernels[1]);
  const checkpointer = new Checkpointer(store, undefined, {
    kernel: () => shard.kernel,
    meta: () => ({
      abi: map.ABI_VERSION,
      version: of,
      end: shard.kernel.arenaEnd,
      frame: FRAME,
      from,
      to,
      places: [],
    }),
    tell: ({ type }) => {
      if (type === "prepared") checkpointer.commit(STANDING);
    },
    wake: () => setImmediate(() => checkpointer.begin()),
  });
  await checkpointer.save(FRAME);
  await checkpointer.close();
  return database;
}

/** A Jah that takes up both shards; what it told, and what it is asked. */
async function jahOf(versions: LiveVersion[], saves: [1 | 2, 1 | 2]) {
  const shards = [
    { store: "left", from: 0, to: 128 },
    { store: "right", from: 128, to: 256 },
  ];
  const stores = new Map<string, MemoryDatabase>();
  for (const [i, { store, from, to }] of shards.entries()) stores.set(store, await saved(from, to, saves[i]));
  const told: FromLiveJah[] = [];
  const jah = await LiveJah.start(
    {
      type: "start",
      jah: 1,
      stream: "s",
      versions,
      confirmed: 2,
      stateBytesMax: 256 << 20,
      shards,
      frameTimeoutMs: 60_000,
      stuckFile: "",
    },
    "secret",
    { send: (message) => void told.push(message), end: () => {} },
    WATCHDOG,
    (folder) => memoryPages(stores.get(folder)!),
  );
  const has = (type: FromLiveJah["type"]) => told.some((message) => message.type === type);
  let calls = 0;
  const call = async <M extends keyof LiveMethods>(method: M, argument: LiveMethods[M]["argument"]) => {
    const id = calls++;
    jah.handle({ type: "call", id, method, argument });
    const answer = () => told.find((message) => message.type === "answer" && message.id === id);
    while (!answer()) {
      const failed = told.find(({ type }) => type === "failed");
      assert.is(failed, undefined, JSON.stringify(failed));
      await turn();
    }
    const { value, error } = answer() as { value: LiveMethods[M]["answer"]; error?: { message: string } };
    assert.is(error, undefined);
    return value;
  };
  /** Its rows when all has come together and the frames below `at` are applied. */
  const rows = async (built: BuiltKernel, at = FRAME) => {
    assert.equal(await call("hold", { at }), { next: at });
    assert.ok(has("gathered"));
    const all: string[] = [];
    for (const table of built.descriptor.tables.keys()) {
      await call("split", { table, column: -1, descending: false, splitters: [] });
      const render = { table, range: 0, limit: 1e9, format: map.NDJSON, others: [] };
      const { chunks } = await call("render", render);
      await call("finish", { table });
      all.push(...Buffer.concat(chunks).toString().split("\n").filter(Boolean));
    }
    return all;
  };
  return { jah, call, rows, has };
}

const turn = () => new Promise((done) => setImmediate(done));

/** What the state is when it was never apart. */
async function expected(more = ""): Promise<string[]> {
  const whole = new Shard(kernels[0]);
  await whole.add(TEXT);
  whole.swap(kernels[1]);
  if (more) await whole.add(more);
  return whole.rows();
}

test("a version that comes while a shard is being taken over at its frame takes over when all of that is there", async () => {
  const { jah, rows, has } = await jahOf([version(1)], [1, 1]);
  await jah.open();
  await turn(); // it has begun
  assert.not.ok(has("gathered"));
  jah.handle({ type: "version", version: version(2) });
  // The frame is mapped by the next version before the last of the other shard is there.
  const targets = [{ jah: 1, from: 0, to: 256, port: 0 }];
  jah.handle({ type: "routing", routing: { id: 0, start: FRAME, targets, moves: [] } });
  const task = { kind: "bytes" as const, frame: FRAME, source: 0, offset: 0, bytes: Buffer.from(MORE) };
  jah.handle({ type: "map", routing: 0, frames: [{ task, clock: 0 }] });
  assert.equal(await rows(kernels[1], FRAME + 1), await expected(MORE));
  await jah.close();
});

test("a shard of a version that may not take over yet, as the state is held, waits for that", async () => {
  const { jah, call, rows, has } = await jahOf([version(1), version(2)], [1, 2]);
  const held = call("hold", { at: -1 });
  await jah.open();
  assert.equal(await held, { next: FRAME });
  for (let i = 0; i < 10; i++) await turn();
  assert.not.ok(has("gathered"));
  await call("release", undefined);
  assert.equal(await rows(kernels[1]), await expected());
  await jah.close();
});

test("a shard of the version before becomes the next one's", async () => {
  const { jah, rows } = await jahOf([version(1), version(2)], [2, 1]);
  await jah.open();
  assert.equal(await rows(kernels[1]), await expected());
  await jah.close();
});

test.run();
