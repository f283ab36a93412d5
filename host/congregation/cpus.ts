/** Which CPUs this process may use: its affinity and its cgroup's quota (versions 1 and 2), or what the user says. */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { HallelujahError } from "../core/errors.ts";

export interface Cpus {
  /** Their numbers. */
  cpus: number[];
  /** What the user should know about the choice. */
  warning?: string;
}

const CPUS_MAX = 4096;

/** `wanted` is a number of CPUs or a list such as `0,2-3`. Throws `cpus-invalid`. */
export function chooseCpus(wanted: string | undefined): Cpus {
  const allowed = affinity();
  const there = Math.min(allowed.length, quota());
  if (wanted === undefined) return { cpus: allowed.slice(0, Math.max(1, there)) };
  if (/^\d+$/.test(wanted)) {
    const count = Number(wanted);
    if (count < 1 || count > CPUS_MAX) throw invalid(wanted);
    const cpus = Array.from({ length: count }, (_, i) => allowed[i % allowed.length]);
    if (count <= there) return { cpus };
    // Each needs a number of its own in the ledger.
    const numbers = Array.from({ length: count }, (_, i) => i);
    return {
      cpus: numbers,
      warning: `--cpus ${count} is more than the ${there} CPUs here; Jahs will take turns on them`,
    };
  }
  const cpus = parseList(wanted);
  const missing = cpus.filter((cpu) => !allowed.includes(cpu));
  if (missing.length)
    throw new HallelujahError(
      "cpus-invalid",
      `CPU ${missing.join(", ")} is not one that this process may use (${allowed.join(", ")})`,
    );
  return { cpus };
}

/** CPUs of this process's affinity. */
function affinity(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(read("/proc/self/status"))?.[1];
  return list ? parseList(list) : Array.from({ length: availableParallelism() }, (_, i) => i);
}

/** CPUs that the cgroup's quota comes to; Infinity without one. */
function quota(): number {
  const own = /^0::(\S*)/m.exec(read("/proc/self/cgroup"))?.[1] ?? "";
  for (const folder of [`/sys/fs/cgroup${own}`, "/sys/fs/cgroup"]) {
    const [max, period] = read(`${folder}/cpu.max`).split(/\s+/).map(Number);
    if (max > 0 && period > 0) return Math.max(1, Math.ceil(max / period));
  }
  const max = Number(read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") || -1);
  const period = Number(read("/sys/fs/cgroup/cpu/cpu.cfs_period_us") || 0);
  return max > 0 && period > 0 ? Math.max(1, Math.ceil(max / period)) : Infinity;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** `0,2-3` as numbers. */
export function parseList(text: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.split(",")) {
    const found = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
    const from = Number(found?.[1]);
    const to = Number(found?.[2] ?? from);
    if (!(from <= to)) throw invalid(text);
    for (let cpu = from; cpu <= to; cpu++) cpus.add(cpu);
  }
  return [...cpus];
}

function invalid(text: string): HallelujahError {
  const message = `--cpus takes how many CPUs, from 1, or a list of theirs such as 0,2-3 (0-0 for the first alone); not ${JSON.stringify(text)}`;
  return new HallelujahError("cpus-invalid", message);
}
