/**
 * One stream on this host: what users and Jahs ask of it, carried out on its parts. Records that are pushed become frames
 * of its log (frames.ts); frames are dispatched to its Jahs (shards.ts), which map them and apply them; what Jahs tell moves
 * it on (progress.ts). State is saved (saving.ts) and comes back (recovery.ts); clients ask for rows (questions.ts). Deciding
 * is done elsewhere, without I/O: what follows from an event (lifecycle.ts), which frames go where (dispatch.ts), how many
 * Jahs there should be (scaling.ts), what a frame's output is (assembler.ts).
 */
import { join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, isPassing, messageOf } from "../core/errors.ts";
import {
  BACKLOG_BYTES_MAX,
  FRAME_TIMEOUT_MS,
  PARK_AFTER_MS,
  STATE_BYTES_MAX,
  TURN_MS,
} from "../core/limits.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { Extent } from "../store/retention.ts";
import type { Outputs } from "../store/outputs.ts";
import type { JahKind, StreamLoad } from "../wire/congregation.ts";
import type { StreamChange, StreamInfo, StreamState } from "../wire/http.ts";
import type { FromLiveJah, LiveStart, Restored } from "../wire/live.ts";
import { Checkpoints } from "./checkpoints.ts";
import { DeadBodies } from "./dead-bodies.ts";
import { DeadLetters } from "./dead-letters.ts";
import type { Dispatch } from "./dispatch.ts";
import { Failures } from "./failures.ts";
import { Drain } from "./drain.ts";
import { Frames } from "./frames.ts";
import type { Answer, PushBody, QueryRequest } from "./host.ts";
import type { Jah, JahOwner } from "./jahs.ts";
import { type Effect, type Event, Lifecycle } from "./lifecycle.ts";
import { letGo, rest } from "./parking.ts";
import { Progress } from "./progress.ts";
import { infoOf, loadOf } from "./ps.ts";
import { Questions } from "./questions.ts";
import type { Rates } from "./rates.ts";
import { applyChange, Registration, type StreamRecord } from "./record.ts";
import { Recovery } from "./recovery.ts";
import { Replicas } from "./replicas.ts";
import { Rollout } from "./rollout.ts";
import { Saving } from "./saving.ts";
import { Scaler } from "./scaler.ts";
import { Shards } from "./shards.ts";
import type { StreamParts } from "./stream-parts.ts";
import type { Tally } from "./tally.ts";
import { Turns } from "./turns.ts";
import { Versions } from "./versions.ts";
import type { Visits } from "./visits.ts";

/** How often it is looked whether the processes of a parked stream have ended, ms. */
const ENDING_MS = 10;

export class Stream implements JahOwner {
  readonly record: StreamRecord;
  readonly versions: Versions;
  readonly folder: string;
  readonly outputs: Outputs;
  readonly lateOutputs: Outputs;
  readonly dead: DeadLetters;
  /** The records of those frames. */
  readonly bodies: DeadBodies;
  readonly frames: Frames;
  readonly shards: Shards;
  readonly progress: Progress;
  readonly checkpoints: Checkpoints;
  readonly scaler: Scaler;
  readonly dispatch: Dispatch;
  readonly jahs: ReadonlyMap<number, Jah>;
  /** What comes in, and what is applied. */
  readonly intakeRate: Rates;
  readonly rates: Rates;
  /** Why it failed. */
  error: string | undefined;
  /** When it last had something to do, ms. */
  lastWorkAt = performance.now();
  /** Time without work after which it is parked, ms. */
  parkAfterMs: number;
  private readonly parts: StreamParts;
  private readonly log: StreamLog;
  private readonly failures: Failures;
  private readonly registration: Registration;
  private readonly lifecycle = new Lifecycle();
  private readonly turns = new Turns();
  /** Is aborted when it never works again in this process. */
  private readonly over = new AbortController();
  private readonly frameTimeoutMs: number;
  /** Settles when it was last parked. */
  private parking: Promise<void> = Promise.resolve();
  /**
   * Answers hold the frames below this: no answer goes behind one that was given before, though a Jah that comes back has
   * to apply them again. What was in the log before this process may have been in answers.
   */
  private answered: number;
  /** As long as it is a reprocess: the frame that it must not reach. */
  private until: (() => number) | undefined;
  /** Whether another has taken its place. */
  private isReplaced = false;
  /** Whether it is at rest, and whether somebody wanted it to wake meanwhile. */
  private resting = false;
  private isWanted = false;
  readonly rollout: Rollout;
  /** Of a stream that is reprocessed. */
  readonly drain: Drain;
  private readonly saving: Saving;
  private readonly replicas: Replicas;
  private readonly recovery: Recovery;
  private readonly questions: Questions;

