/** A host for tests: a real `up` in a folder of its own, at a port of its own, ended by its process id. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../host/core/package-root.ts";
import { connect, type Hallelujah, type StreamInfo } from "../../host/client/live.ts";

export interface TestHost {
  client: Hallelujah;
  url: string;
  data: string;
  process: ChildProcess;
  /** The host's log, for a message when something fails. */
  log(): string;
  /** Ends it as a user would; its exit code. */
  stop(): Promise<number | null>;
}

export interface TestHostOptions {
  cpus?: number;
  data?: string;
  env?: Record<string, string>;
  args?: string[];
  /** Its working folder, if not this one. */
  cwd?: string;
  /** How many files each of its processes may have open. */
  openFiles?: number;
  /** The command that runs it, such as `ip netns exec NAME`. */
  prefix?: string[];
  /** Its data folder is a disk of its own with so many MiB. */
  diskMiB?: number;
}

/** Whether a file system can be mounted here. */
export function canMount(): boolean {
  return spawnSync("unshare", ["-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]).status === 0;
}

const UP = /is up at (\S+)/;

/** Starts a host; resolves when it serves. */
export async function startHost({
  cpus = 4,
  data,
  env = {},
  args = [],
  cwd,
  openFiles,
  diskMiB,
  prefix = [],
}: TestHostOptions = {}): Promise<TestHost> {
  const folder = data ?? mkdtempSync(join(tmpdir(), "hallelujah-host-"));
  const up = [
    join(packageRoot, "dist", "cli", "main.js"),
    "up",
    "--listen",
    "127.0.0.1:0",
    "--data",
    folder,
    "--cpus",
    `${cpus}`,
  ];
  const limit = openFiles === undefined ? "" : `ulimit -n ${openFiles}; `;
  const mount = diskMiB === undefined ? "" : `mount -t tmpfs -o size=${diskMiB}m none "${folder}" && `;
  const shell = mount ? ["unshare", "-Urm", "sh"] : ["sh"];
  const command = [
    ...prefix,
    ...shell,
    "-c",
    `${limit}${mount}exec "$0" "$@"`,
    process.execPath,
    ...up,
    ...args,
  ];
  const child = spawn(command[0], command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
    cwd,
  });
  let said = "";
  child.stderr.on("data", (chunk) => (said += chunk));
  const ended = new Promise<number | null>((done) => child.once("exit", (code) => done(code)));
  const url = await new Promise<string>((done, fail) => {
    child.stdout.on("data", (chunk) => {
      said += chunk;
      const found = UP.exec(said);
      if (found) done(found[1]);
    });
    void ended.then((code) => fail(new Error(`the host ended with ${code}: ${said}`)));
  });
  // Nobody else sees what is mounted there.
  const seen = mount ? join("/proc", `${child.pid}`, "root", folder) : folder;
  const log = () => readFileSync(join(seen, "logs", "host.ndjson"), "utf8");
  return {
    client: connect({ url }),
    url,
    data: seen,
    process: child,
    log,
    async stop() {
      child.kill("SIGTERM");
      const code = await ended;
      if (data === undefined) rmSync(folder, { recursive: true, force: true });
      return code;
    },
  };
}

/** Waits until a stream's state fulfils a condition; fails with what it was last. */
export async function until(
  client: Hallelujah,
  name: string,
  condition: (stream: StreamInfo) => boolean,
  patienceMs = 30_000,
): Promise<StreamInfo> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const stream = await client.stream(name);
    if (condition(stream)) return stream;
    if (Date.now() > deadline) throw new Error(`it did not come to that: ${JSON.stringify(stream)}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Whether all that was logged is applied. */
export const drained = (stream: StreamInfo): boolean =>
  stream.frame === stream.frames && stream.backlog.bytes === 0;
