/**
 * The Congregation of a host: it holds the lock of the data folder and the ledger of CPUs, starts the Hallelu and its
 * Jahs, starts again what ends, and ends everything in order. It touches no records.
 */
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { STOP_GRACE_MS } from "../core/limits.ts";
import { within } from "../core/promises.ts";
import { type Journal, openJournal, rotateJournal } from "../store/journal.ts";
import type { ClusterHost, ClusterPlace, FromHallelu } from "../wire/congregation.ts";
import { Children } from "./children.ts";
import { Ledger, type LedgerCommand } from "./ledger.ts";
import { lockFolder } from "./lock.ts";
import { type ClusterFlags, placeOf, Seat } from "./seat.ts";
import { type Ended, startHallelu, startJah, startSpare, tell } from "./processes.ts";

/** Pauses before the Hallelu is started again, ms: doubled each time, reset when it has run for a while. */
const FIRST_PAUSE_MS = 100;
const PAUSE_MS_MAX = 10_000;
const STEADY_MS = 30_000;
/** Ends in quick succession after which there is no point in going on. */
const QUICK_ENDS_MAX = 8;
/** Time that a lock may take to come free. */
const LOCK_PATIENCE_MS = 5_000;
/** Time after a Jah's start for which the next spare is not started yet, ms: where a CPU idles, and where it would be in the way of those that work. */
const SPARE_AFTER_MS = 500;
const SPARE_BUSY_MS = 5_000;
/** Time that the Hallelu may take to find the other hosts' streams before the host is up all the same, ms. */
const JOIN_MS = 5_000;
/** Time that leaving the cluster may take, ms. */
const LEAVE_MS = 1_000;
/** What is left of the grace for killing what did not end. */
const KILL_RESERVE_MS = 500;

export interface CongregationOptions {
  listen: { host: string; port: number };
  data: string;
  cpus: number[];
  /** Whether Jahs are pinned to their CPUs. */
  pin: boolean;
  token?: string;
  /** Whether visiting kernels may come as Wasm, which is not checked: such a module can change what a stream keeps. */
  wasmVisits?: boolean;
  /** The cluster that it is to be a host of. */
  cluster?: ClusterFlags;
}

export interface Congregation {
  url: string;
  /** Ends all processes in order; resolves when they are gone. */
  stop(): Promise<void>;
  /** Rejects when the host cannot go on. */
  failed: Promise<never>;
}

/**
 * Starts a host; resolves when it serves. Rejects with `data-locked`, `port-taken` and the like, and then leaves no folder
 * behind that was not there.
 */
export async function startCongregation(options: CongregationOptions): Promise<Congregation> {
  const { data } = options;
  const isNew = !existsSync(data);
  const unlock = await lockFolder(data, LOCK_PATIENCE_MS);
  let host: Host | undefined;
  try {
    const children = new Children(data);
    await children.endLeft();
    rotateJournal(data);
    host = new Host(options, openJournal(data, "congregation"), children, unlock);
    const { failed } = host;
    const url = await host.start();
    return { url, stop: () => host!.stop(), failed };
  } catch (error) {
    if (host) await host.stop();
    else unlock();
    if (isNew) rmSync(data, { recursive: true, force: true });
    throw error;
  }
}

/** Of this machine alone. */
const LOOPBACK_URL = /^\w+:\/\/(?:[^@]*@)?(localhost|127\.[\d.]+|\[::1\])(:\d+)?\/?$/i;

/** Where other machines reach a host that listens at all of its addresses: by the name of the machine. */
function reachable(url: string): string {
  return url.replace(/^http:\/\/(0\.0\.0\.0|\[::\])(?=:)/, `http://${hostname()}`);
}

class Host {
  readonly failed: Promise<never>;
  private readonly options: CongregationOptions;
  private readonly journal: Journal;
  private readonly children: Children;
  private readonly unlock: () => void;
  private readonly ledger: Ledger;
  private readonly secret = randomBytes(32).toString("hex");
  private readonly jahs = new Map<number, ChildProcess>();
  /** A process that waits to become a Jah, kept where there are streams. */
  private spare: ChildProcess | undefined;
  private spareTimer: NodeJS.Timeout | undefined;
  /** Whether the last spare ended by itself: the next one may do so at once. */
  private spareFailed = false;
  /** When a process was last started that is a Jah or may become one, ms. */
  private lastStartAt = 0;
  private hallelu: ChildProcess | undefined;
  private seating: Promise<Seat> | undefined;
  /** The hosts of the cluster, as they were last heard of. */
  private hosts: ClusterHost[] | undefined;
  private place: ClusterPlace | undefined;
  private isSeated = false;
  private onJoined = () => {};
  private jahPort = 0;
  private pauseMs = FIRST_PAUSE_MS;
  private quickEnds = 0;
  private startedAt = 0;
  private stopping: Promise<void> | undefined;
  private fail!: (error: Error) => void;
  private onListening: ((url: string) => void) | undefined;

