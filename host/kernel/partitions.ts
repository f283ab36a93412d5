/**
 * The partition of a key, as kernels have it (assembly/hash.ts, assembly/state/entries.ts): who owns it, and whether what a
 * query asks for can be had.
 */

const K0 = 0x9e3779b97f4a7c15n;
const K1 = 0xd6e8feb86659fd93n;
const K2 = 0xa0761d6478bd642fn;
const K3 = 0xe7037ed1a0b428dbn;
const K4 = 0x8ebc6af09c88c6e3n;
/** Bytes hashed at a time. */
const BLOCK = 32;
/** Bytes of the time before the author's key, in keys of windows. */
const TIME_BYTES = 8;

const u64 = (value: bigint) => BigInt.asUintN(64, value);

/** `key` as `encodeKey` makes it from parts of these types; `windows` if the first is the time of a window. */
export function partitionOf(types: string[], key: Uint8Array, windows: boolean): number {
  const isWord = types.length === 1 && types[0] !== "Text";
  const hash = isWord ? hashWord(key) : hashBytes(windows ? key.subarray(TIME_BYTES) : key);
  return Number(hash >> 56n);
}

/** The 32 bits of `hashWord`, on top of 64. */
function hashWord(key: Uint8Array): bigint {
  let h = u64(Buffer.from(key).readBigUInt64LE() * K0);
  h ^= h >> 32n;
  return u64(h * K1);
}

function hashBytes(key: Uint8Array): bigint {
  const { length } = key;
  let h = hashBlock(key, 0);
  for (let i = BLOCK; i < length; i += BLOCK) {
    h = u64((h << 29n) | (h >> 35n)) ^ hashBlock(key, i);
    h = u64(h * K1);
  }
  return h;
}

/** `hashLead` of up to 32 bytes, with zeros behind the key's end. */
function hashBlock(key: Uint8Array, at: number): bigint {
  const block = Buffer.alloc(BLOCK);
  block.set(key.subarray(at, at + BLOCK));
  let h = BigInt(key.length) * K4;
  [K0, K1, K2, K3].forEach((factor, i) => {
    const word = block.readBigUInt64LE(i * 8);
    h += (word ^ (word >> 32n)) * factor;
  });
  h = u64(h);
  return u64((h ^ (h >> 32n)) * K0);
}
