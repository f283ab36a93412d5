/**
 * When the shards of one stream are saved, and when what was saved counts. A checkpoint is made durable only when all output
 * of the frames below it is on disk, as replay will not bring that again; and while partitions have changed hands
 * since the last word of the registry, the donor's next one waits until the receiver's is there.
 */
import { CHECKPOINT_BYTES, CHECKPOINT_MS, CHECKPOINT_REST_MAX, CHECKPOINT_SHORT_MS } from "../core/limits.ts";
import { messageOf } from "../core/errors.ts";
import type { FromLiveJah, Standing } from "../wire/live.ts";
import type { Jah } from "./jahs.ts";

/** Pause after one that could not be made, ms. */
const RETRY_MS = 5_000;
/** Backlog at which a stream has caught up, bytes. */
const CAUGHT_UP_BYTES = 4 << 20;

export interface CheckpointsParts {
  /** Bytes of frames after which an owner is saved, if not those of limits.ts; 0: only when it is parked. */
  everyBytes?: number | undefined;
  /** Bytes of the log from a frame on. */
  bytesFrom: (frame: number) => number;
  /** The lowest frame that an owner has not applied. */
  appliedBy: (jah: number) => number;
  /** Resolves when all output of the frames below `frame` is on disk. */
  outputs: (frame: number) => Promise<void>;
  /** What is to be remembered of the stream as of `frame`. */
  standing: (frame: number) => Standing;
  /** A shard was saved. */
  onSaved: (jah: Jah) => void;
  note: (level: "warn", message: string, more?: object) => void;
  fail: (message: string) => void;
}

/** How a Jah's state stands on disk. */
export interface Saved {
  /** The lowest frame that is not in its newest checkpoint; and in the one before that, which may be needed if the newest is damaged. */
  frame: number;
  before?: number;
  at: number;
  /** Not again before, ms. */
  restUntil: number;
  /** Until then what came while it was away goes before, which a checkpoint would slow down; ms. */
  catchesUpUntil: number;
  underWay: boolean;
}

export class Checkpoints {
  /** Of each owner that is there. */
  readonly saved = new Map<Jah, Saved>();
  /** Figures of all that were made: how many, bytes of pages, ms. */
  readonly made = { count: 0, bytes: 0, ms: 0 };
  private readonly parts: CheckpointsParts;
  /** Checkpoints of donors that wait; and from which frame on they have to. */
  private readonly waiting = new Map<Jah, { from: number; goOn: (() => void)[] }>();

  constructor(parts: CheckpointsParts) {
    this.parts = parts;
  }

  /** An owner is there, with what it was read back from. */
  joined(jah: Jah, frame: number, before?: number): void {
    const at = performance.now();
    const known = { frame, at, restUntil: 0, catchesUpUntil: at + CHECKPOINT_MS, underWay: false };
    this.saved.set(jah, before === undefined ? known : { ...known, before });
  }

  left(jah: Jah): void {
    this.saved.delete(jah);
    this.goOn(jah);
  }

  /** Ten times a second: those are asked to save which would have to replay much, or were not saved for long. */
  tick(now: number): void {
    const { bytesFrom, appliedBy, everyBytes = CHECKPOINT_BYTES } = this.parts;
    if (!everyBytes) return;
    for (const [jah, saved] of this.saved) {
      if (jah.state === "gone") this.left(jah);
      if (saved.underWay || now < saved.restUntil || jah.state !== "working") continue;
      const applied = appliedBy(jah.id);
      if (applied <= saved.frame) continue;
      if (now < saved.catchesUpUntil && bytesFrom(applied) > CAUGHT_UP_BYTES) continue;
      saved.catchesUpUntil = 0;
      const replay = bytesFrom(saved.frame) - bytesFrom(applied);
      if (replay < everyBytes && now - saved.at < CHECKPOINT_MS) continue;
      saved.underWay = true;
      jah.send({ type: "checkpoint" });
    }
  }

  /** Its pages are written: it may be made durable when all that it must not outrun is. */
  async prepared(jah: Jah, frame: number): Promise<void> {
    const { outputs, standing, fail } = this.parts;
    const waiting = this.waiting.get(jah);
    if (waiting && frame >= waiting.from) await new Promise<void>((done) => waiting.goOn.push(done));
    try {
      await outputs(frame);
    } catch (error) {
      return fail(`its output cannot be written: ${messageOf(error)}`);
    }
    // It may have been given up meanwhile, and still be there to hear it.
    if (!this.saved.has(jah)) return;
    jah.send({ type: "commit", standing: standing(frame) });
  }

  saves(jah: Jah, { frame, before, bytes, ms }: Extract<FromLiveJah, { type: "saved" }>): void {
    const saved = this.saved.get(jah);
    if (!saved) return;
    const now = performance.now();
    this.saved.set(jah, {
      frame,
      at: now,
      restUntil: now + ms * Math.min(CHECKPOINT_REST_MAX, Math.max(1, ms / CHECKPOINT_SHORT_MS)),
      catchesUpUntil: 0,
      underWay: false,
      ...(before === undefined ? undefined : { before }),
    });
    this.made.count++;
    this.made.bytes += bytes;
    this.made.ms += ms;
    this.parts.onSaved(jah);
  }

  failed(jah: Jah, message: string): void {
    this.parts.note("warn", `its state could not be saved, which is tried again: ${message}`, {
      jah: jah.id,
    });
    const saved = this.saved.get(jah);
    if (saved) Object.assign(saved, { underWay: false, restUntil: performance.now() + RETRY_MS });
  }

  /** A donor gave partitions away at a frame: what it saves from there on must wait. */
  holdBack(jah: Jah, from: number): void {
    this.waiting.set(jah, { from, goOn: [] });
  }

  /** It need not any more. */
  goOn(jah: Jah): void {
    const waiting = this.waiting.get(jah);
    this.waiting.delete(jah);
    for (const goOn of waiting?.goOn ?? []) goOn();
  }
}
