/** CRC-32 (RFC 1952). Node's own is fast for long ranges, but a call of it costs as much as a short range here. */
import { crc32 } from "node:zlib";

const SHORT_BYTES = 96;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

/** Of bytes [from, to). */
export function checksum(bytes: Buffer, from = 0, to = bytes.length): number {
  if (to - from > SHORT_BYTES)
    return crc32(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  let sum = 0xffffffff;
  for (let i = from; i < to; i++) sum = (sum >>> 8) ^ TABLE[(sum ^ bytes[i]) & 0xff];
  return ~sum >>> 0;
}
