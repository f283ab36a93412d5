/**
 * A Jah of a live stream at work. It maps the frames that it is handed and routes their entries to the owners of their
 * partitions, which may be itself; as an owner it applies what arrives in frame order, takes in or hands over
 * partitions where a routing says so, and answers questions between frames. Applying goes before mapping, and the event
 * loop turns between frames.
 */
import { INBOX_BYTES, LIVE_RUN_FRAMES, WORK_INTERVAL_MS } from "../core/limits.ts";
import type { Watchdog } from "../core/watchdog.ts";
import { createMemory } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { HttpPeers } from "../shuffle/http-peers.ts";
import type { ShardStore } from "../store/page-store.ts";
import type { ReplicaEvent } from "../store/replica.ts";
import { openPages } from "../store/pages.ts";
import { type Batch, decodeBatch, encodeBatch, ROUTED, TRANSFER, VOIDED } from "../wire/batch.ts";
import type { Channel } from "../wire/channel.ts";
import {
  APPLYING,
  type FromLiveJah,
  type LiveMethods,
  type LiveRouting,
  type LiveStart,
  type LiveTask,
  type Mapped,
  MAPPING,
  type Restored,
  type ToLiveJah,
  type Work,
} from "../wire/live.ts";
import type { FrameDone, OwnerOutput } from "../wire/jah.ts";
import { Answers } from "./answers.ts";
import { Checkpointer, type Meta } from "./checkpointer.ts";
import { openClocks } from "./clocks.ts";
import { failureOf } from "./failure.ts";
import { Gathering } from "./gathering.ts";
import { Handover } from "./handover.ts";
import { Inbox } from "./inbox.ts";
import { Kernels } from "./kernels.ts";
import { type RestoredShard, restoreShards } from "./restore.ts";
import { versionOf } from "./succession.ts";
import { Visits } from "./visits.ts";

interface Task extends LiveTask {
  routing: number;
}

export class LiveJah {
  private readonly start: LiveStart;
  private readonly channel: Pick<Channel<FromLiveJah, ToLiveJah>, "send" | "end">;
  private readonly watchdog: Watchdog;
  private readonly kernels: Kernels;
  private readonly inbox: Inbox;
  private readonly peers: HttpPeers;
  private readonly answers: Answers;
  private readonly visits: Visits;
  private readonly handover: Handover;
  private readonly checkpointer: Checkpointer | undefined;
  private readonly restored: Restored[];
  /** State that is still to come from other folders. */
  private gathering: Gathering | undefined;
  private readonly routings = new Map<number, LiveRouting>();
  /** The highest routing that this Jah was told of. */
  private readonly tasks: Task[] = [];
  /** Whether this Jah has, or had, partitions, or is to have some. */
  private owns: boolean;
  /** The partitions whose state is here, [from, to). */
  private held: { from: number; to: number } | undefined;
  /** Applies nothing from this frame on, while the Hallelu asks. */
  private heldAt = Infinity;
  private onHeld: (() => void) | undefined;
  private mapped: Mapped[] = [];
  private outputs: OwnerOutput[] = [];
  private nextTold = -1;
  /** When a frame was last applied, ms. */
  private appliedAt = performance.now();
  private work: Work = noWork();
  /** Whether it has told of any frame: the first is told at once, as scaling goes by it. */
  private workTold = false;
  private running = false;
  private failed = false;
  /** The last version of the kernel that will not be rolled back. */
  private confirmed: number;
  private readonly timer: NodeJS.Timeout;

  /** Reads its state back, if it has one; `open` opens the store in a folder. Rejects with `store-damaged`. */
  static async start(
    start: LiveStart,
    secret: string,
    channel: Pick<Channel<FromLiveJah, ToLiveJah>, "send" | "end">,
    watchdog: Watchdog,
    open: (folder: string) => Promise<ShardStore> = openPages,
  ): Promise<LiveJah> {
    const newMemory = () => createMemory(start.stateBytesMax);
    const restored = await restoreShards(start.shards ?? [], newMemory, start.begin, open);
    const memory = restored[0]?.memory ?? newMemory();
    const store = restored[0]?.store ?? (start.store === undefined ? undefined : await open(start.store));
    return new LiveJah(memory, restored, store, start, secret, channel, watchdog);
  }

