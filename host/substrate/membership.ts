/**
 * The hosts of a cluster. Each has an entry `hosts/NAME` in the registry, which says what it is and changes only when it comes, goes or is
 * lost; a beat in a bucket of its own, and a subject at which it answers (liveness.ts). An entry has an epoch, which grows with each process
 * that takes the name: what an earlier one does is refused.
 */
import { Kvm, type KV, type KvEntry } from "@nats-io/kv";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { machineMs } from "../core/machine-clock.ts";
import { within } from "../core/promises.ts";
import { type Cluster, jetStreamCode, WRONG_LAST_SEQUENCE } from "./cluster.ts";
import { Link } from "./link.ts";
import { Lease, type Loss, observedBy, Observer, type Times, timesOf } from "./liveness.ts";
import type { Registry } from "../store/registry.ts";
import { Presence } from "./presence.ts";
import { encodeKey } from "./registry.ts";

export const HOSTS_PREFIX = "hosts/";
/** How the entries are written; a cluster serves one format. */
const FORMAT = 1;
/** Time after which a host is lost, ms: if the first one says no other, and at least. */
const LOST_MS = 2_000;
export const LOST_MS_MIN = 500;

/** A host, as its entry says. */
export interface HostEntry {
  name: string;
  /** Where it serves its API. */
  url: string;
  cpus: number;
  memoryBytes: number;
  /** Of Hallelujah. */
  version: string;
  /** Of its data folder: a host that starts again is the same. */
  folder: string;
  /** Of the process that has the name; its beats say the same. */
  process: string;
  epoch: number;
  /** Whether it is there, has not been heard of for too long, or said that it goes. */
  state: "up" | "lost" | "left";
}

export type HostFacts = Omit<HostEntry, "process" | "epoch" | "state">;

export interface MembershipParts {
  cluster: Cluster;
  registry: Registry;
  /** The bucket of the beats; subjects at which hosts answer begin with its name too. */
  bucket: string;
  /** Time after which a host is lost that is not heard of, ms: the first host's word holds for all. */
  lostMs?: number;
  /** Nobody can have taken this process for lost before `until`, by the machine's clock, ms. */
  onHeld?: (until: number) => void;
  /** This process has lost its name to another, or its entry is gone: it must end. */
  onOutdated: (why: string) => void;
  note: (level: "info" | "warn", message: string) => void;
}

export class Membership {
  private readonly parts: MembershipParts;
  private readonly beats: KV;
  private readonly times: Times;
  private readonly lease: Lease;
  private readonly observer: Observer;
  private readonly presence: Presence;
  private readonly unwatch: () => void;
  private me: HostEntry;
  private revision: number;
  private beat: number;
  private timer: NodeJS.Timeout | undefined;
  private turn: Promise<void> = Promise.resolve();
  private observing: Promise<void> | undefined;
  private isOver = false;
  private wasHeld = true;

  private constructor(
    parts: MembershipParts,
    times: Times,
    beats: KV,
    me: HostEntry,
    revision: number,
    beat: number,
  ) {
    this.parts = parts;
    this.times = times;
    this.beats = beats;
    this.me = me;
    this.revision = revision;
    this.beat = beat;
    this.lease = new Lease(times);
    this.observer = new Observer(times);
    const { connection } = parts.cluster;
    this.presence = new Presence(connection, parts.bucket, me.process);
    // Who is not connected may be taken for gone before its lease is over.
    const link = Link.of(connection);
    this.unwatch = link.watch(() => {
      if (!link.isUp) parts.onHeld?.(machineMs());
    });
  }

  /**
   * Takes a name in the cluster. One whose host does not beat any more is taken over at once by a host of the same data folder, else when that
   * has been watched for as long as it takes to be lost. Rejects with `host-name-taken`, `cluster-format` or what the registry rejects with.
   */
  static async join(parts: MembershipParts, facts: HostFacts): Promise<Membership> {
    const { cluster, registry, bucket, lostMs = LOST_MS, note } = parts;
    const settings = await settingsOf(registry, lostMs);
    if (parts.lostMs !== undefined && settings.lostMs !== lostMs)
      note("warn", `hosts of this cluster are lost after ${settings.lostMs / 1000} s, as its first one said`);
    const times = timesOf(settings.lostMs);
    const beats = await new Kvm(cluster.connection).create(bucket, {
      history: 1,
      replicas: cluster.replicas,
    });
    const key = HOSTS_PREFIX + facts.name;
    const there = entryOf(registry, key);
    const at = encodeKey(facts.name);
    if (there && there.value.folder !== facts.folder && there.value.state === "up") {
      const before = (await beats.get(at))?.revision;
      await new Promise((done) => setTimeout(done, times.lostMs));
      if ((await beats.get(at))?.revision !== before)
        throw new HallelujahError(
          "host-name-taken",
          `the cluster has a host ${facts.name} already, at ${there.value.url}; give this one another name (--name)`,
        );
    }
    const epoch = (there?.value.epoch ?? 0) + 1;
    const me: HostEntry = { ...facts, process: crypto.randomUUID(), epoch, state: "up" };
    const revision = await registry.put(key, me, there?.revision ?? 0);
    const sentAt = performance.now();
    const beat = await beats.put(at, me.process);
    const membership = new Membership(parts, times, beats, me, revision, beat);
    membership.renewed(sentAt);
    membership.goOn();
    return membership;
  }

