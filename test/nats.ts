/** A nats-server of a test's own, with JetStream in a folder that is removed with the process. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { scratch } from "./run.ts";

/** Whether there is one on this machine: Debian's package has it. */
export const hasNatsServer = spawnSync("nats-server", ["--version"]).status === 0;

const START_MS = 10_000;

export interface NatsServer {
  url: string;
  port: number;
  pid: number;
  /** Ends it, as a crash does. */
  kill(): Promise<void>;
}

/** Starts one; at the port and over the folder of another that has ended, if those are given. */
export async function startNats({
  port = -1,
  folder = mkdtempSync(join(scratch(), "nats-")),
  args = [] as string[],
} = {}): Promise<NatsServer & { folder: string }> {
  const ports = mkdtempSync(join(scratch(), "ports-"));
  const child = spawn(
    "nats-server",
    ["-js", "-sd", folder, "-a", "127.0.0.1", "-p", String(port), "--ports_file_dir", ports, ...args],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  process.on("exit", () => child.kill("SIGKILL"));
  const until = performance.now() + START_MS;
  while (performance.now() < until && child.exitCode === null) {
    const [file] = readdirSync(ports);
    const url = file && urlIn(join(ports, file));
    if (url)
      return { url, port: Number(new URL(url).port), pid: child.pid!, folder, kill: () => ended(child) };
    await sleep(20);
  }
  throw new Error(`nats-server does not start: ${said}`);
}

function urlIn(path: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(path, "utf8")) as { nats: string[] }).nats[0];
  } catch {
    return undefined; // it is being written
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((done) => child.once("exit", () => done()));
  child.kill("SIGKILL");
  await gone;
}
