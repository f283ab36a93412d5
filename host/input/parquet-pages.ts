/** The pages of a Parquet column chunk: their headers, levels, compression and dictionary codes. */
import * as zlib from "node:zlib";
import type { Compressors } from "hyparquet";
import { compressors as portable } from "hyparquet-compressors";
import { parquetHeader } from "hyparquet/src/column.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import { PARQUET_PAGE_BYTES_MAX } from "../core/limits.ts";
import { unsupported } from "./columnar.ts";
import { type Cursor, readRuns } from "./parquet-encodings.ts";
import { type Chunk, type Codes, lengthOf, readValues, type Values } from "./parquet-values.ts";
import { checkThrift } from "./thrift-check.ts";

/** A page's values: of the rows that have one, in order. */
export type Page = { rows: number; values: Values | Codes };

/** Reads all pages of a chunk; fills `levels` with 1 where a row has a value. */
export function readPages(
  chunk: Chunk,
  levels: Uint8Array | undefined,
): { pages: Page[]; dictionary: Values | undefined } {
  const { bytes, rows, where } = chunk;
  const reader = { view: viewOf(bytes), offset: 0 };
  const pages: Page[] = [];
  let dictionary: Values | undefined;
  let filled = 0;
  while (filled < rows) {
    checkThrift(reader);
    const header = parquetHeader(reader);
    const start = reader.offset;
    const end = start + header.compressed_page_size;
    if (!(header.compressed_page_size >= 0 && end <= bytes.length))
      throw new Error("a page exceeds its column");
    const body = bytes.subarray(start, end);
    if (header.crc !== undefined && zlib.crc32(body) !== header.crc >>> 0)
      throw new Error("a page's checksum is wrong");
    reader.offset = end;
    const { data_page_header: v1, data_page_header_v2: v2, dictionary_page_header: entries } = header;
    const size = header.uncompressed_page_size;
    if (header.type === "DICTIONARY_PAGE" && entries !== undefined) {
      const cursor = { view: viewOf(unpack(chunk, body, size)), offset: 0 };
      // A boolean takes least: a bit.
      if (entries.num_values > cursor.view.byteLength * 8)
        throw new Error(`a dictionary of ${entries.num_values} entries in ${cursor.view.byteLength} bytes`);
      dictionary = readValues(chunk, cursor, "PLAIN", entries.num_values);
    } else if (header.type === "DATA_PAGE" && v1 !== undefined) {
      const here = pageLevels(levels, filled, v1.num_values, rows);
      if (here !== undefined && v1.definition_level_encoding !== "RLE") {
        throw unsupported(where, `nulls are encoded as ${v1.definition_level_encoding}`);
      }
      const cursor = { view: viewOf(unpack(chunk, body, size)), offset: 0 };
      if (here !== undefined) readRuns(cursor, 1, here);
      pages.push(readPage(chunk, cursor, v1.encoding, v1.num_values, here, dictionary));
      filled += v1.num_values;
    } else if (header.type === "DATA_PAGE_V2" && v2 !== undefined) {
      const here = pageLevels(levels, filled, v2.num_values, rows);
      const [repetition, definition] = [v2.repetition_levels_byte_length, v2.definition_levels_byte_length];
      const before = repetition + definition;
      // a length that is absent would make of the cursor's offset a NaN, at which reading never ends
      if (!(repetition >= 0 && definition >= 0 && before <= body.length))
        throw new Error("levels of no length");
      const levelCursor = { view: viewOf(body), offset: repetition };
      if (here !== undefined) readRuns(levelCursor, 1, here, definition);
      const rest = body.subarray(before);
      const page = v2.is_compressed === false ? rest : unpack(chunk, rest, size - before);
      pages.push(
        readPage(chunk, { view: viewOf(page), offset: 0 }, v2.encoding, v2.num_values, here, dictionary),
      );
      filled += v2.num_values;
    } else if (header.type !== "INDEX_PAGE") {
      throw new Error(`a page of the unknown type ${header.type}`);
    }
  }
  return { pages, dictionary };
}

function pageLevels(
  levels: Uint8Array | undefined,
  from: number,
  rows: number,
  all: number,
): Uint8Array | undefined {
  if (!(rows >= 0 && from + rows <= all)) throw new Error("its pages hold more rows than the row group");
  return levels?.subarray(from, from + rows);
}

function readPage(
  chunk: Chunk,
  cursor: Cursor,
  encoding: string,
  rows: number,
  levels: Uint8Array | undefined,
  dictionary: Values | undefined,
): Page {
  let count = rows;
  if (levels !== undefined) for (let row = 0; row < rows; row++) count -= 1 - levels[row];
  if (encoding !== "PLAIN_DICTIONARY" && encoding !== "RLE_DICTIONARY") {
    return { rows, values: readValues(chunk, cursor, encoding, count) };
  }
  const codes = new Uint32Array(count);
  const width = count === 0 ? 0 : cursor.view.getUint8(cursor.offset++);
  // hyparquet unpacks up to 24 bits a value; a row group with a larger dictionary than that is not written
  if (width > 24) throw new Error(`a dictionary code of ${width} bits`);
  if (width > 0) readRuns(cursor, width, codes, cursor.view.byteLength - cursor.offset);
  const entries = dictionary === undefined ? 0 : lengthOf(dictionary);
  let greatest = -1;
  for (let i = 0; i < count; i++) if (codes[i] > greatest) greatest = codes[i];
  if (greatest >= entries) throw new Error("a value refers outside its dictionary");
  return { rows, values: { kind: "codes", codes } };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** zlib where Node brings the codec (zstd from Node 22.15 on), else hyparquet's compressors. */
const native = zlib as {
  zstdDecompressSync?: (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
};
const zstd = native.zstdDecompressSync;
const atMost = (size: number): { maxOutputLength: number } => ({ maxOutputLength: Math.max(size, 1) });
const codecs: Compressors = {
  ...portable,
  GZIP: (input, size) => zlib.gunzipSync(input, atMost(size)),
  BROTLI: (input, size) => zlib.brotliDecompressSync(input, atMost(size)),
  ...(zstd && { ZSTD: (input: Uint8Array, size: number) => zstd(input, atMost(size)) }),
};

/** Bytes that a byte may become, where memory is taken for as many as a page claims before any is decompressed. */
const EXPANDS: Record<string, number> = {
  UNCOMPRESSED: 1,
  SNAPPY: 32,
  LZ4: 256,
  LZ4_RAW: 256,
  ZSTD: 2 ** 16,
};
const FIRST_BYTES = 2 ** 17;

function unpack({ meta, where }: Chunk, body: Uint8Array, size: number): Uint8Array {
  if (!(size >= 0)) throw new Error("a page of negative size");
  const known = meta.codec === "UNCOMPRESSED" || meta.codec in codecs;
  if (!known) throw unsupported(where, `its compression ${meta.codec} cannot be read`);
  if (size > PARQUET_PAGE_BYTES_MAX || size > FIRST_BYTES + body.length * (EXPANDS[meta.codec] ?? Infinity))
    throw new Error(`a page of ${body.length} bytes claims to hold ${size}`);
  return size === 0 ? new Uint8Array(0) : decompressPage(body, size, meta.codec, codecs);
}
