/**
 * What Jahs send each other: batches, back to back.
 *
 *   +0   u32 payload bytes
 *   +4   u32 kind: 0 routed entries of a frame, 1 entries of a range of a result, 2 state that changes its owner,
 *        3 routed entries of a frame that was set aside for some partitions, in which windows close without a word to the
 *        kernel: the first part has a byte for each of the 256, 1 for those
 *   +8   u32 frame (or range)
 *   +12  u32 source (or table); NO_SOURCE where a frame only says how time passes
 *   +16  f64 start: where the frame's first record starts in its source
 *   +24  f64 end: just behind its last record
 *   +32  f64 time: the greatest event time of the frame's records, ms since 1970; -Infinity if there is none
 *   +40  u32 clock: the source of event time that it advances; NO_CLOCK where it says nothing of time
 *   +44  u32 routing under which it was made (live streams; 0 in a run)
 *   +48  u32 version of the kernel that made it (live streams; 0 in a run)
 *   +52  u32 0
 *   +56  payload: parts of { u32 bytes, u32 0, routed sections (assembly/state/table.ts) }
 *
 * Whoever takes one in holds it against this picture first: what is inside a part is for the kernel to check.
 */
import { HallelujahError } from "../core/errors.ts";

export const BATCH_HEADER = 56;
const PART_HEADER = 8;

export const ROUTED = 0;
export const RANGE = 1;
export const TRANSFER = 2;
export const VOIDED = 3;

/** Bytes of a part: no more than an owner can copy into its input window. */
export const PART_BYTES_MAX = 31 << 20;

/** Bytes of the first part of a batch that is VOIDED. */
const PARTITIONS = 256;

/** The source of a frame that holds no records. */
export const NO_SOURCE = 0xffff_ffff;

/** The clock of a frame that holds nothing at all. */
export const NO_CLOCK = 0xffff_ffff;

export interface Batch {
  kind: number;
  frame: number;
  source: number;
  start: number;
  end: number;
  /** Greatest event time of the frame's records, ms; -Infinity if there is none. */
  time: number;
  clock: number;
  /** The routing under which it was made; 0 in a run. */
  routing: number;
  /** The version of the kernel that made it, whose state alone can take it in; 0 in a run. */
  version: number;
  payload: Buffer;
}

/** A batch of the given parts. Shape: header, then each part behind its own header. */
export function encodeBatch(
  head: Omit<Batch, "payload" | "routing" | "version"> & Partial<Pick<Batch, "routing" | "version">>,
  parts: Uint8Array[],
): Buffer {
  const bytes = parts.reduce((sum, part) => sum + PART_HEADER + part.length, 0);
  const batch = Buffer.allocUnsafe(BATCH_HEADER + bytes);
  batch.writeUInt32LE(bytes, 0);
  batch.writeUInt32LE(head.kind, 4);
  batch.writeUInt32LE(head.frame, 8);
  batch.writeUInt32LE(head.source, 12);
  batch.writeDoubleLE(head.start, 16);
  batch.writeDoubleLE(head.end, 24);
  batch.writeDoubleLE(head.time, 32);
  batch.writeUInt32LE(head.clock, 40);
  batch.writeUInt32LE(head.routing ?? 0, 44);
  batch.writeUInt32LE(head.version ?? 0, 48);
  batch.writeUInt32LE(0, 52);
  let at = BATCH_HEADER;
  for (const part of parts) {
    batch.writeUInt32LE(part.length, at);
    batch.writeUInt32LE(0, at + 4);
    batch.set(part, at + PART_HEADER);
    at += PART_HEADER + part.length;
  }
  return batch;
}

/** Bytes of the batch that starts at `at`, header and payload; undefined if not even its header is there. */
export function batchBytes(bytes: Buffer, at = 0): number | undefined {
  return at + BATCH_HEADER > bytes.length ? undefined : BATCH_HEADER + bytes.readUInt32LE(at);
}

/** A batch from its bytes, header and payload. The payload is a view of them. Throws `batch-invalid`. */
export function decodeBatch(bytes: Buffer): Batch {
  const why = invalid(bytes);
  if (why !== undefined)
    throw new HallelujahError("batch-invalid", `a batch of another Jah cannot be read: ${why}`);
  return {
    kind: bytes.readUInt32LE(4),
    frame: bytes.readUInt32LE(8),
    source: bytes.readUInt32LE(12),
    start: bytes.readDoubleLE(16),
    end: bytes.readDoubleLE(24),
    time: bytes.readDoubleLE(32),
    clock: bytes.readUInt32LE(40),
    routing: bytes.readUInt32LE(44),
    version: bytes.readUInt32LE(48),
    payload: bytes.subarray(BATCH_HEADER),
  };
}

/** All batches of a request, back to back. Throws `batch-invalid`, also where the last one ends too early. */
export function decodeBatches(bytes: Buffer): Batch[] {
  const batches: Batch[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + (batchBytes(bytes, at) ?? BATCH_HEADER);
    batches.push(decodeBatch(bytes.subarray(at, end)));
    at = end;
  }
  return batches;
}

/** Why these bytes are no batch; undefined if they are one. */
function invalid(bytes: Buffer): string | undefined {
  if (batchBytes(bytes) !== bytes.length) return `it has ${bytes.length} bytes`;
  const kind = bytes.readUInt32LE(4);
  if (kind > VOIDED) return `it is of the unknown kind ${kind}`;
  const time = bytes.readDoubleLE(32);
  if (Number.isNaN(time)) return "its time is no number";
  let parts = 0;
  for (let at = BATCH_HEADER; at < bytes.length; parts++) {
    if (at + PART_HEADER > bytes.length) return `part ${parts} ends too early`;
    const length = bytes.readUInt32LE(at);
    if (length > PART_BYTES_MAX || at + PART_HEADER + length > bytes.length)
      return `part ${parts} claims ${length} bytes`;
    if (parts === 0 && kind === VOIDED && length !== PARTITIONS)
      return `it names ${length} partitions instead of ${PARTITIONS}`;
    at += PART_HEADER + length;
  }
  if (kind === VOIDED && !parts) return "it does not name the partitions for which it was set aside";
  return undefined;
}

/** The parts of a batch that was decoded. */
export function* partsOf(payload: Buffer): Generator<Buffer> {
  let at = 0;
  while (at < payload.length) {
    const bytes = payload.readUInt32LE(at);
    yield payload.subarray(at + PART_HEADER, at + PART_HEADER + bytes);
    at += PART_HEADER + bytes;
  }
}
