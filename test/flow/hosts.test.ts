import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { KERNEL, rowsOf } from "./words.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { scratch } from "../run.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterRegistry } from "../../host/substrate/registry.ts";
import { connect, type Hallelujah } from "../../host/client/live.ts";
import { drained, startHost, type TestHost, until as untilStream } from "./host.ts";

const test = suite("hosts of a cluster, as their users see them");

const PATIENCE_MS = 30_000;

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await isSo()); await sleep(50))
    if (performance.now() > end) throw new Error("it did not come to that");
}

const up = (...args: string[]) =>
  spawnSync(
    process.execPath,
    [join(packageRoot, "dist", "cli", "main.js"), "up", "--listen", "127.0.0.1:0", ...args],
    {
      encoding: "utf8",
      timeout: 60_000,
    },
  );
const standing = async ({ client }: TestHost) =>
  (await client.hosts())
    .map(({ name, state, isSelf }) => `${name} ${state}${isSelf ? " self" : ""}`)
    .join(", ");

/** What users see of a host. */
const SHOWN = ["cpus", "epoch", "isSelf", "memoryBytes", "name", "state", "url", "version"];

test("a host that is in no cluster lists itself", async () => {
  const host = await startHost();
  const [self, ...others] = await host.client.hosts();
  assert.equal(others, []);
  assert.equal(Object.keys(self).toSorted(), SHOWN);
  assert.equal([self.url, self.cpus, self.state, self.isSelf], [host.url, 4, "up", true]);
  assert.is(await codeOf(host.client.deploy("none", { kernel: KERNEL, host: "other" })), "host-lost");
  await host.client.deploy("here", { kernel: KERNEL, host: self.name });
  await host.stop();
});

test("what cannot be a cluster is refused with a sentence, and leaves nothing behind", () => {
  const refusals: [string[], RegExp][] = [
    [["--name", "a"], /name it with --cluster/],
    [["--cluster", "http://a"], /is no address of a cluster/],
    [["--cluster", "nats://127.0.0.1:1"], /no server of nats:\/\/127\.0\.0\.1:1 answers/],
    [["--cluster", "nats://127.0.0.1:1", "--replicas", "2"], /1 or 3/],
    [["--cluster", "nats://127.0.0.1:1", "--lost-after", "0.1"], /0\.5 seconds at least/],
  ];
  for (const [args, sentence] of refusals) {
    const { status, stderr } = up(...args);
    assert.match(stderr, sentence);
    assert.not.match(stderr, /\n\s+at /);
    assert.ok(status === 1 || status === 2);
  }
});

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    ({ code }: { code: string }) => code,
  );
async function killed({ process }: TestHost): Promise<void> {
  const ended = new Promise((done) => process.once("exit", done));
  process.kill("SIGKILL");
  await ended;
}
const drainedAt = (client: Hallelujah, stream: string) => untilStream(client, stream, drained);
const streamsOf = async ({ client }: TestHost) =>
  (await client.streams()).map(({ name, host }) => `${name} ${host}`).join(", ");

