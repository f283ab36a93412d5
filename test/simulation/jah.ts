/**
 * A Jah on virtual time: the real Inbox, Checkpointer and restoring of shards, and work that takes time. Its state is how many frames
 * each partition has had, and how many records (state.ts); entries of a frame are how many records it has for the
 * partitions of an owner.
 */
import { HallelujahError, messageOf } from "../../host/core/errors.ts";
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import { Checkpointer, type Meta } from "../../host/jah/checkpointer.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { type RestoredShard, restoreShards } from "../../host/jah/restore.ts";
import { ABI_VERSION } from "../../host/kernel/memory-map.ts";
import { PAGE_BYTES } from "../../host/kernel/pages.ts";
import type { PageStore } from "../../host/store/page-store.ts";
import { type Batch, ROUTED } from "../../host/wire/batch.ts";
import type { OwnerOutput } from "../../host/wire/jah.ts";
import type { FromLiveJah, LiveRouting, LiveStart, ToLiveJah, Work } from "../../host/wire/live.ts";
import { Succession, versionOf } from "../../host/jah/succession.ts";
import type { SimulatedDisk, Writer } from "./disk.ts";
import { borrowMemory, frameSum, giveBack, NO_PART, type Part, State, STATE_END } from "./state.ts";

/** How a checkpoint goes out: with faults, as that of a large state, of which some pages have to wait until others are written. */
const PORTIONS = { copyBytes: 2 * PAGE_BYTES, batchPages: 1 };
const CALM_PORTIONS = { copyBytes: PARTITIONS * PAGE_BYTES, batchPages: 1 };

export type Poison = "map" | number | undefined;

/** What the world around a Jah does for it. */
export interface World {
  later(ms: number, what: () => void): void;
  /** A word to the Hallelu, in order. */
  tell(message: FromLiveJah): void;
  /** Another Jah of the stream, if it lives. */
  peer(id: number): SimulatedJah | undefined;
  /** How long a batch is under way, ms; drawn anew for each. */
  delay(): number;
  /** Whether a batch comes twice. */
  doubles(): boolean;
  disk: SimulatedDisk;
  /** How long a part of a checkpoint takes to be written, ms. */
  writing(): number;
  /** Whether anything that is written may fail; and whether what is being written does. */
  hasFaults: boolean;
  failsToWrite(): boolean;
  /** How much longer everything takes now. */
  hindrance(): number;
  /** Work was begun that takes so long, ms. */
  worked(ms: number): void;
  /** State of a donor has moved to this Jah; a sentence. */
  moved(donor: number, what: string): void;
  /** Where a frame stops a version of the kernel: while it is mapped, or in a partition while it is applied. */
  poison(frame: number, version: number): Poison;
  /** Whether a version of the kernel stops when it is to take the state over. */
  stopsAtOnce(version: number): boolean;
  /** Partitions, a byte each, get the records of a frame that stops the kernel elsewhere. */
  has(frame: number, partitions: Uint8Array): void;
  /** What the kernel emits for a frame; undefined if nothing. */
  row(frame: number, version: number): Buffer | undefined;
  /** A checkpoint is durable that holds what a version of the kernel made. */
  saved(version: number): void;
  /** A frame is passed without its records for these partitions, a byte each. */
  passes(frame: number, version: number, voided: Uint8Array): void;
  broken(rule: string): never;
  /** What was begun has failed. */
  failed(error: unknown): void;
}

/** Records of a frame whose keys fall into partitions [from, to): as it comes, but always the same. */
export function recordsIn(frame: number, from: number, to: number): number {
  const below = RECORDS_BELOW[frame % 5];
  return below[to] - below[from];
}

/** Of frames by their numbers modulo 5: records of the partitions below each. */
const RECORDS_BELOW = Array.from({ length: 5 }, (_, frame) => {
  const below = [0];
  for (let p = 0; p < PARTITIONS; p++) below.push(below[p] + ((frame * 7 + p * 13) % 5));
  return below;
});

export interface Costs {
  /** ms that mapping and applying a frame takes, all owners together. */
  map: number;
  apply: number;
  /** Bytes of a frame. */
  bytes: number;
}

