/** Runs every test file in a process of its own, two at a time, and counts. Arguments choose files by their path. */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const AT_ONCE = 2;
/** A file that takes longer hangs, ms. */
const PATIENCE_MS = 10 * 60_000;

// Tests read what commands print.
delete process.env.FORCE_COLOR;

const wanted = process.argv.slice(2);
// Failures that were once found at random run first, then what takes longest, so that it is not waited for alone.
const FIRST = [
  "regressions",
  "simulation/host",
  "order/order",
  "flow/swap",
  "flow/supervision",
  "flow/shards",
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

async function run(file: string): Promise<void> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ["--import", "tsx", file], { stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const code = await new Promise<number | null>((done) => child.on("close", done));
  clearTimeout(timer);
  const count = (label: string) => Number(new RegExp(`${label}:\\s+(\\d+)`).exec(output)?.[1] ?? 0);
  const good = count("Passed");
  // A file that dies, or holds no test, has failed, whatever it counted before.
  const bad = Math.max(count("Total") - good - count("Skipped"), code !== 0 || good === 0 ? 1 : 0);
  passed += good;
  failed += bad;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(`${bad ? "FAIL" : "ok  "} ${file} (${good} passed, ${seconds} s)\n`);
  if (bad) process.stdout.write(`${output}\n`);
}

const queue = [...files];
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let file = queue.shift(); file; file = queue.shift()) await run(file);
  }),
);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed || !passed ? 1 : 0;