  constructor(record: StreamRecord, parts: StreamParts) {
    const { log, kernel, outputs, lateOutputs, folder, note } = parts;
    this.folder = folder;
    this.record = record;
    this.parts = parts;
    this.log = log;
    this.replicas = new Replicas(parts.home.isShared);
    this.answered = log.next;
    this.until = parts.until;
    this.parkAfterMs = parts.parkAfterMs ?? PARK_AFTER_MS;
    const versions = new Versions(record, folder, kernel, parts.readModule);
    this.versions = versions;
    this.outputs = outputs;
    this.lateOutputs = lateOutputs;
    this.frameTimeoutMs = parts.frameTimeoutMs ?? FRAME_TIMEOUT_MS;
    const dead = new DeadLetters(record.dead, (frame) => versions.of(frame).version);
    const registration = new Registration(record, dead, parts);
    const shards = new Shards(record, log, this.head, this, parts.jahs, parts.cpus);
    const frames = new Frames(record, {
      log,
      ...(parts.owner ? { owner: parts.owner.frames } : {}),
      onMisfit: (why) => this.note("warn", `records of ${record.from} are passed over: ${why}`),
      tally: parts.tally,
      kernel: () => versions.kernel,
      kernelOf: (frame) => versions.descriptorOf(versions.of(frame)),
      dead,
      save: () => registration.write(),
      onSource: (source) =>
        shards.send({ type: "source", source, specs: versions.specsOf(record.sources[source]) }),
      onLogged: () => {
        if (this.until) return; // what follows is told by `follow`
        shards.dispatch.logged(frames.ready);
        this.busy();
      },
      ...(parts.decoded ? { decoded: parts.decoded } : {}),
      at: () => this.handsOutAt,
    });
    const fail = (message: string) => this.fail(message);
    this.progress = new Progress(record, {
      kernelOf: (frame) => versions.descriptorOf(versions.of(frame)),
      log,
      outputs,
      lateOutputs,
      frames,
      shards,
      over: this.over.signal,
      onRoom: () => this.pump(),
      fail,
    });
    this.checkpoints = new Checkpoints({
      everyBytes: parts.checkpointBytes,
      bytesFrom: (frame) => log.bytesFrom(frame),
      appliedBy: (jah) => shards.dispatch.appliedBy(jah),
      outputs: async (frame) => {
        // Nor may a checkpoint pass a frame that the registry does not know to be another version's.
        await this.rollout.told(frame);
        await this.progress.outputUpTo(frame);
      },
      standing: (frame) => this.saving.standing(frame),
      onSaved: () => this.saving.saved(),
      note,
      fail,
    });
    const bodies = new DeadBodies(record, {
      folder,
      home: parts.home,
      log,
      frames,
      dead,
      save: () => registration.write(),
      isOver: () => this.lifecycle.isOver,
      onKept: (frame) => {
        if (!dead.isPending(frame)) this.dispatch.release(frame);
        this.pump();
      },
      fail,
      note,
    });
    this.failures = new Failures(record, {
      folder,
      placesOf: (frame) => versions.placesOf(frame),
      rollBack: (frame, message) => this.rollout.rollBack(frame, message),
      frameTimeoutMs: this.frameTimeoutMs,
      dead,
      bodies,
      shards,
      fail,
      note,
    });
    this.bodies = bodies;
    this.registration = registration;
    this.dead = dead;
    this.frames = frames;
    this.shards = shards;
    this.dispatch = shards.dispatch;
    this.jahs = shards.jahs;
    this.intakeRate = frames.rate;
    this.rates = this.progress.rates;
    this.scaler = new Scaler(this);
    this.drain = new Drain({
      shards,
      progress: this.progress,
      pump: () => this.pump(),
    });
    this.rollout = new Rollout({
      record,
      versions,
      log,
      frames,
      shards,
      progress: this.progress,
      dead,
      registration,
      frameTimeoutMs: this.frameTimeoutMs,
      over: this.over.signal,
      isBehind: () => this.isBehind,
      mayRun: () => this.mayRun,
      isParking: () => this.lifecycle.isParking,
      refuse: () => this.refuseIfFailed(),
      turn: () => this.turn(),
      answered: (frame) => this.answersHold(frame),
      busy: () => this.busy(),
      kill: (jah, reason) => parts.jahs.kill(jah, reason),
      note: (level, message) => this.note(level, message),
    });
    this.saving = new Saving(this, {
      log,
      home: parts.home,
      replicas: this.replicas,
      registration,
      over: this.over.signal,
      onGathered: () => this.recovery.gathered(),
    });
    this.recovery = new Recovery(this, {
      log,
      registration,
      failures: this.failures,
      tell: (event) => this.tell(event),
      kill: (jah, reason) => parts.jahs.kill(jah, reason),
    });
    this.questions = new Questions(this, {
      log,
      frameTimeoutMs: this.frameTimeoutMs,
      stuckFile: (jah) => this.failures.stuckFile(jah),
      answered: () => this.answered,
      answersHold: (frame) => this.answersHold(frame),
      refuseIfFailed: () => this.refuseIfFailed(),
      refuseIfReplaced: () => this.refuseIfReplaced(),
    });
  }