/** A frame to map. */
interface Task {
  routing: number;
  frame: number;
  /** Nothing of it is read. */
  skip: boolean;
  /** A byte for each partition: whether it gets nothing of it. */
  voided: Uint8Array | undefined;
}

/** State that is on its way: the partitions, from the first that moves on, of one version. */
interface Moved {
  version: number;
  parts: Part[];
}

interface Move {
  start: number;
  from: number;
  to: number;
  gives: boolean;
  other: number;
  routing: number;
}

export class SimulatedJah {
  readonly id: number;
  alive = true;
  /** Of one that owns, or will own, partitions. */
  private state: State | undefined;
  private checkpointer: Checkpointer | undefined;
  private readonly world: World;
  private readonly costs: Costs;
  /** How much slower than others it is. */
  private readonly slowness: number;
  private inbox = new Inbox();
  private readonly tasks: Task[] = [];
  /** Shards that come from other folders, by their frames. */
  private readonly toGather: RestoredShard[] = [];
  private readonly routings = new Map<number, LiveRouting>();
  private owns = false;
  /** Words that came while its state was read back. */
  private readonly early: ToLiveJah[] = [];
  /** The versions of the kernel, once that is over; and the last one that will not be rolled back. */
  private succession: Succession | undefined;
  private confirmed = 0;
  /** The first frame of a shard that was never saved. */
  private first = 0;
  private readonly moves: Move[] = [];
  private readonly movesKnown = new Set<string>();
  /** State that came, by the routing that moves it. */
  private readonly arrived = new Map<number, Moved[]>();
  private heldAt = Infinity;
  private onHeld: (() => void) | undefined;
  private running = false;
  private work = noWork();
  /** What it has to tell of frames that it applied. */
  private outputs: OwnerOutput[] = [];
  /** How many wait until its state is on disk. */
  private savers = 0;

  constructor(id: number, costs: Costs, slowness: number, world: World) {
    this.id = id;
    this.costs = costs;
    this.slowness = slowness;
    this.world = world;
  }

  /** Whether somebody waits until its state is on disk: it may have to go then. */
  get isSaving(): boolean {
    return this.savers > 0;
  }

  /** Whether it has nothing to do. */
  get isIdle(): boolean {
    return !this.running;
  }

  /** Frames applied per partition that it owns; -1 where it owns nothing. */
  get applied(): Int32Array {
    return Int32Array.from({ length: PARTITIONS }, (_, p) => this.state?.applied(p) ?? -1);
  }

  /** What a partition has had, if this Jah has any. */
  part(p: number): Part {
    return this.state?.get(p) ?? NO_PART;
  }

  private get version(): number {
    return this.succession!.at.version;
  }

  /** It does nothing more. */
  die(): void {
    this.alive = false;
    for (const { memory } of [...(this.state ? [this.state] : []), ...this.toGather]) giveBack(memory);
    this.state = undefined;
    this.toGather.length = 0;
  }

  hear(message: ToLiveJah): void {
    if (!this.alive) return;
    if (!this.succession && message.type !== "start" && message.type !== "end")
      return void this.early.push(message);
    switch (message.type) {
      case "start":
        this.start(message).catch((error: unknown) => this.world.failed(error));
        break;
      case "version":
        this.succession?.add(message.version);
        break;
      case "confirmed":
        this.confirmed = message.version;
        break;
      case "routing":
        this.learn(message.routing);
        break;
      case "map":
        for (const { task, skip = false, voids = [] } of message.frames) {
          const voided = skip || voids.length ? new Uint8Array(PARTITIONS).fill(skip ? 1 : 0) : undefined;
          for (const [from, to] of voids) voided!.fill(1, from, to);
          this.tasks.push({ routing: message.routing, frame: task.frame, skip, voided });
        }
        break;
      case "call":
        this.call(message.id, message.method, message.argument);
        break;
      case "checkpoint":
        if (this.checkpointer) this.checkpointer.wanted = true;
        break;
      case "commit":
        this.checkpointer?.commit(message.standing);
        break;
      case "end":
        this.die();
        this.world.later(1, () => this.onEnd());
        return;
    }
    this.wake();
  }

  /** The process ends. */
  onEnd: () => void = () => {};

