/** How much of a log's applied history is kept. Pure. */
import type { Retain } from "../core/retain.ts";

/** A segment: entries [first, next), and when the last of them was written, by the wall clock, ms. */
export interface Extent {
  first: number;
  next: number;
  bytes: number;
  lastAt: number;
}

/**
 * Below which number a log may be trimmed. `bound` is the lowest number that is still needed, as checkpoints say: nothing from
 * there on goes, whatever the policy.
 */
export function trimmableBelow(
  retain: Retain,
  extents: readonly Extent[],
  bound: number,
  now: number,
): number {
  const first = extents[0]?.first ?? bound;
  switch (retain.kind) {
    case "all":
      return Math.min(first, bound);
    case "applied":
      return bound;
    case "bytes":
    case "age": {
      let left = extents.reduce((sum, { bytes }) => sum + bytes, 0);
      let below = Math.min(first, bound);
      for (const { next, bytes, lastAt } of extents) {
        const goes = retain.kind === "bytes" ? left > retain.bytes : now - lastAt > retain.ms;
        if (next > bound || !goes) break;
        below = next;
        left -= bytes;
      }
      return below;
    }
  }
}
