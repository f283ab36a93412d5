/**
 * A Jah on virtual time: the real Inbox, and work that takes time. Its state is how many frames each partition has had, and
 * how many records; entries of a frame are how many records it has for the partitions of an owner.
 */
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { type Batch, ROUTED } from "../../host/wire/batch.ts";
import type {
  FromLiveJah,
  LiveRouting,
  LiveStart,
  ShardOnDisk,
  Standing,
  ToLiveJah,
  Work,
} from "../../host/wire/live.ts";

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
  /** What is on disk: checkpoints by folder, the newest first, two at most. */
  stores: Map<string, Checkpoint[]>;
  /** The Jah that opened each folder last: what is left of those before writes nothing any more. */
  openedBy: Map<string, number>;
  /** How long the pages of a checkpoint take to be written, ms. */
  writing(): number;
  /** Whether what is being written cannot be. */
  failsToWrite(): boolean;
  /** How much longer everything takes now. */
  hindrance(): number;
  /** Work was begun that takes so long, ms. */
  worked(ms: number): void;
  /** State of a donor has moved to this Jah; a sentence. */
  moved(donor: number, what: string): void;
  /** Where a frame stops the kernel: while it is mapped, or in a partition while it is applied. */
  poison(frame: number): "map" | number | undefined;
  /** Partitions, a byte each, get the records of a frame that stops the kernel elsewhere. */
  has(frame: number, partitions: Uint8Array): void;
  /** A frame is passed without its records for these partitions, a byte each. */
  passes(frame: number, voided: Uint8Array): void;
  broken(rule: string): never;
}

export interface Checkpoint {
  frame: number;
  places: [number, number][];
  standing: Standing;
  applied: Int32Array;
  records: Float64Array;
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

/** A shard as it is on disk. */
interface OnDisk {
  shard: ShardOnDisk;
  checkpoint: Checkpoint | undefined;
  frame: number;
}

export interface Costs {
  /** ms that mapping and applying a frame takes, all owners together. */
  map: number;
  apply: number;
  /** Bytes of a frame. */
  bytes: number;
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
  /** Frames applied per partition that it owns; -1 where it owns nothing. */
  readonly applied = new Int32Array(PARTITIONS).fill(-1);
  readonly records = new Float64Array(PARTITIONS);
  alive = true;
  private readonly world: World;
  private readonly costs: Costs;
  /** How much slower than others it is. */
  private readonly slowness: number;
  private inbox = new Inbox();
  private readonly tasks: { routing: number; frame: number; voided: Uint8Array | undefined }[] = [];
  /** Shards that come from other folders, by their frames. */
  private readonly toGather: OnDisk[] = [];
  private readonly routings = new Map<number, LiveRouting>();
  private owns = false;
  private readonly moves: Move[] = [];
  private readonly movesKnown = new Set<string>();
  /** State that came, by the routing that moves it. */
  private readonly arrived = new Map<number, { applied: Int32Array; records: Float64Array }[]>();
  private heldAt = Infinity;
  private onHeld: (() => void) | undefined;
  private running = false;
  private work = noWork();
  private store = "";
  private wanted = false;
  /** A checkpoint that is written and not durable yet. */
  private making: (Omit<Checkpoint, "standing"> & { moves: number }) | undefined;
  private readonly savers: { id: number; frame: number; moves: number }[] = [];
  /** Moves that this Jah took part in, and how many of them the last checkpoint has. */
  private movesDone = 0;
  private movesSaved = 0;

  constructor(id: number, costs: Costs, slowness: number, world: World) {
    this.id = id;
    this.costs = costs;
    this.slowness = slowness;
    this.world = world;
  }

  /** Whether somebody waits until its state is on disk: it may have to go then. */
  get isSaving(): boolean {
    return this.savers.length > 0;
  }

