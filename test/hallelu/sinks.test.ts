/** Sinks: each row once in a file, whatever was in the middle of being written; the same batches to a webhook until it takes them. */
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { OutputRows } from "../../host/hallelu/host.ts";
import { filePositions } from "../../host/hallelu/positions.ts";
import { runSink, type SinkStanding } from "../../host/hallelu/sinks.ts";

const root = mkdtempSync(join(tmpdir(), "hallelujah-sinks-"));
test.after(() => rmSync(root, { recursive: true, force: true }));

/** Batches of two rows each from a number on, as an output has them; ends behind the last, or waits for `signal`. */
function rowsTo(last: number, signal?: AbortSignal) {
  return async function* (from: number): AsyncGenerator<OutputRows> {
    for (let at = from; at < last; at = (Math.floor(at / 2) + 1) * 2) {
      const count = (Math.floor(at / 2) + 1) * 2 - at;
      const text = Array.from({ length: count }, (_, i) => `{"row":${at + i}}\n`).join("");
      yield { from: at, count, bytes: Buffer.from(text) };
    }
    if (signal && !signal.aborted)
      await new Promise((done) => signal.addEventListener("abort", done, { once: true }));
  };
}

const rowsOf = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { row: number }).row);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

test("a file goes on behind what was there, and where a killed process left it", async () => {
  const path = join(root, "rows.ndjson");
  const position = join(root, "rows.json");
  const run = (last: number) =>
    runSink(path, "s", filePositions(position), rowsTo(last), new AbortController().signal);
  writeFileSync(path, '{"row":-1}\n');
  await run(4);
  assert.equal(rowsOf(readFileSync(path, "utf8")), [-1, ...upTo(4)]);
  // Killed when rows were written and their position was not.
  appendFileSync(path, '{"row":4}\n{"ro');
  await run(8);
  assert.equal(rowsOf(readFileSync(path, "utf8")), [-1, ...upTo(8)]);
});

test("rows written before the first position are not doubled", async () => {
  const path = join(root, "first.ndjson");
  const position = join(root, "first.json");
  writeFileSync(path, '{"row":-1}\n');
  const stop = new AbortController();
  const broken = async function* (): AsyncGenerator<OutputRows> {
    yield* [];
    stop.abort();
    throw new Error("the process ends here");
  };
  await runSink(path, "s", filePositions(position), broken, stop.signal);
  appendFileSync(path, '{"row":0}\n{"row":1}\n');
  await runSink(path, "s", filePositions(position), rowsTo(4), new AbortController().signal);
  assert.equal(rowsOf(readFileSync(path, "utf8")), [-1, ...upTo(4)]);
});

test("the position never counts rows that a loss of power would take away", async () => {
  const path = join(root, "synced.ndjson");
  const position = join(root, "synced.json");
  const probe = await open(join(root, "probe"), "w");
  const handles = Object.getPrototypeOf(probe) as FileHandle;
  await probe.close();
  const real = handles.datasync;
  /** Bytes of the file that are on the disk, and of the position's. */
  let synced = 0;
  let positionIsSynced = false;
  handles.datasync = async function (this: FileHandle) {
    const { size, ino } = await this.stat();
    await real.call(this);
    if (ino === statSync(path).ino) synced = size;
    else {
      positionIsSynced = true;
      const { bytes } = JSON.parse(readFileSync(`${position}.new`, "utf8")) as { bytes: number };
      assert.ok(bytes <= synced, `${bytes} bytes are counted, and ${synced} on the disk`);
    }
  };
  try {
    await runSink(path, "s", filePositions(position), rowsTo(50), new AbortController().signal);
  } finally {
    handles.datasync = real;
  }
  assert.ok(positionIsSynced);
  const { next, bytes } = JSON.parse(readFileSync(position, "utf8")) as { next: number; bytes: number };
  assert.equal([next, bytes], [50, synced]);
  assert.is(statSync(path).size, synced);
});

interface Hook {
  url: string;
  calls: { key: string; body: string }[];
  server: Server;
}

/** A server that answers with these statuses in turn, then 200; 0 breaks the connection. */
async function hook(...statuses: number[]): Promise<Hook> {
  const calls: Hook["calls"] = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      calls.push({ key: String(request.headers["idempotency-key"]), body });
      const status = statuses.shift() ?? 200;
      if (status) response.writeHead(status, status === 429 ? { "retry-after": "0" } : {}).end();
      else request.socket.destroy();
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, calls, server };
}

