/**
 * Logs on JetStream while connections are cut anywhere, servers are killed, writers die, and others take over from writers that live on. What
 * happens follows from a seed, as far as machines allow.
 */
import { cpSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Tally } from "../../host/hallelu/tally.ts";
import { VOID_KIND } from "../../host/store/stream-log.ts";
import { type Cluster, joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterLog } from "../../host/substrate/cluster-log.ts";
import { hasNatsServer, type NatsServer, startNats } from "../nats.ts";
import { random, scratch, seedOf } from "../run.ts";
import { Proxy } from "./proxy.ts";

const test = suite("host/substrate/cluster-log in a storm");

const KIND = 1;
const newFolder = () => mkdtempSync(join(scratch(), "storm-"));

interface Group {
  name: string;
  size: number;
  writer: Writer;
  /** The number of its first entry, or a code. */
  answer: number | string | undefined;
}

/** A host that has, or had, the log open. */
interface Writer {
  log: ClusterLog;
  cluster: Cluster;
  proxy: Proxy;
  folder: string;
  /** It has been killed: what it was at may be kept or not. */
  isDead: boolean;
  /** Groups that had failed before one that was answered: they are certainly void. */
  groups: Group[];
}

const textOf = (group: Group, i: number) =>
  `${group.name}:${i}`.padEnd(40 + ((group.size * 997) % 3_000), ".");

/** One log, and all that happens to it. */
class Storm {
  readonly chance: () => number;
  readonly groups: Group[] = [];
  readonly writers: Writer[] = [];
  private epoch = 0;
  private readonly server: () => NatsServer;
  private readonly identity: string;

  constructor(seed: number, server: () => NatsServer, identity: string) {
    this.chance = random(seed);
    this.server = server;
    this.identity = identity;
  }

  below(n: number): number {
    return Math.floor(this.chance() * n);
  }

  get writer(): Writer {
    return this.writers.at(-1)!;
  }

  /** Opens the log on a host that has the files of `before`, as they are now, or none. */
  async open(before?: Writer, digest = new Tally()): Promise<Writer> {
    const proxy = await Proxy.to(this.server().port);
    const cluster = await joinCluster({ url: proxy.url, name: "storm" });
    const folder = newFolder();
    if (before) cpSync(before.folder, folder, { recursive: true });
    const log = await ClusterLog.open({
      cluster: "storm",
      stream: "s",
      identity: this.identity,
      connection: cluster,
      folder,
      host: `host${this.writers.length}`,
      epoch: ++this.epoch,
      digest,
      patienceMs: 30_000,
      trimBytes: 30_000,
      options: { segmentBytes: 10_000 },
    });
    const writer = { log, cluster, proxy, folder, isDead: false, groups: [] };
    this.writers.push(writer);
    return writer;
  }

  append(writer: Writer): Promise<void> {
    const group: Group = {
      name: `g${this.groups.length}`,
      size: 1 + this.below(5),
      writer,
      answer: undefined,
    };
    this.groups.push(group);
    writer.groups.push(group);
    const entries = Array.from({ length: group.size }, (_, i) => ({
      kind: KIND,
      head: i ? undefined : Buffer.from(JSON.stringify({ producers: [[group.name, 1]] })),
      body: [Buffer.from(textOf(group, i))],
      records: 1,
    }));
    return writer.log.appendGroup(entries).then(
      ({ number }) => {
        if (!writer.isDead) group.answer = number;
      },
      (error: { code: string }) => {
        if (!writer.isDead) group.answer = error.code;
      },
    );
  }

  /** As a process ends that is killed: nothing of it comes to the server any more. */
  kill(writer: Writer): void {
    writer.isDead = true;
    writer.proxy.close();
    void writer.cluster.close();
  }

  async answered(count: number): Promise<void> {
    const { writer } = this;
    while (!writer.isDead && writer.groups.filter(({ answer }) => answer !== undefined).length < count)
      await sleep(2);
  }

  /** Holds all that was answered against what a host finds that has nothing, and one that has files. */
  async check(): Promise<{ answered: number; failed: number }> {
    const { writer } = this;
    const known: { all: Map<number, string>; first: number; next: number; digest: Tally }[] = [];
    for (const before of [undefined, writer]) {
      const digest = new Tally();
      const { log, proxy, cluster } = await this.open(before, digest);
      const all = new Map<number, string>();
      for (let number = log.first; number < log.next; number++)
        if (log.place(number).kind !== VOID_KIND) all.set(number, (await log.read(number)).body.toString());
      known.push({ all, first: log.first, next: log.next, digest });
      assert.is(log.damageFrom(log.first), undefined);
      await log.close();
      await cluster.close();
      proxy.close();
    }
    const [{ all, next, digest }, withFiles] = known;
    const first = Math.max(known[0].first, withFiles.first);
    const from = (each: Map<number, string>) => [...each].filter(([number]) => number >= first);
    assert.equal(from(withFiles.all), from(all), "all hosts read the same");
    assert.equal(withFiles.digest.save(), digest.save(), "and know the same of what was trimmed");
    const numbers = new Map([...all].map(([number, text]) => [text, number]));
    assert.is(numbers.size, all.size, "nothing is doubled");
    for (const group of this.groups) {
      const texts = Array.from({ length: group.size }, (_, i) => textOf(group, i));
      const frame = digest.lastOf(group.name)?.frame;
      const { answer, name } = group;
      if (typeof answer === "number") assert.is(frame, answer, `${name} was answered`);
      if (frame === undefined) {
        assert.not.ok(
          texts.some((text) => numbers.has(text)),
          `${name} is not there in part`,
        );
        continue;
      }
      assert.ok(frame < next);
      texts.forEach((text, i) => {
        if (frame + i >= first) assert.is(all.get(frame + i), text, `${name} is whole`);
      });
      if (typeof answer === "string" && answer !== "stream-moved")
        assert.unreachable(`${name} failed, and is there`);
    }
    const count = (isIt: (answer: Group["answer"]) => boolean) =>
      this.groups.filter(({ answer }) => isIt(answer)).length;
    return {
      answered: count((answer) => typeof answer === "number"),
      failed: count((answer) => typeof answer === "string"),
    };
  }
}