  /** No time passes until its state is read. */
  private async start({
    shards = [],
    store: folder,
    versions,
    confirmed,
    begin = 0,
  }: LiveStart): Promise<void> {
    const { world } = this;
    this.confirmed = confirmed;
    this.first = begin;
    const writer: Writer = {
      alive: () => this.alive,
      later: world.later,
      writing: (synced) => (synced ? world.delay() : world.writing()),
      fails: world.failsToWrite,
    };
    const open = (name: string) => world.disk.open(name, writer);
    let restored: RestoredShard[] = [];
    try {
      restored = await restoreShards(shards, borrowMemory, begin, open);
    } catch (error) {
      world.broken(`its state cannot be read: ${messageOf(error)}`);
    }
    const [own, ...others] = restored;
    for (const { told } of restored) if (told.damage) world.broken(`${told.store}: ${told.damage}`);
    if (!own && folder !== undefined && world.disk.has(folder))
      world.broken(`the folder ${folder} is not empty`);
    const store = own?.store ?? (folder === undefined ? undefined : await open(folder));
    this.inbox = new Inbox(own?.told.frame ?? 0);
    this.owns = own !== undefined;
    const begun = versionOf(versions, { saved: own?.meta, owns: this.owns });
    if (!versions.some(({ version }) => version === begun))
      world.broken(`${own?.told.store} is of version ${begun}, which is none of its kernel`);
    if (own?.meta && begun > confirmed)
      world.broken(`${own.told.store} is of version ${begun}, and only ${confirmed} will not be rolled back`);
    this.succession = new Succession(versions, begun);
    if (store) this.hold(store, own?.memory ?? borrowMemory(), own?.meta);
    if (own) this.keepOnly(own);
    this.toGather.push(...others);
    const told = restored.map((each) => each.told);
    for (const each of this.early.splice(0)) this.hear(each);
    world.tell({
      type: "ready",
      port: this.id,
      next: this.inbox.next,
      version: this.version,
      restored: told,
    });
    this.tick();
    this.wake();
  }

  private hold(store: PageStore, memory: WebAssembly.Memory, meta: Meta | undefined): void {
    const state = new State(memory);
    this.state = state;
    let saving = 0;
    const jah = {
      kernel: () => state,
      meta: () => {
        saving = this.version;
        const { next: frame, places } = this.inbox;
        return { abi: ABI_VERSION, version: this.version, end: STATE_END, frame, ...state.range, places };
      },
      tell: (message: FromLiveJah) => {
        if (message.type === "saved") this.world.saved(saving);
        this.world.tell(message);
      },
      wake: () => this.wake(),
    };
    const portions = this.world.hasFaults ? PORTIONS : CALM_PORTIONS;
    this.checkpointer = new Checkpointer(store, meta?.frame, jah, portions);
  }

  /** Of what it was read back from, only its shard is its own. */
  private keepOnly({ told: { store, from, to }, meta }: RestoredShard): void {
    for (let p = 0; p < PARTITIONS; p++) {
      const isOwn = from <= p && p < to;
      if (!isOwn && this.state!.applied(p) >= 0) this.state!.set(p, NO_PART);
      if (isOwn && !meta) this.state!.set(p, this.nothing);
      if (isOwn) this.check(store, p);
    }
  }

  /** A partition that has had no frame. */
  private get nothing(): Part {
    return { applied: this.first, records: 0, sum: 0, version: this.version };
  }

  private check(store: string, p: number): void {
    const applied = this.state!.applied(p);
    if (applied !== this.inbox.next)
      this.world.broken(`partition ${p} of ${store} is at ${applied}, not ${this.inbox.next}`);
    const version = this.state!.version(p);
    if (version !== this.version)
      this.world.broken(`partition ${p} of ${store} is of version ${version}, not ${this.version}`);
  }

  /** Takes the shards that are due from other folders. */
  private gather(): void {
    while (this.toGather.length && this.toGather[0].told.frame <= this.inbox.next) {
      const { told, memory, meta } = this.toGather.shift()!;
      const state = new State(memory);
      const first = this.succession!.all[0].version;
      for (let p = told.from; p < told.to; p++) {
        const part = meta ? state.get(p) : { ...this.nothing, version: first };
        if (part.version > this.version)
          this.world.broken(`${told.store} is of version ${part.version}, ahead of ${this.version}`);
        this.state!.set(p, { ...part, version: this.version });
        this.check(told.store, p);
      }
      giveBack(memory);
      if (this.toGather.length) continue;
      this.checkpointer!.moved();
      this.world.tell({ type: "gathered" });
    }
  }

