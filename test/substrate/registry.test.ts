import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterRegistry } from "../../host/substrate/registry.ts";
import { FileRegistry, MemoryRegistry, type Registry } from "../../host/store/registry.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { scratch } from "../run.ts";

const test = suite("a registry, in each of its homes");

const code = (work: Promise<unknown>) =>
  work.then(
    () => "fine",
    (error: { code: string }) => error.code,
  );

const homes: [string, () => Promise<Registry>][] = [
  ["memory", async () => new MemoryRegistry()],
  ["a file", async () => new FileRegistry(join(mkdtempSync(join(scratch(), "r-")), "registry.json"))],
];
const server = hasNatsServer ? await startNats() : undefined;
const cluster = server && (await joinCluster({ url: server.url, name: "test" }));
let buckets = 0;
if (cluster) homes.push(["JetStream", () => ClusterRegistry.open(cluster, `registry${++buckets}`)]);

for (const [home, open] of homes) {
  test(`${home}: values are kept, and a write names what it replaces`, async () => {
    const registry = await open();
    assert.is(registry.get("streams/a"), undefined);
    const first = await registry.put("streams/a", { x: [1, "ä"] }, 0);
    assert.is(await code(registry.put("streams/a", 3, 0)), "revision-conflict");
    const second = await registry.put("streams/a", { x: 2 }, first);
    assert.ok(second > first);
    assert.is(await code(registry.put("streams/a", 3, first)), "revision-conflict");
    assert.equal(registry.get("streams/a"), { value: { x: 2 }, revision: second });
    await registry.put("streams/a", null);
    assert.is(registry.get("streams/a")!.value, null);
  });

  test(`${home}: a value is removed by whoever knows it, and can come again`, async () => {
    const registry = await open();
    const first = await registry.put("k", 1);
    assert.is(await code(registry.delete("k", first + 1)), "revision-conflict");
    await registry.delete("k", first);
    assert.is(registry.get("k"), undefined);
    await registry.delete("k"); // again
    assert.is(await code(registry.put("k", 2, first)), "revision-conflict");
    const second = await registry.put("k", 2, 0);
    assert.equal(registry.get("k"), { value: 2, revision: second });
  });

  test(`${home}: keys of any letters are listed by their prefix, sorted`, async () => {
    const registry = await open();
    const keys = ["streams/ä ö.=", "streams/a*>", "hosts/x", "streams/-", "streams/A.b"];
    for (const key of keys) await registry.put(key, key);
    assert.equal(registry.list("streams/"), keys.filter((key) => key !== "hosts/x").toSorted());
    for (const key of keys) assert.is(registry.get(key)!.value, key);
  });

  test(`${home}: whoever watches hears of each change, until he does not want to`, async () => {
    const registry = await open();
    const heard: string[] = [];
    const stop = registry.watch("a/", (key) => heard.push(`${key}=${registry.get(key)?.value}`));
    await registry.put("a/1", 1);
    await registry.put("b/1", 1);
    await registry.put("a/1", 2);
    await registry.delete("a/1");
    stop();
    await registry.put("a/1", 3);
    assert.equal(heard, ["a/1=1", "a/1=2", "a/1=undefined"]);
  });

  test(`${home}: of many who write the same at once, one does`, async () => {
    const registry = await open();
    const first = await registry.put("n", 0);
    const codes = await Promise.all(
      Array.from({ length: 20 }, (_, i) => code(registry.put("n", i + 1, first))),
    );
    assert.is(codes.filter((each) => each === "fine").length, 1);
    assert.is(codes.filter((each) => each === "revision-conflict").length, 19);
    assert.is(registry.get("n")!.value, codes.indexOf("fine") + 1);
  });
}

