import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { root } from "./paths.ts";

/** What one whole process cost, its children included. */
export interface Usage {
  /** From spawn to exit, by the monotonic clock. */
  wallMs: number;
  /** User and system time of the process and of the children it waited for; null without GNU time. */
  cpuMs: number | null;
  /** Greatest resident size of any one of these processes; null without GNU time. */
  rssMb: number | null;
}

/**
 * GNU time reports CPU and memory of a whole tree of processes. It also stands between us and the command:
 * a process that Node starts directly inherits Node's own peak memory as its first. It costs each contender
 * the same millisecond.
 */
/**
 * Without certificates of the machine's own: reading them takes each Node process 40 ms at its start, of this project
 * and of its peers alike.
 */
const env = { ...process.env };
delete env.NODE_EXTRA_CA_CERTS;

const timeProgram = "/usr/bin/time";
export const hasGnuTime =
  spawnSync(timeProgram, ["--version"], { encoding: "utf8" }).stdout?.includes("GNU") ?? false;

/**
 * Runs a command to its end with standard output into `outFile`; standard error goes to `${outFile}.err`,
 * usage to `${outFile}.usage`. Rejects when it does not exit with 0. `onSpawn` gets the process at once, to
 * watch it.
 */
export async function measure(
  command: string[],
  outFile: string,
  onSpawn?: (child: ChildProcess) => void,
): Promise<Usage> {
  const usageFile = `${outFile}.usage`;
  const words = hasGnuTime ? [timeProgram, "-q", "-f", "%U %S %M", "-o", usageFile, ...command] : command;
  const out = openSync(outFile, "w");
  const errors = openSync(`${outFile}.err`, "w");
  try {
    const start = process.hrtime.bigint();
    const child = spawn(words[0], words.slice(1), { cwd: root, env, stdio: ["ignore", out, errors] });
    onSpawn?.(child);
    const status = await ended(child);
    const wallMs = Number(process.hrtime.bigint() - start) / 1e6;
    if (status !== "0") throw new Error(failure(command, status, `${outFile}.err`));
    return { wallMs, ...readUsage(usageFile) };
  } finally {
    closeSync(out);
    closeSync(errors);
  }
}

/** The exit code or the signal, as text. */
function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => resolve(String(code ?? signal)));
  });
}

function readUsage(usageFile: string): Pick<Usage, "cpuMs" | "rssMb"> {
  if (!hasGnuTime) return { cpuMs: null, rssMb: null };
  const [userSeconds, systemSeconds, rssKib] = readFileSync(usageFile, "utf8").trim().split(" ").map(Number);
  return { cpuMs: (userSeconds + systemSeconds) * 1000, rssMb: (rssKib * 1024) / 1e6 };
}

function failure(command: string[], status: string, errorFile: string): string {
  const lines = readFileSync(errorFile, "utf8").trimEnd().split("\n").slice(-12);
  return `exit ${status} from: ${command.join(" ")}\n    ${lines.join("\n    ")}`;
}
