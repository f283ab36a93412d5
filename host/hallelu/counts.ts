/** What a stream has counted, told apart by frame: one that is mapped again after a crash counts once. */
import type { Counts } from "./record.ts";

const NONE: Counts = { records: 0, bad: 0, late: 0 };

export class FrameCounts {
  /** Of all frames. */
  readonly total: Counts;
  /** Frames that may be mapped again: those that the saved state does not hold. */
  private readonly open = new Map<number, Counts>();

  /** @param below what was counted in the frames that the saved state holds */
  constructor(below: Counts) {
    this.total = { ...below };
  }

  /** What is known of a frame; that which is left out stays. */
  set(frame: number, counts: Partial<Counts>): void {
    const before = this.open.get(frame) ?? NONE;
    const after = { ...before, ...counts };
    this.open.set(frame, after);
    this.add(after, 1);
    this.add(before, -1);
  }

  private add({ records, bad, late }: Counts, sign: 1 | -1): void {
    this.total.records += sign * records;
    this.total.bad += sign * bad;
    this.total.late += sign * late;
  }

  /** The saved state holds all frames below `frame`; gives what was counted in those. */
  close(frame: number): Counts {
    const below = { ...this.total };
    for (const [each, { records, bad, late }] of this.open) {
      if (each < frame) {
        this.open.delete(each);
        continue;
      }
      below.records -= records;
      below.bad -= bad;
      below.late -= late;
    }
    return below;
  }
}
