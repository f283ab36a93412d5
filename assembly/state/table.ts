/**
 * Table: values by key. `at` is for kernels and works on the frame's home. The rest is the engine's: entries are
 * grouped by the owner of their partition and written out, applied to the lasting home, and read back in order.
 *
 *   routed section: { u32 table, u32 entries } u32 hash[entries], then per entry its key and its value
 *   key: u64 for a word, else u32 length and the bytes
 */
import { CSV, ENTRIES, JSON_ARRAY, OUTPUT, OUTPUT_END, OWNERS } from "../abi";
import { HOMES, HOME_BYTES, giveBlock, growing, setLasting, takeBlock, takeFrame } from "../heap";
import { follow, hashLead, hashLong, hashWord, lead } from "../hash";
import {
  BYTES_HEADER,
  Home,
  KEY_HASH,
  KEY_INLINE,
  KEY_LENGTH,
  KEY_PTR,
  WORD_HEADER,
  nextEntry,
  resumeWalk,
  startWalk,
  walkChunk,
} from "./home";
import { isWord, rankOf, renderBytes, renderWord, wordOf } from "./key";
import { compareBytes } from "../text";
import { cursor, format, put, raw, setCursor } from "../row";
import { sortByPrimary } from "./sort";

const GROUP: u32 = 32;
/** Entries handled by one call of a loop over a whole table. */
const STEP: usize = 16384;
const NO_ORDER: i32 = -1;
/** Bytes of entries in one section of an export: a step of it should take a few ms. */
const EXPORT_BYTES: usize = 2 << 20;

let tables: u32 = 0;
/** Keeps the loads that only warm the cache from being optimised away. */
let warmth: u64 = 0;
/** Slots of the group that is being merged. */
const slots: usize = memory.data(128, 4);

export class Table<K, V> {
  private frame: Home = changetype<Home>(0);
  private lasting: Home = changetype<Home>(0);
  /** Entries grouped by owner (while a frame is flushed) or by range (while results are read): addresses. */
  private list: usize = 0;
  private starts: usize = 0;
  private sorted: usize = 0;
  private sortedCount: u32 = 0;
  // The split that is under way.
  private splitters: u32 = 0;
  private splitterTable: usize = 0;
  private ranges: usize = 0;
  private rangesNext: usize = 0;
  private counted: bool = false;
  private walk: usize = 0;
  /** Blocks that the split took, bytes. */
  private rangesBytes: usize = 0;
  private listBytes: usize = 0;
  private startsBytes: usize = 0;
  // The export or removal of partitions that is under way.
  private passEntry: usize = 0;
  private passChunk: usize = 0;
  private orderColumn: i32 = NO_ORDER;
  private descending: bool = false;

  /** A table by the name under which its rows come out. Declare it once, as a constant at the top of the kernel. */
  constructor(name: string) {
    const table = tables++;
    const stride = <u32>(this.header() + ((offsetof<V>() + 7) & ~7));
    this.lasting = changetype<Home>(HOMES + <usize>table * HOME_BYTES);
    if (!this.lasting.stride) {
      setLasting(true);
      this.lasting.open(stride, table);
      setLasting(false);
    }
    this.frame = changetype<Home>(heap.alloc(HOME_BYTES));
    this.frame.stride = stride;
    this.frame.table = table;
  }


  @inline private header(): usize {
    return isWord<K>() ? WORD_HEADER : BYTES_HEADER;
  }

  /** The value of a key; a new one if the key was not there. Valid until the frame ends. */
  @inline at(key: K): V {
    const home = this.frame;
    if (isWord<K>()) {
      const word = wordOf<K>(key);
      const hash = hashWord(word);
      const slot = home.findWord(home.slotOf(hash), hash, word);
      let entry = <usize>load<u32>(slot);
      if (!entry) entry = this.insertWord(home, slot, hash, word);
      return changetype<V>(entry + WORD_HEADER);
    } else {
      const bytes = changetype<usize>(key);
      const ptr = <usize>load<u32>(bytes);
      const length = load<u32>(bytes, 4);
      const a = lead(ptr, length);
      const b = follow(ptr, length);
      let full = hashLead(a, b, length);
      if (length > KEY_INLINE) full = hashLong(ptr, length, full);
      const hash = <u32>(full >> 32);
      const slot = home.findBytes(home.slotOf(hash), hash, a, b, ptr, length);
      let entry = <usize>load<u32>(slot);
      if (!entry) entry = this.insertBytes(home, slot, hash, ptr, length, true);
      return changetype<V>(entry + BYTES_HEADER);
    }
  }

