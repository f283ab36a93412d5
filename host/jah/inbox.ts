/** Batches that arrived, and which of them may be applied next: frame by frame, each with the start it must have. */
import type { Batch } from "../wire/batch.ts";

export class Inbox {
  /** The lowest frame that is not applied. */
  next = 0;
  /** Bytes that wait. */
  bytes = 0;
  private readonly waiting = new Map<number, Batch[]>();
  private source = -1;
  private end = 0;

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
   * ended: one that was cut inside a quoted field is dropped, and comes again.
   */
  take(): Batch | undefined {
    const list = this.waiting.get(this.next);
    const batch = list?.find(({ source, start }) => source !== this.source || start === this.end);
    if (!batch) return undefined;
    this.waiting.delete(this.next);
    for (const { payload } of list!) this.bytes -= payload.length;
    this.source = batch.source;
    this.end = batch.end;
    this.next++;
    return batch;
  }
}
