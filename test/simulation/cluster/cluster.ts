/** Many hosts of one cluster on virtual time, from a seed: what happens to them, to the ways between them and the servers, and what their clients send. */
import { type DirectoryEntry, isLed } from "../../../host/substrate/directory.ts";
import { random } from "../../run.ts";
import { Broken } from "../rules.ts";
import { Host, type HostParts } from "./host.ts";
import type { Sent } from "./led-log.ts";
import { type Link, Network } from "./network.ts";
import { canMove, ClusterRules } from "./rules.ts";
import type { ClusterScenario } from "./scenario.ts";
import { replaceBuckets, Servers } from "./servers.ts";

const LOST_MS = 2_000;
/** Pauses between what happens, ms. */
const HAPPEN_MS = 700;
/** Pauses between two records of a producer, and time after which one is sent again, ms. */
const PUSH_MS = 600;
const PUSH_PATIENCE_MS = 2_000;
const PRODUCERS = 2;
const SAVE_MS = 1_500;
/** Time within which hosts that can be at work are, with all streams, when nothing happens any more, ms. */
const SETTLE_MS = 20_000;
/** Time in which nothing moves then, ms. */
const REST_MS = 3_000;
const LOOK_MS = 500;
/** Of streams how many read files of their host, and as many have their state there alone. */
const STUCK_SHARE = { storm: 0.1, clocks: 0.1, outage: 0.1, groups: 0.02 };

export class ClusterSimulation {
  readonly story: string[] = [];
  readonly rules: ClusterRules;
  readonly network: Network;
  private readonly scenario: ClusterScenario;
  private readonly chance: () => number;
  private readonly servers = new Servers();
  private readonly hosts = new Map<string, Host>();
  private broken: unknown;
  /** Whether nothing goes wrong any more. */
  private isHealed = false;
  private isOver = false;
  /** Numbers of producers that are acknowledged, by stream. */
  private readonly sent = new Map<string, number[]>();

  constructor(scenario: ClusterScenario) {
    this.scenario = scenario;
    this.chance = random(scenario.seed);
    this.network = new Network(this.chance);
    const { network, servers, hosts } = this;
    const note = (line: string) => this.note(line);
    const fail = (error: unknown) => {
      this.broken ??= error;
    };
    this.rules = new ClusterRules({
      scenario,
      network,
      servers,
      hosts,
      fail,
      moves: (name) => this.disturb(hosts.get(name)!),
    });
    for (let i = 0; i < scenario.hosts; i++) {
      const name = `h${i}`;
      const cpus = 1 + this.pick(4);
      const opened: HostParts["opened"] = (host, stream, led) => {
        this.note(`${host.name} has ${stream} open, epoch ${led.entry.epoch}`);
        this.checked(() => this.rules.opened(stream, led));
      };
      hosts.set(name, new Host({ network, servers, name, cpus, lostMs: LOST_MS, note, opened }));
    }
  }
  /** Runs to the end; rejects with `Broken`. */
  async run(): Promise<void> {
    const { ms, kind } = this.scenario;
    const restores = [this.network.rule(), replaceBuckets()];
    try {
      for (const host of this.hosts.values()) this.begin(host);
      await this.until(() => [...this.hosts.values()].every(({ isUp }) => isUp), SETTLE_MS, "hosts join");
      this.deploy();
      const { streams } = this.scenario;
      await this.until(() => this.rules.streams.size === streams, SETTLE_MS, "streams are deployed");
      const end = this.now + ms;
      this.network.clock.every(SAVE_MS, () => this.save());
      this.every(HAPPEN_MS, () => this.now < end && (kind === "outage" ? this.cutAll() : this.happen()));
      await this.network.clock.run(() => this.fails() || this.now >= end);
      this.heal();
      const healedAt = this.now;
      await this.until(
        () => this.waitsFor(healedAt) === undefined,
        SETTLE_MS,
        () => this.waitsFor(healedAt)!,
      );
      const { moves } = this.rules.counts;
      const restedAt = this.now + REST_MS;
      await this.network.clock.run(() => this.fails() || this.now >= restedAt);
      if (this.rules.counts.moves > moves) throw new Broken("streams move though nothing happens");
      this.rules.rest();
    } finally {
      this.isOver = true;
      for (const restore of restores) restore();
    }
  }

  get now(): number {
    return this.network.clock.now;
  }

  private note(line: string): void {
    this.story.push(`${(this.now / 1000).toFixed(3)} ${line}`);
  }

  private pick(count: number): number {
    return Math.floor(this.chance() * count);
  }

