/** A copy of a running host, into which records are pushed meanwhile, and a host that is started from it. */
import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { cli } from "../run.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/backup");
const BODIES = 30;
const RECORDS = 500;
const kernel = `import { Text, out, Table, Sum } from "hallelujah";
@record class Item { body: i32; value: i32 }
@state class Total { value: Sum }
const totals = new Table<i32, Total>("totals");
export function each(item: Item): void {
  totals.at(item.body).value.add(<f64>item.value);
  if (item.value == 7) out.emit(item);
}`;
const stops = `import { Text, Table, Count } from "hallelujah";
@record class Line { word: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(line: Line): void {
  if (line.word.is("trap")) throw new Error("no such word");
  seen.at(line.word).count.add();
}`;
const body = (i: number) =>
  Array.from({ length: RECORDS }, (_, j) => `{"body":${i},"value":${j}}\n`).join("");
const SUM = (RECORDS * (RECORDS - 1)) / 2;

let folder: string;
test.before(() => {
  folder = mkdtempSync(join(tmpdir(), "hallelujah-backup-"));
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

async function rowsOf(host: TestHost, name: string, table = "totals"): Promise<TableRow[]> {
  return (await host.client.query<TableRow>(name, table)).all();
}

/** The bodies of one stream's table; each is there as a whole, once. */
async function bodiesOf(host: TestHost, name: string): Promise<number[]> {
  return (await rowsOf(host, name)).map(({ key, value }) => {
    assert.is(value, SUM, `body ${String(key)}`);
    return Number(key);
  });
}

test("a backup of a host that works has all that was acknowledged before, once, and the host goes on", async () => {
  const host = await startHost({ cpus: 4, env: { HALLELUJAH_CHECKPOINT_BYTES: "20000" } });
  const file = join(folder, "busy.tar");
  const data = join(folder, "busy");
  let acknowledged = 0;
  try {
    const { client } = host;
    await client.deploy("items", { kernel });
    await client.deploy("sevens", { kernel, from: "items" });
    await client.deploy("same", { kernel, from: "items", share: true });
    await client.deploy("words", { kernel: stops });
    await client.push("words", [{ word: "trap" }]);
    await until(client, "words", (stream) => drained(stream) && stream.deadLetters === 1);
    const push = (sequence: number) => client.push("items", body(sequence), { producer: "p", sequence });
    for (; acknowledged < BODIES / 2; acknowledged++) await push(acknowledged);
    const before = acknowledged;
    let copying = true;
    const copied = cli(["backup", file, "--url", host.url]).finally(() => (copying = false));
    while (copying || acknowledged < BODIES) await push(acknowledged++);
    const { stderr, code } = await copied;
    assert.is(stderr, "");
    assert.is(code, 0);
    assert.not(existsSync(join(host.data, "backup")));
    await until(client, "items", drained);
    assert.is((await bodiesOf(host, "items")).length, acknowledged);
    assert.is((await client.stream("items")).state, "running");

    const restored = await cli(["restore", file, "--data", data]);
    assert.is(restored.stderr, "");
    assert.is(restored.code, 0, restored.stdout);
    const second = await startHost({ cpus: 4, data });
    try {
      const there = await bodiesOf(second, "items");
      assert.ok(there.length >= before, `${there.length} of ${before}`);
      assert.equal(
        there,
        Array.from(there, (_, i) => i),
      );
      // The producer goes on where it was: what is there already is passed over.
      for (let i = 0; i < acknowledged; i++)
        await second.client.push("items", body(i), { producer: "p", sequence: i });
      await until(second.client, "items", drained);
      assert.is((await bodiesOf(second, "items")).length, acknowledged);
      await until(second.client, "same", drained);
      assert.is((await bodiesOf(second, "same")).length, acknowledged);
      await until(second.client, "items", ({ outputs }) => outputs === acknowledged);
      await until(second.client, "sevens", (stream) => drained(stream) && stream.records === acknowledged);
      assert.equal(
        (await rowsOf(second, "sevens")).map(({ value }) => value),
        Array.from({ length: acknowledged }, () => 7),
      );
      assert.is(Buffer.from(await second.client.deadLetter("words", 0)).toString(), '{"word":"trap"}\n');
    } finally {
      assert.is(await second.stop(), 0);
    }
  } finally {
    await host.stop();
  }
});

test("one backup at a time; one that nobody reads to its end leaves nothing behind", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    const { client } = host;
    await client.deploy("items", { kernel, retain: "all" });
    // More than what lies between the host and who reads.
    const many = Array.from({ length: 100 }, (_, i) => body(i)).join("");
    for (let i = 0; i < 16; i++) await client.push("items", many);
    const first = client.backup();
    await first.next();
    const second = await client
      .backup()
      .next()
      .catch((error: { code: string }) => error);
    assert.is((second as { code: string }).code, "busy");
    await first.return(undefined);
    for (const deadline = Date.now() + 20_000; existsSync(join(host.data, "backup")); await sleep(20))
      assert.ok(Date.now() < deadline, "its files are still there");
    let bytes = 0;
    for await (const chunk of client.backup()) bytes += chunk.length;
    assert.ok(bytes > 16 * many.length);
  } finally {
    await host.stop();
  }
});

test("restore takes whole backups and new folders alone", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    await host.client.deploy("items", { kernel });
    const { stdout, code } = await cli(["backup", folder, "--url", host.url]);
    assert.is(code, 0);
    const file = stdout.slice(0, stdout.indexOf(".tar") + 4);
    const refused = async (data: string, words: RegExp) => {
      const ran = await cli(["restore", file, "--data", data]);
      assert.match(ran.stderr, words);
      assert.is(ran.code, 1);
    };
    await refused(host.data, /is not empty/);
    truncateSync(file, readFileSync(file).length - 2048);
    const data = join(folder, "new");
    await refused(data, /cannot be restored/);
    writeFileSync(file, "no archive");
    await refused(data, /cannot be restored/);
    assert.not(existsSync(data));
    assert.not(existsSync(`${data}.restoring`));
  } finally {
    await host.stop();
  }
});

test.run();
