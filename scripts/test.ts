/** Runs every test file in a process of its own, three at a time, and counts. Arguments choose files by their path. */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transpile } from "./transpile.ts";

/** One more than the cores of a small machine, as files that wait for processes and time use half of one. */
const AT_ONCE = 3;
/** A file that takes longer hangs, ms. */
const PATIENCE_MS = 10 * 60_000;

// Tests read what commands print.
delete process.env.FORCE_COLOR;

const wanted = process.argv.slice(2);
// Failures that were once found at random run first, then what takes longest, so that it is not waited for alone.
const FIRST = [
  "regressions",
  "simulation/storms",
  "order/order",
  "flow/damage",
  "flow/bad-input",
  "flow/shards",
  "flow/supervision",
  "simulation/host",
  "simulation/cluster",
  "state/datasets",
  "sql/duckdb",
  "state/swap",
  "flow/",
  "simulation/mutants",
];
const rank = (file: string) => {
  const at = FIRST.findIndex((part) => file.includes(part));
  return at < 0 ? FIRST.length : at;
};
const files = find("test")
  .filter((file) => !wanted.length || wanted.some((part) => file.includes(part)))
  .toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));

function find(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? find(path) : entry.name.endsWith(".test.ts") ? [path] : [];
  });
}

let passed = 0;
let failed = 0;

/** CPU time of files that have ended, s. */
let counted = 0;

/** CPU time of all processes that were waited for, and of those that these waited for, s; 0 where the system does not tell. */
function childSeconds(): number {
  try {
    const [, , , , , , , , , , , , , user, system] = readFileSync("/proc/self/stat", "utf8")
      .split(") ")[1]
      .split(" ");
    return (Number(user) + Number(system)) / 100;
  } catch {
    return 0;
  }
}

async function run(file: string): Promise<void> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ["--import", load, file], { stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  let cpuSeconds = 0;
  child.on("exit", () => {
    cpuSeconds = childSeconds() - counted;
    counted += cpuSeconds;
  });
  const code = await new Promise<number | null>((done) => child.on("close", done));
  clearTimeout(timer);
  const count = (label: string) => Number(new RegExp(`${label}:\\s+(\\d+)`).exec(output)?.[1] ?? 0);
  const good = count("Passed");
  // A file that dies, or holds no test, has failed, whatever it counted before.
  const bad = Math.max(count("Total") - good - count("Skipped"), code !== 0 || good === 0 ? 1 : 0);
  passed += good;
  failed += bad;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(
    `${bad ? "FAIL" : "ok  "} ${file} (${good} passed, ${seconds} s, CPU ${cpuSeconds.toFixed(1)} s)\n`,
  );
  if (bad) process.stdout.write(`${output}\n`);
}

const folder = mkdtempSync(join(tmpdir(), "hallelujah-suite-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
// Kernels are compiled once for all files, and those of the user's own stay where they are; none is dropped, as who goes through more
// than are kept in the same order twice finds none.
process.env.HALLELUJAH_CACHE ??= join(folder, "kernels");
process.env.HALLELUJAH_CACHE_FILES ??= "4096";
const load = await transpile(join(folder, "js"));

const queue = [...files];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let file = queue.shift(); file; file = queue.shift()) await run(file);
  }),
);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed || !passed ? 1 : 0;
