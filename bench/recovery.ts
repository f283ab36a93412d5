/** What state on disk costs and gives: wakes, checkpoints beside ingest, a killed Jah, many parked streams. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { agent, cpuMs, drained, largeBody, post, residentMb, startHost, type TestHost } from "./host.ts";
import type { LiveSettings } from "./live.ts";
import { peersFolder, root } from "./paths.ts";
import { alone, beside, type Result } from "./results.ts";
import { quantile } from "./statistics.ts";

const PARK_SOON = { HALLELUJAH_PARK_AFTER_MS: "500" };
const NO_CHECKPOINTS = { HALLELUJAH_CHECKPOINT_BYTES: "0" };
/** Time after which a host has a spare process again, ms. */
const SPARE_MS = 2_500;
const SMALL_KEYS = 10_000;
const MIDDLE_KEYS = 1_000_000;
const LARGE_KEYS = 10_000_000;
const SMALL_WAKES = 10;
/** So many that they take longer than the pause before the first checkpoint of a stream that is loaded. */
const FEW_BODIES = 3000;
/** Times that the bodies of many keys are pushed: a stream that is loaded is saved for the first time after 10 s. */
const MANY_TIMES = 4;
const STREAMS = 100;
const WATCH_MS = 10_000;
const KILL_AFTER_MS = 4_000;
/** Backlog at which a stream counts as caught up, bytes. */
const CAUGHT_UP = 2 << 20;

const kernel = readFileSync(path.join(root, "examples/stations.ts"), "utf8");

/** Bodies of 1 MiB whose records have so many different keys, in an order that jumps. */
function bodiesOf(keys: number): Buffer[] {
  const bodies: Buffer[] = [];
  let i = 0;
  while (i < keys) {
    let text = "";
    while (text.length < (1 << 20) - 100 && i < keys)
      text += `{"station":"k${(i++ * 7_919_317) % keys}","temperature":${i % 50}}\n`;
    bodies.push(Buffer.from(text));
  }
  return bodies;
}

async function pushAll(port: number, bodies: Buffer[]): Promise<void> {
  const left = bodies.values();
  const sender = async () => {
    for (const body of left) while ((await post(port, "load", body)) !== 200) await sleep(20);
  };
  await Promise.all([sender(), sender(), sender(), sender()]);
}

async function parked({ client }: TestHost): Promise<void> {
  while ((await client.stream("load")).state !== "parked") await sleep(20);
}

/** From a query of a parked stream to its answer, ms. */
async function wake(host: TestHost): Promise<number> {
  await parked(host);
  await sleep(SPARE_MS);
  const startedAt = performance.now();
  const rows = await (await host.client.query("load", "stations", { key: "k1" })).all();
  const ms = performance.now() - startedAt;
  if (rows.length !== 1) throw new Error("the state did not come back");
  return ms;
}

async function wakes(cli: string, keys: number, times: number): Promise<{ ms: number[]; bareMs: number }> {
  const host = await startHost(cli, { env: PARK_SOON });
  try {
    await host.client.deploy("load", { kernel, max: 1 });
    await pushAll(host.port, bodiesOf(keys));
    const ms: number[] = [];
    for (let i = 0; i < times; i++) ms.push(await wake(host));
    await parked(host);
    return { ms, bareMs: await bareRead(path.join(host.data, "streams/load/shard-0")) };
  } finally {
    await host.stop();
  }
}

