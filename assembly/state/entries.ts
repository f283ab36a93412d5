/**
 * Values by key, on their way: entries of a frame are grouped by the owner of their partition and written out, merged into
 * the lasting home by their owner, and moved to another one. What kernels see of it is in table.ts, windows.ts and
 * sessions.ts; rows.ts reads the lasting entries back in order.
 *
 *   routed section: { u32 table, u32 entries } u32 hash[entries], then per entry its key and its value
 *   key: u64 for a word, else u32 length and the bytes
 */
import { ENTRIES, HOMES, HOME_BYTES, LATE, OUTPUT_END, OWNERS } from "../abi";
import { FOR_VISITS, IN_PLACE, cellOf, isShared } from "../generated";
import { damaged } from "../damaged";
import { touch, touchRange } from "../dirty";
import { growing, lasting, releaseFrame, residentFrom, setLasting, takeFrame, visiting } from "../heap";
import { follow, hashBytes, hashLead, hashLong, hashWord, lead } from "../hash";
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
import { isWord, wordOf } from "./key";
import { moveTimer, removeTimer } from "./timers";

export const GROUP: u32 = 32;
/** Entries handled by one call of a loop over a whole table. */
export const STEP: usize = 16384;
/** What the key of a window starts with. */
export const TIME_BYTES: usize = 8;
/** Bytes of entries in one section of an export: a step of it should take a few ms. */
const EXPORT_BYTES: usize = 2 << 20;

/** Cells of a table: more would take longer to clear for a frame than they save. */
export const CELLS_MAX: u32 = 16384;
/** The cells of a table without: one, in which there is nothing. */
const NO_CELLS: usize = memory.data(8, 8);

/** Bytes of the places that remember entries: one for each eight of 64 KiB, as texts of datasets start at multiples of 8. */
const KNOWN_BYTES: usize = 8192 << 4;

/** The places where kernels that read rows in place remember entries by their texts' views: eight bytes each, of the same room. */
const SHARED_MASK: usize = KNOWN_BYTES - 8;

/** Where in them a text has its place. */
@inline function placeOf(ptr: usize): usize {
  return (ptr << 1) & (KNOWN_BYTES - 16);
}

let tables: u32 = 0;
/** Keeps the loads that only warm the cache from being optimised away. */
let warmth: u64 = 0;
/** Slots of the group that is being merged. */
const slots: usize = memory.data(128, 4);

export class Entries<K, V> {
  protected frame: Home = changetype<Home>(0);
  protected lasting: Home = changetype<Home>(0);
  /**
   * To which entry of the frame the texts of a dataset lead, by their address: { u64 view, u32 entry, u32 } each. They stay where they
   * are while they are visited, and come again and again. Of kernels that read rows in place it is { u32 address of the view, u32 entry }.
   */
  protected known: usize = 0;
  /**
   * The same for texts that are a field of the record at hand, by their codes: { u32 entry } each, 0 where it is not known. The
   * first one stays 0.
   */
  protected cells: usize = NO_CELLS;
  protected cellCount: u32 = 0;
  /** The frame's entries grouped by owner: addresses. */
  protected list: usize = 0;
  protected starts: usize = 0;
  // The export or removal of partitions that is under way.
  protected passEntry: usize = 0;
  protected passChunk: usize = 0;

  /** A table by the name under which its rows come out. Declare it once, as a constant at the top of the kernel. */
  constructor(name: string) {
    const table = tables++;
    const stride = <u32>(this.header() + ((offsetof<V>() + 7) & ~7));
    this.frame = changetype<Home>(heap.alloc(HOME_BYTES));
    this.frame.stride = stride;
    this.frame.table = table;
    this.lasting = visiting() ? this.frame : changetype<Home>(HOMES + <usize>table * HOME_BYTES);
    if (!this.lasting.stride) {
      setLasting(true);
      this.lasting.open(stride, table);
      setLasting(false);
    }
  }


  @inline protected header(): usize {
    return isWord<K>() ? WORD_HEADER : BYTES_HEADER;
  }

  /** The entry of a key in the frame's home; a new one if the key was not there. */
  @inline protected frameEntryOf(key: K): usize {
    if (isWord<K>()) return this.entryOf(this.frame, key, true);
    else if (IN_PLACE) {
      const view = changetype<usize>(key);
      const place = load<u64>(this.known + (view & SHARED_MASK));
      let entry = <usize>(place >> 32);
      if (<usize>(<u32>place) != view) entry = this.entryOfView(key); // no ternary: what is known is what is expected
      return entry;
    } else return this.entryOf(this.frame, key, true);
  }