  private insertWord(home: Home, slot: usize, hash: u32, word: u64): usize {
    const entry = home.insertWord(slot, hash, word);
    changetype<V>(entry + WORD_HEADER).__init();
    return entry;
  }

  private insertBytes(home: Home, slot: usize, hash: u32, ptr: usize, length: u32, stays: bool): usize {
    const entry = home.insertBytes(slot, hash, ptr, length, stays);
    changetype<V>(entry + BYTES_HEADER).__init();
    return entry;
  }

  /** Empties the frame's home; the frame heap was released before. */
  reset(): void {
    this.frame.open(this.frame.stride, this.frame.table);
  }


  @inline private hashOf(entry: usize): u32 {
    return isWord<K>() ? hashWord(load<u64>(entry)) : load<u32>(entry, KEY_HASH);
  }

  /** The owner of an entry's partition; `owners` if it has none. */
  @inline private ownerOf(entry: usize, owners: u32): u32 {
    return min<u32>(<u32>load<u8>(OWNERS + <usize>(this.hashOf(entry) >> 24)), owners);
  }

  /** Groups the frame's entries by owner, each owner's in the order of their insertion; nobody's come last. */
  group(owners: u32): void {
    const home = this.frame;
    const starts = takeFrame(((<usize>owners + 4) << 2) & ~7, false);
    const list = takeFrame((((<usize>home.count) << 2) + 8) & ~7, false);
    memory.fill(starts, 0, (<usize>owners + 2) << 2);
    for (let entry = startWalk(home); entry; entry = nextEntry(home, entry)) {
      const at = starts + ((<usize>this.ownerOf(entry, owners)) << 2);
      store<u32>(at, load<u32>(at, 4) + 1, 4);
    }
    for (let i: u32 = 1; i <= owners + 1; i++) {
      const at = starts + ((<usize>i) << 2);
      store<u32>(at, load<u32>(at) + load<u32>(at - 4));
    }
    this.fill(home, list, starts, owners);
    this.list = list;
    this.starts = starts;
  }

  /** Counting sort, second pass: `starts[i]` moves from the start of group i to its end, and is moved back. */
  private fill(home: Home, list: usize, starts: usize, owners: u32): void {
    for (let entry = startWalk(home); entry; entry = nextEntry(home, entry)) {
      const at = starts + ((<usize>this.ownerOf(entry, owners)) << 2);
      const next = load<u32>(at);
      store<u32>(list + ((<usize>next) << 2), <u32>entry);
      store<u32>(at, next + 1);
    }
    for (let i = owners + 1; i > 0; i--) {
      store<u32>(starts + ((<usize>i) << 2), load<u32>(starts + ((<usize>(i - 1)) << 2)));
    }
    store<u32>(starts, 0);
  }

  /** Writes the section of one owner at `o`; returns its end. Nothing is written for an owner without entries. */
  encode(owner: u32, o: usize): usize {
    const from = load<u32>(this.starts + ((<usize>owner) << 2));
    const to = load<u32>(this.starts + ((<usize>owner) << 2), 4);
    return from == to ? o : this.encodeList(from, to, o);
  }

  private encodeList(from: u32, to: u32, o: usize): usize {
    store<u32>(o, this.frame.table);
    store<u32>(o, to - from, 4);
    let hashes = o + 8;
    o = hashes + ((<usize>(to - from)) << 2);
    for (let i = from; i < to; i++) {
      const entry = <usize>load<u32>(this.list + ((<usize>i) << 2));
      const value = changetype<V>(entry + this.header());
      store<u32>(hashes, this.hashOf(entry));
      hashes += 4;
      if (isWord<K>()) {
        if (o + 8 + value.__room() > OUTPUT_END) windowFull();
        store<u64>(o, load<u64>(entry));
        o += 8;
      } else {
        const length = <usize>load<u32>(entry, KEY_LENGTH);
        if (o + 36 + length + value.__room() > OUTPUT_END) windowFull();
        store<u32>(o, <u32>length);
        if (length <= KEY_INLINE) {
          v128.store(o, v128.load(entry), 4);
          v128.store(o, v128.load(entry, 16), 20);
        } else memory.copy(o + 4, load<u32>(entry, KEY_PTR), length);
        o += 4 + length;
      }
      o = value.__write(o);
    }
    return o;
  }

  /** Merges a routed section (behind its header) into the lasting home; returns its end. */
  apply(p: usize, count: u32): usize {
    setLasting(true);
    growing(this.lasting.table);
    const end = this.mergeAll(this.lasting, p, count);
    setLasting(false);
    return end;
  }

