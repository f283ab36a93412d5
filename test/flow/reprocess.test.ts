/** Another kernel over all records that a stream has had, in real processes: under load, killed half way, ended, and where it cannot be. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/reprocess");

/** Sums `times` the numbers of each key, and says of each 50th who took it. */
const kernel = (
  name: string,
  times: number,
  more = "",
) => `import { Sum, Table, Text, out } from "hallelujah";
@record class Row { key: Text; n: i64 }
@record class Seen { n: i64; by: Text }
@state class Total { sum: Sum<i64>; }
const totals = new Table<Text, Total>("totals");
export function each(row: Row): void {
  ${more}
  totals.at(row.key).sum.add(row.n * ${times});
  if (row.n % 50 != 0) return;
  const seen = new Seen();
  seen.n = row.n;
  seen.by = Text.of("${name}");
  out.emit(seen);
}`;
/** Takes some microseconds for each record. */
const SLOW = "let x: f64 = 1; for (let i = 0; i < 300; i++) x = Math.sqrt(x + 2); if (x < 0) return;";

interface Loaded {
  pushed: number;
  stop(): Promise<number>;
}

/** Pushes rows numbered from `from`, some thousand a second after the first `ahead`; `stop` answers how many there are. */
function load({ client }: TestHost, stream: string, from = 0, ahead = 0): Loaded {
  let over = false;
  const loaded = { pushed: from, stop: async () => ((over = true), await pushing, loaded.pushed) };
  const pushing = (async () => {
    while (!over) {
      const rows = Array.from({ length: 1000 }, (_, i) => ({
        key: `key ${(loaded.pushed + i) % 7}`,
        n: loaded.pushed + i,
      }));
      await client.push(stream, rows);
      loaded.pushed += rows.length;
      if (loaded.pushed >= from + ahead) await new Promise((done) => setTimeout(done, 40));
    }
  })();
  pushing.catch(() => {}); // for `stop` to tell
  return loaded;
}

const gauss = (rows: number) => (rows * (rows - 1)) / 2;

/** Asks all the time; `stop` answers whether no answer went back, nor from the new kernel to the old one. */
function ask({ client }: TestHost, stream: string, least = 0) {
  let over = false;
  const asked = { frame: least, answers: 0, stop: async () => ((over = true), asking) };
  const asking = (async () => {
    while (!over) {
      const answer = await client.query<TableRow>(stream, "totals");
      assert.ok(answer.frame >= asked.frame, `frame ${answer.frame} after ${asked.frame}`);
      asked.frame = answer.frame;
      asked.answers++;
      await answer.all();
    }
  })();
  asking.catch(() => {}); // for `stop` to tell
  return asked;
}

/** All rows count once, `times`; and each is once in the output, whose rows are of one kernel after the other. */
async function check({ client }: TestHost, stream: string, rows: number, times: number): Promise<string[]> {
  await until(client, stream, drained);
  const totals = await (await client.query<{ sum: number }>(stream, "totals")).all();
  assert.is(
    totals.reduce((sum, row) => sum + row.sum, 0),
    gauss(rows) * times,
  );
  const expected = Math.ceil(rows / 50);
  await until(client, stream, ({ outputs }) => outputs >= expected);
  const output: { n: number; by: string }[] = [];
  for await (const { row } of client.output<{ n: number; by: string }>(stream, { from: 0 }))
    if (output.push(row) === expected) break;
  assert.equal(
    output.map(({ n }) => n),
    Array.from({ length: expected }, (_, i) => i * 50),
  );
  return output.map(({ by }) => by).filter((by, i, all) => by !== all[i - 1]);
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: { code: string }) => error.code,
  );
}

test("under load, killed half way: the new kernel takes over at one frame, and no answer goes back", async () => {
  const data = mkdtempSync(join(tmpdir(), "hallelujah-reprocess-"));
  const env = { HALLELUJAH_CHECKPOINT_BYTES: "400000" };
  let host = await startHost({ cpus: 2, data, env });
  try {
    await host.client.deploy("load", { kernel: kernel("a", 1), retain: "all" });
    let loading = load(host, "load", 0, 60_000);
    while (loading.pushed < 60_000) await new Promise((done) => setTimeout(done, 5));
    const begun = await host.client.reprocess("load", { kernel: kernel("b", 2, SLOW), file: "b.ts" });
    assert.is(begun.version, 1);
    assert.is(begun.reprocess?.version, 2);
    assert.is(await codeOf(host.client.reprocess("load", { kernel: kernel("c", 3) })), "reprocess-running");
    assert.is(await codeOf(host.client.swap("load", { kernel: kernel("c", 3) })), "reprocess-running");
    const asking = ask(host, "load");
    const { reprocess } = await until(
      host.client,
      "load",
      (info) => !info.reprocess || info.reprocess.frame > 10,
    );
    assert.ok(reprocess, "it was killed too late");
    await asking.stop();
    assert.ok(asking.answers);
    const pushed = await loading.stop();
    host.process.kill("SIGKILL");
    await new Promise((done) => host.process.once("exit", done));

    host = await startHost({ cpus: 2, data, env });
    loading = load(host, "load", pushed);
    const again = ask(host, "load", asking.frame);
    await until(host.client, "load", (info) => !info.reprocess);
    const { pushed: before } = loading;
    while (loading.pushed < before + 5_000) await new Promise((done) => setTimeout(done, 5));
    await again.stop();
    assert.ok(again.answers);
    assert.equal(await check(host, "load", await loading.stop(), 2), ["a", "b"]);
    assert.equal(
      (await host.client.versions("load")).map(({ version, how, from, error }) => [
        version,
        how,
        from,
        error,
      ]),
      [
        [1, "deployed", 0, undefined],
        [2, "reprocessed", 0, undefined],
      ],
    );
    assert.is(await host.stop(), 0);

    // What it was made of is gone, and the next process has it as it is.
    host = await startHost({ cpus: 2, data });
    await host.client.push("load", [{ key: "key 0", n: 0 }]);
    await until(host.client, "load", drained);
    assert.not(readdirSync(join(data, "streams", "load")).includes("shard-0"));
  } finally {
    assert.is(await host.stop(), 0);
    rmSync(data, { recursive: true, force: true });
  }
});

