/**
 * Entries that are due at some event time, which windows and sessions have in common. When the watermark has passed, the
 * entries that are due are put in the order of (partition, end, key), which does not depend on how many owners there
 * are; the kernel's `close` is called for one after the other (generated code does that), and those that are over are
 * removed.
 *
 *   due: { u64 rank, u32 entry, u32 0 }; rank is the partition in the top 8 bits, then the end
 */
import { touch } from "../dirty";
import { giveBlock, growing, setLasting, takeBlock } from "../heap";
import { passed } from "../clock";
import { KEY_LENGTH, KEY_PTR } from "./home";
import { Rows } from "./rows";
import { sortByPrimary } from "./sort";
import { firstTime, firstTimed, moveTimer, putOff, removeTimer } from "./timers";
import { Time } from "../time";

const DUE_BYTES: usize = 16;
const END_BITS: u64 = 56;
/** Added to an end, so that it is not negative. */
const END_ZERO: i64 = 1 << 55;
/** In place of a next end: there is none. */
export const NO_END: i64 = i64.MIN_VALUE;
/** In the place of a timer: the entry is over, and the rest is its number among those to be removed. */
const OVER: u32 = 0x8000_0000;

/** The span of event time that `close` is called for: from `start` up to `end`. Ends with the call. */
@unmanaged export class Window {
  /** The first instant of a window; of a session the time of its first record. */
  start: Time;
  end: Time;
}

const bounds: usize = memory.data(16, 8);
const window: usize = memory.data(8, 8);

/** The window from `start` to `end`, ms. */
export function windowOf(start: i64, end: i64): Window {
  store<i64>(bounds, start);
  store<i64>(bounds, end, 8);
  const at = changetype<Window>(window);
  at.start = changetype<Time>(bounds);
  at.end = changetype<Time>(bounds + 8);
  return at;
}

export class Timed<K, V> extends Rows<K, V> {
  private due: usize = 0;
  private dueCount: u32 = 0;
  private dueRoom: u32 = 0;
  private dueNext: u32 = 0;
  private over: usize = 0;
  private overCount: u32 = 0;
  /** The entry that is being closed, and the end of its window. */
  protected closing: usize = 0;
  protected closingEnd: i64 = 0;

  /** The end of an entry's window or session, as it stands now. */
  protected endOf(entry: usize): i64 {
    return 0;
  }

  /** The end at which an entry is due after the one at `end`; NO_END if it is over then. */
  protected nextEnd(entry: usize, end: i64): i64 {
    return NO_END;
  }

  /** Finds what is due up to `time` (ms); `nextDue` goes through it. */
  collectDue(time: f64): void {
    const home = this.lasting;
    this.dueNext = 0;
    this.dueCount = 0;
    this.overCount = 0;
    if (!home.timerCount || <f64>firstTime(home) > time) return;
    setLasting(true);
    growing(home.table);
    const place = this.timerPlace();
    while (home.timerCount && <f64>firstTime(home) <= time) {
      const entry = firstTimed(home);
      const end = this.endOf(entry);
      if (<f64>end > time) {
        putOff(home, end, place);
        continue;
      }
      this.addDue(entry, end);
      const next = this.nextEnd(entry, end);
      if (next != NO_END) putOff(home, next, place);
      else {
        removeTimer(home, 0, place);
        this.addOver(entry);
      }
    }
    this.sortDue();
    setLasting(false);
  }

  private addDue(entry: usize, end: i64): void {
    if (this.dueCount == this.dueRoom) {
      const room = this.dueRoom ? this.dueRoom << 1 : 256;
      this.due = grown(this.due, <usize>this.dueRoom * DUE_BYTES, <usize>room * DUE_BYTES);
      this.over = grown(this.over, (<usize>this.dueRoom) << 2, (<usize>room) << 2);
      this.dueRoom = room;
    }
    const at = this.due + <usize>this.dueCount * DUE_BYTES;
    this.dueCount++;
    const partition = <u64>(this.hashOf(entry) >> 24);
    store<u64>(at, (partition << END_BITS) | (<u64>(end + END_ZERO)));
    store<u64>(at, entry, 8);
  }

