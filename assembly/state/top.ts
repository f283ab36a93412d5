/**
 * Top: the values that occur most often, with how often. A frequent-items sketch (Anderson, Bevan, Lang, Liberty,
 * Rhodes, Thaler, "A High-Performance Algorithm for Identifying Frequent Items in Data Streams", 2017): values are
 * counted exactly until there are 512 of them and another one comes; then the 257th greatest count is taken off all,
 * and those left with nothing are forgotten. That is O(1) per value, amortised, and it merges by adding up, then taking
 * off likewise (Agarwal et al., "Mergeable Summaries", PODS 2012).
 *
 * Each time something is taken off, at least 257 counts lose as much, so with n values in all no count can lose more
 * than n / 257. Beside what it lost, a counter knows all it counted since it was last started. That is what is
 * reported: never more than the truth, short of it by less than n / 256, exact for a value that was never
 * forgotten, and so for all while no more than 512 different values were seen. A value that makes up more than
 * 1 / 256 of all is always among the counters.
 *
 * Forgetting looks at counts alone, never at the order of the counters, so writing and merging into an empty Top
 * gives one that goes on alike.
 *
 *   block: counters { u64 word, or u32 offset in the texts and u32 length; u64 seen; u64 lost } x capacity,
 *          then the index: u32 x 2 capacity, { u16 counter + 1, u16 top of the hash }, linear probing, 0 = free
 *   texts: bytes of the keys, in the order of their counters
 *   written: varint counters, then each: key (u64, or varint length and bytes), varint seen * 2 + (lost > 0),
 *            varint lost if there is any
 */
import { CSV, NDJSON } from "../abi";
import { damaged } from "../damaged";
import { touchRange } from "../dirty";
import { giveBlock, takeBlock } from "../heap";
import { hashBytes, hashWord } from "../hash";
import { cursor, format, put, raw, setCursor, setFormat, single, unsigned } from "../row";
import { Text, compareBytes, sameBytes } from "../text";
import { getVarint, putVarint, varintEnd } from "../varint";
import { isWord, keyOfWord, rankOf, renderBytes, renderWord, wordOf } from "./key";

const REPORTED: u32 = 10;
/** Counters that may be left when something is taken off. */
const KEPT: u32 = 256;
/** Counters that are held before something is taken off; while merging there may be twice as many. */
const COUNTERS_MAX: u32 = 512;
const FIRST_COUNTERS: u32 = 8;
const COUNTER_BYTES: usize = 24;
const SEEN: usize = 8;
const LOST: usize = 16;
/** Readable bytes behind the texts, for wide loads. */
const SLACK: u32 = 16;


@unmanaged export class Top<T> {
  private block: u32;
  /** Counters that the block has room for: 0 or a power of two. */
  private capacity: u32;
  private count: u32;
  private texts: u32;
  private textsEnd: u32;
  private textsRoom: u32;

  /** Counts a text, an integer, a boolean, a time, a decimal or a tuple. */
  @inline add(x: T): void {
    this.addMany(x, 1);
  }

  /** Counts a value `weight` times. */
  addMany(x: T, weight: u64): void {
    if (!weight) return;
    if (isReference<T>()) {
      if (isDefined(x.ptr)) this.countBytes(x.ptr, x.length, weight, 0, COUNTERS_MAX);
      else if (isDefined(x.ms)) this.countWord(wordOf<T>(x), weight, 0, COUNTERS_MAX);
      else if (isDefined(x.units)) this.countWord(wordOf<T>(x), weight, 0, COUNTERS_MAX);
      else ERROR("Top counts texts, integers, booleans, times, decimals and tuples of these");
    } else if (isFloat<T>()) ERROR("Top counts no floats: round them to integers, or use Decimal");
    else this.countWord(wordOf<T>(x), weight, 0, COUNTERS_MAX);
  }


  @inline init(): void {
    this.block = 0;
    this.capacity = 0;
    this.count = 0;
    this.texts = 0;
    this.textsEnd = 0;
    this.textsRoom = 0;
  }

  /** `most` is how many counters there may be, once this value has one. */
  private countWord(word: u64, seen: u64, lost: u64, most: u32): void {
    const hash = hashWord(word);
    const capacity = this.capacity;
    if (capacity) {
      const block = <usize>this.block;
      const index = block + <usize>capacity * COUNTER_BYTES;
      const mask = (capacity << 1) - 1;
      let i = hash & mask;
      let slot = load<u32>(index + ((<usize>i) << 2));
      while (slot) {
        if (slot >> 16 == hash >> 16) {
          const counter = block + (<usize>(slot & 0xffff) - 1) * COUNTER_BYTES;
          if (load<u64>(counter) == word) {
            plus(counter, seen, lost);
            return;
          }
        }
        i = (i + 1) & mask;
        slot = load<u32>(index + ((<usize>i) << 2));
      }
    }
    if (this.count == most) this.forget();
    const counter = this.start(hash, seen, lost);
    store<u64>(counter, word);
  }

