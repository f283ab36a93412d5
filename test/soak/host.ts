/** A host whose processes are killed, and which is started again at the same address when it has ended. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah } from "../../host/client/live.ts";
import { startHost, type TestHost } from "../flow/host.ts";
import { family, isAlive, type Kind, type Process, signal } from "./processes.ts";

/** Time in which a host must be up, and in which processes must be gone whose Congregation was killed, ms. */
const START_MS = 60_000;
const GONE_MS = 15_000;
/** Bytes of frames after which a shard is saved: few, so that there are many checkpoints to be killed in. */
const CHECKPOINT_BYTES = 500_000;

/** How a host is started, where it is not alone on a machine. */
export interface Launch {
  /** The command that runs it, such as `ip netns exec NAME`. */
  prefix?: string[];
  args?: string[];
}

export class SoakHost {
  /** Holds its data, and the sinks of its streams. */
  readonly folder: string;
  starts = 0;
  private readonly cpus: number;
  private readonly onEnd: (error: Error) => void;
  private readonly launch: Launch;
  private host: TestHost | undefined;
  /** Whether it is to be up. */
  private wanted = false;

  /** `onEnd` hears of a host that ended by itself. */
  constructor(folder: string, cpus: number, onEnd: (error: Error) => void, launch: Launch = {}) {
    this.launch = launch;
    this.folder = folder;
    this.cpus = cpus;
    this.onEnd = onEnd;
    mkdirSync(folder, { recursive: true });
  }

  get client(): Hallelujah {
    return this.host!.client;
  }

  get url(): string {
    return this.host!.url;
  }

  get data(): string {
    return join(this.folder, "data");
  }

  async start(): Promise<void> {
    const { prefix = [], args: given = [] } = this.launch;
    const args = [...(this.host ? ["--listen", new URL(this.host.url).host] : []), ...given];
    const late = sleep(START_MS, undefined, { ref: false }).then(() => {
      throw new Error(`the host was not up within ${START_MS / 1000} s`);
    });
    late.catch(() => {});
    // Sinks are named from its working folder, so that a copy of the folder has sinks of its own.
    const env = { HALLELUJAH_CHECKPOINT_BYTES: String(CHECKPOINT_BYTES) };
    const started = startHost({ cpus: this.cpus, data: this.data, cwd: this.folder, args, env, prefix });
    const host = await Promise.race([started, late]);
    this.host = host;
    this.wanted = true;
    this.starts++;
    host.process.once("exit", (code, name) => {
      if (this.wanted && this.host === host)
        this.onEnd(new Error(`the host ended by itself (${name ?? `code ${code}`})`));
    });
  }

  /** Its processes of some kind, or all of them. */
  processes(kind?: Kind): Process[] {
    const all = family(this.host!.process.pid!);
    return kind ? all.filter((each) => each.kind === kind) : all;
  }

  /** Kills these processes; starts the host again if its Congregation is one of them. Whether all were still there. */
  async kill(targets: Process[]): Promise<boolean> {
    const root = targets.some(({ kind }) => kind === "Congregation");
    const all = root ? this.processes() : [];
    if (root) this.wanted = false;
    const done = targets.map((target) => signal(target, "SIGKILL")).every((was) => was);
    if (!root) return done;
    // At once, as a supervisor would: those that are left may not be gone yet.
    const gone = this.gone(all);
    await this.start();
    await gone;
    return done;
  }

  /** Kills all of its processes; resolves when they are gone. */
  async crash(): Promise<void> {
    const all = this.processes();
    this.end();
    await this.gone(all);
  }

  private async gone(processes: Process[]): Promise<void> {
    const deadline = performance.now() + GONE_MS;
    while (processes.some(isAlive)) {
      if (performance.now() > deadline) {
        const left = processes.filter(isAlive).map(({ kind, pid }) => `${kind} ${pid}`);
        throw new Error(`their Congregation was killed, and they are still there: ${left.join(", ")}`);
      }
      await sleep(50);
    }
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    this.wanted = false;
    const all = this.processes();
    const code = await this.host!.stop();
    if (code !== 0) throw new Error(`the host was asked to end, and ended with ${code}`);
    await this.gone(all);
  }

  /** Does something while none of its processes gets on. */
  async frozen<T>(work: () => Promise<T>): Promise<T> {
    const goOn = this.freeze();
    try {
      return await work();
    } finally {
      goOn();
    }
  }

  /** Stops all of its processes; what it answers has them go on. */
  freeze(): () => void {
    const stopped: Process[] = [];
    const stop = (processes: Process[]) => {
      for (const each of processes) if (signal(each, "SIGSTOP")) stopped.push(each);
    };
    // From the Congregation on, so that none is started behind the back of this.
    for (const kind of ["Congregation", "Hallelu"] as const) stop(this.processes(kind));
    const known = new Set(stopped.map(({ pid }) => pid));
    stop(this.processes().filter(({ pid }) => !known.has(pid)));
    return () => {
      for (const each of stopped.toReversed()) signal(each, "SIGCONT");
    };
  }

  /** Kills whatever is left of it. */
  end(): void {
    this.wanted = false;
    if (this.host) for (const each of this.processes()) signal(each, "SIGKILL");
  }
}
