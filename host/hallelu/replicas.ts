/** How far the state of one stream's shards is kept in its cluster, beside their folders. */
import { basename } from "node:path";
import type { FromLiveJah } from "../wire/live.ts";
import type { StoredShard } from "./record.ts";

type Replicated = Extract<FromLiveJah, { type: "replicated" }>;

export class Replicas {
  /** Whether there is a cluster. */
  private readonly isShared: boolean;
  /** The newest snapshot of each folder. */
  private readonly known = new Map<string, Replicated>();

  constructor(isShared: boolean) {
    this.isShared = isShared;
  }

  /** A snapshot is there. */
  made(snapshot: Replicated): void {
    this.known.set(basename(snapshot.store), snapshot);
  }

  /** The lowest frame that the log has to have, so that a shard can be brought back on another host; Infinity if that is no matter. */
  neededFor({ folder, start }: StoredShard): number {
    if (!this.isShared) return Infinity;
    const known = this.known.get(folder);
    // What came from another folder cannot be brought back from the log alone.
    return known?.before ?? (known && start ? known.frame : 0);
  }

  /**
   * Whether another host could bring partitions [from, to) back from a folder's newest snapshot, with the frames below `frame`. One of the same frame from before
   * they came to that folder lacks them.
   */
  has(folder: string, frame: number, { from, to }: { from: number; to: number }): boolean {
    if (!this.isShared) return true;
    const known = this.known.get(folder);
    return known !== undefined && known.frame >= frame && known.from <= from && known.to >= to;
  }
}
