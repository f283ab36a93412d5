/**
 * All keys and values of a shard's store. Numbers in keys are big-endian, so that keys sort as numbers do: the pages of a
 * checkpoint lie together, later checkpoints behind earlier ones.
 *
 *   key    "a"  u32 checkpoint               record of a checkpoint
 *          "p"  u32 checkpoint  u32 page     a page, as the checkpoint found it
 *          "z"  u32 checkpoint               the record again: far from the first, so that one damaged block spares one of them
 *
 *   page   +0   u32 version   u32 CRC-32 of all that follows
 *          +8   u32 page      u32 checkpoint
 *          +16  the 64 KiB
 *
 *   record +0   u32 version     u32 CRC-32 of all that follows
 *          +8   u32 checkpoint  u32 the checkpoint that it was built on, or 0
 *          +16  u32 pages       u32 bytes of meta
 *          +24  for each page { u32 page, u32 checkpoint under which it lies }, by page
 *               meta (JSON)
 */
import { crc32 } from "node:zlib";
import { PAGE_BYTES, PAGES_MAX } from "../core/limits.ts";

const VERSION = 1;
const PAGE_HEADER = 16;
const RECORD_HEADER = 24;
/** Bytes at the start of a value that its checksum does not cover: version and checksum. */
const UNCHECKED = 8;

const RECORD_KEY_BYTES = 5;
const PAGE_KEY_BYTES = 9;

const RECORD = 0x61; // "a"
const PAGE = 0x70; // "p"
const RECORD_AGAIN = 0x7a; // "z"

/** Bytes of a page with its header. */
export const PAGE_VALUE_BYTES: number = PAGE_HEADER + PAGE_BYTES;

/** What a checkpoint is made of. */
export interface CheckpointRecord {
  number: number;
  /** The checkpoint that it was built on, or 0. */
  before: number;
  /** For each page the checkpoint under which it lies, or 0. */
  versions: Uint32Array;
  meta: unknown;
}

/** From (inclusive) and to (exclusive). */
export interface KeyRange {
  from: Buffer;
  to: Buffer;
}

/** Both keys of a checkpoint's record. */
export function recordKeys(checkpoint: number): [Buffer, Buffer] {
  return [key(RECORD, checkpoint), key(RECORD_AGAIN, checkpoint)];
}

export function pageKey(checkpoint: number, page: number): Buffer {
  const bytes = Buffer.allocUnsafe(PAGE_KEY_BYTES);
  bytes[0] = PAGE;
  bytes.writeUInt32BE(checkpoint, 1);
  bytes.writeUInt32BE(page, 5);
  return bytes;
}

/** The ranges in which records lie. */
export const RECORD_RANGES: readonly KeyRange[] = [RECORD, RECORD_AGAIN].map((kind) => ({
  from: Buffer.from([kind]),
  to: Buffer.from([kind + 1]),
}));

/** The pages that were written under checkpoints `first` to `last`. */
export function pagesOf(first: number, last = 0xffff_ffff): KeyRange {
  return {
    from: pageKey(first, 0),
    to: last === 0xffff_ffff ? Buffer.from([PAGE + 1]) : pageKey(last + 1, 0),
  };
}

/** The checkpoint of a record's key; undefined if it is none. */
export function checkpointOf(key: Buffer): number | undefined {
  return key.length === RECORD_KEY_BYTES ? key.readUInt32BE(1) : undefined;
}

/** What a page's key names; undefined if it is none. */
export function pageOf(key: Buffer): { checkpoint: number; page: number } | undefined {
  if (key.length !== PAGE_KEY_BYTES) return undefined;
  const page = key.readUInt32BE(5);
  return page < PAGES_MAX ? { checkpoint: key.readUInt32BE(1), page } : undefined;
}

/** Writes a page with its header to the start of `into`. */
export function encodePage(into: Buffer, checkpoint: number, page: number, bytes: Uint8Array): void {
  into.writeUInt32LE(VERSION, 0);
  into.writeUInt32LE(page, 8);
  into.writeUInt32LE(checkpoint, 12);
  into.set(bytes, PAGE_HEADER);
  into.writeUInt32LE(crc32(into.subarray(UNCHECKED, PAGE_VALUE_BYTES)), 4);
}

/** Why this is not the page that was written; undefined if it is. */
export function invalidPage(value: Buffer, checkpoint: number, page: number): string | undefined {
  if (value.length !== PAGE_VALUE_BYTES) return `it has ${value.length} bytes`;
  const why = invalid(value);
  if (why) return why;
  if (value.readUInt32LE(8) !== page || value.readUInt32LE(12) !== checkpoint) return "another page is there";
  return undefined;
}

/** The 64 KiB of a page that is valid. */
export function pageBytes(value: Uint8Array): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset + PAGE_HEADER, PAGE_BYTES);
}

/** Visits the pages that a checkpoint has, in order, with the checkpoint under which each lies. */
export function eachPage(versions: Uint32Array, visit: (page: number, version: number) => void): void {
  for (let page = 0; page < versions.length; page++) {
    const version = versions[page];
    if (version) visit(page, version);
  }
}

export function encodeRecord({ number, before, versions, meta }: CheckpointRecord): Buffer {
  const text = Buffer.from(JSON.stringify(meta) ?? "null");
  let pages = 0;
  eachPage(versions, () => pages++);
  const value = Buffer.alloc(RECORD_HEADER + pages * 8 + text.length);
  value.writeUInt32LE(VERSION, 0);
  value.writeUInt32LE(number, 8);
  value.writeUInt32LE(before, 12);
  value.writeUInt32LE(pages, 16);
  value.writeUInt32LE(text.length, 20);
  let at = RECORD_HEADER;
  eachPage(versions, (page, version) => {
    value.writeUInt32LE(page, at);
    value.writeUInt32LE(version, at + 4);
    at += 8;
  });
  text.copy(value, at);
  value.writeUInt32LE(crc32(value.subarray(UNCHECKED)), 4);
  return value;
}

/** The record of a checkpoint, or why this is none. */
export function decodeRecord(value: Buffer, number: number): CheckpointRecord | string {
  if (value.length < RECORD_HEADER) return `it has ${value.length} bytes`;
  const why = invalid(value);
  if (why) return why;
  const pages = value.readUInt32LE(16);
  const textAt = RECORD_HEADER + pages * 8;
  if (value.readUInt32LE(8) !== number) return "another checkpoint is there";
  if (value.length !== textAt + value.readUInt32LE(20)) return `it has ${value.length} bytes`;
  const versions = new Uint32Array(PAGES_MAX);
  for (let at = RECORD_HEADER; at < textAt; at += 8) {
    const page = value.readUInt32LE(at);
    const version = value.readUInt32LE(at + 4);
    if (page >= PAGES_MAX || version === 0 || version > number) return `it names page ${page} of ${version}`;
    versions[page] = version;
  }
  try {
    const meta: unknown = JSON.parse(value.toString("utf8", textAt));
    return { number, before: value.readUInt32LE(12), versions, meta };
  } catch {
    return "its meta is no JSON";
  }
}

function key(kind: number, checkpoint: number): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_KEY_BYTES);
  bytes[0] = kind;
  bytes.writeUInt32BE(checkpoint, 1);
  return bytes;
}

function invalid(value: Buffer): string | undefined {
  const version = value.readUInt32LE(0);
  if (version !== VERSION) return `it is of version ${version}, or was changed`;
  if (crc32(value.subarray(UNCHECKED)) !== value.readUInt32LE(4)) return "its bytes were changed";
  return undefined;
}
