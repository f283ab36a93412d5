/**
 * How another version of a stream's kernel takes over while the stream runs, is on trial, and is confirmed or rolled back. Which frames
 * are whose is kept by versions.ts.
 *
 * A version works before the registry knows of it, but nothing of it is saved or put out before that says that its trial is over.
 */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { fitState } from "../compiler/fit.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { TRIAL_FRAMES, TRIAL_MS, WAKE_PATIENCE_MS } from "../core/limits.ts";
import { within } from "../core/promises.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { StateFit } from "../wire/fit.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Frames } from "./frames.ts";
import type { Jah } from "./jahs.ts";
import type { Progress } from "./progress.ts";
import type { Registration, VersionRecord } from "./record.ts";
import { misfitOf } from "./shapes.ts";
import type { Shards } from "./shards.ts";
import type { Versions } from "./versions.ts";

/** How long a swap waits for its kernel to be compiled ahead, ms. */
const COMPILE_MS = 1_000;
/** How often it is looked whether all shards are of a new version, ms. */
const SWITCH_LOOK_MS = 2;
/** How often it is looked whether a trial is over, ms. */
const TRIAL_LOOK_MS = 50;
/** Pause before the registry is told again that a trial is over, where that failed, ms. */
const CONFIRM_RETRY_MS = 1_000;

/** The stream, as far as this needs it. */
export interface RolloutParts {
  record: { readonly name: string };
  versions: Versions;
  log: StreamLog;
  frames: Frames;
  shards: Shards;
  progress: Progress;
  dead: DeadLetters;
  registration: Registration;
  frameTimeoutMs: number;
  /** Is aborted when the stream does not go on in this process. */
  over: AbortSignal;
  /** Whether frames are logged that are not applied everywhere. */
  isBehind: () => boolean;
  /** Whether its user and its state let it work; and whether its state is being written to disk, to let its Jahs go. */
  mayRun: () => boolean;
  isParking: () => boolean;
  /** Throws `stream-failed`. */
  refuse: () => void;
  /** Waits until nobody else asks, moves or ends Jahs; resolves with what ends the turn. */
  turn: () => Promise<() => void>;
  /** No answer may be given, from now on, as of a frame below this one. */
  answered: (frame: number) => void;
  /** There is work: shards without a Jah are given one, and frames handed out. */
  busy: () => void;
  kill: (jah: Jah, reason: string) => void;
  note: (level: "info" | "warn" | "error", message: string) => void;
}

export class Rollout {
  private readonly parts: RolloutParts;
  /** When it was last seen that the version on trial had taken in nothing yet, or that it came. */
  private trialAt = performance.now();
  /** As long as the registry is being told that the trial is over. */
  private confirming: Promise<void> | undefined;
  /** Whether that is of all that are on trial. */
  private isAll = true;
  /** As long as the registry is being told of the version that works, which may fail; never rejects. */
  registering: Promise<void> | undefined;
  /** Resolves when the registry knows of the last version that was rolled back; never, if that does not come about in this process. */
  private rolledBack: Promise<void> = Promise.resolve();
  /** Until then: the first frame that the registry has as another version's. */
  private untoldFrom = Infinity;

  constructor(parts: RolloutParts) {
    this.parts = parts;
    const { trial } = parts.versions;
    if (trial) parts.progress.keepOutput(trial.from);
  }

  private get name(): string {
    return this.parts.record.name;
  }

  // --- a swap ----------------------------------------------------------------------------------------------------

  /**
   * Another version of the kernel takes over, from the first frame on that nobody was given; `module` lies in the stream's folder.
   * Resolves when the registry knows and all shards are of that version, or when that will be once they wake. Throws `swap-misfit`,
   * or what the kernel stops with, which was rolled back then.
   */
  async swap(
    version: Omit<VersionRecord, "version" | "at" | "from">,
    kernel: KernelDescriptor,
  ): Promise<void> {
    const { versions, progress, frames, shards, refuse, turn, answered, busy, note } = this.parts;
    refuse();
    this.checkSwap(kernel);
    await this.compileAhead(versions.pathOf(version));
    const release = await turn();
    try {
      // What this one puts out is kept back, which the end of the trial before would let go.
      while (this.confirming) await this.confirming.catch(() => {});
      refuse();
      const since = performance.now();
      const from = this.nextVersionFrom;
      const isAhead = !shards.areReady || from > shards.dispatch.fresh;
      this.checkSwap(kernel, from);
      const added = versions.add({ ...version, from });
      this.trialAt = since;
      progress.keepOutput(from);
      frames.shapes.use(kernel);
      const [live] = versions.live(Infinity, frames.shapes.sources);
      shards.send({ type: "version", version: live });
      answered(from);
      note("info", `version ${added.version} of ${this.name}, ${added.file}, takes over at frame ${from}`);
      busy();
      await this.registered(added);
      if (isAhead) release(); // the frames before come first, which may take long: whoever asks, parks or moves state does not wait for that
      await this.switched(added, since);
    } finally {
      release();
    }
  }