  constructor(options: CongregationOptions, journal: Journal, children: Children, unlock: () => void) {
    this.options = options;
    this.journal = journal;
    this.children = children;
    this.unlock = unlock;
    this.ledger = new Ledger(options.cpus);
    this.failed = new Promise((_, fail) => {
      this.fail = fail;
    });
    this.failed.catch(() => {});
  }

  async start(): Promise<string> {
    const listening = new Promise<string>((done) => {
      this.onListening = done;
    });
    const { cluster, data } = this.options;
    if (cluster) this.place = await placeOf(cluster, data);
    this.startHallelu();
    const url = await Promise.race([listening, this.failed]);
    // A Hallelu that starts again serves at the same port.
    this.options.listen.port = Number(new URL(url).port);
    if (cluster) {
      const joined = new Promise<void>((done) => {
        this.onJoined = done;
      });
      this.seating = this.join(cluster, reachable(url));
      await Promise.race([this.seating, this.failed]);
      // A cluster that has just gone away is waited for behind the scenes.
      await Promise.race([within(joined, JOIN_MS).catch(() => {}), this.failed]);
    }
    this.journal.info({ url, cpus: this.options.cpus }, "up");
    return url;
  }

  private join(flags: ClusterFlags, url: string): Promise<Seat> {
    const { cpus } = this.options;
    const isNear = flags.url.split(",").every((server) => LOOPBACK_URL.test(server.trim()));
    if (LOOPBACK_URL.test(url) && !isNear)
      this.journal.warn(
        `hosts on other machines cannot reach this one at ${url}; give it an address of its own with --listen`,
      );
    return Seat.take(flags, this.place!, {
      url,
      cpus: cpus.length,
      onHeld: (until) => tell(this.hallelu, { type: "held", until }),
      onHosts: (hosts) => {
        this.hosts = hosts;
        tell(this.hallelu, { type: "hosts", hosts });
      },
      onSeated: () => {
        this.isSeated = true;
        tell(this.hallelu, { type: "seated" });
      },
      onOutdated: (why) =>
        this.fail(
          new HallelujahError(
            "host-outdated",
            `this host is no part of the cluster any more: ${why}; start it again`,
          ),
        ),
      note: (level, message) => this.journal[level](message),
    });
  }

  private startHallelu(): void {
    this.startedAt = performance.now();
    this.hallelu = startHallelu(
      (message) => this.hear(message as FromHallelu),
      (ended) => this.halleluEnded(ended),
    );
    this.children.add(this.hallelu);
    const { listen, data, cpus, token, wasmVisits = false } = this.options;
    const secret = this.secret;
    tell(this.hallelu, {
      type: "start",
      listen,
      data,
      cpus,
      secret,
      wasmVisits,
      ...(this.place ? { cluster: this.place } : {}),
      ...(token === undefined ? {} : { token }),
    });
  }

  private halleluEnded({ code, signal, complaint }: Ended): void {
    this.hallelu = undefined;
    this.ledger.forget();
    // Its Jahs end by themselves, but must not be there when the next ones start.
    for (const child of this.jahs.values()) child.kill("SIGKILL");
    if (this.stopping) return;
    this.journal.error({ code, signal, complaint }, "the Hallelu ended");
    if (this.onListening) {
      const message = `the host could not start: ${complaint || `its Hallelu ended with code ${code}`}`;
      return this.fail(new HallelujahError("host-failed", message));
    }
    const steady = performance.now() - this.startedAt > STEADY_MS;
    this.pauseMs = steady ? FIRST_PAUSE_MS : Math.min(this.pauseMs * 2, PAUSE_MS_MAX);
    this.quickEnds = steady ? 0 : this.quickEnds + 1;
    if (this.quickEnds > QUICK_ENDS_MAX) {
      const message = `the Hallelu ended ${this.quickEnds} times in a row; the last time it said: ${complaint}`;
      return this.fail(new HallelujahError("host-failed", message));
    }
    setTimeout(() => {
      if (!this.stopping) this.startHallelu();
    }, this.pauseMs);
  }

