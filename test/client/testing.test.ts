/** The harness for kernel tests: answers, problems, and what it finds. Needs dist/. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { check, type CheckOptions } from "../../host/client/testing.ts";
import type { HallelujahError } from "../../host/core/errors.ts";

const test = suite("check");
const folder = mkdtempSync(join(tmpdir(), "hallelujah-check-"));
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
test.after(() => rmSync(folder, { recursive: true, force: true }));

const STATIONS = file(
  "stations.ts",
  `import { Stats, Table, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@state class Weather { temperature: Stats }
const stations = new Table<Text, Weather>("stations");
export function each(reading: Reading): void { stations.at(reading.station).temperature.add(reading.temperature); }
`,
);
const ABHA = [{ key: "Abha", temperature: { count: 2, sum: 4, min: 1, max: 3, mean: 2 } }];

test("tables have rows without their table's name, from a text, bytes or files", async () => {
  const csv = "station,temperature\nAbha,1\nAbha,3\n";
  assert.equal((await check(STATIONS, csv)).tables, { stations: ABHA });
  assert.equal((await check(pathToFileURL(STATIONS), Buffer.from(csv))).tables, { stations: ABHA });
  const files = [file("a.csv", csv.replace("Abha,3\n", "")), file("b.csv", "station,temperature\nAbha,3\n")];
  assert.equal((await check(STATIONS, { files })).tables, { stations: ABHA });
});

test("rows that come out in order and by time are the same wherever frames are cut", async () => {
  const at = (minute: number) => new Date(Date.UTC(2024, 4, 1, 0, minute)).toISOString();
  const event = (user: string, minute: number) =>
    JSON.stringify({ user, at: at(minute), page: `/${minute}` });
  const events = [event("ann", 0), event("bob", 1), event("ann", 5), event("bob", 50), event("ann", 90)];
  const { output, lateRecords } = await check("examples/sessions.ts", events.join("\n"));
  assert.equal(output.map(({ user, events: n, exit }) => `${user} ${n} ${exit}`).toSorted(), [
    "ann 1 /90",
    "ann 2 /5",
    "bob 1 /1",
    "bob 1 /50",
  ]);
  const late = await check("examples/sessions.ts", [event("ann", 600), event("bob", 0)].join("\n"));
  assert.equal([lateRecords, late.lateRecords, late.output.length], [0, 0, 2]);
});

test("a text's format is known by its content or by the options", async () => {
  const ndjson = '{"station":"Abha","temperature":1}\n{"temperature":3,"station":"Abha"}\n';
  assert.equal((await check(STATIONS, ndjson)).tables.stations, ABHA);
  const options: CheckOptions = { delimiter: "#", columns: ["temperature", "station"], inputFormat: "csv" };
  assert.equal((await check(STATIONS, "1#Abha\n3#Abha\n", options)).tables.stations, ABHA);
  assert.equal((await check(STATIONS, "station,temperature\n")).tables.stations, []);
});

test("records that do not fit are problems of the file called input", async () => {
  const { problems, rows, badRecords } = await check(STATIONS, "station,temperature\nAbha,1\nAbha,warm\n");
  assert.equal([rows, badRecords], [1, 1]);
  assert.equal([problems[0].file, problems[0].line, problems[0].excerpt], ["input", 3, "Abha,warm"]);
});

test("what the kernel emits is the output, in order", async () => {
  const kernel = file(
    "hot.ts",
    `import { Text, out } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
export function each(reading: Reading): void { if (reading.temperature > 20) out.emit(reading); }
`,
  );
  const { output, tables } = await check(kernel, "station,temperature\nAbha,21.5\nBergen,1\nQuito,22\n");
  assert.equal(output, [
    { station: "Abha", temperature: 21.5 },
    { station: "Quito", temperature: 22 },
  ]);
  assert.equal(tables, {});
});

test("a kernel that keeps something outside its tables is found", async () => {
  file("counter.ts", "export let n: i32 = 0;\nexport function next(): i32 { return ++n; }\n");
  const kernel = file(
    "stateful.ts",
    `import { Max, Table, Text } from "hallelujah";
import { next } from "./counter";
@record class Reading { station: Text }
@state class Rank { rank: Max<i32> }
const ranks = new Table<Text, Rank>("ranks");
export function each(reading: Reading): void { ranks.at(reading.station).rank.add(next()); }
`,
  );
  const thrown: HallelujahError = await check(
    kernel,
    "station,x\nAbha,000000000\nBergen,000000000\nQuito,0000000\n",
  ).then(
    () => assert.unreachable("it passed"),
    (error) => error,
  );
  assert.is(thrown.code, "frame-dependent");
  assert.match(thrown.message, /table ranks, key "Bergen", rank: 2 in one frame, 1 in frames of 16 bytes/);
});

test("sums of floats may differ by rounding", async () => {
  const lines = Array.from({ length: 300 }, (_, i) => `s${i % 3},${(i % 13) / 10 - 0.6}`);
  const { rows } = await check(STATIONS, `station,temperature\n${lines.join("\n")}\n`, { jahs: 3 });
  assert.is(rows, 300);
});

test("errors are those of a run", async () => {
  const codeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => "none",
      (error: HallelujahError) => error.code,
    );
  assert.is(await codeOf(check(join(folder, "none.ts"), "")), "kernel-missing");
  assert.is(await codeOf(check(STATIONS, "station,heat\nAbha,1\n")), "field-missing");
  const kernel = file(
    "stops.ts",
    `import { Text } from "hallelujah";
@record class R { k: Text; n: i32 }
export function each(r: R): void { if (r.n > 1) throw new Error("too many"); }
`,
  );
  assert.is(await codeOf(check(kernel, "k,n\na,1\nb,2\n")), "kernel-trapped");
});

test.run();