  private constructor(
    memory: WebAssembly.Memory,
    restored: RestoredShard[],
    store: ShardStore | undefined,
    start: LiveStart,
    secret: string,
    channel: Pick<Channel<FromLiveJah, ToLiveJah>, "send" | "end">,
    watchdog: Watchdog,
  ) {
    this.watchdog = watchdog;
    watchdog.guard(start.frameTimeoutMs, start.stuckFile);
    this.start = start;
    this.channel = channel;
    this.restored = restored.map(({ told }) => told);
    const [own, ...others] = restored;
    const meta = own?.meta;
    const shard = own && { from: own.told.from, to: own.told.to };
    const { versions } = start;
    const [{ version: first }] = versions;
    this.kernels = new Kernels(
      memory,
      versions,
      versionOf(versions, { saved: meta, owns: own !== undefined }),
    );
    if (own && !meta) openClocks(this.kernels.main, start.open ?? []);
    this.confirmed = start.confirmed;
    this.inbox = new Inbox(own?.told.frame ?? 0);
    if (meta) this.inbox.goOn(meta.places);
    this.owns = shard !== undefined;
    this.held = shard;
    this.peers = new HttpPeers(
      start.jah,
      secret,
      (batch) => this.receive(batch),
      () => this.wake(),
    );
    this.answers = new Answers(() => this.kernels.main);
    this.visits = new Visits({
      memory,
      watchdog,
      version: () => this.kernels.version,
      held: () => this.held,
      isFree: () => !this.answers.isReading && !this.handover.busy && !this.gathering && !this.failed,
      restore: () => this.kernels.restart(),
    });
    this.handover = new Handover(() => this.kernels.main, this.inbox, this.peers);
    if (meta && shard && (meta.from < shard.from || meta.to > shard.to))
      this.handover.dropOutside(shard.from, shard.to);
    if (others.length)
      this.gathering = new Gathering(
        others,
        () => this.kernels.main,
        ({ memory, meta }) => this.kernels.over(memory, meta?.version ?? first),
      );
    this.checkpointer =
      store &&
      new Checkpointer(store, meta?.frame, {
        kernel: () => this.kernels.main,
        meta: () => this.meta(),
        tell: (message) => {
          this.tellDone(); // what the checkpoint holds was told before it is there
          channel.send(message);
        },
        wake: () => this.wake(),
      });
    const folder = own?.told.store ?? start.store ?? "";
    const replica = start.replicas?.[folder];
    if (replica)
      store?.replicate?.(replica.module, replica.target, (event) => channel.send(toldOf(folder, event)));
    this.timer = setInterval(() => {
      this.tellDone(); // large frames would be told of all at once
      this.tellWork();
    }, WORK_INTERVAL_MS);
  }

  /** Serves peers; tells the Hallelu that this Jah is ready. */
  async open(): Promise<void> {
    const port = await this.peers.listen();
    this.nextTold = this.inbox.next;
    this.channel.send({
      type: "ready",
      port,
      next: this.inbox.next,
      version: this.kernels.version,
      restored: this.restored,
    });
    this.tellWork(true);
    this.wake(); // shards may be due that come from other folders
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.peers.close();
    this.kernels.close();
    await this.checkpointer?.close();
  }

  /** Messages of the Hallelu, but for the first. */
  handle(message: ToLiveJah): void {
    switch (message.type) {
      case "source":
        this.kernels.learn(message.source, message.specs);
        break;
      case "version":
        this.kernels.add(message.version);
        break;
      case "confirmed":
        this.confirmed = message.version;
        break;
      case "routing":
        this.learn(message.routing);
        break;
      case "gone":
        this.peers.forget(message.jah);
        break;
      case "map":
        for (const task of message.frames) this.tasks.push({ ...task, routing: message.routing });
        break;
      case "checkpoint":
        if (this.checkpointer) this.checkpointer.wanted = true;
        break;
      case "commit":
        this.checkpointer?.commit(message.standing);
        break;
      case "call":
        void this.call(message.id, message.method, message.argument);
        break;
    }
    this.wake();
  }

  private learn(routing: LiveRouting): void {
    this.routings.set(routing.id, routing);
    for (const { jah, port } of routing.targets) if (jah !== this.start.jah) this.peers.meet(jah, port);
    for (const move of routing.moves) {
      if (move.donor === this.start.jah || move.receiver === this.start.jah) {
        this.handover.expect(routing, move, this.start.jah);
        if (!this.owns) this.inbox.next = routing.start; // its first partitions
        this.owns = true;
      }
    }
  }

  private receive(batch: Batch): boolean {
    if (batch.kind === TRANSFER) this.handover.receive(batch);
    else this.inbox.add(batch);
    this.wake();
    return this.inbox.bytes < INBOX_BYTES;
  }

