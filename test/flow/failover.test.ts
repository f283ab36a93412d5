/** What becomes of the streams of a host that is gone. */
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { connect, type Hallelujah } from "../../host/client/live.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { drained, startHost, type TestHost, until as untilStream } from "./host.ts";

const test = suite("streams of a host that is gone go on at another");

const PATIENCE_MS = 30_000;

const KERNEL = `import { Count, Table, Text, out } from "hallelujah";
@record class Row { key: Text }
@record class Seen { key: Text }
@state class Total { rows: Count }
const totals = new Table<Text, Total>("totals");
export function each(row: Row): void {
  totals.at(row.key).rows.add();
  const seen = new Seen();
  seen.key = row.key;
  out.emit(seen);
}`;

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await isSo().catch(() => false)); await sleep(50))
    if (performance.now() > end) throw new Error("it did not come to that");
}
async function killed({ process }: TestHost): Promise<void> {
  const ended = new Promise((done) => process.once("exit", done));
  process.kill("SIGKILL");
  await ended;
}
const rowsOf = async (client: Hallelujah, stream: string) => {
  const rows = await (await client.query<{ key: string; rows: number }>(stream, "totals")).all();
  return rows.map(({ key, rows }) => `${key} ${rows}`).toSorted();
};
const hostOf = async (client: Hallelujah, stream: string) =>
  (await client.streams()).find(({ name }) => name === stream)?.host;

if (hasNatsServer) {
  test("a stream goes on at another host, with all it had, and back", async () => {
    const server = await startNats();
    const cluster = (name: string) => ["--cluster", server.url, "--name", name, "--lost-after", "0.5"];
    let a = await startHost({ args: cluster("a") });
    const b = await startHost({ args: cluster("b") });
    try {
      await until(async () => (await b.client.hosts()).length === 2);
      await a.client.deploy("words", { kernel: KERNEL, host: "a" });
      const client = connect({ url: b.url });
      await client.push("words", [{ key: "x" }, { key: "y" }, { key: "x" }]);
      await untilStream(client, "words", drained);
      assert.equal(await rowsOf(client, "words"), ["x 2", "y 1"]);
      await killed(a);
      await until(async () => (await hostOf(client, "words")) === "b");
      await client.push("words", [{ key: "z" }]);
      assert.equal(await rowsOf(client, "words"), ["x 2", "y 1", "z 1"]);
      const seen: string[] = [];
      for await (const { row, sequence } of client.output<{ key: string }>("words", { from: 0 })) {
        seen.push(`${sequence} ${row.key}`);
        if (seen.length === 4) break;
      }
      assert.equal(seen, ["0 x", "1 y", "2 x", "3 z"]);
      a = await startHost({ args: cluster("a"), data: a.data });
      await until(async () => (await a.client.hosts()).filter(({ state }) => state === "up").length === 2);
      assert.equal(await rowsOf(connect({ url: a.url }), "words"), ["x 2", "y 1", "z 1"]);
      await killed(b);
      await until(async () => (await hostOf(connect({ url: a.url }), "words")) === "a");
      await connect({ url: a.url }).push("words", [{ key: "z" }]);
      assert.equal(await rowsOf(connect({ url: a.url }), "words"), ["x 2", "y 1", "z 2"]);
    } catch (error) {
      for (const { data } of [a, b])
        console.error(
          (await import("node:child_process"))
            .execSync(`cat ${data}/log/* ${data}/logs/* 2>/dev/null | tail -40 || ls ${data}`)
            .toString(),
        );
      throw error;
    } finally {
      for (const each of [a, b]) await each.stop().catch(() => {});
      await server.kill();
    }
  });
}

test.run();
