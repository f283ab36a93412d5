/**
 * How the state of one stream comes back to its Jahs, from its folders or from the log: what those tell who take it up, what is done where one is
 * lost, and what the stream goes on without where neither can be read.
 */
import { basename, join } from "node:path";
import { messageOf } from "../core/errors.ts";
import { ROOM_RETRY_MS_MAX } from "../core/limits.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { StreamState } from "../wire/http.ts";
import type { Failure } from "../wire/jah.ts";
import type { FromLiveJah, Restored } from "../wire/live.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Failures } from "./failures.ts";
import type { Frames } from "./frames.ts";
import type { Jah } from "./jahs.ts";
import type { Event } from "./lifecycle.ts";
import type { Progress } from "./progress.ts";
import type { Registration, StoredShard, StreamRecord } from "./record.ts";
import type { Scaler } from "./scaler.ts";
import type { Shards } from "./shards.ts";
import { sentenceOf } from "./unavailable.ts";

/** Jahs of a stream that end before they are ready, one after the other, before it is given up. */
const FAILED_STARTS_MAX = 5;

/** The stream, as far as this needs it. */
interface RecoveringStream {
  readonly record: StreamRecord;
  readonly folder: string;
  readonly frames: Frames;
  readonly shards: Shards;
  readonly progress: Progress;
  readonly checkpoints: Checkpoints;
  readonly scaler: Scaler;
  readonly shown: StreamState;
  /** Why it failed. */
  readonly error: string | undefined;
  /** Whether its user and its state let it work. */
  readonly mayRun: boolean;
  /** Shards without a Jah are to have one. */
  wake(): void;
  /** Hands out what can be handed out. */
  pump(): void;
  /** Lets those go on who wait for what is applied. */
  settle(): void;
  /** It stops for good. */
  fail(message: string): void;
  note(level: "warn" | "error", message: string, more?: object): void;
}

interface RecoveryParts {
  log: StreamLog;
  registration: Registration;
  failures: Failures;
  /** An event of the stream's life. */
  tell: (event: Event) => void;
  kill: (jah: Jah, reason: string) => void;
}

export class Recovery {
  private readonly stream: RecoveringStream;
  private readonly parts: RecoveryParts;
  /** Jahs that could not start as the disk is full. */
  private readonly withoutRoom = new Set<Jah>();
  /** Jahs in a row that ended before they were ready. */
  private failedStarts = 0;

  constructor(stream: RecoveringStream, parts: RecoveryParts) {
    this.stream = stream;
    this.parts = parts;
  }

  /** A Jah has what it starts with, and the frames below `next`. */
  ready(jah: Jah, next: number, restored: Restored[]): void {
    const { shards, checkpoints, scaler, folder } = this.stream;
    const folders = restored.map((shard) => ({ ...shard, store: basename(shard.store) }));
    const [own] = folders;
    const gap = own && this.gapBehind(next, join(folder, own.store));
    if (gap) return this.giveUp([shards.storedIn(own.store)!], gap);
    // Several that come together may yet be too much for one.
    if (folders.length < 2) this.failedStarts = 0;
    for (const shard of folders) this.restored(jah, shard);
    if (shards.ready(jah, next, folders)) checkpoints.joined(jah, next, own.before);
    scaler.ready(jah);
    if (shards.areReady) this.parts.tell("ready");
    this.stream.pump();
    this.stream.settle();
  }

  /** Shards that one Jah took up together are one. */
  gathered(): void {
    this.failedStarts = 0;
    if (this.stream.shards.areReady) this.parts.tell("ready");
    this.stream.settle();
  }

  /** Why the log does not do for the state in a folder, which holds the frames below `next`. */
  gapBehind(next: number, folder: string): string | undefined {
    const { first } = this.parts.log;
    if (next < first)
      return `${folder} holds the frames below ${next}, the log begins at ${first}: what lies between is lost`;
    try {
      this.stream.frames.neededFrom(next);
      return undefined;
    } catch (error) {
      return `log-damaged: ${messageOf(error)}`;
    }
  }

  /** A shard was read back, which tells how the stream stood when it was saved. */
  private restored(jah: Jah, { frame, checkpoint, damage }: Restored): void {
    const { progress, frames } = this.stream;
    if (damage) this.stream.note("error", `an older checkpoint is used, as ${damage}`, { jah: jah.id });
    if (!checkpoint) return;
    const { standing, places } = checkpoint;
    progress.counts.restore(frame, standing.counts);
    progress.goOn(frame);
    frames.goOn(frame, places, standing.clocks);
  }