  private wake(): void {
    if (this.running || this.failed) return;
    this.running = true;
    setImmediate(() => void this.turn());
  }

  /** Whether the next frame is another version's, and the instance must stand that gives state away. */
  private get mustStand(): boolean {
    const [next] = this.tasks;
    return next !== undefined && this.handover.isGiving && !this.kernels.isOwn(next.task.frame);
  }

  private async turn(): Promise<void> {
    const applied = this.applyReady();
    const task = this.failed || this.peers.full || this.mustStand ? undefined : this.tasks.shift();
    if (task) await this.mapFrame(task);
    if (task && !this.workTold) this.tellWork();
    this.running = false;
    if (this.failed) return;
    if (applied || task) this.wake();
    if (!this.tasks.length || this.mapped.length >= LIVE_RUN_FRAMES || this.outputs.length) this.tellDone();
  }

  /** Applies what is next in frame order; whether anything was done. */
  private applyReady(): boolean {
    const startedAt = performance.now();
    let done = false;
    let lacking = false;
    for (let i = 0; i < LIVE_RUN_FRAMES; i++) {
      if (this.maySave) this.checkpointer?.begin();
      if (this.checkpointer?.blocks) break;
      const { next } = this.inbox;
      // More than one may take over at a frame.
      while (this.maySwitch && this.kernels.due(this.owns ? next : Infinity)) {
        if (!this.switchKernel()) return false;
        done = true;
      }
      const gathered = this.gather();
      if (gathered !== "none") done = true;
      if (gathered === "progress") break;
      if (gathered === "over") {
        this.gatheredAll();
        continue; // the next version may have waited for that
      }
      const handover = this.handover.step();
      if (handover === "waiting") break;
      if (handover !== "none") {
        done = true;
        if (handover === "progress") break;
        this.held = changed(this.held, handover);
        this.visits.forget();
        this.checkpointer?.moved();
        if (handover.received) this.channel.send({ type: "imported", routing: handover.routing });
        continue;
      }
      if (this.inbox.next >= this.heldAt) break;
      const batch = this.inbox.take(
        (routing, version) => this.routings.has(routing) && this.kernels.knows(version),
      );
      if (!batch) {
        lacking = true;
        break;
      }
      done = true;
      if (!this.apply(batch)) return false;
    }
    if (done) this.work.applyMs += performance.now() - startedAt;
    this.answerHold();
    // The frame that is lacking may be in a request that is held back.
    if (lacking || this.inbox.bytes < INBOX_BYTES) this.peers.release();
    return done;
  }

  /** Whether a checkpoint may begin: the state is whole, nobody reads it, and what it holds will not be rolled back. */
  private get maySave(): boolean {
    const { held, handover, gathering, answers, kernels } = this;
    const isWhole = held !== undefined && !handover.busy && !gathering;
    return isWhole && !answers.isReading && kernels.version <= this.confirmed;
  }

  /** Whether the state may become another version's: not while it is read. Whoever waits for a frame gets the state of the version of that frame. */
  private get maySwitch(): boolean {
    if (this.gathering?.isTaking) return false; // the rest of it comes as the version's that it was begun with
    const { next } = this.inbox;
    return next < this.heldAt || (next === this.heldAt && this.onHeld !== undefined);
  }

  /** The next version of the kernel takes over. Whether it went well, as of `apply`. */
  private switchKernel(): boolean {
    const { next } = this.inbox;
    this.watchdog.enter(next, APPLYING);
    try {
      this.tellDone(); // what the version before did
      this.kernels.advance();
      this.visits.forget();
      this.checkpointer?.moved();
      const idleMs = performance.now() - this.appliedAt;
      this.channel.send({ type: "switched", version: this.kernels.version, idleMs });
      return true;
    } catch (error) {
      this.fail(error, next);
      return false;
    } finally {
      this.watchdog.leave();
    }
  }

  /** Whether it went well; else the state is half changed, and this Jah is at its end. */
  private apply(batch: Batch): boolean {
    this.watchdog.enter(batch.frame, APPLYING);
    try {
      const applied = this.kernels.owner.apply(batch);
      this.work.appliedFrames++;
      this.appliedAt = performance.now();
      if (applied) {
        const own = this.routings.get(batch.routing)!.targets.find(({ jah }) => jah === this.start.jah)!;
        this.outputs.push({ frame: batch.frame, from: own.from, to: own.to, ...applied });
      }
      return true;
    } catch (error) {
      this.fail(error, batch.frame);
      return false;
    } finally {
      this.watchdog.leave();
    }
  }

