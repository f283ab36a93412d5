/** What tests of damaged data folders share: what is pushed, and how files are damaged. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { TableRow } from "../../host/client/rows.ts";
import type { TestHost } from "./host.ts";

export const kernel = readFileSync("examples/stations.ts", "utf8");
/** Bodies that are pushed to each stream: enough for a few checkpoints. */
export const BODIES = 12;
/** Records of a body: those of one body have keys of their own, so that each makes pages dirty. */
const RECORDS = 2000;

export const body = (i: number) =>
  Array.from(
    { length: RECORDS },
    (_, j) => `{"station":"s${i}-${j % 1000}","temperature":${(i * 7 + j) % 50}}\n`,
  ).join("");

/** Checkpoints come often, and nothing is parked. */
export const env = { HALLELUJAH_CHECKPOINT_BYTES: "100000", HALLELUJAH_PARK_AFTER_MS: "100000" };

export async function rowsOf(host: TestHost, name: string): Promise<TableRow[]> {
  return (await host.client.query<TableRow>(name, "stations")).all();
}

export const filesOf = (folder: string, ending: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .toSorted()
    .map((name) => join(folder, name));

/** Changes a bit in the middle of a file. */
export function flip(path: string, at = statSync(path).size >> 1): void {
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  byte[0] ^= 1;
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

/** Ends all processes of a host at once; resolves when they are gone. */
export async function killed(host: TestHost): Promise<void> {
  const pids = [(await host.client.host()).pid, ...(await host.client.jahs()).map(({ pid }) => pid)];
  host.process.kill("SIGKILL");
  for (const pid of pids) process.kill(pid, "SIGKILL");
  await host.stop();
  const lives = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  while (pids.some(lives)) await new Promise((done) => setTimeout(done, 10));
}
