/** Batches that arrived, and which of them may be applied next: frame by frame, each with the start it must have. */
import type { Batch } from "../wire/batch.ts";

export class Inbox {
  /** The lowest frame that is not applied. */
  next = 0;
  /** Bytes that wait. */
  bytes = 0;
  private readonly waiting = new Map<number, Batch[]>();
  /** Where the last frame of each source ended. */
  private readonly ends = new Map<number, number>();

  /** `next` is the first frame to apply. */
  constructor(next = 0) {
    this.next = next;
  }

  /** Where the last frame applied of each source ended: source, end. */
  get places(): [number, number][] {
    return [...this.ends];
  }

  /** Goes on behind frames that another Jah applied. */
  goOn(places: [number, number][]): void {
    for (const [source, end] of places) this.ends.set(source, end);
  }

  /** Takes a batch; one for a frame that is applied already is dropped. */
  add(batch: Batch): void {
    if (batch.frame < this.next) return;
    const list = this.waiting.get(batch.frame);
    if (list) list.push(batch);
    else this.waiting.set(batch.frame, [batch]);
    this.bytes += batch.payload.length;
  }

  /**
   * The next frame's batch, if it is there. A frame counts only if its first record starts where the frame before
   * ended: one that was cut inside a quoted field is dropped, and comes again. Nothing is taken that was made under a
   * routing that is not known, as state may have to change hands first; a higher one may be known already. Nor by a version of the
   * kernel that is not: who mapped it heard of that before this Jah did, whose state has to become that version's first.
   */
  take(isKnown: (routing: number, version: number) => boolean = () => true): Batch | undefined {
    const list = this.waiting.get(this.next);
    const batch = list?.find(
      ({ source, start, routing, version }) =>
        isKnown(routing, version) && start === (this.ends.get(source) ?? start),
    );
    if (!batch) return undefined;
    this.waiting.delete(this.next);
    for (const { payload } of list!) this.bytes -= payload.length;
    this.ends.set(batch.source, batch.end);
    this.next++;
    return batch;
  }
}
