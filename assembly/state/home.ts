/**
 * Where the entries of a table live. A table has two homes of the same shape: one in the frame heap, rebuilt for
 * every frame, and a lasting one in the arena's directory.
 *
 *   index: slots of 8 bytes { u32 entry, u32 hash }, a power of two of them, linear probing, entry 0 = free
 *   chunks: { u32 next chunk, u32 end of its entries, u64 } then entries of `stride` bytes. Entries do not move while a
 *           record is at hand; when one is removed, the last one takes its place
 *
 *   entry with a word as key:  { u64 key } value
 *   entry with bytes as key:   { 32 first bytes, zero behind the end; u32 ptr, u32 length, u32 hash, u32 } value
 */
import { INPUT, OUTPUT } from "../abi";
import { touch, touchRange } from "../dirty";
import { countFrame, giveBlock, growing, lasting, takeBlock, takeFrame } from "../heap";
import { follow, lead } from "../hash";
import { sameBytes } from "../text";

export const WORD_HEADER: usize = 8;
export const BYTES_HEADER: usize = 48;
/** Where in such an entry the address, length and hash of its key stand. */
export const KEY_PTR: usize = 32;
export const KEY_LENGTH: usize = 36;
export const KEY_HASH: usize = 40;
/** Keys up to this length lie in their entry alone. */
export const KEY_INLINE: u32 = 32;
const CHUNK_HEADER: usize = 16;
const FRAME_CHUNK: usize = 0x4000;
const ARENA_CHUNK: usize = 0x10000;
/** Few enough to be cleared for every frame, many enough that a few hundred keys rarely meet. */
const FIRST_SLOTS: u32 = 4096;
/** Longer keys would fill the output window. */
const KEY_BYTES_MAX: u32 = 1 << 20;


@unmanaged export class Home {
  /** Address of the first slot. */
  index: u32;
  /** Slots minus one. */
  mask: u32;
  /** Entries. */
  count: u32;
  /** Entries at which the index is doubled. */
  room: u32;
  /** First and last chunk; 0 if there is none. */
  first: u32;
  last: u32;
  /** Where the next entry goes, and the end of the last chunk. */
  next: u32;
  end: u32;
  /** Bytes of an entry. */
  stride: u32;
  /** Number of the table. */
  table: u32;
  /** The heap of its timers (timers.ts): address, how many there are, how many it has room for. */
  timers: u32;
  timerCount: u32;
  timerRoom: u32;

  /** An empty home: its index of the least size, no chunk. */
  open(stride: u32, table: u32): void {
    this.count = 0;
    this.first = 0;
    this.last = 0;
    this.next = 0;
    this.end = 0;
    this.stride = stride;
    this.table = table;
    this.index = 0;
    this.resize(FIRST_SLOTS);
  }

  private resize(slots: u32): void {
    const bytes = (<usize>slots) << 3;
    const before = <usize>this.index;
    const beforeBytes = before ? (<usize>this.mask + 1) << 3 : 0;
    if (lasting) growing(this.table);
    const index = lasting ? takeBlock(bytes) : takeFrame(bytes, false);
    memory.fill(index, 0, bytes);
    const mask = slots - 1;
    for (let at = before, end = before + beforeBytes; at < end; at += 8) {
      const slot = load<u64>(at);
      if (!slot) continue;
      let i = (<u32>(slot >> 32)) & mask;
      while (load<u64>(index + ((<usize>i) << 3))) i = (i + 1) & mask;
      store<u64>(index + ((<usize>i) << 3), slot);
    }
    if (before) giveBlock(before, beforeBytes);
    this.index = <u32>index;
    this.mask = mask;
    this.room = (slots >> 3) * 5;
  }

  /** Makes room for `more` entries, so that none of them has to grow the index. */
  reserve(more: u32): void {
    if (this.count + more <= this.room) return;
    let slots = this.mask + 1;
    while ((slots >> 3) * 5 < this.count + more) slots <<= 1;
    this.resize(slots);
  }

  /** A new entry, not yet in the index. */
  @inline private entry(): usize {
    const at = <usize>this.next;
    if (at + this.stride > <usize>this.end) return this.entryInNewChunk();
    this.next = <u32>(at + this.stride);
    this.count++;
    return at;
  }


  @inline private chunkBytes(): usize {
    return max<usize>(lasting ? ARENA_CHUNK : FRAME_CHUNK, CHUNK_HEADER + this.stride);
  }

