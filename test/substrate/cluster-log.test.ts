import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { isDiskFull } from "../../host/core/errors.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import { DISK } from "../../host/store/log.ts";
import { VOID_KIND } from "../../host/store/stream-log.ts";
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterLog, type ClusterLogParts } from "../../host/substrate/cluster-log.ts";
import { openCache } from "../../host/substrate/log-cache.ts";
import { Claim } from "../../host/substrate/log-claim.ts";
import { payloadOf } from "../../host/substrate/log-message.ts";
import { LogStream, Trimmed } from "../../host/substrate/log-stream.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { scratch } from "../run.ts";
import { Proxy } from "./proxy.ts";

const test = suite("host/substrate/cluster-log: a log that another host can go on with");

const newFolder = () => mkdtempSync(join(scratch(), "cluster-log-"));
const entry = (text: string, head?: object) => ({
  kind: 1,
  head: head && Buffer.from(JSON.stringify(head)),
  body: [Buffer.from(text)],
  records: 1,
});
const code = (work: Promise<unknown>) =>
  work.then(
    () => "fine",
    (error: { code: string }) => error.code,
  );

/** What the log holds, from its first number on; "" where there is nothing. */
async function texts(log: ClusterLog): Promise<string[]> {
  const found: string[] = [];
  for (let number = log.first; number < log.next; number++)
    found.push(log.place(number).kind === VOID_KIND ? "" : (await log.read(number)).body.toString());
  return found;
}

