/** Snapshots in each home: what stands, who may write, what goes. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { hashOf } from "../../host/substrate/blobs.ts";
import { blobsOfShard, readHead, removeSnapshots, Snapshots } from "../../host/substrate/snapshots.ts";
import { MemoryValues, type Values } from "../../host/substrate/values.ts";
import { type Content, pageOf } from "../store/pages-suite.ts";
import { random, seedOf } from "../run.ts";
import { codeOf, homes } from "./homes.ts";
import { found, mortal, save } from "./states.ts";

const test = suite("host/substrate/snapshots: states of a shard, in each home");
const { all, close } = await homes();

/** Takes over as a leader does that writes. */
async function claim(...args: Parameters<typeof Snapshots.claim>): Promise<Snapshots> {
  const snapshots = await Snapshots.claim(...args);
  await snapshots.collect();
  return snapshots;
}

const leader = (epoch: number, host = `host${epoch}`) => ({ epoch, host });
const state = (...words: [page: number, word: number][]): Content => new Map(words);

for (const [home, open] of all) {
  test(`${home}: the last two stand, and what neither needs is gone`, async () => {
    const names = { values: await open(), shard: "000-256" };
    const snapshots = await claim(names, leader(1));
    assert.equal((await found(names)).frames, []);
    const states = [
      state([3, 1], [700, 2]),
      state([3, 1], [700, 3], [9, 9]),
      state([3, 4]),
      state(),
      state([3, 1]),
    ];
    for (const [i, content] of states.entries()) {
      await save(snapshots, i + 1, content);
      const there = await found(names);
      assert.equal(there.frames, i ? [i + 1, i] : [1]);
      assert.equal(there.contents, i ? [content, states[i - 1]] : [content]);
      assert.is(there.garbage, 0);
      assert.equal(there.snapshots[0].meta, { frame: i + 1 });
    }
    assert.is(snapshots.standing[0].entry.frame, 5);
    await removeSnapshots(names);
    assert.equal(await names.values.list("000-256."), []);
  });

  test(`${home}: of a page that changes, a leaf and a manifest are stored beside it, and nothing else`, async () => {
    const names = { values: await open(), shard: "s" };
    const snapshots = await claim(names, leader(1));
    const content: Content = new Map(Array.from({ length: 1024 }, (_, page) => [page, 1]));
    for (const page of [0, 256, 512, 768]) content.set(page, page);
    await save(snapshots, 1, content);
    const before = await blobsOfShard(names).list();
    await save(snapshots, 2, content.set(300, 77));
    const after = await blobsOfShard(names).list();
    const added = [...after].filter((hash) => !before.has(hash));
    assert.is(added.length, 3);
    assert.ok(added.includes(hashOf(pageOf(77))));
    // Nothing changed but the frame: the manifest says so in the head alone.
    await save(snapshots, 2, content);
    assert.is((await blobsOfShard(names).list()).size, after.size);
    assert.equal((await found(names)).frames, [2, 1]);
  });

  test(`${home}: a manifest that one blob does not hold goes in parts`, async () => {
    const names = { values: await open(), shard: "s" };
    const snapshots = await claim(names, leader(1));
    const meta = { frame: 1, places: Array.from({ length: 100_000 }, (_, i) => [i, i * 7]) };
    await snapshots.save(1, meta, []);
    const { snapshots: there } = await found(names);
    assert.ok(there[0].entry.parts.length > 1);
    assert.equal(there[0].meta, meta);
  });

  test(`${home}: whoever led before is refused, and harms nothing with what he still stores and removes`, async () => {
    const names = { values: await open(), shard: "s" };
    const old = await claim(names, leader(1));
    await save(old, 1, state([1, 1], [2, 2]));
    await save(old, 2, state([1, 1], [2, 3]));
    const taken = await claim(names, leader(2));
    await save(taken, 3, state([1, 4], [2, 3]));
    // He stores the very pages that the other one may need, and others.
    assert.is(await codeOf(save(old, 4, state([1, 4], [2, 5]))), "stream-moved");
    assert.is(await codeOf(claim(names, leader(1))), "stream-moved");
    await save(taken, 5, state([1, 4], [2, 6]));
    const there = await found(names);
    assert.equal(there.frames, [5, 3]);
    assert.equal(there.contents, [state([1, 4], [2, 6]), state([1, 4], [2, 3])]);
    // What he left goes with the next one who leads; of the same epoch, too.
    const third = await claim(names, leader(2, "third"));
    assert.is(third.standing[0].entry.frame, 5);
    assert.is((await found(names)).garbage, 0);
    assert.is(await codeOf(save(taken, 6, state())), "stream-moved");
  });

  test(`${home}: a state of which a page was not stored is no snapshot`, async () => {
    const names = { values: await open(), shard: "s" };
    const snapshots = await claim(names, leader(1));
    assert.match(await codeOf(snapshots.save(1, {}, [hashOf(pageOf(1))])), "was not stored");
    assert.equal((await found(names)).frames, []);
  });

  test(`${home}: shards of a stream do not touch one another`, async () => {
    const values = await open();
    const [a, b] = [
      { values, shard: "a" },
      { values, shard: "a.b" },
    ];
    await save(await claim(a, leader(1)), 1, state([1, 1]));
    await save(await claim(b, leader(1)), 2, state([1, 1]));
    await claim(a, leader(2));
    await removeSnapshots(a);
    const there = await found(b);
    assert.equal([there.frames, there.garbage], [[2], 0]);
  });

  test(`${home}: what was lost of a snapshot is stored again by whoever leads next, and the other one stays as it is`, async () => {
    const names = { values: await open(), shard: "s" };
    const old = await claim(names, leader(1));
    await save(old, 1, state([1, 1], [2, 2]));
    await save(old, 2, state([1, 1], [2, 3]));
    await names.values.remove(`s.blob.${hashOf(pageOf(3))}`, Infinity);
    const snapshots = await claim(names, leader(2));
    assert.equal(
      snapshots.standing.map(({ entry }) => entry.frame),
      [1],
    );
    await save(snapshots, 3, state([1, 1], [2, 3], [4, 4]));
    assert.equal((await found(names)).contents[0], state([1, 1], [2, 3], [4, 4]));
    // A manifest: it cannot be read, and is taken for none.
    const [entry] = (await readHead(names))!.manifests;
    await names.values.remove(`s.blob.${entry.parts[0]}`, Infinity);
    const third = await claim(names, leader(3));
    assert.equal(
      third.standing.map(({ entry }) => entry.frame),
      [1],
    );
    assert.equal(
      third.losses.map(({ code }) => code),
      ["blob-missing"],
    );
    await save(third, 4, state([1, 1]));
    assert.equal(
      (await readHead(names))!.manifests.map(({ frame }) => frame),
      [4, 1],
    );
  });
}

