/**
 * What one stream has saved: what each checkpoint remembers of it, how far all of them are, and what the registry says of state that moved to
 * another Jah or was brought together in one.
 */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { messageOf } from "../core/errors.ts";
import { untilDone } from "../core/promises.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { Standing } from "../wire/live.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Frames } from "./frames.ts";
import type { Home } from "./home.ts";
import type { Jah } from "./jahs.ts";
import type { Progress } from "./progress.ts";
import type { Registration, StreamRecord } from "./record.ts";
import type { Replicas } from "./replicas.ts";
import type { Rollout } from "./rollout.ts";
import type { Shards } from "./shards.ts";
import type { Versions } from "./versions.ts";

/** Pause between two words to the registry of how much is saved, ms: after a crash, shards know it better. */
const RECORD_MS = 5_000;
/** Pause before state that moved is saved again, where that failed, ms. */
const SAVE_RETRY_MS = 1_000;
/** How often it is looked whether what was saved is in the cluster, ms. */
const REPLICA_MS = 20;
/** How often it is looked whether a save waits for what is on trial, ms. */
const LOOK_MS = 100;

/** The stream, as far as this needs it. */
interface SavedStream {
  readonly record: StreamRecord;
  readonly kernel: KernelDescriptor;
  readonly versions: Versions;
  readonly dead: DeadLetters;
  readonly frames: Frames;
  readonly shards: Shards;
  readonly progress: Progress;
  readonly checkpoints: Checkpoints;
  readonly rollout: Rollout;
  /** The lowest frame that is not applied everywhere. */
  readonly lowest: number;
  note(level: "warn", message: string, more?: object): void;
}

interface SavingParts {
  log: StreamLog;
  home: Pick<Home, "drop" | "dropShard">;
  replicas: Replicas;
  registration: Registration;
  /** Is aborted when the stream never works again in this process. */
  over: AbortSignal;
  /** What a Jah brought together is one shard. */
  onGathered: () => void;
}

export class Saving {
  private readonly stream: SavedStream;
  private readonly parts: SavingParts;
  /** When the registry was last told how much is saved, ms. */
  private recordedAt = 0;

  constructor(stream: SavedStream, parts: SavingParts) {
    this.stream = stream;
    this.parts = parts;
  }

  /** What every checkpoint of a shard remembers of the stream, as of a frame. */
  standing(frame: number): Standing {
    const { progress, frames } = this.stream;
    const counts = progress.counts.below(frame);
    return { counts, clocks: frames.time.saved };
  }

  /** A shard was saved: what all have saved need not be counted frame by frame any more, nor be in the log. */
  saved(): void {
    const { record, progress, frames } = this.stream;
    const saved = this.savedOnes;
    if (saved.some(({ known }) => !known)) return;
    const frame = Math.min(...saved.map(({ known }) => known!.frame));
    if (frame <= record.frame) return;
    record.frame = frame;
    record.counts = progress.counts.below(frame);
    progress.counts.close(frame);
    record.clocks = frames.time.saved;
    this.trim();
    const now = performance.now();
    if (now - this.recordedAt < RECORD_MS) return;
    this.recordedAt = now;
    void this.parts.registration.save();
  }

  private get savedOnes() {
    const { shards, checkpoints } = this.stream;
    return shards.keepers.map(({ stored, jah }) => ({ stored, known: jah && checkpoints.saved.get(jah) }));
  }

  /** Forgets what of the log no shard needs any more. */
  trim(): void {
    const { record, frames, shards, dead, versions } = this.stream;
    const { log, home, replicas } = this.parts;
    const saved = this.savedOnes;
    if (saved.some(({ known }) => !known)) return;
    // The checkpoint before is used if the last one is damaged; where there is none, the log is, from where it would do.
    const needed = saved.map(({ stored, known }) =>
      Math.min(known!.before ?? (stored.start ? known!.frame : 0), replicas.neededFor(stored)),
    );
    frames
      .trimTo(Math.min(...needed), shards.unavailable.length > 0)
      .then(() => {
        dead.forgetBelow(log.first);
        for (const module of versions.forget(log.first)) {
          delete record.moduleSums?.[module];
          this.dropped(module, home.drop(module));
        }
      })
      .catch((error: unknown) => this.stream.note("warn", `the log cannot be trimmed: ${messageOf(error)}`));
  }

