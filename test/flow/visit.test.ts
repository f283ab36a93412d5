/** Kernels that visit the rows of a stream, in real processes: what they answer, beside ingest, and what must not harm the stream. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { compileKernel } from "../../host/compiler/compile.ts";
import { kernelOf } from "../run.ts";
import { prints, refuses } from "./commands.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/visit");

const KEEP = `import { Count, Dataset, Optional, Table, Text } from "hallelujah";
@record class Flight { n: i64; origin: Text; delay: Optional<i32> }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
const flights = new Dataset<Flight>("flights");
export function each(flight: Flight): void {
  seen.at(flight.origin).count.add();
  flights.add(flight);
}`;
const DELAYS = `import { Stats, Table, Text, Optional } from "hallelujah";
@record class Flight { origin: Text; delay: Optional<i32> }
@state class Delays { delay: Stats }
const origins = new Table<Text, Delays>("origins");
export function each(flight: Flight): void {
  if (flight.delay.present) origins.at(flight.origin).delay.add(flight.delay.value);
}`;
const LATE = `import { Optional, Text, out } from "hallelujah";
@record class Flight { n: i64; origin: Text; delay: Optional<i32> }
@record class Late { n: i64 }
export function each(flight: Flight): void {
  if (!flight.delay.present || flight.delay.value < 95) return;
  const late = new Late();
  late.n = flight.n;
  out.emit(late);
}`;
/** Airports by how many flights they have, from the table that the stream keeps. */
const BY_FLIGHTS = `import { Count, Max, Table, Text } from "hallelujah";
@record class Seen { key: Text; count: i64 }
@state class Group { airports: Count; last: Max<Text> }
const groups = new Table<i64, Group>("groups");
export function each(seen: Seen): void {
  const group = groups.at(seen.count);
  group.airports.add();
  group.last.add(seen.key);
}`;
const BATCH = 5_000;

interface Flight {
  n: number;
  origin: string;
  delay?: number;
}
const flightAt = (n: number): Flight => ({
  n,
  origin: `AP${(n * 7919) % 40}`,
  ...(n % 5 ? { delay: (n * 31) % 100 } : {}),
});
const flights = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => flightAt(from + i));

/** Rows of DELAYS over the first so many flights. */
function delaysOf(count: number): [string, number, number][] {
  const sums = new Map<string, [number, number]>();
  for (const { origin, delay } of flights(0, count)) {
    if (delay === undefined) continue;
    const [n, sum] = sums.get(origin) ?? [0, 0];
    sums.set(origin, [n + 1, sum + delay]);
  }
  return [...sums].map(([key, [n, sum]]): [string, number, number] => [key, n, sum]).toSorted(byKey);
}
const byKey = (a: [string, ...unknown[]], b: [string, ...unknown[]]) => (a[0] < b[0] ? -1 : 1);
const shown = (rows: TableRow[]) =>
  rows.map(({ key, delay }) => {
    const { count, sum } = delay as { count: number; sum: number };
    return [key, count, sum];
  });

async function pushed({ client }: TestHost, count: number): Promise<void> {
  for (let from = 0; from < count; from += BATCH) await client.push("kept", flights(from, from + BATCH));
  await until(client, "kept", drained);
}

async function problem(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as { code: string; message: string };
  }
  return assert.unreachable("it was answered") as never;
}