  get epoch(): number {
    return this.me.epoch;
  }

  /** Whether no other host can have taken this one for lost. */
  get isHeld(): boolean {
    return !this.isOver && this.lease.isHeld(performance.now());
  }

  /** The hosts that are there or lost, by name. */
  get hosts(): HostEntry[] {
    return hostsIn(this.parts.registry);
  }

  /** Gives the name back; its epoch is remembered. */
  async leave(): Promise<void> {
    if (this.isOver) return;
    this.end();
    await this.turn;
    await this.observing;
    await this.parts.registry.put(HOSTS_PREFIX + this.me.name, { ...this.me, state: "left" }, this.revision);
  }

  /** Beats no more, as a process that has ended. */
  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.presence.close();
    this.unwatch();
    clearTimeout(this.timer);
  }

  private goOn(): void {
    this.timer = setTimeout(() => {
      this.turn = this.step()
        .then(
          () => this.tell(),
          (error: unknown) => this.tell(messageOf(error)),
        )
        .finally(() => {
          if (!this.isOver) this.goOn();
        });
    }, this.times.beatMs);
  }

  /** Notes when the lease is lost, and when it is there again: `why` it could not be renewed. */
  private tell(why = "its beats come too late"): void {
    const { isHeld, wasHeld } = this;
    if (this.isOver || isHeld === wasHeld) return;
    this.wasHeld = isHeld;
    if (isHeld) this.parts.note("info", "this host is in the cluster again");
    else
      this.parts.note("warn", `this host cannot reach the cluster, and others may take it for lost: ${why}`);
  }

  private async step(): Promise<void> {
    await this.sendBeat();
    if (this.isOver) return;
    // An answer that was lost with a connection is waited for longer than it takes to be lost, and must keep no beat back.
    this.observing ??= this.observe()
      .catch((error: unknown) => this.tell(messageOf(error)))
      .finally(() => {
        this.observing = undefined;
      });
  }

  /** A beat that was sent at `sentAt` is written. */
  private renewed(sentAt: number): void {
    this.lease.renewed(sentAt);
    this.parts.onHeld?.(machineMs() - (performance.now() - sentAt) + this.times.holdMs);
  }

  private async sendBeat(): Promise<void> {
    const sentAt = performance.now();
    const at = encodeKey(this.me.name);
    try {
      this.beat = await this.beats.update(at, this.me.process, this.beat, this.times.beatMs);
      this.renewed(sentAt);
    } catch (error) {
      if (jetStreamCode(error) !== WRONG_LAST_SEQUENCE) throw error;
      const found = await this.read(at);
      // The answer to one of its own was lost; it counts from the next one on.
      if (found?.operation === "PUT" && found.string() === this.me.process) this.beat = found.revision;
      else this.outdated(found?.operation === "PUT" ? "another process has its name" : "its beat is gone");
    }
  }

  private outdated(why: string): void {
    if (this.isOver) return;
    this.end();
    this.parts.onOutdated(why);
  }

  /** Reads the beats of those that this host observes, asks them whether they are there, and says who is lost. */
  private async observe(): Promise<void> {
    const { registry, note } = this.parts;
    const { name } = this.me;
    const own = entryOf(registry, HOSTS_PREFIX + name);
    if (own && own.value.process !== this.me.process) return this.outdated("another process has its name");
    if (own?.value.state === "lost") await this.comeBack(own);
    // Who cannot write beats may read old ones: the others may be in the same case.
    if (!this.isHeld) return this.observer.away();
    const up = this.hosts.filter(({ state }) => state === "up").map((host) => host.name);
    // As they are before the beats are read: a process that takes the name meanwhile has another entry, and beats of its own.
    const members = new Map(
      observedBy(name, up).flatMap((member) => {
        const entry = entryOf(registry, HOSTS_PREFIX + member);
        return entry ? [[member, entry]] : [];
      }),
    );
    const processes = new Map([...members].map(([member, { value }]) => [member, value.process]));
    const askedAt = performance.now();
    const [beats, asked] = await Promise.all([
      this.beatsOf(members.keys()),
      this.presence.ask(processes, this.times.beatMs / 2),
    ]);
    for (const { member, why } of this.observer.read(beats, performance.now(), { asked, askedAt })) {
      const { value, revision } = members.get(member)!;
      // Another may say so at the same time, or another process have taken the name.
      await registry.put(HOSTS_PREFIX + member, { ...value, state: "lost" }, revision).then(
        () => note("warn", `host ${member} is lost: ${this.reasonOf(why)}`),
        (error: HallelujahError) => {
          if (error.code !== "revision-conflict") throw error;
        },
      );
    }
  }

  private async beatsOf(members: Iterable<string>): Promise<Map<string, number>> {
    const all = [...members].map(async (member): Promise<[string, number]> => {
      const found = await this.read(encodeKey(member));
      return [member, found?.operation === "PUT" ? found.revision : 0];
    });
    return new Map(await Promise.all(all));
  }

  /** An answer that was lost with a connection is not waited for. */
  private async read(at: string): Promise<KvEntry | null> {
    const found = await within(this.beats.get(at), this.times.beatMs);
    if (found === undefined) throw new Error("no answer came in time");
    return found;
  }

  private reasonOf(why: Loss["why"]): string {
    if (why === "gone") return "its connection has ended, and it did not come back";
    return `it was not heard of for ${this.times.lostMs / 1000} s`;
  }

  /** Others took it for lost, and what it had may be theirs: it is there again, as of a new epoch. */
  private async comeBack({ value, revision }: { value: HostEntry; revision: number }): Promise<void> {
    const back: HostEntry = { ...value, epoch: value.epoch + 1, state: "up" };
    this.revision = await this.parts.registry.put(HOSTS_PREFIX + back.name, back, revision);
    this.me = back;
    this.parts.note("warn", "others took this host for lost; it is in the cluster again");
  }
}

