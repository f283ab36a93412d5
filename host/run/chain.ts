/**
 * The chain of frames: pure. A frame of CSV may have been cut on a guess, inside a quoted field; it counts only if its
 * first record starts where the frame before ended. Frames are confirmed in order; one that does not fit is to be
 * mapped again from the place where it must start.
 */
import type { FrameDone } from "../wire/jah.ts";

export interface ChainStep {
  /** Frames that are confirmed now, in order. */
  confirmed: FrameDone[];
  /** A frame to map again, and where its first record starts. */
  again?: { frame: number; source: number; start: number };
}

export class Chain {
  /** The lowest frame that is not confirmed. */
  next = 0;
  private readonly waiting = new Map<number, FrameDone>();
  private source = -1;
  private end = 0;
  private asked = -1;

  /** Takes a mapped frame; what follows from it. */
  add(done: FrameDone): ChainStep {
    this.waiting.set(done.frame, done);
    const confirmed: FrameDone[] = [];
    while (true) {
      const frame = this.waiting.get(this.next);
      if (!frame) return { confirmed };
      if (frame.source === this.source && frame.start !== this.end) {
        this.waiting.delete(this.next);
        if (this.asked === this.next) return { confirmed }; // the old answer; the new one is on its way
        this.asked = this.next;
        return { confirmed, again: { frame: this.next, source: frame.source, start: this.end } };
      }
      this.waiting.delete(this.next);
      this.source = frame.source;
      this.end = frame.end;
      this.next++;
      confirmed.push(frame);
    }
  }
}
