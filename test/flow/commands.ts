/** Commands against a test host, as a user types them. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { type CliResult, cli, kernelOf } from "../run.ts";

const ECHO = `import { Text, out } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
export function each(reading: Reading): void { out.emit(reading); }`;

/** Kernels as they are built already, so that a deploy takes no time. */
export async function builtKernels(): Promise<{ stations: string; sessions: string; echo: string }> {
  const example = (name: string) => join(packageRoot, "examples", name);
  const files = [example("stations.ts"), example("sessions.ts"), kernelOf("echo", ECHO)];
  const [stations, sessions, echo] = (await Promise.all(files.map((file) => buildKernel(file)))).map(
    ({ path }) => path,
  );
  return { stations, sessions, echo };
}

/** So many readings, as NDJSON. */
export const readings = (count: number): string =>
  Array.from({ length: count }, (_, i) => `{"station":"s${i % 10}","temperature":${i % 50}}\n`).join("");

/** A command against the host at `url`. */
function run(url: string, args: string[], stdin?: string): Promise<CliResult> {
  return cli(args, { env: { HALLELUJAH_URL: url }, ...(stdin === undefined ? {} : { stdin }) });
}

/** The same; it succeeds, says nothing else, and gives what it printed. */
export async function prints(url: string, args: string[], stdin?: string): Promise<string> {
  const { code, stdout, stderr } = await run(url, args, stdin);
  assert.is(stderr, "", args.join(" "));
  assert.is(code, 0, args.join(" "));
  return stdout;
}

/** It fails with one sentence and no stack. */
export async function refuses(
  url: string,
  args: string[],
  words: RegExp,
  code: number,
  stdin?: string,
): Promise<void> {
  const ran = await run(url, args, stdin);
  assert.match(ran.stderr, words);
  assert.not.match(ran.stderr, /^ +at .*(node:|\.js:)/m);
  assert.is(ran.stdout, "");
  assert.is(ran.code, code, ran.stderr);
}

/** Two at a time. */
export async function each<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async () => {
    for (const item of left) await work(item);
  };
  await Promise.all([worker(), worker()]);
}

/** A command that is there until it is told to go. */
export function start(url: string, args: string[]) {
  const main = join(packageRoot, "dist", "cli", "main.js");
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, HALLELUJAH_URL: url },
  });
  const said = { stdout: "", stderr: "" };
  child.stdin.on("error", () => {});
  for (const name of ["stdout", "stderr"] as const)
    child[name].on("data", (chunk: Buffer) => (said[name] += chunk.toString()));
  const ended = once(child, "close") as Promise<[number | null, string | null]>;
  return {
    child,
    said,
    async prints(words: RegExp): Promise<void> {
      while (!words.test(said.stdout)) {
        assert.is(child.exitCode, null, `it ended: ${said.stdout}${said.stderr}`);
        await Promise.race([once(child.stdout, "data"), ended]);
      }
    },
    async end(signal: NodeJS.Signals): Promise<number | null> {
      child.kill(signal);
      return (await ended)[0];
    },
  };
}