  /** The same, which is remembered if the key is a text that many rows have. */
  protected entryOfView(key: K): usize {
    const entry = this.entryOf(this.frame, key, true);
    const view = changetype<usize>(key);
    if (isShared(view)) store<u64>(this.known + (view & SHARED_MASK), (<u64>view) | ((<u64>entry) << 32));
    return entry;
  }

  /** The entry of a key in a home; a new one if the key was not there. `stays`: see Home.insertBytes; false in the lasting one. */
  @inline protected entryOf(home: Home, key: K, stays: bool): usize {
    if (isWord<K>()) {
      const word = wordOf<K>(key);
      const hash = hashWord(word);
      const slot = home.findWord(home.slotOf(hash), hash, word);
      const entry = <usize>load<u32>(slot);
      if (entry) return entry;
      const fresh = this.insertWord(home, slot, hash, word);
      if (!stays) this.touchNew(slot, fresh);
      return fresh;
    } else {
      const bytes = changetype<usize>(key);
      const ptr = <usize>load<u32>(bytes);
      if (IN_PLACE ? false : FOR_VISITS ? stays : stays && visiting()) {
        const cell = cellOf(bytes);
        const entry = <usize>load<u32>(this.cells + ((<usize>cell) << 2));
        return entry ? entry : this.entryOfText(home, load<u64>(bytes), cell);
      }
      const length = load<u32>(bytes, 4);
      const a = lead(ptr, length);
      const b = follow(ptr, length);
      const hash = this.hashOfBytes(a, b, ptr, length);
      const slot = home.findBytes(home.slotOf(hash), hash, a, b, ptr, length);
      const entry = <usize>load<u32>(slot);
      if (entry) return entry;
      const fresh = this.insertBytes(home, slot, hash, ptr, length, stays);
      if (!stays) this.touchNew(slot, fresh);
      return fresh;
    }
  }

  /** The entry of a text in the frame's home, which is remembered if the text is a dataset's. */
  protected entryOfText(home: Home, view: u64, cell: u32): usize {
    const ptr = <usize>(<u32>view);
    const place = this.known + placeOf(ptr);
    if (load<u64>(place) != view || ptr < residentFrom) {
      const length = <u32>(view >> 32);
      const a = lead(ptr, length);
      const b = follow(ptr, length);
      const hash = this.hashOfBytes(a, b, ptr, length);
      const slot = home.findBytes(home.slotOf(hash), hash, a, b, ptr, length);
      const found = <usize>load<u32>(slot);
      const entry = found ? found : this.insertBytes(home, slot, hash, ptr, length, true);
      if (ptr < residentFrom) return entry;
      store<u64>(place, view);
      store<u32>(place, <u32>entry, 8);
    }
    const entry = load<u32>(place, 8);
    if (cell) store<u32>(this.cells + ((<usize>cell) << 2), entry);
    return entry;
  }

  /** Makes `count` cells, unless the frame's part has them. */
  openCells(count: u32): void {
    if (isWord<K>() || count <= this.cellCount) return;
    const bytes = (((<usize>count) << 2) + 7) & ~7;
    this.cells = takeFrame(bytes, false);
    this.cellCount = count;
    memory.fill(this.cells, 0, bytes);
  }

  /** A lasting entry was made. Frames' tables do not pay for marks: `at` makes none. */
  @inline protected touchNew(slot: usize, entry: usize): void {
    touch(slot);
    this.touchEntry(entry);
  }

  /** The bytes of a lasting entry are about to change. */
  @inline protected touchEntry(entry: usize): void {
    touchRange(entry, this.header() + offsetof<V>());
  }

  /** The value of a lasting entry is about to change: the entry, and the blocks of its aggregates. */
  @inline protected touchState(entry: usize): void {
    this.touchEntry(entry);
    changetype<V>(entry + this.header()).__touch();
  }

  /** The entry of a key in a home; 0 if there is none. */
  protected existing(home: Home, key: K): usize {
    if (isWord<K>()) {
      const word = wordOf<K>(key);
      const hash = hashWord(word);
      return load<u32>(home.findWord(home.slotOf(hash), hash, word));
    } else {
      const bytes = changetype<usize>(key);
      const ptr = <usize>load<u32>(bytes);
      const length = load<u32>(bytes, 4);
      const a = lead(ptr, length);
      const b = follow(ptr, length);
      const hash = this.hashOfBytes(a, b, ptr, length);
      return load<u32>(home.findBytes(home.slotOf(hash), hash, a, b, ptr, length));
    }
  }