  /** Whether a checkpoint may begin: no state is on its way, nor of a version that may be rolled back. */
  private get maySave(): boolean {
    const isWhole = this.owns && !this.toGather.length;
    const moves = this.moves.some(({ start }) => start <= this.inbox.next);
    return isWhole && !moves && this.version <= this.confirmed;
  }

  private async save(id: number): Promise<void> {
    const { next: frame } = this.inbox;
    this.savers++;
    try {
      await this.checkpointer!.save(frame);
      this.world.tell({ type: "answer", id, value: { frame } });
    } catch (error) {
      const { code } = error as HallelujahError;
      this.world.tell({ type: "answer", id, error: { code, message: messageOf(error) } });
    } finally {
      this.savers--;
    }
  }

  private tick(): void {
    if (!this.alive) return;
    if (this.work.mapMs + this.work.applyMs + this.work.mappedBytes > 0) {
      this.world.tell({ type: "work", work: this.work });
      this.work = noWork();
    }
    this.world.later(100, () => this.tick());
  }

  private learn(routing: LiveRouting): void {
    this.routings.set(routing.id, routing);
    for (const { from, to, donor, receiver } of routing.moves) {
      if (donor !== this.id && receiver !== this.id) continue;
      const name = `${routing.start} ${donor} ${receiver} ${from} ${to}`;
      if (this.movesKnown.has(name)) continue;
      this.movesKnown.add(name);
      const gives = donor === this.id;
      if (!this.owns) this.inbox.next = routing.start;
      this.owns = true;
      this.moves.push({
        start: routing.start,
        from,
        to,
        gives,
        other: gives ? receiver : donor,
        routing: routing.id,
      });
    }
  }

  private call(id: number, method: string, argument: unknown): void {
    const answer = (value: unknown) => this.world.tell({ type: "answer", id, value });
    if (method === "release") {
      this.heldAt = Infinity;
      answer(undefined);
    } else if (method === "hold") {
      const { at } = argument as { at: number };
      this.heldAt = Math.max(at, this.inbox.next);
      if (at < 0) answer({ next: this.inbox.next });
      else this.onHeld = () => answer({ next: this.inbox.next });
    } else if (method === "compile") answer(undefined);
    else if (method === "save") void this.save(id);
  }

  private receive(batch: Batch): void {
    if (!this.alive) return;
    this.inbox.add(batch);
    this.wake();
  }

  private wake(): void {
    if (this.running || !this.alive) return;
    this.running = true;
    this.world.later(0, () => this.turn());
  }

  private turn(): void {
    if (!this.alive) return;
    // Whoever wakes it meanwhile finds it running.
    const work = this.step();
    if (work === "takes time") return;
    this.running = false;
    if (work === "done") this.wake();
  }

  /** One piece of work: state that moves, then a frame to apply, then one to map. */
  private step(): "none" | "done" | "takes time" {
    this.answerHold();
    if (this.maySave) this.checkpointer?.begin();
    if (this.checkpointer?.blocks) return this.map();
    const { next } = this.inbox;
    const maySwitch = next < this.heldAt || (next === this.heldAt && this.onHeld !== undefined);
    if (maySwitch && this.succession?.due(this.owns ? next : Infinity)) return this.advance();
    this.gather();
    const handover = this.handOver();
    if (handover === "did") return "done";
    const held = this.inbox.next >= this.heldAt;
    const batch =
      handover === "waits" || held
        ? undefined
        : this.inbox.take(
            (routing, version) => this.routings.has(routing) && this.succession!.knows(version),
          );
    if (batch) return this.busy(this.apply(batch), "applyMs", () => this.told([]));
    return this.map();
  }