  /** Where the next version takes over: nobody was given the frames from there on, and all of them are the last version's. */
  private get nextVersionFrom(): number {
    const { shards, log, versions, progress, dead } = this.parts;
    const unknown = shards.areReady ? shards.dispatch.fresh : log.next;
    // The last version may be ahead, if it came while shards were missing; and so may output and dead letters, if a process before this one was.
    return Math.max(unknown, versions.current.from, progress.putOutBelow, dead.decidedBelow);
  }

  /** Jahs compile a kernel that is to take over, so that no frame waits for that; a Jah that is not heard of in time does it then. */
  private async compileAhead(module: string): Promise<void> {
    const jahs = [...this.parts.shards.jahs.values()].filter(({ state }) => state === "working");
    await within(Promise.allSettled(jahs.map((jah) => jah.call("compile", { kernel: module }))), COMPILE_MS);
  }

  /**
   * The registry knows of a version, which works already: nothing of it is saved or put out before. Where it cannot be written, the version is
   * rolled back, and why is thrown.
   */
  private async registered(added: VersionRecord): Promise<void> {
    const written = this.parts.registration.write();
    this.registering = written.catch(() => {});
    try {
      await written;
    } catch (error) {
      // Those that it came after were told of, and have nothing to do with that.
      if (added.error === undefined)
        this.takeBack(added, added, added.from, `the registry cannot be written: ${messageOf(error)}`);
      throw error;
    } finally {
      this.registering = undefined;
    }
  }

  /** Resolves when every shard is of a version, which no frame was handed out to since `since`, or nobody is there to become so. */
  private async switched(added: VersionRecord, since: number): Promise<void> {
    const { versions, shards, frameTimeoutMs, mayRun, isParking, busy } = this.parts;
    const { version } = added;
    const until = performance.now() + WAKE_PATIENCE_MS;
    // A Jah that is there may be in an upgrade, which is given the time of a frame before it is ended.
    const patience = () => (shards.areReady ? until + frameTimeoutMs : until);
    // Who is lost while it is parked is not brought back before that is over, which waits for this turn.
    const isLeft = () => isParking() && !shards.areReady;
    while (mayRun() && !isLeft() && performance.now() < patience()) {
      const { error } = versions.find(version);
      if (error !== undefined)
        throw new HallelujahError(
          "swap-rolled-back",
          `${this.name} went back to the kernel before: ${error}`,
        );
      const { owners } = shards;
      if (shards.areReady && owners.every((jah) => jah!.version >= version)) {
        const pauses = owners.flatMap((jah) => jah!.switched ?? []);
        // Who had nothing to do was idle for longer than that.
        const longest = Math.max(0, ...pauses.map(({ at, idleMs }) => Math.min(idleMs, at - since)));
        added.pauseMs = Math.round(longest * 10) / 10;
        return;
      }
      busy(); // it may have been about to park
      await new Promise((done) => setTimeout(done, SWITCH_LOOK_MS));
    }
  }

  // --- what fits -------------------------------------------------------------------------------------------------

  /** Throws `swap-misfit` if the state, or a source with frames from `from` on, does not fit a kernel. */
  checkSwap(kernel: KernelDescriptor, from = this.parts.log.next): void {
    const { misfits } = this.fitOf(kernel, from);
    if (misfits.length)
      throw new HallelujahError(
        "swap-misfit",
        `the kernel does not fit ${this.name}:\n${misfits.join("\n")}`,
      );
  }

  /** How state and sources fit a kernel that takes over at frame `from`, or now. */
  fitOf(kernel: KernelDescriptor, from = this.nextVersionFrom): StateFit {
    const { log, frames, versions } = this.parts;
    const fit = fitState(versions.kernel, kernel);
    const misfits = [...fit.misfits];
    const { sources } = frames.shapes;
    const waiting = log.kindsFrom(from);
    sources.forEach((source, number) => {
      const misfit = misfitOf(source, kernel);
      if (misfit !== undefined && (source.origin !== "push" || waiting.has(number))) misfits.push(misfit);
    });
    return { ...fit, misfits };
  }

  // --- a trial ---------------------------------------------------------------------------------------------------

  /** Whether the kernel has taken no frame yet, and may be rolled back. */
  get isUnproven(): boolean {
    const { versions, shards } = this.parts;
    return versions.trial !== undefined && shards.lowest <= versions.current.from;
  }

  /** No state is saved that holds this frame, or is about to, as its kernel may be rolled back, or is another one by the registry. */
  get unsavedFrom(): number {
    return Math.min(this.trialFrom, this.untoldFrom);
  }

  /** Resolves when the registry knows whose the frames below `frame`, and a state as of it, are; never, if that does not come about in this process. */
  told(frame: number): Promise<void> {
    return frame < this.untoldFrom ? Promise.resolve() : this.rolledBack;
  }

  private get trialFrom(): number {
    return this.parts.versions.trial?.from ?? Infinity;
  }

