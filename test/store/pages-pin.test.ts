/** A checkpoint that is pinned stays as it is, whatever is committed, and holds up and keeps nothing longer than it has to. */
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import { PageVersions } from "../../host/store/page-versions.ts";
import type { PinnedCheckpoint } from "../../host/store/replica.ts";
import { seeded } from "../run.ts";
import { type Content, failure, Model, pageOf, put, restored, sorted, stepsOf } from "./pages-suite.ts";

const test = suite("host/store/page-versions: a pinned checkpoint");

const pagesOf = ({ versions }: PinnedCheckpoint) =>
  [...versions.entries()].flatMap(([page, version]) => (version ? [page] : []));

async function contentOf(pin: PinnedCheckpoint): Promise<Content> {
  const content: Content = new Map();
  for (const { page, bytes } of await pin.read(pagesOf(pin))) {
    const word = Buffer.from(bytes).readUInt32LE(0);
    assert.ok(Buffer.from(pageOf(word)).equals(bytes));
    content.set(page, word);
  }
  return content;
}

test("there is none before anything is restored or committed", async () => {
  const database = new MemoryDatabase();
  let store = await PageVersions.open(database);
  assert.is(store.pin(), undefined);
  await put(store, new Map([[1, 1]]));
  assert.is(store.pin(), undefined);
  await store.commit({ frame: 1 });
  assert.equal(store.pin()!.meta, { frame: 1 });
  store = await PageVersions.open(database);
  assert.is(store.pin(), undefined);
  await restored(store, 1);
  assert.is(store.pin()!.number, 1);
});

test("what is pinned is read as it was while later checkpoints are made, and goes with the next commit after its release", async () => {
  await fc.assert(
    fc.asyncProperty(stepsOf(15), stepsOf(25), stepsOf(6), async (before, during, after) => {
      const database = new MemoryDatabase();
      // A process that is started again has no pin.
      const stays = (steps: typeof before) => steps.filter(({ kind }) => kind !== "reopen");
      const model = new Model();
      const disk = { open: () => PageVersions.open(database) };
      let store = (await disk.open()) as PageVersions;
      for (const step of before) store = (await model.run(step, disk, store)) as PageVersions;
      const pin = store.pin();
      if (!pin) return;
      const content = await contentOf(pin);
      let isEnded = false;
      for (const step of stays(during)) {
        await model.run(step, disk, store);
        const isThere = await failure(
          contentOf(pin).then((now) => assert.equal(sorted(now), sorted(content))),
        );
        if (isThere === "none") {
          assert.not(isEnded);
          continue;
        }
        assert.is(isThere, "pin-ended");
        // It is given up only for a checkpoint that is older.
        assert.ok(isEnded || !store.checkpoints[1] || store.checkpoints[1].number < pin.number);
        isEnded = true;
      }
      pin.release();
      assert.is(await failure(pin.read([])), "pin-ended");
      for (const step of stays(after)) await model.run(step, disk, store);
      await store.abandon();
      await store.commit({});
      const keys = new Set<string>();
      for (const { number } of store.checkpoints) {
        await restored(store, number);
        for (const [page, version] of store.pin()!.versions.entries())
          if (version) keys.add(`${page} ${version}`);
      }
      // Each page, and two records of each checkpoint.
      assert.is(database.size, keys.size + 2 * store.checkpoints.length);
    }),
    seeded(150),
  );
});

test("a process that is killed while one is pinned finds two checkpoints, and no page of the pinned one after the next", async () => {
  const database = new MemoryDatabase();
  let store = await PageVersions.open(database);
  const all = (word: number): Content => new Map(Array.from({ length: 8 }, (_, page) => [page, word]));
  await put(store, all(1));
  await store.commit(1);
  const pin = store.pin()!;
  for (const word of [2, 3, 4]) {
    await put(store, all(word));
    await store.commit(word);
  }
  assert.equal(sorted(await contentOf(pin)), sorted(all(1)));
  assert.is(database.size, 3 * (8 + 2));
  store = await PageVersions.open(database);
  assert.is(store.damage, undefined);
  assert.equal(
    store.checkpoints.map(({ meta }) => meta),
    [4, 3],
  );
  assert.equal(sorted(await restored(store, store.checkpoints[0].number)), sorted(all(4)));
  await put(store, all(5));
  await store.commit(5);
  assert.is(database.size, 2 * (8 + 2));
});

test("one that is given up for an older checkpoint is not found as a checkpoint by the next process", async () => {
  const database = new MemoryDatabase();
  let store = await PageVersions.open(database);
  for (const word of [1, 2]) {
    await put(store, new Map([[1, word]]));
    await store.commit(word);
  }
  const pin = store.pin()!;
  assert.is(pin.meta, 2);
  await restored(store, 1);
  assert.equal(sorted(await contentOf(pin)), [[1, 2]]);
  await store.commit(3);
  assert.is(await failure(pin.read([1])), "pin-ended");
  store = await PageVersions.open(database);
  assert.equal(
    store.checkpoints.map(({ meta }) => meta),
    [3, 1],
  );
});

test("a page of it that is damaged is named", async () => {
  const database = new MemoryDatabase();
  const store = await PageVersions.open(database);
  await put(store, new Map([[1, 1]]));
  await store.commit(1);
  database.flip(0.5, 99); // keys sort as record, page, record
  assert.is(await failure(store.pin()!.read([1])), "store-damaged");
});

test.run();
