/** A host of its own for a figure, and a push client in this process. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Hallelujah } from "../host/client/live.ts";

export interface TestHost {
  client: Hallelujah;
  port: number;
  child: ChildProcess;
  readyMs: number;
  /** Its data folder. */
  data: string;
  stop(): Promise<void>;
}

export async function startHost(
  cli: string,
  { env = {} }: { env?: Record<string, string> } = {},
): Promise<TestHost> {
  const data = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
  const startedAt = performance.now();
  const child = spawn(process.execPath, [cli, "up", "--listen", "127.0.0.1:0", "--data", data], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const ended = new Promise<string>((done) =>
    child.once("exit", (code, signal) => done(`${signal ?? code}`)),
  );
  const url = await new Promise<string>((done) => {
    child.stdout.on("data", (chunk: Buffer) => {
      const found = /is up at (\S+)/.exec(chunk.toString());
      if (found) done(found[1]);
    });
  });
  const readyMs = performance.now() - startedAt;
  return {
    client: connect({ url }),
    port: Number(new URL(url).port),
    child,
    readyMs,
    data,
    async stop() {
      child.kill("SIGTERM");
      const how = await ended;
      if (how !== "0") throw new Error(`the host ended with ${how}`);
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Of the push client. */
export const CONNECTIONS = 64;
export const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });

/** Posts a body; its status. */
export function post(port: number, stream: string, body: Buffer): Promise<number> {
  return new Promise((done, fail) => {
    const headers = { "content-type": "application/x-ndjson", "content-length": body.length };
    const sent = request(
      { agent, host: "127.0.0.1", port, path: `/v1/streams/${stream}/records`, method: "POST", headers },
      (response) => {
        response.resume();
        response.on("end", () => done(response.statusCode!));
      },
    );
    sent.on("error", fail);
    sent.end(body);
  });
}

/** About 1 MiB of readings of 413 stations. */
export function largeBody(): { body: Buffer; records: number } {
  let text = "";
  let records = 0;
  for (; text.length < (1 << 20) - 100; records++) {
    const temperature = ((records * 31) % 600) / 10 - 20;
    text += `{"station":"station-${(records * 7919) % 413}","temperature":${temperature}}\n`;
  }
  return { body: Buffer.from(text), records };
}

export async function drained(client: Hallelujah, stream: string): Promise<void> {
  for (;;) {
    const { frame, frames, backlog, state } = await client.stream(stream);
    if (frame === frames && !backlog.bytes && state === "running") return;
    await sleep(5);
  }
}

/** CPU time of all threads of a process, ms; proc_pid_stat(5) counts in steps of 10 ms, and misses short ones. */
export function cpuMs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const ns = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]),
  );
  return ns.reduce((sum, each) => sum + each, 0) / 1e6;
}

/** Resident size of a process, MB of 2^20 bytes. */
export function residentMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
}