  get kernel(): KernelDescriptor {
    return this.versions.kernel;
  }

  get name(): string {
    return this.record.name;
  }

  get shown(): StreamState {
    return this.lifecycle.shown;
  }

  get freeCpus(): number {
    return this.parts.freeCpus();
  }

  /** The frames below this are its own to apply. */
  private get head(): number {
    return Math.min(this.log.next, this.until?.() ?? Infinity);
  }

  /** The next frame that it hands out, if it is at work, or is woken by what is logged, and is no reprocess. */
  private get handsOutAt(): number | undefined {
    const works = this.mayRun && !this.lifecycle.isParking && !this.drain.isFrozen && !this.waitsForOutput;
    return works && !this.until ? this.dispatch.fresh : undefined;
  }

  /** Whether frames are logged that are not applied everywhere. */
  get isBehind(): boolean {
    return this.lowest < Math.min(this.head, this.log.end);
  }

  /**
   * Whether it has to take in frames by itself: not those that an unproven kernel only needs to get back to where it was let go. They wait for
   * a push or a question; else streams without records would take the CPU from each other for nothing, for ever.
   */
  get hasWork(): boolean {
    const leadsBack = this.jahs.size === 0 && this.rollout.isUnproven && this.dispatch.wasApplied(this.head);
    // Windows close by themselves, for which their state has to be there.
    return this.isBehind && !(leadsBack && !this.kernel.time);
  }

  /** The lowest frame that is not applied everywhere. */
  get lowest(): number {
    return this.shards.lowest;
  }

  get backlogBytes(): number {
    const { lowest, head } = this;
    if (head === this.log.next) return this.log.bytesFrom(lowest);
    return lowest < head ? this.log.bytesFrom(lowest) - this.log.bytesFrom(head) : 0;
  }

  // --- what users do ---------------------------------------------------------------------------------------------

  /** Resolves with the frame of the last record, when the records are in the log. */
  async push(body: PushBody): Promise<number> {
    this.refuseIfFailed();
    this.refuseIfShared();
    if (this.backlogBytes + body.bytes > BACKLOG_BYTES_MAX) {
      const size = `${Math.round(this.backlogBytes / 2 ** 20)} MiB`;
      const message = `${this.name} has a backlog of ${size}, which is all it may have; send the same again later`;
      throw new HallelujahError("backlog-full", message);
    }
    return this.frames.push(body);
  }

  /** Logs the records of a frame that was set aside again. */
  async retry(frame: number): Promise<{ frame: number; bytes: number }> {
    this.refuseIfFailed();
    this.refuseIfShared();
    const { bytes } = this.bodies.infoOf(frame);
    return { frame: await this.bodies.retry(frame), bytes };
  }

  /** What is logged comes to all that share the log. */
  private refuseIfShared(): void {
    if (!this.record.shares) return;
    const { from } = this.record;
    const message = `${this.name} shares the records of ${from} and takes no others; push to ${from}`;
    throw new HallelujahError("records-shared", message);
  }

  /** Asks for rows; wakes the stream if it is parked, and then applies what was logged first. */
  query(request: QueryRequest): Promise<Answer> {
    return this.questions.query(request);
  }

  /** Kernels of clients that run over its rows. */
  get visits(): Visits {
    return this.questions.visits;
  }

