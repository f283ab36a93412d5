/**
 * Hashes of keys. The same everywhere and for ever: partitions, and so the routing between Jahs, depend on them.
 * The top 8 bits of a 32-bit hash are the partition, the lower ones find the slot of an index.
 */

const K0: u64 = 0x9e3779b97f4a7c15;
const K1: u64 = 0xd6e8feb86659fd93;
const K2: u64 = 0xa0761d6478bd642f;
const K3: u64 = 0xe7037ed1a0b428db;
const K4: u64 = 0x8ebc6af09c88c6e3;


@inline export function hashWord(key: u64): u32 {
  let h = key * K0;
  h ^= h >> 32;
  h *= K1;
  return <u32>(h >> 32);
}

/** 64 bits for sketches, which need every bit good (the finalizer of MurmurHash3). */
export function hash64(key: u64): u64 {
  let h = key ^ (key >> 33);
  h *= 0xff51afd7ed558ccd;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53;
  return h ^ (h >> 33);
}

/** 32 bytes of ones, then 32 of zeros: from 32 - n on, what masks the bytes behind a text of n. */
const ONES: usize = memory.data<u8>([
  255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
  255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0,
]);

/** Where the mask of a text starts. No min: V8 makes a branch of it, and lengths cannot be foreseen. */
@inline export function maskOf(length: u32): usize {
  const over = <i32>length - 32;
  return ONES - <usize>(over & (over >> 31));
}

/** The first 16 bytes of a text of `length` bytes, zero behind its end. Reads 16 bytes. */
@inline export function lead(ptr: usize, length: u32): v128 {
  return v128.and(v128.load(ptr), v128.load(maskOf(length)));
}

/** Bytes 16 to 31, zero behind the end. */
@inline export function follow(ptr: usize, length: u32): v128 {
  return v128.and(v128.load(ptr, 16), v128.load(maskOf(length), 16));
}

/** Hash of a text from its first 32 bytes, masked; longer ones go on with `hashLong`. */
@inline export function hashLead(a: v128, b: v128, length: u32): u64 {
  const a0 = v128.extract_lane<u64>(a, 0);
  const a1 = v128.extract_lane<u64>(a, 1);
  const b0 = v128.extract_lane<u64>(b, 0);
  const b1 = v128.extract_lane<u64>(b, 1);
  // High bits are folded down first, as a product only spreads upwards; the four products run side by side.
  let h = (a0 ^ (a0 >> 32)) * K0 + (a1 ^ (a1 >> 32)) * K1 + (b0 ^ (b0 >> 32)) * K2 + (b1 ^ (b1 >> 32)) * K3;
  h += <u64>length * K4;
  h ^= h >> 32;
  return h * K0;
}

/** Continues a hash over the bytes behind the first 32. */
export function hashLong(ptr: usize, length: u32, seed: u64): u64 {
  let h = seed;
  for (let i: u32 = 32; i < length; i += 32) {
    h = rotl<u64>(h, 29) ^ hashLead(lead(ptr + i, length - i), follow(ptr + i, length - i), length);
    h *= K1;
  }
  return h;
}

/** 64-bit hash of bytes. Its upper half is the better one. */
@inline export function hashBytes(ptr: usize, length: u32): u64 {
  const h = hashLead(lead(ptr, length), follow(ptr, length), length);
  return length <= 32 ? h : hashLong(ptr, length, h);
}
