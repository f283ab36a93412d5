/**
 * The owner's side of a frame: its entries are merged into the lasting state, frame by frame in order. In runs and live
 * streams alike.
 */
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { type Batch, partsOf } from "../wire/batch.ts";

/** Rows that owners emitted, by stage. Those of several owners are joined stage by stage, in the order of their partitions. */
export interface Emitted {
  emitted: Uint8Array[];
  emittedRows: number;
  /** Records that came too late for their window. */
  late: number;
}

export class Owner {
  private kernel: KernelInstance;

  constructor(kernel: KernelInstance) {
    this.kernel = kernel;
  }

  /** After the kernel was instantiated anew over the same memory. */
  use(kernel: KernelInstance): void {
    this.kernel = kernel;
  }

  /** Applies the batch of one frame, all its parts. */
  apply(batch: Batch): Emitted {
    const { kernel } = this;
    for (const part of partsOf(batch.payload)) {
      kernel.bytes.set(part, map.INPUT);
      kernel.exports.apply(map.INPUT, map.INPUT + part.length);
    }
    return NOTHING;
  }
}

const NOTHING: Emitted = { emitted: [], emittedRows: 0, late: 0 };