  /** The state becomes that of the next version of the kernel. */
  private advance(): "done" | "none" {
    const { version: before } = this;
    const { version } = this.succession!.following!;
    if (this.world.stopsAtOnce(version)) {
      this.world.tell({ type: "failed", frame: this.inbox.next, failure: TRAP });
      this.die();
      return "none";
    }
    this.succession!.advance();
    for (let p = 0; this.state && p < PARTITIONS; p++) {
      const part = this.state.get(p);
      if (part.applied < 0) continue;
      if (part.version !== before)
        this.world.broken(`partition ${p} is of version ${part.version}, and was to be of ${before}`);
      this.state.set(p, { ...part, version });
    }
    this.checkpointer?.moved();
    this.world.tell({ type: "switched", version, idleMs: 0 });
    return "done";
  }

  private answerHold(): void {
    const { next } = this.inbox;
    if (next < this.heldAt || this.moves.some(({ start }) => start <= next)) return;
    if (this.succession?.due(next)) return;
    this.onHeld?.();
    this.onHeld = undefined;
  }

  private map(): "none" | "takes time" {
    const task = this.tasks[0];
    if (!task || !this.routings.has(task.routing)) return "none";
    this.tasks.shift();
    return this.busy(this.costs.map, "mapMs", () => this.mapped(task));
  }

  private busy(ms: number, kind: "mapMs" | "applyMs", then: () => void): "takes time" {
    const taken = ms * this.slowness * this.world.hindrance();
    this.work[kind] += taken;
    this.world.worked(taken);
    this.world.later(taken, () => {
      this.running = false;
      if (!this.alive) return;
      then();
      this.wake();
    });
    return "takes time";
  }

  private mapped({ frame, routing: id, skip, voided }: Task): void {
    const { version } = this.succession!.of(frame);
    if (this.world.poison(frame, version) === "map" && !skip)
      return this.world.tell({ type: "trapped", routing: id, frame, failure: TRAP });
    for (const { jah, from, to } of this.routings.get(id)!.targets) {
      const batch = batchOf({ frame, version, routing: id, from, to }, voided);
      if (jah === this.id) {
        this.receive(batch);
        continue;
      }
      for (let times = this.world.doubles() ? 2 : 1; times; times--)
        this.world.later(this.world.delay(), () => this.world.peer(jah)?.receive(batch));
    }
    this.work.mappedBytes += this.costs.bytes;
    this.work.mappedRecords += recordsIn(frame, 0, PARTITIONS);
    // Where it is void for all who apply it, its records are read all the same.
    const row = skip ? undefined : this.world.row(frame, version);
    this.told([frame], id, skip ? 0 : recordsIn(frame, 0, PARTITIONS), row);
  }

  private told(frames: number[], routing = 0, rows = 0, row?: Buffer): void {
    const mapped = frames.map((frame) => ({
      routing,
      done: {
        frame,
        source: 0,
        start: 0,
        end: 0,
        time: -Infinity,
        rows,
        bad: 0,
        problems: [],
        ...(row ? { emitted: row } : {}),
        emittedRows: row ? 1 : 0,
        lines: 0,
        quoted: false,
      },
    }));
    const outputs = this.outputs.splice(0);
    this.world.tell({ type: "did", mapped, outputs, next: this.inbox.next, nextClose: null });
  }

