/** Reading a table out: its lasting entries, and those adopted from other Jahs, in the order of their keys or of a number. */
import { CSV, JSON_ARRAY, OUTPUT, OUTPUT_END } from "../abi";
import { giveBlock, growing, setLasting, takeBlock, takeFrame } from "../heap";
import { follow, hashWord, lead } from "../hash";
import { KEY_LENGTH, KEY_PTR, nextEntry, startWalk } from "./home";
import { Entries, GROUP, STEP } from "./entries";
import { isWord, rankOf, renderBytes, renderWord } from "./key";
import { compareBytes } from "../text";
import { cursor, format, put, raw, setCursor } from "../row";
import { sortByPrimary } from "./sort";

const NO_ORDER: i32 = -1;
let warmth: u64 = 0;

export class Rows<K, V> extends Entries<K, V> {
  protected sorted: usize = 0;
  // The split that is under way. Frames are mapped meanwhile, and have lists of their own.
  protected rangeList: usize = 0;
  protected rangeStarts: usize = 0;
  protected splitters: u32 = 0;
  protected splitterTable: usize = 0;
  protected ranges: usize = 0;
  protected rangesNext: usize = 0;
  protected counted: bool = false;
  protected walk: usize = 0;
  /** Blocks that the split took, bytes. */
  protected rangesBytes: usize = 0;
  protected listBytes: usize = 0;
  protected startsBytes: usize = 0;
  protected orderColumn: i32 = NO_ORDER;
  protected descending: bool = false;
  /** Bytes at the start of a key that do not count in its order; not 0 only while windows close. */
  protected ignored: usize = 0;

  /** Makes the row of a key the one to render; whether there is one. The key is a word or bytes, as entries hold it. */
  find(key: usize, length: u32): bool {
    const home = this.lasting;
    let slot: usize;
    if (isWord<K>()) {
      const word = load<u64>(key);
      const hash = hashWord(word);
      slot = home.findWord(home.slotOf(hash), hash, word);
    } else {
      const a = lead(key, length);
      const b = follow(key, length);
      const hash = this.hashOfBytes(a, b, key, length);
      slot = home.findBytes(home.slotOf(hash), hash, a, b, key, length);
    }
    const entry = load<u32>(slot);
    if (!entry) return false;
    this.sorted = takeFrame(16, false);
    store<u64>(this.sorted, entry, 8);
    return true;
  }

  /** Entries of the lasting home. */
  size(): u32 {
    return this.lasting.count;
  }

  /** Sets the order of the rows: by key (column -1) or by a number of the value, then by key. */
  orderBy(column: i32, descending: bool): void {
    this.orderColumn = column;
    this.descending = descending;
  }

  /** A number whose unsigned order is the order of the rows, up to ties that the key breaks. */
  protected primary(entry: usize): u64 {
    if (this.orderColumn == NO_ORDER) {
      const rank = this.keyRank(entry);
      return this.descending ? ~rank : rank;
    }
    const value = changetype<V>(entry + this.header()).__order(this.orderColumn);
    if (value != value) return <u64>-1; // rows without a number come last, either way
    const bits = reinterpret<u64>(value + 0.0);
    const rank = <i64>bits < 0 ? ~bits : bits | 0x8000_0000_0000_0000;
    return this.descending ? ~rank : rank;
  }


  @inline protected keyRank(entry: usize): u64 {
    if (isWord<K>()) return rankOf<K>(load<u64>(entry));
    else return bswap<u64>(load<u64>(entry));
  }

  /** Order of two keys, of what is behind the first `ignored` bytes; with a descending order by key, turned round. */
  protected compareKeys(a: usize, b: usize): i32 {
    let order: i32;
    if (isWord<K>()) {
      const x = rankOf<K>(load<u64>(a));
      const y = rankOf<K>(load<u64>(b));
      order = x < y ? -1 : <i32>(x > y);
    } else {
      order = compareBytes(
        load<u32>(a, KEY_PTR) + this.ignored,
        load<u32>(a, KEY_LENGTH) - <u32>this.ignored,
        load<u32>(b, KEY_PTR) + this.ignored,
        load<u32>(b, KEY_LENGTH) - <u32>this.ignored,
      );
    }
    return this.orderColumn == NO_ORDER && this.descending ? -order : order;
  }

  /**
   * Writes about `most` evenly spaced entries at OUTPUT as { u64 primary, u32 length, u32 0, key bytes padded to 8 },
   * a word key as its rank in big-endian; returns the end.
   */
  sample(most: u32): usize {
    const home = this.lasting;
    const step = max<u32>(1, home.count / most);
    let o = OUTPUT;
    let i: u32 = 0;
    for (let entry = startWalk(home); entry; entry = nextEntry(home, entry)) {
      if (i++ % step) continue;
      const length = isWord<K>() ? 8 : load<u32>(entry, KEY_LENGTH);
      if (o + 24 + length > OUTPUT_END) break;
      store<u64>(o, this.primary(entry));
      store<u64>(o, length, 8);
      if (isWord<K>()) store<u64>(o, bswap<u64>(rankOf<K>(load<u64>(entry))), 16);
      else memory.copy(o + 16, load<u32>(entry, KEY_PTR), length);
      o += 16 + ((<usize>length + 7) & ~7);
    }
    return o;
  }

