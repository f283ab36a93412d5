/** The live host: pushes, latencies, starting and scaling, each on a host of its own, with a push client in this process. */
import { fork } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  agent,
  CONNECTIONS,
  cpuMs,
  drained,
  largeBody,
  post,
  residentMb,
  startHost,
  type TestHost,
} from "./host.ts";
import { peersFolder, root } from "./paths.ts";
import { alone, beside, type Context, type Result } from "./results.ts";
import { quantile } from "./statistics.ts";

export interface LiveSettings {
  cli: string;
  runs: number;
  machine: Context["machine"];
  log: (line: string) => void;
}

const BODIES = 400;
const SMALL_MS = 3000;
const LOOKS = 100;
/** Time over which an idle host is watched, ms. */
const IDLE_MS = 20_000;
/** Backlog at which the host adds a Jah (host/hallelu/scaling.ts), s; and how long one is waited for, ms. */
const BACKLOG_LINE_S = 0.25;
const SCALE_MS = 20_000;
/** Bodies for a kernel that is slow: some seconds of work. */
const SLOW_BODIES = 160;
/** Time after which a host has its spare process and is done with starting, ms. */
const SETTLED_MS = 10_000;

/** MB/s until all bodies are applied; a body that is refused for want of room is sent again. */
async function pushLarge(port: number, body: Buffer, whenSent: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  let left = BODIES;
  const sender = async () => {
    while (left-- > 0) while ((await post(port, "load", body)) !== 200) await sleep(50);
  };
  await Promise.all([sender(), sender(), sender(), sender()]);
  await whenSent();
  return (BODIES * body.length) / 1e3 / (performance.now() - startedAt);
}

/** Requests per second with one record each, and the 99th percentile of their latencies, ms. */
async function pushSmall(port: number): Promise<{ rate: number; p99: number }> {
  const body = Buffer.from('{"station":"x","temperature":1}\n');
  const latencies: number[] = [];
  const end = performance.now() + SMALL_MS;
  const sender = async () => {
    while (performance.now() < end) {
      const at = performance.now();
      await post(port, "load", body);
      latencies.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, sender));
  return { rate: latencies.length / (SMALL_MS / 1000), p99: quantile(latencies, 0.99) };
}

/** Times from a push to the first answer that holds it, ms. */
async function pushToVisible({ client, port }: TestHost): Promise<number[]> {
  const count = async () => {
    const rows = await client.query<{ temperature: { count: number } }>("load", "stations", { key: "seen" });
    return (await rows.all())[0]?.temperature.count ?? 0;
  };
  const times: number[] = [];
  for (let i = 0; i < LOOKS; i++) {
    const before = await count();
    const at = performance.now();
    await post(port, "load", Buffer.from('{"station":"seen","temperature":1}\n'));
    while ((await count()) === before);
    times.push(performance.now() - at);
  }
  return times;
}

/** The longest gaps between two answers while a shard of 10 MB is split and joined, ms. */
async function gaps({ client, port }: TestHost): Promise<number[]> {
  let text = "";
  for (let i = 0; i < 100_000; i++) text += `{"station":"key-${i}","temperature":1}\n`;
  await client.push("load", text);
  await drained(client, "load");
  const longest: number[] = [];
  for (const shards of [2, 1, 2, 1, 2, 1]) {
    await client.change("load", { shards, max: 2 });
    let last = performance.now();
    let gap = 0;
    const until = last + 1500;
    while (performance.now() < until) {
      await post(port, "load", Buffer.from('{"station":"seen","temperature":1}\n'));
      await (await client.query("load", "stations", { key: "seen" })).all();
      gap = Math.max(gap, performance.now() - last);
      last = performance.now();
    }
    longest.push(gap);
  }
  return longest;
}

/** Takes so long for a record, some 30 ms a frame, that one Jah cannot keep up with what is pushed. */
const SLOW_KERNEL = `import { Stats, Table, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@state class Station { temperature: Stats }
const stations = new Table<Text, Station>("stations");
export function each(reading: Reading): void {
  let x = reading.temperature;
  for (let i = 0; i < 200; i++) x = Math.sqrt(x * x + 1);
  stations.at(reading.station).temperature.add(x);
}`;

