/**
 * The bytes of a log's files; no I/O. All numbers are little-endian.
 *
 *   segment   +0   u32 magic "hlog"   u32 version
 *             +8   u64 number of its first entry
 *             +16  u32 bytes of the digest   u32 CRC-32 of the digest
 *             +24  u32 0              u32 CRC-32 of the 28 bytes before
 *             +32  digest: what is known of all entries before this segment (log.ts); then entries, back to back
 *
 *   entry     +0   u32 magic "entr"   u16 version   u16 kind
 *             +8   u64 number
 *             +16  u32 head bytes     u32 body bytes
 *             +24  u32 records (0: unknown)   u32 CRC-32 of the body
 *             +32  u32 how many entries of its group follow
 *             +36  u32 how many entries right before it were not known to be synced when it was written
 *             +40  u32 CRC-32 of the head     u32 CRC-32 of the 44 bytes before
 *             +48  head (JSON), then body
 *
 *   sidecar   +0   u32 magic "hidx"   u32 version
 *             +8   u64 number of the segment's first entry   u64 bytes of the segment that it tells of
 *             +24  u64 bytes of all bodies    u32 entries    u32 CRC-32 of the columns
 *             +40  u32 bytes of the digest    u32 CRC-32 of the digest
 *             +48  u32 0              u32 CRC-32 of the 52 bytes before
 *             +56  digest: what is known at the segment's end (none: 0 bytes); then the columns (log-index.ts)
 */
import { crc32 } from "node:zlib";
import { HallelujahError } from "../core/errors.ts";
import { checksum } from "./checksum.ts";

const SEGMENT_MAGIC = 0x676f6c68; // "hlog"
const ENTRY_MAGIC = 0x72746e65; // "entr"
const SIDECAR_MAGIC = 0x78646968; // "hidx"
export const LOG_VERSION = 3;
export const SEGMENT_HEADER = 32;
export const ENTRY_HEADER = 48;
export const SIDECAR_HEADER = 56;

/** What an entry's magic looks like, to look for it. */
export const ENTRY_MARK = Buffer.alloc(4);
ENTRY_MARK.writeUInt32LE(ENTRY_MAGIC);

export interface LogEntry {
  /** 0 to 65535, the writer's to choose. */
  kind: number;
  head?: Buffer | undefined;
  body: Buffer[];
  /** Records in the body; 0 if that is not known. */
  records: number;
}

export interface EntryHeader {
  kind: number;
  number: number;
  headBytes: number;
  bodyBytes: number;
  records: number;
  bodySum: number;
  follow: number;
  unsynced: number;
  headSum: number;
}

export function encodeEntry(entry: LogEntry, number: number, follow: number, unsynced: number): Buffer {
  const header = Buffer.alloc(ENTRY_HEADER);
  let bytes = 0;
  let sum = 0;
  for (const part of entry.body) {
    bytes += part.length;
    sum = crc32(part, sum);
  }
  header.writeUInt32LE(ENTRY_MAGIC, 0);
  header.writeUInt16LE(LOG_VERSION, 4);
  header.writeUInt16LE(entry.kind, 6);
  header.writeBigUInt64LE(BigInt(number), 8);
  header.writeUInt32LE(entry.head?.length ?? 0, 16);
  header.writeUInt32LE(bytes, 20);
  header.writeUInt32LE(entry.records, 24);
  header.writeUInt32LE(sum, 28);
  header.writeUInt32LE(follow, 32);
  header.writeUInt32LE(Math.min(unsynced, 0xffffffff), 36);
  header.writeUInt32LE(entry.head ? checksum(entry.head) : 0, 40);
  header.writeUInt32LE(checksum(header, 0, 44), 44);
  return header;
}

/** Reads an entry's header at a place within bytes; a sentence if there is none. */
export function decodeEntry(bytes: Buffer, at = 0): EntryHeader | string {
  if (at + ENTRY_HEADER > bytes.length) return "it ends too early";
  if (bytes.readUInt32LE(at) !== ENTRY_MAGIC) return "it does not start as an entry does";
  if (checksum(bytes, at, at + 44) !== bytes.readUInt32LE(at + 44)) return "its header was changed";
  const version = bytes.readUInt16LE(at + 4);
  if (version !== LOG_VERSION) return `it has version ${version}`;
  return {
    kind: bytes.readUInt16LE(at + 6),
    number: readNumber(bytes, at + 8),
    headBytes: bytes.readUInt32LE(at + 16),
    bodyBytes: bytes.readUInt32LE(at + 20),
    records: bytes.readUInt32LE(at + 24),
    bodySum: bytes.readUInt32LE(at + 28),
    follow: bytes.readUInt32LE(at + 32),
    unsynced: bytes.readUInt32LE(at + 36),
    headSum: bytes.readUInt32LE(at + 40),
  };
}