  /**
   * Starts to group the lasting entries into `splitters` + 1 ranges of the order; `splitStep` goes on with it. A splitter has the form of a sample; their
   * addresses stand at `table`. Range r holds what is not below splitter r - 1 and below splitter r.
   */
  split(table: usize, splitters: u32): void {
    const home = this.lasting;
    setLasting(true);
    growing(home.table);
    this.rangesBytes = ((<usize>home.count) << 1) + 16;
    this.listBytes = ((<usize>home.count) << 2) + 16;
    this.startsBytes = (<usize>splitters + 3) << 2;
    const ranges = takeBlock(this.rangesBytes);
    const list = takeBlock(this.listBytes);
    const starts = takeBlock(this.startsBytes);
    setLasting(false);
    memory.fill(starts, 0, this.startsBytes);
    this.rangeList = list;
    this.rangeStarts = starts;
    this.splitters = splitters;
    this.splitterTable = table;
    this.ranges = ranges;
    this.rangesNext = ranges;
    this.counted = false;
    this.walk = startWalk(home);
  }

  /**
   * A step of the split; false when it is done. In steps, so that its loops run optimised: V8 replaces a function's
   * code only between calls.
   */
  splitStep(): bool {
    if (!this.walk && !this.counted) {
      for (let r: u32 = 1; r <= this.splitters + 1; r++) {
        const at = this.rangeStarts + ((<usize>r) << 2);
        store<u32>(at, load<u32>(at) + load<u32>(at - 4));
      }
      this.counted = true;
      this.rangesNext = this.ranges;
      this.walk = startWalk(this.lasting);
    }
    if (this.walk) {
      if (this.counted) this.fillRanges();
      else this.countRanges();
      return true;
    }
    for (let r = this.splitters + 1; r > 0; r--) {
      store<u32>(this.rangeStarts + ((<usize>r) << 2), load<u32>(this.rangeStarts + ((<usize>(r - 1)) << 2)));
    }
    store<u32>(this.rangeStarts, 0);
    return false;
  }

  /** The ranges are read: gives back what the split took. */
  splitEnd(): void {
    if (!this.listBytes) return;
    setLasting(true);
    giveBlock(this.ranges, this.rangesBytes);
    giveBlock(this.rangeList, this.listBytes);
    giveBlock(this.rangeStarts, this.startsBytes);
    setLasting(false);
    this.listBytes = 0;
  }

  /** Notes the ranges of some entries and counts them. */
  protected countRanges(): void {
    const home = this.lasting;
    const starts = this.rangeStarts + 4;
    let entry = this.walk;
    let ranges = this.rangesNext;
    for (let i: usize = 0; i < STEP && entry; i++) {
      const range = this.rangeOf(entry, this.splitterTable, this.splitters);
      store<u16>(ranges, <u16>range);
      ranges += 2;
      const at = starts + ((<usize>range) << 2);
      store<u32>(at, load<u32>(at) + 1);
      entry = nextEntry(home, entry);
    }
    this.walk = entry;
    this.rangesNext = ranges;
  }

  /** Puts some entries into the list, by the ranges that were noted. */
  protected fillRanges(): void {
    const home = this.lasting;
    const list = this.rangeList;
    const starts = this.rangeStarts;
    let entry = this.walk;
    let ranges = this.rangesNext;
    for (let i: usize = 0; i < STEP && entry; i++) {
      const at = starts + ((<usize>load<u16>(ranges)) << 2);
      ranges += 2;
      const next = load<u32>(at);
      store<u32>(list + ((<usize>next) << 2), <u32>entry);
      store<u32>(at, next + 1);
      entry = nextEntry(home, entry);
    }
    this.walk = entry;
    this.rangesNext = ranges;
  }