  /** Takes in entries of another Jah to be rendered in order with this one's. */
  adopt(p: usize, count: u32): usize {
    return this.mergeAll(this.frame, p, count);
  }

  private mergeAll(home: Home, hashes: usize, count: u32): usize {
    home.reserve(count);
    let p = hashes + ((<usize>count) << 2);
    for (let done: u32 = 0; done < count; done += GROUP) {
      const group = min<u32>(GROUP, count - done);
      this.warm(home, hashes, group);
      for (let i: u32 = 0; i < group; i++) {
        const hash = load<u32>(hashes);
        hashes += 4;
        const slot = <usize>load<u32>(slots + ((<usize>i) << 2));
        p = isWord<K>() ? this.mergeWord(home, slot, hash, p) : this.mergeBytes(home, slot, hash, p);
      }
    }
    return p;
  }

  /**
   * Loads the slots, then the entries, of a group of keys: the cache misses of a big table overlap rather than queue
   * up. The slots found are kept: all before them hold other hashes.
   */
  @inline private warm(home: Home, hashes: usize, count: u32): void {
    let sum: u64 = 0;
    for (let i: u32 = 0; i < count; i++) {
      sum += load<u64>(home.slotOf(load<u32>(hashes + ((<usize>i) << 2))));
    }
    for (let i: u32 = 0; i < count; i++) {
      const hash = load<u32>(hashes + ((<usize>i) << 2));
      const slot = home.seek(home.slotOf(hash), hash);
      store<u32>(slots + ((<usize>i) << 2), <u32>slot);
      const entry = <usize>load<u32>(slot);
      sum += load<u64>(entry) + load<u64>(entry, offsetof<V>());
    }
    warmth += sum;
  }


  @inline private mergeWord(home: Home, from: usize, hash: u32, p: usize): usize {
    const word = load<u64>(p);
    const slot = home.findWord(from, hash, word);
    let entry = <usize>load<u32>(slot);
    if (!entry) entry = this.insertWord(home, slot, hash, word);
    return changetype<V>(entry + WORD_HEADER).__merge(p + 8);
  }


  @inline private mergeBytes(home: Home, from: usize, hash: u32, p: usize): usize {
    const length = load<u32>(p);
    const ptr = p + 4;
    const slot = home.findBytes(from, hash, lead(ptr, length), follow(ptr, length), ptr, length);
    let entry = <usize>load<u32>(slot);
    if (!entry) entry = this.insertBytes(home, slot, hash, ptr, length, false);
    return changetype<V>(entry + BYTES_HEADER).__merge(ptr + length);
  }

  /** Starts to go through the lasting entries: `exportStep` or `removeStep` goes on with it. */
  startPass(): void {
    this.passEntry = startWalk(this.lasting);
    this.passChunk = walkChunk;
  }


  @inline private isIn(entry: usize, from: u32, to: u32): bool {
    const partition = this.hashOf(entry) >> 24;
    return partition >= from && partition < to;
  }

  /**
   * Writes some of the lasting entries of partitions [from, to) as a routed section at ENTRIES; returns its end, ENTRIES if
   * there are no more. What `apply` makes of them in an empty home goes on as the originals would. The frame heap is free.
   */
  exportStep(from: u32, to: u32): usize {
    const home = this.lasting;
    resumeWalk(this.passChunk);
    const list = takeFrame(STEP << 2, false);
    let count: u32 = 0;
    let bytes: usize = 0;
    let entry = this.passEntry;
    while (entry && count < <u32>STEP && bytes < EXPORT_BYTES) {
      if (this.isIn(entry, from, to)) {
        store<u32>(list + ((<usize>count) << 2), <u32>entry);
        bytes += this.stride() + changetype<V>(entry + this.header()).__room();
        if (!isWord<K>()) bytes += load<u32>(entry, KEY_LENGTH);
        count++;
      }
      entry = nextEntry(home, entry);
    }
    this.passEntry = entry;
    this.passChunk = walkChunk;
    this.list = list;
    return count ? this.encodeList(0, count, ENTRIES) : ENTRIES;
  }


  @inline private stride(): usize {
    return this.lasting.stride;
  }

  /** Removes some of the lasting entries of partitions [from, to); false when none is left. */
  removeStep(from: u32, to: u32): bool {
    const home = this.lasting;
    let entry = this.passEntry;
    setLasting(true);
    resumeWalk(this.passChunk);
    for (let i: usize = 0; i < STEP && entry; i++) {
      if (!this.isIn(entry, from, to)) entry = nextEntry(home, entry);
      else {
        const last = entry == home.lastEntry();
        this.removeEntry(entry);
        if (last) entry = 0;
      }
    }
    setLasting(false);
    this.passEntry = entry;
    this.passChunk = walkChunk;
    return entry != 0;
  }

