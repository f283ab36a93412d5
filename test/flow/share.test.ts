import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/share: several results from the records of one stream");
const stations = readFileSync("examples/stations.ts", "utf8");
const days = `import { Table, Text, Count } from "hallelujah";
@record class Reading { day: Text }
@state class Day { readings: Count }
const days = new Table<Text, Day>("days");
export function each(reading: Reading): void { days.at(reading.day).readings.add(); }`;
/** Stops at records of Oslo. */
const picky = `import { Table, Text, Count } from "hallelujah";
@record class Reading { station: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(reading: Reading): void {
  if (reading.station.is("Oslo")) throw new Error("no such town");
  seen.at(reading.station).count.add();
}`;
const header = "station,day,temperature\n";
const body = (station: string, rows: number) =>
  header + Array.from({ length: rows }, (_, i) => `${station},d${i % 3},${i}\n`).join("");

let host: TestHost;
test.before(async () => {
  host = await startHost({ cpus: 4, env: { HALLELUJAH_PARK_AFTER_MS: "300" } });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

async function code(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: { code: string }) => error.code,
  );
}

const rowsOf = async (name: string, table: string) => (await host.client.query<TableRow>(name, table)).all();
const countsOf = async () =>
  (await rowsOf("days", "days"))
    .map(({ key, readings }) => [key, readings])
    .toSorted()
    .map(String);
const push = (text: string) => host.client.push("weather", Buffer.from(text), { format: "csv" });

test("a second kernel has the records from before and after, other columns of them, and no log", async () => {
  await host.client.deploy("weather", { kernel: stations, retain: "all" });
  await push(body("Abha", 300));
  await until(host.client, "weather", drained);
  await host.client.deploy("days", { kernel: days, from: "weather" });
  await until(host.client, "days", drained);
  assert.equal(await countsOf(), ["d0,100", "d1,100", "d2,100"]);
  await push(body("Abha", 30));
  await until(host.client, "days", drained);
  assert.equal(await countsOf(), ["d0,110", "d1,110", "d2,110"]);
});

test("what is pushed elsewhere, chained, removed too early or cannot be read is refused", async () => {
  assert.is(
    await code(host.client.push("days", Buffer.from(body("Abha", 3)), { format: "csv" })),
    "records-shared",
  );
  assert.is(await code(host.client.remove("weather")), "stream-needed");
  const deploy = (options: object) => code(host.client.deploy("more", { kernel: days, ...options }));
  assert.is(await deploy({ from: "days" }), "share-invalid");
  assert.is(await deploy({ share: true }), "share-invalid");
  assert.is(await deploy({ from: "weather", retain: "all" }), "share-invalid");
  const other = days.replaceAll("day:", "month:").replaceAll("reading.day", "reading.month");
  assert.is(await deploy({ from: "weather", kernel: other }), "share-misfit");
  assert.is(await code(host.client.change("days", { retain: "all" })), "records-shared");
});

test("records of which a column is missing are passed over by the one that needs it alone", async () => {
  await push("station,temperature\nBodo,1\nBodo,2\n");
  await until(host.client, "weather", drained);
  await until(host.client, "days", drained);
  assert.equal(await countsOf(), ["d0,110", "d1,110", "d2,110"]);
  assert.is((await rowsOf("weather", "stations")).length, 2);
});

test("after a kill of the host both go on, each from its own state", async () => {
  host.process.kill("SIGKILL");
  await new Promise((done) => host.process.once("exit", done));
  host = await startHost({ cpus: 4, data: host.data, env: { HALLELUJAH_PARK_AFTER_MS: "300" } });
  await push(body("Abha", 30));
  await until(host.client, "days", drained);
  assert.equal(await countsOf(), ["d0,120", "d1,120", "d2,120"]);
  await until(host.client, "weather", drained);
});

test("a dead letter that one takes once more does not count twice in another", async () => {
  await host.client.deploy("picky", { kernel: picky, retain: "all" });
  await host.client.deploy("picky-days", { kernel: days, from: "picky" });
  await host.client.push("picky", Buffer.from(body("Oslo", 3)), { format: "csv" });
  const { deadLetters } = await until(
    host.client,
    "picky",
    (info) => info.deadLetters === 1 && drained(info),
  );
  assert.is(deadLetters, 1);
  const [{ frame }] = await host.client.deadLetters("picky");
  await host.client.retryDeadLetter("picky", frame);
  await until(host.client, "picky", drained);
  await until(host.client, "picky-days", drained);
  assert.equal(
    (await rowsOf("picky-days", "days")).map(({ readings }) => readings),
    [1, 1, 1],
  );
  for (const name of ["picky-days", "picky"]) await host.client.remove(name);
});

test("a file that the first reads is read by each kernel by its own columns", async () => {
  const file = join(host.data, "readings.csv");
  writeFileSync(file, body("Tromso", 30));
  await host.client.deploy("filed", { kernel: stations, source: file, retain: "all" });
  await until(host.client, "filed", (info) => drained(info) && info.records === 30);
  await host.client.deploy("filed-days", { kernel: days, from: "filed" });
  await until(host.client, "filed-days", drained);
  const found = await rowsOf("filed-days", "days");
  assert.equal(found.map(({ key, readings }) => `${String(key)},${String(readings)}`).toSorted(), [
    "d0,10",
    "d1,10",
    "d2,10",
  ]);
  for (const name of ["filed-days", "filed"]) await host.client.remove(name);
});

test("when the others are gone the first can be removed", async () => {
  for (const name of ["days", "weather"]) await host.client.remove(name);
  assert.equal(await host.client.streams(), []);
});

test.run();