  /** The state of shards can neither be read nor made anew: the stream goes on without them, if any other is there. */
  private giveUp(stored: StoredShard[], reason: string): void {
    const { shards, record, progress } = this.stream;
    const holders = new Set(stored.flatMap((shard) => shards.giveUp(shard, reason)));
    if (shards.unavailable.length === record.stored.length) return this.stream.fail(reason);
    for (const shard of stored) {
      this.stream.note("error", sentenceOf({ ...shard, reason }));
      void progress.abandon(shard, () => this.parts.registration.write());
    }
    this.failedStarts = 0;
    for (const jah of holders) this.parts.kill(jah, `Jah ${jah.id} ends: ${reason}`);
  }

  /** The state of a shard cannot be read from its folder, which is that of a Jah if it is not named. */
  private storeDamaged(jah: Jah, path: string | undefined, reason: string): void {
    const { shards } = this.stream;
    const stored = path === undefined ? shards.storedOf(jah) : shards.storedIn(basename(path));
    if (!stored) return; // nothing of it counts yet
    const { first } = this.parts.log;
    if (first > 0)
      this.giveUp([stored], `${reason}; the log begins at frame ${first}, so that it cannot be made anew`);
    else this.parts.failures.setStoreAside(stored, reason);
  }

  /** A frame of the log is damaged: shards that have it already do without. */
  frameDamaged(routing: number, frame: number, reason: string): void {
    const lacking = this.stream.shards.lacking(routing, frame);
    if (lacking.length) this.giveUp(lacking, `log-damaged: ${reason}`);
  }

  /** A Jah says why it cannot go on; it is ended. */
  failed(jah: Jah, { failure, frame, store, mapping }: Extract<FromLiveJah, { type: "failed" }>): void {
    const { code, message: reason } = failure;
    if (code === "disk-full" && jah.readyAt === Infinity) this.withoutRoom.add(jah);
    if (code === "store-damaged") this.storeDamaged(jah, store, reason);
    if (frame !== undefined) this.parts.failures.applying(jah, frame, failure);
    if (mapping) this.failedMapping(jah, mapping, failure);
    this.parts.kill(jah, `Jah ${jah.id} stopped: ${reason}`);
  }

  /** A Jah ends as a frame stopped the kernel while it was mapped, in the middle of a move. Else the frame could end every donor. */
  private failedMapping(jah: Jah, of: { routing: number; frame: number }, failure: Failure): void {
    if (failure.code === "log-damaged") this.frameDamaged(of.routing, of.frame, failure.message);
    else this.parts.failures.mapping(of.frame, failure, jah);
  }

  /** A Jah is gone: another one is to have its shard. */
  lost(jah: Jah, reason: string): void {
    const { stream } = this;
    const { shards } = stream;
    const { failures, kill, tell } = this.parts;
    stream.note("warn", failures.stuckIn(jah) ?? reason, { jah: jah.id });
    if (stream.error !== undefined) return;
    const hasStarted = jah.readyAt !== Infinity && !shards.isGathering(jah);
    const entangled = shards.entangled(jah);
    shards.lost(jah);
    stream.checkpoints.left(jah);
    const lacksRoom = this.withoutRoom.delete(jah);
    if (hasStarted) this.failedStarts = 0;
    else if (!lacksRoom) this.failedStarts++;
    if (this.failedStarts >= FAILED_STARTS_MAX) return stream.fail(`its Jahs do not start: ${reason}`);
    // State that was on its way to or from it is lost with it: the other side starts again, too.
    const partner = stream.scaler.lost(jah);
    for (const other of new Set([...entangled, ...(partner ? [partner] : [])]))
      kill(other, `Jah ${other.id} ends, as the one it exchanged state with did`);
    if (lacksRoom) setTimeout(() => this.resumeStart(), ROOM_RETRY_MS_MAX).unref();
    else if (shards.hasVacant && stream.mayRun) tell("lose");
    stream.pump();
  }

  /** A shard could not be taken up, as the disk was full: it is tried again, unless nobody wants that any more. */
  private resumeStart(): void {
    const { shown } = this.stream;
    if (shown !== "parked" && shown !== "paused") this.stream.wake();
  }
}