/** 64 bits; exact below 2^53, and never equal to such a number above. */
function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

export interface SegmentHeader {
  first: number;
  digestBytes: number;
  digestSum: number;
}

export function encodeSegment(first: number, digest: Buffer): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER);
  header.writeUInt32LE(SEGMENT_MAGIC, 0);
  header.writeUInt32LE(LOG_VERSION, 4);
  header.writeBigUInt64LE(BigInt(first), 8);
  header.writeUInt32LE(digest.length, 16);
  header.writeUInt32LE(crc32(digest), 20);
  header.writeUInt32LE(crc32(header.subarray(0, 28)), 28);
  return header;
}

/** Reads a segment's header; a sentence if these bytes are none. Throws `log-version`. */
export function decodeSegment(bytes: Buffer, path: string): SegmentHeader | string {
  if (bytes.length < SEGMENT_HEADER) return "it ends too early";
  if (bytes.readUInt32LE(0) !== SEGMENT_MAGIC) return "it is no segment of a log";
  // The headers of version 2 and before had 16 bytes and no checksum.
  const version = bytes.readUInt32LE(4);
  if (version < 3 && bytes.readUInt32LE(16) === ENTRY_MAGIC) throw otherVersion(path, version);
  if (crc32(bytes.subarray(0, 28)) !== bytes.readUInt32LE(28)) return "its header was changed";
  if (version !== LOG_VERSION) throw otherVersion(path, version);
  return {
    first: readNumber(bytes, 8),
    digestBytes: bytes.readUInt32LE(16),
    digestSum: bytes.readUInt32LE(20),
  };
}

function otherVersion(path: string, version: number): HallelujahError {
  const other = version > LOG_VERSION ? "a newer" : "an older";
  const message = `${path} was written by ${other} version of Hallelujah (format ${version}, this one reads ${LOG_VERSION})`;
  return new HallelujahError("log-version", message);
}

export interface SidecarHeader {
  first: number;
  /** Bytes of the segment that it tells of. */
  size: number;
  bodyBytes: number;
  count: number;
  columnsSum: number;
  digestBytes: number;
  digestSum: number;
}

export function encodeSidecar(
  sidecar: Omit<SidecarHeader, "digestBytes" | "digestSum">,
  digest: Buffer,
): Buffer {
  const header = Buffer.alloc(SIDECAR_HEADER);
  header.writeUInt32LE(SIDECAR_MAGIC, 0);
  header.writeUInt32LE(LOG_VERSION, 4);
  header.writeBigUInt64LE(BigInt(sidecar.first), 8);
  header.writeBigUInt64LE(BigInt(sidecar.size), 16);
  header.writeBigUInt64LE(BigInt(sidecar.bodyBytes), 24);
  header.writeUInt32LE(sidecar.count, 32);
  header.writeUInt32LE(sidecar.columnsSum, 36);
  header.writeUInt32LE(digest.length, 40);
  header.writeUInt32LE(crc32(digest), 44);
  header.writeUInt32LE(crc32(header.subarray(0, 52)), 52);
  return header;
}

/** Reads a sidecar's header; undefined if these bytes are none of this version. */
export function decodeSidecar(bytes: Buffer): SidecarHeader | undefined {
  if (bytes.length < SIDECAR_HEADER || bytes.readUInt32LE(0) !== SIDECAR_MAGIC) return undefined;
  if (bytes.readUInt32LE(4) !== LOG_VERSION) return undefined;
  if (crc32(bytes.subarray(0, 52)) !== bytes.readUInt32LE(52)) return undefined;
  return {
    first: readNumber(bytes, 8),
    size: readNumber(bytes, 16),
    bodyBytes: readNumber(bytes, 24),
    count: bytes.readUInt32LE(32),
    columnsSum: bytes.readUInt32LE(36),
    digestBytes: bytes.readUInt32LE(40),
    digestSum: bytes.readUInt32LE(44),
  };
}
