/**
 * How a stream is brought to one frame at which another can take over from it (reprocess.ts): nobody gets a frame that none had before,
 * and what was handed out is applied and put out.
 */
import { within } from "../core/promises.ts";
import type { Progress } from "./progress.ts";
import type { Shards } from "./shards.ts";

/** The stream, as far as this needs it. */
export interface DrainParts {
  shards: Shards;
  progress: Progress;
  /** Hands out what can be handed out. */
  pump: () => void;
}

export class Drain {
  /** Whether frames are held back that nobody was given, as another is to have them. */
  holdsFresh = false;
  /** Whether none are handed out at all. */
  isFrozen = false;
  private readonly parts: DrainParts;

  constructor(parts: DrainParts) {
    this.parts = parts;
  }

  /** Whoever has the turn lets nobody have a frame that none had before, until what this answers is called. */
  holdFresh(): () => void {
    this.holdsFresh = true;
    return () => {
      this.holdsFresh = false;
      this.isFrozen = false;
      this.parts.pump();
    };
  }

  /**
   * While nothing fresh is handed out: the frame below which another may leave off what this has done. All output of the frames below is
   * on its way to disk, none of those from there on. Resolves with undefined if it is not there within `patienceMs`: a shard is
   * being brought back, or is slow, or output is kept back.
   */
  async boundary(patienceMs: number): Promise<number | undefined> {
    const { shards, progress } = this.parts;
    if (shards.areReady) {
      const { fresh } = shards.dispatch;
      if (fresh < progress.putOutBelow) return undefined; // it is not back where the process before was
      if (!(await progress.reaches(fresh, patienceMs))) return undefined;
      if (progress.keepsBelow(fresh)) return undefined; // the registry is yet to be told of a roll-back
      return await within(
        progress.outputUpTo(fresh).then(() => fresh),
        patienceMs,
      );
    }
    // What nobody holds is as it was saved; output may be further, and is whole.
    if ([...shards.jahs.values()].some(({ state }) => state !== "claimed")) return undefined;
    this.isFrozen = true; // one that comes now would do again what was lost
    await progress.outputUpTo(0); // what there is is on disk
    return Math.max(shards.lowest, progress.putOutBelow);
  }
}
