/**
 * Whether a host has room for one more stream: pure. A stream that works needs its `min` of CPUs at all times, so a
 * deploy is refused when those of the busy streams and its own are more than there are. A refusal lists what could be
 * given, and what that would cost.
 */
import type { StreamLoad } from "../wire/congregation.ts";
import type { Offer } from "../wire/http.ts";

export interface Admission {
  admitted: boolean;
  /** With a refusal: streams that could give a CPU, the cheapest first. */
  offers: Offer[];
}

/** `wanted` is the `min` of the stream to be deployed. */
export function admit(streams: StreamLoad[], cpus: number, wanted: number): Admission {
  const busy = streams.filter((stream) => stream.busy);
  const taken = busy.reduce((sum, { min }) => sum + min, 0);
  if (taken + wanted <= cpus) return { admitted: true, offers: [] };
  const offers = busy
    .filter(({ min }) => min > 0)
    .map(({ stream, min, jahs, backlogSeconds }) => {
      const count = Math.max(1, jahs.length);
      // With one Jah less the same work takes longer in proportion; with none it is never done.
      const cost = count > 1 ? (backlogSeconds * count) / (count - 1) : backlogSeconds ? Infinity : 0;
      return { stream, jahs: jahs.length, min, backlogSeconds: Number.isFinite(cost) ? round(cost) : null };
    })
    .toSorted(
      (a, b) =>
        (a.backlogSeconds ?? Infinity) - (b.backlogSeconds ?? Infinity) || (a.stream < b.stream ? -1 : 1),
    );
  return { admitted: false, offers };
}

function round(seconds: number): number {
  return Math.round(seconds * 100) / 100;
}
