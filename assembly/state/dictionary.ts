/**
 * The texts of a column, each by a number, its code. The same for the column of a frame, whose texts stay where they lie in the
 * input, and for the lasting one, which copies them.
 *
 *   views: { u32 address, u32 length } by code
 *   index: slots of 8 bytes { u32 code + 1, u32 hash }, a power of two of them, linear probing, 0 = free
 *   slabs: { u32 next slab, u32 bytes, u64 } then texts, each at a multiple of 8; they never move
 */
import { INPUT } from "../abi";
import { touch, touchRange } from "../dirty";
import { countFrame, giveBlock, lasting, takeBlock } from "../heap";
import { follow, hashLead, hashLong, lead } from "../hash";
import { sameBytes } from "../text";

export const DICTIONARY_BYTES: usize = 32;
const FIRST_VIEWS: u32 = 64;
const SLAB_HEADER: usize = 16;
const SLAB_LEAST: usize = 1024;
const SLAB_MOST: usize = 0x10000;
/** Longer texts would fill the output window. */
const TEXT_BYTES_MAX: u32 = 1 << 20;


@unmanaged export class Dictionary {
  /** Address of the first slot; 0 while there is no text. */
  index: u32;
  /** Slots minus one. */
  mask: u32;
  views: u32;
  /** Codes that views have room for; slots are twice as many. */
  room: u32;
  /** Texts. */
  count: u32;
  /** The last slab: where the next text goes, and where it ends. */
  slab: u32;
  next: u32;
  end: u32;

  /** An empty one; what it held before is not given back. */
  init(): void {
    memory.fill(changetype<usize>(this), 0, DICTIONARY_BYTES);
  }

  /** The code of a text; a new one if it was not there. */
  @inline codeOf(ptr: usize, length: u32): u32 {
    const a = lead(ptr, length);
    const b = follow(ptr, length);
    let full = hashLead(a, b, length);
    if (length > 32) full = hashLong(ptr, length, full);
    const hash = <u32>(full >> 32);
    if (!this.room) this.grow();
    let slot = this.slotOf(hash);
    while (true) {
      const code = load<u32>(slot);
      if (!code) return this.insert(slot, hash, ptr, length);
      if (load<u32>(slot, 4) == hash) {
        const view = <usize>this.views + ((<usize>code - 1) << 3);
        if (load<u32>(view, 4) == length) {
          // As many bytes whatever the length: lengths cannot be foreseen.
          const other = <usize>load<u32>(view);
          const differs = v128.or(v128.xor(lead(other, length), a), v128.xor(follow(other, length), b));
          if (!v128.any_true(differs) && (length <= 32 || sameBytes(other + 32, ptr + 32, length - 32)))
            return code - 1;
        }
      }
      slot = this.following(slot);
    }
  }


  @inline private slotOf(hash: u32): usize {
    return <usize>this.index + ((<usize>(hash & this.mask)) << 3);
  }


  @inline private following(slot: usize): usize {
    const index = <usize>this.index;
    return index + ((slot + 8 - index) & (((<usize>this.mask) << 3) | 7));
  }

  private insert(slot: usize, hash: u32, ptr: usize, length: u32): u32 {
    if (length > TEXT_BYTES_MAX) throw new Error("a text of a dataset is longer than 1 MiB");
    const code = this.count;
    touch(changetype<usize>(this));
    touch(slot);
    store<u32>(slot, code + 1);
    store<u32>(slot, hash, 4);
    const view = <usize>this.views + ((<usize>code) << 3);
    touch(view);
    store<u32>(view, <u32>this.keep(ptr, length));
    store<u32>(view, length, 4);
    this.count = code + 1;
    if (this.count == this.room) this.grow();
    return code;
  }

  /** Where a text stays. What a frame was given lies there until it ends: its input, or what a kernel visits. */
  private keep(ptr: usize, length: u32): usize {
    if (!lasting) {
      countFrame(length);
      if (ptr >= INPUT) return ptr;
    }
    const bytes = (<usize>length + 7) & ~7;
    if (<usize>this.next + bytes > <usize>this.end) this.newSlab(bytes);
    const at = <usize>this.next;
    touchRange(at, max<usize>(bytes, 1));
    memory.copy(at, ptr, length);
    this.next = <u32>(at + bytes);
    return at;
  }

  private newSlab(bytes: usize): void {
    const last = this.slab ? <usize>load<u32>(this.slab, 4) : SLAB_LEAST >> 1;
    const size = max(min(last << 1, SLAB_MOST), SLAB_HEADER + bytes);
    const slab = takeBlock(size);
    store<u32>(slab, this.slab);
    store<u32>(slab, <u32>size, 4);
    this.slab = <u32>slab;
    this.next = <u32>(slab + SLAB_HEADER);
    this.end = <u32>(slab + size);
  }

  /** Twice the room for codes, and an index of as many slots again. */
  private grow(): void {
    const room = this.room ? this.room << 1 : FIRST_VIEWS;
    touch(changetype<usize>(this));
    const views = takeBlock((<usize>room) << 3);
    memory.copy(views, this.views, (<usize>this.count) << 3);
    const slotBytes = (<usize>room) << 4;
    const index = takeBlock(slotBytes);
    memory.fill(index, 0, slotBytes);
    const mask = (room << 1) - 1;
    const before = <usize>this.index;
    for (let at = before, end = before + ((<usize>this.room) << 4); at < end; at += 8) {
      const slot = load<u64>(at);
      if (!slot) continue;
      let i = (<u32>(slot >> 32)) & mask;
      while (load<u64>(index + ((<usize>i) << 3))) i = (i + 1) & mask;
      store<u64>(index + ((<usize>i) << 3), slot);
    }
    this.giveTables();
    this.index = <u32>index;
    this.views = <u32>views;
    this.mask = mask;
    this.room = room;
  }

  private giveTables(): void {
    if (!this.room) return;
    giveBlock(this.views, (<usize>this.room) << 3);
    giveBlock(this.index, (<usize>this.room) << 4);
  }

  /** Gives everything back; then it is empty. */
  drop(): void {
    if (!this.room) return;
    touch(changetype<usize>(this));
    this.giveTables();
    for (let slab = <usize>this.slab; slab;) {
      const before = <usize>load<u32>(slab);
      giveBlock(slab, load<u32>(slab, 4));
      slab = before;
    }
    this.init();
  }
}
