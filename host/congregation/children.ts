/**
 * The processes that a Congregation has started, kept in a file of the data folder. When it is killed they end by themselves,
 * but not before they get to it; the next Congregation ends those that are left before it starts its own, as two Hallelus
 * must not write to the same logs.
 */
import type { ChildProcess } from "node:child_process";
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HallelujahError } from "../core/errors.ts";
import { seal, unseal } from "../store/sealed.ts";
import { identityOf, type Identity, isAlive, isIdentity } from "./identity.ts";

/** What the file begins with where an older version wrote it, without a checksum. */
const BEFORE_CHECKSUMS = '{"place":';
const VERSION = 2;
const PAUSE_MS = 20;
/** Time in which a process that was killed must be gone, ms. */
const GONE_MS = 10_000;

interface Kept {
  /** Where this was written: a copy of the folder, or the same machine later, has nothing to do with these processes. */
  place: string;
  processes: Identity[];
}

export class Children {
  private readonly path: string;
  private readonly place: string;
  private readonly known = new Map<number, Identity>();

  constructor(folder: string) {
    this.path = join(folder, "processes.json");
    const { dev, ino } = statSync(folder);
    this.place = `${bootOf()} ${dev} ${ino}`;
  }

  /** Kills those that an earlier Congregation left; resolves when they are gone. The folder's lock must be held. */
  async endLeft(): Promise<void> {
    const left = this.read().filter(isAlive);
    for (const { pid } of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
    }
    for (const deadline = Date.now() + GONE_MS; left.some(isAlive); await sleep(PAUSE_MS)) {
      if (Date.now() < deadline) continue;
      const message = `process ${left.find(isAlive)!.pid} of an earlier host was killed and does not end; end it, then try again`;
      throw new HallelujahError("data-locked", message);
    }
  }

  /** Remembers a process until it ends. */
  add(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) return;
    this.known.set(pid, identityOf(pid));
    child.once("exit", () => this.known.delete(pid));
    this.write();
  }

  /** Without the file its processes are waited for by nobody, and still end by themselves. */
  private write(): void {
    try {
      const kept: Kept = { place: this.place, processes: [...this.known.values()] };
      writeFileSync(`${this.path}.new`, seal({ version: VERSION, ...kept }));
      renameSync(`${this.path}.new`, this.path);
    } catch {
      // The disk may be full.
    }
  }

  /**
   * Those whose start is known, as a number alone may be another process's by now. What is killed is somebody else's if this
   * file holds nonsense, so nothing is taken for a process that is not one in every part.
   */
  private read(): Identity[] {
    try {
      const { place, processes } = unseal(readFileSync(this.path), BEFORE_CHECKSUMS) as Kept;
      if (place !== this.place || !Array.isArray(processes)) return [];
      return processes.filter(isIdentity).filter(({ started }) => started !== "");
    } catch {
      return [];
    }
  }
}

/** Names the time since the machine was started; empty where there is no such name. */
function bootOf(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}
