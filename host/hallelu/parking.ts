/**
 * Parking a stream: its state is brought together in one shard, or in one on each side of what is unavailable, and saved;
 * then all its Jahs are let go.
 */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { messageOf } from "../core/errors.ts";
import type { EventTime } from "./event-time.ts";
import type { Jah } from "./jahs.ts";
import type { Progress } from "./progress.ts";
import type { StreamRecord } from "./record.ts";
import type { Rollout } from "./rollout.ts";
import type { Scaler } from "./scaler.ts";
import type { Shards } from "./shards.ts";

/** What is parked: a stream, as far as this needs it. */
export interface Parked {
  readonly record: StreamRecord;
  readonly kernel: KernelDescriptor;
  readonly shards: Shards;
  readonly scaler: Scaler;
  readonly frames: { readonly time: EventTime };
  readonly progress: Pick<Progress, "counts" | "outputUpTo">;
  readonly rollout: Pick<Rollout, "registering" | "isUnproven" | "confirm" | "unsavedFrom">;
  /** The lowest frame that is not applied everywhere. */
  readonly lowest: number;
  /** Waits until no query is in the way; resolves with what ends the turn. */
  turn(): Promise<() => void>;
  /** Lets those go on who wait for what is applied. */
  settle(): void;
  /** Writes the record to the registry. */
  save(): Promise<void>;
  note(level: "error", message: string): void;
}

/**
 * Parks, with the state saved; but for that of a kernel that has taken no frame yet, or that the registry cannot be told of: what led to
 * it comes again. As long as the frames of the kernel before are not all applied, its state is saved, or a stream that gets short turns would
 * never come to their end.
 */
export async function rest(stream: Parked): Promise<void> {
  const { rollout, shards } = stream;
  await rollout.registering; // a version that cannot be registered is rolled back, which takes the state with it
  if (!rollout.isUnproven) await rollout.confirm().catch(() => {}); // else what is on trial is not saved
  const { unsavedFrom } = rollout;
  if (unsavedFrom === Infinity || (stream.lowest < unsavedFrom && shards.owners.length <= 1))
    return park(stream);
  const release = await stream.turn();
  letGo(stream);
  release();
}

/** Resolves when all Jahs are gone; what is not applied stays in the log. */
async function park(stream: Parked): Promise<void> {
  const { shards, scaler } = stream;
  for (const jah of shards.jahs.values())
    if (jah.state === "claimed" || jah.state === "starting") {
      shards.drop(jah);
      scaler.refused(jah);
    }
  const single = scaler.single();
  stream.settle();
  await single;
  // Where its output cannot be written for now, questions are answered meanwhile.
  await stream.progress.outputUpTo(stream.lowest).catch(() => {});
  const release = await stream.turn();
  try {
    if (shards.areTogether) await saveState(stream, shards.owners as Jah[]);
  } catch (error) {
    // The shard is replayed from the checkpoint before, or from the log's start.
    stream.note("error", `the state of ${stream.record.name} could not be saved: ${messageOf(error)}`);
  } finally {
    letGo(stream);
    release();
  }
}

/** Lets all Jahs go as they are. */
export function letGo({ shards, scaler }: Pick<Parked, "shards" | "scaler">): void {
  for (const jah of shards.jahs.values()) shards.drop(jah);
  // Whoever waits for a step that is under way need not any more.
  scaler.reset();
}

/** Has the owners save their state, from which the shards start when they wake. */
async function saveState(stream: Parked, owners: Jah[]): Promise<void> {
  const { record } = stream;
  const held = await Promise.all(owners.map((owner) => owner.call("hold", { at: -1 })));
  if (held.some(({ next }) => next >= stream.rollout.unsavedFrom)) return;
  const saved = await Promise.all(owners.map((owner) => owner.call("save", undefined)));
  const frame = Math.min(...saved.map((each) => each.frame));
  record.frame = frame;
  record.counts = stream.progress.counts.below(frame);
  record.clocks = stream.frames.time.saved;
  if (stream.kernel.time) {
    const nextClose = Math.min(...owners.map((owner) => owner.nextClose));
    record.nextClose = Number.isFinite(nextClose) ? nextClose : null;
  }
  await stream.save();
}
