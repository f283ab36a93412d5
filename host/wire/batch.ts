/**
 * What Jahs send each other: batches, back to back in the body of a request.
 *
 *   +0   u32 payload bytes
 *   +4   u32 kind: 0 routed entries of a frame, 1 entries of a range of a result
 *   +8   u32 frame (or range)
 *   +12  u32 source (or table)
 *   +16  f64 start: where the frame's first record starts in its source
 *   +24  f64 end: just behind its last record
 *   +32  payload: parts of { u32 bytes, u32 0, routed sections (assembly/state/table.ts) }
 */
export const BATCH_HEADER = 32;
const PART_HEADER = 8;

export const ROUTED = 0;
export const RANGE = 1;

export interface Batch {
  kind: number;
  frame: number;
  source: number;
  start: number;
  end: number;
  payload: Buffer;
}

/** A batch of the given parts. Shape: header, then each part behind its own header. */
export function encodeBatch(head: Omit<Batch, "payload">, parts: Uint8Array[]): Buffer {
  const bytes = parts.reduce((sum, part) => sum + PART_HEADER + part.length, 0);
  const batch = Buffer.allocUnsafe(BATCH_HEADER + bytes);
  batch.writeUInt32LE(bytes, 0);
  batch.writeUInt32LE(head.kind, 4);
  batch.writeUInt32LE(head.frame, 8);
  batch.writeUInt32LE(head.source, 12);
  batch.writeDoubleLE(head.start, 16);
  batch.writeDoubleLE(head.end, 24);
  let at = BATCH_HEADER;
  for (const part of parts) {
    batch.writeUInt32LE(part.length, at);
    batch.writeUInt32LE(0, at + 4);
    batch.set(part, at + PART_HEADER);
    at += PART_HEADER + part.length;
  }
  return batch;
}

/** The batches of a request's body. Throws a RangeError if the body is cut short. */
export function* decodeBatches(body: Buffer): Generator<Batch> {
  let at = 0;
  while (at < body.length) {
    const bytes = body.readUInt32LE(at);
    const payload = body.subarray(at + BATCH_HEADER, at + BATCH_HEADER + bytes);
    if (payload.length !== bytes) throw new RangeError("a batch is cut short");
    yield {
      kind: body.readUInt32LE(at + 4),
      frame: body.readUInt32LE(at + 8),
      source: body.readUInt32LE(at + 12),
      start: body.readDoubleLE(at + 16),
      end: body.readDoubleLE(at + 24),
      payload,
    };
    at += BATCH_HEADER + bytes;
  }
}

/** The parts of a batch. */
export function* partsOf(payload: Buffer): Generator<Buffer> {
  let at = 0;
  while (at < payload.length) {
    const bytes = payload.readUInt32LE(at);
    yield payload.subarray(at + PART_HEADER, at + PART_HEADER + bytes);
    at += PART_HEADER + bytes;
  }
}
