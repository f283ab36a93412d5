/**
 * The image of a shard: its arena as it lies in memory, so that it is back as soon as it is read.
 *
 *   +0   u32 magic "himg"   u32 version
 *   +8   u32 bytes of meta  u32 CRC-32 of meta and arena
 *   +16  f64 bytes of the arena
 *   +24  meta (JSON), then the arena
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { crc32 } from "node:zlib";
import { HallelujahError, messageOf } from "../core/errors.ts";

const MAGIC = 0x676d6968; // "himg"
const VERSION = 1;
const HEADER = 24;
/** Bytes written or read at once. */
const SLICE = 8 << 20;

export interface ImageMeta {
  /** Version of the arena's layout. */
  abi: number;
  /** The lowest frame that is not in it. */
  frame: number;
  /** Its partitions. */
  from: number;
  to: number;
  /** Where the last frame of each source ended. */
  places: [number, number][];
}

/** Writes an image; whoever looks at `path` finds the whole of it or none. Throws `image-unwritable`. */
export function writeImage(path: string, meta: ImageMeta, arena: Uint8Array): void {
  const text = Buffer.from(JSON.stringify(meta));
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(VERSION, 4);
  header.writeUInt32LE(text.length, 8);
  header.writeUInt32LE(crc32(arena, crc32(text)), 12);
  header.writeDoubleLE(arena.length, 16);
  const unfinished = `${path}.new`;
  let fd = -1;
  try {
    fd = openSync(unfinished, "w");
    writeAll(fd, header);
    writeAll(fd, text);
    for (let at = 0; at < arena.length; at += SLICE) writeAll(fd, arena.subarray(at, at + SLICE));
    fdatasyncSync(fd);
    closeSync(fd);
    fd = -1;
    renameSync(unfinished, path);
  } catch (cause) {
    if (fd >= 0) closeSync(fd);
    rmSync(unfinished, { force: true });
    throw new HallelujahError("image-unwritable", `${path} cannot be written: ${messageOf(cause)}`, {
      cause,
    });
  }
}

/**
 * Reads an image; `into` is asked for the memory of an arena of so many bytes. Throws `image-damaged` if it is not
 * whole, or of another version: the shard is then to be replayed from the log.
 */
export function readImage(path: string, abi: number, into: (bytes: number) => Uint8Array): ImageMeta {
  let fd = -1;
  try {
    fd = openSync(path, "r");
    const header = readAll(fd, Buffer.alloc(HEADER), 0);
    if (header.readUInt32LE(0) !== MAGIC) throw new Error("it is no image");
    if (header.readUInt32LE(4) !== VERSION) throw new Error(`it has version ${header.readUInt32LE(4)}`);
    const metaBytes = header.readUInt32LE(8);
    const bytes = header.readDoubleLE(16);
    if (fstatSync(fd).size !== HEADER + metaBytes + bytes) throw new Error("it is not whole");
    const text = readAll(fd, Buffer.alloc(metaBytes), HEADER);
    const meta = JSON.parse(text.toString()) as ImageMeta;
    if (meta.abi !== abi) throw new Error(`its state is of version ${meta.abi}, this is ${abi}`);
    const arena = into(bytes);
    for (let at = 0; at < bytes; at += SLICE)
      readAll(fd, arena.subarray(at, at + SLICE), HEADER + metaBytes + at);
    if (crc32(arena, crc32(text)) !== header.readUInt32LE(12)) throw new Error("its bytes were changed");
    return meta;
  } catch (cause) {
    throw new HallelujahError("image-damaged", `${path} cannot be used: ${messageOf(cause)}`, { cause });
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at);
}

function readAll<B extends Uint8Array>(fd: number, bytes: B, position: number): B {
  for (let at = 0; at < bytes.length; ) {
    const got = readSync(fd, bytes, at, bytes.length - at, position + at);
    if (!got) throw new Error("it is not whole");
    at += got;
  }
  return bytes;
}
