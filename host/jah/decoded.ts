/**
 * Decoded records on their way from one Jah to others (wire/decoded.ts). None of it is needed: where a file cannot be written, is not there
 * or is not what was expected, the frame is decoded as any other.
 */
import { closeSync, constants, openSync, readSync, writevSync } from "node:fs";
import type { KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import {
  areDecodedRows,
  type Decoded,
  DECODED_HEAD_BYTES,
  type DecodedHead,
  decodeDecodedHead,
  encodeDecodedHead,
  type KeepDecoded,
} from "../wire/decoded.ts";
import type { FrameTask } from "../wire/jah.ts";

type Slice = FrameTask & { kind: "slice" };

/** The kernel keeps what it decodes from now on. Whether it can: the frame must end below where it is kept. */
export function startKeeping(kernel: KernelInstance, { words }: KeepDecoded, { bytes }: Slice): boolean {
  if (map.INPUT + bytes >= map.DECODED_PLACES || !words.length || words.length > map.DECODED_PLACES_MAX)
    return false;
  new Uint32Array(kernel.bytes.buffer, map.DECODED_PLACES, words.length).set(words);
  kernel.exports.startDecoded(words.length);
  return true;
}

/** Writes what was kept of a frame; bytes of the file, 0 if nothing is to be read there. `good`: its records, if all of them are. */
export function writeKept(
  kernel: KernelInstance,
  { id, path, words }: KeepDecoded,
  { frame, bytes, sum }: Slice,
  good: number | undefined,
  quoted: boolean,
): number {
  const rows = kernel.exports.endDecoded();
  if (rows < 1 || rows !== good) return 0;
  const size = rows * words.length * 8;
  const kept = kernel.bytes.subarray(map.DECODED_ROWS, map.DECODED_ROWS + size);
  const head = encodeDecodedHead({ id, frame, bytes, sum, rows, words: words.length, quoted }, kept);
  const written = withFile(path, constants.O_WRONLY | constants.O_CREAT, (fd) =>
    writevSync(fd, [head, kept]),
  );
  return written === head.length + size ? written : 0;
}

/** Reads the rows of a frame to where the kernel takes them; undefined if they cannot be had. */
export function readDecoded(
  kernel: KernelInstance,
  { id, path, words, places }: Decoded,
  { frame, bytes, sum }: Slice,
): DecodedHead | undefined {
  if (map.INPUT + bytes >= map.DECODED_PLACES || places.length > map.DECODED_PLACES_MAX) return undefined;
  return withFile(path, constants.O_RDONLY, (fd) => {
    const start = Buffer.alloc(DECODED_HEAD_BYTES);
    const head = decodeDecodedHead(start.subarray(0, readSync(fd, start)));
    if (head?.id !== id || head.frame !== frame || head.bytes !== bytes || head.sum !== sum) return undefined;
    const size = head.rows * words * 8;
    if (head.words !== words || places.some((place) => place >= words * 8) || size > map.DECODED_BYTES)
      return undefined;
    if (readSync(fd, kernel.bytes, map.DECODED_ROWS, size, start.length) < size) return undefined;
    const rows = kernel.bytes.subarray(map.DECODED_ROWS, map.DECODED_ROWS + size);
    if (!areDecodedRows(start, rows)) return undefined;
    new Uint32Array(kernel.bytes.buffer, map.DECODED_PLACES, places.length).set(places);
    return head;
  });
}

/** Undefined if the file cannot be used: the disk is full, or the folder is gone. */
function withFile<T>(path: string, flags: number, use: (fd: number) => T): T | undefined {
  try {
    const fd = openSync(path, flags);
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
}