  private entryInNewChunk(): usize {
    const least = this.chunkBytes();
    if (lasting) growing(this.table);
    const chunk = lasting ? takeBlock(least) : takeFrame((least + 7) & ~7, true);
    store<u32>(chunk, 0);
    if (this.last) {
      touch(this.last);
      store<u32>(this.last, <u32>chunk);
      store<u32>(this.last, this.next, 4);
    } else this.first = <u32>chunk;
    this.last = <u32>chunk;
    this.next = <u32>(chunk + CHUNK_HEADER + this.stride);
    this.end = <u32>(chunk + least);
    this.count++;
    return chunk + CHUNK_HEADER;
  }

  /** The slot is found anew after the index grew. */
  @inline private claim(slot: usize, hash: u32, entry: usize): void {
    store<u64>(slot, (<u64>entry) | ((<u64>hash) << 32));
    if (this.count > this.room) this.resize((this.mask + 1) << 1);
  }

  /**
   * A new entry of a word key in a free slot; its value is not initialised. In a lasting home, slot and entry are for the caller
   * to mark, as frames' tables should not pay for it.
   */
  insertWord(slot: usize, hash: u32, key: u64): usize {
    const entry = this.entry();
    store<u64>(entry, key);
    this.claim(slot, hash, entry);
    return entry;
  }

  /**
   * A new entry of a bytes key in a free slot. The bytes are copied, unless they stay where they are until the frame
   * ends: in the input window, of a frame that is being mapped.
   */
  insertBytes(slot: usize, hash: u32, ptr: usize, length: u32, stays: bool): usize {
    if (length > KEY_BYTES_MAX) throw new Error("a key is longer than 1 MiB");
    const entry = this.entry();
    v128.store(entry, lead(ptr, length));
    v128.store(entry, follow(ptr, length), 16);
    let kept = ptr;
    if (!stays || ptr < INPUT || ptr >= OUTPUT) {
      if (length <= KEY_INLINE) kept = entry;
      else {
        const bytes = keyBytes(length);
        kept = lasting ? takeBlock(bytes) : takeFrame(bytes, true);
        memory.copy(kept, ptr, length);
      }
    } else if (length > KEY_INLINE) countFrame(length);
    store<u32>(entry, <u32>kept, KEY_PTR);
    store<u32>(entry, length, KEY_LENGTH);
    store<u32>(entry, hash, KEY_HASH);
    this.claim(slot, hash, entry);
    return entry;
  }

  /** The copy of an entry of another home, up to its value, in a free slot; its key lies where that of the other does. */
  insertCopy(slot: usize, hash: u32, other: usize, header: usize): usize {
    const entry = this.entry();
    memory.copy(entry, other, header);
    if (header == BYTES_HEADER && load<u32>(entry, KEY_LENGTH) <= KEY_INLINE) store<u32>(entry, <u32>entry, KEY_PTR);
    this.claim(slot, hash, entry);
    return entry;
  }

  /** Gives back the index, the chunks and the timers; what keys and values hold beside was given back or taken over. */
  free(): void {
    giveBlock(this.index, (<usize>this.mask + 1) << 3);
    for (let chunk = <usize>this.first; chunk;) {
      const next = chunk == <usize>this.last ? 0 : <usize>load<u32>(chunk);
      giveBlock(chunk, this.chunkBytes());
      chunk = next;
    }
    if (this.timerRoom) giveBlock(this.timers, timersBytes(this.timerRoom));
  }

  /** Gives back the bytes of a key that does not lie in its entry alone. */
  freeKey(entry: usize): void {
    const length = load<u32>(entry, KEY_LENGTH);
    if (length > KEY_INLINE) giveBlock(load<u32>(entry, KEY_PTR), keyBytes(length));
  }

  /**
   * Removes an entry of a lasting home, whose value and key were freed. The last entry takes its place: `movedHash` is its
   * hash, `bytesKey` whether its key is bytes.
   */
  remove(entry: usize, hash: u32, movedHash: u32, bytesKey: bool): void {
    this.clearSlot(this.slotWith(entry, hash));
    const last = this.lastEntry();
    if (last != entry) {
      touchRange(entry, this.stride);
      memory.copy(entry, last, this.stride);
      if (bytesKey && load<u32>(entry, KEY_LENGTH) <= KEY_INLINE) store<u32>(entry, <u32>entry, KEY_PTR);
      const slot = this.slotWith(last, movedHash);
      touch(slot);
      store<u32>(slot, <u32>entry);
    }
    this.count--;
    this.next = <u32>last;
    if (last == <usize>this.last + CHUNK_HEADER && this.last != this.first) this.dropChunk();
  }

  /** The entry that was inserted last, or took its place. */
  @inline lastEntry(): usize {
    return <usize>this.next - this.stride;
  }

