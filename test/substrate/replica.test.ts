/** The store's thread takes its checkpoints to a cluster, and a folder of another host is filled from there. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { ReplicatedStore } from "../../host/store/page-store.ts";
import { openPages } from "../../host/store/pages.ts";
import type { ReplicaEvent } from "../../host/store/replica.ts";
import { joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterValues } from "../../host/substrate/cluster-values.ts";
import { hydrate } from "../../host/substrate/hydrate.ts";
import { REPLICA, type ReplicaTarget, valuesOf } from "../../host/substrate/replica-target.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { scratch } from "../run.ts";
import { type Content, put, restored, sorted } from "../store/pages-suite.ts";
import { found } from "./states.ts";

const test = suite("host/substrate/replica: a store's thread and a cluster");
const newFolder = () => mkdtempSync(join(scratch(), "replica-"));

/** Starts, and answers what resolves with the first event that is wanted of those that come from now on. */
function replicated(store: ReplicatedStore, target: ReplicaTarget) {
  const events: ReplicaEvent[] = [];
  let heard = () => {};
  store.replicate(REPLICA, target, (event) => {
    events.push(event);
    heard();
  });
  return async (wanted: (event: ReplicaEvent) => boolean): Promise<ReplicaEvent> => {
    for (;;) {
      const event = events.find(wanted);
      if (event) return event;
      await new Promise<void>((done) => (heard = done));
    }
  };
}

if (hasNatsServer) {
  // A replica by itself does not.
  const alive = setInterval(() => {}, 1_000);

  test("a state goes to another host by way of the cluster, while its server is away for a time, and on from there", async () => {
    let server = await startNats();
    const names = { cluster: "c", stream: "s", identity: "i" };
    const target = { ...names, url: server.url, replicas: 1, shard: "000-256", host: "one", epoch: 1 };
    const store = await openPages(newFolder());
    const content: Content = new Map(Array.from({ length: 100 }, (_, i) => [2048 + i, i + 1]));
    await put(store, new Map([...content].slice(0, 60)));
    await put(store, new Map([...content].slice(60)));
    await store.commit({ frame: 1 });
    const told = replicated(store, target);
    const first = await told(({ kind }) => kind === "replicated");
    assert.ok(first.kind === "replicated" && first.frame === 1 && first.bytes > 100 * 65_536);

    await server.kill();
    for (const frame of [2, 3, 4]) {
      content.set(2050, 1000 + frame);
      await put(store, new Map([[2050, 1000 + frame]]));
      await store.commit({ frame });
    }
    server = await startNats({ port: server.port, folder: server.folder });
    await told((event) => event.kind === "replicated" && event.frame === 4);

    const cluster = await joinCluster({ url: server.url, name: "two" });
    const values = await ClusterValues.open(cluster, valuesOf(names));
    const folder = newFolder();
    const shard = { values, shard: "000-256" };
    const came = await hydrate(shard, { epoch: 2, host: "two" }, folder);
    assert.equal(came, { frame: 4, epoch: 1, bytes: 100 * 65_536 });
    const other = await openPages(folder);
    assert.equal(other.checkpoints[0].meta, { frame: 4 });
    assert.equal(sorted(await restored(other, other.checkpoints[0].number)), sorted(content));

    // Both go on: one is refused, and the other has the pages in the cluster already.
    const toldOther = replicated(other, { ...target, host: "two", epoch: 2 });
    const second = await toldOther(({ kind }) => kind === "replicated");
    assert.ok(second.kind === "replicated" && second.frame === 4 && second.bytes === 0);
    for (const each of [store, other]) {
      await put(each, new Map([[2051, each === store ? 5 : 6]]));
      await each.commit({ frame: 5 });
    }
    const refused = await told((event) => event.kind === "failed" && event.isOver);
    assert.is(refused.kind === "failed" && refused.code, "stream-moved");
    await toldOther((event) => event.kind === "replicated" && event.frame === 5);
    const there = await found(shard);
    assert.equal(there.frames, [5, 4]);
    assert.equal(sorted(there.contents[0]), sorted(new Map(content).set(2051, 6)));

    await server.kill();
    await put(other, new Map([[2051, 7]]));
    await other.commit({ frame: 6 });
    // What cannot be reached is not waited for.
    await Promise.all([store.close(), other.close()]);
    await cluster.close();
  });

  test("where nothing answers the store works as ever, and says why nothing is taken", async () => {
    const store = await openPages(newFolder());
    await put(store, new Map([[2048, 1]]));
    await store.commit({ frame: 1 });
    const told = replicated(store, {
      cluster: "c",
      stream: "s",
      identity: "i",
      url: "nats://127.0.0.1:1",
      replicas: 1,
      shard: "s",
      host: "one",
      epoch: 1,
    });
    const failed = await told(() => true);
    assert.equal(failed.kind === "failed" && [failed.code, failed.isOver], ["cluster-unreachable", false]);
    await put(store, new Map([[2048, 2]]));
    assert.is(await store.commit({ frame: 2 }), 2);
    await store.close();
  });

  test("a module that is not there is told", async () => {
    const store = await openPages(newFolder());
    const event = await new Promise<ReplicaEvent>((done) => store.replicate("/nowhere.js", {}, done));
    assert.ok(event.kind === "failed" && event.isOver);
    await store.close();
  });

  test.after(() => clearInterval(alive));
}

test.run();