if (hasNatsServer) {
  test("any host answers for the streams of all", async () => {
    const server = await startNats();
    const cluster = (name: string) => ["--cluster", server.url, "--name", name];
    let a = await startHost({ args: [...cluster("a"), "--lost-after", "0.5"] });
    let b = await startHost({ args: cluster("b") });
    // What a host had before it joined is its own.
    const alone = await startHost({ data: mkdtempSync(join(scratch(), "host-")) });
    await alone.client.deploy("more", { kernel: KERNEL });
    await alone.stop();
    const c = await startHost({ args: cluster("c"), data: alone.data });
    try {
      await until(async () => (await c.client.hosts()).length === 3);
      for (const host of await c.client.hosts()) assert.equal(Object.keys(host).toSorted(), SHOWN);
      await c.client.deploy("words", { kernel: KERNEL, host: "a" });
      assert.is(await codeOf(c.client.deploy("none", { kernel: KERNEL, host: "z" })), "host-lost");
      // A client that knows one host alone, which has nothing of the stream.
      const client = connect({ url: b.url });
      await client.push("words", [{ key: "x" }, { key: "y" }, { key: "x" }]);
      await drainedAt(client, "words");
      assert.equal(await rowsOf(client, "words"), ["x 2", "y 1"]);
      for await (const { row } of connect({ url: b.url }).output("words", { from: 2 })) {
        assert.equal(row, { key: "x" });
        break;
      }
      await client.swap("words", {
        kernel: KERNEL.replace("Seen { key", "Seen { more: i64; key"),
        file: "more.ts",
      });
      assert.equal((await client.versions("words")).length, 2);
      for (const each of [a, b, c]) assert.is(await streamsOf(each), "more c, words a");
      assert.is(await codeOf(connect({ url: b.url }).deploy("words", { kernel: KERNEL })), "stream-exists");
      assert.is(await codeOf(client.stream("nothing")), "stream-unknown");
      // What takes in the output of another is where that is.
      const follower = KERNEL.replace("Row { key", "Row { more: i64; key");
      await connect({ url: b.url }).deploy("follower", { kernel: follower, from: "words" });
      assert.is(await streamsOf(b), "follower a, more c, words a");
      await connect({ url: c.url }).remove("follower");
      assert.is(await streamsOf(b), "more c, words a");

      // It has been told where the stream is, and which hosts there are besides.
      await killed(b);
      await client.push("words", [{ key: "z" }]);
      assert.is((await client.hosts()).length, 3);
      b = await startHost({ args: cluster("b"), data: b.data });

      await killed(a);
      await until(async () => (await streamsOf(b)) === "more c, words b");
      await drainedAt(client, "words");
      assert.is((await rowsOf(client, "words")).length, 3);
      a = await startHost({ args: cluster("renamed"), data: a.data });
      await until(async () => (await standing(b)).includes("renamed up"));
      assert.is(await streamsOf(a), "more c, words b");
      assert.is((await rowsOf(client, "words")).length, 3);
      await connect({ url: c.url }).remove("words");
      assert.is(await streamsOf(b), "more c");
      await connect({ url: c.url }).deploy("words", { kernel: KERNEL, host: "b" });
      // The one host that has none yet has the most room.
      await connect({ url: c.url }).deploy("roomy", { kernel: KERNEL });
      assert.is(await streamsOf(c), "more c, roomy renamed, words b");
      await connect({ url: b.url }).remove("roomy");
      assert.is(await streamsOf(c), "more c, words b");

      // Without their servers, hosts go on with what they know, and give no name away.
      await connect({ url: a.url }).push("words", [{ key: "w" }]);
      await drainedAt(client, "words");
      await server.kill();
      // The library waits; who sends once is told to come again.
      const refused = await fetch(`${a.url}/v1/streams/words/records`, {
        method: "POST",
        body: '{"key":"x"}',
      });
      assert.equal([refused.status, refused.headers.get("retry-after")], [503, "1"]);
      assert.is(((await refused.json()) as { code: string }).code, "cluster-unreachable");
      assert.equal(await rowsOf(connect({ url: a.url }), "words"), ["w 1"]);
      assert.is(await codeOf(connect({ url: a.url }).remove("words")), "cluster-unreachable");
      await c.client.push("more", [{ key: "x" }]);
      assert.is(await codeOf(c.client.deploy("third", { kernel: KERNEL, host: "c" })), "registry-unwritable");
      assert.is(await codeOf(c.client.stream("third")), "stream-unknown");
      // What is removed meanwhile is given back when they are there again; also by a process that knows nothing of it.
      await c.client.remove("more");
      const { pid } = await c.client.host();
      process.kill(pid, "SIGKILL");
      // Asked itself: a client would go to another host.
      const atC = async () => {
        const response = await fetch(`${c.url}/v1/streams/words`).catch(() => undefined);
        return response && ((await response.json()) as { code?: string }).code;
      };
      await until(async () => (await atC()) === "cluster-unreachable");
      const again = await startNats({ port: server.port, folder: server.folder });
      try {
        await until(async () => (await fetch(`${c.url}/v1/streams/words`)).ok);
        // In the registry itself: copies of other hosts may be behind for a minute when a server was away.
        const cluster = await joinCluster({ url: again.url, name: "test" });
        await until(async () => {
          const registry = await ClusterRegistry.open(cluster, "hallelujah");
          registry.close();
          return registry.get("streams/more") === undefined && registry.get("streams/words") !== undefined;
        });
        // What could not be carried out was not: it goes on.
        await until(async () => (await codeOf(client.push("words", [{ key: "v" }]))) === "none");
        await drainedAt(client, "words");
        assert.equal((await rowsOf(client, "words")).slice(0, 2), ["v 1", "w 1"]);
        await cluster.close();
      } finally {
        await again.kill();
      }
    } catch (error) {
      // What a host says of a failure that it did not foresee is in its log alone.
      const said = [a, b, c].flatMap((host) =>
        host
          .log()
          .split("\n")
          .filter((line) => /failed|"level":"error"/.test(line)),
      );
      throw new Error([(error as Error).message, ...said].join("\n"), { cause: error });
    } finally {
      await Promise.all([a.stop(), b.stop(), c.stop()]);
      await server.kill();
    }
  });

  test("hosts of a cluster list each other, one that is killed as lost, and it comes back", async () => {
    const server = await startNats();
    const cluster = (name: string) => ["--cluster", server.url, "--name", name];
    const a = await startHost({ args: [...cluster("a"), "--lost-after", "2"] });
    let b = await startHost({ args: cluster("b") });
    try {
      await until(async () => (await standing(a)) === "a up self, b up");
      await until(async () => (await standing(b)) === "a up, b up self");
      const taken = up(...cluster("a"));
      assert.match(
        taken.stderr,
        /has a host a already, at http:\/\/127\.0\.0\.1:\d+; give this one another name/,
      );
      const ended = new Promise((done) => b.process.once("exit", done));
      b.process.kill("SIGKILL");
      await ended;
      await until(async () => (await standing(a)) === "a up self, b lost");
      b = await startHost({ args: cluster("b"), data: b.data });
      await until(async () => (await standing(a)) === "a up self, b up");
      await b.stop();
      await until(async () => (await standing(a)) === "a up self");
    } finally {
      await Promise.all([a.stop(), b.stop()]);
      await server.kill();
    }
  });
}

test.run();
