/**
 * Parquet's encodings of numbers and texts: hyparquet's decoders with the lengths checked first, since damaged ones
 * would keep it busy without end, and decoders of texts that make no object for each.
 */
import { deltaBinaryUnpack } from "hyparquet/src/delta.js";
import { readRleBitPackedHybrid } from "hyparquet/src/encoding.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import type { Column } from "../kernel/columns.ts";

/** A place in a page. */
export type Cursor = { view: DataView; offset: number };

/**
 * Decodes runs of the RLE and bit-packing hybrid into all of `output`. Checks the lengths first: hyparquet would
 * repeat a damaged run a thousand million times.
 * @param length bytes of the runs; read from the page when not given
 */
export function readRuns(
  cursor: Cursor,
  width: number,
  output: Uint8Array | Uint32Array,
  length?: number,
): void {
  const ahead = { view: cursor.view, offset: cursor.offset + (length === undefined ? 4 : 0) };
  for (let seen = 0; seen < output.length; ) {
    const header = readVarInt(ahead);
    const count = (header & 1) === 1 ? (header >>> 1) * 8 : header >>> 1;
    seen += count;
    ahead.offset += (header & 1) === 1 ? (count / 8) * width : (width + 7) >> 3;
    // the last run of bits is filled up to eight values, and writers may round up further
    if (seen > output.length + 1_024) throw new Error(`a run of ${count} values in ${output.length}`);
  }
  readRleBitPackedHybrid(cursor, width, output, length);
}

/** Decodes DELTA_BINARY_PACKED numbers. Checks block sizes first: wrong ones could lead hyparquet backwards. */
export function unpackDeltas(cursor: Cursor, numbers: Int32Array | BigInt64Array): void {
  const ahead = { ...cursor };
  const block = readVarInt(ahead);
  const parts = readVarInt(ahead);
  const total = readVarInt(ahead);
  const whole = block > 0 && parts > 0 && (block / parts) % 8 === 0;
  if (!whole || total < numbers.length) throw new Error(`${total} deltas in blocks of ${block} by ${parts}`);
  if (numbers.length > 0) deltaBinaryUnpack(cursor, numbers.length, numbers);
  else cursor.offset = ahead.offset;
}

/** Texts of which each takes its first `prefixes[i]` bytes from the one before. */
export function deltaTexts(cursor: Cursor, prefixes: Int32Array): Uint8Array[] {
  const lengths = new Int32Array(prefixes.length);
  unpackDeltas(cursor, lengths);
  const { view } = cursor;
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const found: Uint8Array[] = [];
  let before: Uint8Array = new Uint8Array(0);
  let total = 0;
  for (let i = 0; i < lengths.length; i++) {
    const [prefix, length] = [prefixes[i], lengths[i]];
    total += prefix + length;
    const fits =
      prefix >= 0 && prefix <= before.length && length >= 0 && cursor.offset + length <= bytes.length;
    if (!fits || total >= 2 ** 31) throw new Error("a text exceeds its page");
    const rest = bytes.subarray(cursor.offset, cursor.offset + length);
    cursor.offset += length;
    if (prefix > 0) {
      const text = new Uint8Array(prefix + length);
      text.set(before.subarray(0, prefix));
      text.set(rest, prefix);
      before = text;
    } else {
      before = rest;
    }
    found.push(before);
  }
  return found;
}

/** PLAIN texts: each a u32 length and its bytes. hyparquet would make an object for each. */
export function plainTexts(view: DataView, start: number, count: number): Extract<Column, { kind: "text" }> {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  if (count * 4 > bytes.length - start) throw new Error(`${count} texts in ${bytes.length} bytes`);
  const offsets = new Uint32Array(count + 1);
  const packed = new Uint8Array(Math.max(view.byteLength - start - count * 4, 0));
  let at = start;
  let end = 0;
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > bytes.length) throw new Error("a text exceeds its page");
    if (length < 32) for (let byte = 0; byte < length; byte++) packed[end + byte] = bytes[at + byte];
    else packed.set(bytes.subarray(at, at + length), end);
    at += length;
    end += length;
    offsets[i + 1] = end;
  }
  return { kind: "text", offsets, bytes: packed.subarray(0, end) };
}
