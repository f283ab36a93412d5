/**
 * One Congregation for a data folder: a lock file with the holder's process and when that started, so that one left by
 * a process that was killed counts for nothing.
 */
import { closeSync, linkSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HallelujahError, messageOf } from "../core/errors.ts";

const PAUSE_MS = 50;

interface Holder {
  pid: number;
  /** Start of the process in clock ticks since boot, where that can be had. */
  started: string;
}

/** Takes the lock; waits `patienceMs` for a holder that is ending. Resolves with what gives it back. Rejects with `data-locked`. */
export async function lockFolder(folder: string, patienceMs: number): Promise<() => void> {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new HallelujahError("data-unwritable", `${folder} cannot be made: ${messageOf(cause)}`, { cause });
  }
  const path = join(folder, "lock");
  const own: Holder = { pid: process.pid, started: startOf(process.pid) };
  const mine = `${path}.${process.pid}`;
  try {
    const fd = openSync(mine, "w");
    writeSync(fd, JSON.stringify(own));
    closeSync(fd);
  } catch (cause) {
    throw new HallelujahError("data-unwritable", `${folder} cannot be written: ${messageOf(cause)}`, {
      cause,
    });
  }
  try {
    for (const deadline = Date.now() + patienceMs; ; await sleep(PAUSE_MS)) {
      if (take(mine, path)) return () => rmSync(path, { force: true });
      const holder = readHolder(path);
      if (holder && isAlive(holder)) {
        if (Date.now() < deadline) continue;
        const message = `another host uses ${folder} (process ${holder.pid}); give this one a --data folder of its own`;
        throw new HallelujahError("data-locked", message);
      }
      // Nobody's: whoever renames it away may try to take it, others find it gone or taken.
      if (holder) removeStale(path, holder);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** A hard link is made whole or not at all. */
function take(mine: string, path: string): boolean {
  try {
    linkSync(mine, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function removeStale(path: string, stale: Holder): void {
  const now = readHolder(path);
  if (now && now.pid === stale.pid && now.started === stale.started) rmSync(path, { force: true });
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Holder;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, started }: Holder): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  const now = startOf(pid);
  return !now || !started || now === started;
}

/** When a process started, as /proc has it; empty where there is none. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return "";
  }
}
