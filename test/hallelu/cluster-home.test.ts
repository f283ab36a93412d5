/** Streams whose home is the cluster, as one host after the other leads them. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { ClusterHome } from "../../host/hallelu/cluster-home.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { hasNatsServer, type NatsServer, startNats } from "../nats.ts";
import { scratch } from "../run.ts";
import { recordOf } from "./in-process.ts";

const test = suite("host/hallelu/cluster-home.ts");

let server: NatsServer;
let cluster: Cluster;
test.before(async () => {
  server = await startNats();
  cluster = await joinCluster({ url: server.url, name: "test" });
});
test.after(async () => {
  await cluster.close();
  await server.kill();
});

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    ({ code }: { code: string }) => code,
  );

let count = 0;
/** Homes of one stream, each of a host and an epoch of its own. */
function homes() {
  const identity = `id${++count}`;
  return async (epoch: number, host = `host-${epoch}`) => {
    const data = mkdtempSync(join(scratch(), "home-"));
    const folder = join(data, "streams", "s");
    mkdirSync(folder, { recursive: true });
    const place = { url: server.url, cluster: "test", replicas: 1, host, folder: `of ${host}` };
    const entry = { host, folder: `of ${host}`, epoch, identity };
    const home = await ClusterHome.open({ cluster, place, data, folder, name: "s", entry });
    return { home, folder };
  };
}

/** A record whose first module has this content, which is in the folder. */
function withModule(folder: string, content: string, changes: Partial<StreamRecord> = {}): StreamRecord {
  writeFileSync(join(folder, "kernel-1.wasm"), content);
  return recordOf({ moduleSums: { "kernel-1.wasm": crc32(content) }, ...changes });
}

if (hasNatsServer) {
  test("the next leader has the record, the modules and what was kept", async () => {
    const open = homes();
    const a = await open(1);
    await a.home.write(withModule(a.folder, "one", { max: 5 }));
    await a.home.keep("dead/7", Buffer.from("records"));
    const b = await open(2);
    assert.is((await b.home.takeUp())?.max, 5);
    assert.is(readFileSync(join(b.folder, "kernel-1.wasm"), "utf8"), "one");
    assert.is((await b.home.read("dead/7")).toString(), "records");
    await b.home.drop("dead/7");
    const c = await open(3);
    await c.home.takeUp();
    assert.is(await codeOf(c.home.read("dead/7")), "ENOENT");
  });

  test("whoever led before writes nothing, confirms nothing and removes nothing", async () => {
    const open = homes();
    const a = await open(1);
    await a.home.write(withModule(a.folder, "one"));
    const b = await open(2);
    await b.home.takeUp();
    const late = recordOf({ max: 9 });
    for (const work of [
      () => a.home.write(late),
      () => a.home.confirm(),
      () => a.home.forget(),
      () => a.home.remove(),
      () => a.home.dropShard("shard-0"),
      () => a.home.takeUp(),
    ])
      assert.is(await codeOf(work()), "stream-moved");
    await b.home.write(recordOf({ max: 3 }));
    const c = await open(3);
    assert.is((await c.home.takeUp())?.max, 3);
  });

  test("another process of the same host and epoch is another writer", async () => {
    const open = homes();
    const before = await open(1, "a");
    await before.home.write(recordOf({ max: 1 }));
    const after = await open(1, "a");
    await after.home.takeUp();
    await after.home.write(recordOf({ max: 2 }));
    assert.is(await codeOf(before.home.write(recordOf({ max: 7 }))), "stream-moved");
    assert.is(await codeOf(after.home.confirm()), "none");
  });

  test("a stream that is taken over before it has a record is not deployed any more", async () => {
    const open = homes();
    const a = await open(1);
    const b = await open(2);
    assert.is(await b.home.takeUp(), undefined);
    assert.is(await codeOf(a.home.write(withModule(a.folder, "one"))), "stream-moved");
    await b.home.remove();
    assert.is(await codeOf(a.home.write(withModule(a.folder, "one"))), "cluster-lost");
  });

  test("a stream that was forgotten is gone for the next leader, and can be removed whoever was quicker", async () => {
    const open = homes();
    const a = await open(1);
    await a.home.write(recordOf());
    await a.home.forget();
    assert.is(await codeOf(a.home.write(recordOf())), "stream-unknown");
    const b = await open(2);
    assert.is(await b.home.takeUp(), undefined);
    await b.home.remove();
    assert.is(await codeOf(a.home.remove()), "none");
  });

  test("a module whose name was used before is the one that the record means", async () => {
    const open = homes();
    const a = await open(1);
    await a.home.write(withModule(a.folder, "one that is longer"));
    await a.home.write(withModule(a.folder, "two"));
    const b = await open(2);
    await b.home.takeUp();
    assert.is(readFileSync(join(b.folder, "kernel-1.wasm"), "utf8"), "two");
  });

  test("what was refused is not written later by a question whether this host leads", async () => {
    const open = homes();
    const a = await open(1);
    await a.home.write(recordOf({ max: 1 }));
    const refused = withModule(a.folder, "one", { max: 2, moduleSums: { "missing.wasm": 1 } });
    assert.is(await codeOf(a.home.write(refused)), "ENOENT");
    await a.home.confirm();
    const b = await open(2);
    assert.is((await b.home.takeUp())?.max, 1);
  });

  test("outputs of a stream that was led before are taken over though no row was there", async () => {
    const open = homes();
    const a = await open(1);
    await a.home.write(recordOf());
    const before = await a.home.openOutputs("output");
    const b = await open(2);
    await b.home.takeUp();
    const after = await b.home.openOutputs("output");
    const row = Buffer.from("{}\n");
    assert.is(await codeOf(before.append(row, 1, 0)), "stream-moved");
    await after.append(row, 1, 0);
    assert.equal([after.first, after.next, after.lastFrame], [0, 1, 0]);
    await Promise.all([before.close(), after.close()]);
  });
}

test.run();