/** The hosts that are there or lost, by name. */
export function hostsIn(registry: Registry): HostEntry[] {
  const all = registry.list(HOSTS_PREFIX).flatMap((key) => entryOf(registry, key)?.value ?? []);
  return all.filter(({ state }) => state !== "left");
}

/** The entry of a host; undefined if there is none, or what is there was edited by hand and is none any more. */
function entryOf(registry: Registry, key: string): { value: HostEntry; revision: number } | undefined {
  try {
    const found = registry.get(key);
    return found && isHost(found.value) ? { value: found.value, revision: found.revision } : undefined;
  } catch {
    return undefined;
  }
}

function isHost(value: unknown): value is HostEntry {
  if (typeof value !== "object" || value === null) return false;
  const { name, url, version, folder, process, epoch, state, cpus, memoryBytes } = value as Record<
    string,
    unknown
  >;
  const areTexts = [name, url, version, folder, process].every((each) => typeof each === "string");
  const areCounts = [epoch, cpus, memoryBytes].every((each) => Number.isSafeInteger(each));
  return areTexts && areCounts && ["up", "lost", "left"].includes(state as string);
}

interface Settings {
  format: number;
  lostMs: number;
}

/** What all hosts of the cluster go by; the first one says it. Rejects with `cluster-format`. */
async function settingsOf(registry: Registry, lostMs: number): Promise<Settings> {
  const there = registry.get("cluster")?.value as Partial<Settings> | undefined;
  if (!there) {
    await registry.put("cluster", { format: FORMAT, lostMs }, 0).catch((error: HallelujahError) => {
      if (error.code !== "revision-conflict") throw error;
    });
    return settingsOf(registry, lostMs);
  }
  if (there.format === FORMAT && !(Number.isSafeInteger(there.lostMs) && there.lostMs! >= LOST_MS_MIN))
    throw new HallelujahError(
      "cluster-format",
      `the entry cluster of the registry was changed by something else: lostMs is ${JSON.stringify(there.lostMs)}, and has to be ${LOST_MS_MIN} or more; put back what was there`,
    );
  if (there.format !== FORMAT)
    throw new HallelujahError(
      "cluster-format",
      `the cluster is of format ${String(there.format)}, this Hallelujah of format ${FORMAT}: all hosts of a cluster need versions of one format`,
    );
  return there as Settings;
}
