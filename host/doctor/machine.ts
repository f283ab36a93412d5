/** Checks whether this machine can be a host. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { chooseCpus } from "../congregation/cpus.ts";
import { messageOf } from "../core/errors.ts";
import { openPages } from "../store/pages.ts";

export interface Fact {
  /** Whether hosts need it, and it is not there. */
  isMissing: boolean;
  text: string;
}

const NODE_MIN = [20, 20];
const GIB = 2 ** 30;

export async function checkMachine(): Promise<Fact[]> {
  return [node(), cpus(), memory(), await store(), taskset()];
}

function node(): Fact {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const isMissing = major < NODE_MIN[0] || (major === NODE_MIN[0] && minor < NODE_MIN[1]);
  return fact(`Node ${process.versions.node}`, isMissing ? `${NODE_MIN.join(".")} or newer is needed` : "");
}

function cpus(): Fact {
  const { length } = chooseCpus(undefined).cpus;
  return fact(`${length} ${length === 1 ? "CPU" : "CPUs"} for Jahs, by affinity and cgroup`);
}

function memory(): Fact {
  const limit = process.constrainedMemory?.() ?? 0;
  const bytes = limit > 0 && limit < totalmem() ? limit : totalmem();
  return fact(`${(bytes / GIB).toFixed(1)} GiB of memory`);
}

async function store(): Promise<Fact> {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-doctor-"));
  try {
    await (await openPages(folder)).close();
    return fact("RocksDB, for the state of streams");
  } catch (error) {
    return fact("RocksDB", `streams need it: ${messageOf(error)}; npm install again`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function taskset(): Fact {
  const there = spawnSync("taskset", ["--version"], { stdio: "ignore" }).status === 0;
  return fact(
    there
      ? "taskset, which pins Jahs to their CPUs"
      : "no taskset: Jahs are not pinned, which costs a little",
  );
}

function fact(text: string, missing = ""): Fact {
  return { isMissing: missing !== "", text: missing ? `${text}: ${missing}` : text };
}