  private addOver(entry: usize): void {
    const number = this.overCount++;
    store<u32>(this.over + ((<usize>number) << 2), <u32>entry);
    touch(entry + this.timerPlace());
    store<u32>(entry + this.timerPlace(), OVER | number);
  }

  private sortDue(): void {
    const bytes = <usize>this.dueRoom * DUE_BYTES;
    const spare = takeBlock(bytes);
    const sorted = sortByPrimary(this.due, spare, this.dueCount);
    const other = sorted == this.due ? spare : this.due;
    this.orderBy(-1, false);
    this.ignored = this.timeBytes();
    this.sortTies(sorted, other, this.dueCount);
    this.ignored = 0;
    giveBlock(other, bytes);
    this.due = sorted;
  }

  /** Bytes at the start of a key that are a window's. */
  protected timeBytes(): usize {
    return 0;
  }

  /** Goes on to the next that is due; false when there is none left. */
  nextDue(): bool {
    while (this.dueNext < this.dueCount) {
      const at = this.due + <usize>this.dueNext * DUE_BYTES;
      const entry = <usize>load<u32>(at, 8);
      const end = <i64>((load<u64>(at) << (64 - END_BITS)) >> (64 - END_BITS)) - END_ZERO;
      const again = this.dueNext > 0 && load<u64>(at - DUE_BYTES) == load<u64>(at) && this.isSame(at);
      this.dueNext++;
      if (again) continue; // another pane of the same window
      this.closing = entry;
      this.closingEnd = end;
      passed(end);
      return true;
    }
    return false;
  }

  /** Whether `close` is handed the lasting value itself, so that blocks it takes are to come from the arena. */
  closesInPlace(): bool {
    return true;
  }

  /** The partition of the entry that is being closed. */
  closingPartition(): usize {
    return <usize>(this.hashOf(this.closing) >> 24);
  }

  /** Whether what is due at `at` has the key of the one before. */
  private isSame(at: usize): bool {
    this.ignored = this.timeBytes();
    const order = this.compareKeys(<usize>load<u32>(at - DUE_BYTES, 8), <usize>load<u32>(at, 8));
    this.ignored = 0;
    return order == 0;
  }

  /** All that was due is closed: removes what is over. */
  endDue(): void {
    if (!this.dueRoom) return;
    setLasting(true);
    for (let i: u32 = 0; i < this.overCount; i++) {
      this.removeEntry(<usize>load<u32>(this.over + ((<usize>i) << 2)));
    }
    giveBlock(this.due, <usize>this.dueRoom * DUE_BYTES);
    giveBlock(this.over, (<usize>this.dueRoom) << 2);
    setLasting(false);
    this.dueRoom = 0;
    this.dueCount = 0;
    this.overCount = 0;
    this.due = 0;
    this.over = 0;
  }

  protected untime(entry: usize): void {
    const timer = load<u32>(entry + this.timerPlace());
    if (!(timer & OVER)) removeTimer(this.lasting, timer, this.timerPlace());
  }

  protected retime(entry: usize): void {
    const timer = load<u32>(entry + this.timerPlace());
    if (timer & OVER) store<u32>(this.over + ((<usize>(timer & ~OVER)) << 2), <u32>entry);
    else moveTimer(this.lasting, timer, entry);
  }


  @inline protected keyPtr(entry: usize): usize {
    return load<u32>(entry, KEY_PTR);
  }


  @inline protected keyLength(entry: usize): u32 {
    return load<u32>(entry, KEY_LENGTH);
  }

  /** When the first entry is due, ms; Infinity if none is. */
  firstDue(): f64 {
    return this.lasting.timerCount ? <f64>firstTime(this.lasting) : Infinity;
  }
}

function grown(before: usize, beforeBytes: usize, bytes: usize): usize {
  const block = takeBlock(bytes);
  if (beforeBytes) {
    memory.copy(block, before, beforeBytes);
    giveBlock(before, beforeBytes);
  }
  return block;
}
