/**
 * Hosts that lead one after the other, and those that led before and do not know it, with stores that go on all the while: connections are cut and refused
 * anywhere, the server is killed, and hosts are. What comes to the next one must be the state of its frame, page by page, and no older than what was told.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { PAGE_BYTES } from "../../host/core/limits.ts";
import { MemoryDatabase } from "../../host/store/memory-database.ts";
import { PageVersions } from "../../host/store/page-versions.ts";
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterValues } from "../../host/substrate/cluster-values.ts";
import { hydrate } from "../../host/substrate/hydrate.ts";
import { Replicator } from "../../host/substrate/replicator.ts";
import { Snapshots } from "../../host/substrate/snapshots.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { random, seedOf } from "../run.ts";
import { type Content, pageOf, sorted } from "../store/pages-suite.ts";
import { Proxy } from "./proxy.ts";
import { found } from "./states.ts";

const test = suite("host/substrate/snapshots in a storm");

const HOSTS = 10;
const STEPS = 12;
const PAGES = 24;
/** Impatient, so that much is given up and begun anew. */
const HOME = { name: "storm-state", what: "state of storm", patienceMs: 400 };

/** The state of each frame: whoever applies the same log has the same. */
class History {
  private readonly states: Content[] = [new Map()];

  constructor(private readonly seed: number) {}

  at(frame: number): Content {
    while (this.states.length <= frame) {
      const next = random(this.seed + this.states.length);
      const state = new Map(this.states.at(-1));
      for (let i = Math.floor(next() * 5); i >= 0; i--) {
        const page = 2048 + Math.floor(next() * PAGES) * 50;
        if (next() < 0.2) state.delete(page);
        else state.set(page, 1 + Math.floor(next() * 12)); // the same content comes again, and at other places
      }
      this.states.push(state);
    }
    return this.states[frame];
  }
}

interface Host {
  epoch: number;
  proxy: Proxy;
  cluster: Cluster;
  database: MemoryDatabase;
  store: PageVersions;
  replicator: Replicator;
  frame: number;
  isRefused: boolean;
}

/** Writes what makes the state of one frame that of another, and commits it. */
async function advance(host: Host, history: History, to: number): Promise<void> {
  const [before, after] = [history.at(host.frame), history.at(to)];
  const pages = [...new Set([...before.keys(), ...after.keys()])].filter(
    (page) => before.get(page) !== after.get(page),
  );
  const bytes = new Uint8Array(pages.length * PAGE_BYTES);
  for (const [i, page] of pages.entries()) {
    const word = after.get(page);
    if (word) bytes.set(pageOf(word), i * PAGE_BYTES);
  }
  await host.store.write(Uint32Array.from(pages), bytes.buffer);
  await host.store.commit({ frame: to });
  host.frame = to;
  host.replicator.wake();
}

/** The state of a checkpoint, without pages that are all zeros. */
async function contentOf(store: PageVersions, number: number): Promise<[number, number][]> {
  const content: Content = new Map();
  await store.restore(number, (page, bytes) => {
    const word = Buffer.from(bytes).readUInt32LE(0);
    assert.ok(Buffer.from(word ? pageOf(word) : new Uint8Array(PAGE_BYTES)).equals(bytes));
    if (word) content.set(page, word);
  });
  return sorted(content);
}