if (hasNatsServer) {
  const ROUNDS = Number(process.env.STORM_ROUNDS ?? 4);
  let server: NatsServer & { folder: string } = await startNats();
  let logs = 0;
  const all: Storm[] = [];

  const stormOf = (seed: number) => {
    const storm = new Storm(seed, () => server, `storm-${++logs}`);
    all.push(storm);
    return storm;
  };

  const restart = async () => {
    await server.kill();
    await sleep(50);
    server = await startNats({ port: server.port, folder: server.folder });
  };

  test("connections are cut anywhere: all that is appended is kept once, whole and in order", async () => {
    const seed = seedOf("cut");
    let cuts = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const storm = stormOf(seed + round);
      const writer = await storm.open();
      let count = 0;
      const work: Promise<void>[] = [];
      for (let burst = 0; burst < 8; burst++) {
        const bytes = 4 ** storm.below(9) + storm.below(3_000);
        writer.proxy.cutAfter(bytes);
        for (let n = 1 + storm.below(30); n > 0; n--) {
          work.push(storm.append(writer));
          count++;
        }
        await storm.answered(count - storm.below(20));
      }
      await Promise.all(work);
      cuts += writer.proxy.cuts;
      const numbers = storm.groups.map(({ answer }) => answer as number);
      assert.equal(
        numbers,
        numbers.toSorted((a, b) => a - b),
        "in order",
      );
      writer.proxy.cutAfter(Infinity);
      await writer.log.close();
      const { answered } = await storm.check();
      assert.is(answered, storm.groups.length, "none failed");
      storm.kill(writer);
    }
    assert.ok(cuts > ROUNDS, `${cuts} cuts`);
  });

  test("a server is killed while entries are appended, and all of them are kept", async () => {
    const storm = stormOf(seedOf("server"));
    const writer = await storm.open();
    const work: Promise<void>[] = [];
    for (let round = 0; round < 4; round++) {
      for (let n = 0; n < 100; n++) work.push(storm.append(writer));
      await storm.answered(round * 100 + storm.below(90));
      await restart();
    }
    await Promise.all(work);
    await writer.log.close();
    const { answered } = await storm.check();
    assert.is(answered, 400);
    storm.kill(writer);
  });

  test("writers die, or live on while others take over, and logs are trimmed: what was answered stays, groups are whole", async () => {
    const seed = seedOf("writers");
    const sums = { answered: 0, failed: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const storm = stormOf(seed + round);
      await storm.open();
      const work: Promise<void>[] = [];
      for (let step = 0; step < 25; step++) {
        const { writer } = storm;
        const what = storm.below(10);
        if (what < 5) for (let n = 1 + storm.below(40); n > 0; n--) work.push(storm.append(writer));
        if (what === 5) writer.proxy.cutAfter(storm.below(20_000));
        if (what === 6) {
          const { log } = writer;
          await log.trim(log.first + storm.below(log.next - log.first)).catch(() => {});
        }
        if (what === 7) await storm.answered(writer.groups.length - storm.below(10));
        if (what > 7) {
          const dies = what === 8;
          if (dies) writer.proxy.cutAfter(storm.below(20_000));
          if (dies) await sleep(storm.below(10));
          const before = storm.below(3) ? writer : undefined;
          if (dies) storm.kill(writer);
          else for (let n = 20; n > 0; n--) work.push(storm.append(writer));
          await storm.open(before);
          // Its old self goes on.
          if (!dies) for (let n = 20; n > 0; n--) work.push(storm.append(writer));
        }
      }
      // What the dead were at has no answer.
      await Promise.all(
        storm.groups.map(async (group) => {
          while (group.answer === undefined && !group.writer.isDead) await sleep(2);
        }),
      );
      const { answered, failed } = await storm.check();
      sums.answered += answered;
      sums.failed += failed;
      for (const writer of storm.writers) if (!writer.isDead) storm.kill(writer);
    }
    assert.ok(sums.answered > 50 * ROUNDS, JSON.stringify(sums));
  });

  test.after(async () => {
    await server.kill();
    process.exitCode ??= 0;
  });
}

test.run();
