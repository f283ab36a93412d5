import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { CHECKPOINT_COPY_BYTES } from "../../host/core/limits.ts";
import { Checkpointer } from "../../host/jah/checkpointer.ts";
import { createMemory } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { growForPages, markDirty, putPage } from "../../host/kernel/pages.ts";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import type { PageStore } from "../../host/store/page-store.ts";
import { memoryPages } from "../../host/store/pages.ts";
import type { FromLiveJah } from "../../host/wire/live.ts";
import { kernelFile } from "../run.ts";
import { Shard } from "../state/shard.ts";

const test = suite("host/jah/checkpointer.ts: state to disk while work goes on");

let built: BuiltKernel;
test.before(async () => {
  built = await buildKernel(kernelFile("everything"));
});

const STANDING = { counts: { records: 1, bad: 0, late: 0 } };

/** A shard whose Hallelu allows every checkpoint, unless told otherwise; `frame` is how far it is. */
function jahOf(store: PageStore, shard = new Shard(built)) {
  const told: FromLiveJah[] = [];
  const jah = { shard, told, frame: 0, allows: true };
  const checkpointer = new Checkpointer(store, undefined, {
    kernel: () => shard.kernel,
    meta: () => ({
      abi: map.ABI_VERSION,
      end: shard.kernel.arenaEnd,
      frame: jah.frame,
      from: 0,
      to: 256,
      places: [],
    }),
    tell: (message) => {
      told.push(message);
      if (message.type === "prepared" && jah.allows) checkpointer.commit(STANDING);
    },
    wake: () => setImmediate(() => checkpointer.begin()),
  });
  return Object.assign(jah, { checkpointer });
}

async function restored(store: PageStore): Promise<Shard> {
  const memory = createMemory(512 << 20);
  const [{ number, meta }] = store.checkpoints;
  growForPages(memory, (meta as { end: number }).end);
  await store.restore(number, (page, bytes) => putPage(memory, page, bytes));
  return new Shard(built, memory);
}

const line = (key: string, n: number) => `{"key":"${key}","n":${n},"x":1}\n`;

test("what is saved comes back, and what comes after its moment is not in it", async () => {
  const store = await memoryPages(new MemoryDatabase());
  const jah = jahOf(store);
  await jah.shard.add(line("a", 1));
  jah.frame = 1;
  jah.allows = false;
  const saving = jah.checkpointer.save(1);
  while (!jah.told.some(({ type }) => type === "prepared")) await new Promise((done) => setImmediate(done));
  const then = jah.shard.rows();
  await jah.shard.add(line("b", 2));
  assert.equal(store.checkpoints, []);
  jah.checkpointer.commit(STANDING);
  await saving;
  assert.equal((await restored(store)).rows(), then);
  jah.allows = true;
  jah.frame = 2;
  await jah.checkpointer.save(2);
  assert.equal((await restored(store)).rows(), jah.shard.rows());
});

test("what is saved already is not saved again, unless partitions came or went", async () => {
  const store = await memoryPages(new MemoryDatabase());
  const jah = jahOf(store);
  const saves = () => jah.told.filter(({ type }) => type === "saved").length;
  jah.frame = 5;
  await jah.checkpointer.save(5);
  await jah.checkpointer.save(5);
  await jah.checkpointer.save(4);
  assert.is(saves(), 1);
  jah.checkpointer.moved();
  await jah.checkpointer.save(5);
  assert.is(saves(), 2);
});

test("a checkpoint that cannot be written leaves nothing out of the next one", async () => {
  const database = new MemoryDatabase();
  const store = await memoryPages(database);
  const jah = jahOf(store);
  await jah.shard.add(line("a", 1));
  jah.frame = 1;
  database.failure = Object.assign(new Error("no room"), { code: "ENOSPC" });
  const error = await jah.checkpointer.save(1).then(
    () => undefined,
    (failure: unknown) => failure as Error,
  );
  assert.match(error!.message, /room/);
  assert.is(jah.told.at(-1)!.type, "unsaved");
  database.failure = undefined;
  await jah.shard.add(line("b", 2));
  jah.frame = 2;
  await jah.checkpointer.save(2);
  assert.equal((await restored(store)).rows(), jah.shard.rows());
});

test("of a large state so much is copied at once as may be; until all is, nothing may be applied", async () => {
  const store = await memoryPages(new MemoryDatabase());
  const shard = new Shard(built);
  const jah = jahOf(store, shard);
  const bytes = CHECKPOINT_COPY_BYTES * 2;
  const { memory } = shard.kernel;
  growForPages(memory, shard.kernel.arenaEnd + bytes);
  const end = map.ARENA + bytes;
  Object.defineProperty(shard.kernel, "arenaEnd", { value: end });
  markDirty(memory, map.ARENA, bytes);
  jah.checkpointer.wanted = true;
  jah.checkpointer.begin();
  assert.is(jah.checkpointer.blocks, true);
  jah.frame = 1;
  await jah.checkpointer.save(1);
  assert.is(jah.checkpointer.blocks, false);
  const saved = jah.told.filter(({ type }) => type === "saved") as { bytes: number }[];
  assert.is(saved[0].bytes >= bytes, true);
});

test.run();
