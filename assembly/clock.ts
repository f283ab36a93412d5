/**
 * Event time at an owner. Each source of a stream is a clock, which shows the greatest event time among its records so
 * far; the watermark is the least of them, less the time that records may be out of order. It never goes back, and what
 * lies before it is late. All of that follows from the frames applied, so it is the same on every shard.
 *
 * A clock is NaN until its source's first frame, -Infinity while none of its records had a time, and Infinity when the
 * source has ended or is idle, so that nobody waits for it; a later frame sets it going again.
 */
import { CLOCKS, WATERMARK } from "./abi";
import { touch } from "./dirty";

/** Time up to which everything is over, ms: before it, a window's end is due. */
export let dueBefore: f64 = -Infinity;

/** The watermark of the frames applied so far, ms. */
@inline export function watermark(): f64 {
  return load<f64>(WATERMARK);
}

/** Lets a clock advance by what a frame says, and the watermark with it; `allowed` is how late records may be, ms. */
export function advance(clock: u32, time: f64, allowed: f64): void {
  const at = CLOCKS + ((<usize>clock) << 3);
  touch(CLOCKS);
  const before = load<f64>(at);
  if (time == -Infinity) {
    if (before != before) store<f64>(at, time);
  } else if (before != before || before == Infinity || time > before) store<f64>(at, time);
  let least: f64 = Infinity;
  let known = false;
  for (let each = CLOCKS; each < WATERMARK; each += 8) {
    const shown = load<f64>(each);
    if (shown != shown) continue;
    known = true;
    if (shown < least) least = shown;
  }
  if (!known) return;
  dueBefore = least;
  // When all sources have ended, all windows close; the watermark stays where they end (see passed).
  if (least == Infinity) return;
  dueBefore = max(least - allowed, watermark());
  store<f64>(WATERMARK, dueBefore);
}

/** A window that ends at `end` was closed: it is over for good. */
export function passed(end: i64): void {
  if (<f64>end <= watermark()) return;
  touch(WATERMARK);
  store<f64>(WATERMARK, <f64>end);
}

/** Whether a window that ends at `end` is over. */
@inline export function isOver(end: i64): bool {
  return <f64>end <= watermark();
}
