import { execFileSync } from "node:child_process";
import os from "node:os";
import { root } from "./paths.ts";

/** Where and when a figure was measured: without it a number says nothing. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGb: number;
  os: string;
  node: string;
  commit: string | null;
  date: string;
}

/**
 * Processes that may run at once, hence the number of Jahs and of C's processes unless a figure says
 * otherwise.
 */
export const cores = os.availableParallelism();

export function machine(): Machine {
  return {
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores,
    memoryGb: Math.round(os.totalmem() / 1e9),
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    commit: commit(),
    date: new Date().toISOString(),
  };
}

function commit(): string | null {
  const git = (...words: string[]) =>
    execFileSync("git", words, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results") !== "";
    return git("rev-parse", "--short", "HEAD") + (changed ? " with changes" : "");
  } catch {
    return null; // not a clone, or no commit yet
  }
}
