/** The Jahs of a job: processes, what each is doing, and how to ask them something. */
import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";
import type { Failure, FromJah, JahMethods, StartMessage, ToJah } from "../wire/jah.ts";

export class Jah {
  readonly index: number;
  readonly child: ChildProcess;
  /** Frames handed to it and not yet mapped. */
  readonly frames = new Set<number>();
  /** Runs among them. */
  runs = 0;
  /** The lowest frame that it has not applied. */
  applied = 0;
  /** When it was last heard of while it had work, ms. */
  heardAt = performance.now();
  /** Where its inspector listens, once it was asked to. */
  inspector: string | undefined;
  private readonly calls = new Map<number, (value: unknown) => void>();
  private nextCall = 0;

  constructor(index: number, child: ChildProcess) {
    this.index = index;
    this.child = child;
  }

  send(message: ToJah): void {
    if (this.child.connected) this.child.send(message, () => {});
  }

  /** Asks for something when all frames are applied. */
  call<M extends keyof JahMethods>(
    method: M,
    argument: JahMethods[M]["argument"],
  ): Promise<JahMethods[M]["answer"]> {
    const id = this.nextCall++;
    this.send({ type: "call", id, method, argument });
    return new Promise((done) => {
      this.calls.set(id, done as (value: unknown) => void);
    });
  }

  answer(id: number, value: unknown): void {
    this.calls.get(id)?.(value);
    this.calls.delete(id);
  }
}

export interface JahEvents {
  message: (jah: Jah, message: FromJah) => void;
  failure: (error: Failure | HallelujahError, jah: Jah) => void;
}

export class Jahs {
  readonly all: Jah[] = [];
  private readonly ports: number[] = [];
  private stopped = false;

  /** Starts `count` processes; they load while the inputs are looked at. */
  constructor(count: number, shareOutput: boolean, events: JahEvents) {
    // Jahs never open a TLS connection, and reading extra certificates costs each process 40 ms at its start.
    const env = { ...process.env };
    delete env.NODE_EXTRA_CA_CERTS;
    for (let index = 0; index < count; index++) {
      const child = fork(join(packageRoot, "dist", "jah", "main.js"), [], {
        execArgv: ["--max-semi-space-size=16", "--inspect-port=0"],
        env,
        serialization: "advanced",
        stdio: ["ignore", shareOutput ? "inherit" : "ignore", "pipe", "ipc"],
      });
      const jah = new Jah(index, child);
      let complaints = "";
      child.stderr!.on("data", (chunk: Buffer) => {
        const text = chunk.toString();
        jah.inspector ??= /ws:\/\/\S+/.exec(text)?.[0];
        complaints = (complaints + text).slice(-2000);
      });
      child.on("message", (message) => events.message(jah, message as FromJah));
      child.on("exit", (code, signal) => {
        if (!this.stopped) events.failure(lost(code, signal, complaints), jah);
      });
      child.on("error", (cause) => {
        if (!this.stopped)
          events.failure(
            new HallelujahError("jah-lost", `a Jah cannot be started: ${cause.message}`, { cause }),
            jah,
          );
      });
      this.all.push(jah);
    }
  }

  start(message: Omit<StartMessage, "type" | "jah" | "jahs" | "secret">): void {
    const secret = randomBytes(32);
    for (const jah of this.all) {
      jah.send({ ...message, type: "start", jah: jah.index, jahs: this.all.length, secret });
    }
  }

  /** A Jah listens for the others; when all do, they connect. */
  listens(jah: Jah, port: number): void {
    this.ports[jah.index] = port;
    if (Object.keys(this.ports).length < this.all.length) return;
    for (const each of this.all) each.send({ type: "connect", ports: this.ports });
  }

  /** Ends all processes at once. Safe to call twice. */
  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    for (const { child } of this.all) child.kill("SIGKILL");
  }
}

function lost(code: number | null, signal: NodeJS.Signals | null, complaints: string): HallelujahError {
  const how = signal ? `by ${signal}` : `with code ${code}`;
  const memory =
    signal === "SIGKILL" ? "; if the machine ran out of memory, use fewer --jahs or a smaller --memory" : "";
  const said = complaints.trim() ? `\n${complaints.trim()}` : "";
  return new HallelujahError("jah-lost", `a Jah ended ${how} in the middle of its work${memory}${said}`);
}
