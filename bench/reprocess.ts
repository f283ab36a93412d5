/** A reprocess of what a stream has had, beside `run` over the same bytes as a file. */
import { createReadStream, linkSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { measure } from "./command.ts";
import { hallelujah, kernels } from "./engines.ts";
import { startHost, type TestHost } from "./host.ts";
import { cores } from "./machine.ts";
import { root } from "./paths.ts";
import { beside, type Context, type Result } from "./results.ts";

export interface ReprocessSettings {
  cli: string;
  runs: number;
  rows: number;
  machine: Context["machine"];
  outFolder: string;
  log: (line: string) => void;
}

/** How often the file is pushed: once, and so often that starting, and parking the old kernel, are a small part. */
const TIMES = { reprocess: 1, "reprocess-long": 4 };
/** Pauses between two looks at whether it has taken over, ms, by the frames that are left. */
const LOOK_MS = 10;
const LOOK_MS_MAX = 200;
const FRAMES_PER_MS = 2;

/** From the call, with the kernel built before, until the new version answers; and from then on the command is over. `file` has lines `station;temperature`. */
export async function reprocess(settings: ReprocessSettings, file: string): Promise<Result[]> {
  const results: Result[] = [];
  for (const [name, times] of Object.entries(TIMES))
    results.push(await measured(settings, file, name, times));
  return results;
}

async function measured(
  { cli, runs, rows, machine, outFolder, log }: ReprocessSettings,
  file: string,
  name: string,
  times: number,
): Promise<Result> {
  mkdirSync(outFolder, { recursive: true });
  const kernel = readFileSync(path.join(root, kernels.csv.file), "utf8");
  const { command } = hallelujah(cli, "csv", file, cores);
  const files = Array.from({ length: times }, (_, i) => linked(file, outFolder, i));
  const whole = command.flatMap((word) => (word === file ? files : [word]));
  const mb = (times * statSync(file).size) / 1e6;
  const found = { ours: [] as number[], run: [] as number[] };
  const host = await startHost(cli);
  try {
    await host.client.deploy("load", { kernel, retain: "all" });
    for (let i = 0; i < times; i++) {
      const records = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>;
      await host.client.push("load", records, {
        format: "csv",
        delimiter: ";",
        columns: ["station", "temperature"],
      });
    }
    await applied(host);
    const wanted = await tableOf(host);
    for (let round = 0; round <= runs; round++) {
      const startedAt = performance.now();
      await host.client.reprocess("load", { kernel });
      await takenOver(host);
      const ms = performance.now() - startedAt;
      if ((await tableOf(host)) !== wanted) throw new Error("reprocess: the answer is another one");
      const { wallMs } = await measure(whole, path.join(outFolder, "reprocess-run.out"));
      log(`${name} ${round || "warm-up"}: ${ms.toFixed(0)} ms, run ${wallMs.toFixed(0)} ms`);
      if (!round) continue;
      found.ours.push((mb * 1000) / ms);
      found.run.push((mb * 1000) / wallMs);
    }
  } finally {
    await host.stop();
  }
  const peer = { name: "run", values: found.run };
  const note = `${mb.toFixed(0)} MB: from the call to the new kernel's first answer, beside the whole command over the same bytes`;
  return beside(name, "MB/s", found.ours, peer, { rows: rows * times, machine }, note);
}

/** Looks seldom while there is much to do yet: answers cost the CPUs that work. */
async function takenOver({ client }: TestHost): Promise<void> {
  for (;;) {
    const { reprocess: under } = await client.stream("load");
    if (!under) return;
    const left = under.frames - under.frame;
    await sleep(Math.max(LOOK_MS, Math.min(LOOK_MS_MAX, left / FRAMES_PER_MS)));
  }
}

/** The file by another name, as an input counts once. */
function linked(file: string, folder: string, i: number): string {
  const link = path.join(folder, `reprocess-${i}.csv`);
  rmSync(link, { force: true });
  linkSync(file, link);
  return link;
}

async function applied({ client }: TestHost): Promise<void> {
  for (;;) {
    const { frame, frames } = await client.stream("load");
    if (frame === frames) return;
    await sleep(LOOK_MS);
  }
}

async function tableOf({ client }: TestHost): Promise<string> {
  return JSON.stringify(await (await client.query("load", "stations")).all());
}