  /** All answers do from now on. */
  private answersHold(frame: number): void {
    this.answered = Math.max(this.answered, frame);
  }

  // --- a reprocess (reprocess.ts) ----------------------------------------------------------------------------------

  /** Of a reprocess: it may have more frames than the last time. */
  follow(): void {
    this.dispatch.logged(this.head);
    this.busy(); // all its shards have to be there when it takes over
  }

  /**
   * It takes the place of the stream whose records it has taken in again: it is told apart from it by nothing from here on. The registry
   * says so already.
   */
  succeed(before: Stream, record: StreamRecord): void {
    for (const key of Object.keys(this.record))
      if (!(key in record)) delete this.record[key as keyof StreamRecord];
    Object.assign(this.record, record);
    this.until = undefined;
    delete this.parts.until;
    delete this.parts.owner;
    this.answered = Math.max(before.answered, record.cut!);
    this.frames.inherit();
    this.dispatch.logged(this.frames.ready);
    before.retire();
    this.note(
      "info",
      `version ${record.version} of ${this.name}, ${record.file}, takes over at frame ${record.cut}`,
    );
    this.busy();
  }

  /** Another has taken its place, with its log and its outputs: it lets its Jahs go, and whoever waits for it. */
  private retire(): void {
    this.isReplaced = true;
    this.tell("remove");
    this.progress.giveUp();
  }

  private refuseIfReplaced(): void {
    if (this.isReplaced)
      throw new HallelujahError("shard-lost", `a reprocess has just taken over ${this.name}; ask again`);
  }

  async change(change: StreamChange): Promise<void> {
    const { record } = this;
    applyChange(record, change);
    await this.save();
    if (record.max === 0 || record.paused) await this.park();
    else this.busy();
  }

  load(now: number): StreamLoad {
    return loadOf(this, now);
  }

  info(): StreamInfo {
    return infoOf(this);
  }

  /** Learns what the log says of the frames that are not applied. A stream of one shard whose log is damaged there has failed. */
  recall(): void {
    const from = Math.max(this.lowest, this.log.first);
    this.frames.recall(from);
    const gap = this.recovery.gapBehind(from, this.folder);
    // Of several, some may know better.
    if (gap && this.record.stored.length === 1) this.fail(gap);
  }

  // --- its life --------------------------------------------------------------------------------------------------

  /** There is work: shards without a Jah are given one, and frames handed out. */
  busy(): void {
    this.lastWorkAt = performance.now();
    this.wake();
    this.pump();
  }

  /** Whether its user and its state let it work. */
  get mayRun(): boolean {
    return this.record.max > 0 && !this.record.paused && !this.resting && !this.lifecycle.isOver;
  }

  /** Shards without a Jah are to have one. */
  wake(): void {
    this.isWanted = true;
    if (this.shards.hasVacant && this.mayRun) this.tell(this.log.next ? "wake" : "start");
  }

  /** Writes the state to disk and ends all Jahs, at once: what is not applied stays in the log. */
  park(): Promise<void> {
    this.tell("park");
    return this.parking;
  }

  /**
   * Does something while the stream is parked and none of its processes is left: nothing of its folder changes meanwhile but
   * the log, to which pushes are appended as ever. Then it goes on as it was.
   */
  async atRest<T>(work: () => Promise<T>): Promise<T> {
    this.isWanted = this.jahs.size > 0;
    this.resting = true;
    try {
      await this.park();
      while (this.parts.jahs.isEnding(this)) await new Promise((done) => setTimeout(done, ENDING_MS));
      await this.progress.written;
      await this.bodies.settled;
      return await work();
    } finally {
      this.resting = false;
      if (this.isWanted && this.mayRun) this.busy();
    }
  }

  /** What a stream needs that shares the records. */
  get shared(): { log: StreamLog; tally: Tally } {
    return { log: this.log, tally: this.parts.tally };
  }

  get logExtents(): Extent[] {
    return this.record.shares ? [] : this.log.extents; // it is the other stream's
  }

  /** An event of its life; what it takes is carried out. */
  private tell(event: Event): void {
    const { shown } = this;
    const effects = this.lifecycle.take(event);
    if (this.shown !== shown) this.note("info", `${this.name} is ${this.shown}`);
    if (this.lifecycle.isOver) this.over.abort();
    for (const effect of effects) this.carryOut(effect);
  }