  /** How many splitters are not above the entry. */
  protected rangeOf(entry: usize, table: usize, splitters: u32): u32 {
    const primary = this.primary(entry);
    let low: u32 = 0;
    let high = splitters;
    while (low < high) {
      const middle = (low + high) >> 1;
      const splitter = <usize>load<u32>(table + ((<usize>middle) << 2));
      const theirs = load<u64>(splitter);
      const below = theirs != primary ? theirs < primary : this.compareWithSplitter(entry, splitter) >= 0;
      if (below) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  protected compareWithSplitter(entry: usize, splitter: usize): i32 {
    let order: i32;
    if (isWord<K>()) {
      const x = rankOf<K>(load<u64>(entry));
      const y = bswap<u64>(load<u64>(splitter, 16));
      order = x < y ? -1 : <i32>(x > y);
    } else {
      order = compareBytes(
        load<u32>(entry, KEY_PTR),
        load<u32>(entry, KEY_LENGTH),
        splitter + 16,
        load<u32>(splitter, 8),
      );
    }
    return this.orderColumn == NO_ORDER && this.descending ? -order : order;
  }

  /** Entries of this Jah in a range. */
  rangeSize(range: u32): u32 {
    const at = this.rangeStarts + ((<usize>range) << 2);
    return load<u32>(at, 4) - load<u32>(at);
  }

  /** Writes entries `from` to `to` of a range as a routed section at OUTPUT; returns its end. */
  encodeRange(range: u32, from: u32, to: u32): usize {
    const start = load<u32>(this.rangeStarts + ((<usize>range) << 2));
    return this.encodeList(this.rangeList + ((<usize>(start + from)) << 2), to - from, OUTPUT);
  }

  /** Sorts a range: this Jah's entries and those adopted. Returns how many there are. */
  sortRange(range: u32): u32 {
    const own = this.rangeSize(range);
    const total = own + this.frame.count;
    const pairs = takeFrame(((<usize>total) << 4) + 16, false);
    const spare = takeFrame(((<usize>total) << 4) + 16, false);
    let o = pairs;
    const start = load<u32>(this.rangeStarts + ((<usize>range) << 2));
    for (let i: u32 = 0; i < own; i++) {
      const entry = <usize>load<u32>(this.rangeList + ((<usize>(start + i)) << 2));
      store<u64>(o, this.primary(entry));
      store<u64>(o, entry, 8);
      o += 16;
    }
    for (let entry = startWalk(this.frame); entry; entry = nextEntry(this.frame, entry)) {
      store<u64>(o, this.primary(entry));
      store<u64>(o, entry, 8);
      o += 16;
    }
    this.sorted = sortByPrimary(pairs, spare, total);
    this.sortTies(this.sorted, this.sorted == pairs ? spare : pairs, total);
    return total;
  }

  /** Puts rows of the same primary in the order of their keys. */
  protected sortTies(pairs: usize, spare: usize, count: u32): void {
    const end = pairs + ((<usize>count) << 4);
    for (let from = pairs; from < end;) {
      const primary = load<u64>(from);
      let to = from + 16;
      while (to < end && load<u64>(to) == primary) to += 16;
      if (to - from > 16) this.mergeSort(from, to, spare + (from - pairs));
      from = to;
    }
  }

  protected mergeSort(from: usize, to: usize, spare: usize): void {
    if (to - from <= 16) return;
    const middle = from + ((((to - from) >> 4) >> 1) << 4);
    this.mergeSort(from, middle, spare);
    this.mergeSort(middle, to, spare + (middle - from));
    memory.copy(spare, from, middle - from);
    let left = spare;
    const leftEnd = spare + (middle - from);
    let right = middle;
    let o = from;
    while (left < leftEnd) {
      const takeRight = right < to && this.compareKeys(<usize>load<u32>(right, 8), <usize>load<u32>(left, 8)) < 0;
      const source = takeRight ? right : left;
      v128.store(o, v128.load(source));
      o += 16;
      if (takeRight) right += 16;
      else left += 16;
    }
  }

  /** Loads the entries of rows that come next: in key order they lie anywhere in the arena. */
  @inline protected warmRows(from: u32, to: u32): void {
    let sum: u64 = 0;
    for (let i = from; i < to; i++) {
      const entry = <usize>load<u32>(this.sorted + ((<usize>i) << 4), 8);
      sum += load<u64>(entry) + load<u64>(entry + this.header());
    }
    warmth += sum;
  }

  /**
   * Renders sorted rows from `from` on at OUTPUT, until the window is well filled or `to` is reached; returns the
   * first row that was not rendered, the bytes end at `cursor`. `prefix` is what a row starts with.
   */
  render(from: u32, to: u32, prefix: usize, prefixLength: u32): u32 {
    setCursor(OUTPUT);
    const stop = OUTPUT + (8 << 20);
    let i = from;
    for (; i < to && cursor < stop; i++) {
      if (!(i & (GROUP - 1))) this.warmRows(i, min(i + GROUP, to));
      const entry = <usize>load<u32>(this.sorted + ((<usize>i) << 4), 8);
      raw(prefix, prefixLength);
      if (isWord<K>()) renderWord<K>(load<u64>(entry));
      else renderBytes<K>(load<u32>(entry, KEY_PTR), load<u32>(entry, KEY_LENGTH));
      changetype<V>(entry + this.header()).__render();
      if (format != CSV) put(0x7d);
      if (format != JSON_ARRAY) put(0x0a);
    }
    return i;
  }
}
