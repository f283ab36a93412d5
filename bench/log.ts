/** The durable log: pushes that are synced before they are answered, and how long a log takes to be opened. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { DISK, Log } from "../host/store/log.ts";
import { agent, CONNECTIONS, drained, largeBody, post, startHost } from "./host.ts";
import type { LiveSettings } from "./live.ts";
import { root } from "./paths.ts";
import { alone, beside, type Result } from "./results.ts";

const BODIES = 400;
const LARGE_CONNECTIONS = 4;
const SMALL_MS = 3000;
const BARE_MS = 2000;
const ENTRIES = 2_000_000;
const ENTRY_BYTES = 40;
const SPARSE_BYTES = 10 * 2 ** 30;
const FRAME_BYTES = 512 << 10;

/** MB/s of pushes until each is answered. */
async function pushLarge(port: number, body: Buffer): Promise<number> {
  const startedAt = performance.now();
  let left = BODIES;
  const sender = async () => {
    while (left-- > 0) await accepted(port, body);
  };
  await Promise.all(Array.from({ length: LARGE_CONNECTIONS }, sender));
  return (BODIES * body.length) / 1e3 / (performance.now() - startedAt);
}

/** Answered requests per second with one record each. */
async function pushSmall(port: number): Promise<number> {
  const body = Buffer.from('{"station":"x","temperature":1}\n');
  const end = performance.now() + SMALL_MS;
  let count = 0;
  const sender = async () => {
    while (performance.now() < end) {
      await accepted(port, body);
      count++;
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, sender));
  return count / (SMALL_MS / 1000);
}

async function accepted(port: number, body: Buffer): Promise<void> {
  const status = await post(port, "load", body);
  if (status !== 200) throw new Error(`a push was answered ${status}`);
}

/** MB/s of a loop that appends as much as all connections send at once, and syncs it. */
async function bareLoop(body: Buffer): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
  const handle = await open(path.join(folder, "bare"), "w");
  const buffers = Array.from({ length: LARGE_CONNECTIONS }, () => body);
  const startedAt = performance.now();
  let at = 0;
  while (performance.now() - startedAt < BARE_MS) {
    const { bytesWritten } = await handle.writev(buffers, at);
    at += bytesWritten;
    await handle.datasync();
  }
  const rate = at / 1e3 / (performance.now() - startedAt);
  await handle.close();
  rmSync(folder, { recursive: true, force: true });
  return rate;
}

/** Makes a log; the times of opening it after its process was killed, and with no sidecar at all, ms. */
async function opening(
  fill: (folder: string) => Promise<void>,
  runs: number,
): Promise<Record<string, number[]>> {
  const folder = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
  const times: Record<string, number[]> = { closed: [], killed: [], bare: [] };
  try {
    await fill(folder);
    const sidecars = () =>
      readdirSync(folder)
        .filter((name) => name.endsWith(".idx"))
        .toSorted();
    const remove = (name: string) => rmSync(path.join(folder, name), { force: true });
    for (let run = 0; run <= runs; run++) {
      for (const how of Object.keys(times)) {
        if (how === "killed") sidecars().slice(-1).forEach(remove);
        if (how === "bare") sidecars().forEach(remove);
        const startedAt = performance.now();
        const log = await Log.open(folder);
        const ms = performance.now() - startedAt;
        await log.close();
        if (run) times[how].push(ms);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return times;
}

async function smallEntries(folder: string): Promise<void> {
  const log = await Log.open(folder, { durable: false });
  const group = Array.from({ length: 10_000 }, () => ({
    kind: 0,
    body: [Buffer.alloc(ENTRY_BYTES, 97)],
    records: 1,
  }));
  while (log.next < ENTRIES) await log.appendGroup(group);
  await log.close();
}

/** Frames of zeros, which the file system need not keep. */
async function sparse(folder: string): Promise<void> {
  const disk = {
    ...DISK,
    async writev(...[handle, buffers, position]: Parameters<typeof DISK.writev>) {
      for (const buffer of buffers) {
        if (buffer.length < FRAME_BYTES) await DISK.writev(handle, [buffer], position);
        position += buffer.length;
      }
      await handle.truncate(position);
    },
  };
  const log = await Log.open(folder, { durable: false, disk });
  const body = [Buffer.alloc(FRAME_BYTES)];
  while (log.bytes < SPARSE_BYTES) await log.append({ kind: 0, body, records: 0 });
  await log.close();
}

/** All figures of the durable log. */
export async function log({ cli, runs, machine, log: say }: LiveSettings): Promise<Result[]> {
  const context = { rows: null, machine };
  const { body } = largeBody();
  const kernel = readFileSync(path.join(root, "examples/stations.ts"), "utf8");
  const large: number[] = [];
  const small: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round <= runs; round++) {
    const host = await startHost(cli);
    await host.client.deploy("load", { kernel });
    await drained(host.client, "load");
    const rates = [await pushLarge(host.port, body), await bareLoop(body), await pushSmall(host.port)];
    await host.stop();
    const [pushed, looped, requests] = rates;
    say(`log ${round || "warm-up"}: ${rates.map((rate) => rate.toFixed(0)).join(", ")}`);
    if (!round) continue;
    large.push(pushed);
    bare.push(looped);
    small.push(requests);
  }
  agent.destroy();
  const entries = await opening(smallEntries, runs);
  const frames = await opening(sparse, runs);
  const one = (name: string, values: number[], words: string) =>
    alone(`log-open-${name}`, values, "ms", context, words);
  return [
    beside("log-push", "MB/s", large, { name: "bare", values: bare }, context, "1 MiB bodies, 4 connections"),
    alone("log-push-small", small, "requests/s", context, "one record each, 64 connections"),
    one("entries", entries.closed, "2 M entries of 40 bytes, closed before"),
    one("entries-killed", entries.killed, "the same after its process was killed"),
    one("entries-bare", entries.bare, "the same without sidecars"),
    one("frames", frames.closed, "10 GiB in frames of 512 KiB, closed before"),
    one("frames-killed", frames.killed, "the same after its process was killed"),
    one("frames-bare", frames.bare, "the same without sidecars"),
  ];
}
