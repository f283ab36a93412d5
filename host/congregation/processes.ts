/** Starts the processes of a host, pins Jahs to their CPUs, and tells when they end and what they said last. */
import { type ChildProcess, execFile, fork } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../core/package-root.ts";
import type { JahBirth, ToHallelu } from "../wire/congregation.ts";

/** Bytes kept of what a process wrote to its standard error. */
const COMPLAINT_BYTES = 2048;
/** Time after which a Jah's first threads are there, which are not to be pinned, ms. */
const PIN_AFTER_MS = 500;

export interface Ended {
  code: number | null;
  signal: string | null;
  complaint: string;
}

/** Processes of a host never open a TLS connection at their start; reading extra certificates costs each 40 ms. */
function environment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  delete env.NODE_EXTRA_CA_CERTS;
  return env;
}

function watch(child: ChildProcess, onEnd: (ended: Ended) => void): void {
  let complaint = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-COMPLAINT_BYTES);
  });
  let over = false;
  const end = (code: number | null, signal: string | null) => {
    if (over) return;
    over = true;
    onEnd({ code, signal, complaint: complaint.trim() });
  };
  child.on("exit", end);
  child.on("error", (error) => {
    complaint += error.message;
    if (child.pid === undefined) end(null, null);
  });
}

export function startHallelu(
  onMessage: (message: unknown) => void,
  onEnd: (ended: Ended) => void,
): ChildProcess {
  const child = fork(join(packageRoot, "dist", "hallelu", "main.js"), [], {
    execArgv: ["--max-semi-space-size=32"],
    env: environment(),
    serialization: "advanced",
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  child.on("message", onMessage);
  watch(child, onEnd);
  return child;
}

export function tell(hallelu: ChildProcess | undefined, message: ToHallelu): void {
  if (hallelu?.connected) hallelu.send(message, () => {});
}

/**
 * The C library of Linux gives memory back as soon as 128 KiB at the top of a heap are free, and each page that it then takes again
 * is a fault. Half of the faults of a state that is read back were of that, and a third of its time.
 */
const KEEP_FREED = { MALLOC_TRIM_THRESHOLD_: String(32 << 20), MALLOC_MMAP_THRESHOLD_: String(8 << 20) };

/** A process that can become a Jah: most of the time that a Jah takes to start is spent here, before it is needed. */
export function startSpare(): ChildProcess {
  return fork(join(packageRoot, "dist", "jah", "live.js"), [], {
    execArgv: ["--max-semi-space-size=16"],
    env: { ...KEEP_FREED, ...environment() },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
}

/** Makes a Jah of a spare. Its main thread is pinned to `cpu`; V8's own threads, which compile its kernel, are not. */
export function startJah(
  child: ChildProcess,
  birth: JahBirth,
  cpu: number,
  pin: boolean,
  onEnd: (ended: Ended) => void,
): void {
  watch(child, onEnd);
  child.send(birth, () => {});
  if (!pin || process.platform !== "linux" || child.pid === undefined) return;
  const timer = setTimeout(() => {
    // Without the command, or without the right to it, the system places the process.
    if (child.exitCode === null) execFile("taskset", ["-cp", String(cpu), String(child.pid)], () => {});
  }, PIN_AFTER_MS);
  child.on("exit", () => clearTimeout(timer));
}
