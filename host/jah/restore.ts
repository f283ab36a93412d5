/** A shard's state back from disk: the pages of its newest checkpoint that is whole, at the same addresses. */
import { HallelujahError, messageOf } from "../core/errors.ts";
import * as map from "../kernel/memory-map.ts";
import { growForPages, putPage } from "../kernel/pages.ts";
import type { ShardStore } from "../store/page-store.ts";
import { openPages } from "../store/pages.ts";
import type { Restored, ShardOnDisk } from "../wire/live.ts";
import type { Meta } from "./checkpointer.ts";

export interface RestoredShard {
  store: ShardStore;
  memory: WebAssembly.Memory;
  /** Of the checkpoint that was read; undefined if there is none yet. */
  meta?: Meta;
  /** What the Hallelu is told of it. */
  told: Restored;
}

/** A shard's state could not be read: of which one. */
export class ShardError extends HallelujahError {
  readonly store: string;

  constructor(store: string, cause: HallelujahError) {
    super(cause.code, cause.message, { cause });
    this.store = store;
  }
}

/**
 * Opens the stores of shards and reads their states, each into a memory of its own in which no kernel was instantiated yet; the
 * one whose frame is lowest comes first, and its store alone stays open. One without a checkpoint begins at frame `begin`. `open` opens the store
 * in a folder. Rejects with `ShardError`, e.g. `store-damaged`.
 */
export async function restoreShards(
  shards: readonly ShardOnDisk[],
  newMemory: () => WebAssembly.Memory,
  begin = 0,
  open: (folder: string) => Promise<ShardStore> = openPages,
): Promise<RestoredShard[]> {
  const restored: RestoredShard[] = [];
  for (const shard of shards) {
    try {
      restored.push(await restore(shard, await open(shard.store), newMemory(), begin));
    } catch (error) {
      throw error instanceof HallelujahError ? new ShardError(shard.store, error) : error;
    }
  }
  restored.sort((a, b) => a.told.frame - b.told.frame);
  await Promise.all(restored.slice(1).map(({ store }) => store.close()));
  return restored;
}

async function restore(
  shard: ShardOnDisk,
  store: ShardStore,
  memory: WebAssembly.Memory,
  begin: number,
): Promise<RestoredShard> {
  const folder = shard.store;
  const damage = store.damage ? [store.damage.message] : [];
  for (const [i, { number, meta }] of store.checkpoints.entries()) {
    const { abi, end, frame, from, to, places, standing } = meta as Meta;
    // One that was made before partitions came from elsewhere lacks those.
    if (from > shard.from || to < shard.to) {
      damage.push(`its checkpoint of frame ${frame} holds other partitions`);
      continue;
    }
    if (abi !== map.ABI_VERSION)
      throw new HallelujahError(
        "store-damaged",
        `${folder} is of version ${abi}, this is ${map.ABI_VERSION}`,
      );
    try {
      growForPages(memory, end);
      await store.restore(number, (page, bytes) => putPage(memory, page, bytes));
    } catch (error) {
      damage.push(messageOf(error));
      new Uint8Array(memory.buffer, map.ARENA).fill(0); // pages that came before the damaged one
      continue;
    }
    const older = store.checkpoints[i + 1]?.meta as Meta | undefined;
    const told: Restored = {
      ...shard,
      frame,
      checkpoint: { places, standing },
      ...(older ? { before: older.frame } : undefined),
      ...(damage.length ? { damage: damage.join("; ") } : undefined),
    };
    return { store, memory, meta: meta as Meta, told };
  }
  if (!damage.length) return { store, memory, told: { ...shard, frame: begin } };
  await store.close();
  throw new HallelujahError("store-damaged", damage.join("; "));
}