test("one that stops, or is ended, changes nothing; a stream on one CPU takes turns with it", async () => {
  const host = await startHost({ cpus: 1, env: { HALLELUJAH_PARK_AFTER_MS: "300" } });
  const { client } = host;
  try {
    await client.deploy("one", { kernel: kernel("a", 1), retain: "all" });
    const rows = Array.from({ length: 1000 }, (_, n) => ({ key: `key ${n % 7}`, n }));
    await client.push("one", rows);
    await until(client, "one", drained);
    assert.is(await codeOf(client.cancelReprocess("one")), "reprocess-unknown");
    await client.reprocess("one", {
      kernel: kernel("bad", 1, 'if (row.n == 700) throw new Error("too far");'),
    });
    await until(client, "one", (info) => !info.reprocess);
    const [, ended] = await client.versions("one");
    assert.is(ended.how, "reprocessed");
    assert.match(ended.error!, /too far.*kernel\.ts:\d+/);

    await client.change("one", { paused: true });
    await client.reprocess("one", { kernel: kernel("b", 2) });
    await client.cancelReprocess("one");
    await client.change("one", { paused: false });
    assert.is((await client.stream("one")).version, 1);

    await client.reprocess("one", { kernel: kernel("b", 2) });
    await until(client, "one", (info) => !info.reprocess);
    await client.push(
      "one",
      rows.map(({ key, n }) => ({ key, n: n + 1000 })),
    );
    assert.equal(await check(host, "one", 2000, 2), ["a", "b"]);
    assert.is((await client.stream("one")).version, 4);

    // The kernel before it comes back over what is there; or over all records again.
    await client.reprocess("one", { to: 1 });
    await until(client, "one", (info) => !info.reprocess);
    await client.swap("one", { kernel: kernel("c", 1) });
    await client.push(
      "one",
      rows.map(({ key, n }) => ({ key, n: n + 2000 })),
    );
    assert.equal(await check(host, "one", 3000, 1), ["a", "b", "c"]);
    await client.remove("one");
    assert.equal(await client.streams(), []);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("files are read again, who shares the records or takes in the output goes on; what cannot be is refused", async () => {
  const host = await startHost({ cpus: 4 });
  const { client } = host;
  const file = join(host.data, "rows.csv");
  const csv = (from: number) => Array.from({ length: 100 }, (_, i) => `key ${i % 7},${from + i}\n`).join("");
  writeFileSync(file, `key,n\n${csv(0)}`);
  const push = (from: number) => client.push("filed", `key,n\n${csv(from)}`, { format: "csv" });
  const sum = async (name: string) =>
    (await (await client.query<{ sum: number }>(name, "totals")).all()).reduce(
      (all, row) => all + row.sum,
      0,
    );
  try {
    await client.deploy("filed", { kernel: kernel("a", 1), source: file, retain: "all" });
    await until(client, "filed", (info) => info.records === 100);
    await client.deploy("sharer", { kernel: kernel("a", 1), from: "filed", share: true });
    await client.deploy("follower", {
      kernel: kernel("a", 1).replaceAll("row.key", "row.by").replace("key: Text; n", "by: Text; n"),
      from: "filed",
    });
    await push(100);
    await client.reprocess("filed", { kernel: kernel("b", 2) });
    await until(client, "filed", (info) => !info.reprocess);
    await push(200);
    for (const name of ["filed", "sharer"]) await until(client, name, drained);
    assert.is(await sum("filed"), gauss(300) * 2);
    assert.is(await sum("sharer"), gauss(300));
    await until(client, "follower", (info) => info.records === 6 && drained(info));
    const rows = await (await client.query<{ key: string; sum: number }>("follower", "totals")).all();
    assert.equal(
      rows.map(({ key, sum }) => [key, sum]),
      [
        ["a", 0 + 50 + 100 + 150],
        ["b", 200 + 250],
      ],
    );

    const reprocess = (name: string, source: string) => codeOf(client.reprocess(name, { kernel: source }));
    await client.deploy("csv", { kernel: kernel("a", 1), retain: "all" });
    await client.push("csv", "key,n\nx,1\n", { format: "csv" });
    await client.deploy("other", { kernel: kernel("a", 1), from: "csv", share: true, min: 0 });
    assert.is(await reprocess("other", kernel("b", 1)), "reprocess-invalid");
    assert.is(await reprocess("nowhere", kernel("b", 1)), "stream-unknown");
    const misfit = kernel("b", 1).replaceAll("key: Text", "town: Text").replaceAll("row.key", "row.town");
    assert.is(await reprocess("csv", misfit), "reprocess-misfit");
    assert.is(await codeOf(client.reprocess("csv", { to: 7 })), "version-unknown");
    assert.is(await codeOf(client.reprocess("csv", { to: 1, max: 0 })), "reprocess-invalid");
    await client.swap("csv", { kernel: kernel("b", 1) });
    assert.is(await reprocess("csv", kernel("c", 1)), "stream-on-trial");
    await client.swap("csv", { to: 1 });
    assert.is(await reprocess("csv", kernel("c", 1)), "stream-on-trial");
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test.run();
