/** Event time of kernels that read a log which was not theirs: streams that share records, and reprocesses. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/time: event time in what shares a log");

const BASE = Date.parse("2024-05-01T00:00:00Z");
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const iso = (ms: number) => new Date(ms).toISOString();

/** Counts records in windows of `size` ms by the field `time`. */
const windows = (size: number, { time = "at", late = 0 } = {}) => `
import { Count, Text, Time, Window, Windows, out } from "hallelujah";
@record class Hit { @time(${late}) ${time}: Time; page: Text }
@record class Row { page: Text; start: Time; hits: u64 }
@state class Hits { hits: Count }
const seen = new Windows<Text, Hits>("seen", ${size});
export function each(hit: Hit): void { seen.at(hit.page, hit.${time}).hits.add(); }
export function close(window: Window, page: Text, hits: Hits): void {
  const row = new Row();
  row.page = page;
  row.start = window.start;
  row.hits = hits.hits.value;
  out.emit(row);
}`;
/** Has no time. */
const pages = `
import { Count, Table, Text } from "hallelujah";
@record class Hit { page: Text }
@state class Hits { hits: Count }
const seen = new Table<Text, Hits>("seen");
export function each(hit: Hit): void { seen.at(hit.page).hits.add(); }`;

interface Row {
  page: string;
  start: string;
  hits: number;
}

let host: TestHost;
const env = { HALLELUJAH_PARK_AFTER_MS: "700", HALLELUJAH_CHECKPOINT_BYTES: "2000" };
const data = mkdtempSync(join(tmpdir(), "hallelujah-time-"));
test.before(async () => {
  host = await startHost({ cpus: 8, data, env });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
  rmSync(data, { recursive: true, force: true });
});

/** The first rows of an output, as soon as there are so many. */
async function take(stream: string, count: number): Promise<string[]> {
  const rows: string[] = [];
  const signal = AbortSignal.timeout(30_000);
  for await (const { row } of host.client.output<Row>(stream, { from: 0, signal })) {
    rows.push(`${row.page} ${(Date.parse(row.start) - BASE) / SECOND} ${row.hits}`);
    if (rows.length === count) break;
  }
  return rows;
}

const hit = (page: string, seconds: number, more: object = {}) => ({
  page,
  at: iso(BASE + seconds * SECOND),
  ...more,
});
const settled = (name: string) => until(host.client, name, drained);
async function killed(): Promise<void> {
  host.process.kill("SIGKILL");
  await new Promise((done) => host.process.once("exit", done));
  host = await startHost({ cpus: 8, data, env });
}

test("windows of one that shares records close by the records, by the wall clock, and when no more come", async () => {
  const { client } = host;
  await client.deploy("hits", { kernel: pages, retain: "all" });
  await client.push("hits", [hit("a", 0), hit("b", 1), hit("a", 2.5)]);
  await settled("hits");
  // What was there before it closes a window, of which nobody had taken notice.
  await client.deploy("seen", { kernel: windows(2 * SECOND), from: "hits" });
  assert.equal(await take("seen", 2), ["a 0 1", "b 0 1"]);
  // The next is over when so much time has passed, for it alone: the log says so once.
  assert.equal((await take("seen", 3)).slice(2), ["a 2 1"]);
  const { frames } = await settled("hits");
  assert.is(frames, 2);
  await client.push("hits", [hit("c", 60), hit("c", 61), hit("d", 121)]);
  assert.equal((await take("seen", 4)).slice(3), ["c 60 2"]);
  await client.push("hits", [], { end: true });
  assert.equal((await take("seen", 5)).slice(4), ["d 120 1"]);
  const { records, lateRecords } = await settled("seen");
  assert.equal([records, lateRecords], [6, 0]);
});

test("after a kill of the host it comes to the same, and goes on", async () => {
  const before = await take("seen", 5);
  await killed();
  assert.equal(await take("seen", 5), before);
  await host.client.push("hits", [hit("e", 240), hit("e", 300)]);
  assert.equal((await take("seen", 6)).slice(5), ["e 240 1"]);
  assert.is((await settled("seen")).outputs, 6);
});

