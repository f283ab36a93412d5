/**
 * The entries of a table as they lie in an arena: assembly/state/home.ts draws homes, indexes and entries. To be read between two
 * frames; whatever is read holds until the next one.
 */
import * as map from "./memory-map.ts";

/** Bytes of an entry before its value, and where in that the address and the length of a key of bytes stand. */
const WORD_HEADER = 8;
const BYTES_HEADER = 48;
const KEY_PTR = 32;
const KEY_LENGTH = 36;
const SLOT_BYTES = 8;
/** Entries start at multiples of 8 and below 2^32: this many bits tell them apart. */
const ENTRY_PLACES = 2 ** 29;

export class Entries {
  /** Bytes from an entry to its value. */
  readonly header: number;
  /** Bytes from an entry to { u32 address, u32 length } of a key that is bytes. */
  readonly keyView = KEY_PTR;
  /** Whether a key is one word, else it is bytes. */
  readonly isWord: boolean;
  private readonly memory: WebAssembly.Memory;
  private readonly home: number;

  constructor(memory: WebAssembly.Memory, { number, key }: { number: number; key: string[] }) {
    this.memory = memory;
    this.isWord = key.length === 1 && key[0] !== "Text";
    this.header = this.isWord ? WORD_HEADER : BYTES_HEADER;
    this.home = map.HOMES + number * map.HOME_BYTES;
  }

  private words(address: number, count: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, address, count);
  }

  /** Entries that are here. */
  get count(): number {
    return this.words(this.home, 3)[2];
  }

  /**
   * The entries of partitions [from, to): of each partition their addresses, in an order that follows from the keys alone. The whole
   * index is gone through, once.
   */
  of(from: number, to: number): Float64Array[] {
    const found = Array.from({ length: to - from }, (): number[] => []);
    const [index, mask, count] = this.words(this.home, 3);
    if (count && to > from) {
      const slots = this.words(index, (mask + 1) * (SLOT_BYTES / 4));
      for (let slot = 0; slot < slots.length; slot += 2) {
        const entry = slots[slot];
        if (!entry) continue;
        const hash = slots[slot + 1];
        const partition = hash >>> 24;
        if (partition < from || partition >= to) continue;
        found[partition - from].push((hash & 0xff_ffff) * ENTRY_PLACES + entry / 8);
      }
    }
    return found.map((ranked) => this.inOrder(Float64Array.from(ranked).sort()));
  }

  /** From hashes and places to addresses; where hashes are the same, by the bytes of the keys. */
  private inOrder(ranked: Float64Array): Float64Array {
    const hashOf = (i: number) => Math.floor(ranked[i] / ENTRY_PLACES);
    const addresses = ranked.map((rank) => (rank % ENTRY_PLACES) * 8);
    for (let from = 0; from < ranked.length; ) {
      let to = from + 1;
      while (to < ranked.length && hashOf(to) === hashOf(from)) to++;
      if (to - from > 1)
        addresses.subarray(from, to).sort((a, b) => Buffer.compare(this.key(a), this.key(b)));
      from = to;
    }
    return addresses;
  }

  /** The bytes of an entry's key. */
  key(entry: number): Uint8Array {
    if (this.isWord) return new Uint8Array(this.memory.buffer, entry, WORD_HEADER);
    const [ptr, length] = this.words(entry + KEY_PTR, (KEY_LENGTH - KEY_PTR) / 4 + 1);
    return new Uint8Array(this.memory.buffer, ptr, length);
  }
}
