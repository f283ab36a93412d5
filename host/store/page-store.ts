/**
 * The store of a shard: the pages of its arena, as two checkpoints found them. Only the Jah that holds the shard has it open.
 *
 * A checkpoint in the making is a number of `write`s, then a `commit`; until then, and if the process is killed, it is as if
 * nothing had been written. Only pages that changed are written: the others are those of the base, the checkpoint
 * restored or committed last.
 */
import type { HallelujahError } from "../core/errors.ts";
import type { ReplicaEvent } from "./replica.ts";

export interface Checkpoint {
  /** Counts up from 1, with gaps. */
  number: number;
  /** Whatever JSON can hold; what its owner wants to know of it. */
  meta: unknown;
}

/**
 * Calls are carried out in the order in which they are made; one need not wait for the one before. Errors:
 *
 *   store-damaged     what was written is not there, or not as it was written: says what, and in which folder
 *   disk-full         there is no room
 *   store-unwritable  anything else that the disk or another process has against it
 *
 * After a `write` or a `commit` that failed, all further ones fail likewise, until `abandon`; the checkpoints stay as they are.
 */
export interface PageStore {
  /** Newest first, at most two: the base and the one before it. */
  readonly checkpoints: readonly Checkpoint[];

  /**
   * What was found to be missing when the store was opened: a checkpoint that was durable is not there, or its record cannot be
   * read. What is in `checkpoints` then is older; whether that will do depends on how far back the log goes.
   */
  readonly damage: HallelujahError | undefined;

  /**
   * Hands over all pages of a checkpoint, each once, in no order; a page that does not come is all zeros. The checkpoint
   * becomes the base, and all later ones are forgotten with the next commit. `bytes` may be used again
   * as soon as `take` returns.
   * Rejects with `store-damaged` if any page is, when others may have been handed over; then there is no base.
   * There must be nothing written and not committed.
   */
  restore(number: number, take: (page: number, bytes: Uint8Array) => void): Promise<void>;

  /**
   * Pages of the checkpoint in the making, 64 KiB each, back to back, at most 4 MiB a call. What was written of the same page before is
   * replaced. `bytes` is transferred; resolves with it, to be filled again, as soon as the database has it (not synced).
   */
  write(pages: Uint32Array, bytes: ArrayBuffer): Promise<ArrayBuffer>;

  /**
   * Makes what was written durable, as one checkpoint on top of the base, or on nothing if nothing was restored; pages from
   * `end` on are left out. It becomes the base; what neither it nor the base before needs is deleted. Resolves with its number.
   */
  commit(meta: unknown, end?: number): Promise<number>;

  /**
   * Forgets what was written since the last commit, also after a failure. Resolves with the numbers of those pages, which have
   * to be written again sooner or later. A commit that is found to be on disk although it failed counts from here on. Rejects if the store still cannot be written; it may be tried again.
   */
  abandon(): Promise<Uint32Array>;

  /** What was not committed is lost. */
  close(): Promise<void>;
}

/** A store whose checkpoints can be taken elsewhere while it is worked with. */
export interface ReplicatedStore extends PageStore {
  /**
   * Has `openReplica` of the file `module` take the newest checkpoint to `target`, again and again, until the store is closed. It works in the store's
   * thread and holds up no call. To be called once.
   */
  replicate(module: string, target: unknown, told: (event: ReplicaEvent) => void): void;
}

/** A store that a Jah works with: one in memory, as tests have it, cannot be taken elsewhere. */
export type ShardStore = PageStore & Partial<Pick<ReplicatedStore, "replicate">>;
