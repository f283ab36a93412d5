/** What becomes of the streams of a host that is gone. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { connect, type Hallelujah } from "../../host/client/live.ts";
import { KERNEL, rowsOf } from "./words.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { scratch } from "../run.ts";
import { drained, startHost, type TestHost, until as untilStream } from "./host.ts";

const test = suite("streams of a host that is gone go on at another");

const PATIENCE_MS = 30_000;

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await isSo().catch(() => false)); await sleep(50))
    if (performance.now() > end) throw new Error("it did not come to that");
}
const hostOf = async (client: Hallelujah, stream: string) =>
  (await client.streams()).find(({ name }) => name === stream)?.host;

/** Ends, stops or goes on with all processes of a host. */
function signalAll({ process: child }: TestHost, signal: NodeJS.Signals): void {
  const pids = [child.pid!];
  for (const pid of pids) {
    const { stdout } = spawnSync("ps", ["-o", "pid=", "--ppid", `${pid}`], { encoding: "utf8" });
    pids.push(...stdout.split("\n").filter(Boolean).map(Number));
  }
  for (const pid of pids) process.kill(pid, signal);
}

/** Two hosts of one cluster, until `work` is done; what they said is in the error if it fails. */
async function withHosts(
  work: (hosts: {
    a: TestHost;
    b: TestHost;
    restart: (host: TestHost, name: string) => Promise<TestHost>;
  }) => Promise<void>,
): Promise<void> {
  const server = await startNats();
  const all: TestHost[] = [];
  const start = async (name: string, data: string) => {
    const args = ["--cluster", server.url, "--name", name, "--lost-after", "0.5"];
    const host = await startHost({ args, data });
    all.push(host);
    return host;
  };
  const folder = () => mkdtempSync(join(scratch(), "host-"));
  try {
    const a = await start("a", folder());
    const b = await start("b", folder());
    await until(async () => (await b.client.hosts()).length === 2);
    await work({ a, b, restart: (host, name) => start(name, host.data) });
  } catch (error) {
    const said = all.map((host) => host.log().split("\n").slice(-30).join("\n"));
    throw new Error([(error as Error).message, ...said].join("\n\n"), { cause: error });
  } finally {
    await Promise.all(all.map((host) => host.stop()));
    await server.kill();
  }
}

const outputOf = async (client: Hallelujah, stream: string, count: number) => {
  const seen: string[] = [];
  for await (const { row, sequence } of client.output<{ key: string }>(stream, { from: 0 })) {
    seen.push(`${sequence} ${row.key}`);
    if (seen.length === count) break;
  }
  return seen;
};

if (hasNatsServer) {
  test("a stream goes on at another host with all that it had, and comes back", () =>
    withHosts(async ({ a, b, restart }) => {
      await a.client.deploy("words", { kernel: KERNEL, host: "a" });
      const atB = connect({ url: b.url });
      await atB.push("words", [{ key: "x" }, { key: "y" }, { key: "x" }]);
      await untilStream(atB, "words", drained);
      assert.equal(await rowsOf(atB, "words"), ["x 2", "y 1"]);
      signalAll(a, "SIGKILL");
      await until(async () => (await hostOf(atB, "words")) === "b");
      await atB.push("words", [{ key: "z" }]);
      assert.equal(await rowsOf(atB, "words"), ["x 2", "y 1", "z 1"]);
      assert.equal(await outputOf(atB, "words", 4), ["0 x", "1 y", "2 x", "3 z"]);
      const again = await restart(a, "a");
      await until(
        async () => (await again.client.hosts()).filter(({ state }) => state === "up").length === 2,
      );
      const atA = connect({ url: again.url });
      assert.equal(await rowsOf(atA, "words"), ["x 2", "y 1", "z 1"]);
      signalAll(b, "SIGKILL");
      await until(async () => (await hostOf(atA, "words")) === "a");
      await atA.push("words", [{ key: "z" }]);
      assert.equal(await rowsOf(atA, "words"), ["x 2", "y 1", "z 2"]);
      assert.equal(await outputOf(atA, "words", 5), ["0 x", "1 y", "2 x", "3 z", "4 z"]);
      await atA.remove("words");
      assert.equal(await atA.streams(), []);
    }));

  test("a host that was paused for too long does no harm when it goes on, and learns that others lead", () =>
    withHosts(async ({ a, b }) => {
      await a.client.deploy("words", { kernel: KERNEL, host: "a" });
      const atB = connect({ url: b.url });
      await atB.push("words", [{ key: "x" }]);
      await untilStream(atB, "words", drained);
      signalAll(a, "SIGSTOP");
      await until(async () => (await hostOf(atB, "words")) === "b");
      await atB.push("words", [{ key: "y" }]);
      signalAll(a, "SIGCONT");
      // Asked itself, at once: it has not heard of anything yet, and says nothing that was.
      const answer = await fetch(`${a.url}/v1/streams/words/tables/totals`);
      const text = await answer.text();
      assert.ok(answer.status === 503 || text.includes('"y"'), `${answer.status} ${text}`);
      // The library sends it until it is taken.
      await connect({ url: a.url }).push("words", [{ key: "z" }]);
      await until(async () => (await hostOf(connect({ url: a.url }), "words")) === "b");
      assert.equal(await rowsOf(connect({ url: a.url }), "words"), ["x 1", "y 1", "z 1"]);
      assert.equal(await outputOf(connect({ url: a.url }), "words", 3), ["0 x", "1 y", "2 z"]);
    }));

  test("streams that take in others move with them; what reads files of its host waits for that", () =>
    withHosts(async ({ a, b, restart }) => {
      const client = connect({ url: [a.url, b.url].join(",") });
      const file = join(a.data, "rows.ndjson");
      writeFileSync(file, '{"key":"x"}\n');
      await a.client.deploy("words", { kernel: KERNEL, host: "a" });
      await client.deploy("follower", { kernel: KERNEL, from: "words" });
      await client.deploy("sharer", { kernel: KERNEL, from: "words", share: true });
      await client.deploy("bound", { kernel: KERNEL, source: [file], host: "a" });
      await client.push("words", [{ key: "x" }, { key: "y" }]);
      for (const name of ["words", "follower", "sharer", "bound"]) await untilStream(client, name, drained);
      signalAll(a, "SIGKILL");
      const atB = connect({ url: b.url });
      for (const name of ["words", "follower", "sharer"])
        await until(async () => (await hostOf(atB, name)) === "b");
      await atB.push("words", [{ key: "z" }]);
      for (const name of ["words", "follower", "sharer"]) {
        await until(async () => (await rowsOf(atB, name)).length === 3);
        assert.equal(await rowsOf(atB, name), ["x 1", "y 1", "z 1"]);
        assert.equal(await outputOf(atB, name, 3), ["0 x", "1 y", "2 z"]);
      }
      assert.is(
        await atB.stream("bound").then(
          () => "none",
          ({ code }: { code: string }) => code,
        ),
        "host-lost",
      );
      await restart(a, "a");
      await until(async () => (await hostOf(atB, "bound")) === "a");
      assert.equal(await rowsOf(atB, "bound"), ["x 1"]);
    }));
}

test.run();
