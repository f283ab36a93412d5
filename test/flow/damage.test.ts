/** Files of a host that is down are damaged; it starts again, mends what it can, and says what it cannot. */
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readFileSync } from "node:fs";
import type { TableRow } from "../../host/client/rows.ts";
import { cli } from "../run.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/damage");
const kernel = readFileSync("examples/stations.ts", "utf8");
/** Bodies that are pushed to each stream: enough for a few checkpoints. */
const BODIES = 12;
/** Records of a body: those of one body have keys of their own, so that each makes pages dirty. */
const RECORDS = 2000;

const body = (i: number) =>
  Array.from(
    { length: RECORDS },
    (_, j) => `{"station":"s${i}-${j % 1000}","temperature":${(i * 7 + j) % 50}}\n`,
  ).join("");

/** A data folder with two streams, as a host left it; made once, and copied for each damage. */
let made: string;
let reference: TableRow[];
const env = { HALLELUJAH_CHECKPOINT_BYTES: "100000", HALLELUJAH_PARK_AFTER_MS: "100000" };

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

async function rowsOf(host: TestHost, name: string): Promise<TableRow[]> {
  return (await host.client.query<TableRow>(name, "stations")).all();
}

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

const filesOf = (folder: string, ending: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .toSorted()
    .map((name) => join(folder, name));

/** Changes a bit in the middle of a file. */
function flip(path: string, at = statSync(path).size >> 1): void {
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte[0] ^= 1;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

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

test("bits that flip in a shard's store: an older checkpoint, or the log, brings the same answer", async () => {
  await damaged(
    (stream) => {
      const files = storeFiles(stream);
      assert.ok(files.length > 0);
      flip(files.at(-1)!);
    },
    isWhole,
    // The bit may be in a page that nobody needs any more.
    /shard-0.*(the checkpoint of frame \d+ is used|made anew from the log)|nothing is wrong/,
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