  private hear(message: FromHallelu): void {
    const now = performance.now();
    switch (message.type) {
      case "open":
        this.jahPort = message.jahPort;
        break;
      case "listening":
        this.onListening?.(message.url);
        this.onListening = undefined;
        if (this.hosts) tell(this.hallelu, { type: "hosts", hosts: this.hosts });
        if (this.isSeated) tell(this.hallelu, { type: "seated" });
        break;
      case "joined":
        this.onJoined();
        break;
      case "claim":
        this.carryOut(this.ledger.claim(message, now));
        break;
      case "withdraw":
        this.ledger.withdraw(message.jah);
        break;
      case "end":
        this.endJah(message.jah, message.graceMs);
        break;
      case "loads":
        this.carryOut(this.ledger.told(message.streams, now));
        if (!this.stopping) this.keepSpare(message.streams.length > 0);
        break;
      case "failed":
        this.fail(new HallelujahError(message.code, message.message));
        break;
      case "stopped":
        break;
    }
  }

  private carryOut(commands: LedgerCommand[]): void {
    for (const command of commands) {
      if (command.type === "refuse") tell(this.hallelu, { type: "refused", jah: command.jah });
      else if (command.type === "reclaim") tell(this.hallelu, { type: "reclaim", jah: command.jah });
      else this.startJah(command.jah, command.cpu);
    }
  }

  private startJah(jah: number, cpu: number): void {
    const birth = { jah, port: this.jahPort, secret: this.secret };
    const child = this.takeSpare() ?? this.startSpare();
    clearTimeout(this.spareTimer);
    this.lastStartAt = performance.now();
    this.spareFailed = false;
    startJah(child, birth, cpu, this.options.pin, (ended) => this.jahEnded(jah, ended));
    this.jahs.set(jah, child);
    tell(this.hallelu, { type: "granted", jah, cpu, pid: child.pid ?? 0 });
  }

  /** Keeps one spare, or none. */
  private keepSpare(wanted: boolean): void {
    clearTimeout(this.spareTimer);
    if (!wanted) return void this.takeSpare()?.kill("SIGKILL");
    if (this.spare) return;
    const afterMs = this.ledger.hasIdle && !this.spareFailed ? SPARE_AFTER_MS : SPARE_BUSY_MS;
    this.spareTimer = setTimeout(
      () => {
        const spare = this.startSpare();
        this.spare = spare;
        const gone = () => {
          if (this.spare !== spare) return;
          this.spare = undefined;
          this.spareFailed = true;
        };
        spare.on("exit", gone).on("error", gone);
      },
      Math.max(0, this.lastStartAt + afterMs - performance.now()),
    );
  }

  private startSpare(): ChildProcess {
    const spare = startSpare();
    this.lastStartAt = performance.now();
    this.children.add(spare);
    return spare;
  }

  private takeSpare(): ChildProcess | undefined {
    const { spare } = this;
    this.spare = undefined;
    return spare;
  }

  private jahEnded(jah: number, { code, signal, complaint }: Ended): void {
    this.jahs.delete(jah);
    if (code !== 0 && !this.stopping) this.journal.warn({ jah, code, signal, complaint }, "a Jah ended");
    tell(this.hallelu, { type: "exited", jah, code, signal, complaint });
    this.carryOut(this.ledger.exited(jah, performance.now()));
  }

  private endJah(jah: number, graceMs: number): void {
    const child = this.jahs.get(jah);
    if (!child) return;
    if (!graceMs) child.kill("SIGKILL");
    else setTimeout(() => child.exitCode === null && child.kill("SIGKILL"), graceMs).unref();
  }

  /** Takes the host out of its cluster, if that answers soon. */
  private async leave(): Promise<void> {
    const left = this.seating?.then((seat) => seat.leave());
    left?.catch((error: unknown) => this.journal.warn(`the cluster was not told: ${messageOf(error)}`));
    await within(left ?? Promise.resolve(), LEAVE_MS).catch(() => {});
  }

  stop(): Promise<void> {
    this.stopping ??= this.stopNow();
    return this.stopping;
  }

  private async stopNow(): Promise<void> {
    this.keepSpare(false);
    const { hallelu } = this;
    if (hallelu) {
      const ended = new Promise<void>((done) => hallelu.once("exit", () => done()));
      const graceMs = STOP_GRACE_MS - KILL_RESERVE_MS;
      tell(hallelu, { type: "stop", graceMs });
      const timer = setTimeout(() => hallelu.kill("SIGKILL"), graceMs);
      await ended;
      clearTimeout(timer);
    }
    const left = [...this.jahs.values()].map(
      (child) =>
        new Promise<void>((done) => {
          child.once("exit", () => done());
          child.kill("SIGKILL");
        }),
    );
    await Promise.all(left);
    // Others take its streams over when nothing goes on here any more.
    await this.leave();
    this.journal.info("stopped");
    this.unlock();
  }
}
