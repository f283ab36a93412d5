/** How far the state of one stream's shards is kept in its cluster, beside their folders. */
import { HallelujahError } from "../core/errors.ts";
import type { FromLiveJah } from "../wire/live.ts";
import type { StoredShard } from "./record.ts";

interface Replicated {
  /** The lowest frame that is not in the newest snapshot, and in the one before. */
  frame: number;
  before?: number;
}

interface Waiter {
  folder: string;
  frame: number;
  done: () => void;
  fail: (error: unknown) => void;
}

export class Replicas {
  /** Whether there is a cluster. */
  private readonly isShared: boolean;
  private readonly known = new Map<string, Replicated>();
  private readonly waiters = new Set<Waiter>();

  constructor(isShared: boolean) {
    this.isShared = isShared;
  }

  /** A snapshot of the shard in a folder is there. */
  made(folder: string, { frame, before }: Extract<FromLiveJah, { type: "replicated" }>): void {
    this.known.set(folder, { frame, ...(before === undefined ? {} : { before }) });
    for (const waiter of this.waiters) if (waiter.folder === folder && waiter.frame <= frame) waiter.done();
  }

  /** The lowest frame that the log has to have, so that a shard can be brought back on another host; Infinity if that is no matter. */
  neededFor({ folder, start }: StoredShard): number {
    if (!this.isShared) return Infinity;
    const known = this.known.get(folder);
    // What came from another folder cannot be brought back from the log alone.
    return known?.before ?? (known && start ? known.frame : 0);
  }

  /** Resolves when the frames below `frame` are in a snapshot. Rejects with `jah-lost` if the Jah that was to make it is gone. */
  reached(folder: string, frame: number): Promise<void> {
    if (!this.isShared || (this.known.get(folder)?.frame ?? -1) >= frame) return Promise.resolve();
    return new Promise<void>((done, fail) => {
      const waiter: Waiter = {
        folder,
        frame,
        done: () => {
          this.waiters.delete(waiter);
          done();
        },
        fail,
      };
      this.waiters.add(waiter);
    });
  }

  /** The Jah that has a folder open is gone. */
  left(folder: string | undefined): void {
    for (const waiter of this.waiters) {
      if (waiter.folder !== folder) continue;
      this.waiters.delete(waiter);
      waiter.fail(new HallelujahError("jah-lost", `the Jah that keeps ${folder} is gone`));
    }
  }
}
