/** Another kernel for a running stream, in real processes: under load, on trial, killed, parked, and where it does not fit. */
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/swap");

/** Counts each record by the kernel that took it, and says so in the output. */
const kernel = (name: string, more = "") => `import { Count, Sum, Table, Text, out } from "hallelujah";
@record class Row { key: Text; n: i64 }
@record class Seen { n: i64; by: Text }
@state class Total { count: Count; sum: Sum<i64>; }
@state class By { count: Count; }
const totals = new Table<Text, Total>("totals");
const by = new Table<Text, By>("by");
export function each(row: Row): void {
  ${more}
  const total = totals.at(row.key);
  total.count.add();
  total.sum.add(row.n);
  by.at(Text.of("${name}")).count.add();
  if (row.n % 50 != 0) return;
  const seen = new Seen();
  seen.n = row.n;
  seen.by = Text.of("${name}");
  out.emit(seen);
}`;

interface Loaded {
  pushed: number;
  stop(): Promise<number>;
}

/** Pushes rows numbered from 0 without a pause; `stop` answers how many there were. */
function load({ client }: TestHost, stream: string, from = 0): Loaded {
  let over = false;
  const loaded = { pushed: from, stop: async () => ((over = true), await pushing, loaded.pushed) };
  const pushing = (async () => {
    for (let sequence = 1; !over; sequence++) {
      const rows = Array.from({ length: 2000 }, (_, i) => ({
        key: `key ${(loaded.pushed + i) % 700}`,
        n: loaded.pushed + i,
      }));
      await client.push(stream, rows);
      loaded.pushed += rows.length;
    }
  })();
  pushing.catch(() => {}); // for `stop` to tell
  return loaded;
}

const rowsOf = async (host: TestHost, stream: string, table: string): Promise<TableRow[]> =>
  (await host.client.query<TableRow>(stream, table)).all();

/** Every row counts once, in `totals`, in `by`, and in the output, which has no gap, nor a row of `not`. */
async function check(host: TestHost, stream: string, rows: number, not: string[] = []): Promise<string[]> {
  await until(host.client, stream, (info) => drained(info) && info.frames === info.frame);
  const totals = await rowsOf(host, stream, "totals");
  assert.is(
    totals.reduce((sum, row) => sum + (row.count as number), 0),
    rows,
  );
  assert.is(
    totals.reduce((sum, row) => sum + (row.sum as number), 0),
    (rows * (rows - 1)) / 2,
  );
  const by = await rowsOf(host, stream, "by");
  assert.is(
    by.reduce((sum, row) => sum + (row.count as number), 0),
    rows,
  );
  for (const name of not)
    assert.not(
      by.some(({ key }) => key === name),
      `${name} counts`,
    );
  const expected = Math.ceil(rows / 50);
  await until(host.client, stream, ({ outputs }) => outputs >= expected);
  const output: { n: number; by: string }[] = [];
  if (expected)
    for await (const { row } of host.client.output<{ n: number; by: string }>(stream, { from: 0 })) {
      output.push(row);
      if (output.length === expected) break;
    }
  assert.equal(
    output.map(({ n }) => n),
    Array.from({ length: expected }, (_, i) => i * 50),
  );
  const order = output.map((row) => row.by).filter((name, i, all) => name !== all[i - 1]);
  for (const name of not) assert.not(order.includes(name), `${name} put something out`);
  return order;
}

async function errorOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await work;
  } catch (error) {
    return error as { code: string; message: string };
  }
  return { code: "none", message: "" };
}

