/** A shard's state back from disk: the pages of its newest checkpoint that is whole, at the same addresses. */
import { HallelujahError, messageOf } from "../core/errors.ts";
import * as map from "../kernel/memory-map.ts";
import { growForPages, putPage } from "../kernel/pages.ts";
import type { PageStore } from "../store/page-store.ts";
import { openPages } from "../store/pages.ts";
import type { Restored } from "../wire/live.ts";
import type { Meta } from "./checkpointer.ts";

export interface RestoredState {
  store: PageStore;
  /** Of the checkpoint that was read; undefined if there is none yet. */
  meta?: Meta;
  /** What the Hallelu is told of it. */
  checkpoint?: Restored;
}

/** Opens a shard's store and reads its state into a memory in which no kernel was instantiated yet. Rejects with `store-damaged`. */
export async function restore(
  folder: string,
  memory: WebAssembly.Memory,
  shard: { from: number; to: number } | undefined,
): Promise<RestoredState> {
  const store = await openPages(folder);
  const damage = store.damage ? [store.damage.message] : [];
  for (const [i, { number, meta }] of store.checkpoints.entries()) {
    const { abi, end, frame, from, to, places, standing } = meta as Meta;
    // One that was made before partitions came from elsewhere lacks those.
    if (!shard || from > shard.from || to < shard.to) {
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
    const checkpoint: Restored = {
      frame,
      places,
      standing,
      ...(older ? { before: older.frame } : undefined),
      ...(damage.length ? { damage: damage.join("; ") } : undefined),
    };
    return { store, meta: meta as Meta, checkpoint };
  }
  if (!damage.length) return { store };
  await store.close();
  throw new HallelujahError("store-damaged", damage.join("; "));
}
