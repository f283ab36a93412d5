/**
 * The owner's side of a frame: its entries are merged into the lasting state and its records folded, frame by frame in
 * order; then event time advances, which may close windows. In runs and live streams alike.
 */
import { HallelujahError } from "../core/errors.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { type Batch, NO_CLOCK, PART_BYTES_MAX, partsOf, VOIDED } from "../wire/batch.ts";
import type { OwnerOutput } from "../wire/jah.ts";

/** What came of a frame; the stages are its parts, then the closings of each table. */
export type Applied = Omit<OwnerOutput, "frame" | "from" | "to">;

export class Owner {
  private kernel: KernelInstance;
  /** Whether anything can be emitted here: else `apply` says nothing. */
  readonly ordered: boolean;
  private readonly timed: boolean;
  private readonly tables: number;

  constructor(kernel: KernelInstance) {
    this.kernel = kernel;
    this.ordered = kernel.exports.isOrdered() !== 0;
    this.timed = kernel.exports.isTimed() !== 0;
    this.tables = kernel.exports.tableCount();
  }

  /** After the kernel was instantiated anew over the same memory. */
  use(kernel: KernelInstance): void {
    this.kernel = kernel;
  }

  /** When the first window or session is over, in event time, ms; Infinity if none is open. */
  get nextClose(): number {
    return this.timed ? this.kernel.exports.nextClose() : Infinity;
  }

  /** Applies the batch of one frame, all its parts. Undefined where owners emit nothing. */
  apply(batch: Batch): Applied | undefined {
    const parts = partsOf(batch.payload);
    if (batch.kind === VOIDED) {
      const silent = parts.next().value!;
      if (this.ordered) this.kernel.bytes.set(silent, map.SILENT);
    }
    return this.applyParts(parts, batch);
  }

  /** The same for parts that came in no batch: routed sections of one frame. */
  applyParts(
    parts: Iterable<Uint8Array>,
    moment: Pick<Batch, "kind" | "clock" | "time">,
  ): Applied | undefined {
    const { exports } = this.kernel;
    if (!this.ordered) {
      for (const part of parts) exports.apply(map.INPUT, this.kernel.place(part));
      return undefined;
    }
    const applied: Applied = { emitted: [], emittedRows: 0, lateEmitted: [], lateRows: 0, late: 0 };
    for (const part of parts) {
      const end = this.kernel.place(part);
      let at = map.INPUT;
      this.stage(applied, () => {
        at = exports.apply(at, end);
        return at < end;
      });
    }
    if (this.timed) this.passTime(moment, applied);
    return applied;
  }

  private passTime({ kind, clock, time }: Pick<Batch, "kind" | "clock" | "time">, applied: Applied): void {
    const { exports } = this.kernel;
    if (clock === NO_CLOCK) return;
    if (clock >= map.CLOCKS_MAX) throw new HallelujahError("internal", `there is no clock ${clock}`);
    exports.advanceClock(clock, time);
    for (let table = 0; table < this.tables; table++) {
      exports.closeStart(table);
      this.stage(applied, () => exports.closeStep(table, kind === VOIDED) !== 0);
    }
  }

  /** Runs `step` until it has no more, and keeps what was emitted as one stage. */
  private stage(applied: Applied, step: () => boolean): void {
    const { kernel } = this;
    const { exports } = kernel;
    const emitted: Uint8Array[] = [];
    const late: Uint8Array[] = [];
    for (let more = true; more; ) {
      exports.beginApply();
      more = step();
      applied.emittedRows += exports.emittedRows();
      applied.lateRows += exports.lateEmittedRows();
      applied.late += kernel.u32(map.LATE);
      const bytes = exports.emittedBytes();
      if (bytes) emitted.push(kernel.bytes.slice(map.OUTPUT, map.OUTPUT + bytes));
      const lateBytes = exports.lateBytes();
      if (lateBytes) late.push(kernel.bytes.slice(map.ENTRIES, map.ENTRIES + lateBytes));
    }
    applied.emitted.push(joined(emitted));
    applied.lateEmitted.push(joined(late));
  }
}

const NOTHING = new Uint8Array(0);

function joined(chunks: Uint8Array[]): Uint8Array {
  return chunks.length > 1 ? Buffer.concat(chunks) : (chunks[0] ?? NOTHING);
}

if (PART_BYTES_MAX > map.DIRTY - map.INPUT) throw new TypeError("a part must fit the input window");