test("what another version of Hallelujah wrote is not touched", async () => {
  const names = { values: new MemoryValues(), shard: "s" };
  const old = await claim(names, leader(1));
  await save(old, 1, state([1, 1]));
  const manifest = await old.blobs.put(Buffer.from('{"format":2}'));
  const head = (await readHead(names))!;
  const { number, ...rest } = head;
  rest.manifests[0].parts = [manifest];
  await names.values.put("s.head", Buffer.from(JSON.stringify(rest)), number);
  const before = new Map(names.values.values);
  assert.is(await codeOf(claim(names, leader(2))), "snapshot-version");
  before.delete("s.head");
  for (const [name, value] of before) assert.equal(names.values.values.get(name), value);
  await names.values.put("s.head", Buffer.from("{}"));
  assert.is(await codeOf(claim(names, leader(2))), "snapshot-damaged");
});

/** A state that differs from another in some pages. */
function changed(content: Content, next: () => number): Content {
  const made: Content = new Map(content);
  const count = 1 + Math.floor(next() * 3);
  for (let i = 0; i < count; i++) {
    const page = Math.floor(next() * 6) * 120;
    // Few words, so that what was there comes back, and is the same at several places.
    if (next() < 0.2) made.delete(page);
    else made.set(page, 1 + Math.floor(next() * 5));
  }
  return made;
}