/** All that a store holds, read through its binding and thrown away, ms. */
async function bareRead(folder: string): Promise<number> {
  const child = fork(path.join(peersFolder, "rocks-read.mjs"), [folder], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const { ms } = await new Promise<{ ms: number }>((done) =>
    child.once("message", (message) => done(message as { ms: number })),
  );
  await ended; // it has the folder open until then
  return ms;
}

/** Bytes a second until all is applied, and the greatest resident size of the Jah, MB. */
async function ingest(
  cli: string,
  bodies: Buffer[],
  env: Record<string, string>,
): Promise<{ rate: number; mb: number; checkpoints: number }> {
  const host = await startHost(cli, { env });
  try {
    await host.client.deploy("load", { kernel, max: 1 });
    await drained(host.client, "load");
    let mb = 0;
    let over = false;
    const watching = (async () => {
      while (!over) {
        for (const { memoryBytes } of await host.client.jahs()) mb = Math.max(mb, memoryBytes / 1e6);
        await sleep(100);
      }
    })();
    const startedAt = performance.now();
    await pushAll(host.port, bodies);
    await drained(host.client, "load");
    const ms = performance.now() - startedAt;
    over = true;
    await watching;
    const bytes = bodies.reduce((sum, { length }) => sum + length, 0);
    const { checkpoints } = await host.client.stream("load");
    return { rate: bytes / 1e3 / ms, mb, checkpoints: checkpoints.count };
  } finally {
    await host.stop();
  }
}

/** Ingest beside checkpoints, and without; the two take turns at being first. */
async function pair(cli: string, bodies: Buffer[], round: number) {
  if (round % 2) {
    const on = await ingest(cli, bodies, {});
    return [on, await ingest(cli, bodies, NO_CHECKPOINTS)];
  }
  const off = await ingest(cli, bodies, NO_CHECKPOINTS);
  return [await ingest(cli, bodies, {}), off];
}

/** A Jah with some 100 MB of state is killed at half of the full rate; until all is applied again but what just came, ms. */
async function killed(cli: string): Promise<number> {
  const host = await startHost(cli);
  try {
    const { client, port } = host;
    await client.deploy("load", { kernel, max: 1 });
    const bodies = bodiesOf(MIDDLE_KEYS);
    await pushAll(port, bodies);
    await drained(client, "load");
    const startedAt = performance.now();
    const again = [...bodies, ...bodies, ...bodies, ...bodies];
    await pushAll(port, again);
    await drained(client, "load");
    const pauseMs = (2 * (performance.now() - startedAt)) / again.length;
    let over = false;
    const pushing = (async () => {
      for (let i = 0, dueAt = performance.now(); !over; i++, dueAt += pauseMs) {
        await sleep(Math.max(0, dueAt - performance.now()));
        await post(port, "load", bodies[i % bodies.length]);
      }
    })();
    await sleep(KILL_AFTER_MS);
    const [{ pid }] = await client.jahs();
    process.kill(pid, "SIGKILL");
    const killedAt = performance.now();
    for (let isKnown = false; ; await sleep(5)) {
      const { state, backlog } = await client.stream("load");
      isKnown ||= state !== "running";
      if (isKnown && state === "running" && backlog.bytes < CAUGHT_UP) break;
    }
    const ms = performance.now() - killedAt;
    over = true;
    await pushing;
    return ms;
  } finally {
    await host.stop();
  }
}

/** What a hundred streams cost that rest: MB each, % of a CPU for all, and processes. */
async function resting(cli: string): Promise<{ mb: number; cpu: number; jahs: number }> {
  const host = await startHost(cli, { env: PARK_SOON });
  try {
    const { client } = host;
    const { pid } = await client.host();
    await sleep(1000);
    const before = residentMb(pid);
    for (let i = 0; i < STREAMS; i++) {
      await client.deploy(`s${i}`, { kernel, min: 0, max: 1 });
      await client.push(`s${i}`, '{"station":"a","temperature":1}\n');
    }
    while ((await client.streams()).some(({ state }) => state !== "parked")) await sleep(200);
    await sleep(WATCH_MS);
    const pids = [host.child.pid!, pid];
    const used = pids.map(cpuMs);
    await sleep(WATCH_MS);
    const ms = pids.reduce((sum, each, i) => sum + cpuMs(each) - used[i], 0);
    return {
      mb: (residentMb(pid) - before) / STREAMS,
      cpu: (ms * 100) / WATCH_MS,
      jahs: (await client.jahs()).length,
    };
  } finally {
    await host.stop();
  }
}

/** All figures of state on disk. */
export async function recovery({ cli, runs, machine, log }: LiveSettings): Promise<Result[]> {
  const context = { rows: null, machine };
  const found: Record<string, number[]> = {};
  const note = (name: string, ...values: number[]) => (found[name] ??= []).push(...values);
  const { body } = largeBody();
  const few = Array.from({ length: FEW_BODIES }, () => body);
  const largeBodies = bodiesOf(LARGE_KEYS);
  const many = Array.from({ length: MANY_TIMES }, () => largeBodies).flat();
  for (let round = 0; round <= runs; round++) {
    const small = await wakes(cli, SMALL_KEYS, SMALL_WAKES);
    const [fewOn, fewOff] = await pair(cli, few, round);
    const [manyOn, manyOff] = await pair(cli, many, round);
    const killedMs = await killed(cli);
    const rest = await resting(cli);
    // Last, as the disk is busy for a while with what it leaves.
    const large = await wakes(cli, LARGE_KEYS, 2);
    for (const { checkpoints } of [fewOn, manyOn])
      if (!checkpoints) throw new Error("it was loaded before its first checkpoint");
    log(
      `recovery ${round || "warm-up"}: wakes ${small.ms[0].toFixed(0)} and ${large.ms[0].toFixed(0)} ms, ${fewOn.rate.toFixed(0)} of ${fewOff.rate.toFixed(0)} and ${manyOn.rate.toFixed(0)} of ${manyOff.rate.toFixed(0)} MB/s (${fewOn.checkpoints} and ${manyOn.checkpoints} checkpoints), killed ${killedMs.toFixed(0)} ms, ${rest.cpu.toFixed(2)} % at rest`,
    );
    if (!round) continue;
    note("wake", quantile(small.ms, 0.5));
    note("wake-large", ...large.ms);
    note("wake-large-bare", ...large.ms.map(() => large.bareMs));
    note("few", fewOn.rate);
    note("few-off", fewOff.rate);
    note("many", manyOn.rate);
    note("many-off", manyOff.rate);
    note("memory", manyOn.mb / manyOff.mb);
    note("killed", killedMs);
    note("rest-memory", rest.mb);
    note("rest-cpu", rest.cpu);
    note("rest-jahs", rest.jahs);
  }
  agent.destroy();
  const one = (name: string, unit: string, words: string) =>
    alone(`recovery-${name}`, found[name], unit, context, words);
  const without = (name: string, words: string) =>
    beside(
      `recovery-${name}`,
      "MB/s",
      found[name],
      { name: "no checkpoints", values: found[`${name}-off`] },
      context,
      words,
    );
  return [
    one("wake", "ms", "some 1 MB of state, from a query to its answer: median"),
    one("wake-large", "ms", "some 1 GiB of state"),
    alone(
      "recovery-wake-bare",
      found["wake-large-bare"],
      "ms",
      context,
      "that, read through the same binding",
    ),
    without("few", "ingest of 413 keys beside checkpoints, and without"),
    without("many", "the same of 10 M keys"),
    one("memory", "x", "greatest size of its Jah, of that without checkpoints"),
    one("killed", "ms", "until caught up after SIGKILL of a Jah with 100 MB of state, at half the full rate"),
    one("rest-memory", "MB", "of the Hallelu for each of 100 parked streams"),
    one("rest-cpu", "%", "of a CPU, for all of them"),
    one("rest-jahs", "", "processes of theirs"),
  ];
}