  /** A Jah that took up several shards has them together: when that is saved, and the registry says so, it is one. */
  async gathered(jah: Jah): Promise<void> {
    const { shards } = this.stream;
    const { registration, onGathered } = this.parts;
    while (jah.state === "working") {
      try {
        const { frame } = await this.savedInTime(jah);
        await this.replicated(jah, frame);
        const left = shards.gathered(jah, frame);
        await registration.write();
        for (const folder of left) this.dropShard(folder);
        shards.gatheredSaved(jah);
        onGathered();
        return;
      } catch (error) {
        await this.failed("what was brought together", jah, error);
      }
    }
  }

  /**
   * Saves what was brought together. Nobody is answered before that is, and what is on trial is not saved: a version whose turn has come is
   * confirmed for that; not one that waits behind a backlog, which may yet stop.
   */
  private async savedInTime(jah: Jah): Promise<{ frame: number }> {
    const { shards, rollout } = this.stream;
    const { over } = this.parts;
    let isDone = false;
    const saved = jah.call("save", undefined).finally(() => (isDone = true));
    saved.catch(() => {}); // for whoever waits below
    while (!isDone) {
      if (shards.lowest >= rollout.unsavedFrom) await untilDone(() => rollout.confirm(), over);
      await Promise.race([saved.catch(() => {}), new Promise((done) => setTimeout(done, LOOK_MS))]);
    }
    return saved;
  }

  /** State has moved: resolves when its receiver has saved it and the registry says so. */
  async settleMove(donor: Jah, receiver: Jah): Promise<void> {
    const { checkpoints, shards, lowest } = this.stream;
    if (!checkpoints.saved.has(receiver)) checkpoints.joined(receiver, lowest);
    while (receiver.state === "working") {
      try {
        const { frame } = await receiver.call("save", undefined);
        await this.replicated(receiver, frame);
        const before = shards.folderOf(donor);
        shards.moved(receiver, frame);
        await this.parts.registration.write();
        if (!shards.storedOf(donor) && before !== undefined) this.dropShard(before);
        break;
      } catch (error) {
        await this.failed("what moved", receiver, error);
      }
    }
    checkpoints.goOn(donor);
  }

  /** It is gone, or its disk is full, which may end: resolves when it may be tried again. */
  private async failed(what: string, jah: Jah, error: unknown): Promise<void> {
    this.stream.note("warn", `${what} is not saved yet: ${messageOf(error)}`, { jah: jah.id });
    await new Promise((done) => setTimeout(done, SAVE_RETRY_MS));
  }

  /** The registry may say that a Jah has state when another host could bring it back, too. Rejects if the Jah goes. */
  private async replicated(jah: Jah, frame: number): Promise<void> {
    const { shards } = this.stream;
    for (;;) {
      const folder = shards.folderOf(jah);
      const owned = shards.ownedBy(jah);
      if (folder === undefined || !owned || this.parts.replicas.has(folder, frame, owned)) return;
      if (jah.state !== "working") throw new Error(`Jah ${jah.id} is gone`);
      await new Promise((done) => setTimeout(done, REPLICA_MS));
    }
  }

  private dropShard(folder: string): void {
    this.dropped(folder, this.parts.home.dropShard(folder));
  }

  /** What is not needed any more is being removed. */
  private dropped(name: string, removing: Promise<void>): void {
    removing.catch((error: unknown) =>
      this.stream.note("warn", `${name} cannot be removed: ${messageOf(error)}`),
    );
  }
}