  hear(message: ToLiveJah): void {
    if (!this.alive) return;
    switch (message.type) {
      case "start":
        this.start(message);
        break;
      case "routing":
        this.learn(message.routing);
        break;
      case "map":
        for (const { task, skip, voids = [] } of message.frames) {
          const voided = skip || voids.length ? new Uint8Array(PARTITIONS).fill(skip ? 1 : 0) : undefined;
          for (const [from, to] of voids) voided!.fill(1, from, to);
          this.tasks.push({ routing: message.routing, frame: task.frame, voided });
        }
        break;
      case "call":
        this.call(message.id, message.method, message.argument);
        break;
      case "checkpoint":
        this.wanted = true;
        break;
      case "commit":
        this.commit(message.standing);
        break;
      case "end":
        this.alive = false;
        this.world.later(1, () => this.onEnd());
        return;
    }
    this.wake();
  }

  /** The process ends. */
  onEnd: () => void = () => {};

  private start({ shards = [], store = "" }: LiveStart): void {
    const folders = shards
      .map((shard) => {
        const [checkpoint, before] = this.world.stores.get(shard.store) ?? [];
        return { shard, checkpoint, before, frame: checkpoint?.frame ?? 0 };
      })
      .toSorted((a, b) => a.frame - b.frame);
    const [own, ...others] = folders;
    this.store = own?.shard.store ?? store;
    this.world.openedBy.set(this.store, this.id);
    if (!own && this.world.stores.has(store)) this.world.broken(`the folder ${store} is not empty`);
    this.inbox = new Inbox(own?.frame ?? 0);
    this.owns = own !== undefined;
    if (own) this.take(own);
    this.toGather.push(...others);
    const restored = folders.map(({ shard, checkpoint, before, frame }) => ({
      ...shard,
      frame,
      ...(before ? { before: before.frame } : {}),
      ...(checkpoint
        ? { checkpoint: { places: checkpoint.places, standing: checkpoint.standing } }
        : undefined),
    }));
    this.world.tell({ type: "ready", port: this.id, next: this.inbox.next, version: 1, restored });
    this.tick();
  }

  /** The partitions of a shard as they are on disk, which have to be where this Jah is. */
  private take({ shard: { store, from, to }, checkpoint }: OnDisk): void {
    for (let p = from; p < to; p++) {
      this.applied[p] = checkpoint ? checkpoint.applied[p] : 0;
      this.records[p] = checkpoint ? checkpoint.records[p] : 0;
      if (this.applied[p] !== this.inbox.next)
        this.world.broken(`partition ${p} of ${store} is at ${this.applied[p]}, not ${this.inbox.next}`);
    }
  }

  /** Takes the shards that are due from other folders. */
  private gather(): void {
    while (this.toGather.length && this.toGather[0].frame <= this.inbox.next) {
      this.take(this.toGather.shift()!);
      if (this.toGather.length) continue;
      this.movesDone++;
      this.world.tell({ type: "gathered" });
    }
  }

  /** Begins a checkpoint of this moment, if one is wanted and no state is on its way. */
  private save(): void {
    if (!this.wanted || this.making) return;
    if (!this.owns || this.toGather.length || this.moves.some(({ start }) => start <= this.inbox.next))
      return;
    this.wanted = false;
    const { next: frame, places } = this.inbox;
    const state = { applied: this.applied.slice(), records: this.records.slice() };
    const making = { frame, places, ...state, moves: this.movesDone };
    this.making = making;
    this.world.later(this.world.writing(), () => {
      if (!this.alive || this.making !== making) return;
      if (!this.world.failsToWrite()) return this.world.tell({ type: "prepared", frame });
      this.making = undefined;
      const failure = { kind: "internal", code: "disk-full", message: "no room", stack: "" } as const;
      this.world.tell({ type: "unsaved", failure });
      const error = { code: "disk-full", message: "no room" };
      for (const { id } of this.savers.splice(0)) this.world.tell({ type: "answer", id, error });
    });
  }

