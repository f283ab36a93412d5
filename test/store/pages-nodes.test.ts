/**
 * Stores that were written before: by earlier versions (test/store/data, see `unpack`), and by other Nodes with another RocksDB.
 * Where `OTHER_NODE` names the binary of one, both are tried for real.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32, gunzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { openPages } from "../../host/store/pages.ts";
import { scratch } from "../run.ts";
import { failure, put, restored, sorted } from "./pages-suite.ts";

const test = suite("host/store/pages and Nodes");

const isOlder = Number(process.versions.node.split(".")[0]) < 22;
const OTHER_NODE = process.env["OTHER_NODE"];

function newFolder(): string {
  return mkdtempSync(join(scratch(), "store-"));
}

/** A folder as an earlier version left it: a JSON object of its files' names, and their bytes (gzip, base64). */
function unpack(name: string): string {
  const folder = newFolder();
  const files = JSON.parse(readFileSync(join(import.meta.dirname, "data", name), "utf8")) as Record<
    string,
    string
  >;
  for (const [file, bytes] of Object.entries(files))
    writeFileSync(join(folder, file), gunzipSync(Buffer.from(bytes, "base64")));
  return folder;
}

function contents(folder: string): [string, string][] {
  return readdirSync(folder)
    .toSorted()
    .map((name) => [name, readFileSync(join(folder, name), "base64")]);
}

/** Reads and continues a store of format 1: checkpoint 1 with pages 2048 to 2050, and 2 with 2049 and 2051 changed. */
async function readAndContinue(folder: string): Promise<void> {
  let store = await openPages(folder);
  assert.equal(store.checkpoints, [
    { number: 2, meta: { frame: 20, name: "second" } },
    { number: 1, meta: { frame: 10, name: "first" } },
  ]);
  assert.is(store.damage, undefined);
  assert.equal(sorted(await restored(store, 1)), [
    [2048, 1],
    [2049, 2],
    [2050, 3],
  ]);
  const newest = [
    [2048, 1],
    [2049, 5],
    [2050, 3],
    [2051, 6],
  ] as [number, number][];
  assert.equal(sorted(await restored(store, 2)), newest);
  await put(store, new Map([[2052, 7]]));
  const number = await store.commit(3);
  await store.close();
  store = await openPages(folder);
  assert.equal(sorted(await restored(store, number)), [...newest, [2052, 7]]);
  await store.close();
}

test("format 1, written by RocksDB 6, is read and continued", () =>
  readAndContinue(unpack("format-1-rocksdb-6.json")));

test("format 1, written by RocksDB 9, is read and continued, or refused by an older RocksDB, which touches nothing", async () => {
  const folder = unpack("format-1-rocksdb-9.json");
  if (!isOlder) return readAndContinue(folder);
  const before = contents(folder);
  await openPages(folder).then(
    () => assert.unreachable(),
    (error: { code: string; message: string }) => {
      assert.is(error.code, "store-newer");
      assert.match(error.message, /Node 22 or newer/);
    },
  );
  assert.equal(contents(folder), before);
});

test("a newer format, or a newer RocksDB than any known, is refused", async () => {
  for (const change of [{ format: 2 }, { rocksdb: 10, node: 26 }]) {
    const folder = join(newFolder(), "store");
    mkdirSync(folder);
    const marker = Object.assign({ format: 1, rocksdb: 6, node: 20, checkpoint: 1 }, change);
    const line = `${JSON.stringify(Object.assign(marker, { crc: crc32(JSON.stringify(marker)) })).padEnd(127)}\n`;
    writeFileSync(join(folder, "STORE"), line + line);
    assert.is(await failure(openPages(folder)), "store-newer");
    assert.equal(readdirSync(folder), ["STORE"]);
  }
});

/** What `pages-once.ts` says under a Node: how many pages were there, or an error's code. */
function once(node: string, folder: string): unknown {
  const args = [...process.execArgv, join(import.meta.dirname, "pages-once.ts"), folder];
  return JSON.parse(execFileSync(node, args, { encoding: "utf8", timeout: 30_000 }));
}

(OTHER_NODE ? test : test.skip)("a store goes from an older Node to a newer one, and not back", () => {
  const [older, newer] = isOlder ? [process.execPath, OTHER_NODE!] : [OTHER_NODE!, process.execPath];
  const folder = newFolder();
  assert.is(once(older, folder), 0);
  assert.is(once(older, folder), 1);
  assert.is(once(newer, folder), 2);
  assert.is(once(newer, folder), 3);
  const before = contents(folder);
  assert.is(once(older, folder), "store-newer");
  assert.equal(contents(folder), before);
  assert.is(once(newer, folder), 4);
});

test.run();
