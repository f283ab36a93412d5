/** The store over memory, and what only that can play: power that goes, disks that fail, bits that flip. */
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { HallelujahError } from "../../host/core/errors.ts";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import { memoryPages } from "../../host/store/pages.ts";
import { seeded } from "../run.ts";
import { failure, Model, pageStoreTests, put, restored, sorted, stepsOf } from "./pages-suite.ts";

const test = suite("host/store/pages in memory");

function disk() {
  const database = new MemoryDatabase();
  return { database, open: () => memoryPages(database) };
}

pageStoreTests(test, disk, 300);

test("power that goes leaves the checkpoints that were committed, and nothing else", async () => {
  await fc.assert(
    fc.asyncProperty(stepsOf(20), stepsOf(6), fc.nat(8), async (steps, more, batches) => {
      const place = disk();
      const model = new Model();
      let store = await place.open();
      for (const step of steps) store = await model.run(step, place, store);
      const found = place.database.afterPowerLoss(batches);
      store = await memoryPages(found);
      assert.is(store.damage, undefined);
      assert.equal(
        store.checkpoints.map(({ number }) => number),
        model.committed.map(({ number }) => number),
      );
      for (const { number, content } of model.committed)
        assert.equal(sorted(await restored(store, number)), sorted(content));
      // What the lost process left behind does not come back in what is built on it.
      const after = { open: () => memoryPages(found) };
      for (const step of [{ kind: "reopen" as const, restore: 0 as const }, ...more])
        store = await model.run(step, after, store);
    }),
    seeded(200),
  );
});

