/** Reads all of a log, and says what is wrong with it. */
import type { Damage } from "./log-scan.ts";
import { segmentsIn } from "./segments.ts";
import { Segment } from "./segment.ts";

/** Yields a problem at a time; changes nothing. The log should not be written to meanwhile. Throws `log-version`. */
export function* verifyLog(folder: string): Generator<Damage> {
  const firsts = segmentsIn(folder);
  for (const [i, first] of firsts.entries())
    yield* Segment.verify(Segment.pathOf(folder, first), first, firsts[i + 1]);
}
