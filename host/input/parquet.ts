/**
 * Parquet files as columns. hyparquet reads the footer, the page headers, the compressed pages and the
 * encodings; this file puts the pages of a column chunk together as typed arrays. hyparquet's own assembly
 * makes JavaScript values (a BigInt per INT64, a string per text), which took four times as long.
 *
 * Nested columns (lists, maps, structs) are listed, but not offered.
 */
import { open } from "node:fs/promises";
import * as zlib from "node:zlib";
import type { ColumnMetaData, Compressors, FileMetaData, SchemaElement } from "hyparquet";
import { parquetMetadata } from "hyparquet";
import { compressors as portable } from "hyparquet-compressors";
import { parquetHeader } from "hyparquet/src/column.js";
import { parseFloat16 } from "hyparquet/src/convert.js";
import { decompressPage } from "hyparquet/src/datapage.js";
import { deltaBinaryUnpack } from "hyparquet/src/delta.js";
import { byteStreamSplit, readRleBitPackedHybrid } from "hyparquet/src/encoding.js";
import { readPlain } from "hyparquet/src/plain.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import { HallelujahError } from "../core/errors.ts";
import type { Column, ColumnType, FieldWish, FileColumn, Raw } from "../kernel/columns.ts";
import { fileColumn, findColumn, fitColumn, gatherTexts, lookUp } from "../kernel/columns.ts";

/** A Parquet file's footer. Plain data; the file is opened anew for each row group. */
export type ParquetFile = {
  path: string;
  bytes: number;
  columns: readonly FileColumn[];
  rowGroups: readonly { rows: number }[];
  metadata: FileMetaData;
};

/** Columns of one row group, in the order of the wishes. */
export type RowGroup = { rows: number; columns: Column[] };

/**
 * Reads the footer of a Parquet file.
 * @throws HallelujahError `input-corrupt` when it is no Parquet file, truncated or damaged; a missing file
 * throws Node's own error
 */
export async function openParquet(path: string): Promise<ParquetFile> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - 8), size);
    const ends = tail.length === 8 && tail.subarray(4).toString("latin1") === "PAR1";
    if (size < 12 || !ends)
      throw corrupt(path, 'it does not end with "PAR1": it is truncated, or no Parquet file');
    const footer = tail.readUInt32LE(0);
    if (footer > size - 12) throw corrupt(path, `its footer claims ${footer} bytes of a file of ${size}`);
    const metadata = parquetMetadata(await readAt(file, size - 8 - footer, size), { geoparquet: false });
    const rowGroups = metadata.row_groups.map((group) => ({ rows: Number(group.num_rows) }));
    return { path, bytes: size, columns: topLevel(metadata.schema).map(describe), rowGroups, metadata };
  } catch (error) {
    throw explain(error, path, "its footer is damaged");
  } finally {
    await file.close();
  }
}

/**
 * Reads the wanted columns of one row group, one after the other: of each, its compressed bytes and its pages
 * are held beside the columns that are done.
 * @throws HallelujahError `column-missing`, `column-type`, `column-unsupported` (before anything is read),
 * `column-value`, `input-corrupt`, `input-unsupported`
 */
export async function readRowGroup(
  file: ParquetFile,
  index: number,
  wanted: readonly FieldWish[],
): Promise<RowGroup> {
  const found = wanted.map((wish) => findColumn(file.path, file.columns, wish));
  const group = file.metadata.row_groups[index];
  const { rows } = file.rowGroups[index];
  const handle = await open(file.path, "r");
  try {
    const columns: Column[] = [];
    for (const [field, column] of found.entries()) {
      columns.push(column === undefined ? { kind: "absent" } : await readField(column, wanted[field]));
    }
    return { rows, columns };
  } finally {
    await handle.close();
  }

  async function readField(column: FileColumn, wish: FieldWish): Promise<Column> {
    const where = `${file.path}: column "${column.name}"`;
    try {
      const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === column.name);
      const meta = chunk?.meta_data;
      if (meta === undefined || chunk?.file_path)
        throw unsupported(where, "its data is encrypted or in another file");
      const [start, end] = byteRange(meta);
      if (start < 4 || end > file.bytes - 8) throw corrupt(where, `row group ${index} lies outside the file`);
      const bytes = await readAt(handle, start, end);
      const element = topLevel(file.metadata.schema).find(({ name }) => name === column.name);
      if (element === undefined) throw corrupt(where, "the schema lacks it");
      return readChunk({ bytes, rows, meta, element, column, wish, where });
    } catch (error) {
      throw explain(error, where, `row group ${index} is damaged`);
    }
  }
}