test("a webhook gets each batch until it takes it, always the same under its key", async () => {
  const { url, calls, server } = await hook(500, 0, 429, 200, 503);
  const stop = new AbortController();
  await runSink(url, "s", filePositions(join(root, "hook.json")), rowsTo(6), stop.signal);
  const bodies = new Map(calls.map(({ key, body }) => [key, body]));
  for (const { key, body } of calls) assert.is(body, bodies.get(key));
  assert.equal([...bodies.values()].flatMap(rowsOf), upTo(6));
  assert.is(calls.length, 3 + 4);
  // After a restart it goes on with the next.
  await runSink(url, "s", filePositions(join(root, "hook.json")), rowsTo(8), stop.signal);
  assert.equal(rowsOf(calls.at(-1)!.body), [6, 7]);
  server.close();
});

test("a webhook that refuses rows is called again, and each change is said with the next row", async () => {
  const { url, calls, server } = await hook(200, 400, 404);
  const told: SinkStanding[] = [];
  await runSink(
    url,
    "s",
    filePositions(join(root, "no.json")),
    rowsTo(4),
    new AbortController().signal,
    (standing) => told.push(standing),
  );
  assert.equal(
    calls.map(({ key }) => key),
    ["s-0", "s-2", "s-2", "s-2"],
  );
  assert.equal(told, [
    { row: 2 },
    { row: 2, error: `${url} answered 400 to row 2; it is tried again` },
    { row: 2, error: `${url} answered 404 to row 2; it is tried again` },
    { row: 4 },
  ]);
  server.close();
});

test("a sink that waits ends at once when it is to", async () => {
  const { url, server } = await hook(...Array<number>(100).fill(500));
  const stop = new AbortController();
  let tries = 0;
  await runSink(url, "s", filePositions(join(root, "ends.json")), rowsTo(2), stop.signal, ({ error }) => {
    assert.ok(error);
    if (++tries === 3) stop.abort();
  });
  assert.is(tries, 3);
  server.close();
});

/** Rows one by one, each asked for by `next`, until `signal`. */
function oneByOne(signal: AbortSignal) {
  let last = 0;
  let wake = () => {};
  const more = () => new Promise<void>((done) => (wake = done));
  return {
    next: () => {
      last++;
      wake();
    },
    read: async function* (from: number): AsyncGenerator<OutputRows> {
      for (let at = from; ; at++) {
        while (at >= last && !signal.aborted) await more();
        if (signal.aborted) return;
        yield { from: at, count: 1, bytes: Buffer.from(`{"row":${at}}\n`) };
      }
    },
  };
}

test("a file is gone on with when its folder comes back, and behind what is in another that takes its place", async () => {
  const folder = join(root, "folder");
  const path = join(folder, "rows.ndjson");
  const position = join(root, "folder.json");
  const stop = new AbortController();
  const { next, read } = oneByOne(stop.signal);
  let standing: SinkStanding | undefined;
  let changed = () => {};
  /** Resolves when the sink stands so. */
  const until = async (is: (now: SinkStanding) => boolean) => {
    while (!standing || !is(standing)) await new Promise<void>((done) => (changed = done));
  };
  const taken = (row: number) => until((now) => now.row === row && now.error === undefined);
  const sink = runSink(path, "s", filePositions(position), read, stop.signal, (now) => {
    standing = now;
    changed();
  });
  await until(({ error }) => error !== undefined);
  assert.match(standing!.error!, /rows\.ndjson cannot be written: ENOENT.*; it is tried again$/);
  mkdirSync(folder);
  next();
  await taken(1);
  assert.equal(rowsOf(readFileSync(path, "utf8")), [0]);

  // The folder is moved away, with what is in it; another comes in its place.
  renameSync(folder, `${folder}.old`);
  next();
  await until(({ error }) => error !== undefined);
  assert.is(standing!.row, 1);
  mkdirSync(folder);
  await taken(2);
  next();
  await taken(3);
  assert.equal(rowsOf(readFileSync(join(`${folder}.old`, "rows.ndjson"), "utf8")), [0]);
  assert.equal(rowsOf(readFileSync(path, "utf8")), [1, 2]);

  // A longer file than the one before: nothing of it is cut off.
  const other = '{"row":-1}\n'.repeat(20);
  writeFileSync(`${path}.other`, other);
  renameSync(`${path}.other`, path);
  next();
  await taken(4);
  assert.is(readFileSync(path, "utf8"), `${other}{"row":3}\n`);
  stop.abort();
  next();
  await sink;
});

test.run();
