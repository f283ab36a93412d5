/**
 * Processes of hosts, the servers, and the ways between them, on virtual time. A message takes a while; when its host is cut off it is lost, or held up until
 * that is over, as TCP does. A process that is stopped (SIGSTOP) hears of nothing until it goes on. The clock of each host has a speed of its own.
 *
 * What happens in a process is begun by `Process.run`, and all promises that it settles are settled before anything else happens: so `performance.now` and
 * `setTimeout` are those of the process that asks.
 */
import { Backoff } from "../../../host/core/backoff.ts";
import { replace } from "../broken.ts";
import { VirtualClock } from "../clock.ts";

/** Time after which a request is given up, if its sender says no other, ms. */
const REQUEST_MS = 5_000;

/** The way between a host and the servers. */
export class Link {
  /** Whether messages are lost, or wait, until the host is not cut off any more. */
  cut: "loses" | "holds" | undefined;
  /** Time that a message takes, ms: at least, and how much more it may be. */
  leastMs = 0.2;
  moreMs = 2;
  /** Time by which the host hears later of changes of the registry, ms. */
  lagMs = 0;
  private held: (() => void)[] = [];

  hold(message: () => void): void {
    this.held.push(message);
  }

  heal(): void {
    this.cut = undefined;
    for (const message of this.held.splice(0)) message();
  }
}

/** Messages of one direction of a connection, which stay in order. */
export interface Lane {
  at: number;
}

/** One life of a host's process. */
export class Process {
  readonly network: Network;
  readonly link: Link;
  speed: number;
  readonly out: Lane = { at: 0 };
  readonly in: Lane = { at: 0 };
  readonly id: number;
  requests = 0;
  heard = 0;
  /** What it is being told and has not heard yet. */
  unheard = 0;
  isDead = false;
  /** What its clock said at a time. */
  private said: { ms: number; at: number };
  private waiting: (() => void)[] | undefined;

  constructor(network: Network, link: Link, speed: number) {
    this.network = network;
    this.id = ++network.processes;
    this.link = link;
    this.speed = speed;
    this.said = { ms: network.chance() * 1e6, at: network.clock.now };
  }

  /** By its clock, ms. */
  get now(): number {
    return this.said.ms + (this.network.clock.now - this.said.at) * this.speed;
  }

  /** Its clock goes on at another speed. */
  pace(speed: number): void {
    this.said = { ms: this.now, at: this.network.clock.now };
    this.speed = speed;
  }

  get isStopped(): boolean {
    return this.waiting !== undefined;
  }

  /** Does something in this process, as soon as that goes on. */
  run(what: () => void): void {
    if (this.isDead) return;
    if (this.waiting) this.waiting.push(what);
    else this.network.as(this, what);
  }

  /** After so many ms by its clock. */
  later(ms: number, what: () => void): void {
    this.network.clock.later(ms / this.speed, () => this.run(what));
  }

  stop(): void {
    this.waiting ??= [];
  }

  goOn(): void {
    const waiting = this.waiting ?? [];
    this.waiting = undefined;
    // One after the other, as each settles its promises first.
    for (const what of waiting) this.network.clock.later(0, () => this.run(what));
  }
}

class Timer {
  isCleared = false;
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

export class Network {
  readonly clock = new VirtualClock();
  readonly chance: () => number;
  /** How many were started. */
  processes = 0;
  private current: Process | undefined;

  constructor(chance: () => number) {
    this.chance = chance;
  }

  /** Does something as in a process: by its clock. */
  as<T>(process: Process, what: () => T): T {
    this.current = process;
    return what();
  }

  /** What the servers answer to a process; rejects if it is not known whether they did it. */
  request<T>(from: Process, serve: () => T, timeoutMs = REQUEST_MS): Promise<T> {
    from.requests++;
    return new Promise((done, fail) => {
      let isOver = false;
      const end = (settle: () => void) => {
        if (!isOver) settle();
        isOver = true;
      };
      from.later(timeoutMs, () => end(() => fail(new Error("it was not answered in time"))));
      this.carry(from, from.out, () => {
        const answer = settled(serve, done, fail);
        this.carry(from, from.in, () => from.run(() => end(answer)));
      });
    });
  }

  /** Brings a message over the way of a host. */
  private carry({ link }: Process, lane: Lane, arrive: () => void): void {
    const isHeld = () => link.cut === "holds";
    if (link.cut) {
      if (isHeld()) link.hold(arrive);
      return;
    }
    lane.at = Math.max(lane.at, this.clock.now + link.leastMs + this.chance() * link.moreMs);
    this.clock.later(lane.at - this.clock.now, () => {
      if (!link.cut) arrive();
      else if (isHeld()) link.hold(arrive);
    });
  }

  /** Tells a host something, in order and certainly, sooner or later. */
  tell(to: Process, lane: Lane, hear: () => void): void {
    const { link } = to;
    const arrive = () => {
      if (link.cut) return link.hold(arrive);
      to.heard++;
      to.run(() => {
        to.unheard--;
        hear();
      });
    };
    to.unheard++;
    lane.at = Math.max(lane.at, this.clock.now + link.leastMs + this.chance() * link.moreMs + link.lagMs);
    this.clock.later(lane.at - this.clock.now, arrive);
  }

  /** Takes the place of the clocks and of chance; answers what puts them back. */
  rule(): () => void {
    const release = this.clock.rule();
    const { random } = Math;
    Math.random = this.chance;
    performance.now = () => this.current?.now ?? this.clock.now;
    globalThis.setTimeout = ((what: () => void, ms = 0) => {
      const timer = new Timer();
      this.current!.later(ms, () => timer.isCleared || what());
      return timer;
    }) as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((timer?: Timer) => {
      if (timer) timer.isCleared = true;
    }) as unknown as typeof clearTimeout;
    const restoreBackoff = replace(
      Backoff,
      "pause",
      () =>
        // Without the timers of Node that cannot be replaced.
        function (this: { nextMs: number; mostMs: number }): Promise<void> {
          const ms = this.nextMs * (0.5 + Math.random() / 2);
          this.nextMs = Math.min(this.nextMs * 2, this.mostMs);
          return new Promise((done) => setTimeout(done, ms));
        },
    );
    return () => {
      restoreBackoff();
      Math.random = random;
      release();
    };
  }
}

function settled<T>(serve: () => T, done: (value: T) => void, fail: (error: unknown) => void): () => void {
  try {
    const value = serve();
    return () => done(value);
  } catch (error) {
    return () => fail(error);
  }
}
