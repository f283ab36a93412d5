/** Files of a host that is down are damaged; it starts again, mends what it can, and says what it cannot. */
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { checkStore } from "../../host/doctor/store-check.ts";
import { openPages } from "../../host/store/pages.ts";
import { cli } from "../run.ts";
import { BODIES, body, env, filesOf, flip, kernel, rowsOf } from "./damage.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/damage");

/** A data folder with two streams, as a host left it; made once, and copied for each damage. */
let made: string;
let reference: TableRow[];

test.before(async () => {
  made = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  const host = await startHost({ cpus: 2, data: made, env });
  for (const [name, retain] of [
    ["kept", "all"],
    ["other", "applied"],
  ]) {
    await host.client.deploy(name, { kernel, retain });
    for (let i = 0; i < BODIES; i++) {
      await host.client.push(name, body(i));
      const { frames } = await until(host.client, name, drained);
      if (i % 4 === 3) await until(host.client, name, ({ checkpoints }) => checkpoints.frame === frames);
    }
  }
  reference = await rowsOf(host, "kept");
  assert.is(reference.length, BODIES * 1000);
  const { stderr, code } = await cli(["doctor", "--data", made]);
  assert.match(stderr, /a host uses .* stop it first/);
  assert.is(code, 1);
  assert.is(await host.stop(), 0);
});
test.after(() => rmSync(made, { recursive: true, force: true }));