test("a bit that flips is found, or does no harm; the older checkpoint outlives damage of the newer", async () => {
  await fc.assert(
    fc.asyncProperty(
      stepsOf(20),
      fc.noBias(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
      fc.noBias(fc.nat()),
      async (steps, choice, bit) => {
        const place = disk();
        const model = new Model();
        let store = await place.open();
        for (const step of steps) store = await model.run(step, place, store);
        if (!place.database.size) return;
        place.database.flip(choice, bit);
        store = await memoryPages(place.database);
        const [newest, older] = model.committed;
        const results: string[] = [];
        for (const { number, content } of store.checkpoints.map(
          (each) => model.committed.find((other) => other.number === each.number)!,
        )) {
          let all: [number, number][] = [];
          const result = await failure(restored(store, number).then((got) => (all = sorted(got))));
          if (result === "none") assert.equal(all, sorted(content));
          else assert.is(result, "store-damaged");
          results.push(result);
        }
        // One bit hits one page or one record, of which there are two.
        assert.is(store.checkpoints.length, model.committed.length);
        if (!older || results[1] === "none") return;
        // What the older one lacks now, the newer one may have replaced, but nothing else can have spared it.
        if (results[0] === "none") assert.not.equal(sorted(newest.content), sorted(older.content));
      },
    ),
    seeded(300),
  );
});

test("a checkpoint that is gone although it was durable is reported, and the older one restored", async () => {
  const place = disk();
  let store = await place.open();
  await put(store, new Map([[1, 1]]));
  const older = await store.commit(1);
  const before = place.database.afterPowerLoss(0);
  await put(store, new Map([[1, 2]]));
  const newer = await store.commit(2);
  // As if the end of RocksDB's log could not be read any more.
  before.noteNewest(place.database.newest);
  store = await memoryPages(before);
  assert.is(store.damage?.code, "store-damaged");
  assert.match(store.damage!.message, `checkpoint ${newer}`);
  assert.equal(sorted(await restored(store, older)), [[1, 1]]);
  // Its number is not given again.
  assert.ok((await store.commit(3)) > newer);
  store = await memoryPages(before);
  assert.is(store.damage, undefined);
});

test("after a write that failed nothing is taken until it is abandoned, and the checkpoints are as before", async () => {
  for (const at of ["write", "commit"]) {
    const place = disk();
    const store = await place.open();
    await put(store, new Map([[1, 1]]));
    const number = await store.commit(1);
    await put(store, new Map([[2, 2]]));
    const full = new HallelujahError("disk-full", "full");
    place.database.failure = full;
    assert.is(await failure(at === "write" ? put(store, new Map([[3, 3]])) : store.commit(2)), "disk-full");
    assert.is(await failure(put(store, new Map([[4, 4]]))), "disk-full");
    assert.is(await failure(store.commit(2)), "disk-full");
    place.database.failure = full;
    assert.is(await failure(store.abandon()), "disk-full");
    assert.equal([...(await store.abandon())].toSorted(), at === "write" ? [2, 3] : [2]);
    assert.equal(
      store.checkpoints.map((each) => each.number),
      [number],
    );
    await put(store, new Map([[2, 5]]));
    assert.equal(sorted(await restored(store, await store.commit(3))), [
      [1, 1],
      [2, 5],
    ]);
  }
});

test("a commit that is on disk although it failed counts, as what it took the place of is gone", async () => {
  const place = disk();
  let store = await place.open();
  for (const word of [1, 2]) {
    await put(store, new Map([[1, word]]));
    await store.commit(word);
  }
  await put(store, new Map([[1, 3]]));
  place.database.failsLate = true;
  place.database.failure = new HallelujahError("store-unwritable", "it cannot be synced");
  assert.is(await failure(store.commit(3)), "store-unwritable");
  place.database.failure = new HallelujahError("store-unwritable", "nor now");
  assert.is(await failure(store.abandon()), "store-unwritable");
  assert.equal([...(await store.abandon())], [1]);
  store = await memoryPages(place.database.afterPowerLoss(0));
  assert.is(store.damage, undefined);
  assert.equal(
    store.checkpoints.map(({ number }) => number),
    [3, 2],
  );
  for (const number of [3, 2]) assert.equal(sorted(await restored(store, number)), [[1, number]]);
});

test("what no checkpoint needs is deleted", async () => {
  const place = disk();
  const store = await place.open();
  for (let round = 1; round <= 10; round++) {
    await put(store, new Map(Array.from({ length: 8 }, (_, i) => [i, round])));
    await put(store, new Map([[9, round]]));
    await store.commit(round, 9);
  }
  // Two checkpoints of eight pages and two records each.
  assert.is(place.database.size, 2 * (8 + 2));
  await put(store, new Map([[9, 1]]));
  await store.abandon();
  assert.is(place.database.size, 2 * (8 + 2));
});

test("what a process left that was killed is deleted, too", async () => {
  const place = disk();
  let store = await place.open();
  await put(store, new Map([[1, 1]]));
  await store.commit(1);
  await put(store, new Map([[2, 2]]));
  store = await place.open();
  await restored(store, 1);
  await put(store, new Map([[3, 3]]));
  await store.commit(2);
  // Two pages, and two records of each checkpoint.
  assert.is(place.database.size, 2 + 2 * 2);
});

test("records of which both copies are damaged are reported, the older one's too", async () => {
  for (const which of [0, 1]) {
    const place = disk();
    let store = await place.open();
    await put(store, new Map([[1, 1]]));
    await store.commit(1);
    await put(store, new Map([[1, 2]]));
    await store.commit(2);
    // Keys sort as records, pages, records, by checkpoint.
    for (const index of [which, which + 4]) place.database.flip((index + 0.5) / 6, 99);
    store = await place.open();
    assert.equal(
      store.checkpoints.map(({ number }) => number),
      [2 - which],
    );
    assert.match(store.damage!.message, `checkpoint ${which + 1}`);
  }
});

test("after a restore that failed there is no base", async () => {
  const place = disk();
  const store = await place.open();
  await put(store, new Map([[1, 1]]));
  const older = await store.commit(1);
  await put(store, new Map([[1, 2]]));
  const newer = await store.commit(2);
  // Keys sort as records, pages, records: this is the older page.
  place.database.flip(0.35, 5000);
  assert.equal(sorted(await restored(store, newer)), [[1, 2]]);
  assert.is(await failure(restored(store, older)), "store-damaged");
  await put(store, new Map([[3, 3]]));
  assert.equal(sorted(await restored(store, await store.commit(3))), [[3, 3]]);
});

test.run();