  private countBytes(ptr: usize, length: u32, seen: u64, lost: u64, most: u32): void {
    const hash = <u32>(hashBytes(ptr, length) >> 32);
    const capacity = this.capacity;
    if (capacity) {
      const block = <usize>this.block;
      const texts = <usize>this.texts;
      const index = block + <usize>capacity * COUNTER_BYTES;
      const mask = (capacity << 1) - 1;
      let i = hash & mask;
      let slot = load<u32>(index + ((<usize>i) << 2));
      while (slot) {
        if (slot >> 16 == hash >> 16) {
          const counter = block + (<usize>(slot & 0xffff) - 1) * COUNTER_BYTES;
          if (load<u32>(counter, 4) == length && sameBytes(texts + <usize>load<u32>(counter), ptr, length)) {
            plus(counter, seen, lost);
            return;
          }
        }
        i = (i + 1) & mask;
        slot = load<u32>(index + ((<usize>i) << 2));
      }
    }
    if (this.count == most) this.forget();
    const offset = this.keepText(ptr, length);
    const counter = this.start(hash, seen, lost);
    store<u32>(counter, offset);
    store<u32>(counter, length, 4);
  }

  /** Copies a text behind the others; returns its offset. */
  private keepText(ptr: usize, length: u32): u32 {
    const offset = this.textsEnd;
    const end = offset + length;
    if (end + SLACK > this.textsRoom || end < offset) this.growTexts(end + SLACK);
    memory.copy(<usize>this.texts + offset, ptr, length);
    this.textsEnd = end;
    return offset;
  }

  private growTexts(bytes: u32): void {
    if (bytes < this.textsEnd || bytes > 1 << 30) throw new Error("the texts of a Top are larger than 1 GiB");
    let room = max<u32>(this.textsRoom, 64);
    while (room < bytes) room <<= 1;
    const texts = takeBlock(room);
    memory.copy(texts, this.texts, this.textsEnd);
    if (this.textsRoom) giveBlock(this.texts, this.textsRoom);
    this.texts = <u32>texts;
    this.textsRoom = room;
  }

  /** A counter for a value that has none; its key is for the caller to store. */
  private start(hash: u32, seen: u64, lost: u64): usize {
    const number = this.count;
    if (number == this.capacity) this.resize(number ? number << 1 : FIRST_COUNTERS);
    const block = <usize>this.block;
    enter(block, this.capacity, hash, number);
    this.count = number + 1;
    const counter = block + <usize>number * COUNTER_BYTES;
    store<u64>(counter, seen, SEEN);
    store<u64>(counter, lost, LOST);
    return counter;
  }

  private resize(capacity: u32): void {
    const before = this.block;
    const beforeCapacity = this.capacity;
    const block = takeBlock(blockSize(capacity));
    if (this.count) memory.copy(block, before, <usize>this.count * COUNTER_BYTES);
    if (beforeCapacity) giveBlock(before, blockSize(beforeCapacity));
    this.block = <u32>block;
    this.capacity = capacity;
    this.reindex();
  }

  private reindex(): void {
    const block = <usize>this.block;
    const capacity = this.capacity;
    memory.fill(block + <usize>capacity * COUNTER_BYTES, 0, (<usize>capacity) << 3);
    for (let number: u32 = 0; number < this.count; number++) {
      enter(block, capacity, this.hashOf(block + <usize>number * COUNTER_BYTES), number);
    }
  }


  @inline private hashOf(counter: usize): u32 {
    if (isWord<T>()) return hashWord(load<u64>(counter));
    else return <u32>(hashBytes(this.textOf(counter), load<u32>(counter, 4)) >> 32);
  }


  @inline private textOf(counter: usize): usize {
    return <usize>this.texts + load<u32>(counter);
  }

