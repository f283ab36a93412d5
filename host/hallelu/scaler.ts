/**
 * Carries out what scaling.ts decides for one stream: claims Jahs, moves partitions, lets Jahs go. One step at a time; only
 * that state which moved is saved, which takes as long as the disk does, holds up nothing but further moves.
 */
import type { JahKind } from "../wire/congregation.ts";
import type { Jah } from "./jahs.ts";
import { decideScaling, NO_MEMORY, type ScalingCommand, type StreamFacts } from "./scaling.ts";
import { type Dispatch, UNAVAILABLE } from "./dispatch.ts";
import type { Rates } from "./rates.ts";

/** Weight of what was just measured against what was known, per report of a Jah. */
const NEW_WEIGHT = 0.2;
/** How often the policy is asked, ms. */
const INTERVAL_MS = 100;

/** What is scaled: a stream, as far as this needs it. */
export interface Scaled {
  readonly record: { min: number; max: number; shards?: number };
  readonly dispatch: Dispatch;
  /** The version of the kernel that frames from some on are given to. */
  readonly versions: { readonly current: { readonly from: number } };
  readonly jahs: ReadonlyMap<number, Jah>;
  readonly rates: Rates;
  readonly intakeRate: Rates;
  readonly backlogBytes: number;
  readonly freeCpus: number;
  claim(kind: JahKind, waits: boolean): Jah;
  /** Waits until no query is in the way; resolves with what ends the turn. */
  turn(): Promise<() => void>;
  /** Tells Jahs of new routings, and hands out frames. */
  announce(): void;
  pump(): void;
  /** Lets a Jah go on which nothing depends. */
  release(jah: Jah): void;
  /** State is to leave a donor at a frame. */
  holdBack(donor: Jah, frame: number): void;
  /** State has moved: resolves when it is saved and the registry says who has it now. */
  settleMove(donor: Jah, receiver: Jah): Promise<void>;
}

/** What is under way. */
type Step =
  /** Jahs were claimed that only map. */
  | { type: "starting"; jahs: Set<Jah> }
  /** A Jah was claimed that is to receive partitions. */
  | { type: "receiver"; jah: Jah; donor: number; from: number; to: number }
  /** State moves under a routing. */
  | { type: "moving"; donor: Jah; receiver: Jah; leaves: boolean; release: () => void };

export class Scaler {
  private readonly stream: Scaled;
  private memory = NO_MEMORY;
  private step: Step | undefined;
  /** State has moved and is saved by its receiver; until then the registry has it with the donor. */
  private saving: { donor: Jah; receiver: Jah } | undefined;
  /** They get no more frames, and end when nothing depends on them. */
  private readonly leaving = new Set<Jah>();
  private askedAt = 0;
  private mapSecondsPerByte = 0;
  private applySecondsPerByte = 0;
  private measuredSeconds = 0;
  private measuredAt = new Map<number, number>();
  private onSingle: (() => void) | undefined;

  constructor(stream: Scaled) {
    this.stream = stream;
  }

  tick(now: number): void {
    this.measure();
    if (now - this.askedAt < INTERVAL_MS) return;
    this.askedAt = now;
    const { command, memory } = decideScaling(this.facts(now), this.memory);
    this.memory = memory;
    this.carryOut(command);
  }

  private facts(now: number): StreamFacts {
    const { stream } = this;
    const { min, max } = stream.record;
    return {
      now,
      min,
      max,
      shards: stream.record.shards ?? 0,
      free: stream.freeCpus,
      backlogBytes: stream.backlogBytes,
      inBytesPerSecond: stream.intakeRate.bytesPerSecond,
      outBytesPerSecond: stream.rates.throughput,
      mapSecondsPerByte: this.mapSecondsPerByte,
      applySecondsPerByte: this.applySecondsPerByte,
      measuredSeconds: this.measuredSeconds,
      jahs: [...stream.jahs.values()]
        .filter((jah) => !this.leaving.has(jah))
        .map(({ id }) => {
          const shard = stream.dispatch.routing.targets.find(({ jah }) => jah === id);
          return { jah: id, ...(shard ? { shard: { from: shard.from, to: shard.to } } : {}) };
        }),
      changing: this.step !== undefined || [...this.leaving].some((jah) => !this.isKept(jah)),
      saving: this.saving !== undefined,
    };
  }

