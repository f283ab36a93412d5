/** What a stream has counted, told apart by frame: one that is mapped again after a crash counts once. */
import type { Counts } from "./record.ts";

const NONE: Counts = { records: 0, bad: 0, late: 0 };

export class FrameCounts {
  /** Of all frames. */
  readonly total: Counts;
  /** Frames that may be mapped again: those that the saved state does not hold, from `from` on. */
  private readonly open = new Map<number, Counts>();
  private from: number;

  /** @param below what was counted in the frames below `from`, which the saved state holds */
  constructor(below: Counts, from: number) {
    this.total = { ...below };
    this.from = from;
  }

  /** What is known of a frame; that which is left out stays. One that the saved state holds is counted already. */
  set(frame: number, counts: Partial<Counts>): void {
    if (frame < this.from) return;
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

  /** What was counted in the frames below `frame`. */
  below(frame: number): Counts {
    const below = { ...this.total };
    for (const [each, { records, bad, late }] of this.open) {
      if (each < frame) continue;
      below.records -= records;
      below.bad -= bad;
      below.late -= late;
    }
    return below;
  }

  /** The saved state holds all frames below `frame`: they are not told apart any more. */
  close(frame: number): void {
    for (const each of this.open.keys()) if (each < frame) this.open.delete(each);
    this.from = Math.max(this.from, frame);
  }

  /** What a checkpoint says was counted below its frame, which may be more than was known here. */
  restore(frame: number, below: Counts): void {
    if (frame <= this.from) return;
    this.close(frame);
    Object.assign(this.total, below);
    for (const counts of this.open.values()) this.add(counts, 1);
  }
}
