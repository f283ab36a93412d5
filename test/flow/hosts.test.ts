import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { startHost, type TestHost } from "./host.ts";

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

test("a host that is in no cluster lists itself", async () => {
  const host = await startHost();
  const [self, ...others] = await host.client.hosts();
  assert.equal(others, []);
  assert.equal([self.url, self.cpus, self.state, self.isSelf], [host.url, 4, "up", true]);
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

if (hasNatsServer) {
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