/** From the first look that finds a backlog beyond the line to the first that finds a second Jah at work, ms. */
async function newJah(cli: string, body: Buffer): Promise<number> {
  const host = await startHost(cli);
  try {
    const { client } = host;
    await client.deploy("load", { kernel: SLOW_KERNEL });
    await drained(client, "load");
    await sleep(SETTLED_MS);
    let left = SLOW_BODIES;
    const sender = async () => {
      while (left-- > 0) await post(host.port, "load", body);
    };
    const sent = Promise.all([sender(), sender()]);
    const end = performance.now() + SCALE_MS;
    let crossedAt = Infinity;
    while (performance.now() < end) {
      const [{ backlog }, jahs] = await Promise.all([client.stream("load"), client.jahs()]);
      const now = performance.now();
      if ((backlog.seconds ?? Infinity) > BACKLOG_LINE_S) crossedAt = Math.min(crossedAt, now);
      if (jahs.filter(({ state }) => state === "working").length > 1) {
        await sent;
        return now - crossedAt;
      }
      await sleep(2);
    }
    throw new Error("no second Jah was started for all that backlog");
  } finally {
    await host.stop();
  }
}

/** Resident MB and CPU ms per second of a host with no stream: all its processes. */
async function idle(cli: string): Promise<{ mb: number; cpuShare: number }> {
  const host = await startHost(cli);
  await sleep(SETTLED_MS);
  const { pid } = await host.client.host();
  const pids = [host.child.pid!, pid];
  const before = pids.map(cpuMs);
  await sleep(IDLE_MS);
  const used = pids.map(cpuMs).reduce((sum, ms, i) => sum + ms - before[i], 0);
  const mb = pids.reduce((sum, each) => sum + residentMb(each), 0);
  await host.stop();
  return { mb, cpuShare: (used * 100) / IDLE_MS };
}

async function sink(): Promise<{ port: number; stop: () => void }> {
  const child = fork(path.join(peersFolder, "sink.mjs"), { stdio: "inherit" });
  const port = await new Promise<number>((done) =>
    child.once("message", (message) => done(message as number)),
  );
  return { port, stop: () => child.disconnect() };
}

/** All figures of the live host. */
export async function live({ cli, runs, machine, log }: LiveSettings): Promise<Result[]> {
  const context = { rows: null, machine };
  const { body, records } = largeBody();
  const found: Record<string, number[]> = {};
  const note = (name: string, ...values: number[]) => (found[name] ??= []).push(...values);
  const bare = await sink();
  const kernel = readFileSync(path.join(root, "examples/stations.ts"), "utf8");
  for (let round = 0; round <= runs; round++) {
    const host = await startHost(cli);
    await host.client.deploy("load", { kernel });
    await drained(host.client, "load");
    const visible = await pushToVisible(host);
    const large = await pushLarge(host.port, body, () => drained(host.client, "load"));
    const largeBare = await pushLarge(bare.port, body, async () => {});
    const small = await pushSmall(host.port);
    const smallBare = await pushSmall(bare.port);
    await drained(host.client, "load");
    const longest = await gaps(host);
    await host.stop();
    const grown = await newJah(cli, body);
    const quiet = await idle(cli);
    log(
      `live ${round || "warm-up"}: ${large.toFixed(0)} MB/s, ${small.rate.toFixed(0)} requests/s, up in ${host.readyMs.toFixed(0)} ms`,
    );
    if (!round) continue;
    note("push-large", large);
    note("push-large-sink", largeBare);
    note("push-records", (large * 1e6 * records) / body.length / 1e6);
    note("push-small", small.rate);
    note("push-small-sink", smallBare.rate);
    note("push-small-p99", small.p99);
    note("visible-p50", quantile(visible, 0.5));
    note("visible-p99", quantile(visible, 0.99));
    note("new-jah", grown);
    note("gap", Math.max(...longest));
    note("up", host.readyMs);
    note("idle-memory", quiet.mb);
    note("idle-cpu", quiet.cpuShare);
  }
  bare.stop();
  agent.destroy();
  const one = (name: string, unit: string, words: string) =>
    alone(`live-${name}`, found[name], unit, context, words);
  const sinkOf = (name: string) => ({ name: "sink", values: found[`${name}-sink`] });
  return [
    beside(
      "live-push-large",
      "MB/s",
      found["push-large"],
      sinkOf("push-large"),
      context,
      "NDJSON in 1 MiB bodies, until all is applied",
    ),
    one("push-records", "M records/s", "the same in records"),
    beside(
      "live-push-small",
      "requests/s",
      found["push-small"],
      sinkOf("push-small"),
      context,
      "one record each, 64 connections",
    ),
    one("push-small-p99", "ms", "their 99th percentile"),
    one("visible-p50", "ms", "from a push to an answer that holds it"),
    one("visible-p99", "ms", "the 99th percentile"),
    one("new-jah", "ms", "from a backlog beyond the line to a second Jah that has told of work"),
    one("gap", "ms", "longest time between two answers while 10 MB of state are split and joined"),
    one("up", "ms", "from the start of the process to ready"),
    one("idle-memory", "MB", "all processes of a host without a stream"),
    one("idle-cpu", "%", "of one CPU, without a stream"),
  ];
}
