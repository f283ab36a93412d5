/**
 * Windows: values by key and span of event time. Spans are aligned to 1970. They are as long as `size` and start every
 * `step`; where both are the same, each record is in one of them (tumbling), else in several (sliding).
 *
 * With `each`, a record is added to the one pane of length `step` that it lies in; when a window closes, its panes are
 * merged (Li et al., "No Pane, No Gain", SIGMOD Record 2005). With `fold` there is nothing to merge, so each window
 * that a record lies in has an entry of its own. Either way the key of an entry is the start of its span, then the
 * author's key, and its partition is that of the author's key.
 */
import { isOver, watermark } from "../clock";
import { releaseFrame, setLasting, takeFrame } from "../heap";
import { follow, hashBytes, lead } from "../hash";
import { BYTES_HEADER } from "./home";
import { keyBehindTime, timedKey, Windowed } from "./key";
import { TIME_BYTES } from "./entries";
import { NO_END, Timed, Window, windowOf } from "./timed";
import { addTimer } from "./timers";
import { Time } from "../time";

/** Windows that a record may lie in. */
const OVERLAP_MAX: i64 = 10_000;

export class Windows<K, V> extends Timed<Windowed<K>, V> {
  private spanMs: i64;
  private step: i64;
  /** Whether entries are panes, of which a window takes several. */
  private paned: bool = false;

  /** Windows of `size` ms that start every `step` ms; without `step` one begins where the last one ends. */
  constructor(name: string, size: i64, step: i64 = size) {
    super(name);
    if (size <= 0 || step <= 0 || size % step || size / step > OVERLAP_MAX)
      throw new Error("the size of windows is a multiple of their step, by 10,000 at most");
    this.spanMs = size;
    this.step = step;
    if (isDefined(changetype<V>(0).__folded)) this.paned = false;
    else this.paned = size != step;
  }

  /** The value of a key in the span that `time` lies in. Valid until the frame ends. */
  @inline at(key: K, time: Time): V {
    const value = changetype<V>(this.entryOf(this.frame, timedKey<K>(this.startOf(time.ms), key), true) + BYTES_HEADER);
    if (isDefined(value.__touched)) value.__touched++;
    return value;
  }

  /** The partition of a key, whatever its windows. */
  partitionOfKey(key: K): u32 {
    const bytes = changetype<usize>(timedKey<K>(0, key));
    return <u32>(hashBytes(<usize>load<u32>(bytes) + TIME_BYTES, load<u32>(bytes, 4) - <u32>TIME_BYTES) >> 56);
  }

  /** The start of the span of length `step` that a time lies in. */
  @inline startOf(ms: i64): i64 {
    const rest = ms % this.step;
    return ms - rest - (rest < 0 ? this.step : 0);
  }

  /** The start of the first window that a time lies in; they follow every `stepMs` up to `startOf`. */
  firstStart(ms: i64): i64 {
    return this.startOf(ms) - this.spanMs + this.step;
  }

  get stepMs(): i64 {
    return this.step;
  }

  /** The lasting value of a key in the window that starts at `start`, for `fold`; null if the window is over. */
  own(key: K, start: i64): V {
    if (isOver(start + this.spanMs)) return changetype<V>(0);
    const before = this.lasting.count;
    const entry = this.entryOf(this.lasting, timedKey<K>(start, key), false);
    if (this.lasting.count != before) this.schedule(entry);
    else this.touchState(entry);
    return changetype<V>(entry + BYTES_HEADER);
  }

  protected isLate(key: usize): bool {
    return isOver(startAt(key) + this.spanMs);
  }

  protected schedule(entry: usize): void {
    const start = startAt(this.keyPtr(entry));
    let end = start + this.spanMs;
    if (this.paned) {
      end = start + this.step;
      const mark = watermark();
      if (<f64>end <= mark) end = this.startOf(<i64>mark) + this.step;
    }
    const value = changetype<V>(entry + BYTES_HEADER);
    if (isDefined(value.__next)) value.__next = end;
    addTimer(this.lasting, end, entry, this.timerPlace());
  }

  protected endOf(entry: usize): i64 {
    const value = changetype<V>(entry + BYTES_HEADER);
    if (isDefined(value.__next)) return value.__next;
    else return 0;
  }

  protected nextEnd(entry: usize, end: i64): i64 {
    const next = end + this.step;
    if (!this.paned || next > startAt(this.keyPtr(entry)) + this.spanMs) return NO_END;
    this.touchEntry(entry);
    const value = changetype<V>(entry + BYTES_HEADER);
    if (isDefined(value.__next)) value.__next = next;
    return next;
  }

  protected timeBytes(): usize {
    return TIME_BYTES;
  }

  /** The window that closes. */
  closingWindow(): Window {
    return windowOf(this.closingEnd - this.spanMs, this.closingEnd);
  }

  closingKey(): K {
    return keyBehindTime<K>(this.keyPtr(this.closing), this.keyLength(this.closing));
  }

  closesInPlace(): bool {
    return !this.paned;
  }

  /** The value of the window that closes; that of its panes together, if it has several. The frame heap is free. */
  closingValue(): V {
    if (!this.paned) {
      this.touchState(this.closing);
      return changetype<V>(this.closing + BYTES_HEADER);
    }
    releaseFrame();
    const merged = changetype<V>(takeFrame((offsetof<V>() + 7) & ~7, false));
    merged.__init();
    const length = this.keyLength(this.closing);
    const key = takeFrame((<usize>length + 39) & ~7, false);
    memory.copy(key, this.keyPtr(this.closing), length);
    for (let start = this.closingEnd - this.spanMs; start < this.closingEnd; start += this.step) {
      store<u64>(key, bswap<u64>((<u64>start) ^ 0x8000_0000_0000_0000));
      const a = lead(key, length);
      const b = follow(key, length);
      const hash = this.hashOfBytes(a, b, key, length);
      const pane = load<u32>(this.lasting.findBytes(this.lasting.slotOf(hash), hash, a, b, key, length));
      if (!pane) continue;
      const value = changetype<V>(<usize>pane + BYTES_HEADER);
      const written = takeFrame((value.__room() + 15) & ~7, false);
      value.__write(written);
      merged.__merge(written);
    }
    return merged;
  }
}

/** The start of the span that a key begins with, ms. */
@inline function startAt(key: usize): i64 {
  return <i64>(bswap<u64>(load<u64>(key)) ^ 0x8000_0000_0000_0000);
}
