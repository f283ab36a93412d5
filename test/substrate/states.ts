/** States of a shard for tests: pages by number, made of a word each; and what is found of them in a home. */
import * as assert from "uvu/assert";
import type { Blobs } from "../../host/substrate/blobs.ts";
import { blobsOf, type PageTable, readSnapshot, type Snapshot } from "../../host/substrate/manifest.ts";
import { blobsOfShard, readHead, type ShardNames, type Snapshots } from "../../host/substrate/snapshots.ts";
import type { Values } from "../../host/substrate/values.ts";
import { type Content, pageOf } from "../store/pages-suite.ts";

/** Stores the pages of a state, and makes it a snapshot. */
export async function save(snapshots: Snapshots, frame: number, content: Content): Promise<void> {
  const pages: (string | undefined)[] = [];
  for (const [page, word] of content) pages[page] = await snapshots.blobs.put(pageOf(word));
  await snapshots.save(frame, { frame }, Array.from(pages));
}

/** The state that a snapshot leads to; rejects if it is not whole. */
export async function contentOf(blobs: Blobs, pages: PageTable): Promise<Content> {
  const content: Content = new Map();
  for (const [page, hash] of pages.entries()) {
    if (hash === undefined) continue;
    const bytes = await blobs.get(hash);
    const word = bytes.readUInt32LE(0);
    assert.ok(bytes.equals(pageOf(word)));
    content.set(page, word);
  }
  return content;
}

export interface Found {
  frames: number[];
  snapshots: Snapshot[];
  contents: Content[];
  /** Blobs that nothing needs. */
  garbage: number;
}

/** All that is there. Rejects if a snapshot is not whole. */
export async function found(names: ShardNames): Promise<Found> {
  const blobs = blobsOfShard(names);
  const head = await readHead(names);
  const snapshots = await Promise.all((head?.manifests ?? []).map((entry) => readSnapshot(blobs, entry)));
  const contents = await Promise.all(snapshots.map(({ pages }) => contentOf(blobs, pages)));
  const needed = new Set(snapshots.flatMap((snapshot) => [...blobsOf(snapshot)]));
  const there = await blobs.list();
  const garbage = [...there].filter((hash) => !needed.has(hash)).length;
  return { frames: snapshots.map(({ entry }) => entry.frame), snapshots, contents, garbage };
}

/** A home through which a process sees another one: it dies at its write number `dies`, before or after that is done, and whatever it does then fails. */
export function mortal(
  values: Values,
  dies: number,
  isDone: boolean,
): { values: Values; isDead: () => boolean } {
  let writes = 0;
  const dead = () => Promise.reject(new Error("the process is dead"));
  const alive =
    <A extends unknown[], T>(call: (...args: A) => Promise<T>, isWrite: boolean) =>
    async (...args: A): Promise<T> => {
      if (writes >= dies) return dead();
      if (!isWrite || ++writes < dies) return call(...args);
      if (isDone) await call(...args);
      return dead();
    };
  return {
    values: {
      bytesMax: values.bytesMax,
      put: alive((...args) => values.put(...args), true),
      remove: alive((...args) => values.remove(...args), true),
      removeAll: alive((...args) => values.removeAll(...args), true),
      get: alive((...args) => values.get(...args), false),
      list: alive((...args) => values.list(...args), false),
      up: () => values.up(),
      close: () => values.close(),
    },
    isDead: () => writes >= dies,
  };
}