if (hasNatsServer)
  test("what another host goes on with is the state of its frame, and at least as new as what was told", async () => {
    const seed = seedOf("snapshots in a storm");
    const next = random(seed);
    const upTo = (count: number) => Math.floor(next() * count);
    const history = new History(seed);
    let server = await startNats();
    const hosts: Host[] = [];
    /** The newest frame that any host was told to be safe. */
    let told = -1;
    let count = 0;
    let failures = 0;

    const start = async (epoch: number): Promise<Host> => {
      const proxy = await Proxy.to(server.port);
      const cluster = await joinCluster({ url: proxy.url, name: `host${epoch}` });
      const old = hosts[upTo(hosts.length * 2)];
      // Some find what they, or others, had when power went.
      const database = old ? old.database.afterPowerLoss(upTo(3)) : new MemoryDatabase();
      const leader = { epoch, host: `host${epoch}` };
      const least = told;
      let values: ClusterValues | undefined;
      let frame: number | undefined;
      for (;;) {
        try {
          if (next() < 0.4) proxy.cutAfter(upTo(600_000));
          values ??= await ClusterValues.open(cluster, HOME);
          frame = (await hydrate({ values, shard: "s" }, leader, "", () => PageVersions.open(database)))
            ?.frame;
          break;
        } catch (error) {
          assert.is((error as { code?: string }).code, "cluster-unreachable", String(error));
          failures++;
        }
      }
      assert.ok((frame ?? -1) >= least, `frame ${frame} came, ${least} was told`);
      const store = await PageVersions.open(frame === undefined ? new MemoryDatabase() : database);
      assert.is(store.damage, undefined);
      for (const { number, meta } of store.checkpoints.toReversed()) {
        assert.equal(meta, { frame });
        assert.equal(await contentOf(store, number), sorted(history.at(frame!)));
      }
      const home = values;
      const replicator = new Replicator({
        store,
        async claim() {
          const snapshots = await Snapshots.claim({ values: home, shard: "s" }, leader);
          await snapshots.collect();
          return snapshots;
        },
        up: () => home.up(),
        stop: () => home.close(),
        tell(event) {
          if (event.kind === "replicated") {
            count++;
            told = Math.max(told, event.frame);
          } else {
            failures++;
            assert.is(event.code, event.isOver ? "stream-moved" : "cluster-unreachable", event.message);
            if (event.isOver) host.isRefused = true;
          }
        },
      });
      const host: Host = {
        epoch,
        proxy,
        cluster,
        database,
        store,
        replicator,
        frame: frame ?? 0,
        isRefused: false,
      };
      return host;
    };

    const disturb = async ({ proxy }: Host) => {
      const luck = next();
      if (luck < 0.3) proxy.cutAfter(upTo(400_000));
      else if (luck < 0.4) {
        proxy.shut(true);
        await sleep(upTo(900));
        proxy.shut(false);
      }
    };

    for (let epoch = 1; epoch <= HOSTS; epoch++) {
      const host = await start(epoch);
      const before = hosts.at(-1);
      hosts.push(host);
      for (let step = 0; step < STEPS; step++) {
        await advance(host, history, host.frame + 1 + upTo(4));
        // Who led before may not know, and goes on as well.
        if (before) await advance(before, history, before.frame + 1 + upTo(2));
        await Promise.all([disturb(host), sleep(upTo(60))]);
        if (before) await disturb(before);
        if (step === 5 && epoch % 4 === 0) {
          await server.kill();
          await sleep(upTo(600));
          server = await startNats({ port: server.port, folder: server.folder });
        }
      }
      if (before && epoch < HOSTS) {
        before.proxy.shut(true);
        await before.replicator.close();
      }
    }

    const last = hosts.at(-1)!;
    last.proxy.shut(false);
    await advance(last, history, last.frame + 1);
    while (told < last.frame) await sleep(20);
    const refused = hosts.at(-2)!;
    refused.proxy.shut(false);
    await advance(refused, history, refused.frame + 1);
    while (!refused.isRefused) await sleep(20);
    await Promise.all([last, refused].map(({ replicator }) => replicator.close()));
    const values = await ClusterValues.open(last.cluster, HOME);
    const names = { values, shard: "s" };
    const there = await found(names);
    for (const [i, frame] of there.frames.entries())
      assert.equal(sorted(there.contents[i]), sorted(history.at(frame)));
    assert.is(there.frames[0], last.frame);
    await (await Snapshots.claim(names, { epoch: HOSTS + 1, host: "last" })).collect();
    assert.is((await found(names)).garbage, 0);
    const cuts = hosts.reduce((sum, { proxy }) => sum + proxy.cuts, 0);
    console.log(`${count} snapshots, ${failures} failures, ${cuts} cuts, ${last.frame} frames`);
    await Promise.all(hosts.map(({ cluster }) => cluster.close()));
    for (const { proxy } of hosts) proxy.close();
    await server.kill();
  });

test.run();