  /** Each partition of the target gets this frame, which must be the next one for it; what that takes, ms. */
  private apply({ frame, routing, version, payload }: Batch): number {
    const target = this.routings.get(routing)?.targets.find(({ jah }) => jah === this.id);
    if (!target) return this.world.broken(`Jah ${this.id} has no part in routing ${routing}`);
    // Those that are still to come from another folder have the frame.
    const isToCome = (p: number) =>
      this.toGather.length > 0 && this.toGather.some(({ told }) => told.from <= p && p < told.to);
    const isOwn = (p: number) => target.from <= p && p < target.to;
    const given = payload.length > 4 ? payload.subarray(4) : undefined;
    if (version !== this.version)
      this.world.broken(`frame ${frame} was mapped by version ${version}, and is applied by ${this.version}`);
    // A batch names all partitions that the frame is void for: those of others, too, which may take them from a folder.
    const voided = given && Uint8Array.from(given, (each, p) => (isOwn(p) && !isToCome(p) ? each : 0));
    const poison = this.world.poison(frame, version);
    if (typeof poison === "number" && isOwn(poison) && !given?.[poison]) {
      this.world.tell({ type: "failed", frame, failure: TRAP });
      this.die();
      return 0;
    }
    if (voided?.includes(1)) this.world.passes(frame, version, voided);
    if (poison !== undefined) {
      const has = (p: number) => isOwn(p) && !voided?.[p] && !isToCome(p);
      this.world.has(
        frame,
        Uint8Array.from({ length: PARTITIONS }, (_, p) => Number(has(p))),
      );
    }
    const state = this.state!;
    let left = payload.readUInt32LE(0);
    for (let p = target.from; p < target.to; p++) {
      if (isToCome(p)) continue;
      const { applied, records, sum, version: own } = state.get(p);
      if (applied !== frame)
        this.world.broken(`partition ${p} at Jah ${this.id} gets frame ${frame} after ${applied}`);
      if (own !== version)
        this.world.broken(`partition ${p} of version ${own} gets frame ${frame} by version ${version}`);
      const count = voided?.[p] ? 0 : recordsIn(frame, p, p + 1);
      const had = sum + frameSum(frame, version);
      state.set(p, { applied: frame + 1, records: records + count, sum: had, version });
      left -= count;
    }
    if (left) this.world.broken(`Jah ${this.id} gets ${left} records of frame ${frame} that are not its own`);
    this.work.appliedFrames++;
    const { from, to } = target;
    const nothing = { emitted: [], emittedRows: 0, lateEmitted: [], lateRows: 0, late: 0 };
    this.outputs.push({ frame, from, to, ...nothing });
    return (this.costs.apply * (target.to - target.from)) / PARTITIONS;
  }

  private handOver(): "none" | "waits" | "did" {
    const move = this.moves.find(({ start }) => start <= this.inbox.next);
    if (!move) return "none";
    const { from, to, other, gives, routing } = move;
    const own = this.state!;
    if (gives) {
      const moved: Moved = { version: this.version, parts: [] };
      for (let p = from; p < to; p++) {
        moved.parts.push(own.get(p));
        own.set(p, NO_PART);
      }
      this.moves.splice(this.moves.indexOf(move), 1);
      this.checkpointer!.moved();
      this.world.later(this.world.delay(), () => this.world.peer(other)?.takeState(routing, moved));
      return "did";
    }
    const moved = this.arrived.get(routing)?.shift();
    if (!moved) return "waits";
    if (moved.version !== this.version)
      this.world.broken(
        `state of version ${moved.version} moves to Jah ${this.id}, which has ${this.version}`,
      );
    moved.parts.forEach((part, i) => own.set(from + i, part));
    this.moves.splice(this.moves.indexOf(move), 1);
    this.checkpointer!.moved();
    this.world.moved(
      other,
      `[${from}, ${to}) moved from Jah ${other} to ${this.id} before frame ${this.inbox.next}`,
    );
    this.world.tell({ type: "imported", routing });
    return "did";
  }

  private takeState(routing: number, moved: Moved): void {
    if (!this.arrived.has(routing)) this.arrived.set(routing, []);
    this.arrived.get(routing)!.push(moved);
    this.wake();
  }
}

const TRAP = { kind: "trap", code: "kernel-trapped", message: "poison", stack: "" } as const;

/** How many records there are for partitions [from, to); and, if some get none, a byte for each of all partitions. */
function batchOf(
  of: { frame: number; version: number; routing: number; from: number; to: number },
  voided: Uint8Array | undefined,
): Batch {
  const { frame, version, routing, from, to } = of;
  let records = voided ? 0 : recordsIn(frame, from, to);
  if (voided) for (let p = from; p < to; p++) if (!voided[p]) records += recordsIn(frame, p, p + 1);
  const payload = Buffer.alloc(4 + (voided?.length ?? 0));
  payload.writeUInt32LE(records);
  if (voided) payload.set(voided, 4);
  const place = { source: 0, start: 0, end: 0, time: -Infinity, clock: 0 };
  return { kind: ROUTED, frame, routing, version, ...place, payload };
}

function noWork(): Work {
  return {
    mapMs: 0,
    applyMs: 0,
    mappedBytes: 0,
    mappedRecords: 0,
    appliedFrames: 0,
    inboxBytes: 0,
    outboxBytes: 0,
    stateBytes: 0,
    residentBytes: 0,
  };
}