  /** Whether a Jah may not go yet, as the registry has the state with it that it gave away. */
  private isKept(jah: Jah): boolean {
    return this.saving?.donor === jah;
  }

  /** Takes in what Jahs told since the last time: useful seconds per byte. */
  private measure(): void {
    let mapMs = 0;
    let mappedBytes = 0;
    let applyMs = 0;
    for (const jah of this.stream.jahs.values()) {
      if (!jah.work || this.measuredAt.get(jah.id) === jah.workAt) continue;
      this.measuredAt.set(jah.id, jah.workAt);
      mapMs += jah.work.mapMs;
      mappedBytes += jah.work.mappedBytes;
      applyMs += jah.work.applyMs;
    }
    this.measuredSeconds += (mapMs + applyMs) / 1000;
    if (mappedBytes < 64 << 10) return; // fixed costs of small frames say nothing
    const mix = (known: number, measured: number) =>
      known ? known + NEW_WEIGHT * (measured - known) : measured;
    this.mapSecondsPerByte = mix(this.mapSecondsPerByte, mapMs / 1000 / mappedBytes);
    this.applySecondsPerByte = mix(this.applySecondsPerByte, applyMs / 1000 / mappedBytes);
  }

  private carryOut(command: ScalingCommand): void {
    const { stream } = this;
    switch (command.type) {
      case "add-transient":
        this.step = { type: "starting", jahs: new Set() };
        for (let i = 0; i < command.count; i++) {
          const jah = stream.claim("transient", false);
          if (this.step?.type === "starting") this.step.jahs.add(jah);
        }
        break;
      case "split": {
        const shard = stream.dispatch.routing.targets.find(({ jah }) => jah === command.jah)!;
        const jah = stream.claim("persistent", false);
        this.step = { type: "receiver", jah, donor: command.jah, from: command.at, to: shard.to };
        break;
      }
      case "join":
        this.join(command.jah, command.into);
        break;
      case "remove-transient":
        this.leave(...command.jahs.map((jah) => stream.jahs.get(jah)!));
        break;
    }
  }

  private join(donor: number, receiver: number): void {
    const { from, to } = this.stream.dispatch.routing.targets.find(({ jah }) => jah === donor)!;
    this.move(this.stream.jahs.get(donor)!, this.stream.jahs.get(receiver)!, from, to, true);
  }

  private move(donor: Jah, receiver: Jah, from: number, to: number, leaves: boolean): void {
    const step: Step = { type: "moving", donor, receiver, leaves, release: () => {} };
    this.step = step;
    void this.stream.turn().then((release) => {
      // One of them may have ended meanwhile, or all were let go.
      if (this.step !== step) return release();
      step.release = release;
      // A receiver that has no state yet is of the last version of the kernel, which takes no state of one before.
      const { dispatch, versions } = this.stream;
      const { start } = dispatch.move(
        [{ from, to, donor: donor.id, receiver: receiver.id }],
        versions.current.from,
      );
      this.stream.holdBack(donor, start);
      this.stream.announce();
      this.stream.pump();
    });
  }

  private leave(...jahs: Jah[]): void {
    for (const jah of jahs) {
      this.leaving.add(jah);
      jah.state = "leaving";
      this.stream.dispatch.leaving(jah.id);
    }
    this.settle();
  }

  /** A Jah is there: it maps already; a receiver gets its partitions now. */
  ready(jah: Jah): void {
    const { step } = this;
    if (step?.type === "starting" && step.jahs.delete(jah) && !step.jahs.size) this.step = undefined;
    if (step?.type !== "receiver" || step.jah !== jah) return;
    const donor = this.stream.jahs.get(step.donor);
    if (donor) this.move(donor, jah, step.from, step.to, false);
    else this.step = undefined; // it stays as one that maps
  }

