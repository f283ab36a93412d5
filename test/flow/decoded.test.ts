import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/decoded: NDJSON that is decoded once for two streams");
const kernelOf = (
  fields: string,
  value: string,
  key: string,
) => `import { Stats, Table, Text } from "hallelujah";
@record class Sale { ${fields} }
@state class Sold { ${value}: Stats }
const sums = new Table<Text, Sold>("sums");
export function each(sale: Sale): void { sums.at(sale.${key}).${value}.add(sale.${value}); }`;
const first = kernelOf("shop: Text; town: Text; price: f64; pieces: i32", "price", "shop");
const second = kernelOf("pieces: i32; town: Text", "pieces", "town");

let host: TestHost;
test.before(async () => {
  host = await startHost({ cpus: 2 });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

const sale = (i: number) =>
  `{"shop":"s${i % 7}","town":"t${i % 11}","price":${(i % 100) / 4},"pieces":${i % 5},"note":"\\"${i}\\""}\n`;
const body = (from: number, count: number, more = "") =>
  Buffer.from(Array.from({ length: count }, (_, i) => sale(from + i)).join("") + more);
const rowsOf = async (name: string) =>
  (await (await host.client.query<TableRow>(name, "sums")).all()).toSorted((a, b) =>
    String(a.key) < String(b.key) ? -1 : 1,
  );

test("the second one takes what the first one has decoded, and both answer as if each had done it alone", async () => {
  await host.client.deploy("sales", { kernel: first, retain: "all", max: 1 });
  await host.client.deploy("towns", { kernel: second, from: "sales", max: 1 });
  for (const name of ["sales", "towns"]) await until(host.client, name, ({ state }) => state === "running");
  const push = (bytes: Buffer) => host.client.push("sales", bytes, { format: "ndjson" });
  await push(body(0, 20_000, '{"shop":"s","town":"t0","price":"much","pieces":1000}\n')); // bad for one
  // A machine that has much else to do may let the second one wait for too long, and then it decodes for a while.
  let rounds = 1;
  let towns = await until(host.client, "towns", drained);
  for (const until60s = Date.now() + 60_000; !towns.decodedFrames && Date.now() < until60s; rounds++) {
    await push(body(rounds * 20_000, 20_000));
    towns = await until(host.client, "towns", drained);
  }
  assert.ok(towns.decodedFrames! > 0);
  assert.is(towns.records, rounds * 20_000 + 1);
  assert.is((await until(host.client, "sales", drained)).badRecords, 1);
  const found = await rowsOf("towns");
  assert.is(found.length, 11);
  assert.is(
    found.reduce((sum, { pieces }) => sum + (pieces as { sum: number }).sum, 0),
    rounds * (20_000 / 5) * 10 + 1000,
  );
  // One that decodes all of it itself says the same.
  await host.client.remove("towns");
  await host.client.deploy("towns", { kernel: second, from: "sales", max: 1 });
  assert.is((await until(host.client, "towns", drained)).decodedFrames, 0);
  assert.equal(await rowsOf("towns"), found);
});

test("without the files, each decodes by itself", async () => {
  const folder = join(host.data, "streams", "sales", "decoded");
  assert.ok(readdirSync(folder).length > 0);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "");
  const before = await rowsOf("towns");
  await host.client.push("sales", body(0, 30_000), { format: "ndjson" });
  const stream = await until(host.client, "towns", drained);
  assert.is(stream.decodedFrames, 0);
  const after = await rowsOf("towns");
  const piecesOf = (rows: TableRow[]) =>
    rows.reduce((sum, { pieces }) => sum + (pieces as { sum: number }).sum, 0);
  assert.is(piecesOf(after) - piecesOf(before), (30_000 / 5) * 10);
  assert.is(readFileSync(folder, "utf8"), "");
});

test.run();
