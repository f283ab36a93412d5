/**
 * The snapshots of a shard, as the leader of its stream writes them: the last one and the one before stay, what neither needs goes.
 *
 * A leader first writes the head anew, with its epoch. All others write it only if they know its number, so whoever led before is refused from then on.
 * What he still sends or removes does no harm, by two rules that all leaders keep:
 *
 *   - A manifest needs blobs alone that the two manifests before it needed, or that were stored since the one right before it.
 *   - What is removed is what neither of two manifests needs, and was stored before the newer one's head; a blob that is stored again counts as new.
 *
 * So what a removal may hit is needed by no manifest that follows, however late it comes. A process that ends in between leaves blobs that nothing
 * needs; whoever leads next finds them in the list of what is there.
 */
import { HallelujahError } from "../core/errors.ts";
import { Blobs, putParts } from "./blobs.ts";
import {
  blobsOf,
  decodeHead,
  encodeHead,
  encodeLeaf,
  encodeManifest,
  type Head,
  LEAF_PAGES,
  type ManifestEntry,
  type PageTable,
  readSnapshot,
  type Snapshot,
} from "./manifest.ts";
import { encodeKey } from "./registry.ts";
import type { Values } from "./values.ts";

/** Manifests that stay. */
const KEPT = 2;
/** Claims of others that a claim may meet, one after the other. */
const CLAIMS_MAX = 100;
/** Manifests after which all that is there is listed, as someone who led before may have stored something late. */
const LIST_EVERY = 256;

export interface ShardNames {
  /** The home of all shards of a stream. */
  values: Values;
  /** The name of the shard's folder. */
  shard: string;
}

export interface Leader {
  /** Of the leadership of the stream: a greater one has taken over from a smaller one. */
  epoch: number;
  host: string;
}

/** The head of a shard, with its number; undefined if nothing was ever written. */
export async function readHead({
  values,
  shard,
}: ShardNames): Promise<(Head & { number: number }) | undefined> {
  const name = headName(shard);
  const found = await values.get(name);
  return found && { ...decodeHead(found.bytes, name), number: found.number };
}

/** Removes all snapshots of a shard, which nobody writes any more. */
export async function removeSnapshots({ values, shard }: ShardNames): Promise<void> {
  await values.removeAll(`${encodeKey(shard)}.`);
}

/** The blobs of a shard. */
export function blobsOfShard({ values, shard }: ShardNames): Blobs {
  return new Blobs(values, `${encodeKey(shard)}.blob.`);
}

export class Snapshots {
  readonly blobs: Blobs;
  private readonly names: ShardNames;
  private readonly leader: Leader;
  private readonly writer = crypto.randomUUID();
  private count = 0;
  /** The number of the head that was written last. */
  private head: number;
  private whole: Snapshot[] = [];
  /** What stands if a head was written of which that is not known, by `write`. */
  private readonly doubtful = new Map<string, Snapshot[]>();
  /** What nothing needs, and was not removed yet. */
  private readonly garbage = new Set<string>();
  /** Why snapshots are not whole. */
  readonly losses: HallelujahError[] = [];

  private constructor(names: ShardNames, leader: Leader) {
    this.names = names;
    this.leader = leader;
    this.blobs = blobsOfShard(names);
    this.head = 0;
  }

  /** Takes the snapshots of a shard over from whoever wrote them before; to be followed by `collect` before anything is stored, or by nothing but reading. Rejects with `stream-moved`, `snapshot-damaged`, or as `Values` does. */
  static async claim(names: ShardNames, leader: Leader): Promise<Snapshots> {
    const snapshots = new Snapshots(names, leader);
    for (let tries = 1; ; tries++) {
      const found = await readHead(names);
      if (found && found.epoch > leader.epoch) throw movedError(names.shard, found);
      try {
        await snapshots.writeHead(found?.manifests ?? [], found?.number ?? 0, []);
        await snapshots.takeOver(found?.manifests ?? []);
        return snapshots;
      } catch (error) {
        if (codeOf(error) !== "revision-conflict" || tries > CLAIMS_MAX) throw error;
      }
    }
  }

  /** The last two, newest first, as far as they are whole. */
  get standing(): readonly Snapshot[] {
    return this.whole;
  }

  /** Learns what there is. */
  private async takeOver(entries: readonly ManifestEntry[]): Promise<void> {
    const there = await this.blobs.list();
    for (const entry of entries) {
      try {
        const snapshot = await readSnapshot(this.blobs, entry);
        for (const hash of blobsOf(snapshot)) if (!there.has(hash)) throw this.blobs.missing(hash);
        this.whole.push(snapshot);
      } catch (error) {
        // What is not whole is of no use.
        if (!isLoss(error)) throw error;
        this.losses.push(error as HallelujahError);
      }
    }
    const needed = this.needed();
    this.blobs.trust(new Set(needed));
    for (const hash of there) if (!needed.has(hash)) this.garbage.add(hash);
  }