  /** Takes the 257th greatest count off all, and drops the counters left with nothing. */
  private forget(): void {
    const count = this.count;
    const block = <usize>this.block;
    for (let i: u32 = 0; i < count; i++) {
      store<u64>(scratch + ((<usize>i) << 3), left(block + <usize>i * COUNTER_BYTES));
    }
    const loss = greatest(count, KEPT);
    let kept = block;
    let textsEnd: u32 = 0;
    for (let at = block, end = block + <usize>count * COUNTER_BYTES; at < end; at += COUNTER_BYTES) {
      if (left(at) <= loss) continue;
      let key = load<u64>(at);
      if (!isWord<T>()) {
        // Texts lie in the order of their counters, so that they move down, never over one still to be moved.
        const length = load<u32>(at, 4);
        memory.copy(<usize>this.texts + textsEnd, this.textOf(at), length);
        key = (<u64>textsEnd) | ((<u64>length) << 32);
        textsEnd += length;
      }
      const seen = load<u64>(at, SEEN);
      const lost = load<u64>(at, LOST);
      store<u64>(kept, key);
      store<u64>(kept, seen, SEEN);
      store<u64>(kept, lost + loss, LOST);
      kept += COUNTER_BYTES;
    }
    this.count = <u32>((kept - block) / COUNTER_BYTES);
    this.textsEnd = textsEnd;
    if (this.capacity > COUNTERS_MAX) this.resize(COUNTERS_MAX);
    else this.reindex();
  }

  /** Marks its blocks, which may change. */
  touch(): void {
    if (this.capacity) touchRange(this.block, blockSize(this.capacity));
    if (this.textsRoom) touchRange(this.texts, this.textsRoom);
  }

  /** Gives its blocks back. */
  drop(): void {
    if (this.capacity) giveBlock(this.block, blockSize(this.capacity));
    if (this.textsRoom) giveBlock(this.texts, this.textsRoom);
  }

  room(): usize {
    return 10 + <usize>this.count * 30 + this.textsEnd;
  }

  write(o: usize): usize {
    const count = this.count;
    o = putVarint(o, count);
    const block = <usize>this.block;
    for (let at = block, end = block + <usize>count * COUNTER_BYTES; at < end; at += COUNTER_BYTES) {
      if (isWord<T>()) {
        store<u64>(o, load<u64>(at));
        o += 8;
      } else {
        const length = load<u32>(at, 4);
        o = putVarint(o, length);
        memory.copy(o, this.textOf(at), length);
        o += length;
      }
      const lost = load<u64>(at, LOST);
      o = putVarint(o, (load<u64>(at, SEEN) << 1) | (<u64>(lost != 0)));
      if (lost) o = putVarint(o, lost);
    }
    return o;
  }

  merge(p: usize): usize {
    const counters = getVarint(p);
    if (counters > <u64>COUNTERS_MAX) damaged();
    const count = <u32>counters;
    p = varintEnd;
    if (!this.capacity && count) {
      let capacity = FIRST_COUNTERS;
      while (capacity < count) capacity <<= 1;
      this.resize(capacity);
    }
    for (let i: u32 = 0; i < count; i++) {
      let key = p;
      let length: u32 = 8;
      if (!isWord<T>()) {
        length = <u32>getVarint(p);
        key = varintEnd;
      }
      const seen = getVarint(key + <usize>length);
      let lost: u64 = 0;
      if (seen & 1) lost = getVarint(varintEnd);
      p = varintEnd;
      if (isWord<T>()) this.countWord(load<u64>(key), seen >> 1, lost, COUNTERS_MAX << 1);
      else this.countBytes(key, length, seen >> 1, lost, COUNTERS_MAX << 1);
    }
    if (this.count > COUNTERS_MAX) this.forget();
    return p;
  }

  /** `[{"key":..,"count":..},..]`, in CSV as one quoted cell. */
  render(): void {
    const before = cursor;
    single();
    if (format != CSV) {
      this.renderList();
      return;
    }
    const delimiter = load<u8>(before); // single() has just put it there
    const start = cursor;
    setFormat(NDJSON, delimiter);
    this.renderList();
    setFormat(CSV, delimiter);
    quote(start);
  }

  private renderList(): void {
    const count = this.best();
    put(0x5b);
    for (let i: u32 = 0; i < count; i++) {
      const counter = <usize>load<u32>(ranking + ((<usize>i) << 2));
      if (i) put(0x2c);
      raw(memory.data<u8>([0x7b, 0x22, 0x6b, 0x65, 0x79, 0x22, 0x3a]), 7); // {"key":
      if (isWord<T>()) renderWord<T>(load<u64>(counter));
      else renderBytes<T>(this.textOf(counter), load<u32>(counter, 4));
      raw(memory.data<u8>([0x2c, 0x22, 0x63, 0x6f, 0x75, 0x6e, 0x74, 0x22, 0x3a]), 9); // ,"count":
      unsigned(load<u64>(counter, SEEN));
      put(0x7d);
    }
    put(0x5d);
  }

