/** Checkpoints of a shard's store that are taken to a home, and states that come from there into another store. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { HallelujahError } from "../../host/core/errors.ts";
import { PAGE_BYTES } from "../../host/core/limits.ts";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import { PageVersions } from "../../host/store/page-versions.ts";
import type { ReplicaEvent } from "../../host/store/replica.ts";
import { hashOf } from "../../host/substrate/blobs.ts";
import { hydrate } from "../../host/substrate/hydrate.ts";
import { Replicator } from "../../host/substrate/replicator.ts";
import { Snapshots } from "../../host/substrate/snapshots.ts";
import { MemoryValues, type Values } from "../../host/substrate/values.ts";
import { type Content, pageOf, put, sorted } from "../store/pages-suite.ts";
import { codeOf, homes } from "./homes.ts";
import { found } from "./states.ts";

const test = suite("host/substrate/replicator: checkpoints to a home, and back");
const { all, close } = await homes();
const state = (...words: [page: number, word: number][]): Content => new Map(words);

interface Running {
  replicator: Replicator;
  events: ReplicaEvent[];
  /** Resolves when so many events were told. */
  told(count: number): Promise<ReplicaEvent>;
}

function replicate(store: PageVersions, values: Values, epoch = 1): Running {
  const events: ReplicaEvent[] = [];
  let heard = () => {};
  const replicator = new Replicator({
    store,
    async claim() {
      const snapshots = await Snapshots.claim({ values, shard: "s" }, { epoch, host: `host${epoch}` });
      await snapshots.collect();
      return snapshots;
    },
    up: () => values.up(),
    tell(event) {
      events.push(event);
      heard();
    },
    stop: () => {},
  });
  return {
    replicator,
    events,
    async told(count) {
      while (events.length < count) await new Promise<void>((done) => (heard = done));
      return events[count - 1];
    },
  };
}

/** Pages of the word 0 are all zeros. */
async function commit(store: PageVersions, frame: number, content: Content, end?: number): Promise<void> {
  const zeros = [...content.keys()].filter((page) => !content.get(page));
  await put(store, new Map([...content].filter(([, word]) => word)));
  await store.write(Uint32Array.from(zeros), new ArrayBuffer(zeros.length * PAGE_BYTES));
  await store.commit({ frame, end: "whatever" }, end);
}

/** What a folder holds, as hydrate left it, both checkpoints. */
async function held(database: MemoryDatabase): Promise<{ metas: unknown[]; contents: Content[] }> {
  const store = await PageVersions.open(database);
  assert.is(store.damage, undefined);
  const contents: Content[] = [];
  for (const { number } of store.checkpoints) {
    const content: Content = new Map();
    await store.restore(number, (page, bytes) => {
      const word = Buffer.from(bytes).readUInt32LE(0);
      assert.ok(Buffer.from(word ? pageOf(word) : new Uint8Array(PAGE_BYTES)).equals(bytes));
      if (word) content.set(page, word);
    });
    contents.push(new Map(sorted(content)));
  }
  return { metas: store.checkpoints.map(({ meta }) => meta), contents };
}

