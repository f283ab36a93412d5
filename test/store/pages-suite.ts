/** What every home of a `PageStore` must do. */
import * as fc from "fast-check";
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { PAGE_BYTES } from "../../host/core/limits.ts";
import type { PageStore } from "../../host/store/page-store.ts";
import { seeded } from "../run.ts";

/** A place where a store can be opened again and again. */
export interface Disk {
  open(): Promise<PageStore>;
}

/** The first word of each page: all of it is made of that. */
export type Content = Map<number, number>;

export function pageOf(word: number): Uint8Array {
  const words = new Uint32Array(PAGE_BYTES / 4);
  for (let i = 0; i < words.length; i++) words[i] = word + (i % 64) * (word | 1);
  return new Uint8Array(words.buffer);
}

/** Writes pages in one call. */
export async function put(store: PageStore, content: Content): Promise<void> {
  const bytes = new Uint8Array(content.size * PAGE_BYTES);
  [...content.values()].forEach((word, i) => bytes.set(pageOf(word), i * PAGE_BYTES));
  await store.write(Uint32Array.from(content.keys()), bytes.buffer);
}

/** All pages of a checkpoint. Fails if one comes twice, or is not as any was written. */
export async function restored(store: PageStore, number: number): Promise<Content> {
  const content: Content = new Map();
  await store.restore(number, (page, bytes) => {
    const word = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    assert.not(content.has(page), `page ${page} came twice`);
    assert.ok(Buffer.from(pageOf(word)).equals(bytes), `page ${page} is as it was written`);
    content.set(page, word);
  });
  return content;
}

export async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).name;
  }
  return "none";
}

export const sorted = (content: Content) => [...content].toSorted(([a], [b]) => a - b);

type Step =
  | { kind: "write"; pages: number[]; word: number }
  | { kind: "commit"; end: number | undefined }
  | { kind: "abandon" }
  | { kind: "reopen"; restore: 0 | 1 | undefined }
  | { kind: "restore"; which: 0 | 1 };

const page = fc.oneof(fc.integer({ min: 2048, max: 2056 }), fc.constantFrom(0, 300, 65_535));
const which = fc.constantFrom(0 as const, 1 as const);
export const stepsOf = (maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant("write" as const),
          pages: fc.uniqueArray(page, { minLength: 1, maxLength: 5 }),
          word: fc.integer({ min: 1, max: 0xffff_ffff }),
        }),
      },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("commit" as const),
          end: fc.option(fc.integer({ min: 2048, max: 2058 }), { nil: undefined, freq: 3 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("abandon" as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("reopen" as const),
          restore: fc.option(which, { nil: undefined }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("restore" as const), which }) },
    ),
    { maxLength },
  );

interface Committed {
  number: number;
  content: Content;
}

/** The plain model: whole copies of everything. */
export class Model {
  /** Newest first, at most two. */
  committed: Committed[] = [];
  private base: Committed | undefined;
  private written: Content = new Map();
  private step = 0;

  /** Does a step to a store and to the model, and looks whether they agree. Resolves with the store, which may be another. */
  async run(step: Step, disk: Disk, store: PageStore): Promise<PageStore> {
    this.step++;
    if (step.kind === "write") {
      const content = new Map(step.pages.map((each, i) => [each, (step.word + i) >>> 0]));
      await put(store, content);
      for (const [each, word] of content) this.written.set(each, word);
    } else if (step.kind === "commit") {
      const content = new Map([...(this.base?.content ?? []), ...this.written]);
      for (const each of content.keys()) if (each >= (step.end ?? Infinity)) content.delete(each);
      const number = await store.commit({ step: this.step }, step.end);
      assert.ok(number > (this.committed[0]?.number ?? 0));
      this.committed = [{ number, content }, ...(this.base ? [this.base] : [])];
      this.base = this.committed[0];
      this.written = new Map();
      assert.is((store.checkpoints[0].meta as { step: number }).step, this.step);
    } else if (step.kind === "abandon") {
      const pages = await store.abandon();
      assert.equal([...pages].toSorted(), [...this.written.keys()].toSorted());
      this.written = new Map();
    } else if (step.kind === "reopen") {
      await store.close();
      store = await disk.open();
      assert.is(store.damage, undefined);
      this.base = undefined;
      this.written = new Map();
      if (step.restore !== undefined) await this.restore(store, step.restore);
    } else if (this.written.size === 0) {
      await this.restore(store, step.which);
    }
    assert.equal(
      store.checkpoints.map(({ number }) => number),
      this.committed.map(({ number }) => number),
    );
    return store;
  }

