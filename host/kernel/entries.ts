/**
 * The entries of a table as they lie in an arena: assembly/state/home.ts draws homes, chunks and entries. To be read between two frames.
 * Entries come as they were inserted, and stay where they are until one is removed, whose place the last one takes.
 */
import * as map from "./memory-map.ts";

/** Bytes of an entry before its value, and where in that the address, the length and the hash of a key of bytes stand. */
const WORD_HEADER = 8;
const BYTES_HEADER = 48;
const KEY_PTR = 32;
const KEY_LENGTH = 36;
const KEY_HASH = 40;
const CHUNK_HEADER = 16;
/** Entries start at multiples of 8 and below 2^32: so many places tell them apart. */
const ENTRY_PLACES = 2 ** 29;

/** Factors of assembly/hash.ts, by their halves. */
const K0 = [0x7f4a7c15, 0x9e3779b9];
const K1 = [0x6659fd93, 0xd6e8feb8];

export class Entries {
  /** Bytes from an entry to its value. */
  readonly header: number;
  /** Bytes from an entry to { u32 address, u32 length } of a key that is bytes. */
  readonly keyView = KEY_PTR;
  /** Whether a key is one word, else it is bytes. */
  private readonly isWord: boolean;
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

  /** Starts to look for the entries of partitions [from, to) among the first `most`. */
  search(from: number, to: number, most: number): Search {
    const found = Array.from({ length: to - from }, (): number[] => []);
    return { from, to, left: most, chunk: 0, entry: 0, found };
  }

  /**
   * Looks at up to `most` entries more; whether those of the search were all looked at. Frames may be applied in between, unless they
   * remove entries.
   */
  look(search: Search, most: number): boolean {
    const words = new Uint32Array(this.memory.buffer);
    const [first, last, next, , stride] = words.subarray(this.home / 4 + 4, this.home / 4 + 9);
    if (search.left <= 0 || !first) return true;
    if (!search.chunk) {
      search.chunk = first;
      search.entry = first + CHUNK_HEADER;
    }
    const { from, to, found } = search;
    let { chunk, entry } = search;
    let end = chunk === last ? next : words[chunk / 4 + 1];
    const step = Math.min(most, search.left);
    let looked = 0;
    while (looked < step) {
      if (entry >= end) {
        if (chunk === last) break;
        chunk = words[chunk / 4];
        entry = chunk + CHUNK_HEADER;
        end = chunk === last ? next : words[chunk / 4 + 1];
        continue;
      }
      const at = entry / 4;
      const hash = this.isWord ? hashWord(words[at], words[at + 1]) : words[at + KEY_HASH / 4];
      const partition = hash >>> 24;
      if (partition >= from && partition < to)
        found[partition - from].push((hash & 0xff_ffff) * ENTRY_PLACES + entry / 8);
      looked++;
      entry += stride;
    }
    search.left = looked < step ? 0 : search.left - looked;
    search.chunk = chunk;
    search.entry = entry;
    return search.left === 0;
  }

  /** Addresses of entries that were found, in an order that follows from the keys alone: by hash, and where that is the same by key. */
  inOrder(found: number[]): Float64Array {
    const ranked = Float64Array.from(found).sort();
    const addresses = ranked.map((rank) => (rank % ENTRY_PLACES) * 8);
    const hashOf = (i: number) => Math.floor(ranked[i] / ENTRY_PLACES);
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
  private key(entry: number): Uint8Array {
    if (this.isWord) return new Uint8Array(this.memory.buffer, entry, WORD_HEADER);
    const [ptr, length] = this.words(entry + KEY_PTR, (KEY_LENGTH - KEY_PTR) / 4 + 1);
    return new Uint8Array(this.memory.buffer, ptr, length);
  }
}

/** A search that is under way. */
export interface Search {
  from: number;
  to: number;
  /** Entries that are still to be looked at. */
  left: number;
  /** Where it goes on. */
  chunk: number;
  entry: number;
  /** Of each partition, what tells its entries: see `inOrder`. */
  found: number[][];
}

/** `hashWord` of assembly/hash.ts, of a word by its halves, without making a bigint of it. */
export function hashWord(low: number, high: number): number {
  const a = Math.imul(low, K0[0]);
  const b = (highOf(low, K0[0]) + Math.imul(low, K0[1]) + Math.imul(high, K0[0])) | 0;
  const folded = (a ^ b) >>> 0;
  return (highOf(folded, K1[0]) + Math.imul(folded, K1[1]) + Math.imul(b, K1[0])) >>> 0;
}

/** The upper half of the product of two unsigned words. */
function highOf(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + (((a0 * b0) / 0x1_0000) >>> 0);
  const other = a0 * b1 + (middle % 0x1_0000);
  return (a1 * b1 + Math.floor(middle / 0x1_0000) + Math.floor(other / 0x1_0000)) | 0;
}