if (server && cluster) {
  test("JetStream: what one process writes, another has, from the start and as it changes", async () => {
    const other = await joinCluster({ url: server.url, name: "other" });
    const here = await ClusterRegistry.open(cluster, "shared");
    await here.put("a", 1);
    await here.put("b", 1);
    await here.delete("b");
    const there = await ClusterRegistry.open(other, "shared");
    assert.equal(there.list(""), ["a"]);
    const heard = new Promise<string>((done) => there.watch("c", done));
    const revision = await here.put("c", [1]);
    assert.is(await heard, "c");
    assert.equal(there.get("c"), { value: [1], revision });
    await there.put("c", [2], revision);
    assert.is(await code(here.put("c", [3], revision)), "revision-conflict");
    assert.equal(here.get("c")!.value, [2], "it knows better from then on");
    await other.close();
  });

  test("JetStream: it goes on when its server ends and comes back, with all that was written", async () => {
    let own = await startNats();
    const away = await joinCluster({ url: own.url, name: "away" });
    const registry = await ClusterRegistry.open(away, "registry");
    const revision = await registry.put("k", 1);
    await own.kill();
    assert.is(await code(registry.put("k", 2, revision)), "registry-unwritable");
    assert.is(registry.get("k")!.value, 1, "what is known is still answered");
    own = await startNats({ port: own.port, folder: own.folder });
    let at = 0;
    for (let tries = 0; !at && tries < 100; tries++) {
      at = await registry.put("k", 3, registry.get("k")!.revision).catch(() => 0);
      if (!at) await sleep(100);
    }
    assert.equal(registry.get("k"), { value: 3, revision: at });
    const other = await joinCluster({ url: own.url, name: "other" });
    const heard = new Promise<void>((done) => registry.watch("new", () => done()));
    await (await ClusterRegistry.open(other, "registry")).put("new", 1);
    await heard;
    await Promise.all([away.close(), other.close()]);
    await own.kill();
  });

  test("JetStream: changes are told although what told of them has ended unnoticed", async () => {
    const registry = await ClusterRegistry.open(cluster, "silent");
    const first = new Promise<void>((done) => registry.watch("first", () => done()));
    const kv = await new Kvm(cluster.connection).open("silent");
    const write = (key: string) => kv.put(key, '{"hallelujah":1,"write":"other.1","value":1}');
    await write("first");
    await first;
    const manager = await jetstreamManager(cluster.connection);
    for await (const { name } of manager.consumers.list("KV_silent"))
      await manager.consumers.delete("KV_silent", name);
    await write("second");
    // By itself it would notice after a minute.
    for (const end = performance.now() + 20_000; !registry.get("second"); await sleep(20))
      assert.ok(performance.now() < end, "the change is not told");
    registry.close();
  });

  test("JetStream: a bucket of someone else is refused, and a value that was edited by hand is named", async () => {
    const kvm = new Kvm(cluster.connection);
    await kvm.create("foreign", { description: "mine" });
    assert.is(await code(ClusterRegistry.open(cluster, "foreign")), "cluster-foreign");
    const registry = await ClusterRegistry.open(cluster, "edited");
    await registry.put("good", 1);
    const heard = new Promise<void>((done) => registry.watch("bad", () => done()));
    await (await kvm.open("edited")).put("bad", '{"hallelujah":2}');
    await heard;
    assert.throws(() => registry.get("bad"), /bad in the bucket edited is not what Hallelujah wrote there/);
    assert.is(registry.get("good")!.value, 1);
    assert.is(await code(registry.put("large", "x".repeat(1_000_001))), "registry-too-large");
  });

  test("a cluster that is not there, refuses, or is none is told apart", async () => {
    const codeOf = (url: string) => code(joinCluster({ url, name: "test" }).then((joined) => joined.close()));
    assert.is(await codeOf("http://127.0.0.1:1"), "cluster-url");
    assert.is(await codeOf("nonsense"), "cluster-url");
    assert.is(await codeOf("nats://127.0.0.1:1"), "cluster-unreachable");
    const closed = await startNats({ args: ["--user", "a", "--pass", "b"] });
    const at = `127.0.0.1:${closed.port}`;
    assert.is(await codeOf(`nats://${at}`), "cluster-refused");
    assert.is(await codeOf(`nats://a:c@${at}`), "cluster-refused");
    assert.is(await codeOf(`nats://a:b@${at}`), "fine");
    await closed.kill();
  });
}

test.after(async () => {
  await cluster?.close();
  await server?.kill();
});

test.run();
