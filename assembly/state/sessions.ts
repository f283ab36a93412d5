/**
 * Sessions: values by key, for as long as its records follow one another by less than a gap of event time. A key has one
 * session at a time. A record that comes behind the gap ends it and starts the next one; so does event time that
 * passes. A record from before the session, by more than the gap, is late.
 */
import { isOver } from "../clock";
import { keyOfEntry } from "./key";
import { Timed, Window, windowOf } from "./timed";
import { addTimer } from "./timers";

export class Sessions<K, V> extends Timed<K, V> {
  private gap: i64;

  /** Sessions end `gap` ms after their last record. */
  constructor(name: string, gap: i64) {
    super(name);
    if (gap <= 0) throw new Error("the gap between sessions is greater than 0 ms");
    this.gap = gap;
  }

  /** The entry of a key; 0 if it has no session. */
  entryIfAny(key: K): usize {
    return this.existing(this.lasting, key);
  }

  /** Whether a record of time `ms` comes behind the session of an entry. */
  isBehind(entry: usize, ms: i64): bool {
    const value = changetype<V>(entry + this.header());
    if (isDefined(value.__end)) return ms >= value.__end + this.gap;
    else return false;
  }

  /** A session ends here, before the record at hand: what `closing...` tell of is this entry. */
  closeAt(entry: usize): void {
    this.closing = entry;
    this.closingEnd = this.endOf(entry);
  }

  /** The next session of an entry starts. Its timer stays, and is put off when it is due. */
  restart(entry: usize, ms: i64): V {
    const value = changetype<V>(entry + this.header());
    const timer = load<u32>(entry + this.timerPlace());
    this.touchEntry(entry);
    value.__drop();
    value.__init();
    store<u32>(entry + this.timerPlace(), timer);
    return this.begin(value, ms);
  }

  /**
   * The lasting value of a key, for `fold`, in the session that a record of time `ms` is part of; null if that comes too
   * late. To be called while blocks come from the arena.
   */
  own(key: K, ms: i64): V {
    const entry = this.existing(this.lasting, key);
    if (entry) {
      const value = changetype<V>(entry + this.header());
      if (isDefined(value.__start)) {
        if (ms + this.gap <= value.__start) return changetype<V>(0);
        this.touchState(entry);
        if (ms < value.__start) value.__start = ms;
        if (ms > value.__end) value.__end = ms;
      }
      return value;
    }
    if (isOver(ms + this.gap)) return changetype<V>(0);
    const fresh = this.entryOf(this.lasting, key, false);
    const value = this.begin(changetype<V>(fresh + this.header()), ms);
    this.schedule(fresh);
    return value;
  }

  private begin(value: V, ms: i64): V {
    if (isDefined(value.__start)) {
      value.__start = ms;
      value.__end = ms;
    }
    return value;
  }

  protected schedule(entry: usize): void {
    addTimer(this.lasting, this.endOf(entry), entry, this.timerPlace());
  }

  protected endOf(entry: usize): i64 {
    const value = changetype<V>(entry + this.header());
    if (isDefined(value.__end)) return value.__end + this.gap;
    else return 0;
  }

  /** The session that closes, from its first record to its last. */
  closingWindow(): Window {
    const value = changetype<V>(this.closing + this.header());
    if (isDefined(value.__start)) return windowOf(value.__start, value.__end);
    else return windowOf(0, 0);
  }

  closingKey(): K {
    return keyOfEntry<K>(this.closing);
  }

  closingValue(): V {
    this.touchState(this.closing);
    return changetype<V>(this.closing + this.header());
  }
}
