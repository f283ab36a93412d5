/** A store on a disk that runs full: argument 1 is an empty folder of a file system of 512 MiB. For `pages-rocks.test.ts`. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { openPages } from "../../host/store/pages.ts";
import { failure, put, restored, sorted } from "./pages-suite.ts";

const [, , disk] = process.argv;
const ballast = join(disk, "ballast");
writeFileSync(ballast, Buffer.alloc(200 << 20));

let store = await openPages(join(disk, "store"));
await put(store, new Map([[1, 1]]));
await store.commit(1);
await put(
  store,
  new Map([
    [1, 3],
    [2, 2],
  ]),
);
await store.commit(2);
const numbers = () => store.checkpoints.map(({ number }) => number);

/** Writes until it fails; says how many pages that were, and how it failed. */
async function writeAll(): Promise<{ written: number; code: string }> {
  let written = 0;
  let code = "none";
  while (code === "none" && written < 6000) {
    const pages = Array.from({ length: 32 }, () => 100 + written++);
    code = await failure(put(store, new Map(pages.map((page) => [page, page]))));
  }
  return { written, code };
}

const { written, code } = await writeAll();
assert.is(code, "disk-full");
assert.is(await failure(store.commit(3)), "disk-full");
assert.ok(written > 0);
assert.equal(numbers(), [2, 1]);

rmSync(ballast);
assert.is((await store.abandon()).length, written);
await put(store, new Map([[7, 7]]));
const number = await store.commit(4);
await store.close();

store = await openPages(join(disk, "store"));
assert.equal(numbers(), [number, 2]);
assert.equal(sorted(await restored(store, 2)), [
  [1, 3],
  [2, 2],
]);
assert.equal(sorted(await restored(store, number)), [
  [1, 3],
  [2, 2],
  [7, 7],
]);
await store.close();

// Also a store that cannot be gone on with can be closed.
store = await openPages(join(disk, "store"));
assert.is((await writeAll()).code, "disk-full");
await store.close();
