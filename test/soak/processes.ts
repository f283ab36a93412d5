/** The processes of one host, found from the one that was started, and told apart for what is printed of them. */
import { readdirSync, readFileSync } from "node:fs";

export type Kind = "Congregation" | "Hallelu" | "Jah" | "spare" | "other";

export interface Process {
  pid: number;
  /** In clock ticks since boot: with the number it names a process for good. */
  started: string;
  kind: Kind;
}

interface Stat {
  state: string;
  parent: number;
  started: string;
}

/** A process and all that descend from it, parents before their children; none if it is gone. */
export function family(root: number): Process[] {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined;
    if (stat && stat.state !== "Z") stats.set(Number(name), stat);
  }
  const found: Process[] = [];
  const visit = (pid: number) => {
    const stat = stats.get(pid);
    if (!stat) return;
    found.push({ pid, started: stat.started, kind: pid === root ? "Congregation" : kindOf(pid) });
    for (const [child, { parent }] of stats) if (parent === pid) visit(child);
  };
  visit(root);
  return found;
}

export function isAlive({ pid, started }: Process): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat.state !== "Z" && stat.started === started;
}

/** Sends a signal to a process that is still the one it was; whether it was. */
export function signal(target: Process, name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): boolean {
  if (!isAlive(target)) return false;
  try {
    process.kill(target.pid, name);
    return true;
  } catch {
    return false;
  }
}

function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0], parent: Number(fields[1]), started: fields[19] };
  } catch {
    return undefined;
  }
}

function kindOf(pid: number): Kind {
  let command = "";
  try {
    command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // It has just ended.
  }
  if (/hallelujah hallelu|hallelu\/main\.js/.test(command)) return "Hallelu";
  if (/hallelujah jah/.test(command)) return "Jah";
  return /hallelujah spare|jah\/live\.js/.test(command) ? "spare" : "other";
}
