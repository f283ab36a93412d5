/** Values in each of their homes, and the blobs that are made of them. */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { BLOB_BYTES_MAX, BLOB_FLIGHT_BYTES } from "../../host/core/limits.ts";
import { Blobs, getParts, hashOf, putParts } from "../../host/substrate/blobs.ts";
import { joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterValues } from "../../host/substrate/cluster-values.ts";
import { Link } from "../../host/substrate/link.ts";
import { MemoryValues, type Values } from "../../host/substrate/values.ts";
import { startNats } from "../nats.ts";
import { codeOf, homes, newName } from "./homes.ts";
import { Proxy } from "./proxy.ts";

const test = suite("host/substrate/blobs: what is kept by its hash, in each home");
const { all, cluster, close } = await homes();

const bytesOf = (text: string) => Buffer.from(text);

/** Counts what is stored in a home. */
function counted(values: Values): { values: Values; puts: () => number } {
  let puts = 0;
  const counting: Values = Object.create(values, {
    put: {
      value: (...args: Parameters<Values["put"]>) => {
        puts++;
        return values.put(...args);
      },
    },
  }) as Values;
  return { values: counting, puts: () => puts };
}

for (const [home, open] of all) {
  test(`${home}: a value replaces the one before, has a higher number, and may name the one that it replaces`, async () => {
    const values = await open();
    assert.is(await values.get("a.b"), undefined);
    const first = await values.put("a.b", bytesOf("1"), 0);
    assert.is(await codeOf(values.put("a.b", bytesOf("2"), 0)), "revision-conflict");
    const other = await values.put("a.c", bytesOf("3"));
    const second = await values.put("a.b", bytesOf("4"), first);
    assert.ok(first < other && other < second);
    assert.is(await codeOf(values.put("a.b", bytesOf("5"), first)), "revision-conflict");
    assert.equal(await values.get("a.b"), { bytes: bytesOf("4"), number: second });
    assert.equal(await values.get("a.b", { isFixed: true }), { bytes: bytesOf("4"), number: second });
  });

  test(`${home}: names are listed by what they begin with`, async () => {
    const values = await open();
    for (const name of ["a.x", "a.y.z", "ab.x", "b"]) await values.put(name, bytesOf(name));
    assert.equal((await values.list("a.")).toSorted(), ["a.x", "a.y.z"]);
    assert.equal(await values.list("c."), []);
    await values.removeAll("a.");
    assert.equal(await values.list("a."), []);
    assert.equal(await values.list("ab."), ["ab.x"]);
  });

  test(`${home}: a removal that names a number does not hit what was stored since`, async () => {
    const values = await open();
    const first = await values.put("a.b", bytesOf("1"));
    await values.remove("a.b", first);
    assert.ok(await values.get("a.b"));
    const second = await values.put("a.b", bytesOf("1"));
    await values.remove("a.b", second);
    assert.is((await values.get("a.b"))?.number, second);
    await values.remove("a.b", second + 1);
    assert.is(await values.get("a.b"), undefined);
    await values.remove("a.b", Infinity); // there is nothing
    assert.ok((await values.put("a.b", bytesOf("2"), 0)) > second);
  });

  test(`${home}: a blob is had by its hash, sent once while it is known to be there, and gone when it is dropped`, async () => {
    const { values, puts } = counted(await open());
    const blobs = new Blobs(values, "x.");
    const hash = await blobs.put(bytesOf("one"));
    assert.is(hash, hashOf(bytesOf("one")));
    assert.is(await blobs.put(bytesOf("one")), hash);
    await Promise.all([blobs.put(bytesOf("two")), blobs.put(bytesOf("two"))]);
    assert.is(puts(), 2);
    assert.equal(await blobs.get(hash), bytesOf("one"));
    assert.equal(await blobs.list(), new Set([hash, hashOf(bytesOf("two"))]));
    assert.is(await codeOf(new Blobs(values, "y.").get(hash)), "blob-missing");
    await blobs.drop([hash]);
    assert.is(await codeOf(blobs.get(hash)), "blob-missing");
    assert.is(blobs.has(hash), false);
    await blobs.put(bytesOf("one"));
    assert.equal(await blobs.get(hash), bytesOf("one"));
    // Of another process: it is stored again, and that does no harm.
    await new Blobs(values, "x.").put(bytesOf("one"));
    assert.is(puts(), 4);
    assert.equal(await blobs.get(hash), bytesOf("one"));
  });

  test(`${home}: what is not what its hash says is not handed out`, async () => {
    const values = await open();
    const blobs = new Blobs(values, "x.");
    const hash = await blobs.put(bytesOf("good"));
    await values.put(`x.${hash}`, bytesOf("evil"));
    assert.is(await codeOf(blobs.get(hash)), "blob-damaged");
  });

  test(`${home}: what is larger than a blob goes in parts`, async () => {
    const blobs = new Blobs(await open(), "x.");
    assert.is(
      await codeOf(blobs.put(Buffer.alloc(BLOB_BYTES_MAX + 1))),
      "TypeError: a blob of 524289 bytes is too large",
    );
    for (const size of [0, 1, BLOB_BYTES_MAX, BLOB_BYTES_MAX + 1, 3 * BLOB_BYTES_MAX]) {
      const bytes = Buffer.alloc(size);
      for (let i = 0; i < size; i += 1000) bytes[i] = i / 1000;
      const parts = await putParts(blobs, bytes);
      assert.is(parts.length, Math.ceil(size / BLOB_BYTES_MAX));
      assert.equal(await getParts(blobs, parts), bytes);
    }
  });
}