  private carryOut(effect: Effect): void {
    switch (effect) {
      case "claim":
        this.shards.claimVacant();
        // It may have been that what was vacant cannot be had.
        if (this.shards.areReady) this.tell("ready");
        this.settle();
        break;
      case "save":
        this.parking = rest(this).finally(() => this.tell(this.record.paused ? "paused" : "parked"));
        break;
      case "drop":
        letGo(this);
        break;
      case "resume":
        // It may run again since, or its CPU was needed for a turn of another stream; or somebody asked meanwhile.
        if ((this.hasWork || this.progress.isAwaited) && this.mayRun) this.busy();
        break;
    }
  }

  /** The stream stops for good, with a sentence; the rest of the host goes on. */
  fail(message: string): void {
    if (this.lifecycle.state === "failed") return;
    this.error = message;
    this.tell("fail");
    this.note("error", message);
  }

  private refuseIfFailed(): void {
    if (this.lifecycle.state !== "failed") return;
    throw new HallelujahError("stream-failed", `${this.name} stopped: ${this.error}`);
  }

  /** Parks and closes what is open; the stream can be opened again. */
  async close(): Promise<void> {
    this.tell("close");
    await this.parking;
    await this.closeFiles();
  }

  /** Ends the stream; its Jahs are let go without saving anything. */
  async remove(): Promise<void> {
    this.tell("remove");
    await this.closeFiles();
  }

  private async closeFiles(): Promise<void> {
    await this.progress.written;
    this.frames.leave();
    if (this.until) return; // all is the other stream's
    const log = this.record.shares ? undefined : this.log.close();
    await Promise.all([log, this.outputs.close(), this.lateOutputs.close()]);
  }

  // --- what Jahs tell --------------------------------------------------------------------------------------------

  startOf(jah: Jah): Omit<LiveStart, "type" | "jah"> {
    const { store, shards } = this.shards.startOf(jah);
    const at = (folder: string) => join(this.folder, folder);
    const folders = [...(store === undefined ? [] : [store]), ...(shards ?? []).map((shard) => shard.store)];
    const replicas = folders.flatMap((folder) => {
      const replica = this.parts.home.replicaOf(folder);
      return replica ? [[at(folder), replica]] : [];
    });
    return {
      stream: this.name,
      versions: this.versions.live(this.log.first, this.frames.shapes.sources),
      confirmed: this.versions.confirmed,
      ...(this.record.begin === undefined ? {} : { begin: this.record.begin }),
      ...(this.record.open === undefined ? {} : { open: this.record.open }),
      stateBytesMax: STATE_BYTES_MAX,
      frameTimeoutMs: this.frameTimeoutMs,
      stuckFile: this.failures.stuckFile(jah),
      ...(replicas.length ? { replicas: Object.fromEntries(replicas) } : {}),
      ...(store === undefined ? undefined : { store: at(store) }),
      ...(shards ? { shards: shards.map((shard) => ({ ...shard, store: at(shard.store) })) } : undefined),
    };
  }

  ready(jah: Jah, next: number, restored: Restored[]): void {
    this.recovery.ready(jah, next, restored);
  }

  refused(jah: Jah): void {
    this.shards.refused(jah);
    this.scaler.refused(jah);
  }

  lost(jah: Jah, reason: string): void {
    this.recovery.lost(jah, reason);
  }

  /** The CPU of a Jah is needed elsewhere. */
  reclaim(jah: Jah): void {
    // A turn begins when the Jah is there; the Congregation asks again.
    if (this.isBehind && performance.now() - jah.readyAt < TURN_MS) return;
    if (jah.state !== "working") return;
    if (!this.shards.areReady) {
      // Another shard is on its way, or waits for a CPU as well; whoever holds one meanwhile must not keep it for ever.
      if (performance.now() - this.lastWorkAt > TURN_MS) void this.park();
      return;
    }
    const [owner, ...others] = this.shards.owners;
    const isLast = owner === jah && !others.length;
    if (isLast || this.rollout.unsavedFrom < Infinity || !this.scaler.give(jah)) void this.park();
  }