for (const [home, open] of all) {
  test(`${home}: only pages that changed travel, and pages that are all zeros do not`, async () => {
    const values = await open();
    const store = await PageVersions.open(new MemoryDatabase());
    const { replicator, told } = replicate(store, values);
    const many: Content = new Map(Array.from({ length: 40 }, (_, page) => [page * 10, page + 1]));
    await commit(store, 1, new Map([...many, [5, 0]]));
    replicator.wake();
    const first = await told(1);
    assert.is(first.kind, "replicated");
    if (first.kind !== "replicated") return;
    assert.is(first.frame, 1);
    assert.is(first.before, undefined);
    assert.is(Math.floor(first.bytes / PAGE_BYTES), 40);
    await commit(store, 2, state([10, 1000]), 300);
    replicator.wake();
    const second = await told(2);
    if (second.kind !== "replicated") return assert.unreachable(second.message);
    assert.equal([second.frame, second.before], [2, 1]);
    assert.is(Math.floor(second.bytes / PAGE_BYTES), 1);
    const { contents, frames, garbage } = await found({ values, shard: "s" });
    assert.equal(frames, [2, 1]);
    assert.is(garbage, 0);
    const expected = new Map([...many, [10, 1000]].filter(([page]) => page < 300) as [number, number][]);
    assert.equal(sorted(contents[0]), sorted(expected));
    assert.equal(sorted(contents[1]), sorted(many));
    await replicator.close();
  });

  test(`${home}: a folder that is empty, stale, ahead or damaged becomes the newest snapshot, with what it lacks`, async () => {
    const values = await open();
    const names = { values, shard: "s" };
    const store = await PageVersions.open(new MemoryDatabase());
    const { replicator } = replicate(store, values);
    const leader = { epoch: 2, host: "two" };
    const empty = new MemoryDatabase();
    const into = (database: MemoryDatabase) =>
      hydrate(names, leader, "folder", () => PageVersions.open(database));
    assert.is(await into(empty), undefined);
    assert.is(empty.size, 0);
    await replicator.close();

    const source = await PageVersions.open(new MemoryDatabase());
    const content = state([0, 7], [3, 1], [4, 2], [900, 3], [901, 0]);
    await commit(source, 1, content);
    const again = replicate(source, values, 3);
    const done = await again.told(1);
    assert.is(done.kind, "replicated", JSON.stringify(done));
    assert.is(await codeOf(into(empty)), "stream-moved");
    leader.epoch = 4;
    const expected = {
      metas: [1, 1].map((frame) => ({ frame, end: "whatever" })),
      contents: [1, 1].map(() => state([0, 7], [3, 1], [4, 2], [900, 3])),
    };
    assert.equal(await into(empty), { frame: 1, epoch: 3, bytes: 4 * PAGE_BYTES });
    assert.equal(await held(empty), expected);
    // Again: nothing travels.
    assert.equal(await into(empty), { frame: 1, epoch: 3, bytes: 0 });
    assert.equal(await held(empty), expected);

    const stale = new MemoryDatabase();
    const other = await PageVersions.open(stale);
    await commit(other, 0, state([2, 9], [3, 1], [4, 9], [900, 3], [2000, 5]));
    await commit(other, 17, state([1, 6]));
    assert.equal(await into(stale), { frame: 1, epoch: 3, bytes: 2 * PAGE_BYTES });
    assert.equal(await held(stale), expected);

    // What opens it finds it damaged, and then as empty as its folder, which was removed.
    const damaged = new MemoryDatabase();
    await commit(await PageVersions.open(damaged), 0, state([2, 9], [3, 1]));
    damaged.flip(0.4, 99);
    const fresh = new MemoryDatabase();
    const opened = [damaged, fresh];
    await hydrate(names, leader, "no-such-folder", () => PageVersions.open(opened.shift()!));
    assert.equal(await held(fresh), expected);
    assert.is((await again.told(1)).kind, "replicated");
    await again.replicator.close();
    await store.close();
  });

  test(`${home}: where the newest snapshot is not whole, the one before is taken; where none is, it is said`, async () => {
    const values = await open();
    const names = { values, shard: "s" };
    const store = await PageVersions.open(new MemoryDatabase());
    const { replicator, told } = replicate(store, values);
    for (const frame of [1, 2]) {
      await commit(store, frame, state([frame, frame], [9, frame]));
      replicator.wake();
      await told(frame);
    }
    await replicator.close();
    const into = async (database: MemoryDatabase) =>
      hydrate(names, { epoch: 1, host: "two" }, "f", () => PageVersions.open(database));
    // Its bytes were changed: that shows only when it is read, when some of it may be in the folder.
    await values.put(`s.blob.${hashOf(pageOf(2))}`, Buffer.alloc(PAGE_BYTES));
    const first = new MemoryDatabase();
    assert.is((await into(first))?.frame, 1);
    assert.equal((await held(first)).contents[0], state([1, 1], [9, 1]));
    await values.remove(`s.blob.${hashOf(pageOf(2))}`, Infinity);
    const second = new MemoryDatabase();
    assert.is((await into(second))?.frame, 1);
    assert.equal((await held(second)).contents, [state([1, 1], [9, 1]), state([1, 1], [9, 1])]);
    await values.remove(`s.blob.${hashOf(pageOf(1))}`, Infinity);
    assert.is(await codeOf(into(new MemoryDatabase())), "snapshot-lost");
    const before = second.size;
    assert.is(await codeOf(into(second)), "snapshot-lost");
    assert.is(second.size, before);
  });
}