  private async mapFrame({
    task,
    routing,
    clock,
    still,
    skip,
    voids = [],
    only,
    ...sharing
  }: Task): Promise<void> {
    const startedAt = performance.now();
    this.watchdog.enter(task.frame, MAPPING);
    const { targets } = this.routings.get(routing)!;
    let result;
    try {
      const columns = skip ? undefined : await this.kernels.mapperOf(task.frame).read(task);
      const mapper = this.kernels.mapperOf(task.frame); // others may have used the memory meanwhile
      mapper.route(ownersOf(targets, voids, only), targets.length);
      result = skip ? mapper.skip(task) : mapper.mapRead(task, undefined, columns, sharing);
    } catch (error) {
      const failure = failureOf(error, this.kernels.current, task);
      const mapping = { routing, frame: task.frame };
      // The instance that stopped has half of the state given.
      if (this.handover.isGiving) return this.failWith({ failure, mapping });
      this.kernels.restart(); // whatever it was doing when it stopped
      this.channel.send({ type: "trapped", ...mapping, failure });
      return;
    } finally {
      this.watchdog.leave();
    }
    const { parts, keptBytes, cameDecoded } = result;
    const done = only ? silent(result.done) : result.done;
    const { frame, source, start, end } = done;
    const time = still ? -Infinity : done.time;
    const kind = voids.length ? VOIDED : ROUTED;
    const { version } = this.kernels.versionOf(task.frame);
    const head = { kind, frame, source, start, end, time, clock, routing, version };
    const voided = voids.length ? [partitionsOf(voids)] : [];
    targets.forEach(({ jah }, owner) => {
      const batch = encodeBatch(head, [...voided, ...parts[owner]]);
      if (jah === this.start.jah) this.inbox.add(decodeBatch(batch));
      else this.peers.send(jah, batch);
    });
    const { keep } = sharing;
    this.mapped.push({
      routing,
      done,
      ...(keep && { kept: { id: keep.id, bytes: keptBytes ?? 0 } }),
      ...(cameDecoded && { cameDecoded }),
    });
    this.work.mapMs += performance.now() - startedAt;
    this.work.mappedBytes += task.kind === "slice" ? task.bytes : done.end - done.start;
    this.work.mappedRecords += done.rows + done.bad;
  }

  private tellDone(): void {
    const { next } = this.inbox;
    if (!this.mapped.length && !this.outputs.length && next === this.nextTold) return;
    const { nextClose } = this.kernels.owner;
    this.channel.send({
      type: "did",
      mapped: this.mapped,
      outputs: this.outputs,
      next,
      nextClose: Number.isFinite(nextClose) ? nextClose : null,
    });
    this.mapped = [];
    this.outputs = [];
    this.nextTold = next;
  }

  private tellWork(always = false): void {
    if (!always && !this.work.appliedFrames && !this.work.mappedBytes && !this.work.applyMs) return;
    this.work.inboxBytes = this.inbox.bytes;
    this.work.outboxBytes = this.peers.bytes;
    this.work.stateBytes = this.kernels.main.arenaEnd - map.ARENA;
    this.work.residentBytes = process.memoryUsage.rss();
    this.channel.send({ type: "work", work: this.work });
    this.workTold ||= this.work.mappedBytes > 0;
    this.work = noWork();
  }

  private async call(id: number, method: keyof LiveMethods, argument: unknown): Promise<void> {
    try {
      const value = await this.perform(method, argument);
      this.channel.send({ type: "answer", id, value });
    } catch (error) {
      const { code = "internal", message, stack } = failureOf(error, this.kernels.current);
      const isTrap = code === "kernel-trapped";
      this.channel.send({ type: "answer", id, error: { code, message, ...(isTrap ? { stack } : {}) } });
    }
  }

  private perform(method: keyof LiveMethods, argument: unknown): unknown {
    switch (method) {
      case "hold":
        return this.hold((argument as LiveMethods["hold"]["argument"]).at);
      case "release":
        return this.release();
      case "save":
        return this.save();
      case "compile":
        return this.kernels.compile((argument as LiveMethods["compile"]["argument"]).kernel);
      default:
        if (this.visits.has(method)) return this.visits.perform(method, argument);
        return this.answers.perform(method, argument);
    }
  }