  /** Removes a lasting entry; the last entry takes its place. To be called while blocks come from the arena. */
  removeEntry(entry: usize): void {
    const home = this.lasting;
    changetype<V>(entry + this.header()).__drop();
    if (!isWord<K>()) home.freeKey(entry);
    home.remove(entry, this.hashOf(entry), this.hashOf(home.lastEntry()), !isWord<K>());
  }

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
      let full = hashLead(a, b, length);
      if (length > KEY_INLINE) full = hashLong(key, length, full);
      const hash = <u32>(full >> 32);
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
  private primary(entry: usize): u64 {
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


  @inline private keyRank(entry: usize): u64 {
    if (isWord<K>()) return rankOf<K>(load<u64>(entry));
    else return bswap<u64>(load<u64>(entry));
  }

  /** Order of two keys; with a descending order by key, turned round. */
  private compareKeys(a: usize, b: usize): i32 {
    let order: i32;
    if (isWord<K>()) {
      const x = rankOf<K>(load<u64>(a));
      const y = rankOf<K>(load<u64>(b));
      order = x < y ? -1 : <i32>(x > y);
    } else {
      order = compareBytes(
        load<u32>(a, KEY_PTR),
        load<u32>(a, KEY_LENGTH),
        load<u32>(b, KEY_PTR),
        load<u32>(b, KEY_LENGTH),
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
    this.list = list;
    this.starts = starts;
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
        const at = this.starts + ((<usize>r) << 2);
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
      store<u32>(this.starts + ((<usize>r) << 2), load<u32>(this.starts + ((<usize>(r - 1)) << 2)));
    }
    store<u32>(this.starts, 0);
    return false;
  }

  /** The ranges are read: gives back what the split took. */
  splitEnd(): void {
    if (!this.listBytes) return;
    setLasting(true);
    giveBlock(this.ranges, this.rangesBytes);
    giveBlock(this.list, this.listBytes);
    giveBlock(this.starts, this.startsBytes);
    setLasting(false);
    this.listBytes = 0;
  }

  /** Notes the ranges of some entries and counts them. */
  private countRanges(): void {
    const home = this.lasting;
    const starts = this.starts + 4;
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
  private fillRanges(): void {
    const home = this.lasting;
    const list = this.list;
    const starts = this.starts;
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
  private rangeOf(entry: usize, table: usize, splitters: u32): u32 {
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

  private compareWithSplitter(entry: usize, splitter: usize): i32 {
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
    const at = this.starts + ((<usize>range) << 2);
    return load<u32>(at, 4) - load<u32>(at);
  }

  /** Writes entries `from` to `to` of a range as a routed section at OUTPUT; returns its end. */
  encodeRange(range: u32, from: u32, to: u32): usize {
    const start = load<u32>(this.starts + ((<usize>range) << 2));
    return this.encodeList(start + from, start + to, OUTPUT);
  }

  /** Sorts a range: this Jah's entries and those adopted. Returns how many there are. */
  sortRange(range: u32): u32 {
    const own = this.rangeSize(range);
    const total = own + this.frame.count;
    const pairs = takeFrame(((<usize>total) << 4) + 16, false);
    const spare = takeFrame(((<usize>total) << 4) + 16, false);
    let o = pairs;
    const start = load<u32>(this.starts + ((<usize>range) << 2));
    for (let i: u32 = 0; i < own; i++) {
      const entry = <usize>load<u32>(this.list + ((<usize>(start + i)) << 2));
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
    this.sortedCount = total;
    this.sortTies(this.sorted, this.sorted == pairs ? spare : pairs);
    return total;
  }

  /** Puts rows of the same primary in the order of their keys. */
  private sortTies(pairs: usize, spare: usize): void {
    const end = pairs + ((<usize>this.sortedCount) << 4);
    for (let from = pairs; from < end;) {
      const primary = load<u64>(from);
      let to = from + 16;
      while (to < end && load<u64>(to) == primary) to += 16;
      if (to - from > 16) this.mergeSort(from, to, spare + (from - pairs));
      from = to;
    }
  }

  private mergeSort(from: usize, to: usize, spare: usize): void {
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
  @inline private warmRows(from: u32, to: u32): void {
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

function windowFull(): void {
  throw new Error("the entries of one frame are larger than the output window (16 MiB)");
}