  /** What breaks a rule in a process ends the run, and not that. */
  private checked(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.broken ??= error;
    }
  }

  private fails(): boolean {
    if (this.broken) throw this.broken;
    return false;
  }

  /** Until something is so; it has to be within so many ms. */
  private async until(isSo: () => boolean, ms: number, what: string | (() => string)): Promise<void> {
    const end = this.now + ms;
    let looksAt = 0;
    await this.network.clock.run(() => {
      if (this.fails() || this.now < looksAt) return false;
      looksAt = this.now + LOOK_MS;
      if (isSo()) return true;
      if (this.now < end) return false;
      throw new Broken(`within ${ms / 1000} s it is not so: ${typeof what === "string" ? what : what()}`);
    });
  }

  private every(ms: number, what: () => void): void {
    this.network.clock.later(ms * (0.2 + this.chance() * 1.6), () => {
      what();
      if (!this.isOver) this.every(ms, what);
    });
  }

  // --- what there is ---------------------------------------------------------------------------------------------

  /** Of a clock: others differ from it by less than a cluster allows, or by much more. */
  private speed(): number {
    const spread = this.scenario.kind === "clocks" ? 1.5 : 0.2;
    return 2 ** ((this.chance() * 2 - 1) * spread);
  }

  /** Streams on hosts, some of which take in others; some cannot move. */
  private deploy(): void {
    const { streams, kind } = this.scenario;
    const hosts = [...this.hosts.values()];
    const places: Host[] = [];
    for (let i = 0; i < streams; i++) {
      const from = i && this.chance() < (kind === "groups" ? 0.9 : 0.3) ? this.pick(i) : undefined;
      const host = from === undefined ? hosts[this.pick(hosts.length)] : places[from];
      places.push(host);
      const isBound = this.chance() < STUCK_SHARE[kind];
      const more = { ...(from === undefined ? {} : { from: `s${from}` }), ...(isBound ? { isBound } : {}) };
      this.create(host, `s${i}`, more as Partial<DirectoryEntry>);
    }
  }

  private create(host: Host, name: string, more: Partial<DirectoryEntry>): void {
    const { process, directory } = host;
    const isAlone = this.chance() < STUCK_SHARE[this.scenario.kind];
    process!.run(() => {
      if (isAlone) return void directory!.claim(name);
      void directory!.create(name, more).then((entry) => {
        this.rules.watch(name, entry);
        this.note(
          `${name} is deployed on ${host.name}${more.from ? `, from ${more.from}` : ""}${more.isBound ? ", bound" : ""}`,
        );
        for (let producer = 0; producer < PRODUCERS; producer++) this.push(name, { producer, sequence: 1 });
      });
    });
  }

  // --- what clients do -------------------------------------------------------------------------------------------

  /** A producer sends its next record to a host that has the stream open, whoever leads it, until it is acknowledged. */
  private push(name: string, sent: Sent): void {
    if (this.isOver) return;
    let isDone = false;
    const again = () => {
      if (!isDone) this.push(name, sent);
      isDone = true;
    };
    const acknowledge = () => {
      if (isDone) return;
      isDone = true;
      this.rules.acknowledge(name, sent);
      const all = this.sent.get(name) ?? [];
      all[sent.producer] = this.now;
      this.sent.set(name, all);
      const next = { ...sent, sequence: sent.sequence + 1 };
      this.network.clock.later(PUSH_MS * (0.2 + this.chance() * 1.6), () => this.push(name, next));
    };
    const hosts = [...this.hosts.values()].filter((host) => host.streams.has(name));
    const host = hosts[this.pick(hosts.length)];
    this.network.clock.later(host ? PUSH_PATIENCE_MS : LOOK_MS, again);
    host?.process!.run(() => {
      const stream = host.streams.get(name);
      stream?.push(sent).then(acknowledge, () => this.network.clock.later(LOOK_MS, again));
    });
  }

  private save(): void {
    for (const host of this.hosts.values())
      for (const stream of host.streams.values())
        if (this.chance() < 0.5) host.process!.run(() => void stream.save());
  }

  // --- what goes wrong -------------------------------------------------------------------------------------------

  private happen(): void {
    const hosts = [...this.hosts.values()];
    const host = hosts[this.pick(hosts.length)];
    const roll = this.chance();
    if (!host.process) {
      if (roll < 0.1) host.loseFolder();
      if (roll < 0.6) this.begin(host);
    } else if (roll < 0.2) this.kill(host);
    else if (roll < 0.45) this.stop(host);
    else if (roll < 0.65) this.cut(host);
    else if (roll < 0.75) this.slow(host);
    else if (roll < 0.87) this.lag(host);
    else if (roll < 0.92 && host.isUp) this.leave(host);
    else if (host.process.isStopped) this.goOn(host);
  }

  private begin(host: Host, speed = this.speed()): void {
    this.note(`${host.name} is started with ${host.folder}`);
    host.speed = speed;
    host.start();
  }

  private kill(host: Host): void {
    this.note(`${host.name} is killed`);
    host.kill();
  }

  private leave(host: Host): void {
    this.note(`${host.name} leaves`);
    host.leave();
  }

  /** Stops a process for a while, which may be shorter or longer than its lease. */
  private stop(host: Host): void {
    const { process } = host;
    this.note(`${host.name} is stopped`);
    process!.stop();
    this.network.clock.later(LOST_MS * this.chance() * 3, () => {
      if (host.process === process) this.goOn(host);
    });
  }

  private goOn(host: Host): void {
    this.note(`${host.name} goes on`);
    host.process!.goOn();
  }

  /** Something happens to a host right when it takes streams over, and what others had sent when they did may come at the same time. */
  private disturb(host: Host): void {
    if (this.scenario.kind !== "groups" || this.isHealed || this.chance() < 0.3) return;
    for (const { link } of this.hosts.values())
      if (link.cut === "holds") this.network.clock.later(this.chance() * 5, () => link.heal());
    // While it writes entries, or while it opens streams.
    this.network.clock.later(this.chance() * (this.chance() < 0.5 ? 5 : 50), () => {
      const roll = this.chance();
      if (!host.process || this.isHealed) return;
      if (roll < 0.1) this.kill(host);
      else if (roll < 0.3) this.stop(host);
      else this.cut(host, "holds");
    });
  }

  private cut({ name, link }: Host, cut: Link["cut"] = this.chance() < 0.5 ? "loses" : "holds"): void {
    link.cut = cut;
    this.note(`${name} is cut off, which ${link.cut} messages`);
    this.network.clock.later(LOST_MS * this.chance() * 3, () => {
      if (!link.cut) return;
      this.note(`${name} is not cut off any more`);
      link.heal();
    });
  }

  private cutAll(): void {
    if (this.chance() < 0.5) return;
    const cut = this.chance() < 0.5 ? "loses" : "holds";
    this.note(`the servers are away, which ${cut} messages`);
    for (const { link } of this.hosts.values()) link.cut = cut;
    this.network.clock.later(LOST_MS * this.chance() ** 2 * 3, () => {
      this.note("the servers are back");
      for (const { link } of this.hosts.values()) link.heal();
    });
  }

  private slow({ name, link }: Host): void {
    link.moreMs = 2_000 * this.chance();
    this.note(`messages of ${name} take up to ${link.moreMs.toFixed()} ms`);
    this.network.clock.later(LOST_MS * this.chance() * 2, () => {
      link.moreMs = 2;
    });
  }

  private lag({ name, link }: Host): void {
    link.lagMs = 5_000 * this.chance();
    this.note(`${name} hears of changes ${link.lagMs.toFixed()} ms late`);
    this.network.clock.later(LOST_MS * this.chance() * 3, () => {
      link.lagMs = 0;
    });
  }

  /** Nothing goes wrong any more. Some hosts that are not there stay away for good. */
  private heal(): void {
    this.note("nothing goes wrong any more");
    this.isHealed = true;
    const hosts = [...this.hosts.values()];
    for (const host of hosts) {
      Object.assign(host.link, { moreMs: 2, lagMs: 0 });
      if (host.link.cut) host.link.heal();
      if (host.isLeaving) host.kill();
      host.process?.pace(1);
      if (host.process?.isStopped) this.goOn(host);
      else if (!host.process && this.chance() < 0.5) this.begin(host, 1);
    }
    if (hosts.every(({ process }) => !process)) this.begin(hosts[0], 1);
  }

  /** What is not as it will be; undefined if all is. */
  private waitsFor(healedAt: number): string | undefined {
    // Who was not heard of before is taken for lost up to then.
    if (this.now < healedAt + 2 * LOST_MS) return "those are known that are not there";
    const hosts = [...this.hosts.values()];
    const there = hosts.filter(({ process }) => process);
    for (const { name, isUp, process } of there)
      if (!isUp || process!.unheard || this.rules.hosts.get(name)?.state !== "up")
        return `${name} is in the cluster, and knows what it should`;
    for (const [name, entry] of this.rules.streams) {
      const host = there.find(({ folder }) => folder === entry.folder);
      const group = this.rules.groupOf(name).map((each) => this.rules.streams.get(each)!);
      if (!isLed(entry) || (!host && !group.every(canMove))) continue;
      if (host?.streams.get(name)?.entry.epoch !== entry.epoch) return `${name} is open on ${entry.host}`;
      if (group.every(canMove) && group.some(({ folder }) => folder !== entry.folder))
        return `the group of ${name} is on one host`;
      const sent = this.sent.get(name) ?? [];
      for (let producer = 0; producer < PRODUCERS; producer++)
        if (!((sent[producer] ?? 0) > healedAt)) return `${name} takes in records`;
    }
    return undefined;
  }
}