test("neither of two that share records is late because of the other, nor is who has the log", async () => {
  const { client } = host;
  await client.deploy("first", { kernel: windows(2 * SECOND), retain: "all" });
  await client.deploy("other", { kernel: windows(2 * SECOND, { time: "seen" }), from: "first", share: true });
  await client.deploy("long", { kernel: windows(MINUTE), from: "first", share: true });
  // By `seen` it is an hour later: were time taken to pass by that, what follows would be late by `at`, and the other way round.
  await client.push("first", [hit("a", 0, { seen: iso(BASE + 60 * MINUTE) })]);
  for (const name of ["first", "other"]) assert.is((await take(name, 1)).length, 1);
  await client.push("first", [hit("a", 30, { seen: iso(BASE + 60 * MINUTE + 30 * SECOND) })]);
  for (const name of ["first", "other"]) assert.is((await take(name, 2)).length, 2);
  await client.push("first", [hit("a", 59, { seen: iso(BASE + 61 * MINUTE) })], { end: true });
  assert.equal(await take("first", 3), ["a 0 1", "a 30 1", "a 58 1"]);
  assert.equal(await take("other", 3), ["a 3600 1", "a 3630 1", "a 3660 1"]);
  assert.equal(await take("long", 1), ["a 0 3"]);
  for (const name of ["first", "other", "long"]) assert.is((await settled(name)).lateRecords, 0);
  for (const name of ["other", "long", "first"]) await client.remove(name);
});

test("files that another stream reads are waited for, each with its own clock, also by who comes late", async () => {
  const { client } = host;
  const source = ["x", "y", "z"].map((page, i) => {
    const path = join(data, `${page}.ndjson`);
    const rows = Array.from({ length: 40 }, (_, n) => JSON.stringify(hit(page, 60 * (n - 600 * i))));
    writeFileSync(path, `${rows.join("\n")}\n`);
    return path;
  });
  await client.deploy("files", { kernel: pages, source, retain: "all" });
  await until(client, "files", ({ records }) => records === 120);
  await client.deploy("hours", { kernel: windows(60 * MINUTE), from: "files" });
  const expected = ["x", "y", "z"].map((page, i) => `${page} ${-36_000 * i} 40`);
  assert.equal((await take("hours", 3)).toSorted(), expected);
  assert.is((await settled("hours")).lateRecords, 0);
  await killed();
  assert.equal((await take("hours", 3)).toSorted(), expected);
  for (const name of ["hours", "files"]) await host.client.remove(name);
});

test("a reprocess closes the same windows at the same frames, and none is put out twice", async () => {
  const { client } = host;
  await client.deploy("again", { kernel: windows(2 * SECOND), retain: "all" });
  await client.push("again", [hit("a", 0)]);
  await take("again", 1); // by the wall clock
  await client.push("again", [hit("b", 30), hit("b", 40)]);
  await client.push("again", [hit("a", 1)]); // too late
  await until(client, "again", (info) => drained(info) && info.lateRecords === 1);
  await client.reprocess("again", { kernel: windows(2 * SECOND).replace("value;", "value * 10;") });
  await until(client, "again", ({ reprocess }) => !reprocess);
  await client.push("again", [hit("c", 50), hit("c", 60)], { end: true });
  const all = ["a 0 1", "b 30 1", "b 40 10", "c 50 10", "c 60 10"];
  // Before or after it takes over, time may have passed the window of second 40.
  const rows = await take("again", 5);
  assert.equal(
    rows.map((row) => row.replace("b 40 1", "b 40 10").replace("100", "10")),
    all,
  );
  const { outputs, lateRecords } = await settled("again");
  assert.equal([outputs, lateRecords], [5, 1]);
  await client.remove("again");
});

test("a reprocess to windows of another length, or by another field, takes nothing for late that is not", async () => {
  const { client } = host;
  const seen = (seconds: number) => ({ seen: iso(BASE + seconds * SECOND) });
  await client.deploy("field", { kernel: windows(2 * SECOND), retain: "all" });
  // By `at` the last one comes far later than by `seen`, and an idle second passes between them.
  await client.push("field", [hit("a", 3600, seen(0))]);
  await take("field", 1);
  await client.push("field", [hit("a", 7200, seen(1))]);
  await take("field", 2);
  await client.reprocess("field", { kernel: windows(MINUTE, { time: "seen" }) });
  await until(client, "field", ({ reprocess }) => !reprocess);
  await killed();
  await host.client.push("field", [hit("a", 9000, seen(30)), hit("b", 9001, seen(100))]);
  assert.equal((await take("field", 3)).slice(2), ["a 0 3"]);
  await host.client.push("field", [], { end: true });
  assert.equal((await take("field", 4)).slice(3), ["b 60 1"]);
  assert.equal((await settled("field")).lateRecords, 0);
});

test("a stream without time is reprocessed to windows, which close by the wall clock then", async () => {
  const { client } = host;
  await client.deploy("timeless", { kernel: pages, retain: "all" });
  await client.push("timeless", [hit("a", 0), hit("a", 0.5)]);
  await settled("timeless");
  await client.reprocess("timeless", { kernel: windows(2 * SECOND) });
  assert.equal(await take("timeless", 1), ["a 0 2"]);
  await client.remove("timeless");
});

test.run();
