/**
 * Who holds which shard of one stream: its Jahs, the shards that nobody holds, and what each Jah was told of routings and of
 * the others.
 */
import type { Log } from "../store/log.ts";
import type { JahKind } from "../wire/congregation.ts";
import type { LiveRouting, LiveStart, ToLiveJah } from "../wire/live.ts";
import { Dispatch, PARTITIONS } from "./dispatch.ts";
import type { Frames } from "./frames.ts";
import type { Jah, JahOwner, Jahs } from "./jahs.ts";
import type { StoredShard, StreamRecord } from "./record.ts";

/** The owner of what nobody holds, in a stream that has just been opened. */
const NOBODY = -1;

interface Range {
  from: number;
  to: number;
}

export class Shards {
  /** The stream's Jahs that were claimed and are not gone. */
  readonly jahs = new Map<number, Jah>();
  readonly dispatch: Dispatch;
  private readonly owner: JahOwner;
  private readonly all: Jahs;
  private readonly record: StreamRecord;
  /** Partitions for which no Jah is there, nor claimed: parked, or about to be recovered. */
  private vacant: Range[];
  /** Jahs that are to take up a shard from its folder, until they are ready. */
  private readonly starting = new Map<number, StoredShard>();
  /** The folders of persistent Jahs. */
  private readonly folders = new Map<number, string>();
  /** Ports of all Jahs that there have been, and which of them are gone. */
  private readonly ports = new Map<number, number>();
  private readonly gone = new Set<number>([NOBODY]);
  /** Routings that each Jah was told of. */
  private readonly told = new Map<number, Set<number>>();

  /** `owner` hears of the Jahs that are claimed among `all`. */
  constructor(record: StreamRecord, log: Log, owner: JahOwner, all: Jahs) {
    this.record = record;
    this.owner = owner;
    this.all = all;
    const start = record.frame;
    const nobody = { jah: NOBODY, from: 0, to: PARTITIONS };
    this.dispatch = new Dispatch([nobody], start, (frame) => log.place(frame).bytes);
    this.dispatch.logged(log.next);
    this.vacant = this.dispatch.lost(NOBODY);
  }

  get hasVacant(): boolean {
    return this.vacant.length > 0;
  }

  /** Whether every partition has an owner that was ready once. */
  private get areOwned(): boolean {
    return !this.hasVacant && !this.starting.size;
  }

  /** Whether every shard has a Jah that works. */
  get areReady(): boolean {
    return !this.hasVacant && this.owners.every((jah) => jah?.state === "working");
  }

  /** The Jahs of the shards, in the order of partitions. */
  get owners(): (Jah | undefined)[] {
    return this.dispatch.routing.targets.map(({ jah }) => this.jahs.get(jah));
  }

  /** The lowest frame that is not applied everywhere. */
  get lowest(): number {
    return this.areOwned ? this.dispatch.lowest : this.record.frame;
  }

  /** When the first window is over, in event time, ms; Infinity if none is open. */
  get nextClose(): number {
    if (!this.areOwned) return this.record.nextClose ?? Infinity;
    return Math.min(...this.owners.map((jah) => jah?.nextClose ?? Infinity));
  }

  send(message: ToLiveJah): void {
    for (const jah of this.jahs.values()) jah.send(message);
  }

  // --- Jahs come -------------------------------------------------------------------------------------------------

  claim(kind: JahKind, waits: boolean): Jah {
    const jah = this.all.claim(this.owner, kind, waits);
    this.jahs.set(jah.id, jah);
    // The numbers of Jahs are never used twice.
    if (kind === "persistent") this.folders.set(jah.id, `shard-${jah.id}`);
    return jah;
  }

  /** Claims a Jah for each shard on disk of which nobody holds any part. */
  claimVacant(): void {
    for (const stored of this.record.stored) {
      const { from, to, folder } = stored;
      const free = this.vacant.reduce((sum, range) => sum + overlap(range, stored), 0);
      if (free < to - from) continue;
      const jah = this.claim("persistent", true);
      this.folders.set(jah.id, folder);
      this.starting.set(jah.id, stored);
      this.vacant = this.vacant.flatMap((range) => without(range, stored));
    }
  }

  /** What a Jah starts with: transient ones with nothing, the receiver of a split with an empty folder. */
  startOf(jah: Jah): Pick<LiveStart, "store" | "shard"> {
    const store = this.folders.get(jah.id);
    const stored = this.starting.get(jah.id);
    return {
      ...(store === undefined ? undefined : { store }),
      ...(stored ? { shard: { from: stored.from, to: stored.to } } : undefined),
    };
  }

  /** A Jah is there, with all frames below `next` in its state; answers whether it took up a shard. */
  ready(jah: Jah, next: number): boolean {
    this.ports.set(jah.id, jah.port);
    this.dispatch.joined(jah.id);
    const stored = this.starting.get(jah.id);
    if (!stored) return false;
    this.starting.delete(jah.id);
    this.dispatch.recover({ jah: jah.id, from: stored.from, to: stored.to }, next);
    return true;
  }

  // --- what is on disk -------------------------------------------------------------------------------------------