function byteRange(meta: ColumnMetaData): [number, number] {
  const data = Number(meta.data_page_offset);
  const dictionary = Number(meta.dictionary_page_offset ?? 0);
  const start = dictionary > 0 ? Math.min(dictionary, data) : data;
  return [start, start + Number(meta.total_compressed_size)];
}

type File = Awaited<ReturnType<typeof open>>;

async function readAt(file: File, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.from(new ArrayBuffer(end - start));
  const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
  if (bytesRead < bytes.length) throw new Error(`the file ends at byte ${start + bytesRead}`);
  return bytes;
}

// ---------------------------------------------------------------------------------------------------- errors

function corrupt(where: string, why: string): HallelujahError {
  return new HallelujahError("input-corrupt", `${where}: ${why}; get the file anew from its source`);
}

function unsupported(where: string, why: string): HallelujahError {
  return new HallelujahError("input-unsupported", `${where}: ${why}; write the file anew without it`);
}

/** What went wrong as a HallelujahError; what hyparquet and zlib throw over bytes is taken as damage. */
function explain(error: unknown, where: string, what: string): unknown {
  if (error instanceof HallelujahError) return error;
  const { message } = error as Error;
  const code = (error as { code?: unknown }).code;
  if (typeof code === "string" && "syscall" in (error as object)) return error;
  return new HallelujahError("input-corrupt", `${where}: ${what} (${message}); get the file anew`, {
    cause: error,
  });
}

// ---------------------------------------------------------------------------------------------------- schema

type Element = SchemaElement & { nested: boolean };

