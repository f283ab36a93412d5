/** From a save in the editor to the new answer of `hallelujah dev --from`, over 3 M real flights that a host keeps. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { drained, startHost } from "./host.ts";
import type { LiveSettings } from "./live.ts";
import { flightsFile, root } from "./paths.ts";
import { alone, type Result } from "./results.ts";

const FLIGHTS = 3_000_000;
/** Saves that count, in a run; the first answer, for which the compilers start, does not. */
const SAVES = 5;

/** Median, least and greatest time over all saves, ms. */
export async function devSave({ cli, runs, machine, log }: LiveSettings): Promise<Result[]> {
  const host = await startHost(cli);
  const folder = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
  const kernel = path.join(folder, "flights.ts");
  const source = readFileSync(path.join(root, "examples", "flights.ts"), "utf8");
  try {
    const kept = readFileSync(path.join(root, "examples", "kept-flights.ts"), "utf8");
    await host.client.deploy("flights", { kernel: kept, file: "kept-flights.ts", source: flightsFile });
    while ((await host.client.stream("flights")).records < FLIGHTS) await sleep(50);
    await drained(host.client, "flights");
    const found: number[] = [];
    for (let run = 1; run <= runs; run++) {
      writeFileSync(kernel, variant(source, `${run} 0`, 0));
      const dev = spawn(
        process.execPath,
        [cli, "dev", kernel, "--from", "flights", "--url", host.client.url],
        {
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const ended = new Promise((done) => dev.once("exit", done));
      let text = "";
      let onText = () => {};
      dev.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        onText();
      });
      const shows = (words: string) =>
        new Promise<void>((done, fail) => {
          onText = () => {
            if (text.includes("failed after")) fail(new Error(`dev: ${text}`));
            if (text.includes(words)) done();
          };
          ended.then(() => fail(new Error(`dev ended: ${text}`)));
          onText();
        });
      try {
        await shows("#1 flights.ts");
        for (let save = 1; save <= SAVES; save++) {
          const next = variant(source, `${run} ${save}`, save);
          const startedAt = performance.now();
          writeFileSync(`${kernel}~`, next);
          renameSync(`${kernel}~`, kernel);
          // A block is written as a whole, so its first line comes with the rest.
          await shows(`#${save + 1} flights.ts`);
          const ms = performance.now() - startedAt;
          found.push(ms);
          const [, changes] = new RegExp(`#${save + 1} flights\\.ts \\d+ ms: (.*)`).exec(text)!;
          if (!changes.includes("changed")) throw new Error(`dev: save ${save} of run ${run}: ${changes}`);
          log(`dev ${run}: ${ms.toFixed(0)} ms, ${changes}`);
        }
      } finally {
        dev.kill("SIGINT");
        await ended;
      }
    }
    return [
      alone("dev-save", found, "ms", { rows: FLIGHTS, machine }, "from a save to the new answer of a visit"),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await host.stop();
  }
}

/** Another kernel each time, so that none is found built, which changes what comes out: flights of at least so many minutes' delay. */
function variant(source: string, name: string, least: number): string {
  const changed = source.replace(
    "flight.delay.present)",
    `flight.delay.present && flight.delay.value >= ${least})`,
  );
  if (changed === source) throw new Error("dev: examples/flights.ts is another one");
  return `// ${process.pid} ${Date.now()} ${name}\n${changed}`;
}