  /**
   * Stops applying now (`at` -1), which is answered at once; or at frame `at`, which is answered when that is reached and
   * all partitions are there that this Jah owns then.
   */
  private async hold(at: number): Promise<{ next: number }> {
    this.heldAt = Math.max(at, this.inbox.next);
    if (at >= 0) {
      await new Promise<void>((done) => {
        this.onHeld = done;
        this.wake();
      });
    }
    this.tellDone(); // whoever is answered knows then what is applied
    return { next: this.inbox.next };
  }

  /** Takes over some of another shard, which both are of one version for: one that is due and may not take over yet is waited for. */
  private gather(): "none" | "progress" | "over" {
    const { gathering, inbox, kernels } = this;
    if (!gathering || (!gathering.isTaking && kernels.due(inbox.next))) return "none";
    return gathering.step(inbox.next);
  }

  /** All shards that this Jah took up are one. */
  private gatheredAll(): void {
    const { shards } = this.start;
    this.gathering = undefined;
    this.held = { from: shards![0].from, to: shards!.at(-1)!.to };
    this.checkpointer?.moved();
    this.channel.send({ type: "gathered" });
  }

  private answerHold(): void {
    const { next } = this.inbox;
    if (next < this.heldAt || this.handover.busy || this.gathering || this.kernels.due(next)) return;
    this.onHeld?.();
    this.onHeld = undefined;
  }

  private release(): void {
    this.heldAt = Infinity;
    this.wake();
  }

  private async save(): Promise<{ frame: number }> {
    const { next } = this.inbox;
    await this.checkpointer!.save(next);
    return { frame: next };
  }

  /** What a checkpoint of this moment says beside its pages. */
  private meta(): Omit<Meta, "standing"> {
    const { next: frame, places } = this.inbox;
    return {
      abi: map.ABI_VERSION,
      version: this.kernels.version,
      end: this.kernels.main.arenaEnd,
      frame,
      ...this.held!,
      places,
    };
  }

  /** Cannot go on: tells why, and ends. */
  fail(error: unknown, frame?: number): void {
    const failure = failureOf(error, this.kernels.current);
    this.failWith({ failure, ...(frame === undefined ? {} : { frame }) });
  }

  private failWith(why: Omit<Extract<FromLiveJah, { type: "failed" }>, "type">): void {
    if (this.failed) return;
    this.failed = true;
    this.channel.send({ type: "failed", ...why });
    this.channel.end();
    void this.close();
  }
}

type Range = { from: number; to: number };

/** The partitions that are held after some were given away or received, at one end. */
function changed(
  held: Range | undefined,
  { move, received }: { move: Range; received: boolean },
): Range | undefined {
  if (received)
    return held ? { from: Math.min(held.from, move.from), to: Math.max(held.to, move.to) } : { ...move };
  const { from, to } = held!;
  const rest = move.from > from ? { from, to: move.from } : { from: move.to, to };
  return rest.from < rest.to ? rest : undefined;
}

function toldOf(store: string, event: ReplicaEvent): FromLiveJah {
  if (event.kind === "replicated") {
    const { frame, before, bytes, ms, meta } = event;
    const { from, to } = meta as Meta;
    return {
      type: "replicated",
      store,
      from,
      to,
      frame,
      bytes,
      ms,
      ...(before === undefined ? {} : { before }),
    };
  }
  const { code, message, isOver } = event;
  return { type: "unreplicated", code, message, isOver };
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

/** A byte for each partition: 1 in [from, to) of any. */
function partitionsOf(ranges: [number, number][]): Uint8Array {
  const flags = new Uint8Array(256);
  for (const [from, to] of ranges) flags.fill(1, from, to);
  return flags;
}

const NOBODY = 0xff;

/** The number of the target of each partition, as the kernel groups by it. */
function ownersOf(
  targets: LiveRouting["targets"],
  voids: [number, number][],
  only: [number, number][] = [[0, 256]],
): Uint8Array {
  const owners = new Uint8Array(256).fill(NOBODY);
  targets.forEach(({ from, to }, i) => owners.fill(i, from, to));
  for (const [from, to] of voids) owners.fill(NOBODY, from, to);
  const counts = partitionsOf(only);
  return owners.map((owner, partition) => (counts[partition] ? owner : NOBODY));
}

/** What is told of a frame that was mapped before, as another: nothing that would count twice. */
function silent(done: FrameDone): FrameDone {
  const told = { ...done, rows: 0, bad: 0, problems: [], emittedRows: 0 };
  delete told.emitted;
  return told;
}