  /** The slot that points to this entry. */
  private slotWith(entry: usize, hash: u32): usize {
    let slot = this.slotOf(hash);
    while (<usize>load<u32>(slot) != entry) slot = this.following(slot);
    return slot;
  }

  /** Frees a slot: those behind it that were pushed on by others move up (Knuth, TAOCP 3, 6.4, algorithm R). */
  private clearSlot(hole: usize): void {
    const index = <usize>this.index;
    const wrap = ((<usize>this.mask) << 3) | 7;
    for (let slot = this.following(hole); load<u32>(slot); slot = this.following(slot)) {
      const ideal = this.slotOf(load<u32>(slot, 4));
      if (((slot - ideal) & wrap) < ((slot - hole) & wrap)) continue;
      touch(hole);
      store<u64>(hole, load<u64>(slot));
      hole = slot;
    }
    touch(hole);
    store<u64>(hole, 0);
  }

  /** The last chunk is empty: the one before is the last again. */
  private dropChunk(): void {
    const chunk = <usize>this.last;
    let before = <usize>this.first;
    while (<usize>load<u32>(before) != chunk) before = load<u32>(before);
    giveBlock(chunk, this.chunkBytes());
    touch(before);
    store<u32>(before, 0);
    this.last = <u32>before;
    this.next = load<u32>(before, 4);
    this.end = <u32>(before + this.chunkBytes());
  }

  /** The first slot from `slot` on that has this hash or is free; which key it holds is not looked at. */
  @inline seek(slot: usize, hash: u32): usize {
    while (load<u32>(slot) && load<u32>(slot, 4) != hash) slot = this.following(slot);
    return slot;
  }

  /** The first slot from `slot` on that is free. */
  seekFree(slot: usize): usize {
    while (load<u32>(slot)) slot = this.following(slot);
    return slot;
  }

  /** The slot where the search for a hash starts. */
  @inline slotOf(hash: u32): usize {
    return <usize>this.index + ((<usize>(hash & this.mask)) << 3);
  }


  @inline private following(slot: usize): usize {
    const index = <usize>this.index;
    return index + ((slot + 8 - index) & (((<usize>this.mask) << 3) | 7));
  }

  /** The slot that holds this word key, or the free one where it belongs; `slot` is where the search starts. */
  @inline findWord(slot: usize, hash: u32, key: u64): usize {
    while (true) {
      const entry = <usize>load<u32>(slot);
      if (!entry || (load<u32>(slot, 4) == hash && load<u64>(entry) == key)) return slot;
      slot = this.following(slot);
    }
  }

  /** The same for a bytes key; `a` and `b` are its first 32 bytes. */
  @inline findBytes(slot: usize, hash: u32, a: v128, b: v128, ptr: usize, length: u32): usize {
    while (true) {
      const entry = <usize>load<u32>(slot);
      if (!entry) return slot;
      if (load<u32>(slot, 4) == hash) {
        const other = v128.or(v128.xor(v128.load(entry), a), v128.xor(v128.load(entry, 16), b));
        if (!v128.any_true(other) && load<u32>(entry, KEY_LENGTH) == length) {
          if (length <= KEY_INLINE || sameBytes(<usize>load<u32>(entry, KEY_PTR) + 32, ptr + 32, length - 32))
            return slot;
        }
      }
      slot = this.following(slot);
    }
  }
}

/** Bytes of the block that holds so many timers (timers.ts). */
@inline export function timersBytes(room: u32): usize {
  return (<usize>room) << 4;
}

/** Bytes of the block that holds a long key: wide loads run past its end. */
@inline function keyBytes(length: u32): usize {
  return (<usize>length + 15) & ~7;
}

/** First entry of a home, 0 if it is empty; then `nextEntry`. Without removals, entries come as they were inserted. */
export function firstEntry(home: Home): usize {
  return home.count ? <usize>home.first + CHUNK_HEADER : 0;
}

/** The entry behind `entry`, which lies in `chunk`; `walkChunk` has the chunk of the answer. */
export let walkChunk: usize = 0;

/** Goes on with a walk that was left in a chunk. */
export function resumeWalk(chunk: usize): void {
  walkChunk = chunk;
}

export function startWalk(home: Home): usize {
  walkChunk = home.first;
  return firstEntry(home);
}


@inline export function nextEntry(home: Home, entry: usize): usize {
  const next = entry + home.stride;
  const end = walkChunk == <usize>home.last ? <usize>home.next : <usize>load<u32>(walkChunk, 4);
  if (next < end) return next;
  return nextChunk(home);
}

function nextChunk(home: Home): usize {
  if (walkChunk == <usize>home.last) return 0;
  walkChunk = load<u32>(walkChunk);
  return walkChunk + CHUNK_HEADER;
}
