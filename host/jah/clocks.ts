import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { markDirty } from "../kernel/pages.ts";

/** These clocks of event time are waited for from the start (assembly/clock.ts). */
export function openClocks(kernel: KernelInstance, clocks: number[]): void {
  const shown = new Float64Array(kernel.bytes.buffer, map.CLOCKS, map.CLOCKS_MAX);
  for (const clock of clocks) shown[clock] = -Infinity;
  if (clocks.length) markDirty(kernel.memory, map.CLOCKS, map.CLOCKS_END - map.CLOCKS);
}