  private async restore(store: PageStore, index: number): Promise<void> {
    const wanted = this.committed[index];
    if (!wanted) return;
    assert.equal(sorted(await restored(store, wanted.number)), sorted(wanted.content));
    this.base = wanted;
  }
}

/** Adds the tests that every home must pass; `runs` random histories. */
export function pageStoreTests(test: Test, disk: () => Disk, runs: number): void {
  test("a store does what a plain copy of everything would", async () => {
    await fc.assert(
      fc.asyncProperty(stepsOf(25), async (steps) => {
        const place = disk();
        const model = new Model();
        let store = await place.open();
        for (const step of steps) store = await model.run(step, place, store);
        await store.close();
      }),
      seeded(runs),
    );
  });

  test("what was not committed is not there when the store is opened again", async () => {
    const place = disk();
    let store = await place.open();
    await put(store, new Map([[2048, 1]]));
    await store.close();
    store = await place.open();
    assert.equal(store.checkpoints, []);
    await put(store, new Map([[2049, 2]]));
    const number = await store.commit("second");
    assert.equal(sorted(await restored(store, number)), [[2049, 2]]);
    await store.close();
  });

  test("meta is whatever JSON can hold", async () => {
    const place = disk();
    let store = await place.open();
    const meta = { frame: 2 ** 52, places: [[0, 1]], name: "ä\u2028", none: null };
    await store.commit(meta);
    await store.commit(undefined);
    await store.close();
    store = await place.open();
    assert.equal(
      store.checkpoints.map((each) => each.meta),
      [null, meta],
    );
    await store.close();
  });

  test("misuse is refused and changes nothing", async () => {
    const store = await disk().open();
    const number = await store.commit(1);
    assert.is(await failure(store.write(Uint32Array.of(1), new ArrayBuffer(5))), "TypeError");
    assert.is(await failure(store.write(Uint32Array.of(65_536), new ArrayBuffer(PAGE_BYTES))), "TypeError");
    assert.is(await failure(store.write(new Uint32Array(65), new ArrayBuffer(65 * PAGE_BYTES))), "TypeError");
    assert.is(await failure(store.restore(number + 1, () => {})), "TypeError");
    await put(store, new Map([[1, 1]]));
    assert.is(await failure(store.restore(number, () => {})), "TypeError");
    assert.is(await store.commit(2), number + 1);
    assert.is(store.damage, undefined);
    await store.close();
  });

  test("calls are carried out in their order, without waiting for each other", async () => {
    const store = await disk().open();
    const calls = [
      put(store, new Map([[1, 1]])),
      store.commit(1),
      put(store, new Map([[1, 2]])),
      put(store, new Map([[2, 2]])),
      store.commit(2),
    ];
    const results = await Promise.all(calls);
    assert.equal(sorted(await restored(store, results[4] as number)), [
      [1, 2],
      [2, 2],
    ]);
    assert.equal(sorted(await restored(store, results[1] as number)), [[1, 1]]);
    await store.close();
  });

  test("whoever takes pages may fail, and the store goes on", async () => {
    const store = await disk().open();
    await put(store, new Map(Array.from({ length: 64 }, (_, i) => [i, i])));
    const number = await store.commit(1);
    const broken = store.restore(number, () => {
      throw new RangeError("no room");
    });
    assert.is(await failure(broken), "RangeError");
    assert.is((await restored(store, number)).size, 64);
    await store.close();
  });
}
