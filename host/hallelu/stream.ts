/**
 * One stream on this host: what users and Jahs ask of it, carried out on its parts. Records that are pushed become frames
 * of its log (frames.ts); frames are dispatched to its Jahs (shards.ts), which map them and apply them; what Jahs tell moves
 * it on (progress.ts). Deciding is done elsewhere, without I/O: what follows from an event (lifecycle.ts), which frames go
 * where (dispatch.ts), how many Jahs there should be (scaling.ts), what a frame's output is (assembler.ts).
 */
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { KernelPlaces } from "../compiler/places.ts";
import { HallelujahError, isDiskFull, messageOf } from "../core/errors.ts";
import {
  BACKLOG_BYTES_MAX,
  FRAME_TIMEOUT_MS,
  PARK_AFTER_MS,
  ROOM_RETRY_MS_MAX,
  STATE_BYTES_MAX,
  TURN_MS,
  WAKE_PATIENCE_MS,
} from "../core/limits.ts";
import { untilDone } from "../core/promises.ts";
import type { Log } from "../store/log.ts";
import type { Extent } from "../store/retention.ts";
import type { Outputs } from "../store/outputs.ts";
import type { JahKind, StreamLoad } from "../wire/congregation.ts";
import type { StreamChange, StreamInfo, StreamState } from "../wire/http.ts";
import type { Failure } from "../wire/jah.ts";
import type { FromLiveJah, LiveStart, Restored, Standing } from "../wire/live.ts";
import { Checkpoints } from "./checkpoints.ts";
import { DeadBodies } from "./dead-bodies.ts";
import { DeadLetters } from "./dead-letters.ts";
import type { Dispatch } from "./dispatch.ts";
import { Failures } from "./failures.ts";
import { Drain } from "./drain.ts";
import type { DecodedFrames } from "./decoded.ts";
import { Frames } from "./frames.ts";
import type { Answer, PushBody, QueryRequest } from "./host.ts";
import type { Jah, JahOwner, Jahs } from "./jahs.ts";
import { type Effect, type Event, Lifecycle } from "./lifecycle.ts";
import type { readModule } from "./module.ts";
import { letGo, park } from "./parking.ts";
import { Progress } from "./progress.ts";
import { infoOf, loadOf } from "./ps.ts";
import { ask, planQuery, refuseUnavailable } from "./query.ts";
import type { Rates } from "./rates.ts";
import { applyChange, Registration, type StoredShard, type StreamRecord } from "./record.ts";
import { Rollout } from "./rollout.ts";
import { Scaler } from "./scaler.ts";
import { Shards } from "./shards.ts";
import type { Tally } from "./tally.ts";
import { Turns } from "./turns.ts";
import { sentenceOf } from "./unavailable.ts";
import { Versions } from "./versions.ts";
import { Visits } from "./visits.ts";

/** Jahs of a stream that end before they are ready, one after the other, before it is given up. */
const FAILED_STARTS_MAX = 5;
/** Pause between two words to the registry of how much is saved, ms: after a crash, shards know it better. */
const RECORD_MS = 5_000;
/** How often it is looked whether the processes of a parked stream have ended, ms. */
const ENDING_MS = 10;
/** Pause before state that moved is saved again, where that failed, ms. */
const SAVE_RETRY_MS = 1_000;

