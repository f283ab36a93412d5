/**
 * What a Jah of one stream decodes for the Jahs of streams that share its log: rows of words of 8 bytes, in a file that is written over when
 * those have read it. Words are those of the record in the kernel's memory (assembly/record/decoded.ts).
 *
 *    +0  u32 magic     u32 version
 *    +8  f64 by which attempt to map the frame it was written
 *   +16  f64 the frame's number
 *   +24  u32 bytes of the frame in the log     u32 CRC-32 of them
 *   +32  u32 rows      u32 words of a row
 *   +40  u32 1 if a quoted field was seen      u32 CRC-32 of all before it, and the rows
 *   +48  the rows; whatever was there before lies behind them
 *
 * The checksum tells, too, that a file was written over while it was read.
 */
import { crc32 } from "node:zlib";

const MAGIC = 0x63656468; // "hdec"
const VERSION = 1;
export const DECODED_HEAD_BYTES = 48;
const SUM_AT = 44;

/** What a Jah is to keep of a frame that it decodes. */
export interface KeepDecoded {
  /** Of this attempt, above 0; nobody else has it. */
  id: number;
  /** File to write over, which nobody else writes. */
  path: string;
  /** Where the words of a row lie in the record, bytes. */
  words: number[];
}

/** A frame that another Jah has decoded. */
export interface Decoded {
  id: number;
  path: string;
  /** Words of a row. */
  words: number;
  /** Where the words of each field of the record lie in a row, bytes. */
  places: number[];
  /** Whether a field is a text, which lies in the frame itself. */
  texts: boolean;
}

export interface DecodedHead {
  id: number;
  frame: number;
  bytes: number;
  sum: number;
  rows: number;
  words: number;
  quoted: boolean;
}

/** What stands before `rows` in their file. */
export function encodeDecodedHead(head: DecodedHead, rows: Uint8Array): Buffer {
  const bytes = Buffer.alloc(DECODED_HEAD_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(VERSION, 4);
  bytes.writeDoubleLE(head.id, 8);
  bytes.writeDoubleLE(head.frame, 16);
  bytes.writeUInt32LE(head.bytes, 24);
  bytes.writeUInt32LE(head.sum, 28);
  bytes.writeUInt32LE(head.rows, 32);
  bytes.writeUInt32LE(head.words, 36);
  bytes.writeUInt32LE(Number(head.quoted), 40);
  bytes.writeUInt32LE(sumOf(bytes, rows), SUM_AT);
  return bytes;
}

/** Whether these are the rows that were written with a head. */
export function areDecodedRows(head: Buffer, rows: Uint8Array): boolean {
  return head.readUInt32LE(SUM_AT) === sumOf(head, rows);
}

function sumOf(head: Buffer, rows: Uint8Array): number {
  return crc32(rows, crc32(head.subarray(0, SUM_AT)));
}

/** The head of a file; undefined if it is none. */
export function decodeDecodedHead(bytes: Buffer): DecodedHead | undefined {
  if (bytes.length < DECODED_HEAD_BYTES) return undefined;
  if (bytes.readUInt32LE(0) !== MAGIC || bytes.readUInt32LE(4) !== VERSION) return undefined;
  return {
    id: bytes.readDoubleLE(8),
    frame: bytes.readDoubleLE(16),
    bytes: bytes.readUInt32LE(24),
    sum: bytes.readUInt32LE(28),
    rows: bytes.readUInt32LE(32),
    words: bytes.readUInt32LE(36),
    quoted: bytes.readUInt32LE(40) === 1,
  };
}