  /** Puts the counters to be reported into `ranking`, the greatest first; returns how many. */
  private best(): u32 {
    let ranked: u32 = 0;
    const block = <usize>this.block;
    for (let at = block, end = block + <usize>this.count * COUNTER_BYTES; at < end; at += COUNTER_BYTES) {
      let i = ranked;
      while (i && this.before(at, <usize>load<u32>(ranking + ((<usize>(i - 1)) << 2)))) i--;
      if (i == REPORTED) continue;
      if (ranked < REPORTED) ranked++;
      const slot = ranking + ((<usize>i) << 2);
      memory.copy(slot + 4, slot, (<usize>(ranked - 1 - i)) << 2);
      store<u32>(slot, <u32>at);
    }
    return ranked;
  }

  /** How many values are reported: ten at most. */
  get size(): i32 {
    return <i32>this.best();
  }

  /** A value that is reported, 0 being the most frequent. Ends with the call of `close`. */
  keyAt(rank: i32): T {
    const counter = this.ranked(rank);
    if (isWord<T>()) return keyOfWord<T>(load<u64>(counter));
    else return changetype<T>(Text.view(this.textOf(counter), load<u32>(counter, 4)));
  }

  /** How often it was counted. */
  countAt(rank: i32): u64 {
    return load<u64>(this.ranked(rank), SEEN);
  }

  private ranked(rank: i32): usize {
    if (<u32>rank >= this.best()) throw new Error("a Top has no value of that rank; see size");
    return <usize>load<u32>(ranking + ((<usize>rank) << 2));
  }

  /** By count descending, then by key. */
  private before(a: usize, b: usize): bool {
    const x = load<u64>(a, SEEN);
    const y = load<u64>(b, SEEN);
    if (x != y) return x > y;
    if (isWord<T>()) return rankOf<T>(load<u64>(a)) < rankOf<T>(load<u64>(b));
    else return compareBytes(this.textOf(a), load<u32>(a, 4), this.textOf(b), load<u32>(b, 4)) < 0;
  }

  /** The greatest count. */
  order(column: u32): f64 {
    return this.best() ? <f64>load<u64>(<usize>load<u32>(ranking), SEEN) : NaN;
  }
}

/** Addresses of the counters to be reported. */
// @ts-ignore: decorator
@lazy const ranking: usize = memory.data(64, 8);
/** Counts to choose the loss from; taken when the module starts, so that it outlives the records. */
// @ts-ignore: decorator
@lazy const scratch: usize = heap.alloc((<usize>COUNTERS_MAX) << 4);


@inline function blockSize(capacity: u32): usize {
  return <usize>capacity * (COUNTER_BYTES + 8);
}


@inline function plus(counter: usize, seen: u64, lost: u64): void {
  store<u64>(counter, load<u64>(counter, SEEN) + seen, SEEN);
  if (lost) store<u64>(counter, load<u64>(counter, LOST) + lost, LOST);
}

/** What a counter has left of what it has seen. */
@inline function left(counter: usize): u64 {
  return load<u64>(counter, SEEN) - load<u64>(counter, LOST);
}

/** Enters a counter into the index. */
function enter(block: usize, capacity: u32, hash: u32, number: u32): void {
  const index = block + <usize>capacity * COUNTER_BYTES;
  const mask = (capacity << 1) - 1;
  let i = hash & mask;
  while (load<u32>(index + ((<usize>i) << 2))) i = (i + 1) & mask;
  store<u32>(index + ((<usize>i) << 2), (hash & 0xffff0000) | (number + 1));
}

/** The number in `scratch` that exactly `above` of its `count` precede in descending order (Hoare's find, three ways). */
function greatest(count: u32, above: u32): u64 {
  const wanted = scratch + ((<usize>above) << 3);
  let low = scratch;
  let high = scratch + ((<usize>(count - 1)) << 3);
  while (true) {
    const pivot = load<u64>(low + (((high - low) >> 4) << 3));
    let more = low;
    let less = high;
    let at = low;
    while (at <= less) {
      const value = load<u64>(at);
      if (value > pivot) {
        store<u64>(at, load<u64>(more));
        store<u64>(more, value);
        more += 8;
        at += 8;
      } else if (value < pivot) {
        store<u64>(at, load<u64>(less));
        store<u64>(less, value);
        less -= 8;
      } else at += 8;
    }
    if (wanted < more) high = more - 8;
    else if (wanted > less) low = less + 8;
    else return pivot;
  }
}

/** Makes the bytes from `start` up to the cursor a quoted CSV cell. */
function quote(start: usize): void {
  const end = cursor;
  let o = end + 2;
  for (let p = start; p < end; p++) o += <usize>(load<u8>(p) == 0x22);
  setCursor(o);
  store<u8>(--o, 0x22);
  for (let p = end; p > start;) {
    const byte = load<u8>(--p);
    store<u8>(--o, byte);
    if (byte == 0x22) store<u8>(--o, 0x22);
  }
  store<u8>(start, 0x22);
}