let host: TestHost;
test.before(async () => {
  host = await startHost({
    cpus: 2,
    args: ["--allow-wasm-visits"],
    env: { HALLELUJAH_PARK_AFTER_MS: "1500", HALLELUJAH_FRAME_TIMEOUT_MS: "4000" },
  });
  await host.client.deploy("kept", { kernel: KEEP, max: 1 });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

test("a visit answers for the rows that are there, in tables, in what it emits, and in SQL", async () => {
  await pushed(host, 40_000);
  const { client } = host;
  const visit = await client.visit<TableRow>("kept", { kernel: DELAYS });
  assert.equal(shown(await visit.all()), delaysOf(40_000));
  assert.is(visit.frame, (await client.stream("kept")).frame);
  const late = await client.visit<{ n: number }>("kept", { kernel: LATE });
  assert.equal(
    (await late.all()).map(({ n }) => n).toSorted((a, b) => a - b),
    flights(0, 40_000)
      .filter(({ delay = 0 }) => delay >= 95)
      .map(({ n }) => n),
  );
  const top = { kernel: DELAYS, table: "origins", order: "-delay.sum", limit: 3 };
  const best = delaysOf(40_000).toSorted((a, b) => b[2] - a[2]);
  assert.equal(shown(await (await client.visit<TableRow>("kept", top)).all()), best.slice(0, 3));
  const query =
    "SELECT origin, count(delay) AS n, sum(delay) AS late FROM Flights WHERE delay IS NOT NULL GROUP BY origin ORDER BY 1";
  const printed = await prints(host.url, ["query", "kept", query]);
  assert.equal(
    printed
      .trim()
      .split("\n")
      .map((line) => Object.values(JSON.parse(line) as object)),
    delaysOf(40_000),
  );
});

/** Rows of BY_FLIGHTS over the first so many flights. */
function groupsOf(count: number): object[] {
  const counts = new Map<string, number>();
  for (const { origin } of flights(0, count)) counts.set(origin, (counts.get(origin) ?? 0) + 1);
  const groups = new Map<number, string[]>();
  for (const [origin, n] of counts) groups.set(n, [...(groups.get(n) ?? []), origin]);
  return [...groups]
    .toSorted(([a], [b]) => a - b)
    .map(([key, all]) => ({ table: "groups", key, airports: all.length, last: all.toSorted().at(-1) }));
}

test("a kernel or a query visits a table as it would rows, by the columns that query shows", async () => {
  const { client } = host;
  const over = { kernel: BY_FLIGHTS, dataset: "seen" };
  const wanted = groupsOf(40_000);
  const visit = await client.visit<TableRow>("kept", over);
  assert.equal(await visit.all(), wanted);
  assert.is(visit.frame, (await client.stream("kept")).frame);
  assert.equal(await (await client.visit<TableRow>("kept", { ...over, hold: true })).all(), wanted);
  const sql = "SELECT count AS key, count(*) AS airports, max(key) AS last FROM seen GROUP BY 1 ORDER BY 1";
  const printed = await prints(host.url, ["query", "kept", sql]);
  assert.equal(
    printed
      .trim()
      .split("\n")
      .map((line) => ({ table: "groups", ...(JSON.parse(line) as object) })),
    wanted,
  );
  assert.match(await prints(host.url, ["query", "kept", sql, "--explain"]), /class Row {[^}]*count: i64;/);
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-visit-"));
  try {
    const path = join(folder, "by-flights.ts");
    writeFileSync(path, BY_FLIGHTS);
    const args = ["visit", "kept", path, "--dataset", "seen"];
    assert.equal(
      (await prints(host.url, args))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as object),
      wanted,
    );
    await refuses(host.url, [...args, "--follow"], /rows of seen change in place/, 1);
    await refuses(host.url, ["visit", "kept", path], /flights has no column "key"/, 1);
    // The host is up with --allow-wasm-visits.
    const module = join(folder, "by-flights.wasm");
    await prints(host.url, ["build", path, "-o", module]);
    const from = ["run", module, "--from", "kept", "--dataset", "seen"];
    assert.is(await prints(host.url, from), await prints(host.url, args));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("records go on coming while it is visited, and each visit holds whole frames", async () => {
  const { client } = host;
  let to = 40_000;
  const answers: TableRow[][] = [];
  const visiting = (async () => {
    for (let i = 0; i < 8; i++)
      answers.push(await (await client.visit<TableRow>("kept", { kernel: DELAYS })).all());
  })();
  for (; to < 80_000; to += BATCH) await client.push("kept", flights(to, to + BATCH));
  await visiting;
  await until(client, "kept", drained);
  // A batch is a frame, so what a visit met is one of these.
  const possible = new Set<string>();
  for (let count = 40_000; count <= to; count += BATCH) possible.add(JSON.stringify(delaysOf(count)));
  for (const rows of answers) assert.ok(possible.has(JSON.stringify(shown(rows))));
  const seen = await (await client.query<TableRow>("kept", "seen")).all();
  assert.is(
    seen.reduce((sum, { count }) => sum + (count as number), 0),
    to,
  );
});

test("a visit that stays has a result of whole frames whenever more have come, also over a swap and a reprocess, and ends with its stream", async () => {
  const { client } = host;
  await client.deploy("followed", { kernel: KEEP, max: 1 });
  const possible = new Map(
    Array.from({ length: 5 }, (_, i) => [JSON.stringify(delaysOf(i * BATCH)), i * BATCH]),
  );
  const met: number[] = [];
  const frames: number[] = [];
  let to = 0;
  for await (const { frame, rows } of client.follow<TableRow>("followed", { kernel: DELAYS })) {
    const count = possible.get(JSON.stringify(shown(rows)));
    assert.ok(count !== undefined, "rows of whole frames");
    met.push(count!);
    frames.push(frame);
    if (count! < to) continue;
    if (to === 4 * BATCH) break;
    // The rows stay, so the visit does.
    if (to === 2 * BATCH)
      await client.swap("followed", { kernel: KEEP.replace(".count.add()", ".count.add(2)") });
    await client.push("followed", flights(to, to + BATCH));
    to += BATCH;
    // The rows are others then, of the same records.
    if (to !== 3 * BATCH) continue;
    await client.reprocess("followed", { kernel: KEEP });
    await until(client, "followed", (info) => !info.reprocess);
  }
  assert.is(met.at(-1), 4 * BATCH);
  assert.equal(
    met,
    met.toSorted((a, b) => a - b),
  );
  assert.equal(
    frames,
    frames.toSorted((a, b) => a - b),
  );
  const emitting = await problem(client.follow("followed", { kernel: LATE }).next());
  assert.is(emitting.code, "visit-format", emitting.message);
  const results = client.follow<TableRow>("followed", { kernel: DELAYS });
  await results.next();
  await client.remove("followed");
  assert.ok((await results.next()).done);
});

test("a stream that is parked is woken", async () => {
  const { client } = host;
  await until(client, "kept", ({ state }) => state === "parked");
  const rows = await (await client.visit<TableRow>("kept", { kernel: DELAYS })).all();
  assert.equal(shown(rows), delaysOf(80_000));
});

test("what is wrong with a visit is told, and the stream goes on", async () => {
  const { client } = host;
  const kernel = (body: string, fields = "n: i64") =>
    `import { Count, Table, Text } from "hallelujah";
@record class R { ${fields} }
@state class S { n: Count }
const t = new Table<i64, S>("t");
export function each(r: R): void { ${body} }`;
  const visit = (options: {
    kernel: string;
    dataset?: string;
    table?: string;
    rows?: number;
    timeout?: number;
  }) => problem(client.visit("kept", { file: "odd.ts", ...options }));
  const missing = await visit({ kernel: kernel("t.at(r.m).n.add();", "m: i64") });
  assert.is(missing.code, "column-missing", missing.message);
  assert.match(missing.message, /flights.* m/s);
  const type = await visit({ kernel: kernel("t.at(r.origin).n.add();", "origin: i64") });
  assert.is(type.code, "column-type", type.message);
  assert.match(type.message, /origin/);
  const trap = await visit({
    kernel: kernel('if (r.n == 77) throw new Error("no 77");\n  t.at(r.n).n.add();'),
  });
  assert.is(trap.code, "kernel-trapped", trap.message);
  assert.match(trap.message, /no 77 in each \(odd\.ts:5:\d+\)/);
  const wrong = await visit({ kernel: kernel("t.at(r.n).n.ad();") });
  assert.match(wrong.message, /odd\.ts:5:\d+/);
  assert.is((await visit({ kernel: DELAYS, dataset: "nothing" })).code, "dataset-missing");
  assert.is((await visit({ kernel: DELAYS, table: "nothing" })).code, "table-unknown");
  const many = await visit({ kernel: DELAYS, rows: 10 });
  assert.is(many.code, "visit-too-large");
  assert.match(many.message, /may meet 10; .*--rows/);
  const loop = await visit({ kernel: kernel("while (r.n >= 0) t.at(0).n.add();") });
  assert.is(loop.code, "kernel-trapped", loop.message);
  assert.match(loop.message, /did not return within 4 s/);
  await client.push("kept", flights(80_000, 80_000 + BATCH));
  await until(client, "kept", drained);
  const rows = await (await client.visit<TableRow>("kept", { kernel: DELAYS })).all();
  assert.equal(shown(rows), delaysOf(80_000 + BATCH));
  assert.is((await client.stream("kept")).deadLetters, 0);
});

test("a client that leaves ends its visit", async () => {
  const { client } = host;
  const slow = DELAYS.replace(
    "if (flight",
    "let x: f64 = 1;\n  for (let i = 0; i < 3000; i++) x = x * 0.99 + Math.sqrt(x);\n  if (x < 0) return;\n  if (flight",
  );
  const left = new AbortController();
  const visiting = client.visit("kept", { kernel: slow, signal: left.signal });
  await new Promise((done) => setTimeout(done, 200));
  left.abort();
  await problem(visiting);
  const given = await problem(client.visit("kept", { kernel: slow, timeout: 100 }));
  assert.is(given.code, "visit-timeout");
  const rows = await (await client.visit<TableRow>("kept", { kernel: DELAYS })).all();
  assert.is(rows.length, 32);
});

test("whoever waits behind a visit that never ends is answered all the same", async () => {
  const { client } = host;
  const endless = DELAYS.replace("if (flight", "while (flight.origin.length >= 0) {}\n  if (flight");
  const loop = problem(client.visit("kept", { kernel: endless }));
  const rows = Array.from({ length: 5 }, async () =>
    shown(await (await client.visit<TableRow>("kept", { kernel: DELAYS })).all()),
  );
  for (const each of await Promise.all(rows)) assert.equal(each, delaysOf(80_000 + BATCH));
  const { code, message } = await loop;
  assert.is(code, "kernel-trapped", message);
});

test("a visit that never ends is given up when its own time is over, and its Jah comes back", async () => {
  const { client } = host;
  const endless = DELAYS.replace("if (flight", "while (flight.origin.length >= 0) {}\n  if (flight");
  const before = (await client.jahs()).map(({ jah }) => jah);
  const { code, message } = await problem(client.visit("kept", { kernel: endless, timeout: 500 }));
  assert.is(code, "visit-timeout", message);
  const rows = await (await client.visit<TableRow>("kept", { kernel: DELAYS })).all();
  assert.equal(shown(rows), delaysOf(80_000 + BATCH));
  // The one that was in the loop was ended.
  assert.not.equal(
    (await client.jahs()).map(({ jah }) => jah),
    before,
  );
});

/** Kernels that do not come back, from their first row or from their start. */
const ENDLESS = {
  "never ends": DELAYS.replace("if (flight", "while (flight.origin.length >= 0) {}\n  if (flight"),
  "never begins": `${DELAYS.replace("if (flight", "if (spun == 1) return;\n  if (flight")}
function spin(): i32 { let i: i32 = 0; while (true) { i++; if (i == -1 && i == 0) break; } return i; }
const spun: i32 = spin();`,
};

for (const [name, source] of Object.entries(ENDLESS))
  test(`a visit that ${name} is ended when its client has left`, async () => {
    // Nothing else would end the loop while the test waits.
    const patient = await startHost({
      cpus: 1,
      env: { HALLELUJAH_FRAME_TIMEOUT_MS: "3600000", HALLELUJAH_PARK_AFTER_MS: "3600000" },
      args: ["--allow-wasm-visits"],
    });
    try {
      const { client } = patient;
      await client.deploy("kept", { kernel: KEEP, max: 1 });
      await pushed(patient, BATCH);
      // Of a kernel that comes as source, the compiler would meet the loop at its start.
      const { wasm } = await compileKernel(kernelOf("endless", source), "quick");
      const [{ jah, pid }] = await client.jahs();
      const idle = cpuSeconds(pid);
      const user = new AbortController();
      const left = problem(client.visit("kept", { kernel: wasm, timeout: 3_600_000, signal: user.signal }));
      while (cpuSeconds(pid) < idle + 1) await new Promise((done) => setTimeout(done, 20)); // it is in the loop
      user.abort();
      await left;
      const visit = await client.visit<TableRow>("kept", { kernel: DELAYS, timeout: 60_000 });
      assert.equal(shown(await visit.all()), delaysOf(BATCH));
      assert.not.equal((await client.jahs())[0].jah, jah);
      assert.match(patient.log(), /the kernel of a visit did not return in time/);
    } finally {
      assert.is(await patient.stop(), 0);
    }
  });

/** What a process has used of the CPUs. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

test("the answer is the same to the last byte whatever Jahs hold the rows, and right or refused while they move", async () => {
  const { client } = host;
  const both = LATE.replace("import {", "import { Stats, Table,").replace(
    "export function each(flight: Flight): void {",
    `@state class Delays { n: Stats }
const origins = new Table<Text, Delays>("origins");
export function each(flight: Flight): void {
  origins.at(flight.origin).n.add(<f64>flight.n / 7);`,
  );
  const whole = async (kernel: string) =>
    JSON.stringify(await (await client.visit<TableRow>("kept", { kernel })).all());
  const wanted = await whole(both);
  const delays = JSON.stringify(delaysOf(80_000 + BATCH));
  const groups = JSON.stringify(groupsOf(80_000 + BATCH));
  await client.change("kept", { max: 2 });
  for (const shards of [2, 1]) {
    await client.change("kept", { shards });
    let moving = true;
    const visits = (async () => {
      while (moving) {
        try {
          const { all } = await client.visit<TableRow>("kept", { kernel: DELAYS });
          assert.is(JSON.stringify(shown(await all())), delays);
          const met = await client.visit<TableRow>("kept", { kernel: BY_FLIGHTS, dataset: "seen" });
          assert.is(JSON.stringify(await met.all()), groups);
        } catch (error) {
          const { code = "", message } = error as { code?: string; message: string };
          assert.match(code, /^(visit-lost|shard-lost|jah-lost)$/, message);
        }
      }
    })();
    await until(client, "kept", (stream) => stream.shards.length === shards);
    moving = false;
    await visits;
    assert.is(await whole(both), wanted, `${shards} shards`);
  }
});

test("the command prints what run would", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-visit-"));
  try {
    const path = join(folder, "delays.ts");
    writeFileSync(path, DELAYS);
    const args = ["visit", "kept", path, "--table", "origins", "--limit", "2", "--format", "csv"];
    assert.match(await prints(host.url, args), /^table,key,delay\.count,.*\norigins,AP1,/);
    const from = ["run", path, "--from", "kept", "--limit", "2", "--format", "csv"];
    assert.is(await prints(host.url, from), await prints(host.url, args));
    await refuses(host.url, [...from, "--strict"], /--strict is for files/, 2);
    await refuses(host.url, [...from, "more.csv"], /no inputs: more\.csv/, 2);
    await refuses(host.url, ["run", path, "more.csv", "--follow"], /--follow is for --from/, 2);
    await refuses(host.url, ["query", "kept", "SELECT nothing FROM flights"], /nothing/, 2);
    await refuses(
      host.url,
      ["query", "kept", "SELECT n FROM trains"],
      /no dataset or table trains.*\nit has: flights, seen/,
      1,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("files are loaded as rows, with the types that they have, or are given", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-load-"));
  try {
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const days = (from: number, to: number) =>
      `Day,Seen at,n\n${Array.from({ length: to - from }, (_, i) => `d${(from + i) % 3},2024-01-0${1 + (i % 9)},${from + i}\n`).join("")}`;
    const [first, second] = [file("a.csv", days(0, 50)), file("b.csv", days(50, 100))];
    const loaded = await prints(host.url, ["load", "the-days", first, second, "--max", "1"]);
    const [, query] =
      /^the-days keeps 100 rows of 3 columns; ask for them: hallelujah query the-days '(.+)'\n$/.exec(
        loaded,
      ) ?? [];
    assert.is(await prints(host.url, ["query", "the-days", query]), '{"count(*)":100}\n');
    const sums = 'SELECT Day, sum(n) AS total FROM "the-days" GROUP BY Day ORDER BY Day';
    const total = (day: number) =>
      Array.from({ length: 100 }, (_, n) => (n % 3 === day ? n : 0)).reduce((sum, n) => sum + n, 0);
    assert.equal(
      (await prints(host.url, ["query", "the-days", sums]))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
      [0, 1, 2].map((day) => ({ Day: `d${day}`, total: total(day) })),
    );
    const explained = await prints(host.url, ["load", "other", first, "--types", "n=text", "--explain"]);
    assert.match(explained, /@name\("Seen at"\) seenAt: Optional<Time>;\n {2}n: Optional<Text>;/);
    await refuses(host.url, ["load", "the-days", first], /the-days is there already/, 1);
    const code = file("code.ts", "import { Quantiles, Text } from 'x';\n@record\nclass Row {\n");
    await refuses(host.url, ["load", "no-rows", code], /no record of .*code\.ts fits; .* taken for CSV/, 1);
    assert.is((await host.client.stream("no-rows")).records, 0);
    await host.client.remove("no-rows");
    await refuses(host.url, ["load", "other", first, "--types", "m=text"], /no column "m"/, 2);
    await refuses(host.url, ["load", "other", join(folder, "nothing.csv")], /there is no file/, 1);
    await host.client.remove("the-days");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