  message(jah: Jah, message: FromLiveJah): void {
    switch (message.type) {
      case "did":
        this.progress.did(jah, message);
        this.lastWorkAt = performance.now();
        this.pump();
        this.frames.tellSharers(); // behind what it has handed out itself
        this.settle();
        break;
      case "prepared":
        void this.checkpoints.prepared(jah, message.frame);
        break;
      case "saved":
        this.checkpoints.saves(jah, message);
        break;
      case "unsaved":
        this.checkpoints.failed(jah, message.failure.message);
        break;
      case "replicated":
        this.replicas.made(message);
        this.saving.trim();
        break;
      case "unreplicated":
        this.unreplicated(jah, message);
        break;
      case "imported":
        this.scaler.imported(jah);
        break;
      case "gathered":
        void this.saving.gathered(jah);
        break;
      case "trapped":
        if (message.failure.code === "log-damaged")
          return this.recovery.frameDamaged(message.routing, message.frame, message.failure.message);
        this.dispatch.again(message.routing, message.frame);
        this.failures.mapping(message.frame, message.failure);
        this.pump();
        break;
      case "failed":
        this.recovery.failed(jah, message);
        break;
    }
  }

  private unreplicated(
    jah: Jah,
    { code, message, isOver }: Extract<FromLiveJah, { type: "unreplicated" }>,
  ): void {
    if (code === "stream-moved") return this.parts.onMoved?.();
    const then = isOver
      ? "it stays on this host alone until the stream is started again"
      : "it is tried again";
    this.note(isOver ? "error" : "warn", `its state does not get to the cluster, ${then}: ${message}`, {
      jah: jah.id,
    });
  }

  // --- what its parts do -----------------------------------------------------------------------------------------

  claim(kind: JahKind, waits: boolean): Jah {
    return this.shards.claim(kind, waits);
  }

  release(jah: Jah): void {
    this.shards.release(jah);
  }

  announce(): void {
    this.shards.announce();
  }

  holdBack(donor: Jah, frame: number): void {
    this.checkpoints.holdBack(donor, frame);
  }

  settleMove(donor: Jah, receiver: Jah): Promise<void> {
    return this.saving.settleMove(donor, receiver);
  }

  /** Waits until it alone may ask, move or end Jahs; resolves with what ends the turn. */
  turn(): Promise<() => void> {
    return this.turns.next();
  }

  /** Hands out what can be handed out. */
  pump(): void {
    if (this.drain.isFrozen) return;
    const fresh = !this.lifecycle.isParking && !this.drain.holdsFresh && !this.waitsForOutput;
    const damaged = this.shards.handOut(this.frames, fresh);
    for (const { routing, frame, reason } of damaged) this.recovery.frameDamaged(routing, frame, reason);
  }

  /**
   * Whether no frame is to be begun before more of its output is put out. A kernel that has taken in nothing gets some all the same, as output is
   * kept back until it is proven.
   */
  private get waitsForOutput(): boolean {
    return this.progress.isFull && !this.rollout.isUnproven;
  }

  settle(): void {
    this.scaler.settle();
    this.progress.settle();
  }

  /** It has no Jah and no work. */
  get isResting(): boolean {
    return this.lifecycle.state === "parked" && !this.isBehind;
  }

  /** Ten times a second, once a second while it rests. */
  tick(now: number): void {
    this.letTimePass();
    this.frames.tick();
    this.rates.sample(now);
    this.intakeRate.sample(now);
    this.rollout.tick(now); // also while it is being parked, which waits for its state to be saved
    if (this.lifecycle.state !== "running") return;
    this.checkpoints.tick(now);
    // State that moves is saved, which may not hold what may yet be rolled back.
    if (this.shards.areReady && this.rollout.unsavedFrom === Infinity) this.scaler.tick(now);
    const idle = !this.isBehind && now - this.lastWorkAt > this.parkAfterMs;
    // One that takes in the output of another stream is ready for it.
    // One whose kernel is unproven would have to do again what led to its state.
    if (idle && (!this.record.from || this.record.shares) && !this.rollout.isUnproven) void this.park();
  }

  /** Where no records come, windows close by the wall clock; those of a reprocess do when it has taken over. */
  private letTimePass(): void {
    if (!this.kernel.time || !this.mayRun || this.lifecycle.isParking || this.isBehind || this.until) return;
    this.frames.letTimePass(this.shards.nextClose).catch((error: unknown) => {
      // The next tick tries again.
      if (!isPassing(error)) this.fail(`its log cannot be written: ${messageOf(error)}`);
    });
  }

  /** Writes the record to the registry. */
  save(): Promise<void> {
    return this.registration.save();
  }

  note(level: "info" | "warn" | "error", message: string, more?: object): void {
    this.parts.note(level, message, more);
  }
}
