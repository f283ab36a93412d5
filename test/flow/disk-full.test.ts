/** A disk that is full for a while: nothing fails for good, users see what waits, and all goes on when there is room. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { Ballast } from "./ballast.ts";
import { prints } from "./commands.ts";
import { canMount, drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/disk-full");
const DISK_MIB = 256;
/** So many that not all of them find room in what is given back at a time. */
const MANY = 240_000;

/** Counts, and sends each record on. */
const kernel = `import { Text, Table, Count, out } from "hallelujah";
@record class Line { n: i64; word: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(line: Line): void {
  seen.at(line.word).count.add();
  out.emit(line);
}`;

/** So that there is output to come when the disk is full. */
const slow = kernel.replace(
  "seen.at",
  "let x: f64 = 1;\n  for (let i = 0; i < 100000; i++) x = x * 0.99 + Math.sqrt(x);\n  if (x < 0) return;\n  seen.at",
);
const RECORDS = 8_000;

const lines = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `{"n":${from + i},"word":"w${(from + i) % 7}"}\n`).join("");

let ballast: Ballast | undefined;
// A test that fails leaves it at work.
test.after.each(() => ballast?.leave());

/** Leaves no room on the disk of a host; answers what makes room again. */
function keepFull({ data, process: child }: TestHost): () => void {
  const filling = (ballast = new Ballast(data, () => child.exitCode === null));
  return () => filling.remove();
}

/** The table counts the first so many records, each once, and the output has them. */
async function holds({ client }: TestHost, name: string, records: number): Promise<void> {
  const stream = await until(client, name, (each) => drained(each) && each.records === records, 120_000);
  assert.is(stream.error, undefined);
  const rows = await (await client.query<TableRow>(name, "seen")).all();
  const expected = Array.from({ length: 7 }, (_, i) => Math.ceil((records - i) / 7));
  assert.equal(
    rows.map(({ key, count }) => [key, count]),
    expected.map((count, i) => [`w${i}`, count]),
  );
  const numbers: number[] = [];
  await until(client, name, ({ outputs }) => outputs === records);
  for await (const { sequence, row } of client.output<{ n: number }>(name, { from: 0 })) {
    assert.is(sequence, numbers.length);
    if (numbers.push(row.n) === records) break;
  }
  assert.equal(
    numbers,
    Array.from({ length: records }, (_, i) => i),
  );
}

test("a source waits while the disk is full, is seen to, and goes on when there is room", async () => {
  if (!canMount()) return console.log("skipped: no file system can be mounted here");
  const host = await startHost({ cpus: 2, diskMiB: DISK_MIB });
  let body: ServerResponse | undefined;
  const server = createServer((_, response) => {
    body = response;
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.write(lines(0, 30_000));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { client } = host;
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/lines.ndjson`;
    await client.deploy("lines", { kernel, source: url });
    await client.deploy("next", { kernel, from: "lines" });
    await client.deploy("idle", { kernel, min: 0 }); // it needs no CPU
    await until(client, "lines", ({ records }) => records > 0);
    const makeRoom = keepFull(host);
    body!.end(lines(30_000, MANY));
    const { waits, error } = await until(client, "lines", (stream) => stream.waits !== undefined);
    assert.match(waits!, /no room|full/);
    assert.is(error, undefined);
    assert.match(
      await prints(host.url, ["ps", "--format", "table"]),
      /lines .*(running|waking|parked), disk full/,
    );
    const push = () =>
      fetch(`${host.url}/v1/streams/idle/records`, {
        method: "POST",
        headers: { "content-type": "application/x-ndjson" },
        body: lines(0, 1),
      });
    let pushed = 0;
    for (let refused = await push(); refused.status !== 507; refused = await push())
      assert.ok(refused.status === 200 && ++pushed < 100, `a push is answered ${refused.status}`);
    // It is tried again, and again in vain.
    await sleep(2000);
    assert.ok((await client.stream("lines")).waits);
    makeRoom();
    await holds(host, "lines", MANY);
    await holds(host, "next", MANY);
    assert.is((await client.stream("lines")).waits, undefined);
    assert.match(host.log(), /there is room again/);
  } finally {
    body?.destroy();
    server.close();
    assert.is(await host.stop(), 0);
  }
});

test("output waits for room, and so does a shard that has to be opened", async () => {
  if (!canMount()) return console.log("skipped: no file system can be mounted here");
  const host = await startHost({ cpus: 2, diskMiB: DISK_MIB });
  try {
    const { client } = host;
    await client.deploy("lines", { kernel: slow, max: 1 });
    // Each body is a frame, which is far from taking too long.
    for (let from = 0; from < RECORDS; from += RECORDS / 50)
      await client.push("lines", lines(from, from + RECORDS / 50));
    await until(client, "lines", ({ frame }) => frame > 0); // its shard is open
    const makeRoom = keepFull(host);
    const { frame, frames, outputs } = await client.stream("lines");
    assert.ok(frame < frames, "it has done all before the disk was full");
    await sleep(2000);
    assert.is((await client.stream("lines")).error, undefined);
    const [jah] = await client.jahs();
    assert.ok(jah, `its Jah ended: ${host.log()}`);
    process.kill(jah.pid, "SIGKILL");
    const complaint = /Jah \d+ stopped: .*make room/;
    for (const deadline = Date.now() + 30_000; !complaint.test(host.log()); await sleep(50))
      assert.ok(Date.now() < deadline, `no Jah lacks room: ${host.log()}`);
    await sleep(4000);
    const stream = await client.stream("lines");
    assert.is(stream.error, undefined);
    assert.ok(stream.outputs < RECORDS && outputs < RECORDS, "its output was written");
    makeRoom();
    await holds(host, "lines", RECORDS);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test.run();
