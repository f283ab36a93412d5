/** The store over RocksDB, and files that are damaged. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { openPages } from "../../host/store/pages.ts";
import { scratch, seeded } from "../run.ts";
import { type Content, failure, pageOf, pageStoreTests, put, restored, sorted } from "./pages-suite.ts";

const test = suite("host/store/pages in RocksDB");

function newFolder(): string {
  return mkdtempSync(join(scratch(), "store-"));
}

function disk() {
  const folder = newFolder();
  return { folder, open: () => openPages(folder) };
}

pageStoreTests(test, disk, 12);

/** What the checkpoints of `filled` hold: 1, 2. */
const CONTENTS: Content[] = [
  new Map(Array.from({ length: 8 }, (_, i) => [2048 + i, 100 + i])),
  new Map([...Array.from({ length: 8 }, (_, i) => [2048 + i, 100 + i] as const), [2049, 7], [2060, 8]]),
];

/** A store with two checkpoints: the first in a table, the second in the log. */
async function filled(): Promise<string> {
  const { folder, open } = disk();
  let store = await open();
  await put(store, CONTENTS[0]);
  await store.commit(1);
  await store.close();
  store = await open();
  await restored(store, 1);
  await put(
    store,
    new Map([
      [2049, 7],
      [2060, 8],
    ]),
  );
  await store.commit(2);
  await store.close();
  return folder;
}

/** Opens a damaged store. Whatever it gives has to be right, and what it does not give has to be told. */
async function examine(folder: string): Promise<string[]> {
  const seen: string[] = [];
  let store: Awaited<ReturnType<typeof openPages>>;
  try {
    store = await openPages(folder);
  } catch (error) {
    assert.is((error as { code: string }).code, "store-damaged");
    assert.match((error as Error).message, folder);
    return ["not opened"];
  }
  if (store.damage) seen.push(store.damage.code);
  for (const { number, meta } of store.checkpoints) {
    let all: [number, number][] = [];
    const result = await failure(restored(store, number).then((content) => (all = sorted(content))));
    seen.push(`${number}: ${result}`);
    if (result !== "none") assert.is(result, "store-damaged");
    else {
      assert.is(meta, number);
      assert.equal(all, sorted(CONTENTS[number - 1]));
    }
  }
  if (store.checkpoints[0]?.number !== 2) assert.is(store.damage?.code, "store-damaged");
  await store.close();
  return seen;
}

test("files that were changed or cut off are found out, whichever they are", async () => {
  const whole = await filled();
  const tables = newFolder();
  cpSync(whole, tables, { recursive: true });
  // Opening it again moves everything into tables.
  assert.equal(await examine(tables), ["2: none", "1: none"]);
  const counts = new Map<string, number>();
  const places = [whole, tables].flatMap((from) =>
    readdirSync(from)
      .filter((name) => name !== "LOCK" && readFileSync(join(from, name)).length)
      // What lies in these matters most.
      .flatMap((name) =>
        Array.from({ length: /log$|sst$|^STORE$/.test(name) ? 3 : 1 }, () => ({ from, name })),
      ),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...places),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.nat(7),
      fc.boolean(),
      async ({ from, name }, where, bit, cut) => {
        const folder = newFolder();
        cpSync(from, folder, { recursive: true });
        const path = join(folder, name);
        const bytes = readFileSync(path);
        const at = Math.floor(where * bytes.length);
        if (cut) truncateSync(path, at);
        else {
          bytes[at] ^= 1 << bit;
          writeFileSync(path, bytes);
        }
        const seen = (await examine(folder)).join(", ");
        const what = `${name.replace(/[\d.-]+/g, "")} ${cut ? "cut" : "changed"}: ${seen}`;
        counts.set(what, (counts.get(what) ?? 0) + 1);
        rmSync(folder, { recursive: true });
      },
    ),
    seeded(80),
  );
  for (const [what, count] of [...counts].toSorted()) console.log(`${count} x ${what}`);
});