  /**
   * Makes a state the newest snapshot; its pages were stored with `blobs.put`, or were in one before. Resolves when it is durable. After a failure but these two another one
   * may be tried: rejects with `stream-moved`, or `cluster-lost` if what was written before is not there.
   */
  async save(frame: number, meta: unknown, pages: PageTable): Promise<void> {
    for (const hash of pages)
      if (hash !== undefined && !this.blobs.has(hash)) throw new TypeError(`the page ${hash} was not stored`);
    const leaves = await this.putLeaves(pages);
    const parts = await putParts(this.blobs, encodeManifest(meta, leaves));
    const [newest] = this.whole;
    if (newest && newest.entry.frame === frame && newest.entry.parts.join() === parts.join()) return;
    const entry = { frame, epoch: this.leader.epoch, parts };
    await this.make({ entry, meta, leaves, pages });
    const needed = this.needed();
    for (const hash of this.blobs.trust(new Set(needed))) this.garbage.add(hash);
    if (this.count % LIST_EVERY === 0) for (const hash of await this.blobs.list()) this.garbage.add(hash);
    for (const hash of needed) this.garbage.delete(hash);
    await this.collect();
  }

  /** Removes what was stored before the last head and is not needed. What cannot be removed now can be later. */
  async collect(): Promise<void> {
    try {
      await this.blobs.drop(this.garbage, this.head);
      this.garbage.clear();
    } catch {}
  }

  private async make(snapshot: Snapshot): Promise<void> {
    for (;;) {
      const standing = [snapshot, ...this.whole].slice(0, KEPT);
      try {
        await this.writeHead(
          standing.map(({ entry }) => entry),
          this.head,
          standing,
        );
        this.whole = standing;
        return;
      } catch (error) {
        if (codeOf(error) !== "revision-conflict") throw error;
        await this.findHead();
      }
    }
  }

  private async putLeaves(pages: PageTable): Promise<(string | undefined)[]> {
    const count = Math.ceil(pages.length / LEAF_PAGES);
    const [before] = this.whole;
    const leaves = await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        if (before && i < before.leaves.length && isSameLeaf(before.pages, pages, i)) return before.leaves[i];
        const leaf = encodeLeaf(pages, i);
        return leaf.length ? this.blobs.put(leaf) : undefined;
      }),
    );
    return leaves.slice(0, leaves.findLastIndex((leaf) => leaf !== undefined) + 1);
  }

  private needed(): Set<string> {
    const needed = new Set<string>();
    for (const snapshot of this.whole) for (const hash of blobsOf(snapshot)) needed.add(hash);
    return needed;
  }

  private async writeHead(manifests: ManifestEntry[], expected: number, standing: Snapshot[]): Promise<void> {
    const write = `${this.writer}.${++this.count}`;
    const head: Head = { format: 1, ...this.leader, write, manifests };
    this.doubtful.set(write, standing);
    this.head = await this.names.values.put(headName(this.names.shard), encodeHead(head), expected);
    this.doubtful.clear();
  }

  /** Learns of a head that was written although it seemed to have failed. Rejects if it is of someone else, or older than what was acknowledged. */
  private async findHead(): Promise<void> {
    const { shard } = this.names;
    const found = await readHead(this.names);
    const standing = found && this.doubtful.get(found.write);
    if (standing) {
      this.whole = standing;
      this.head = found.number;
    } else if (found && !found.write.startsWith(`${this.writer}.`)) throw movedError(shard, found);
    else
      throw new HallelujahError(
        "cluster-lost",
        `the cluster has lost snapshots of ${shard} that it had acknowledged: was one of its servers without power, or restored from a copy? They are made anew when the stream is started`,
      );
  }
}

function headName(shard: string): string {
  return `${encodeKey(shard)}.head`;
}

function isSameLeaf(a: PageTable, b: PageTable, leaf: number): boolean {
  for (let page = leaf * LEAF_PAGES; page < (leaf + 1) * LEAF_PAGES; page++)
    if (a[page] !== b[page]) return false;
  return true;
}

/** Whether a snapshot is not there as a whole, and will not be. */
export function isLoss(error: unknown): boolean {
  return codeOf(error) === "blob-missing" || codeOf(error) === "blob-damaged";
}

function codeOf(error: unknown): string | undefined {
  return error instanceof HallelujahError ? error.code : undefined;
}

function movedError(shard: string, { host, epoch }: Head): HallelujahError {
  return new HallelujahError(
    "stream-moved",
    `the snapshots of ${shard} are written by host ${host} now (epoch ${epoch}); nothing of this host counts any more`,
  );
}
