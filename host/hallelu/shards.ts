/**
 * Who holds which shard of one stream: its Jahs, the shards that nobody holds, and what each Jah was told of routings and of
 * the others.
 */
import type { StreamLog } from "../store/stream-log.ts";
import type { JahKind } from "../wire/congregation.ts";
import { messageOf } from "../core/errors.ts";
import type { LiveRouting, LiveStart, LiveTask, Restored, ToLiveJah } from "../wire/live.ts";
import { Dispatch, PARTITIONS, UNAVAILABLE } from "./dispatch.ts";
import type { Frames } from "./frames.ts";
import { groupsOf } from "./groups.ts";
import type { Jah, JahOwner, Jahs } from "./jahs.ts";
import type { StoredShard, StreamRecord } from "./record.ts";
import type { UnavailableShard } from "./unavailable.ts";

/** The owner of what nobody holds, in a stream that has just been opened. */
const NOBODY = -1;

/** A frame that was to be handed out under a routing, and that the log cannot tell. */
interface DamagedFrame {
  routing: number;
  frame: number;
  reason: string;
}

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
  /** Jahs that are to take up shards from their folders, most often one, until they are ready. */
  private readonly starting = new Map<number, StoredShard[]>();
  /** Jahs that bring several folders together, until the registry has that: which partitions come as of which frame. */
  private readonly gathering = new Map<number, { from: number; to: number; frame: number }[]>();
  /** Folders of which the state cannot be had, and why. */
  private readonly damaged = new Map<string, string>();
  private readonly cpus: number;
  /** The folders of persistent Jahs. */
  private readonly folders = new Map<number, string>();
  /** Ports of all Jahs that there have been, and which of them are gone. */
  private readonly ports = new Map<number, number>();
  private readonly gone = new Set<number>([NOBODY]);
  /** Routings that each Jah was told of. */
  private readonly told = new Map<number, Set<number>>();

  /** `owner` hears of the Jahs that are claimed among `all`, of which there may be as many as `cpus`. They get the frames below `head` at first. */
  constructor(record: StreamRecord, log: StreamLog, head: number, owner: JahOwner, all: Jahs, cpus: number) {
    this.record = record;
    this.cpus = cpus;
    this.owner = owner;
    this.all = all;
    const start = record.frame;
    const nobody = { jah: NOBODY, from: 0, to: PARTITIONS };
    this.dispatch = new Dispatch([nobody], start, (frame) => bytesIn(log, frame));
    this.dispatch.logged(head);
    this.vacant = this.dispatch.lost(NOBODY);
  }

  get hasVacant(): boolean {
    return this.vacant.length > 0;
  }

  /** Whether every partition has an owner that was ready once. */
  private get areOwned(): boolean {
    return !this.hasVacant && !this.starting.size;
  }

  /** Whether every shard has a Jah that works and has all of its state, but those that cannot be had. */
  get areReady(): boolean {
    return !this.hasVacant && !this.gathering.size && this.owners.every((jah) => jah?.state === "working");
  }

  /** Whether the state is where it is to be while the stream rests: with one Jah, or with one on each side of what is unavailable. */
  get areTogether(): boolean {
    const { targets } = this.dispatch.routing;
    const isSplit = targets.some(
      ({ jah }, i) => i > 0 && jah !== UNAVAILABLE && targets[i - 1].jah !== UNAVAILABLE,
    );
    return this.areReady && !isSplit;
  }

  /** The Jahs of the shards, in the order of partitions, without those that cannot be had. */
  get owners(): (Jah | undefined)[] {
    return this.dispatch.routing.targets
      .filter(({ jah }) => jah !== UNAVAILABLE)
      .map(({ jah }) => this.jahs.get(jah));
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

  /**
   * Claims Jahs for the shards on disk of which nobody holds any part: one for each, or for several neighbours where there may
   * not be that many. Those that cannot be had are given up.
   */
  claimVacant(): void {
    const free = this.record.stored.filter(
      (stored) =>
        this.vacant.reduce((sum, range) => sum + overlap(range, stored), 0) === stored.to - stored.from,
    );
    for (const { folder, from, to } of free) if (this.damaged.has(folder)) this.dispatch.abandon(from, to);
    const owners = this.owners.filter((jah) => jah).length + this.starting.size;
    const slots = Math.min(this.cpus, this.record.max) - owners;
    for (const group of groupsOf(
      free.filter(({ folder }) => !this.damaged.has(folder)),
      slots,
    )) {
      const jah = this.claim("persistent", true);
      this.folders.set(jah.id, group[0].folder);
      this.starting.set(jah.id, group);
    }
    for (const stored of free) this.vacant = this.vacant.flatMap((range) => without(range, stored));
  }

  /** What a Jah starts with: transient ones with nothing, the receiver of a split with an empty folder. */
  startOf(jah: Jah): Pick<LiveStart, "store" | "shards"> {
    const store = this.folders.get(jah.id);
    const shards = this.starting.get(jah.id);
    if (shards) return { shards: shards.map(({ folder, from, to }) => ({ store: folder, from, to })) };
    return store === undefined ? {} : { store };
  }

  /**
   * A Jah is there, with all frames below `next` in its state, which is that of the first folder of `restored`, and comes from
   * the others when it is at their frames. Answers whether it took up a shard.
   */
  ready(jah: Jah, next: number, restored: Restored[]): boolean {
    this.ports.set(jah.id, jah.port);
    this.dispatch.joined(jah.id);
    const stored = this.starting.get(jah.id);
    if (!stored) return false;
    this.starting.delete(jah.id);
    const [own, ...others] = restored;
    this.folders.set(jah.id, own.store);
    if (others.length) this.gathering.set(jah.id, others);
    this.dispatch.recover({ jah: jah.id, from: stored[0].from, to: stored.at(-1)!.to }, next);
    return true;
  }

  /** Partitions [from, to) that get nothing of a frame, as who is to have them takes them from a folder that has it. */
  heldOnDisk(frame: number): [number, number][] {
    return [...this.gathering.values()]
      .flat()
      .filter((part) => frame < part.frame)
      .map(({ from, to }) => [from, to]);
  }

  isGathering(jah: Jah): boolean {
    return this.gathering.has(jah.id);
  }

  /** A Jah has brought all its folders together and saved that. Answers the folders that nobody needs once the registry says so. */
  gathered(jah: Jah, frame: number): string[] {
    const before = this.record.stored.map(({ folder }) => folder);
    this.moved(jah, frame);
    const after = new Set(this.record.stored.map(({ folder }) => folder));
    return before.filter((folder) => !after.has(folder));
  }

  /** The registry says so: it is a shard like any other. */
  gatheredSaved(jah: Jah): void {
    this.gathering.delete(jah.id);
  }

  // --- what cannot be had ----------------------------------------------------------------------------------------

  /** The state of a folder cannot be had: nobody is to take it up any more. Answers the Jahs that hold a part of it. */
  giveUp(stored: StoredShard, reason: string): Jah[] {
    this.damaged.set(stored.folder, reason);
    const holders = this.dispatch.routing.targets.filter((target) => overlap(target, stored));
    return [...this.jahs.values()].filter(
      ({ id }) =>
        holders.some(({ jah }) => jah === id) ||
        this.starting.get(id)?.some(({ folder }) => folder === stored.folder) ||
        this.folders.get(id) === stored.folder,
    );
  }

  /** The shards that cannot be had, with the reasons. */
  get unavailable(): UnavailableShard[] {
    return this.record.stored.flatMap((stored) => {
      const reason = this.damaged.get(stored.folder);
      return reason === undefined ? [] : [{ ...stored, reason }];
    });
  }

  /** The shards of which those that own partitions under a routing, and lack a frame, hold a part. */
  lacking(routing: number, frame: number): StoredShard[] {
    const targets = this.dispatch.routings.find(({ id }) => id === routing)?.targets ?? [];
    const behind = targets.filter(({ jah }) => this.jahs.has(jah) && this.dispatch.appliedBy(jah) <= frame);
    const held = this.heldOnDisk(frame).map(([from, to]) => ({ from, to }));
    return this.record.stored.filter(
      (stored) =>
        behind.some((target) => overlap(target, stored)) && !held.some((part) => overlap(part, stored)),
    );
  }

  // --- what is on disk -------------------------------------------------------------------------------------------

  /** The folder of a Jah's state. */
  folderOf(jah: Jah): string | undefined {
    return this.folders.get(jah.id);
  }

  /** The partitions that a Jah owns from the next frame on. */
  ownedBy(jah: Jah): Range | undefined {
    return this.dispatch.routing.targets.find((target) => target.jah === jah.id);
  }

  /** The folders of the registry that can be had, and the Jah that has each open, if one is there. */
  get keepers(): { stored: StoredShard; jah: Jah | undefined }[] {
    return this.record.stored
      .filter(({ folder }) => !this.damaged.has(folder))
      .map((stored) => ({
        stored,
        jah: [...this.jahs.values()].find((jah) => this.folders.get(jah.id) === stored.folder),
      }));
  }

  /** The entry of the registry for a folder. */
  storedIn(folder: string): StoredShard | undefined {
    return this.record.stored.find((stored) => stored.folder === folder);
  }

  /** The entry of the registry for what a Jah keeps; undefined while nothing of it counts yet. */
  storedOf(jah: Jah): StoredShard | undefined {
    return this.storedIn(this.folders.get(jah.id) ?? "");
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
    const own = this.ownedBy(receiver);
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
    for (const { from, to } of this.starting.get(jah.id) ?? []) this.vacant.push({ from, to });
    this.starting.delete(jah.id);
    this.gathering.delete(jah.id);
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

  /** Hands out what can be handed out; `fresh`: also frames that nobody has had. Answers those that the log cannot tell. */
  handOut(frames: Frames, fresh: boolean): DamagedFrame[] {
    const damaged: DamagedFrame[] = [];
    const handouts = this.dispatch.handOut(fresh);
    if (handouts.length) this.announce();
    for (const { jah, routing, frames: numbers } of handouts) {
      const tasks: LiveTask[] = [];
      for (const frame of numbers) {
        try {
          tasks.push(frames.taskOf(frame, this.heldOnDisk(frame)));
        } catch (error) {
          damaged.push({ routing, frame, reason: messageOf(error) });
          this.dispatch.mapped(jah, routing, frame); // nobody ever will
        }
      }
      this.jahs.get(jah)!.send({ type: "map", routing, frames: tasks });
    }
    return damaged;
  }

  /** Every Jah is told of every routing before a frame comes under it. */
  announce(): void {
    for (const routing of this.dispatch.routings) {
      const there = routing.targets.filter(({ jah }) => jah !== UNAVAILABLE);
      if (!there.every(({ jah }) => this.ports.has(jah) || this.gone.has(jah))) continue;
      const targets = there.map((target) => ({ ...target, port: this.ports.get(target.jah) ?? 0 }));
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

/** Bytes of a frame; 0 if it is damaged. */
function bytesIn(log: StreamLog, frame: number): number {
  try {
    return log.place(frame).bytes;
  } catch {
    return 0;
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