/** The columns right under the root; those with children or repeated values are `nested`. */
function topLevel(schema: readonly SchemaElement[]): Element[] {
  const columns: Element[] = [];
  const after = (at: number): number => {
    let next = at + 1;
    for (let child = 0; child < (schema[at].num_children ?? 0); child++) next = after(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = after(at)) {
    const nested = schema[at].type === undefined || schema[at].repetition_type === "REPEATED";
    columns.push({ ...schema[at], nested });
  }
  return columns;
}

function describe(element: Element): FileColumn {
  const { logical_type: logical, converted_type: converted } = element;
  const noted = logical?.type ?? converted;
  const physical = element.type ?? "a group";
  return fileColumn(element.name, typeOf(element), noted === undefined ? physical : `${physical} (${noted})`);
}

const CONVERTED_UNITS = { MILLIS: "ms", MICROS: "us", NANOS: "ns" } as const;

function typeOf(element: Element): ColumnType {
  const { type, logical_type: logical, converted_type: converted } = element;
  if (element.nested)
    return { is: "unsupported", why: "lists, maps and structs are not read; flatten the column" };
  const noted = logical?.type;
  if (noted === "NULL") return { is: "nothing" };
  if (noted === "DECIMAL" || converted === "DECIMAL") {
    return { is: "decimal", scale: logical?.type === "DECIMAL" ? logical.scale : (element.scale ?? 0) };
  }
  switch (type) {
    case "BOOLEAN":
      return { is: "bool" };
    case "FLOAT":
    case "DOUBLE":
      return { is: "float", single: type === "FLOAT" };
    case "INT96":
      return { is: "time", unit: "ms" };
    case "INT32":
    case "INT64":
      return integerType(element);
    default:
      if (noted === "FLOAT16") return { is: "float", single: true };
      if (noted === "BSON" || noted === "GEOMETRY" || noted === "GEOGRAPHY" || converted === "INTERVAL") {
        return { is: "unsupported", why: "there is no field type for it" };
      }
      return { is: "text" };
  }
}

function integerType(element: Element): ColumnType {
  const { logical_type: logical, converted_type: converted } = element;
  if (logical?.type === "DATE" || converted === "DATE") return { is: "time", unit: "day" };
  if (logical?.type === "TIMESTAMP") return { is: "time", unit: CONVERTED_UNITS[logical.unit] };
  if (logical?.type === "TIME") return { is: "clock", unit: CONVERTED_UNITS[logical.unit] };
  if (converted?.startsWith("TIMESTAMP_"))
    return { is: "time", unit: converted.endsWith("MILLIS") ? "ms" : "us" };
  if (converted?.startsWith("TIME_"))
    return { is: "clock", unit: converted.endsWith("MILLIS") ? "ms" : "us" };
  const unsigned =
    logical?.type === "INTEGER" ? !logical.isSigned : (converted?.startsWith("UINT_") ?? false);
  return { is: "integer", unsigned };
}

// --------------------------------------------------------------------------------------------- column chunks

type Chunk = {
  bytes: Buffer;
  rows: number;
  meta: ColumnMetaData;
  element: Element;
  column: FileColumn;
  wish: FieldWish;
  where: string;
};

/** A page's values: of the rows that have one, in order. */
type Page = { rows: number; values: Values | Codes };
type Codes = { kind: "codes"; codes: Uint32Array };
type Values = Exclude<Raw, { kind: "absent" | "dictionary" }>;

function readChunk(chunk: Chunk): Column {
  const { rows, column, wish, where } = chunk;
  const nullable = chunk.element.repetition_type === "OPTIONAL";
  const levels = nullable ? new Uint8Array(rows) : undefined;
  const { pages, dictionary } = readPages(chunk, levels);
  const validity = levels?.includes(0) ? levels : undefined;
  if (pages.every(isCoded)) {
    const codes = joinCodes(pages, rows);
    if (validity !== undefined) spread(codes, countOf(pages), validity);
    const entries = dictionary ?? emptyOf(chunk);
    return lookUp(codes, validity, fitColumn(entries, column.type, wish.type, where));
  }
  const values = joinValues(pages, rows, dictionary);
  if (validity !== undefined) spreadValues(values, countOf(pages), validity);
  return fitColumn(validity === undefined ? values : { ...values, validity }, column.type, wish.type, where);
}

function isCoded(page: Page): page is { rows: number; values: Codes } {
  return page.values.kind === "codes";
}

function countOf(pages: readonly Page[]): number {
  return pages.reduce((sum, { values }) => sum + lengthOf(values), 0);
}

function lengthOf(values: Values | Codes): number {
  if (values.kind === "codes") return values.codes.length;
  return values.kind === "text" ? values.offsets.length - 1 : values.values.length;
}

/** Reads all pages of a chunk; fills `levels` with 1 where a row has a value. */
function readPages(
  chunk: Chunk,
  levels: Uint8Array | undefined,
): { pages: Page[]; dictionary: Values | undefined } {
  const { bytes, rows, where } = chunk;
  const reader = { view: viewOf(bytes), offset: 0 };
  const pages: Page[] = [];
  let dictionary: Values | undefined;
  let filled = 0;
  while (filled < rows) {
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

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// ----------------------------------------------------------------------------------------------- compression

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

function unpack({ meta, where }: Chunk, body: Uint8Array, size: number): Uint8Array {
  if (!(size >= 0)) throw new Error("a page of negative size");
  const known = meta.codec === "UNCOMPRESSED" || meta.codec in codecs;
  if (!known) throw unsupported(where, `its compression ${meta.codec} cannot be read`);
  return size === 0 ? new Uint8Array(0) : decompressPage(body, size, meta.codec, codecs);
}

// ------------------------------------------------------------------------------------------- pages to values

type Cursor = { view: DataView; offset: number };

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

/** Decodes `count` values of a page. The result's kind depends on the column alone (see `emptyOf`). */
function readValues(chunk: Chunk, cursor: Cursor, encoding: string, count: number): Values {
  const { type, type_length: width } = chunk.element;
  if (type === undefined || !(count >= 0)) throw new Error("a page without a type or a count");
  if (encoding === "PLAIN" && type === "BYTE_ARRAY" && emptyOf(chunk).kind === "text") {
    return plainTexts(cursor.view, cursor.offset, count);
  }
  const values = decode();
  if (cursor.offset > cursor.view.byteLength) throw new Error("a page ends before its values");
  return typed(chunk, values);

  function decode(): ArrayLike<unknown> {
    switch (encoding) {
      case "PLAIN":
        return readPlain(cursor, type!, count, width);
      case "RLE": {
        const bits = new Uint8Array(count);
        if (count > 0) readRuns(cursor, 1, bits);
        return bits;
      }
      case "BYTE_STREAM_SPLIT":
        return byteStreamSplit(cursor, count, type!, width);
      case "DELTA_BINARY_PACKED": {
        // DuckDB writes the first of unsigned INT32 in 33 bits; hyparquet keeps them only on the way to INT64
        const { type: holds } = chunk.column;
        const narrow = type === "INT32" && !(holds.is === "integer" && holds.unsigned);
        const numbers = narrow ? new Int32Array(count) : new BigInt64Array(count);
        unpackDeltas(cursor, numbers);
        return numbers instanceof BigInt64Array && type === "INT32"
          ? Int32Array.from(numbers, lowerHalf)
          : numbers;
      }
      case "DELTA_LENGTH_BYTE_ARRAY":
        return deltaTexts(cursor, new Int32Array(count));
      case "DELTA_BYTE_ARRAY": {
        const prefixes = new Int32Array(count);
        unpackDeltas(cursor, prefixes);
        return deltaTexts(cursor, prefixes);
      }
      default:
        throw unsupported(chunk.where, `its encoding ${encoding} cannot be read`);
    }
  }
}

/**
 * Decodes runs of the RLE and bit-packing hybrid into all of `output`. Checks the lengths first: hyparquet would
 * repeat a damaged run a thousand million times.
 * @param length bytes of the runs; read from the page when not given
 */
function readRuns(cursor: Cursor, width: number, output: Uint8Array | Uint32Array, length?: number): void {
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
function unpackDeltas(cursor: Cursor, numbers: Int32Array | BigInt64Array): void {
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
function deltaTexts(cursor: Cursor, prefixes: Int32Array): Uint8Array[] {
  const lengths = new Int32Array(prefixes.length);
  unpackDeltas(cursor, lengths);
  const { view } = cursor;
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const found: Uint8Array[] = new Array(lengths.length);
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
    found[i] = before;
  }
  return found;
}

/** No values, of the kind that all pages of this column decode to. */
function emptyOf({ element, column }: Chunk): Values {
  const { type, type_length: width = 0, precision = 0 } = element;
  switch (type) {
    case "BOOLEAN":
      return { kind: "bool", values: new Uint8Array(0) };
    case "FLOAT":
    case "DOUBLE":
      return { kind: "f64", values: new Float64Array(0) };
    case "INT32":
    case "INT64":
    case "INT96":
      return { kind: "i64", values: new BigInt64Array(0) };
    default:
      if (column.type.is === "float") return { kind: "f64", values: new Float64Array(0) };
      if (column.type.is !== "decimal")
        return { kind: "text", offsets: new Uint32Array(1), bytes: new Uint8Array(0) };
      return precision <= 18 && width <= 8 && type === "FIXED_LEN_BYTE_ARRAY"
        ? { kind: "i64", values: new BigInt64Array(0) }
        : { kind: "wide", values: [] };
  }
}

function typed(chunk: Chunk, values: ArrayLike<unknown>): Values {
  const { element, column } = chunk;
  const empty = emptyOf(chunk);
  switch (empty.kind) {
    case "bool":
      return { kind: "bool", values: Uint8Array.from(values as ArrayLike<number>, Number) };
    case "f64":
      return column.type.is === "float" && element.type === "FIXED_LEN_BYTE_ARRAY"
        ? {
            kind: "f64",
            values: Float64Array.from(values as Uint8Array[], (bytes) => parseFloat16(bytes) ?? 0),
          }
        : { kind: "f64", values: new Float64Array(values as Float64Array) };
    case "i64":
      return { kind: "i64", values: integers(values, column.type) };
    case "wide":
      return { kind: "wide", values: Array.from(values as Uint8Array[], bigEndian) };
    default: {
      const uuid = element.logical_type?.type === "UUID";
      return texts(uuid ? Array.from(values as Uint8Array[], uuidText) : (values as Uint8Array[]));
    }
  }
}

function integers(values: ArrayLike<unknown>, type: ColumnType): BigInt64Array {
  if (values instanceof BigInt64Array) return values;
  const result = new BigInt64Array(values.length);
  if (values instanceof Int32Array) {
    const halves = new Int32Array(result.buffer);
    const signed = type.is === "integer" && type.unsigned ? 0 : -1;
    for (let i = 0; i < values.length; i++) {
      halves[i * 2] = values[i];
      halves[i * 2 + 1] = (values[i] >> 31) & signed;
    }
    return result;
  }
  const read = type.is === "time" ? int96Milliseconds : bigEndian;
  for (let i = 0; i < values.length; i++) result[i] = read(values[i] as never);
  return result;
}

function lowerHalf(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

/** INT96: the upper 32 bits are the Julian day, the lower 64 the nanoseconds of the day. */
function int96Milliseconds(value: bigint): bigint {
  return ((value >> 64n) - 2_440_588n) * 86_400_000n + BigInt.asUintN(64, value) / 1_000_000n;
}

function bigEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return BigInt.asIntN(bytes.length * 8, value);
}

function uuidText(bytes: Uint8Array): Uint8Array {
  const hex = Buffer.from(bytes).toString("hex");
  return Buffer.from(hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"));
}

function texts(values: readonly Uint8Array[]): Values {
  const offsets = new Uint32Array(values.length + 1);
  for (let i = 0; i < values.length; i++) offsets[i + 1] = offsets[i] + values[i].length;
  const bytes = new Uint8Array(offsets[values.length]);
  for (let i = 0; i < values.length; i++) bytes.set(values[i], offsets[i]);
  return { kind: "text", offsets, bytes };
}

/** PLAIN texts: each a u32 length and its bytes. hyparquet would make an object for each. */
function plainTexts(view: DataView, start: number, count: number): Values {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
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

// ----------------------------------------------------------------------------------------- pages to a column

/** The codes of all pages, in an array with a place for each of `rows` rows. */
function joinCodes(pages: readonly { values: Codes }[], rows: number): Uint32Array {
  if (pages.length === 1 && pages[0].values.codes.length === rows) return pages[0].values.codes;
  const joined = new Uint32Array(rows);
  let at = 0;
  for (const { values } of pages) {
    joined.set(values.codes, at);
    at += values.codes.length;
  }
  return joined;
}

/** The values of all pages, in arrays with a place for each of `rows` rows; codes are looked up. */
function joinValues(pages: readonly Page[], rows: number, dictionary: Values | undefined): Values {
  const parts = pages.map(({ values }) =>
    values.kind === "codes" ? entriesAt(values.codes, dictionary) : values,
  );
  if (parts.length === 1 && lengthOf(parts[0]) === rows) return parts[0];
  const { kind } = parts[0];
  let at = 0;
  if (kind === "text") return joinTexts(parts as Extract<Values, { kind: "text" }>[], rows);
  if (kind === "wide") {
    const values = new Array<bigint>(rows).fill(0n);
    for (const part of parts) for (const value of (part as { values: bigint[] }).values) values[at++] = value;
    return { kind, values };
  }
  const fill = <T extends { set(from: T, at: number): void }>(joined: T): T => {
    for (const part of parts) {
      joined.set((part as unknown as { values: T }).values, at);
      at += lengthOf(part);
    }
    return joined;
  };
  if (kind === "f64") return { kind, values: fill(new Float64Array(rows)) };
  if (kind === "i64") return { kind, values: fill(new BigInt64Array(rows)) };
  return { kind: "bool", values: fill(new Uint8Array(rows)) };
}

function joinTexts(parts: readonly Extract<Values, { kind: "text" }>[], rows: number): Values {
  const total = parts.reduce((sum, part) => sum + part.bytes.length, 0);
  if (total >= 2 ** 32)
    throw new HallelujahError("column-overflow", "the texts of one row group exceed 4 GiB");
  const offsets = new Uint32Array(rows + 1);
  const bytes = new Uint8Array(total);
  let row = 0;
  let end = 0;
  for (const part of parts) {
    bytes.set(part.bytes, end);
    for (let i = 1; i < part.offsets.length; i++) offsets[row + i] = end + part.offsets[i];
    row += part.offsets.length - 1;
    end += part.bytes.length;
  }
  return { kind: "text", offsets, bytes };
}

function entriesAt(codes: Uint32Array, dictionary: Values | undefined): Values {
  if (dictionary === undefined) throw new Error("a value refers to a missing dictionary");
  if (dictionary.kind === "text")
    return { kind: "text", ...gatherTexts(codes, dictionary.offsets, dictionary.bytes) };
  if (dictionary.kind === "wide") {
    return { kind: "wide", values: Array.from(codes, (code) => dictionary.values[code]) };
  }
  return lookUp(codes, undefined, dictionary) as Values;
}

/** Moves `count` values from the front to the rows that have one; 0 elsewhere. */
function spread<T>(values: { [row: number]: T }, count: number, validity: Uint8Array, none = 0 as T): void {
  for (let row = validity.length - 1, from = count - 1; row >= 0; row--) {
    values[row] = validity[row] === 1 ? values[from--] : none;
  }
}

/** The same for i64, by 32-bit halves: a BigInt for each would be slow, an f64 might change the bits. */
function spreadI64(values: BigInt64Array, count: number, validity: Uint8Array): void {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  for (let row = validity.length - 1, from = count - 1; row >= 0; row--) {
    const present = validity[row] === 1;
    halves[row * 2] = present ? halves[from * 2] : 0;
    halves[row * 2 + 1] = present ? halves[from * 2 + 1] : 0;
    if (present) from--;
  }
}

function spreadValues(values: Values, count: number, validity: Uint8Array): void {
  switch (values.kind) {
    case "text": {
      const { offsets } = values;
      for (let row = validity.length, from = count; row > 0; row--) {
        offsets[row] = offsets[from];
        from -= validity[row - 1];
      }
      return;
    }
    case "i64":
      return spreadI64(values.values, count, validity);
    case "wide":
      return spread(values.values, count, validity, 0n);
    default:
      return spread(values.values, count, validity);
  }
}
