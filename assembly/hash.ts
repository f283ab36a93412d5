/**
 * Hashes of keys. The same everywhere and for ever: partitions, and so the routing between Jahs, depend on them.
 * The top 8 bits of a 32-bit hash are the partition, the lower ones find the slot of an index.
 */

const K0: u64 = 0x9e3779b97f4a7c15;
const K1: u64 = 0xd6e8feb86659fd93;
const K2: u64 = 0xa0761d6478bd642f;

/** Folds two words and a length into 64 well-mixed bits (multiply and xor-shift, after splitmix64). */
@inline export function mix(a: u64, b: u64, length: u32): u64 {
  let h = (a ^ ((<u64>length) << 56)) * K0;
  h ^= h >> 32;
  h = (h ^ b) * K1;
  h ^= h >> 29;
  return h * K2;
}

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

/** The first 8 bytes of a text of `length` bytes, zero behind its end. Reads 8 bytes. */
@inline export function head(ptr: usize, length: u32): u64 {
  const word = load<u64>(ptr);
  return length >= 8 ? word : length == 0 ? 0 : word & (<u64>-1 >> ((8 - length) << 3));
}

/** Bytes 8 to 15 of a text of `length` bytes, zero behind its end. */
@inline export function tail(ptr: usize, length: u32): u64 {
  return length <= 8 ? 0 : head(ptr + 8, length - 8);
}

/** Hash of the bytes behind the first 16, for long keys. */
export function hashLong(ptr: usize, length: u32, seed: u64): u64 {
  let h = seed;
  let i: u32 = 16;
  while (i < length) {
    h = mix(h ^ head(ptr + i, length - i), tail(ptr + i, length - i), 0);
    i += 16;
  }
  return h;
}

/** 64-bit hash of bytes. */
@inline export function hashBytes(ptr: usize, length: u32): u64 {
  const h = mix(head(ptr, length), tail(ptr, length), length);
  return length <= 16 ? h : hashLong(ptr, length, h);
}