/** Changes a byte of the last place where a page's bytes lie in any file. */
function damagePage(folder: string, word: number): void {
  const wanted = Buffer.from(pageOf(word)).subarray(0, 4096);
  for (const name of readdirSync(folder)) {
    const bytes = readFileSync(join(folder, name));
    const at = bytes.lastIndexOf(wanted);
    if (at < 0) continue;
    bytes[at + 10] ^= 4;
    writeFileSync(join(folder, name), bytes);
    return;
  }
  assert.unreachable("the page lies in no file");
}

test("damage of the newer checkpoint leaves the older one, on which work can go on", async () => {
  const folder = await filled();
  await (await openPages(folder)).close();
  damagePage(folder, 7);
  let store = await openPages(folder);
  await restored(store, 2).then(
    () => assert.unreachable(),
    (error: Error) => assert.match(error.message, /page 2049 .*checkpoint 2/),
  );
  assert.equal(sorted(await restored(store, 1)), sorted(CONTENTS[0]));
  await put(store, new Map([[2049, 9]]));
  const number = await store.commit(3);
  await store.close();
  store = await openPages(folder);
  assert.equal(
    store.checkpoints.map((each) => each.number),
    [number, 1],
  );
  assert.equal(sorted(await restored(store, number)), sorted(new Map([...CONTENTS[0], [2049, 9]])));
  await store.close();
});

test("damage of what only the older checkpoint has leaves the newer one", async () => {
  const folder = await filled();
  await (await openPages(folder)).close();
  damagePage(folder, 101);
  assert.equal(await examine(folder), ["2: none", "1: store-damaged"]);
});

test("files that are missing are no new store", async () => {
  for (const missing of [/CURRENT/, /STORE/, /MANIFEST/, /sst$/]) {
    const folder = await filled();
    for (const name of readdirSync(folder).filter((each) => missing.test(each))) rmSync(join(folder, name));
    const seen = await examine(folder);
    assert.ok(seen.includes("not opened") || seen.includes("store-damaged"), `${missing}: ${seen.join()}`);
  }
});

test("a folder is made only when there is none, and is open once", async () => {
  const folder = join(newFolder(), "a", "b");
  const store = await openPages(folder);
  assert.ok(existsSync(join(folder, "STORE")));
  assert.is(await failure(openPages(folder)), "store-unwritable");
  await store.commit(1);
  await store.close();
  assert.is(await failure(store.commit(2)), "store-unwritable");
  await store.close();
  const file = join(newFolder(), "file");
  writeFileSync(file, "");
  assert.is(await failure(openPages(join(file, "c"))), "store-unwritable");
});

test("what was left when a store was being made is taken over", async () => {
  const folder = await filled();
  const unfinished = newFolder();
  const first = readFileSync(join(folder, "STORE"), "utf8");
  const store = await openPages(unfinished);
  await store.close();
  assert.not.equal(readFileSync(join(unfinished, "STORE"), "utf8"), first);
  for (const name of readdirSync(unfinished).filter((each) => each !== "STORE"))
    rmSync(join(unfinished, name));
  mkdirSync(join(unfinished, "lost"), { recursive: true });
  const again = await openPages(unfinished);
  assert.is(await again.commit(1), 1);
  await again.close();
});

/** Runs a command where `disk` is a file system of 512 MiB, which nobody else sees and which is gone with the process. */
function onDisk(disk: string, command: string[]): { status: number | null; output: string } {
  const mount = 'mount -t tmpfs -o size=512m none "$0" && exec "$@"';
  const { status, stdout, stderr } = spawnSync("unshare", ["-rm", "sh", "-c", mount, disk, ...command], {
    encoding: "utf8",
    timeout: 50_000,
  });
  return { status, output: `${stdout}${stderr}` };
}

const mounts = onDisk(newFolder(), ["true"]).status === 0;

(mounts ? test : test.skip)(
  "a full disk is told; the checkpoints stay; with room again the store goes on",
  () => {
    const disk = newFolder();
    const script = join(import.meta.dirname, "pages-full.ts");
    const { status, output } = onDisk(disk, [process.execPath, ...process.execArgv, script, disk]);
    assert.is(status, 0, output);
  },
);

test.run();