test("no more bytes are on their way than may be, however many are asked for", async () => {
  const memory = new MemoryValues();
  let [now, most] = [0, 0];
  const slow: Values = Object.create(memory, {
    put: {
      async value(name: string, bytes: Uint8Array) {
        now += bytes.length;
        most = Math.max(most, now);
        await sleep(1);
        now -= bytes.length;
        return memory.put(name, bytes);
      },
    },
  }) as Values;
  const blobs = new Blobs(slow, "x.");
  await Promise.all(Array.from({ length: 40 }, (_, i) => blobs.put(Buffer.alloc(BLOB_BYTES_MAX, i + 1))));
  assert.is((await blobs.list()).size, 40);
  assert.is(most, BLOB_FLIGHT_BYTES);
});

test("a blob that was sent before others were trusted is not taken for there", async () => {
  const memory = new MemoryValues();
  let go = () => {};
  const held: Values = Object.create(memory, {
    put: {
      value: (name: string, bytes: Uint8Array) =>
        new Promise<number>((done) => {
          go = () => done(memory.put(name, bytes));
        }),
    },
  }) as Values;
  const blobs = new Blobs(held, "x.");
  const put = blobs.put(bytesOf("late"));
  await sleep(0);
  blobs.trust(new Set());
  go();
  assert.is(blobs.has(await put), false);
});

if (cluster) {
  test("JetStream: a write whose answer was lost counts, and is not done twice", async () => {
    const proxy = await Proxy.to(Number(new URL(cluster.url).port));
    const away = await joinCluster({ url: proxy.url, name: "away" });
    const values = await ClusterValues.open(away, { name: newName(), what: "test" });
    let number = 0;
    for (let i = 0; i < 30; i++) {
      // Somewhere in the request, or in the answer.
      proxy.cutAfter(20 + i * 24);
      const next = await values.put("head", bytesOf(`n${i}`), number);
      assert.ok(next > number);
      number = next;
      assert.is((await values.get("head"))!.bytes.toString(), `n${i}`);
    }
    assert.ok(proxy.cuts > 10, `${proxy.cuts} cuts`);
    await away.close();
    proxy.close();
  });

  test("JetStream: calls wait while the server is away, and fail when patience is over or they are closed", async () => {
    let own = await startNats();
    const away = await joinCluster({ url: own.url, name: "away" });
    const name = newName();
    const values = await ClusterValues.open(away, { name, what: "test", patienceMs: 60_000 });
    const impatient = await ClusterValues.open(away, { name, what: "test", patienceMs: 300 });
    await values.put("a", bytesOf("1"));
    await own.kill();
    const waiting = values.put("b", bytesOf("2"));
    const closed = await ClusterValues.open(away, { name, what: "test" }).catch(
      (error: { code: string }) => error.code,
    );
    assert.is(closed, "cluster-unreachable");
    assert.is(await codeOf(impatient.get("a")), "cluster-unreachable");
    own = await startNats({ port: own.port, folder: own.folder });
    await waiting;
    assert.is((await values.get("a"))!.bytes.toString(), "1");
    assert.is((await values.get("b"))!.bytes.toString(), "2");
    await own.kill();
    const ended = codeOf(values.get("a"));
    values.close();
    assert.is(await ended, "cluster-unreachable");
    while (Link.of(away.connection).isUp) await sleep(10);
    await away.close();
  });

  test("JetStream: a stream of someone else is refused, and one that was removed is told from one that is away", async () => {
    const manager = await jetstreamManager(cluster.connection);
    const [foreign, name] = [newName(), newName()];
    await manager.streams.add({ name: foreign, subjects: [`${foreign}.>`] });
    assert.is(await codeOf(ClusterValues.open(cluster, { name: foreign, what: "test" })), "cluster-foreign");
    assert.is(
      await codeOf(ClusterValues.remove(cluster, { name: foreign, what: "test" })),
      "cluster-foreign",
    );
    const values = await ClusterValues.open(cluster, { name, what: "test" });
    await values.put("a", bytesOf("1"));
    await ClusterValues.remove(cluster, { name, what: "test" });
    await ClusterValues.remove(cluster, { name, what: "test" }); // there is none
    assert.is(await codeOf(values.get("a")), "cluster-lost");
    assert.is(await codeOf(values.put("a", bytesOf("1"))), "cluster-lost");
  });

  test("JetStream: more names are listed than one answer of a server holds", async () => {
    const name = newName();
    const values = await ClusterValues.open(cluster, { name, what: "test" });
    const js = jetstream(cluster.connection);
    const count = 100_500;
    for (let at = 0; at < count; at += 1000)
      await Promise.all(
        Array.from({ length: Math.min(1000, count - at) }, (_, i) => js.publish(`${name}.x.${at + i}`)),
      );
    assert.is(new Set(await values.list("x.")).size, count);
  });
}

test.after(close);
test.run();