/** Starts a host on a copy that `damage` was done to. */
async function damaged(
  damage: (stream: string) => void,
  check: (host: TestHost, stream: string) => Promise<void>,
  /** What the doctor says of it before. */
  says: RegExp,
): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  cpSync(made, data, { recursive: true });
  damage(join(data, "streams", "kept"));
  const before = contentsOf(data);
  const { stdout, code } = await cli(["doctor", "--data", data]);
  assert.match(stdout, says);
  assert.is(code, stdout.startsWith("ok") || stdout.startsWith("note") ? 0 : 1, stdout);
  assert.equal(contentsOf(data), before);
  const host = await startHost({ cpus: 2, data, env });
  try {
    await check(host, join(data, "streams", "kept"));
    // Whatever became of it, the stream beside it goes on.
    await host.client.push("other", body(0));
    await until(host.client, "other", drained);
    assert.is((await rowsOf(host, "other")).length, BODIES * 1000);
  } finally {
    await host.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

/** All files of a folder, with their sizes and times. */
const contentsOf = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .toSorted()
    .map((name) => {
      const { size, mtimeMs } = statSync(join(folder, name));
      return [name, size, mtimeMs];
    });

/** Bytes between two bits that flip, where many do: in every page. */
const FLIP_EVERY = 32 << 10;

/** It is all there, and goes on. */
async function isWhole(host: TestHost): Promise<void> {
  assert.equal(await rowsOf(host, "kept"), reference);
  await host.client.push("kept", body(BODIES));
  await until(host.client, "kept", drained);
  assert.is((await rowsOf(host, "kept")).length, (BODIES + 1) * 1000);
  assert.is((await host.client.stream("kept")).state, "running");
}

/** What RocksDB has of the pages: files, or what is not in files yet. */
const storeFiles = (stream: string) => {
  const shard = join(stream, "shard-0");
  return [...filesOf(shard, ".sst"), ...filesOf(shard, ".log")].filter((path) => statSync(path).size > 0);
};

/** The pages of the checkpoints in a store, which is opened as a copy. */
async function pagesOf(folder: string): Promise<Buffer[]> {
  const copy = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  cpSync(folder, copy, { recursive: true });
  const pages: Buffer[] = [];
  const store = await openPages(copy);
  assert.is(store.checkpoints.length, 2);
  for (const { number } of store.checkpoints)
    await store.restore(number, (_page, bytes) => pages.push(Buffer.from(bytes)));
  await store.close();
  rmSync(copy, { recursive: true });
  return pages;
}

/** Places over a file at which a bit is flipped, wherever they lie. */
const PROBES = 12;

const same = (a: Buffer[], b: Buffer[]) => a.length === b.length && a.every((page, i) => page.equals(b[i]));

/** Bytes by which a page is found in a file. */
const WINDOW = 64;

/** Places in the files where the most telling bytes of a page are: RocksDB may have it in a table and in its log. */
function placesOf(page: Buffer, files: [path: string, bytes: Buffer][]): [path: string, at: number][] {
  const windows = Array.from({ length: page.length / WINDOW }, (_, i) =>
    page.subarray(i * WINDOW, (i + 1) * WINDOW),
  );
  const told = windows.toSorted((x, y) => new Set(y).size - new Set(x).size);
  for (const window of told.slice(0, 8)) {
    const places = files.flatMap(([path, bytes]) => {
      const found: [string, number][] = [];
      for (let at = bytes.indexOf(window); at >= 0; at = bytes.indexOf(window, at + 1))
        found.push([path, at]);
      return found;
    });
    // The log of RocksDB has heads of its own between the bytes of a page.
    if (places.length) return places;
  }
  throw new Error("a page is in none of the files");
}

test("a bit that flips in any page of a checkpoint is found by the doctor; one that holds nothing of a shard is not", async () => {
  const copy = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  cpSync(made, copy, { recursive: true });
  const stream = join(copy, "streams", "kept");
  const shard = join(stream, "shard-0");
  const files = storeFiles(stream).map((path): [string, Buffer] => [path, readFileSync(path)]);
  const pages = await pagesOf(shard);
  assert.ok(pages.length > 10);
  assert.equal((await checkStore(shard)).problems, []);
  for (const page of pages) {
    const places = placesOf(page, files);
    for (const [path, at] of places) flip(path, at);
    const { problems } = await checkStore(shard);
    assert.ok(problems.length > 0, `nothing is said of ${places.join(", ")}`);
    for (const [path, at] of places) flip(path, at);
  }
  // Anywhere else: it is said, or both checkpoints are there, byte by byte.
  for (const [path, { length }] of files)
    for (let i = 1; i < PROBES; i++) {
      const at = Math.floor((length * i) / PROBES);
      flip(path, at);
      const { problems } = await checkStore(shard);
      if (!problems.length) assert.ok(same(await pagesOf(shard), pages), `${path} at ${at}`);
      flip(path, at);
    }
  assert.equal((await checkStore(shard)).problems, []);
  rmSync(copy, { recursive: true });
  // One of two copies, and what RocksDB notes for people.
  await damaged(
    (kept) => {
      flip(join(kept, "shard-0", "STORE"), 3);
      for (const name of readdirSync(join(kept, "shard-0")))
        if (/^(OPTIONS-\d+|LOG.*)$/.test(name)) flip(join(kept, "shard-0", name));
    },
    isWhole,
    /^ok +nothing is wrong/,
  );
});

test("bits that flip in a shard's store: an older checkpoint, or the log, brings the same answer", async () => {
  const places = placesOf(
    (await pagesOf(join(made, "streams", "kept", "shard-0")))[0],
    storeFiles(join(made, "streams", "kept")).map((path) => [path, readFileSync(path)]),
  );
  await damaged(
    (stream) => {
      for (const [path, at] of places) flip(join(stream, "shard-0", basename(path)), at);
    },
    isWhole,
    /shard-0.*(the checkpoint of frame \d+ is used|made anew from the log)/,
  );
  await damaged(
    (stream) => {
      for (const path of storeFiles(stream))
        for (let at = FLIP_EVERY >> 1; at < statSync(path).size; at += FLIP_EVERY) flip(path, at);
    },
    isWhole,
    /shard-0.*(the checkpoint of frame \d+ is used|made anew from the log)/,
  );
});

test("a store that is cut off, or gone, is made anew from the log", async () => {
  await damaged(
    (stream) => {
      for (const path of storeFiles(stream)) truncateSync(path, statSync(path).size >> 1);
    },
    isWhole,
    /shard-0.*(the checkpoint of frame \d+ is used|made anew from the log)/,
  );
  await damaged(
    (stream) => rmSync(join(stream, "shard-0"), { recursive: true }),
    isWhole,
    /shard-0 is missing; the state is made anew/,
  );
});

test("a log that is damaged where checkpoints have it already stops nothing; a torn tail is cut off", async () => {
  await damaged(
    (stream) => flip(filesOf(join(stream, "log"), ".seg")[0], 200_000),
    isWhole,
    /seg is damaged at byte \d+: .*; the stream goes on/,
  );
  await damaged(
    (stream) => {
      for (const path of filesOf(join(stream, "log"), ".idx")) flip(path);
    },
    isWhole,
    /^ok +nothing is wrong/,
  );
});

test("neither store nor log: the stream says so, and keeps its files", async () => {
  await damaged(
    (stream) => {
      rmSync(join(stream, "shard-0"), { recursive: true });
      flip(filesOf(join(stream, "log"), ".seg")[0], 200_000);
    },
    async (host, stream) => {
      const { client } = host;
      await client.push("kept", body(BODIES)).catch(() => {});
      const { error } = await until(client, "kept", ({ state }) => state === "failed");
      assert.match(error ?? "", /^log-damaged: .* is damaged at byte \d+/);
      assert.ok(existsSync(filesOf(join(stream, "log"), ".seg")[0]));
      const refused = await client.query("kept", "stations").catch((failure: { code: string }) => failure);
      assert.is((refused as { code: string }).code, "stream-failed");
    },
    /shard-0 is missing; the log is whole from frame \d+ on alone: the stream will fail/,
  );
});

test("a registry that cannot be read ends the start with a sentence, and is left as it is", async () => {
  const data = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  cpSync(made, data, { recursive: true });
  const path = join(data, "registry.json");
  truncateSync(path, 100);
  const { stderr, code } = await cli(["doctor", "--data", data]);
  assert.match(stderr, /registry\.json cannot be read/);
  assert.is(code, 1);
  const ended = await startHost({ cpus: 2, data, env }).then(
    async (host) => {
      await host.stop();
      return "it started";
    },
    (error: Error) => error.message,
  );
  assert.match(ended, /registry\.json cannot be read/);
  assert.is(statSync(path).size, 100);
  rmSync(data, { recursive: true, force: true });
});

test.run();