  refused(jah: Jah): void {
    const { step } = this;
    if (step?.type === "starting" && step.jahs.delete(jah) && !step.jahs.size) this.step = undefined;
    if (step?.type === "receiver" && step.jah === jah) this.step = undefined;
  }

  /** A receiver has the state. */
  imported(receiver: Jah): void {
    const { step } = this;
    if (step?.type !== "moving" || step.receiver !== receiver) return;
    const { donor, leaves } = step;
    const saving = { donor, receiver };
    this.saving = saving;
    this.step = undefined;
    step.release();
    if (leaves) this.leave(donor);
    void this.stream.settleMove(donor, receiver).then(() => {
      // One of them may have ended meanwhile, or all were let go.
      if (this.saving !== saving) return;
      this.saving = undefined;
      this.settle();
    });
  }

  /** A Jah is gone; the one it exchanged state with, if it did. */
  lost(jah: Jah): Jah | undefined {
    this.refused(jah);
    const partner = this.partnerOf(jah);
    if (partner) {
      this.endMove();
      this.leaving.delete(partner);
    }
    this.leaving.delete(jah);
    this.settle();
    return partner;
  }

  /** A move is over, as it is, and what it moved is not waited for. */
  private endMove(): void {
    if (this.step?.type === "moving") {
      this.step.release();
      this.step = undefined;
    }
    this.saving = undefined;
  }

  /** The other side of a move that a Jah is party to, until what moved is saved. */
  private partnerOf(jah: Jah): Jah | undefined {
    const move = this.step?.type === "moving" ? this.step : this.saving;
    if (move?.donor === jah) return move.receiver;
    return move?.receiver === jah ? move.donor : undefined;
  }

  /** Something was applied, or saved: Jahs that leave may be free to go. */
  settle(): void {
    for (const jah of this.leaving) {
      if (this.isKept(jah) || !this.stream.dispatch.isDone(jah.id)) continue;
      this.leaving.delete(jah);
      this.stream.release(jah);
    }
    this.goOn();
  }

  /** A Jah's CPU is needed elsewhere: it goes as soon as nothing depends on it. False if none of its neighbours can take its shard. */
  give(jah: Jah): boolean {
    if (this.step) return true; // the Congregation asks again
    const { targets } = this.stream.dispatch.routing;
    const at = targets.findIndex((target) => target.jah === jah.id);
    if (at < 0) {
      this.leave(jah);
      return true;
    }
    const neighbour = [targets[at - 1], targets[at + 1]].find((each) => each && each.jah !== UNAVAILABLE);
    if (neighbour && !this.saving) this.join(jah.id, neighbour.jah);
    return neighbour !== undefined;
  }

  /**
   * Resolves when one Jah holds all partitions and no other is left, or one on each side of what is unavailable; or at once if
   * a part of the state is lost.
   */
  single(): Promise<void> {
    return new Promise((done) => {
      this.onSingle = done;
      this.goOn();
    });
  }

  /** The next step towards a single Jah, if that is wanted and no other step is under way. */
  private goOn(): void {
    if (!this.onSingle) return;
    const { dispatch, jahs } = this.stream;
    const { targets } = dispatch.routing;
    // A part of the state is lost: there is nothing to join, and what a step waits for may never be applied.
    if (!targets.every(({ jah }) => jah === UNAVAILABLE || jahs.has(jah))) return this.reset();
    if (this.step) return;
    const others = [...jahs.values()].filter(
      (jah) => !this.leaving.has(jah) && !targets.some((target) => target.jah === jah.id),
    );
    if (others.length) return this.leave(...others);
    if (this.leaving.size || this.saving) return;
    const last = targets.findLastIndex(
      ({ jah }, i) => i > 0 && jah !== UNAVAILABLE && targets[i - 1].jah !== UNAVAILABLE,
    );
    if (last > 0) this.join(targets[last].jah, targets[last - 1].jah);
    else this.reset();
  }

  /** All Jahs are let go: whatever was under way is over. */
  reset(): void {
    this.endMove();
    this.step = undefined;
    this.leaving.clear();
    this.memory = { ...this.memory, step: undefined, undo: undefined };
    this.onSingle?.();
    this.onSingle = undefined;
  }
}
