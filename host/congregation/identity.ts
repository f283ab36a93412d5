/** A process for good: its number, which another one may have later, and when it started. */
import { readFileSync } from "node:fs";

export interface Identity {
  pid: number;
  /** In clock ticks since boot; empty where that cannot be had. */
  started: string;
}

/** No system gives a process a number as high as this. */
const PIDS = 2 ** 31;

/** Whether a value, of JSON, names a process; the number 0 is nobody. */
export function isIdentity(value: unknown): value is Identity {
  const { pid, started } = (value ?? {}) as Record<string, unknown>;
  const isNumber = Number.isInteger(pid) && (pid as number) >= 0 && (pid as number) < PIDS;
  return isNumber && typeof started === "string" && /^\d*$/.test(started);
}

export function identityOf(pid: number): Identity {
  return { pid, started: statOf(pid)?.started ?? "" };
}

/** Whether the process is there, and the same. One that has ended and was not waited for is not. */
export function isAlive({ pid, started }: Identity): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Somebody else's process may not be signalled, but is there.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const now = statOf(pid);
  return !now || (now.state !== "Z" && (!started || now.started === started));
}

/** What /proc has of a process; undefined where there is none. */
function statOf(pid: number): { state: string; started: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0], started: fields[19] };
  } catch {
    return undefined;
  }
}
