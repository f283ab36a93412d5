import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { type HostEntry, Membership } from "../../host/substrate/membership.ts";
import { MemoryRegistry } from "../../host/store/registry.ts";
import { ClusterRegistry } from "../../host/substrate/registry.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { Proxy } from "./proxy.ts";

const test = suite("host/substrate/membership: hosts of a cluster over a nats-server");

const PATIENCE_MS = 30_000;

test("a cluster of another format, or whose settings were edited by hand, is refused before anything is asked of it", async () => {
  for (const value of [
    { format: 2, lostMs: 2_000 },
    { format: 1, lostMs: "soon" },
    { format: 1, lostMs: 1 },
  ]) {
    const registry = new MemoryRegistry();
    await registry.put("cluster", value);
    const parts = { registry, cluster: {} as Cluster, bucket: "", onOutdated: () => {}, note: () => {} };
    const facts = { name: "a", url: "", cpus: 1, memoryBytes: 1, version: "1", folder: "a" };
    const code = await Membership.join(parts, facts).catch((error: { code: string }) => error.code);
    assert.is(code, "cluster-format");
  }
});

if (hasNatsServer) {
  const server = await startNats();
  const proxy = await Proxy.to(server.port);
  const connections: Cluster[] = [];
  let clusters = 0;

  /** A cluster of its own, whose members take each other for lost after `lostMs`. */
  const clusterOf = (lostMs: number) => {
    const bucket = `cluster${++clusters}`;
    const join = async (name: string, folder = name, url = server.url) => {
      const cluster = await joinCluster({ url, name });
      connections.push(cluster);
      const registry = await ClusterRegistry.open(cluster, bucket);
      const outdated: string[] = [];
      const notes: string[] = [];
      const note = (_: string, message: string) => notes.push(message);
      const parts = { cluster, registry, bucket: `${bucket}-beats`, lostMs, note };
      const facts = { name, url: `http://${name}`, cpus: 2, memoryBytes: 2 ** 30, version: "1", folder };
      const member = await Membership.join({ ...parts, onOutdated: (why) => outdated.push(why) }, facts);
      return { member, registry, outdated, notes, cluster };
    };
    return { join };
  };

  const until = async (what: string, isSo: () => boolean) => {
    for (const end = performance.now() + PATIENCE_MS; !isSo(); await sleep(20))
      if (performance.now() > end) throw new Error(`${what} does not come about`);
  };
  const standing = (hosts: HostEntry[]) => hosts.map(({ name, epoch, state }) => `${name} ${epoch} ${state}`);

  test("hosts know each other; one that leaves is gone, and its epoch is remembered", async () => {
    const { join } = clusterOf(20_000);
    const a = await join("a");
    const b = await join("b ü");
    assert.equal(standing(b.member.hosts), ["a 1 up", "b ü 1 up"]);
    await until("that a knows b", () => a.member.hosts.length === 2);
    assert.ok(a.member.isHeld);
    await b.member.leave();
    await until("that b is gone", () => a.member.hosts.length === 1);
    const again = await join("b ü", "another folder");
    assert.is(again.member.epoch, 2);
    await Promise.all([a.member.leave(), again.member.leave()]);
  });

  test("a host that ends is lost to others; one of its folder takes its name at once, and what is left of it is outdated", async () => {
    const { join } = clusterOf(1_000);
    const a = await join("a");
    const b = await join("b");
    b.member.end();
    await until("that b is lost", () => standing(a.member.hosts).includes("b 1 lost"));
    const again = await join("b");
    assert.is(again.member.epoch, 2);
    await until("that it is back", () => standing(a.member.hosts).includes("b 2 up"));
    await Promise.all([a.member.leave(), again.member.leave()]);
  });

  test("a host whose connection ends, and does not come back, is lost by that, and not by its beats; one that comes back is there again", async () => {
    const { join } = clusterOf(20_000);
    const a = await join("a");
    const b = await join("b", "b", proxy.url);
    await until("that a knows b", () => a.member.hosts.length === 2);
    const { process } = a.registry.get("hosts/b")!.value as HostEntry;
    let answered = false;
    const spy = await joinCluster({ url: server.url, name: "spy" });
    spy.connection.subscribe("_INBOX.>", {
      // What is read of the bucket, which is the same, has headers.
      callback: (_, message) => {
        answered ||= message.string() === process && !message.headers;
      },
    });
    await until("that b has answered", () => answered);
    await spy.close();
    proxy.shut(true);
    await until("that b is lost", () => standing(a.member.hosts).includes("b 1 lost"));
    assert.equal(a.notes, ["host b is lost: its connection has ended, and it did not come back"]);
    proxy.shut(false);
    await until("that b is back", () => standing(a.member.hosts).includes("b 2 up"));
    await Promise.all([a.member.leave(), b.member.leave()]);
  });

  test("of two processes of one folder, only the later one goes on", async () => {
    const { join } = clusterOf(5_000);
    const first = await join("a");
    const second = await join("a");
    await until("that the first one knows", () => first.outdated.length > 0);
    assert.equal(first.outdated, ["another process has its name"]);
    assert.not.ok(first.member.isHeld);
    assert.equal(second.outdated, []);
    await second.member.leave();
  });

  test("a name that is in use is refused to a host of another folder, and given when its host is gone", async () => {
    const { join } = clusterOf(1_000);
    const a = await join("a");
    const code = await join("a", "other").catch((error: { code: string }) => error.code);
    assert.is(code, "host-name-taken");
    assert.equal(a.outdated, []);
    a.member.end();
    const other = await join("a", "other");
    assert.is(other.member.epoch, 2);
    await other.member.leave();
  });

  test("a host that others took for lost while it was away comes back as of a new epoch", async () => {
    const { join } = clusterOf(1_000);
    const a = await join("a");
    const { registry } = a;
    const entry = registry.get("hosts/a")!;
    await registry.put("hosts/a", { ...(entry.value as HostEntry), state: "lost" }, entry.revision);
    await until("that it is back", () => standing(a.member.hosts).includes("a 2 up"));
    assert.equal(a.outdated, []);
    await a.member.leave();
  });

  test("a cluster of another format is refused, an entry that was edited by hand is left out", async () => {
    const { join } = clusterOf(20_000);
    const a = await join("a");
    await a.registry.put("hosts/odd", { name: 3 });
    assert.equal(standing(a.member.hosts), ["a 1 up"]);
    await a.registry.put("cluster", { format: 2 });
    assert.is(await join("b").catch((error: { code: string }) => error.code), "cluster-format");
    await a.member.leave();
  });

  test.after(async () => {
    await Promise.all(connections.map((each) => each.close()));
    proxy.close();
    await server.kill();
  });
}

test.run();