test("under load every frame is of the old kernel or of the new one, on all shards", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    await host.client.deploy("load", { kernel: kernel("a") });
    await host.client.change("load", { shards: 2 });
    const loading = load(host, "load");
    await until(host.client, "load", ({ shards, records }) => shards.length === 2 && records > 0);
    for (const name of ["b", "c", "d", "e"]) {
      const before = loading.pushed;
      const { version } = await host.client.swap("load", { kernel: kernel(name) });
      const last = (await host.client.versions("load")).at(-1)!;
      assert.is(last.version, version);
      assert.ok(last.pauseMs! >= 0, `it paused for ${last.pauseMs} ms`);
      while (loading.pushed < before + 20_000) await new Promise((done) => setTimeout(done, 5));
    }
    const order = await check(host, "load", await loading.stop());
    assert.equal(order, ["a", "b", "c", "d", "e"]);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("a version that the registry cannot be told of is rolled back, under load; the next one is right", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    await host.client.deploy("untold", { kernel: kernel("a") });
    await host.client.change("untold", { shards: 2 });
    const loading = load(host, "untold");
    await until(host.client, "untold", ({ shards, records }) => shards.length === 2 && records > 0);
    const inTheWay = join(host.data, "registry.json.new");
    mkdirSync(inTheWay);
    const { code, message } = await errorOf(host.client.swap("untold", { kernel: kernel("b") }));
    assert.is(code, "registry-unwritable");
    assert.match(message, "make room, or mend the disk, and try again");
    const before = loading.pushed;
    while (loading.pushed < before + 10_000) await new Promise((done) => setTimeout(done, 5));
    rmdirSync(inTheWay);
    await host.client.swap("untold", { kernel: kernel("c") });
    const order = await check(host, "untold", await loading.stop(), ["b"]);
    assert.equal(order, ["a", "c"]);
    const history = await host.client.versions("untold");
    assert.equal(
      history.map(({ how }) => how),
      ["deployed", "swapped", "rolled back", "swapped"],
    );
    assert.match(history[1].error!, "the registry cannot be written");
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("a kernel that stops within its trial is rolled back, and nothing of it is left", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    await host.client.deploy("trial", { kernel: kernel("a") });
    await host.client.change("trial", { shards: 2 });
    const loading = load(host, "trial");
    await until(host.client, "trial", ({ shards, records }) => shards.length === 2 && records > 0);
    const from = loading.pushed;
    const bad = kernel("bad", `if (row.n > ${from + 12_000}) throw new Error("too far");`);
    const { code } = await errorOf(host.client.swap("trial", { kernel: bad }));
    assert.ok(["none", "swap-rolled-back"].includes(code), code);
    for (;;) {
      const versions = await host.client.versions("trial");
      if (versions.at(-1)!.how === "rolled back") {
        assert.match(versions.at(-2)!.error!, /too far.*\(kernel\.ts:\d+/);
        assert.is(versions.at(-1)!.sameAs, 1);
        break;
      }
      await new Promise((done) => setTimeout(done, 20));
    }
    while (loading.pushed < from + 30_000) await new Promise((done) => setTimeout(done, 5));
    assert.equal(await check(host, "trial", await loading.stop(), ["bad"]), ["a"]);
    assert.is((await host.client.stream("trial")).deadLetters, 0);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("processes that are killed while kernels are swapped change nothing", async () => {
  const data = mkdtempSync(join(tmpdir(), "hallelujah-swap-"));
  let host = await startHost({ cpus: 2, data, env: { HALLELUJAH_CHECKPOINT_BYTES: "400000" } });
  try {
    await host.client.deploy("killed", { kernel: kernel("a") });
    let loading = load(host, "killed");
    /** Each kernel has taken some: the next one takes over at the first frame that nobody was given. */
    const taken = async () => {
      const { records } = await host.client.stream("killed");
      await until(host.client, "killed", (stream) => stream.records > records + 10_000);
    };
    await taken();
    for (const name of ["b", "c", "d"]) {
      await host.client.swap("killed", { kernel: kernel(name) });
      const [{ pid }] = await host.client.jahs();
      process.kill(pid, "SIGKILL");
      await taken();
    }
    const pushed = await loading.stop();
    const { pid } = await host.client.host();
    await host.client.swap("killed", { kernel: kernel("e") });
    host.process.kill("SIGKILL");
    await new Promise((done) => host.process.once("exit", done));
    assert.ok(pid);
    host = await startHost({ cpus: 2, data });
    loading = load(host, "killed", pushed);
    while (loading.pushed < pushed + 10_000) await new Promise((done) => setTimeout(done, 5));
    assert.equal(await check(host, "killed", await loading.stop()), ["a", "b", "c", "d", "e"]);
  } finally {
    assert.is(await host.stop(), 0);
    rmSync(data, { recursive: true, force: true });
  }
});

test("kernels that took in nothing since they were swapped do not take the CPU from each other", async () => {
  const host = await startHost({ cpus: 2 });
  const names = ["one", "two", "three"];
  try {
    for (const name of names) {
      await host.client.deploy(name, { kernel: kernel("a"), min: 0, max: 1 });
      await host.client.push(name, [{ key: "k", n: 0 }]);
      await until(host.client, name, drained);
      await host.client.swap(name, { kernel: kernel("b") });
    }
    const states = async () =>
      JSON.stringify(await Promise.all(names.map(async (name) => (await host.client.stream(name)).state)));
    // Two seconds in which nothing changes are rest; then nothing may.
    const seen: string[] = [];
    const isRest = (looks: string[]) => looks.length === 20 && new Set(looks).size === 1;
    for (let rest = 0; rest < 60; ) {
      await new Promise((done) => setTimeout(done, 100));
      seen.push(await states());
      if (rest || isRest(seen.slice(-20))) rest++;
      assert.ok(seen.length < 300, "they come to rest");
    }
    assert.is(new Set(seen.slice(-60)).size, 1, "they stay at rest");
    for (const name of names) {
      await host.client.push(name, [{ key: "k", n: 1 }]);
      await check(host, name, 2);
    }
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("fields, tables and versions come and go; what does not fit is refused and the old kernel runs on", async () => {
  const host = await startHost({ cpus: 2, env: { HALLELUJAH_PARK_AFTER_MS: "300" } });
  const { client } = host;
  const shape = (
    fields: string,
    adds: string,
    key = "Text",
  ) => `import { Count, Stats, Sum, Table, Text } from "hallelujah";
@record class Row { key: Text; n: f64 }
@state class Seen { ${fields} }
const seen = new Table<${key}, Seen>("seen");
export function each(row: Row): void { const one = seen.at(${key === "Text" ? "row.key" : "<i64>row.n"}); ${adds} }`;
  const rows = (count: number) => Array.from({ length: count }, (_, i) => ({ key: `k${i % 5}`, n: i }));
  try {
    await client.deploy("shape", { kernel: shape("count: Count;", "one.count.add();") });
    await client.push("shape", rows(50));
    const more = shape("stats: Stats; count: Count;", "one.count.add(); one.stats.add(row.n);");
    assert.equal(await client.planSwap("shape", { kernel: more }), {
      misfits: [],
      tables: [{ table: "seen", kept: true, upgraded: false, added: ["stats"], dropped: [] }],
      removed: [],
    });
    await until(client, "shape", ({ state }) => state === "parked");
    await client.swap("shape", { kernel: more });
    await client.push("shape", rows(10));
    await until(client, "shape", drained);
    const [first] = await rowsOf(host, "shape", "seen");
    assert.equal(first, {
      table: "seen",
      key: "k0",
      stats: { count: 2, sum: 5, min: 0, max: 5, mean: 2.5 },
      count: 12,
    });

    const wrong = shape("stats: Sum; count: Count;", "one.count.add(); one.stats.add(row.n);", "i64");
    const refused = await errorOf(client.swap("shape", { kernel: wrong }));
    assert.is(refused.code, "swap-misfit");
    assert.match(refused.message, /seen: its key is i64, and was Text/);
    assert.match(refused.message, /seen: the field stats is Sum<f64>, and was Stats/);

    await client.swap("shape", { to: 1 });
    const [back] = await rowsOf(host, "shape", "seen");
    assert.equal(back, { table: "seen", key: "k0", count: 12 });
    assert.equal(
      (await client.versions("shape")).map(({ version, how, sameAs }) => [version, how, sameAs]),
      [
        [1, "deployed", undefined],
        [2, "swapped", undefined],
        [3, "went back", 1],
      ],
    );
    assert.is((await errorOf(client.swap("shape", { to: 9 }))).code, "version-unknown");
    assert.is((await errorOf(client.swap("nowhere", { kernel: more }))).code, "stream-unknown");
    assert.is((await errorOf(client.deploy("shape", { kernel: more }))).code, "stream-exists");
    for (const option of [
      "source=rows.csv",
      "inputFormat=csv",
      "sink=out",
      "from=shape",
      "share=true",
      "strict=true",
    ]) {
      const headers = { "content-type": "text/typescript", "if-match": "*" };
      const url = `${host.url}/v1/streams/shape?${option}`;
      const answer = await fetch(url, { method: "PUT", headers, body: more });
      const { code, detail } = (await answer.json()) as { code: string; detail: string };
      assert.is(code, "stream-exists", option);
      assert.match(detail, "shape keeps its sources, their format", option);
    }
    assert.is((await client.versions("shape")).length, 3);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("what does not fit is upgraded by the kernel on all shards; one that stops at that is rolled back", async () => {
  const host = await startHost({ cpus: 2, env: { HALLELUJAH_FRAME_TIMEOUT_MS: "3000" } });
  const { client } = host;
  const before = `import { Count, First, Sum, Table, Text } from "hallelujah";
@record class Row { key: Text; n: i64 }
@state class Total { count: Count; sum: Sum<i64>; name: First<Text> }
const totals = new Table<Text, Total>("totals");
export function each(row: Row): void {
  const total = totals.at(row.key); total.count.add(); total.sum.add(row.n); total.name.add(row.key);
}`;
  const after = (more: string) => `import { Count, Last, Stats, Sum, First, Table, Text } from "hallelujah";
@record class Row { key: Text; n: i64 }
@state class Old { count: Count; sum: Sum<i64>; name: First<Text> }
@state class Total { sum: Sum<f64>; label: Last<Text>; count: Count; }
const totals = new Table<Text, Total>("totals");
export function upgrade(old: Old, total: Total): void {
  ${more}
  total.sum.add(<f64>old.sum.value);
  total.label.add(old.name.value);
}
export function each(row: Row): void {
  const total = totals.at(row.key); total.count.add(); total.sum.add(<f64>row.n); total.label.add(row.key);
}`;
  const rows = Array.from({ length: 3000 }, (_, i) => ({
    key: `a key of some length, number ${i % 700}`,
    n: i,
  }));
  try {
    await client.deploy("up", { kernel: before });
    await client.change("up", { shards: 2 });
    await client.push("up", rows);
    await until(client, "up", (info) => info.shards.length === 2 && drained(info));
    const was = await rowsOf(host, "up", "totals");
    const stops = after('if (old.sum.value > 7000) throw new Error("too large");');
    const { message } = await errorOf(client.swap("up", { kernel: stops }));
    assert.match(message, /too large.*\(kernel\.ts:7/);
    assert.equal(await rowsOf(host, "up", "totals"), was);
    const loops = after("while (total.count.value) {}");
    const never = await errorOf(client.swap("up", { kernel: loops }));
    assert.is(never.code, "swap-rolled-back");
    assert.match(never.message, /did not return within 3 s/);
    assert.equal(await rowsOf(host, "up", "totals"), was);

    assert.equal((await client.planSwap("up", { kernel: after("") })).tables, [
      { table: "totals", kept: true, upgraded: true, added: ["sum", "label"], dropped: ["sum", "name"] },
    ]);
    await client.swap("up", { kernel: after("") });
    await client.push("up", rows);
    await until(client, "up", drained);
    const now = was.map(({ table, key, count, sum }) => ({
      table,
      key,
      sum: (sum as number) * 2,
      label: key,
      count: (count as number) * 2,
    }));
    assert.equal(await rowsOf(host, "up", "totals"), now);
    const back = await errorOf(client.swap("up", { to: 1 }));
    assert.is(back.code, "swap-misfit");
    assert.match(back.message, /totals: the field sum is Sum<i64>, and was Sum<f64>/);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("CSV columns that the old kernel passed over are read by the new one", async () => {
  const host = await startHost({ cpus: 1 });
  const { client } = host;
  const of = (field: string) => `import { Sum, Table, Text } from "hallelujah";
@record class Row { key: Text; ${field}: i64 }
@state class Seen { sum: Sum<i64>; }
const seen = new Table<Text, Seen>("seen");
export function each(row: Row): void { seen.at(row.key).sum.add(row.${field}); }`;
  try {
    await client.deploy("csv", { kernel: of("a") });
    await client.push("csv", "key,a,b\nx,1,100\n", { format: "csv" });
    await until(client, "csv", drained);
    assert.is((await client.planSwap("csv", { kernel: of("b") })).unseen, undefined);
    assert.equal((await client.planSwap("csv", { kernel: of("c") })).unseen, ["c"]);
    assert.is((await client.swap("csv", { kernel: of("b") })).unseen, undefined);
    await client.push("csv", "key,a,b\nx,1,100\n", { format: "csv" });
    await client.push("csv", "b,key\n1000,x\n", { format: "csv" });
    await until(client, "csv", drained);
    assert.equal(await rowsOf(host, "csv", "seen"), [{ table: "seen", key: "x", sum: 1101 }]);
    assert.is((await errorOf(client.push("csv", "key,a\nx,1\n", { format: "csv" }))).code, "body-invalid");
    assert.equal((await client.swap("csv", { kernel: of("c") })).unseen, ["c"]);
    await client.push("csv", [{ key: "x", c: 1 }]);
    // Of NDJSON nobody knows what it has.
    assert.is((await client.planSwap("csv", { kernel: of("d") })).unseen, undefined);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test.run();
