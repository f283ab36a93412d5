/**
 * The state of several shards on disk comes together in one Jah, where a stream has fewer Jahs than shards. The Jah starts with
 * the one whose frame is lowest; the partitions of each other one get nothing of frames that it has already, and its entries are
 * taken over as they stand, in the form of routed sections, before the next frame is applied.
 *
 * Nothing is saved meanwhile, and the folders stay as they are until the whole is saved and the registry says so; so this may
 * end at any moment and be begun anew.
 */
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import type { RestoredShard } from "./restore.ts";

export class Gathering {
  private readonly kernel: () => KernelInstance;
  /** The kernel, over the memory of another shard. */
  private readonly over: (shard: RestoredShard) => KernelInstance;
  /** Those that are still to come, by their frames. */
  private readonly shards: RestoredShard[];
  /** Over the memory of the one that is being taken over. */
  private donor: KernelInstance | undefined;

  constructor(
    shards: RestoredShard[],
    kernel: () => KernelInstance,
    over: (shard: RestoredShard) => KernelInstance,
  ) {
    this.shards = shards;
    this.kernel = kernel;
    this.over = over;
  }

  /** Whether a part of a shard is here: until the rest is, the kernel stays the one that it was begun with. */
  get isTaking(): boolean {
    return this.donor !== undefined;
  }

  /** Takes over some of what is due before frame `next` is applied; "over" when nothing is left to come. */
  step(next: number): "none" | "progress" | "over" {
    const [shard] = this.shards;
    const { frame, from, to } = shard.told;
    if (frame < next) throw new TypeError(`the shard of frame ${frame} comes too late, before frame ${next}`);
    if (frame > next) return "none";
    if (!this.donor) {
      this.donor = this.over(shard);
      this.donor.exports.exportStart(from, to);
    }
    const end = this.donor.exports.exportStep();
    if (end) {
      const { bytes, exports } = this.kernel();
      bytes.set(this.donor.bytes.subarray(map.ENTRIES, end), map.INPUT);
      exports.apply(map.INPUT, map.INPUT + end - map.ENTRIES);
      return "progress";
    }
    this.donor = undefined;
    this.shards.shift();
    return this.shards.length ? "progress" : "over";
  }
}