  /** Ten times a second. */
  tick(now: number): void {
    if (this.trialIsOver(now)) this.confirm().catch(() => {});
    else if (this.hasWaited) this.confirm(this.parts.versions.waiting).catch(() => {});
  }

  /** Resolves when the trial of its kernel is over. Rejects with `stream-on-trial` if that may take long, as no records come. */
  async untrialled(): Promise<void> {
    const { versions, isBehind } = this.parts;
    for (let left = 2 * TRIAL_MS; versions.trial; left -= TRIAL_LOOK_MS) {
      if (left <= 0 || (this.isUnproven && !isBehind())) {
        const back = `The kernel before comes back with: hallelujah swap ${this.name} --to ${versions.confirmed}; it has to take in records, too`;
        const message = `version ${versions.current.version} of ${this.name} is on trial, as it has taken in nothing yet; push records first. ${back}`;
        throw new HallelujahError("stream-on-trial", message);
      }
      await new Promise((done) => setTimeout(done, TRIAL_LOOK_MS));
    }
  }

  /** Whether the version on trial has shown that it works: a stream without records shows nothing. */
  private trialIsOver(now: number): boolean {
    const { versions, shards } = this.parts;
    // A backlog before it may take longer than a trial: that counts from its first frame.
    if (this.isUnproven) this.trialAt = now;
    if (!versions.trial || this.registering || !shards.areReady || this.isUnproven) return false;
    return shards.lowest >= versions.current.from + TRIAL_FRAMES || now - this.trialAt > TRIAL_MS;
  }

  /** Whether only what has taken in nothing yet is on trial for a reason: those that it replaced have applied all of their frames. */
  private get hasWaited(): boolean {
    const { versions, shards } = this.parts;
    const { trial, waiting } = versions;
    if (!trial || trial === waiting || this.registering || !shards.areReady) return false;
    return shards.lowest >= versions.current.from;
  }

  /**
   * The version that is on trial will not be rolled back any more, nor those after it, but for `next` and what follows that. Rejects if the registry
   * cannot be written: it stays on trial then.
   */
  confirm(next?: VersionRecord): Promise<void> {
    const { confirming } = this;
    if (confirming) return next || this.isAll ? confirming : confirming.then(() => this.confirm());
    this.isAll = next === undefined;
    this.confirming = this.confirmed(next).finally(() => (this.confirming = undefined));
    return this.confirming;
  }

  private async confirmed(next: VersionRecord | undefined): Promise<void> {
    const { versions, registration, shards, note } = this.parts;
    // What the registry cannot be told of is rolled back, and must not be confirmed before that.
    while (this.registering) await this.registering;
    const { trial } = versions;
    if (!trial) return;
    versions.endTrial(next);
    try {
      // Neither its output nor what is saved of it may be there before the registry knows.
      await registration.write();
    } catch (error) {
      if (versions.trial !== trial) throw error;
      versions.keepOnTrial();
      note("warn", `version ${trial.version} of ${this.name} stays on trial: ${messageOf(error)}`);
      await new Promise((done) => setTimeout(done, CONFIRM_RETRY_MS)); // not again with every tick
      throw error;
    }
    if (versions.trial !== trial) return; // it has stopped meanwhile, and was rolled back
    versions.confirm();
    this.isTold();
    const { confirmed } = versions;
    shards.send({ type: "confirmed", version: confirmed });
    note("info", `version ${confirmed} of ${this.name} is confirmed`);
  }

  /** The registry knows whose all frames are; its output is let go, but for what is on trial. */
  private isTold(): void {
    this.untoldFrom = Infinity;
    this.parts.progress.letOutputGo(this.trialFrom);
  }

  /** A kernel stopped at a frame. Whether it is on trial: the one before goes on then, from the same frame on, with its state. */
  rollBack(frame: number, message: string): boolean {
    const { versions } = this.parts;
    const { trial } = versions;
    if (!trial || frame < trial.from) return false;
    this.takeBack(trial, versions.of(frame), frame, message);
    return true;
  }

  /** A version that is on trial goes, and all after it, as one of these stopped at a frame. */
  private takeBack(first: VersionRecord, stopped: VersionRecord, frame: number, message: string): void {
    const { versions, frames, progress, shards, registration, over, kill, note } = this.parts;
    const before = versions.rollBack(stopped.version, message, first);
    note(
      "error",
      `version ${stopped.version} of ${this.name} stops at frame ${frame}, version ${before.version} goes on: ${message}`,
    );
    frames.shapes.use(versions.kernel);
    progress.rewind(first.from);
    this.untoldFrom = Math.min(this.untoldFrom, first.from);
    progress.keepOutput(this.unsavedFrom);
    shards.dispatch.forgetFrom(first.from);
    const told = registration.saved(over).then((isTold) => {
      if (!isTold) return new Promise<never>(() => {});
      if (this.rolledBack === told) this.isTold();
    });
    this.rolledBack = told;
    for (const jah of shards.jahs.values())
      if (jah.state !== "claimed") kill(jah, `Jah ${jah.id} ends, as its kernel is rolled back`);
  }
}