  /**
   * Hash of a bytes key; `a` and `b` are its first 32 bytes, masked. Behind the time of a window's key stands the key that
   * the author wrote, whose partition it has.
   */
  @inline protected hashOfBytes(a: v128, b: v128, ptr: usize, length: u32): u32 {
    let full = hashLead(a, b, length);
    if (length > KEY_INLINE) full = hashLong(ptr, length, full);
    if (isDefined(changetype<V>(0).__next)) {
      const own = hashBytes(ptr + TIME_BYTES, length - <u32>TIME_BYTES);
      return ((<u32>(own >> 32)) & 0xff000000) | ((<u32>(full >> 32)) & 0x00ffffff);
    } else return <u32>(full >> 32);
  }

  /** The partition of a key. */
  partitionOf(key: K): u32 {
    if (isWord<K>()) return hashWord(wordOf<K>(key)) >> 24;
    else {
      const bytes = changetype<usize>(key);
      return <u32>(hashBytes(load<u32>(bytes), load<u32>(bytes, 4)) >> 56);
    }
  }

  protected insertWord(home: Home, slot: usize, hash: u32, word: u64): usize {
    const entry = home.insertWord(slot, hash, word);
    changetype<V>(entry + WORD_HEADER).__init();
    return entry;
  }

  protected insertBytes(home: Home, slot: usize, hash: u32, ptr: usize, length: u32, stays: bool): usize {
    const entry = home.insertBytes(slot, hash, ptr, length, stays);
    changetype<V>(entry + BYTES_HEADER).__init();
    return entry;
  }

  /**
   * Takes over the entries of a home whose values lie otherwise; that one is given back. `plan` has, up to an item of 0 bytes, items
   * of { u32 from, u32 to, u32 bytes }: what of a value stays, and where it lies now. The rest of it is as in a new value, unless
   * more items follow, up to another one of 0 bytes: these say what the author's `upgrade` is given of the old value.
   */
  takeOver(other: Home, plan: usize): void {
    const home = this.lasting;
    setLasting(true);
    growing(home.table);
    home.reserve(other.count);
    home.timers = other.timers;
    home.timerCount = other.timerCount;
    home.timerRoom = other.timerRoom;
    other.timerRoom = 0;
    for (let old = startWalk(other); old; old = nextEntry(other, old)) {
      const hash = this.hashOf(old);
      const slot = home.seekFree(home.slotOf(hash));
      const entry = home.insertCopy(slot, hash, old, this.header());
      const value = changetype<V>(entry + this.header());
      value.__init();
      const more = copyParts(plan, old + this.header(), changetype<usize>(value));
      this.touchNew(slot, entry);
      if (isDefined(changetype<V>(0).__slot)) this.retime(entry);
      if (isDefined(changetype<V>(0).__upgrade)) {
        if (load<u32>(more, 8)) {
          copyParts(more, old + this.header(), value.__old());
          value.__upgrade();
          __heap_release();
        }
      }
    }
    other.free();
    setLasting(false);
  }

  /** Empties the frame's home; the frame heap was released before. */
  reset(): void {
    if (!isWord<K>() && (IN_PLACE || visiting())) {
      this.known = takeFrame(KNOWN_BYTES, false);
      memory.fill(this.known, 0, KNOWN_BYTES);
      this.cells = NO_CELLS;
      this.cellCount = 0;
    }
    this.frame.open(this.frame.stride, this.frame.table);
  }


  @inline protected hashOf(entry: usize): u32 {
    return isWord<K>() ? hashWord(load<u64>(entry)) : load<u32>(entry, KEY_HASH);
  }

