/**
 * Who holds which shard of one stream: its Jahs, the shards that nobody holds, and what each Jah was told of routings and of
 * the others.
 */
import type { Log } from "../store/log.ts";
import type { JahKind } from "../wire/congregation.ts";
import type { LiveRouting, ShardStart, ToLiveJah } from "../wire/live.ts";
import { Dispatch, PARTITIONS, type Target } from "./dispatch.ts";
import type { Frames } from "./frames.ts";
import type { Jah, JahOwner, Jahs } from "./jahs.ts";
import type { StreamRecord } from "./record.ts";

/** The owner of what nobody holds, in a stream that has just been opened. */
const NOBODY = -1;

export class Shards {
  /** The stream's Jahs that were claimed and are not gone. */
  readonly jahs = new Map<number, Jah>();
  readonly dispatch: Dispatch;
  private readonly owner: JahOwner;
  private readonly all: Jahs;
  private readonly record: StreamRecord;
  /** Shards without a Jah: parked, or about to be recovered. */
  private readonly vacant: Target[];
  private readonly starts = new Map<number, ShardStart>();
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
    const start = record.image?.frame ?? 0;
    const nobody = { jah: NOBODY, from: 0, to: PARTITIONS };
    this.dispatch = new Dispatch([nobody], start, (frame) => log.place(frame).bytes);
    this.dispatch.logged(log.next);
    this.vacant = this.dispatch.lost(NOBODY);
  }

  get hasVacant(): boolean {
    return this.vacant.length > 0;
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
    return this.hasVacant ? (this.record.image?.frame ?? 0) : this.dispatch.lowest;
  }

  /** When the first window is over, in event time, ms; Infinity if none is open. */
  get nextClose(): number {
    if (this.hasVacant) return this.record.nextClose ?? Infinity;
    return Math.min(...this.owners.map((jah) => jah?.nextClose ?? Infinity));
  }

  /** The partitions that a Jah owns. */
  partitionsOf(jah: Jah): [from: number, to: number] | undefined {
    const own = this.dispatch.routing.targets.find((target) => target.jah === jah.id);
    return own && [own.from, own.to];
  }

  send(message: ToLiveJah): void {
    for (const jah of this.jahs.values()) jah.send(message);
  }

  // --- Jahs come -------------------------------------------------------------------------------------------------

  claim(kind: JahKind, waits: boolean): Jah {
    const jah = this.all.claim(this.owner, kind, waits);
    this.jahs.set(jah.id, jah);
    return jah;
  }

  /** Claims a Jah for each shard that has none. */
  claimVacant(): void {
    const { image } = this.record;
    for (const target of this.vacant.splice(0)) {
      const jah = this.claim("persistent", true);
      const next = image?.frame ?? 0;
      const { from, to } = target;
      this.starts.set(jah.id, { from, to, next, ...(image ? { image: image.path } : {}) });
      this.dispatch.recover(target, jah.id, next);
    }
  }

  /** What a Jah starts with, if it was claimed for a shard. */
  startOf(jah: Jah): ShardStart | undefined {
    return this.starts.get(jah.id);
  }

  ready(jah: Jah): void {
    this.ports.set(jah.id, jah.port);
    this.dispatch.joined(jah.id);
    const start = this.starts.get(jah.id);
    if (start) this.dispatch.appliedUpTo(jah.id, start.next);
  }

  // --- Jahs go ---------------------------------------------------------------------------------------------------

  refused(jah: Jah): void {
    this.jahs.delete(jah.id);
    this.starts.delete(jah.id);
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
    this.vacant.push(...this.dispatch.lost(jah.id));
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