test("a process that is killed between any two writes leaves snapshots that are whole, and garbage that goes", async () => {
  const next = random(seedOf("snapshots that are killed"));
  for (const isDone of [false, true]) {
    let isOver = false;
    for (let dies = 1; !isOver; dies++) {
      const values = new MemoryValues();
      const names = { values, shard: "s" };
      const one = mortal(values, dies, isDone);
      const saved: Content[] = [];
      let content: Content = new Map();
      try {
        const snapshots = await claim({ values: one.values, shard: "s" }, leader(1));
        for (let frame = 0; frame < 6; frame++) {
          content = changed(content, next);
          saved.push(content);
          await save(snapshots, frame, content);
        }
      } catch {}
      isOver = !one.isDead();
      const there = await found(names);
      for (const [i, frame] of there.frames.entries()) assert.equal(there.contents[i], saved[frame]);
      const acknowledged = one.isDead() ? saved.length - 1 : saved.length;
      assert.ok((there.frames[0] ?? -1) >= acknowledged - 1, `${there.frames} of ${acknowledged}`);
      const after = await claim(names, leader(2));
      assert.is((await found(names)).garbage, 0);
      await save(after, 10, changed(content, next));
      assert.equal((await found(names)).frames, [10, ...there.frames.slice(0, 1)]);
      assert.is((await found(names)).garbage, 0);
    }
  }
});

/** A home whose writes come late, or fail although they are done, or are not done; each when the seed says so. */
function late(values: Values, next: () => number, under: Set<Promise<unknown>>): Values {
  const steps = async () => {
    for (let i = Math.floor(next() * 12); i > 0; i--) await new Promise((done) => setImmediate(done));
  };
  const write = async <T>(work: () => Promise<T>): Promise<T> => {
    const luck = next();
    // What was sent arrives sooner or later, whatever its sender does.
    const done = steps().then(work);
    under.add(done);
    void done.catch(() => {}).then(() => under.delete(done));
    if (luck < 0.03) throw new Error("the answer was lost");
    return done;
  };
  return {
    bytesMax: values.bytesMax,
    put: (...args) => write(() => values.put(...args)),
    remove: (...args) => write(() => values.remove(...args)),
    removeAll: (...args) => write(() => values.removeAll(...args)),
    get: (...args) => steps().then(() => values.get(...args)),
    list: (...args) => steps().then(() => values.list(...args)),
    up: () => values.up(),
    close: () => values.close(),
  };
}

test("leaders of several epochs that race, their writes late or lost: what stands is whole at any time, and of nobody who was refused", async () => {
  const seed = seedOf("snapshots that race");
  const next = random(seed);
  for (let round = 0; round < 60; round++) {
    const values = new MemoryValues();
    const names = { values, shard: "s" };
    const states = new Map<string, Content>();
    const under = new Set<Promise<unknown>>();
    let epochs = 0;
    const lead = async (epoch: number) => {
      const own = { values: late(values, next, under), shard: "s" };
      let snapshots: Snapshots | undefined;
      let content: Content = new Map();
      for (let i = 0; i < 25; i++) {
        const frame = epoch * 1000 + i;
        content = changed(content, next);
        try {
          snapshots ??= await claim(own, leader(epoch));
          states.set(String(frame), content);
          await save(snapshots, frame, content);
          assert.ok((await readHead(names))!.epoch >= epoch);
        } catch (error) {
          const { code } = error as { code?: string };
          if (code === "stream-moved") return;
          assert.is((error as Error).message, "the answer was lost");
        }
        await check();
        if (next() < 0.1) snapshots = undefined; // killed, and started again
      }
    };
    const check = async () => {
      const head = await readHead(names);
      if (!head) return;
      assert.ok(head.manifests.every((entry) => entry.epoch <= head.epoch));
      // It may change while it is looked at.
      const there = await found(names).catch(async (error: unknown) => {
        if ((await readHead(names))?.write === head.write) throw error;
        return undefined;
      });
      if (!there) return;
      for (const [i, frame] of there.frames.entries())
        assert.equal(there.contents[i], states.get(String(frame)), `frame ${frame}, round ${round}`);
    };
    await Promise.all(
      Array.from({ length: 3 }, async (_, i) => {
        for (let wait = i * 60 * next(); wait > 0; wait--) await new Promise((done) => setImmediate(done));
        await lead(++epochs);
      }),
    );
    while (under.size) await Promise.allSettled(under);
    await check();
    await claim(names, leader(epochs + 1));
    const there = await found(names);
    assert.is(there.garbage, 0);
  }
});

test.after(close);
test.run();