  /** The owner of an entry's partition; `owners` if it has none. */
  @inline protected ownerOf(entry: usize, owners: u32): u32 {
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
  protected fill(home: Home, list: usize, starts: usize, owners: u32): void {
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
    return from == to ? o : this.encodeList(this.list + ((<usize>from) << 2), to - from, o);
  }

  /** Writes the entries whose addresses stand at `list` as a section at `o`; returns its end. */
  protected encodeList(list: usize, count: u32, o: usize): usize {
    store<u32>(o, this.frame.table);
    store<u32>(o, count, 4);
    let hashes = o + 8;
    o = hashes + ((<usize>count) << 2);
    for (const end = list + ((<usize>count) << 2); list < end; list += 4) {
      const entry = <usize>load<u32>(list);
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

  protected mergeAll(home: Home, hashes: usize, count: u32): usize {
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
  @inline protected warm(home: Home, hashes: usize, count: u32): void {
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


  @inline protected mergeWord(home: Home, from: usize, hash: u32, p: usize): usize {
    const word = load<u64>(p);
    const slot = home.findWord(from, hash, word);
    let entry = <usize>load<u32>(slot);
    if (!entry) {
      entry = this.insertWord(home, slot, hash, word);
      this.touchNew(slot, entry);
    } else {
      this.touchState(entry);
      return changetype<V>(entry + WORD_HEADER).__merge(p + 8);
    }
    const end = changetype<V>(entry + WORD_HEADER).__merge(p + 8);
    if (isDefined(changetype<V>(0).__slot)) this.scheduleIfLasting(entry);
    return end;
  }


  @inline protected mergeBytes(home: Home, from: usize, hash: u32, p: usize): usize {
    const length = load<u32>(p);
    const ptr = p + 4;
    if (isDefined(changetype<V>(0).__next)) {
      if (length < <u32>TIME_BYTES) damaged();
      if (lasting && this.isLate(ptr)) return this.skipLate(ptr + length);
    }
    const slot = home.findBytes(from, hash, lead(ptr, length), follow(ptr, length), ptr, length);
    let entry = <usize>load<u32>(slot);
    if (!entry) {
      entry = this.insertBytes(home, slot, hash, ptr, length, false);
      this.touchNew(slot, entry);
    } else {
      this.touchState(entry);
      return changetype<V>(entry + BYTES_HEADER).__merge(ptr + length);
    }
    const end = changetype<V>(entry + BYTES_HEADER).__merge(ptr + length);
    if (isDefined(changetype<V>(0).__slot)) this.scheduleIfLasting(entry);
    return end;
  }

  /** Whether what is kept under this key of a window comes too late (windows.ts). */
  protected isLate(key: usize): bool {
    return false;
  }

  protected scheduleIfLasting(entry: usize): void {
    if (lasting) this.schedule(entry);
  }

  /** A fresh lasting entry of a window or a session: says when it is due. */
  protected schedule(entry: usize): void {}

  /** Passes over a value that comes too late, and counts its records. */
  protected skipLate(p: usize): usize {
    const size = offsetof<V>();
    const value = changetype<V>(takeFrame((size + 7) & ~7, false));
    setLasting(false);
    value.__init();
    p = value.__merge(p);
    if (isDefined(changetype<V>(0).__next)) countLate(<u32>value.__touched);
    setLasting(true);
    releaseFrame();
    return p;
  }

  /** An entry is about to be removed: its timer, too. */
  protected untime(entry: usize): void {
    removeTimer(this.lasting, load<u32>(entry + this.timerPlace()), this.timerPlace());
  }

  /** An entry has moved to `entry`: its timer knows. */
  protected retime(entry: usize): void {
    moveTimer(this.lasting, load<u32>(entry + this.timerPlace()), entry);
  }

  /** Where in an entry the place of its timer is, see timers.ts. */
  @inline protected timerPlace(): usize {
    return this.header() + offsetof<V>() - 8;
  }

  /** Starts to go through the lasting entries: `exportStep` or `removeStep` goes on with it. */
  startPass(): void {
    this.passEntry = startWalk(this.lasting);
    this.passChunk = walkChunk;
  }


  @inline protected isIn(entry: usize, from: u32, to: u32): bool {
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
    return count ? this.encodeList(list, count, ENTRIES) : ENTRIES;
  }


  @inline protected stride(): usize {
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
    const last = home.lastEntry();
    changetype<V>(entry + this.header()).__drop();
    if (isDefined(changetype<V>(0).__slot)) this.untime(entry);
    if (!isWord<K>()) home.freeKey(entry);
    home.remove(entry, this.hashOf(entry), this.hashOf(last), !isWord<K>());
    if (isDefined(changetype<V>(0).__slot)) {
      if (last != entry) this.retime(entry);
    }
  }
}

/** Copies the parts of a value that a plan names; returns where the plan goes on behind its end. */
@inline function copyParts(plan: usize, from: usize, to: usize): usize {
  let item = plan;
  for (; load<u32>(item, 8); item += 12)
    memory.copy(to + <usize>load<u32>(item, 4), from + <usize>load<u32>(item), load<u32>(item, 8));
  return item + 12;
}

/** Records came too late for their window. */
export function countLate(records: u32): void {
  store<u32>(LATE, load<u32>(LATE) + records);
}

function windowFull(): void {
  throw new Error("the entries of one frame are larger than the output window (16 MiB)");
}