  /** The folder of a Jah's state. */
  folderOf(jah: Jah): string | undefined {
    return this.folders.get(jah.id);
  }

  /** The Jah that has each folder of the registry open, if one is there. */
  get keepers(): (Jah | undefined)[] {
    return this.record.stored.map(({ folder }) =>
      [...this.jahs.values()].find((jah) => this.folders.get(jah.id) === folder),
    );
  }

  /** The entry of the registry for what a Jah keeps; undefined while nothing of it counts yet. */
  storedOf(jah: Jah): StoredShard | undefined {
    return this.record.stored.find(({ folder }) => folder === this.folders.get(jah.id));
  }

  /**
   * The other Jahs without which what this one owns cannot be brought back, as it is in one folder with what is theirs, or they
   * have that folder: state that has changed hands, and is not saved by its receiver yet.
   */
  entangled(jah: Jah): Jah[] {
    const owned = this.dispatch.routing.targets.filter((target) => target.jah === jah.id);
    const needed = this.record.stored.filter((stored) => owned.some((own) => overlap(own, stored)));
    const { targets } = this.dispatch.routing;
    return [...this.jahs.values()].filter(
      (other) =>
        other !== jah &&
        needed.some(
          (stored) =>
            stored.folder === this.folders.get(other.id) ||
            targets.some((target) => target.jah === other.id && overlap(target, stored)),
        ),
    );
  }

  /** The state that moved is saved by its receiver: the registry is to say so. `frame` is the lowest not in its checkpoint. */
  moved(receiver: Jah, frame: number): void {
    const own = this.dispatch.routing.targets.find(({ jah }) => jah === receiver.id);
    const folder = this.folders.get(receiver.id);
    if (!own || folder === undefined) return;
    const { from, to } = own;
    const rest = this.record.stored
      .filter((stored) => stored.folder !== folder)
      .flatMap((stored) => without(stored, own).map((range) => ({ ...stored, ...range })));
    this.record.stored = [...rest, { folder, from, to, start: frame }].toSorted((a, b) => a.from - b.from);
  }

  // --- Jahs go ---------------------------------------------------------------------------------------------------

  refused(jah: Jah): void {
    this.jahs.delete(jah.id);
    const stored = this.starting.get(jah.id);
    if (stored) this.vacant.push({ from: stored.from, to: stored.to });
    this.starting.delete(jah.id);
    this.folders.delete(jah.id);
  }

  /** A Jah ended by itself. */
  lost(jah: Jah): void {
    this.forget(jah);
    this.send({ type: "gone", jah: jah.id });
  }

  /** Lets a Jah go that nobody hears of any more. */
  drop(jah: Jah): void {
    this.forget(jah);
    this.all.end(jah);
  }

  /** Ends a Jah on which nothing depends. */
  release(jah: Jah): void {
    if (!this.dispatch.isDone(jah.id)) throw new TypeError(`Jah ${jah.id} is still needed`);
    this.drop(jah);
    this.send({ type: "gone", jah: jah.id });
  }

  private forget(jah: Jah): void {
    this.refused(jah);
    this.told.delete(jah.id);
    this.gone.add(jah.id);
    this.vacant.push(...this.dispatch.lost(jah.id).map(({ from, to }) => ({ from, to })));
  }

  // --- frames go to Jahs -----------------------------------------------------------------------------------------

  /** Hands out what can be handed out; `fresh`: also frames that nobody has had. */
  handOut(frames: Frames, fresh: boolean): void {
    const handouts = this.dispatch.handOut(fresh);
    if (!handouts.length) return;
    this.announce();
    for (const { jah, routing, frames: numbers } of handouts) {
      const tasks = numbers.map((frame) => frames.taskOf(frame));
      this.jahs.get(jah)!.send({ type: "map", routing, frames: tasks });
    }
  }

  /** Every Jah is told of every routing before a frame comes under it. */
  announce(): void {
    for (const routing of this.dispatch.routings) {
      if (!routing.targets.every(({ jah }) => this.ports.has(jah) || this.gone.has(jah))) continue;
      const targets = routing.targets.map((target) => ({ ...target, port: this.ports.get(target.jah) ?? 0 }));
      const message: LiveRouting = { ...routing, targets, moves: [...routing.moves] };
      for (const jah of this.jahs.values()) {
        if (jah.state !== "working") continue;
        const told = this.told.get(jah.id) ?? new Set();
        if (told.has(routing.id)) continue;
        this.told.set(jah.id, told.add(routing.id));
        jah.send({ type: "routing", routing: message });
        for (const target of targets)
          if (this.gone.has(target.jah)) jah.send({ type: "gone", jah: target.jah });
      }
    }
  }
}

/** Partitions that two ranges have in common. */
function overlap(a: Range, b: Range): number {
  return Math.max(0, Math.min(a.to, b.to) - Math.max(a.from, b.from));
}

/** What is left of a range without another: none, one or two. */
function without({ from, to }: Range, other: Range): Range[] {
  return [
    { from, to: Math.min(to, other.from) },
    { from: Math.max(from, other.to), to },
  ].filter((range) => range.from < range.to);
}