  private commit(standing: Standing): void {
    const { making } = this;
    if (!making) return;
    this.world.later(this.world.delay(), () => {
      // It may be durable though nobody hears of it any more.
      const isAnothers = this.world.openedBy.get(this.store) !== this.id;
      if (!this.alive && (isAnothers || this.world.failsToWrite())) return;
      const [last] = this.world.stores.get(this.store) ?? [];
      this.world.stores.set(this.store, [{ ...making, standing }, ...(last ? [last] : [])]);
      if (!this.alive) return;
      this.making = undefined;
      const { frame, moves } = making;
      this.movesSaved = moves;
      const before = last ? { before: last.frame } : undefined;
      this.world.tell({ type: "saved", frame, ...before, bytes: 1000, ms: 1 });
      for (const saver of this.savers.splice(0))
        if (saver.frame <= frame && saver.moves <= moves)
          this.world.tell({ type: "answer", id: saver.id, value: { frame: saver.frame } });
        else this.savers.push(saver);
      this.wanted ||= this.savers.length > 0;
      this.wake();
    });
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
    } else if (method === "save") {
      const { next: frame } = this.inbox;
      const [last] = this.world.stores.get(this.store) ?? [];
      if (last && last.frame >= frame && this.movesSaved >= this.movesDone) return answer({ frame });
      this.savers.push({ id, frame, moves: this.movesDone });
      this.wanted = true;
    }
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

  /** One piece of work: state that moves, then a frame to apply, then one to map. */
  private turn(): void {
    this.running = false;
    if (!this.alive) return;
    if (this.inbox.next >= this.heldAt && !this.moves.some(({ start }) => start <= this.inbox.next)) {
      this.onHeld?.();
      this.onHeld = undefined;
    }
    this.gather();
    this.save();
    const handover = this.handOver();
    if (handover === "did") return this.wake();
    const held = this.inbox.next >= this.heldAt;
    const batch =
      handover === "waits" || held ? undefined : this.inbox.take((routing) => this.routings.has(routing));
    if (batch) return this.busy(this.apply(batch), "applyMs", () => this.told([]));
    const task = this.tasks[0];
    if (!task || !this.routings.has(task.routing)) return;
    this.tasks.shift();
    this.busy(this.costs.map, "mapMs", () => this.mapped(task.frame, task.routing, task.voided));
  }

  private busy(ms: number, kind: "mapMs" | "applyMs", then: () => void): void {
    this.running = true;
    const taken = ms * this.slowness * this.world.hindrance();
    this.work[kind] += taken;
    this.world.worked(taken);
    this.world.later(taken, () => {
      this.running = false;
      if (!this.alive) return;
      then();
      this.wake();
    });
  }

  private mapped(frame: number, id: number, voided: Uint8Array | undefined): void {
    const skipped = voided?.every((each) => each) ?? false;
    if (this.world.poison(frame) === "map" && !skipped)
      return this.world.tell({ type: "trapped", routing: id, frame, failure: TRAP });
    for (const { jah, from, to } of this.routings.get(id)!.targets) {
      const batch = batchOf(frame, id, from, to, voided);
      if (jah === this.id) {
        this.receive(batch);
        continue;
      }
      for (let times = this.world.doubles() ? 2 : 1; times; times--)
        this.world.later(this.world.delay(), () => this.world.peer(jah)?.receive(batch));
    }
    this.work.mappedBytes += this.costs.bytes;
    this.work.mappedRecords += recordsIn(frame, 0, PARTITIONS);
    this.told([frame], id, skipped ? 0 : recordsIn(frame, 0, PARTITIONS));
  }

