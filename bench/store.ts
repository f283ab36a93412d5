/** The store of a shard: writing, reading back and opening, each in a process of its own. */
import { fork } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { barOf, isMet } from "./bars.ts";
import { benchFolder, peersFolder } from "./paths.ts";
import { alone, type Context, type Result } from "./results.ts";
import { median, rounded } from "./statistics.ts";

export interface StoreSettings {
  runs: number;
  machine: Context["machine"];
  log: (line: string) => void;
}

/** Sizes of the state, MiB. */
const LARGE = 256;
const SMALL = 1;

async function measured<R>(file: string, args: (string | number)[]): Promise<R> {
  const child = fork(file, args.map(String), { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  let result: R;
  child.once("message", (message) => (result = message as R));
  // What has ended holds no lock.
  const code = await new Promise((done) => child.once("exit", done));
  if (code !== 0) throw new Error(`${path.basename(file)} ${args[0]} failed`);
  return result!;
}

const work = <R>(what: string, folder: string, size: number) =>
  measured<R>(path.join(benchFolder, "store-work.ts"), [what, folder, size]);

/** KiB that a folder takes on disk. */
function diskKb(folder: string): number {
  const blocks = readdirSync(folder).map((name) => statSync(path.join(folder, name)).blocks);
  return blocks.reduce((sum, count) => sum + count, 0) / 2;
}

/** All figures of the store. */
export async function store({ runs, machine, log }: StoreSettings): Promise<Result[]> {
  const context = { rows: null, machine };
  const found: Record<string, number[]> = {};
  const note = (name: string, value: number) => (found[name] ??= []).push(value);
  for (let round = 0; round <= runs; round++) {
    const folder = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
    const [empty, small, large] = ["empty", "small", "large"].map((name) => path.join(folder, name));
    const filled = await work<{ rate: number; mb: number }>("fill", large, LARGE);
    // What both read afterwards is in the page cache, and in tables: opening a store brings its log there.
    await work("restore", large, LARGE);
    const bare = await measured<{ bytes: number; ms: number }>(path.join(peersFolder, "rocks-read.mjs"), [
      large,
    ]);
    const read = await work<{ bytes: number; openMs: number; ms: number }>("restore", large, LARGE);
    await work("fill", small, SMALL);
    const cold = await work<{ ms: number }>("wake", small, SMALL);
    const prepared = await work<{ ms: number }>("restore", small, SMALL);
    const created = await work<{ openMs: number }>("wake", empty, 0);
    log(
      `store ${round || "warm-up"}: writes ${filled.rate.toFixed(0)} MB/s, wakes 1 MiB in ${cold.ms.toFixed(0)} ms`,
    );
    if (round) {
      note("store-write", filled.rate);
      note("store-memory", filled.mb);
      note("store-restore", read.bytes / 1e3 / (read.ms - read.openMs));
      note("bare", bare.bytes / 1e3 / bare.ms);
      note("store-wake", cold.ms);
      note("store-wake-prepared", prepared.ms);
      note("store-create", created.openMs);
      note("store-disk", diskKb(small));
    }
    rmSync(folder, { recursive: true });
  }
  const one = (name: string, unit: string, words: string) => alone(name, found[name], unit, context, words);
  return [
    one("store-write", "MB/s", "256 MiB of pages and a commit, over a checkpoint of as much"),
    one("store-memory", "MB", "what that adds to the process at most"),
    besideBare(found, context),
    one("store-wake", "ms", "a new process opens a store of 1 MiB and has its pages"),
    one("store-wake-prepared", "ms", "the same where RocksDB was loaded before"),
    one("store-create", "ms", "a new process makes a store"),
    one("store-disk", "KiB", "files of a store of 1 MiB, with its two checkpoints"),
  ];
}

/** Restoring beside reading everything through the same binding, which checks and hands over nothing. */
function besideBare(found: Record<string, number[]>, context: Context): Result {
  const values = found["store-restore"];
  const peers = found["bare"];
  const result = alone("store-restore", values, "MB/s", context, "256 MiB into memory, checked");
  const ratio = rounded(median(values.map((value, i) => value / peers[i])));
  const bar = barOf("store-restore", "bare");
  return {
    ...result,
    peer: "bare",
    peer_value: rounded(median(peers)),
    peer_min: rounded(Math.min(...peers)),
    peer_max: rounded(Math.max(...peers)),
    ratio,
    bar: bar?.words ?? null,
    met: bar ? isMet(bar, result.value, ratio) : null,
  };
}
