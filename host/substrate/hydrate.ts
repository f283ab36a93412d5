/** A shard's state from the cluster into a folder of this host, as a checkpoint of the store there: a Jah restarts from it as from one of its own. */
import { rmSync } from "node:fs";
import { HallelujahError } from "../core/errors.ts";
import { PAGE_BYTES, PAGES_WRITE_BYTES } from "../core/limits.ts";
import type { PageStore } from "../store/page-store.ts";
import { openPages } from "../store/pages.ts";
import { type Blobs, hashOf } from "./blobs.ts";
import { type Snapshot, ZERO_PAGE } from "./manifest.ts";
import { isLoss, type Leader, type ShardNames, Snapshots } from "./snapshots.ts";

const BATCH_PAGES = PAGES_WRITE_BYTES / PAGE_BYTES;

export interface Hydrated {
  /** The lowest frame that is not in the state. */
  frame: number;
  /** Of the leader that wrote the snapshot. */
  epoch: number;
  /** Bytes of pages that came from the cluster. */
  bytes: number;
}

/**
 * Fills the folder of a shard with the newest snapshot that is whole, after whoever led before can write no other. Pages that it has already do not travel. What
 * else is there is given up, also if it is newer: another host may have led the stream since. If the process ends in between, the folder is as before or holds
 * what is told. Nobody may have it open.
 *
 * Resolves with undefined if there is no snapshot, when nothing is changed. Rejects with `stream-moved`, with `snapshot-lost` if none is whole, or as `Values` and
 * `PageStore` do.
 */
export async function hydrate(
  names: ShardNames,
  leader: Leader,
  folder: string,
  open: (folder: string) => Promise<PageStore> = openPages,
): Promise<Hydrated | undefined> {
  const { standing, losses, blobs } = await Snapshots.claim(names, leader);
  if (!standing.length && !losses.length) return undefined;
  for (const snapshot of standing) {
    const { store, had } = await openFolder(folder, open);
    try {
      const bytes = await write(store, blobs, snapshot, had);
      return { frame: snapshot.entry.frame, epoch: snapshot.entry.epoch, bytes };
    } catch (error) {
      if (!isLoss(error)) throw error;
      losses.push(error as HallelujahError);
    } finally {
      await store.close();
    }
  }
  const why = losses.map(({ message }) => message).join("; ");
  throw new HallelujahError(
    "snapshot-lost",
    `no snapshot of ${names.shard} is whole in the cluster (${why}); reprocess the stream, or put back what was removed there`,
    { cause: losses[0] },
  );
}

/** The store of the folder, with the hashes of its base's pages; emptied if what is there is damaged. */
async function openFolder(
  folder: string,
  open: (folder: string) => Promise<PageStore>,
): Promise<{ store: PageStore; had: Map<number, string> }> {
  for (;;) {
    let store: PageStore | undefined;
    try {
      store = await open(folder);
      const had = new Map<number, string>();
      if (store.damage) throw store.damage;
      const [newest] = store.checkpoints;
      if (newest) await store.restore(newest.number, (page, bytes) => had.set(page, hashOf(bytes)));
      return { store, had };
    } catch (error) {
      await store?.close();
      if ((error as HallelujahError).code !== "store-damaged") throw error;
      rmSync(folder, { recursive: true, force: true });
    }
  }
}

async function write(
  store: PageStore,
  blobs: Blobs,
  { meta, pages }: Snapshot,
  had: Map<number, string>,
): Promise<number> {
  const lacking: number[] = [];
  for (const [page, hash] of pages.entries())
    if ((hash ?? ZERO_PAGE) !== (had.get(page) ?? ZERO_PAGE)) lacking.push(page);
  let bytes = 0;
  let writing: Promise<unknown> = Promise.resolve();
  try {
    for (let at = 0; at < lacking.length; at += BATCH_PAGES) {
      const numbers = lacking.slice(at, at + BATCH_PAGES);
      const batch = await Promise.all(numbers.map((page) => pageOf(blobs, pages[page])));
      await writing;
      const all = new Uint8Array(numbers.length * PAGE_BYTES);
      for (const [i, content] of batch.entries()) {
        if (!content) continue;
        all.set(content, i * PAGE_BYTES);
        bytes += content.length;
      }
      writing = store.write(Uint32Array.from(numbers), all.buffer);
      writing.catch(() => {}); // it is awaited
    }
    await writing;
  } catch (error) {
    await writing.catch(() => {});
    await store.abandon();
    throw error;
  }
  const end = pages.findLastIndex((hash) => hash !== undefined) + 1;
  await store.commit(meta, end);
  // Again, so that the one before is this one, too, and nothing is left of what was there.
  await store.commit(meta, end);
  return bytes;
}

/** Undefined if it is all zeros. */
async function pageOf(blobs: Blobs, hash: string | undefined): Promise<Buffer | undefined> {
  if (hash === undefined) return undefined;
  const content = await blobs.get(hash);
  if (content.length === PAGE_BYTES) return content;
  throw new HallelujahError("blob-damaged", `the page ${hash} has ${content.length} bytes`);
}