  private told(frames: number[], routing = 0, rows = 0): void {
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
        emittedRows: 0,
        lines: 0,
        quoted: false,
      },
    }));
    this.world.tell({ type: "did", mapped, outputs: [], next: this.inbox.next, nextClose: null });
  }

  /** Each partition of the target gets this frame, which must be the next one for it; what that takes, ms. */
  private apply({ frame, routing, payload }: Batch): number {
    const target = this.routings.get(routing)?.targets.find(({ jah }) => jah === this.id);
    if (!target) return this.world.broken(`Jah ${this.id} has no part in routing ${routing}`);
    // Those that are still to come from another folder have the frame.
    const isToCome = (p: number) =>
      this.toGather.length > 0 && this.toGather.some(({ shard }) => shard.from <= p && p < shard.to);
    const given = payload.length > 4 ? payload.subarray(4) : undefined;
    const voided = given && Uint8Array.from(given, (each, p) => (isToCome(p) ? 0 : each));
    const poison = this.world.poison(frame);
    if (typeof poison === "number" && target.from <= poison && poison < target.to && !given?.[poison]) {
      this.world.tell({ type: "failed", frame, failure: TRAP });
      this.alive = false;
      return 0;
    }
    if (voided?.includes(1)) this.world.passes(frame, voided);
    if (poison !== undefined) {
      const has = (p: number) => target.from <= p && p < target.to && !voided?.[p] && !isToCome(p);
      this.world.has(
        frame,
        Uint8Array.from({ length: PARTITIONS }, (_, p) => Number(has(p))),
      );
    }
    let left = payload.readUInt32LE(0);
    for (let p = target.from; p < target.to; p++) {
      if (isToCome(p)) continue;
      if (this.applied[p] !== frame)
        this.world.broken(`partition ${p} at Jah ${this.id} gets frame ${frame} after ${this.applied[p]}`);
      this.applied[p] = frame + 1;
      const count = voided?.[p] ? 0 : recordsIn(frame, p, p + 1);
      this.records[p] += count;
      left -= count;
    }
    if (left) this.world.broken(`Jah ${this.id} gets ${left} records of frame ${frame} that are not its own`);
    this.work.appliedFrames++;
    return (this.costs.apply * (target.to - target.from)) / PARTITIONS;
  }

  private handOver(): "none" | "waits" | "did" {
    const move = this.moves.find(({ start }) => start <= this.inbox.next);
    if (!move) return "none";
    const { from, to, other, gives, routing } = move;
    if (gives) {
      const state = { applied: this.applied.slice(from, to), records: this.records.slice(from, to) };
      this.applied.fill(-1, from, to);
      this.records.fill(0, from, to);
      this.moves.splice(this.moves.indexOf(move), 1);
      this.movesDone++;
      this.world.later(this.world.delay(), () => this.world.peer(other)?.takeState(routing, state));
      return "did";
    }
    const state = this.arrived.get(routing)?.shift();
    if (!state) return "waits";
    this.applied.set(state.applied, from);
    this.records.set(state.records, from);
    this.moves.splice(this.moves.indexOf(move), 1);
    this.movesDone++;
    this.world.moved(
      other,
      `[${from}, ${to}) moved from Jah ${other} to ${this.id} before frame ${this.inbox.next}`,
    );
    this.world.tell({ type: "imported", routing });
    return "did";
  }

  private takeState(routing: number, state: { applied: Int32Array; records: Float64Array }): void {
    if (!this.arrived.has(routing)) this.arrived.set(routing, []);
    this.arrived.get(routing)!.push(state);
    this.wake();
  }
}

const TRAP = { kind: "trap", code: "kernel-trapped", message: "poison", stack: "" } as const;

/** How many records there are for partitions [from, to); and, if some get none, a byte for each of all partitions. */
function batchOf(
  frame: number,
  routing: number,
  from: number,
  to: number,
  voided: Uint8Array | undefined,
): Batch {
  let records = voided ? 0 : recordsIn(frame, from, to);
  if (voided) for (let p = from; p < to; p++) if (!voided[p]) records += recordsIn(frame, p, p + 1);
  const payload = Buffer.alloc(4 + (voided?.length ?? 0));
  payload.writeUInt32LE(records);
  if (voided) payload.set(voided, 4);
  const place = { source: 0, start: 0, end: 0, time: -Infinity, clock: 0 };
  return { kind: ROUTED, frame, routing, ...place, payload };
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
