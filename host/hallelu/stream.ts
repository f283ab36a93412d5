/**
 * One stream on this host. Records that are pushed become frames of its log; frames are dispatched to its Jahs, which map
 * them and apply them; what Jahs tell moves the stream on. Deciding is done elsewhere, without I/O: which frames go
 * where (dispatch.ts), how many Jahs there should be (scaling.ts), what a frame's output is (assembler.ts). This file
 * carries out.
 */
import { readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import {
  BACKLOG_BYTES_MAX,
  FRAME_TIMEOUT_MS,
  PARK_AFTER_MS,
  STATE_BYTES_MAX,
  TURN_MS,
  WAKE_PATIENCE_MS,
} from "../core/limits.ts";
import type { Stuck } from "../core/watchdog.ts";
import type { Log } from "../store/log.ts";
import type { Outputs } from "../store/outputs.ts";
import type { JahKind, StreamLoad } from "../wire/congregation.ts";
import type { StreamChange, StreamInfo, StreamState } from "../wire/http.ts";
import {
  type FromLiveJah,
  type LiveRouting,
  type LiveStart,
  MAPPING,
  type ShardStart,
} from "../wire/live.ts";
import { wishesOf } from "../input/plan.ts";
import { Assembler, type FrameOutput } from "../shuffle/assembler.ts";
import { DeadLetters, type Stage } from "./dead-letters.ts";
import { Dispatch, PARTITIONS, type Target } from "./dispatch.ts";
import { Frames } from "./frames.ts";
import type { Answer, PushBody, QueryRequest } from "./host.ts";
import type { Jah, JahOwner, Jahs } from "./jahs.ts";
import { type Effect, type Event, Lifecycle } from "./lifecycle.ts";
import { infoOf, loadOf } from "./ps.ts";
import { ask, planQuery } from "./query.ts";
import { Rates } from "./rates.ts";
import { Scaler } from "./scaler.ts";
import { applyChange, type StreamRecord } from "./record.ts";
import { Turns } from "./turns.ts";

/** Jahs of a stream that end before they are ready, one after the other, before it is given up. */
const FAILED_STARTS_MAX = 5;

/** The owner of what nobody holds, in a stream that has just been opened. */
const NOBODY = -1;

export interface StreamParts {
  jahs: Jahs;
  log: Log;
  outputs: Outputs;
  /** Of the kernel's `late`. */
  lateOutputs: Outputs;
  kernel: KernelDescriptor;
  /** The stream's folder. */
  folder: string;
  /** CPUs that no Jah has. */
  freeCpus: () => number;
  /** Writes the record to the registry. */
  save: (record: StreamRecord) => Promise<void>;
  note: (level: "info" | "warn" | "error", message: string, more?: object) => void;
  parkAfterMs?: number;
  frameTimeoutMs?: number;
}

export class Stream implements JahOwner {
  readonly record: StreamRecord;
  readonly kernel: KernelDescriptor;
  readonly outputs: Outputs;
  readonly lateOutputs: Outputs;
  /** What is applied. */
  readonly rates = new Rates();
  readonly dead: DeadLetters;
  readonly dispatch: Dispatch;
  readonly frames: Frames;
  /** Its Jahs that were claimed and are not gone. */
  readonly jahs = new Map<number, Jah>();
  private readonly parts: StreamParts;
  private readonly log: Log;
  private readonly assembler: Assembler;
  private readonly scaler: Scaler;
  private readonly lifecycle = new Lifecycle();
  error: string | undefined;
  /** Shards without a Jah: parked, or about to be recovered. */
  private vacant: Target[] = [];
  private readonly starts = new Map<number, ShardStart>();
  /** Ports of all Jahs that there have been, as long as a routing names them; and which of them are gone. */
  private readonly ports = new Map<number, number>();
  private readonly gone = new Set<number>();
  /** Routings that each Jah was told of. */
  private readonly told = new Map<number, Set<number>>();
  /** When the first window of each owner is over, in event time, ms. */
  private readonly nextCloses = new Map<number, number>();
  /** Frames below this are counted as applied. */
  private countedTo: number;
  private waiters: { frame: number; done: () => void }[] = [];
  private readonly turns = new Turns();
  lastWorkAt = performance.now();
  /** Settles when it was last parked. */
  private parking: Promise<void> = Promise.resolve();
  /** Jahs in a row that ended before they were ready. */
  private failedStarts = 0;
  private writingOutputs: Promise<void> = Promise.resolve();

  constructor(record: StreamRecord, parts: StreamParts) {
    this.record = record;
    this.parts = parts;
    this.kernel = parts.kernel;
    this.log = parts.log;
    this.outputs = parts.outputs;
    this.lateOutputs = parts.lateOutputs;
    const start = record.image?.frame ?? 0;
    this.dispatch = new Dispatch(
      [{ jah: NOBODY, from: 0, to: PARTITIONS }],
      start,
      (frame) => this.log.place(frame).bytes,
    );
    this.dispatch.logged(this.log.next);
    this.vacant = this.dispatch.lost(NOBODY);
    this.gone.add(NOBODY);
    this.dead = new DeadLetters(record.dead, record.version);
    this.frames = new Frames(record, {
      log: parts.log,
      kernel: parts.kernel,
      dead: this.dead,
      save: () => this.write(),
      onSource: (source) => {
        for (const jah of this.jahs.values())
          jah.send({ type: "source", source, spec: record.sources[source] });
      },
      onLogged: () => {
        this.dispatch.logged(this.log.next);
        this.busy();
      },
    });
    // Both outputs drop the frames that they have.
    this.assembler = new Assembler(start, parts.kernel.ordered);
    this.countedTo = start;
    this.scaler = new Scaler(this);
  }

  get name(): string {
    return this.record.name;
  }

  get shown(): StreamState {
    return this.lifecycle.shown;
  }

  get intakeRate(): Rates {
    return this.frames.rate;
  }

  get freeCpus(): number {
    return this.parts.freeCpus();
  }

  // --- what users do ---------------------------------------------------------------------------------------------

  /** Resolves with the frame of the last record, when the records are in the log. */
  async push(body: PushBody): Promise<number> {
    this.refuseIfFailed();
    if (this.backlogBytes + body.bytes > BACKLOG_BYTES_MAX) {
      const size = `${Math.round(this.backlogBytes / 2 ** 20)} MiB`;
      const message = `${this.name} has a backlog of ${size}, which is all it may have; send the same again later`;
      throw new HallelujahError("backlog-full", message);
    }
    return this.frames.push(body);
  }

  /** Asks for rows; wakes the stream if it is parked, and then applies what was logged first. */
  async query(request: QueryRequest): Promise<Answer> {
    this.refuseIfFailed();
    const query = planQuery(this.kernel, this.name, request);
    if (this.vacant.length || this.lifecycle.shown !== "running") await this.awake();
    const release = await this.turn();
    const owners = this.dispatch.routing.targets.map(({ jah }) => this.jahs.get(jah));
    if (owners.some((jah) => jah?.state !== "working")) {
      release();
      throw new HallelujahError("shard-lost", `a part of ${this.name} is being brought back; ask again`);
    }
    this.lastWorkAt = performance.now();
    return ask(owners as Jah[], query, release);
  }

  /** Waits until it alone may ask, move or end Jahs; resolves with what ends the turn. */
  turn(): Promise<() => void> {
    return this.turns.next();
  }

  /** Resolves when all shards are there and have applied what is in the log now. Rejects with `no-capacity`. */
  private async awake(): Promise<void> {
    this.wake();
    const applied = this.applied(this.log.next);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
      timer = setTimeout(() => {
        const message = this.vacant.length
          ? `${this.name} is parked and no CPU came free within ${WAKE_PATIENCE_MS / 1000} s; lower the capacity of another stream, or ask again later`
          : `${this.name} is still working through its backlog; ask again later`;
        fail(new HallelujahError("no-capacity", message));
      }, WAKE_PATIENCE_MS);
    });
    try {
      await Promise.race([applied, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves when every shard has applied all frames below `frame`. */
  applied(frame: number): Promise<void> {
    if (!this.vacant.length && this.shardsReady && this.dispatch.lowest >= frame) return Promise.resolve();
    return new Promise((done) => {
      this.waiters.push({ frame, done });
    });
  }

  async change(change: StreamChange): Promise<void> {
    const { record } = this;
    applyChange(record, change);
    await this.save();
    if (record.max === 0 || record.paused) await this.park();
    else this.busy();
  }

  // --- the life of its shards ------------------------------------------------------------------------------------

  /** There is work: shards without a Jah are given one, and frames handed out. */
  busy(): void {
    this.lastWorkAt = performance.now();
    if (this.vacant.length) this.wake();
    this.pump();
  }

  get mayRun(): boolean {
    return this.record.max > 0 && !this.record.paused && !this.lifecycle.isOver;
  }

  /** Shards without a Jah are to have one. */
  wake(): void {
    if (this.vacant.length && this.mayRun) this.tell(this.log.next ? "wake" : "start");
  }

  /** An event of its life; what it takes is carried out. */
  private tell(event: Event): void {
    const { shown } = this.lifecycle;
    const effects = this.lifecycle.take(event);
    if (this.lifecycle.shown !== shown) this.parts.note("info", `${this.name} is ${this.lifecycle.shown}`);
    for (const effect of effects) this.carryOut(effect);
  }

  private carryOut(effect: Effect): void {
    switch (effect) {
      case "claim":
        this.claimShards();
        break;
      case "save":
        this.parking = this.parkNow().finally(() => this.tell(this.record.paused ? "paused" : "parked"));
        break;
      case "drop":
        this.dropAll();
        break;
      case "resume":
        // It may run again since, or its CPU was needed for a turn of another stream.
        if (this.isBehind && this.mayRun) this.busy();
        break;
    }
  }

  private claimShards(): void {
    const { image } = this.record;
    for (const target of this.vacant.splice(0)) {
      const jah = this.claim("persistent", true);
      const next = image?.frame ?? 0;
      this.starts.set(jah.id, {
        from: target.from,
        to: target.to,
        next,
        ...(image ? { image: image.path } : {}),
      });
      this.dispatch.recover(target, jah.id, next);
    }
  }

  claim(kind: JahKind, waits: boolean): Jah {
    const jah = this.parts.jahs.claim(this, kind, waits);
    this.jahs.set(jah.id, jah);
    return jah;
  }

  startOf(jah: Jah): Omit<LiveStart, "type" | "jah"> {
    const shard = this.starts.get(jah.id);
    return {
      stream: this.name,
      kernel: this.record.kernel,
      stateBytesMax: STATE_BYTES_MAX,
      sources: this.frames.shapes.sources,
      columns: wishesOf(this.kernel.input.fields),
      frameTimeoutMs: this.frameTimeoutMs,
      stuckFile: this.stuckFile(jah),
      ...(shard ? { shard } : {}),
    };
  }

  ready(jah: Jah): void {
    this.failedStarts = 0;
    this.ports.set(jah.id, jah.port);
    this.dispatch.joined(jah.id);
    if (this.starts.has(jah.id)) this.dispatch.appliedUpTo(jah.id, this.starts.get(jah.id)!.next);
    this.scaler.ready(jah);
    if (!this.vacant.length && this.shardsReady) this.tell("ready");
    this.pump();
    this.settle();
  }

  private get shardsReady(): boolean {
    return this.dispatch.routing.targets.every(({ jah }) => this.jahs.get(jah)?.state === "working");
  }

  refused(jah: Jah): void {
    this.jahs.delete(jah.id);
    this.starts.delete(jah.id);
    this.scaler.refused(jah);
  }

  lost(jah: Jah, reason: string): void {
    this.jahs.delete(jah.id);
    this.starts.delete(jah.id);
    this.told.delete(jah.id);
    this.nextCloses.delete(jah.id);
    this.gone.add(jah.id);
    this.parts.note("warn", this.stuckIn(jah) ?? reason, { jah: jah.id });
    const owned = this.dispatch.lost(jah.id);
    this.failedStarts = jah.readyAt === Infinity ? this.failedStarts + 1 : 0;
    if (this.failedStarts >= FAILED_STARTS_MAX) return this.fail(`its Jahs do not start: ${reason}`);
    for (const other of this.jahs.values()) other.send({ type: "gone", jah: jah.id });
    // State that was on its way to or from it is lost with it: the other side starts again, too.
    const partner = this.scaler.lost(jah);
    this.vacant.push(...owned);
    if (partner)
      this.parts.jahs.kill(partner, `Jah ${partner.id} ends, as the one it exchanged state with did`);
    if (this.vacant.length && this.mayRun) this.tell("lose");
    this.pump();
  }

  /** A Jah that was in one frame for too long has said so, and was killed; a sentence if that is how it ended. */
  private stuckIn(jah: Jah): string | undefined {
    const path = this.stuckFile(jah);
    let stuck: Stuck;
    try {
      stuck = JSON.parse(readFileSync(path, "utf8")) as Stuck;
    } catch {
      return undefined;
    }
    rmSync(path, { force: true });
    const message = `the kernel did not return within ${this.frameTimeoutMs / 1000} s`;
    const own = this.dispatch.routing.targets.find((target) => target.jah === jah.id);
    if (stuck.kind === MAPPING) this.trapped(stuck.work, "map", [0, PARTITIONS], message);
    else if (own) this.trapped(stuck.work, "apply", [own.from, own.to], message);
    return `Jah ${jah.id} was in frame ${stuck.work} for more than ${this.frameTimeoutMs / 1000} s`;
  }

  private stuckFile(jah: Jah): string {
    return join(this.parts.folder, `stuck-${jah.id}`);
  }

  private get frameTimeoutMs(): number {
    return this.parts.frameTimeoutMs ?? FRAME_TIMEOUT_MS;
  }

  /** The CPU of a Jah is needed elsewhere. */
  reclaim(jah: Jah): void {
    // A turn begins when the Jah is there; the Congregation asks again.
    if (this.isBehind && performance.now() - jah.readyAt < TURN_MS) return;
    if (jah.state !== "working") return;
    if (!this.shardsReady) {
      // Another shard is on its way, or waits for a CPU as well; whoever holds one meanwhile must not keep it for ever.
      if (performance.now() - this.lastWorkAt > TURN_MS) void this.park();
      return;
    }
    if (this.dispatch.routing.targets.length === 1 && this.dispatch.routing.targets[0].jah === jah.id) {
      void this.park();
    } else this.scaler.give(jah);
  }

  /** Writes the state to disk and ends all Jahs, at once: what is not applied stays in the log. */
  park(): Promise<void> {
    this.tell("park");
    return this.parking;
  }

  private async parkNow(): Promise<void> {
    for (const jah of this.jahs.values())
      if (jah.state === "claimed" || jah.state === "starting") {
        this.drop(jah);
        this.scaler.refused(jah);
      }
    const single = this.scaler.single();
    this.settle();
    await single;
    const release = await this.turn();
    try {
      await this.saveAndDrop();
    } finally {
      release();
    }
  }

  private async saveAndDrop(): Promise<void> {
    const { targets } = this.dispatch.routing;
    const jah = this.jahs.get(targets[0].jah);
    if (jah?.state === "working" && targets.length === 1) {
      try {
        const path = join(this.parts.folder, `image-${Date.now()}`);
        await jah.call("hold", { at: -1 });
        const { frame } = await jah.call("save", { path });
        // What the image holds was emitted before it, and must not be forgotten after it.
        await this.writingOutputs;
        const before = this.record.image;
        this.record.image = { path, frame };
        if (this.kernel.time) {
          const nextClose = this.nextCloses.get(jah.id) ?? Infinity;
          this.record.clocks = this.frames.time.saved;
          this.record.nextClose = Number.isFinite(nextClose) ? nextClose : null;
        }
        await this.save();
        if (before) rmSync(before.path, { force: true });
      } catch (error) {
        // Without an image the shard is replayed from the one before, or from the log's start.
        this.parts.note("error", `the state of ${this.name} could not be saved: ${messageOf(error)}`);
      }
    }
    this.dropAll();
  }

  private dropAll(): void {
    for (const jah of this.jahs.values()) this.drop(jah);
    // Whoever waits for a step that is under way need not any more.
    this.scaler.reset();
  }

  /** Lets a Jah go that nobody hears of any more. */
  private drop(jah: Jah): void {
    this.jahs.delete(jah.id);
    this.starts.delete(jah.id);
    this.told.delete(jah.id);
    this.nextCloses.delete(jah.id);
    this.gone.add(jah.id);
    this.vacant.push(...this.dispatch.lost(jah.id));
    this.parts.jahs.end(jah);
  }

  /** Ends a Jah on which nothing depends. */
  release(jah: Jah): void {
    if (!this.dispatch.isDone(jah.id)) throw new TypeError(`Jah ${jah.id} is still needed`);
    this.drop(jah);
    for (const other of this.jahs.values()) other.send({ type: "gone", jah: jah.id });
  }

  // --- what Jahs tell --------------------------------------------------------------------------------------------

  message(jah: Jah, message: FromLiveJah): void {
    switch (message.type) {
      case "did":
        for (const { routing, done } of message.mapped) {
          const again = this.frames.mapped(done);
          if (again !== undefined) this.dispatch.again(routing, again);
          if (again === done.frame) continue;
          if (this.dispatch.mapped(jah.id, routing, done.frame)) {
            this.record.counts.records += done.rows;
            this.record.counts.bad += done.bad;
            this.rates.records(done.rows + done.bad);
          }
          this.emit(this.assembler.mapped(done.frame, done.emitted, done.emittedRows));
        }
        this.nextCloses.set(jah.id, message.nextClose ?? Infinity);
        for (const output of message.outputs) this.emit(this.assembler.applied(output));
        this.dispatch.appliedUpTo(jah.id, message.next);
        this.count();
        this.lastWorkAt = performance.now();
        this.pump();
        this.settle();
        break;
      case "imported":
        this.scaler.imported(jah);
        break;
      case "trapped":
        this.trapped(message.frame, "map", [0, PARTITIONS], message.failure.message);
        this.dispatch.again(message.routing, message.frame);
        this.pump();
        break;
      case "failed": {
        const own = this.dispatch.routing.targets.find((target) => target.jah === jah.id);
        if (message.failure.code === "image-damaged") this.setImageAside(message.failure.message);
        if (message.frame !== undefined && own) {
          this.trapped(message.frame, "apply", [own.from, own.to], message.failure.message);
        }
        this.parts.jahs.kill(jah, `Jah ${jah.id} stopped: ${message.failure.message}`);
        break;
      }
    }
  }

  /** What a shard starts from cannot be used: it is replayed from the log, if that still reaches. */
  private setImageAside(message: string): void {
    const { image } = this.record;
    if (!image) return;
    try {
      renameSync(image.path, `${image.path}.damaged`);
    } catch {
      // It may be gone, which comes to the same.
    }
    if (this.log.first > 0)
      return this.fail(`${message}; the log starts at frame ${this.log.first}, so its state is lost`);
    this.parts.note("error", `${message}; the state is made anew from the log`);
    delete this.record.image;
    void this.save();
  }

  /** A frame stopped the kernel: the first time it is tried again, the second time set aside. */
  private trapped(frame: number, stage: Stage, partitions: [number, number], message: string): void {
    if (!this.dead.failed(frame, stage, partitions, message)) return;
    this.parts.note("error", `frame ${frame} was set aside: ${message}`, { frame });
    void this.save();
  }

  private emit(complete: FrameOutput[]): void {
    for (const { frame, rows, bytes, late, lateRows, lateBytes } of complete) {
      this.record.counts.late += late;
      if (!rows && !lateRows) continue;
      this.writingOutputs = this.writingOutputs
        .then(async () => {
          if (rows) await this.outputs.append(Buffer.concat(bytes), rows, frame);
          if (lateRows) await this.lateOutputs.append(Buffer.concat(lateBytes), lateRows, frame);
        })
        .catch((error: unknown) => this.fail(`its output cannot be written: ${messageOf(error)}`));
    }
  }

  /** What all shards have applied since the last time. */
  private count(): void {
    const { lowest } = this.dispatch;
    if (this.vacant.length || lowest <= this.countedTo) return;
    this.rates.applied(this.log.bytesFrom(this.countedTo) - this.log.bytesFrom(lowest));
    this.countedTo = lowest;
  }

  private settle(): void {
    this.scaler.settle();
    if (this.vacant.length || !this.shardsReady) return;
    const { lowest } = this.dispatch;
    const ready = this.waiters.filter(({ frame }) => frame <= lowest);
    if (ready.length) this.waiters = this.waiters.filter(({ frame }) => frame > lowest);
    for (const { done } of ready) done();
  }

  // --- frames to Jahs --------------------------------------------------------------------------------------------

  /** Hands out what can be handed out. */
  pump(): void {
    const handouts = this.dispatch.handOut(!this.lifecycle.isParking);
    if (!handouts.length) return;
    this.announce();
    for (const { jah, routing, frames } of handouts) {
      this.jahs
        .get(jah)!
        .send({ type: "map", routing, frames: frames.map((frame) => this.frames.taskOf(frame)) });
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

  // --- time passes -----------------------------------------------------------------------------------------------

  /** Ten times a second. */
  tick(now: number): void {
    this.letTimePass();
    this.rates.sample(now);
    this.intakeRate.sample(now);
    if (this.lifecycle.state !== "running") return;
    if (this.shardsReady) this.scaler.tick(now);
    const idle = !this.isBehind && now - this.lastWorkAt > (this.parts.parkAfterMs ?? PARK_AFTER_MS);
    if (idle && this.outputsIdle) void this.park();
  }

  /** Whether frames are logged that are not applied everywhere. */
  get isBehind(): boolean {
    return this.lowest < this.log.next;
  }

  /** The lowest frame that is not applied everywhere. */
  get lowest(): number {
    return this.vacant.length ? (this.record.image?.frame ?? 0) : this.dispatch.lowest;
  }

  /** Where no records come, windows close by the wall clock. */
  private letTimePass(): void {
    if (!this.kernel.time || !this.mayRun || this.lifecycle.isParking || this.isBehind) return;
    const parked = this.record.nextClose ?? Infinity;
    const owners = this.dispatch.routing.targets.map(({ jah }) => this.nextCloses.get(jah) ?? Infinity);
    this.frames
      .letTimePass(this.vacant.length ? parked : Math.min(...owners))
      .catch((error: unknown) => this.fail(`its log cannot be written: ${messageOf(error)}`));
  }

  private get outputsIdle(): boolean {
    return !this.record.from;
  }

  get backlogBytes(): number {
    return this.log.bytesFrom(this.lowest);
  }

  load(now: number): StreamLoad {
    return loadOf(this, now);
  }

  info(): StreamInfo {
    return infoOf(this);
  }

  // --- the end ---------------------------------------------------------------------------------------------------

  /** The stream stops for good, with a sentence; the rest of the host goes on. */
  fail(message: string): void {
    if (this.lifecycle.state === "failed") return;
    this.error = message;
    this.tell("fail");
    this.parts.note("error", message);
  }

  private refuseIfFailed(): void {
    if (this.lifecycle.state !== "failed") return;
    throw new HallelujahError("stream-failed", `${this.name} stopped: ${this.error}`);
  }

  /** Parks and closes what is open; the stream can be opened again. */
  async close(): Promise<void> {
    this.tell("close");
    await this.parking;
    await this.writingOutputs;
    await Promise.all([this.log.close(), this.outputs.close(), this.lateOutputs.close()]);
  }

  /** Ends the stream; its Jahs are let go without saving anything. */
  async remove(): Promise<void> {
    this.tell("remove");
    await this.writingOutputs;
    await Promise.all([this.log.close(), this.outputs.close(), this.lateOutputs.close()]);
  }

  private saving: Promise<void> = Promise.resolve();

  private async write(): Promise<void> {
    this.record.dead = this.dead.all;
    await this.parts.save(this.record);
  }

  save(): Promise<void> {
    this.saving = this.saving
      .then(() => this.write())
      .catch((error: unknown) =>
        this.parts.note("error", `the registry cannot be written: ${messageOf(error)}`),
      );
    return this.saving;
  }
}