export interface StreamParts {
  jahs: Jahs;
  /** Whose `log` and `tally` these are, if it shares the records of another stream. */
  owner?: Stream;
  /**
   * It is a reprocess of `owner` (reprocess.ts), whose folder and outputs it has, until it takes that one's place: it gets the frames below
   * this number, which only grows.
   */
  until?: () => number;
  log: Log;
  /** What is known of all frames that were logged. */
  tally: Tally;
  /** What is decoded of the log for those that share it. */
  decoded?: DecodedFrames;
  outputs: Outputs;
  /** Of the kernel's `late`. */
  lateOutputs: Outputs;
  /** What the last version of its kernel says of itself. */
  kernel: KernelDescriptor;
  /** Reads what the others say, from their modules. */
  readModule?: typeof readModule;
  /** The stream's folder. */
  folder: string;
  /** CPUs of the host, and those that no Jah has. */
  cpus: number;
  freeCpus: () => number;
  /** Writes the record to the registry. */
  save: (record: StreamRecord) => Promise<void>;
  note: (level: "info" | "warn" | "error", message: string, more?: object) => void;
  parkAfterMs?: number;
  frameTimeoutMs?: number;
  checkpointBytes?: number;
}

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
  private readonly log: Log;
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
  /** When the registry was last told how much is saved, ms. */
  private recordedAt = 0;
  /** Whether it is at rest, and whether somebody wanted it to wake meanwhile. */
  private resting = false;
  private isWanted = false;
  /** Visits that are under way, or wait for it. */
  readonly visits: Visits;
  readonly rollout: Rollout;
  /** Of a stream that is reprocessed. */
  readonly drain: Drain;
  /** Jahs that could not start as the disk is full. */
  private readonly withoutRoom = new Set<Jah>();
  /** Jahs in a row that ended before they were ready. */
  private failedStarts = 0;

  constructor(record: StreamRecord, parts: StreamParts) {
    const { log, kernel, outputs, lateOutputs, folder, note } = parts;
    this.folder = folder;
    this.record = record;
    this.parts = parts;
    this.log = log;
    this.answered = log.next;
    this.until = parts.until;
    this.parkAfterMs = parts.parkAfterMs ?? PARK_AFTER_MS;
    const versions = new Versions(record, folder, kernel, parts.readModule);
    this.versions = versions;
    this.outputs = outputs;
    this.lateOutputs = lateOutputs;
    this.frameTimeoutMs = parts.frameTimeoutMs ?? FRAME_TIMEOUT_MS;
    this.visits = this.visitsOf();
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
      standing: (frame) => this.standing(frame),
      onSaved: () => this.saved(),
      note,
      fail,
    });
    const bodies = new DeadBodies(record, {
      folder,
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
      placesOf: (frame) => this.placesOf(frame),
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
    return this.lowest < this.head;
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

  private visitsOf(): Visits {
    return new Visits({
      name: this.name,
      frameTimeoutMs: this.frameTimeoutMs,
      stuckFile: (jah) => this.failures.stuckFile(jah),
      lowest: () => this.lowest,
      refuse: () => {
        this.refuseIfFailed();
        this.refuseIfReplaced();
        refuseUnavailable(this.name, undefined, this.shards.unavailable);
      },
      turn: async () => {
        const release = await this.turnOfOwners();
        return { jahs: [...this.shards.owners] as Jah[], least: this.answered, release };
      },
      answered: (frame) => this.answersHold(frame),
      worked: () => {
        this.lastWorkAt = performance.now();
      },
    });
  }

  /** Asks for rows; wakes the stream if it is parked, and then applies what was logged first. */
  async query(request: QueryRequest): Promise<Answer> {
    this.refuseIfFailed();
    const plan = () => {
      const query = planQuery(this.kernel, this.name, request);
      refuseUnavailable(this.name, query, this.shards.unavailable);
      return query;
    };
    plan();
    const release = await this.turnOfOwners();
    let query;
    try {
      query = plan(); // its kernel may have been swapped meanwhile, or its state only just have been read
    } catch (error) {
      release();
      throw error;
    }
    this.lastWorkAt = performance.now();
    const answer = await ask(this.shards.owners as Jah[], query, this.answered, release);
    this.answersHold(answer.frame);
    return answer;
  }

  /** All answers do from now on. */
  private answersHold(frame: number): void {
    this.answered = Math.max(this.answered, frame);
  }

  /** A turn in which all shards are there; the one before may have been that which parked the stream. */
  private async turnOfOwners(): Promise<() => void> {
    const until = performance.now() + WAKE_PATIENCE_MS;
    for (let tries = 2; tries && performance.now() < until; ) {
      if (this.shards.hasVacant || this.shown !== "running") await this.awake(this.log.next);
      else if (this.lowest < this.answered) await this.awake(this.answered);
      const release = await this.turn();
      const areThere = this.shards.owners.every((jah) => jah?.state === "working");
      // A swap may have come first, with a backlog before it: whoever holds the turn until that is done could not be parked.
      if (areThere && this.lowest >= this.answered) return release;
      release();
      if (!areThere) tries--;
    }
    throw new HallelujahError("shard-lost", `a part of ${this.name} is being brought back; ask again`);
  }

  /** Resolves when all shards are there and have applied the frames below `next`. Rejects with `no-capacity`. */
  private async awake(next: number): Promise<void> {
    this.refuseIfReplaced();
    this.wake();
    if (await this.progress.reaches(next, WAKE_PATIENCE_MS)) return;
    this.refuseIfFailed();
    this.refuseIfReplaced();
    const message = this.shards.hasVacant
      ? `${this.name} is parked and no CPU came free within ${WAKE_PATIENCE_MS / 1000} s; lower the capacity of another stream, or ask again later`
      : `${this.name} is still working through its backlog; ask again later`;
    throw new HallelujahError("no-capacity", message);
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
    this.dispatch.logged(this.log.next);
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

  private placesOf(frame: number): KernelPlaces {
    const version = this.versions.of(frame);
    return new KernelPlaces(this.versions.pathOf(version), this.versions.descriptorOf(version).file);
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
    const gap = this.gapBehind(from, this.folder);
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
  get shared(): { log: Log; tally: Tally } {
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
        this.parking = this.rest().finally(() => this.tell(this.record.paused ? "paused" : "parked"));
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

  /**
   * Parks, with the state saved; but for that of a kernel that has taken no frame yet, or that the registry cannot be told of: what led to
   * it comes again. As long as the frames of the kernel before are not all applied, its state is saved, or a stream that gets short turns would
   * never come to their end.
   */
  private async rest(): Promise<void> {
    const { rollout, shards } = this;
    await rollout.registering; // a version that cannot be registered is rolled back, which takes the state with it
    if (!rollout.isUnproven) await rollout.confirm().catch(() => {}); // else what is on trial is not saved
    const { unsavedFrom } = rollout;
    if (unsavedFrom === Infinity || (this.lowest < unsavedFrom && shards.owners.length <= 1))
      return park(this);
    const release = await this.turn();
    letGo(this);
    release();
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
    return {
      stream: this.name,
      versions: this.versions.live(this.log.first, this.frames.shapes.sources),
      confirmed: this.versions.confirmed,
      ...(this.record.begin === undefined ? {} : { begin: this.record.begin }),
      stateBytesMax: STATE_BYTES_MAX,
      frameTimeoutMs: this.frameTimeoutMs,
      stuckFile: this.failures.stuckFile(jah),
      ...(store === undefined ? undefined : { store: at(store) }),
      ...(shards ? { shards: shards.map((shard) => ({ ...shard, store: at(shard.store) })) } : undefined),
    };
  }

  ready(jah: Jah, next: number, restored: Restored[]): void {
    const folders = restored.map((shard) => ({ ...shard, store: basename(shard.store) }));
    const [own] = folders;
    const gap = own && this.gapBehind(next, join(this.folder, own.store));
    if (gap) return this.giveUp([this.shards.storedIn(own.store)!], gap);
    // Several that come together may yet be too much for one.
    if (folders.length < 2) this.failedStarts = 0;
    for (const shard of folders) this.restored(jah, shard);
    if (this.shards.ready(jah, next, folders)) this.checkpoints.joined(jah, next, own.before);
    this.scaler.ready(jah);
    if (this.shards.areReady) this.tell("ready");
    this.pump();
    this.settle();
  }

  /** Why the log does not do for the state in a folder, which holds the frames below `next`. */
  private gapBehind(next: number, folder: string): string | undefined {
    const { first } = this.log;
    if (next < first)
      return `${folder} holds the frames below ${next}, the log begins at ${first}: what lies between is lost`;
    try {
      this.frames.neededFrom(next);
      return undefined;
    } catch (error) {
      return `log-damaged: ${messageOf(error)}`;
    }
  }

  /** A shard was read back, which tells how the stream stood when it was saved. */
  private restored(jah: Jah, { frame, checkpoint, damage }: Restored): void {
    if (damage) this.note("error", `an older checkpoint is used, as ${damage}`, { jah: jah.id });
    if (!checkpoint) return;
    const { standing, places } = checkpoint;
    this.progress.counts.restore(frame, standing.counts);
    this.progress.goOn(frame);
    this.frames.goOn(frame, places, standing.clocks);
  }

  /** The state of shards can neither be read nor made anew: the stream goes on without them, if any other is there. */
  private giveUp(stored: StoredShard[], reason: string): void {
    const holders = new Set(stored.flatMap((shard) => this.shards.giveUp(shard, reason)));
    if (this.shards.unavailable.length === this.record.stored.length) return this.fail(reason);
    for (const shard of stored) {
      this.note("error", sentenceOf({ ...shard, reason }));
      void this.progress.abandon(shard, () => this.registration.write());
    }
    this.failedStarts = 0;
    for (const jah of holders) this.parts.jahs.kill(jah, `Jah ${jah.id} ends: ${reason}`);
  }

  /** The state of a shard cannot be read from its folder, which is that of a Jah if it is not named. */
  private storeDamaged(jah: Jah, path: string | undefined, reason: string): void {
    const stored = path === undefined ? this.shards.storedOf(jah) : this.shards.storedIn(basename(path));
    if (!stored) return; // nothing of it counts yet
    const { first } = this.log;
    if (first > 0)
      this.giveUp([stored], `${reason}; the log begins at frame ${first}, so that it cannot be made anew`);
    else this.failures.setStoreAside(stored, reason);
  }

  /** A frame of the log is damaged: shards that have it already do without. */
  private frameDamaged(routing: number, frame: number, reason: string): void {
    const lacking = this.shards.lacking(routing, frame);
    if (lacking.length) this.giveUp(lacking, `log-damaged: ${reason}`);
  }

  /** A Jah that took up several shards has them together: when that is saved, and the registry says so, it is one. */
  private async gathered(jah: Jah): Promise<void> {
    const { shards } = this;
    await untilDone(() => this.rollout.confirm(), this.over.signal); // what is on trial is not saved, and nobody is answered before this is
    while (jah.state === "working") {
      try {
        const { frame } = await jah.call("save", undefined);
        const left = shards.gathered(jah, frame);
        await this.registration.write();
        for (const folder of left) this.dropFolder(folder);
        shards.gatheredSaved(jah);
        this.failedStarts = 0;
        if (shards.areReady) this.tell("ready");
        this.settle();
        return;
      } catch (error) {
        await this.saveFailed("what was brought together", jah, error);
      }
    }
  }

  /** It is gone, or its disk is full, which may end: resolves when it may be tried again. */
  private async saveFailed(what: string, jah: Jah, error: unknown): Promise<void> {
    this.note("warn", `${what} is not saved yet: ${messageOf(error)}`, { jah: jah.id });
    await new Promise((done) => setTimeout(done, SAVE_RETRY_MS));
  }

  refused(jah: Jah): void {
    this.shards.refused(jah);
    this.scaler.refused(jah);
  }

  lost(jah: Jah, reason: string): void {
    this.note("warn", this.failures.stuckIn(jah) ?? reason, { jah: jah.id });
    if (this.error !== undefined) return;
    const hasStarted = jah.readyAt !== Infinity && !this.shards.isGathering(jah);
    const entangled = this.shards.entangled(jah);
    this.shards.lost(jah);
    this.checkpoints.left(jah);
    const lacksRoom = this.withoutRoom.delete(jah);
    if (hasStarted) this.failedStarts = 0;
    else if (!lacksRoom) this.failedStarts++;
    if (this.failedStarts >= FAILED_STARTS_MAX) return this.fail(`its Jahs do not start: ${reason}`);
    // State that was on its way to or from it is lost with it: the other side starts again, too.
    const partner = this.scaler.lost(jah);
    for (const other of new Set([...entangled, ...(partner ? [partner] : [])]))
      this.parts.jahs.kill(other, `Jah ${other.id} ends, as the one it exchanged state with did`);
    if (lacksRoom) setTimeout(() => this.resumeStart(), ROOM_RETRY_MS_MAX).unref();
    else if (this.shards.hasVacant && this.mayRun) this.tell("lose");
    this.pump();
  }

  /** A shard could not be taken up, as the disk was full: it is tried again, unless nobody wants that any more. */
  private resumeStart(): void {
    if (this.shown !== "parked" && this.shown !== "paused") this.wake();
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
      case "imported":
        this.scaler.imported(jah);
        break;
      case "gathered":
        void this.gathered(jah);
        break;
      case "trapped":
        if (message.failure.code === "log-damaged")
          return this.frameDamaged(message.routing, message.frame, message.failure.message);
        this.dispatch.again(message.routing, message.frame);
        this.failures.mapping(message.frame, message.failure);
        this.pump();
        break;
      case "failed": {
        const { code, message: reason } = message.failure;
        if (code === "disk-full" && jah.readyAt === Infinity) this.withoutRoom.add(jah);
        if (code === "store-damaged") this.storeDamaged(jah, message.store, reason);
        if (message.frame !== undefined) this.failures.applying(jah, message.frame, message.failure);
        if (message.mapping) this.failedMapping(jah, message.mapping, message.failure);
        this.parts.jahs.kill(jah, `Jah ${jah.id} stopped: ${reason}`);
        break;
      }
    }
  }

  /** A Jah ends as a frame stopped the kernel while it was mapped, in the middle of a move. Else the frame could end every donor. */
  private failedMapping(jah: Jah, of: { routing: number; frame: number }, failure: Failure): void {
    if (failure.code === "log-damaged") this.frameDamaged(of.routing, of.frame, failure.message);
    else this.failures.mapping(of.frame, failure, jah);
  }

  /** What every checkpoint of a shard remembers of the stream, as of a frame. */
  private standing(frame: number): Standing {
    const counts = this.progress.counts.below(frame);
    return this.kernel.time ? { counts, clocks: this.frames.time.saved } : { counts };
  }

  /** A shard was saved: what all have saved need not be counted frame by frame any more, nor be in the log. */
  private saved(): void {
    const { record, checkpoints, progress, frames } = this;
    const saved = this.shards.keepers.map(({ stored, jah }) => ({
      stored,
      known: jah && checkpoints.saved.get(jah),
    }));
    if (saved.some(({ known }) => !known)) return;
    const frame = Math.min(...saved.map(({ known }) => known!.frame));
    if (frame <= record.frame) return;
    record.frame = frame;
    record.counts = progress.counts.below(frame);
    progress.counts.close(frame);
    if (this.kernel.time) record.clocks = frames.time.saved;
    // The checkpoint before is used if the last one is damaged; where there is none, the log is, from where it would do.
    const needed = saved.map(({ stored, known }) => known!.before ?? (stored.start ? known!.frame : 0));
    frames
      .trimTo(Math.min(...needed), this.shards.unavailable.length > 0)
      .then(() => {
        this.dead.forgetBelow(this.log.first);
        for (const module of this.versions.forget(this.log.first)) {
          delete record.moduleSums?.[module];
          this.dropFolder(module);
        }
      })
      .catch((error: unknown) => this.note("warn", `the log cannot be trimmed: ${messageOf(error)}`));
    const now = performance.now();
    if (now - this.recordedAt < RECORD_MS) return;
    this.recordedAt = now;
    void this.save();
  }

  holdBack(donor: Jah, frame: number): void {
    this.checkpoints.holdBack(donor, frame);
  }

  /** State has moved: resolves when its receiver has saved it and the registry says so. */
  async settleMove(donor: Jah, receiver: Jah): Promise<void> {
    const { checkpoints, shards } = this;
    if (!checkpoints.saved.has(receiver)) checkpoints.joined(receiver, this.lowest);
    while (receiver.state === "working") {
      try {
        const { frame } = await receiver.call("save", undefined);
        const before = shards.folderOf(donor);
        shards.moved(receiver, frame);
        await this.registration.write();
        if (!shards.storedOf(donor) && before !== undefined) this.dropFolder(before);
        break;
      } catch (error) {
        await this.saveFailed("what moved", receiver, error);
      }
    }
    checkpoints.goOn(donor);
  }

  private dropFolder(name: string): void {
    rm(join(this.folder, name), { recursive: true, force: true }).catch((error: unknown) =>
      this.note("warn", `${name} cannot be removed: ${messageOf(error)}`),
    );
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

  /** Waits until it alone may ask, move or end Jahs; resolves with what ends the turn. */
  turn(): Promise<() => void> {
    return this.turns.next();
  }

  /** Hands out what can be handed out. */
  pump(): void {
    if (this.drain.isFrozen) return;
    const fresh = !this.lifecycle.isParking && !this.drain.holdsFresh && !this.waitsForOutput;
    const damaged = this.shards.handOut(this.frames, fresh);
    for (const { routing, frame, reason } of damaged) this.frameDamaged(routing, frame, reason);
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

  /** Where no records come, windows close by the wall clock. */
  private letTimePass(): void {
    if (!this.kernel.time || !this.mayRun || this.lifecycle.isParking || this.isBehind) return;
    this.frames.letTimePass(this.shards.nextClose).catch((error: unknown) => {
      // Where the disk is full, the next tick tries again.
      if (!isDiskFull(error)) this.fail(`its log cannot be written: ${messageOf(error)}`);
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