if (hasNatsServer) {
  const server = await startNats();
  const connection = await joinCluster({ url: server.url, name: "test" });
  const connections: Cluster[] = [connection];
  let logs = 0;
  const namesOf = () => ({ cluster: "test", stream: "s", identity: `own-${++logs}` });
  const nameOf = ({ identity }: { identity: string }) => `test-log-s-${identity}`;
  const open = (parts: Partial<ClusterLogParts> & { identity: string }) =>
    ClusterLog.open({
      cluster: "test",
      stream: "s",
      connection,
      folder: newFolder(),
      host: "one",
      epoch: 1,
      ...parts,
    });
  const joined = async (url: string) => {
    const made = await joinCluster({ url, name: "test" });
    connections.push(made);
    return made;
  };

  test("whoever opens a log takes it over: the one before appends no more, and nothing that it answered for is missing", async () => {
    const names = namesOf();
    const old = await open({ ...names, connection: await joined(server.url), host: "old" });
    const answers: Promise<[string, number | string]>[] = [];
    let count = 0;
    const push = () => {
      const text = `t${count++}`;
      const placed = old.appendGroup([entry(text), entry(`${text}'`)]);
      const answer = placed.then(
        ({ number }): [string, number] => [text, number],
        (error: { code: string }): [string, string] => [text, error.code],
      );
      answers.push(answer);
      return answer;
    };
    for (let i = 0; i < 50; i++) void push();
    await answers[20];
    let isTaken = false;
    const opening = open({ ...names, host: "new", epoch: 2 }).finally(() => {
      isTaken = true;
    });
    while (!isTaken) {
      for (let i = 0; i < 20; i++) void push();
      await sleep(1);
    }
    const taken = await opening;
    assert.is((await push())[1], "stream-moved");
    const { number } = await taken.append(entry("mine"));
    const all = await texts(taken);
    assert.is(all[number], "mine");
    let answered = 0;
    for (const [text, said] of await Promise.all(answers)) {
      const places = all.flatMap((each, i) => (each === text ? [i] : []));
      assert.ok(places.length <= 1, "nothing is doubled");
      if (places.length) assert.is(all[places[0] + 1], `${text}'`);
      if (typeof said === "string") assert.is(said, "stream-moved");
      else {
        answered++;
        assert.equal(places, [said]);
      }
    }
    assert.ok(answered > 20);
    assert.is(await code(old.append(entry("again"))), "stream-moved");
    const third = await open({ ...names, epoch: 2 });
    assert.equal((await texts(third)).slice(0, -1), all, "whoever comes later reads the same");
    await Promise.all([old.close(), taken.close(), third.close()]);
  });

  test("a host whose leadership is older is refused, and the newer one goes on", async () => {
    const names = namesOf();
    const log = await open({ ...names, epoch: 7 });
    assert.is(await code(open({ ...names, epoch: 6 })), "stream-moved");
    await log.append(entry("x"));
    assert.equal(await texts(log), ["", "x"]);
    await log.close();
  });

  /** What a writer leaves that dies: it begins a term, and sends the entries that are given, each with how many of its group follow. */
  async function left(names: ReturnType<typeof namesOf>, said: [string, number][]): Promise<number> {
    const stream = await LogStream.open(connection, names);
    const claim = new Claim({ stream, epoch: 1, host: "dead", patienceMs: 5_000 });
    const { term, number } = await claim.begin();
    for (const [i, [text, follow]] of said.entries()) {
      const at = number + 1 + i;
      await stream.sendEntry(at, term, payloadOf(entry(text), at, follow, i));
    }
    return number;
  }

  test("a group that its writer did not send to the end is void, wherever it is read", async () => {
    const names = namesOf();
    await left(names, [
      ["a", 0],
      ["b", 1],
      ["c", 0],
      ["d", 2],
      ["e", 1],
    ]);
    const digest = new Tally();
    const log = await open({ ...names, digest });
    assert.equal(await texts(log), ["", "a", "b", "c", "", "", ""]);
    assert.is(digest.framesOf(1), 3);
    assert.is((await log.append(entry("f"))).number, 7);
    await log.close();
    const other = await open(names);
    assert.equal(await texts(other), ["", "a", "b", "c", "", "", "", "f", ""]);
    await other.close();
  });

  test("what someone else sends to it holds nothing, and stops nobody", async () => {
    const names = namesOf();
    const log = await open(names);
    await log.append(entry("a"));
    connection.connection.publish(`${nameOf(names)}.entry`, "hello");
    connection.connection.publish(`${nameOf(names)}.term`, "hello");
    await connection.connection.flush();
    await Promise.all(["b", "c", "d"].map((text) => log.append(entry(text))));
    assert.equal((await texts(log)).filter(Boolean), ["a", "b", "c", "d"]);
    const other = await open(names);
    assert.equal((await texts(other)).slice(0, -1), await texts(log));
    await log.close();
    await other.close();
  });

  test("a JetStream stream of someone else, or of another version, is refused", async () => {
    const manager = await jetstreamManager(connection.connection);
    const [foreign, newer, subjects] = [namesOf(), namesOf(), namesOf()];
    await manager.streams.add({ name: nameOf(foreign), subjects: [nameOf(foreign)] });
    const description = `Hallelujah log of s in test, version 2, made ${crypto.randomUUID()}`;
    await manager.streams.add({ name: nameOf(newer), description, subjects: [nameOf(newer)] });
    await manager.streams.add({ name: "other", subjects: [`${nameOf(subjects)}.>`] });
    for (const names of [foreign, newer, subjects]) assert.is(await code(open(names)), "cluster-foreign");
    assert.is(await code(ClusterLog.remove(connection, foreign)), "cluster-foreign");
    await manager.streams.info(nameOf(foreign));
  });

  test("the files of a host are gone on with if they are the start of what JetStream has, and made anew if not", async () => {
    const names = namesOf();
    const folder = newFolder();
    const copies: string[] = [];
    const copy = () => {
      copies.push(newFolder());
      cpSync(folder, copies.at(-1)!, { recursive: true });
    };
    for (const round of [1, 2, 3]) {
      const log = await open({ ...names, folder, options: { segmentBytes: 400 } });
      for (let i = 0; i < 5; i++) await log.append(entry(`${round}${i}`.padEnd(60)));
      if (round === 2) copy(); // as a process leaves it that is killed
      await log.close();
      copy();
    }
    const last = await open({ ...names, folder });
    const expected = await texts(last);
    await last.close();
    const [closed, killed, , holed] = copies;
    const segments = readdirSync(holed).filter((name) => name.endsWith(".seg"));
    rmSync(join(holed, segments[1]));
    const empty = newFolder();
    for (const path of [closed, killed, holed, empty]) {
      writeFileSync(join(path, "odd"), "");
      const log = await open({ ...names, folder: path });
      const isAnew = !readdirSync(path).includes("odd");
      assert.is(isAnew, path === holed || path === empty, path);
      const all = await texts(log);
      assert.equal(all.slice(0, expected.length), expected);
      assert.ok(all.slice(expected.length).every((text) => text === ""));
      await log.close();
    }
  });

  test("files that are of another log, or have what JetStream has not, are made anew", async () => {
    const [names, others] = [namesOf(), namesOf()];
    const folder = newFolder();
    const log = await open({ ...names, folder });
    for (const text of ["a", "b", "c"]) await log.append(entry(text));
    await log.close();
    const moved = newFolder();
    cpSync(folder, moved, { recursive: true });
    const digest = new Tally();
    const other = await open({ ...others, folder: moved, digest });
    assert.equal(await texts(other), [""]);
    assert.is(digest.framesOf(1), 0);
    await other.close();
    // Made again under its name.
    await ClusterLog.remove(connection, names);
    await ClusterLog.remove(connection, names); // there is nothing to remove
    const again = await open({ ...names, folder, digest });
    assert.equal(await texts(again), [""]);
    assert.is(digest.framesOf(1), 0);
    await again.close();
  });

  test("files that are ahead of JetStream, or went another way, are made anew", async () => {
    const own = await startNats();
    let away = await joined(own.url);
    const names = namesOf();
    const folder = newFolder();
    const log = await open({ ...names, connection: away, folder });
    for (const text of ["a", "b"]) await log.append(entry(text));
    await own.kill();
    const before = newFolder();
    cpSync(own.folder, before, { recursive: true });
    const { port } = own;
    let server = await startNats({ port, folder: own.folder });
    for (const text of ["c", "d"]) await log.append(entry(text));
    // As a server comes back whose disk did not keep what it had acknowledged.
    await server.kill();
    server = await startNats({ port, folder: before });
    assert.is(await code(log.append(entry("e"))), "cluster-lost");
    assert.is(await code(log.append(entry("f"))), "cluster-lost");
    await log.close();
    await away.close();
    away = await joined(server.url);
    const digest = new Tally();
    const behind = await open({ ...names, connection: away, folder, digest });
    assert.equal((await texts(behind)).filter(Boolean), ["a", "b"]);
    assert.is(digest.framesOf(1), 2);
    await behind.close();
    await away.close();
    await server.kill();
  });

  test("a connection that was lost while nothing was under way leaves nothing behind", async () => {
    const proxy = await Proxy.to(server.port);
    const away = await joined(proxy.url);
    const log = await open({ ...namesOf(), connection: away });
    await log.append(entry("a"));
    const isBack = new Promise<void>((done) => {
      void (async () => {
        for await (const { type } of away.connection.status()) if (type === "reconnect") done();
      })();
    });
    const isLost = new Promise<void>((done) => {
      void (async () => {
        for await (const { type } of away.connection.status()) if (type === "disconnect") done();
      })();
    });
    proxy.shut(true);
    await isLost;
    const waiting = log.append(entry("b"));
    proxy.shut(false);
    await isBack;
    await Promise.all([waiting, log.append(entry("c"))]);
    assert.equal(await texts(log), ["", "a", "b", "c"]);
    await log.close();
    proxy.close();
  });

  test("an append waits while JetStream is away, and fails if that takes too long: then it is not there", async () => {
    const proxy = await Proxy.to(server.port);
    const names = namesOf();
    const log = await open({ ...names, connection: await joined(proxy.url), patienceMs: 60_000 });
    await log.append(entry("a"));
    proxy.shut(true);
    const waiting = log.append(entry("b"));
    await sleep(300);
    proxy.shut(false);
    await waiting;
    await log.close();
    const impatient = await open({ ...names, connection: await joined(proxy.url), patienceMs: 500 });
    // What is sent arrives, and its answer does not.
    const lost = impatient.appendGroup([entry("c"), entry("d")]);
    proxy.cutAfter(900);
    const failed = lost.catch(() => {});
    await sleep(100);
    proxy.shut(true);
    await failed;
    assert.is(await code(impatient.append(entry("e"))), "cluster-unreachable");
    proxy.shut(false);
    let isBack = false;
    while (!isBack) isBack = (await code(impatient.append(entry("f")))) === "fine";
    const all = (await texts(impatient)).filter(Boolean);
    const wasKept = await lost.then(
      () => true,
      () => false,
    );
    assert.equal(all, ["a", "b", ...(wasKept ? ["c", "d"] : []), "f"]);
    await impatient.close();
    proxy.close();
  });

  test("a server without room says so, nothing of a group is kept, and all goes on when there is room", async () => {
    const folder = newFolder();
    const config = join(folder, "nats.conf");
    const limits = (bytes: number) => writeFileSync(config, `jetstream { max_file_store: ${bytes} }\n`);
    limits(6_000_000);
    const args = ["-c", config];
    let own = await startNats({ args });
    const names = namesOf();
    const log = await open({ ...names, connection: await joined(own.url), patienceMs: 60_000 });
    const bodies = (count: number, byte: number) =>
      Array.from({ length: count }, () => ({ ...entry(""), body: [Buffer.alloc(500_000, byte)] }));
    await log.appendGroup(bodies(4, 1));
    const refused = await log.appendGroup(bodies(12, 2)).catch((error: { code: string }) => error);
    assert.is((refused as { code: string }).code, "disk-full");
    assert.ok(isDiskFull(refused));
    await own.kill();
    limits(60_000_000);
    own = await startNats({ port: own.port, folder: own.folder, args });
    await log.appendGroup(bodies(12, 3));
    const found = (await texts(log)).filter(Boolean).map((text) => text.charCodeAt(0));
    assert.equal(found, [1, 1, 1, 1, ...Array.from({ length: 12 }, () => 3)]);
    await log.close();
    await own.kill();
  });

  test("where the files of the host have no room, nothing of a group is kept", async () => {
    let isFull = false;
    const disk = {
      ...DISK,
      async writev(...args: Parameters<typeof DISK.writev>) {
        if (isFull) throw Object.assign(new Error("no space left"), { code: "ENOSPC" });
        return DISK.writev(...args);
      },
    };
    const names = namesOf();
    const digest = new Tally();
    const log = await open({ ...names, digest, options: { disk } });
    await log.append(entry("a"));
    isFull = true;
    assert.is(await code(log.appendGroup([entry("b"), entry("c")])), "disk-full");
    assert.is(await code(log.append(entry("d"))), "disk-full");
    isFull = false;
    await log.append(entry("e"));
    assert.equal((await texts(log)).filter(Boolean), ["a", "e"]);
    assert.is(digest.framesOf(1), 2);
    const other = await open(names);
    assert.equal((await texts(other)).slice(0, -1), await texts(log));
    await Promise.all([log.close(), other.close()]);
  });

  test("an entry that no message holds is refused, and others go on", async () => {
    const log = await open(namesOf());
    const large = { ...entry(""), head: Buffer.alloc(600_000, 97), body: [Buffer.alloc(512 << 10)] };
    assert.is(await code(log.appendGroup([entry("a"), large])), "frame-too-large");
    await log.append(entry("b"));
    assert.equal(await texts(log), ["", "b"]);
    await log.close();
  });

  test("JetStream forgets what is trimmed, and a digest of many parts is there for whoever has nothing else", async () => {
    const names = namesOf();
    let digest = new Tally();
    let log = await open({ ...names, digest, trimBytes: 5_000, options: { segmentBytes: 5_000 } });
    const producers = Array.from({ length: 4_000 }, (_, i): [string, number] => ["p".padEnd(150) + i, i]);
    for (let i = 0; i < 4_000; i += 100)
      await log.append(entry("x".repeat(300), { producers: producers.slice(i, i + 100) }));
    const { number } = await log.append(entry("last"));
    await log.trim(number);
    const manager = await jetstreamManager(connection.connection);
    const { state } = await manager.streams.info(nameOf(names));
    assert.ok(state.first_seq > number / 2, `${state.first_seq} of ${number}`);
    const expected = (await texts(log)).slice(-3);
    await log.close();
    log = await open({ ...names, digest: (digest = new Tally()) });
    assert.is(log.first, state.first_seq - 1);
    for (const [name, sequence] of producers) assert.is(digest.lastOf(name)?.sequence, sequence);
    assert.is(digest.framesOf(1), 41);
    // Files are trimmed in segments, and may have begun with the last one.
    assert.equal((await texts(log)).slice(-expected.length - 1), [...expected, ""]);
    await log.close();
    await manager.streams.purge(nameOf(names), { seq: state.first_seq + 1 });
    assert.is(await code(open(names)), "log-damaged");
  });

  test("messages that are trimmed while they are read are done without", async () => {
    const names = namesOf();
    const parts = { trimBytes: 2_000, options: { segmentBytes: 2_000 } };
    const log = await open({ ...names, ...parts, digest: new Tally() });
    for (let i = 0; i < 30; i++) await log.append(entry("x".repeat(300)));
    await log.trim(log.next);
    const stream = await LogStream.open(connection, names);
    const { first, number } = await new Claim({ stream, epoch: 1, host: "b", patienceMs: 5_000 }).begin();
    assert.ok(first > 0);
    const digest = new Tally();
    const cache = await openCache({ folder: newFolder(), stream, digest, options: {} }, 0, number + 1);
    assert.equal([cache.first, cache.next, digest.framesOf(1)], [first, number + 1, 30]);
    await Promise.all([cache.close(), log.close()]);
  });

  test("what is damaged in the files of a host is had of JetStream when it is opened again", async () => {
    const names = namesOf();
    const folder = newFolder();
    const log = await open({ ...names, folder });
    for (const text of ["a", "b"]) await log.append(entry(text));
    const { path, offset } = log.place(1);
    await log.close();
    const bytes = await import("node:fs").then(({ readFileSync }) => readFileSync(path));
    bytes[offset] ^= 1;
    writeFileSync(path, bytes);
    const damaged = await open({ ...names, folder });
    assert.is(await code(damaged.read(1)), "log-damaged");
    await damaged.close();
    const again = await open({ ...names, folder });
    assert.equal(await texts(again), ["", "a", "b", "", ""]);
    await again.close();
  });

  test("messages that are not there, though nothing was trimmed, are said to be missing", async () => {
    const names = namesOf();
    const log = await open(names);
    for (const text of ["a", "b", "c"]) await log.append(entry(text));
    await log.close();
    const stream = await LogStream.open(connection, names);
    // As one whose server has lost some: by hand none can be deleted.
    const holed = Object.assign(Object.create(stream) as LogStream, {
      messages: (): AsyncGenerator<never> => {
        throw new Trimmed();
      },
    });
    const parts = { folder: newFolder(), stream: holed, digest: undefined, options: {} };
    assert.is(await code(openCache(parts, 0, log.next)), "log-damaged");
  });

  test("what is known of all entries fits a server that takes small messages", async () => {
    const config = join(newFolder(), "nats.conf");
    writeFileSync(config, "max_payload: 16384\n");
    const small = await startNats({ args: ["-c", config] });
    const names = namesOf();
    let saved: Buffer = Buffer.alloc(60_000, 7);
    const digest = () => ({
      add: () => {},
      save: () => saved,
      load: (bytes: Buffer) => {
        saved = bytes;
      },
    });
    const parts = { ...names, connection: await joined(small.url), trimBytes: 1_000, digest: digest() };
    const log = await open({ ...parts, options: { segmentBytes: 1_000 } });
    for (let i = 0; i < 4; i++) await log.append(entry("x".repeat(900)));
    await log.trim(log.next);
    await log.close();
    const whole = saved;
    saved = Buffer.alloc(0);
    const again = await open(parts);
    assert.ok(again.first > 0);
    assert.equal(saved, whole);
    await again.close();
    await small.kill();
  });

  test.after(async () => {
    await Promise.all(connections.map((each) => each.close()));
    await server.kill();
  });
}

test.run();