/** A home that stops at each write of a blob until it is told to go on. */
function gated(values: Values): { values: Values; blocked: () => Promise<void>; go: () => void } {
  let gate: Promise<void> = Promise.resolve();
  let open = () => {};
  let arrived = () => {};
  return {
    values: Object.assign(Object.create(values) as Values, {
      async put(name: string, bytes: Uint8Array, expected?: number) {
        if (name.includes(".blob.")) {
          arrived();
          await gate;
        }
        return values.put(name, bytes, expected);
      },
    }),
    blocked() {
      gate = new Promise((done) => (open = done));
      return new Promise((done) => (arrived = done));
    },
    go: () => open(),
  };
}

test("checkpoints that are made while one is on its way do not wait, and only the newest of them is next", async () => {
  const memory = new MemoryValues();
  const { values, blocked, go } = gated(memory);
  const database = new MemoryDatabase();
  const store = await PageVersions.open(database);
  const { replicator, told, events } = replicate(store, values);
  const isBlocked = blocked();
  await commit(store, 1, state([1, 1], [2, 1]));
  replicator.wake();
  await isBlocked;
  for (const frame of [2, 3, 4, 5]) {
    await commit(store, frame, state([1, frame], [2, frame]));
    replicator.wake();
  }
  // Three checkpoints of two pages and two records each.
  assert.is(database.size, 3 * (2 + 2));
  assert.is(events.length, 0);
  go();
  await told(2);
  assert.equal(
    events.map((event) => event.kind === "replicated" && event.frame),
    [1, 5],
  );
  assert.equal((await found({ values: memory, shard: "s" })).contents, [
    state([1, 5], [2, 5]),
    state([1, 1], [2, 1]),
  ]);
  await commit(store, 6, state([1, 6], [2, 6]));
  assert.is(database.size, 2 * (2 + 2));
  await replicator.close();
});

test("while the cluster is away nothing is pinned, and what was sent before is not sent again", async () => {
  const memory = new MemoryValues();
  let left = 25;
  let back = () => {};
  const isBack = new Promise<void>((done) => (back = done));
  const sent = new Map<string, number>();
  const away: Values = Object.assign(Object.create(memory) as Values, {
    async put(name: string, bytes: Uint8Array, expected?: number) {
      if (name.includes(".blob.") && left-- <= 0)
        throw new HallelujahError("cluster-unreachable", "nothing answers");
      sent.set(name, (sent.get(name) ?? 0) + 1);
      return memory.put(name, bytes, expected);
    },
    up: () => isBack,
  });
  const database = new MemoryDatabase();
  const store = await PageVersions.open(database);
  const content: Content = new Map(Array.from({ length: 30 }, (_, page) => [page, page + 1]));
  await commit(store, 1, content);
  const { replicator, told } = replicate(store, away);
  const failed = await told(1);
  assert.equal(failed.kind === "failed" && [failed.code, failed.isOver], ["cluster-unreachable", false]);
  for (const frame of [2, 3, 4]) {
    await commit(
      store,
      frame,
      new Map([...content.keys()].slice(20).map((page) => [page, frame * 100 + page])),
    );
    replicator.wake();
  }
  assert.is(database.size, 20 + 2 * 10 + 2 * 2);
  left = Infinity;
  back();
  const done = await told(2);
  assert.ok(done.kind === "replicated" && done.frame === 4 && done.before === undefined);
  assert.is(Math.floor(done.bytes / PAGE_BYTES), 10);
  assert.ok([...sent].every(([name, count]) => count === 1 || name === "s.head"));
  const { contents, garbage } = await found({ values: memory, shard: "s" });
  assert.equal(
    sorted(contents[0]),
    [...content].map(([page, word]) => [page, page < 20 ? word : 400 + page]),
  );
  assert.is(garbage, 0);
  await replicator.close();
});

test("a replica that is not started, closed, or refused keeps no page", async () => {
  const values = new MemoryValues();
  const database = new MemoryDatabase();
  const store = await PageVersions.open(database);
  const { replicator, told } = replicate(store, values, 1);
  await commit(store, 1, state([1, 1]));
  replicator.wake();
  await told(1);
  await Snapshots.claim({ values, shard: "s" }, { epoch: 2, host: "other" });
  await commit(store, 2, state([1, 2]));
  replicator.wake();
  const refused = await told(2);
  assert.equal(refused.kind === "failed" && [refused.code, refused.isOver], ["stream-moved", true]);
  for (const frame of [3, 4, 5]) await commit(store, frame, state([1, frame]));
  assert.is(database.size, 2 * (1 + 2));
  await replicator.close();
});

test.after(close);
test.run();
