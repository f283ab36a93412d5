/**
 * Arrow IPC files and streams as columns. This file walks the messages, so that a batch is read alone and a
 * large file is never held whole; flechette decodes the schema, the dictionaries and the one batch.
 *
 * ```
 * file     "ARROW1" 0 0 | stream | footer | u32 footer bytes | "ARROW1"
 * stream   messages: schema, then dictionaries and record batches; at the end 0xFFFFFFFF 0 (may be missing)
 * message  0xFFFFFFFF (missing before Arrow 0.15) | u32 metadata bytes | metadata (flatbuffer) | body
 * ```
 *
 * Lists, structs, maps, unions, intervals and run-end encoded columns are listed, but not offered. Bodies may
 * be compressed with zstd; LZ4 is refused with an error.
 */
import { open } from "node:fs/promises";
import * as zlib from "node:zlib";
import type { Batch, DataType } from "@uwdata/flechette";
import {
  CompressionType,
  setCompressionCodec,
  TimeUnit as Units,
  tableFromIPC,
  Type,
} from "@uwdata/flechette";
import { compressors } from "hyparquet-compressors";
import { HallelujahError } from "../core/errors.ts";
import type {
  Column,
  ColumnType,
  FieldType,
  FieldWish,
  FileColumn,
  Raw,
  TimeUnit,
} from "../kernel/columns.ts";
import { fileColumn, findColumn, fitColumn, lookUp, rowsOf } from "../kernel/columns.ts";

/** An Arrow file's schema and where its messages lie; the file is opened anew for each batch. */
export type ArrowFile = {
  path: string;
  bytes: number;
  columns: readonly FileColumn[];
  batches: readonly { rows: number }[];
  /** Private to this module: the messages, and the bytes of those that every batch needs, once read. */
  messages: { schema: Message; dictionaries: Message[]; records: Message[] };
  loaded: Map<Message, Uint8Array>;
};

/** Columns of one record batch, in the order of the wishes. */
export type RecordBatch = { rows: number; columns: Column[] };

type Message = {
  kind: number;
  start: number;
  /** Where its body starts, relative to `start`. */
  body: number;
  end: number;
  /** Of a record batch. */
  rows: number;
  /** Of a record batch: how many of the file's dictionaries it sees. */
  dictionaries: number;
};

const SCHEMA = 1;
const DICTIONARY = 2;
const RECORDS = 3;

/**
 * Reads the schema of an Arrow file or stream and finds its record batches; reads no values.
 * @throws HallelujahError `input-corrupt` when it is no Arrow file, truncated or damaged, `input-unsupported`
 * when it is big-endian; a missing file throws Node's own error
 */
export async function openArrow(path: string): Promise<ArrowFile> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    const messages = await walk(handle, path, size);
    const loaded = new Map<Message, Uint8Array>();
    await load(handle, loaded, [messages.schema]);
    const { schema } = tableFromIPC([loaded.get(messages.schema)!]);
    if (schema.endianness !== 0) throw unsupported(path, "it is big-endian");
    const columns = schema.fields.map(({ name, type }) => fileColumn(name, typeOf(type), labelOf(type)));
    const batches = messages.records.map(({ rows }) => ({ rows }));
    return { path, bytes: size, columns, batches, messages, loaded };
  } catch (error) {
    throw explain(error, path);
  } finally {
    await handle.close();
  }
}

/**
 * Reads the wanted columns of one record batch. Columns are views of the batch where the layouts agree.
 * @throws HallelujahError `column-missing`, `column-type`, `column-unsupported` (before anything is read),
 * `column-value`, `input-corrupt`, `input-unsupported`
 */
export async function readBatch(
  file: ArrowFile,
  index: number,
  wanted: readonly FieldWish[],
): Promise<RecordBatch> {
  const found = wanted.map((wish) => findColumn(file.path, file.columns, wish));
  const record = file.messages.records[index];
  const shared = [file.messages.schema, ...file.messages.dictionaries.slice(0, record.dictionaries)];
  const handle = await open(file.path, "r");
  try {
    await load(handle, file.loaded, shared);
    const parts = [...shared.map((message) => file.loaded.get(message)!), await readMessage(handle, record)];
    const options = { useBigInt: true, useBigIntTimestamp: true, useDecimalInt: true };
    const table = tableFromIPC(parts, options);
    const columns = found.map((column, field): Column => {
      if (column === undefined) return { kind: "absent" };
      const where = `${file.path}: column "${column.name}"`;
      const batch = table.getChildAt(file.columns.indexOf(column)).data[0] as Batch<unknown>;
      if (batch.length !== record.rows) throw new Error(`column "${column.name}" has ${batch.length} rows`);
      return readColumn(batch, wanted[field].type, where);
    });
    return { rows: record.rows, columns };
  } catch (error) {
    throw explain(error, `${file.path}: record batch ${index}`);
  } finally {
    await handle.close();
  }
}

// -------------------------------------------------------------------------------------------------- messages

type File = Awaited<ReturnType<typeof open>>;

const MAGIC = "ARROW1";
/** Read at once for a message's metadata; longer metadata takes a second read. */
const METADATA_READ = 4_096;

async function walk(file: File, path: string, size: number): Promise<ArrowFile["messages"]> {
  const head = await readAt(file, 0, Math.min(size, 8));
  const isFile = head.subarray(0, 6).toString("latin1") === MAGIC;
  let end = size;
  if (isFile) {
    const tail = await readAt(file, Math.max(size - 10, 0), size);
    if (tail.subarray(4).toString("latin1") !== MAGIC)
      throw corrupt(path, `it does not end with "${MAGIC}": truncated`);
    end = size - 10 - tail.readUInt32LE(0);
  }
  const dictionaries: Message[] = [];
  const records: Message[] = [];
  let schema: Message | undefined;
  for (let at = isFile ? 8 : 0; at < end; ) {
    const message = await readHeader(file, at, end);
    if (message === undefined) break;
    if (schema === undefined && message.kind !== SCHEMA) break;
    if (message.kind === SCHEMA) schema ??= message;
    if (message.kind === DICTIONARY) dictionaries.push(message);
    if (message.kind === RECORDS) records.push({ ...message, dictionaries: dictionaries.length });
    at = message.end;
  }
  if (schema === undefined)
    throw corrupt(path, "it does not start with an Arrow schema: it is no Arrow IPC file");
  // A file's dictionaries hold for all of its batches, wherever they lie; a stream's for those that follow.
  if (isFile) for (const record of records) record.dictionaries = dictionaries.length;
  return { schema, dictionaries, records };
}

/** The message at `start`; undefined at the mark that ends the stream. */
async function readHeader(file: File, start: number, limit: number): Promise<Message | undefined> {
  let bytes = await readAt(file, start, Math.min(start + METADATA_READ, limit));
  const prefix = bytes.readUInt32LE(0) === 0xffffffff ? 8 : 4;
  const length = bytes.readUInt32LE(prefix - 4);
  if (length === 0) return undefined;
  const body = prefix + length;
  if (start + body > limit) throw new Error(`a message at byte ${start} exceeds the file`);
  if (body > bytes.length) bytes = await readAt(file, start, start + body);
  const view = new DataView(bytes.buffer, bytes.byteOffset + prefix, length);
  const message = tableAt(view, 0);
  const kind = message(6, (at) => view.getUint8(at)) ?? 0;
  const header = message(8, (at) => at) ?? 0;
  const bodyBytes = message(10, (at) => Number(view.getBigInt64(at, true))) ?? 0;
  const end = start + body + bodyBytes;
  if (!(bodyBytes >= 0 && end <= limit))
    throw new Error(`the body of a message at byte ${start} exceeds the file`);
  if (kind === SCHEMA) checkFields(view, tableAt(view, header), 4);
  if (kind === DICTIONARY) {
    const data = tableAt(view, header)(6, (at) => at);
    if (data !== undefined) checkBatch(view, data, bodyBytes);
  }
  const rows = kind === RECORDS ? checkBatch(view, header) : 0;
  return { kind, start, body, end, rows, dictionaries: 0 };
}

type Table = <T>(slot: number, read: (at: number) => T) => T | undefined;

/** Checks a record batch's counts, which flechette would make arrays of; gives its rows. */
function checkBatch(view: DataView, at: number, dictionaryBytes?: number): number {
  const batch = tableAt(view, at);
  const rows = batch(4, (place) => Number(view.getBigInt64(place, true))) ?? 0;
  if (!(rows >= 0 && rows < 2 ** 31)) throw new Error(`a record batch of ${rows} rows`);
  const [nodes, count] = vector(view, batch, 6, 16);
  vector(view, batch, 8, 16);
  vector(view, batch, 12, 8);
  if (dictionaryBytes === undefined) return rows;
  // flechette makes a value of each entry; a bit is the least that one takes when nothing is compressed
  const most = batch(10, () => true) ? 2 ** 26 : dictionaryBytes * 8;
  for (let node = 0; node < count; node++) {
    const entries = Number(view.getBigInt64(nodes + node * 16, true));
    if (!(entries >= 0 && entries <= most)) throw new Error(`a dictionary of ${entries} entries`);
  }
  return rows;
}

/** Checks the counts of a schema's fields (in `slot` of a schema or of a field), and of their children. */
function checkFields(view: DataView, table: Table, slot: number, depth = 0): void {
  if (depth > 64) throw new Error("fields nested more than 64 deep");
  const [fields, count] = vector(view, table, slot, 4);
  for (let index = 0; index < count; index++) {
    const field = tableAt(view, fields + index * 4);
    vector(view, field, 16, 4);
    if (field(8, (at) => view.getUint8(at)) === Type.Union) {
      const type = field(10, (at) => at);
      if (type !== undefined) vector(view, tableAt(view, type), 6, 4);
    }
    checkFields(view, field, 14, depth + 1);
  }
}

/** Where the elements of a vector lie, and how many: within the metadata. */
function vector(view: DataView, table: Table, slot: number, stride: number): [number, number] {
  const at = table(slot, (place) => place);
  if (at === undefined) return [0, 0];
  const base = at + view.getUint32(at, true);
  const count = view.getUint32(base, true);
  if (base + 4 + count * stride > view.byteLength)
    throw new Error(`a list of ${count} elements in the metadata`);
  return [base + 4, count];
}

/** Reads fields of the flatbuffer table that the offset at `at` points to, each named by its vtable slot. */
function tableAt(view: DataView, at: number): Table {
  const table = at + view.getUint32(at, true);
  const vtable = table - view.getInt32(table, true);
  const slots = view.getUint16(vtable, true);
  return (slot, read) => {
    const offset = slot < slots ? view.getUint16(vtable + slot, true) : 0;
    return offset === 0 ? undefined : read(table + offset);
  };
}

async function load(
  file: File,
  loaded: Map<Message, Uint8Array>,
  messages: readonly Message[],
): Promise<void> {
  for (const message of messages)
    if (!loaded.has(message)) loaded.set(message, await readMessage(file, message));
}

/** The bytes of a message, placed so that its body is aligned to 8: flechette makes typed arrays over it. */
async function readMessage(file: File, { start, body, end }: Message): Promise<Uint8Array> {
  return readAt(file, start, end, (8 - (body % 8)) % 8);
}

async function readAt(file: File, start: number, end: number, pad = 0): Promise<Buffer> {
  const bytes = Buffer.from(new ArrayBuffer(end - start + pad), pad);
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

function explain(error: unknown, where: string): unknown {
  if (error instanceof HallelujahError) return error;
  const { message } = error as Error;
  if ("syscall" in (error as object)) return error;
  const options = { cause: error };
  if (message.startsWith("Missing compression codec")) {
    const advice = "it is compressed with LZ4, which cannot be read; write it with zstd or uncompressed";
    return new HallelujahError("input-unsupported", `${where}: ${advice}`, options);
  }
  return new HallelujahError("input-corrupt", `${where} is damaged (${message}); get the file anew`, options);
}

// ----------------------------------------------------------------------------------------------- compression

const native = zlib as {
  zstdDecompressSync?: (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
};
const zstd = native.zstdDecompressSync;

setCompressionCodec(CompressionType.ZSTD, {
  decode(bytes, length) {
    const options = { maxOutputLength: Math.max(length, 1) };
    const decoded = zstd === undefined ? compressors.ZSTD!(bytes, length) : zstd(bytes, options);
    if (decoded.length !== length)
      throw new Error(`a buffer of ${decoded.length} bytes instead of ${length}`);
    // flechette makes typed arrays over it
    return decoded.byteOffset % 8 === 0 ? decoded : Uint8Array.from(decoded);
  },
  encode() {
    throw new TypeError("this codec only decodes");
  },
});

// ----------------------------------------------------------------------------------------------------- types

function labelOf(type: DataType): string {
  if (type.typeId === Type.Dictionary) return `a dictionary of ${labelOf(type.dictionary)}`;
  const name = Object.entries(Type).find(([, id]) => id === type.typeId)?.[0] ?? `type ${type.typeId}`;
  if (type.typeId === Type.Int) return `${type.signed ? "Int" : "Uint"}${type.bitWidth}`;
  return type.typeId === Type.Float ? `Float${16 << type.precision}` : name;
}

function typeOf(type: DataType): ColumnType {
  switch (type.typeId) {
    case Type.Dictionary:
      return typeOf(type.dictionary);
    case Type.Null:
      return { is: "nothing" };
    case Type.Int:
      return { is: "integer", unsigned: !type.signed };
    case Type.Float:
      return { is: "float", single: type.precision < 2 };
    case Type.Bool:
      return { is: "bool" };
    case Type.Decimal:
      return { is: "decimal", scale: type.scale };
    case Type.Date:
      return { is: "time", unit: type.unit === 0 ? "day" : "ms" };
    case Type.Timestamp:
      return { is: "time", unit: unitOf(type.unit) };
    case Type.Time:
      return { is: "clock", unit: unitOf(type.unit) };
    case Type.Utf8:
    case Type.LargeUtf8:
    case Type.Utf8View:
    case Type.Binary:
    case Type.LargeBinary:
    case Type.BinaryView:
    case Type.FixedSizeBinary:
      return { is: "text" };
    default:
      return { is: "unsupported", why: "there is no field type for it; flatten or convert the column" };
  }
}

function unitOf(unit: number): TimeUnit {
  if (unit === Units.SECOND) return "s";
  if (unit === Units.MILLISECOND) return "ms";
  return unit === Units.MICROSECOND ? "us" : "ns";
}

// ---------------------------------------------------------------------------------------- batches to columns

/** What flechette keeps in a batch beside what its base class declares. */
type Encoded = Batch<unknown> & {
  dictionary: { data: readonly Batch<unknown>[] };
  view(row: number): Uint8Array;
};

function readColumn(batch: Batch<unknown>, wish: FieldType, where: string): Column {
  const { type } = batch;
  const validity = validityOf(batch);
  if (type.typeId !== Type.Dictionary) {
    const raw = rawOf(batch, validity);
    return fitColumn(validity === undefined ? raw : { ...raw, validity }, typeOf(type), wish, where);
  }
  const entries = joined((batch as Encoded).dictionary.data.map((part) => readColumn(part, wish, where)));
  return lookUp(codesOf(batch, validity, entries.rows), validity, entries.column);
}

/** Arrow's bitmap as a byte per row; undefined when no value is missing. */
function validityOf({ length, nullCount, validity: bitmap }: Batch<unknown>): Uint8Array | undefined {
  if (!nullCount || !bitmap?.length) return undefined;
  return bits(bitmap, length);
}

function bits(bitmap: Uint8Array, rows: number): Uint8Array {
  if (bitmap.length * 8 < rows) throw new Error("a bitmap is shorter than its column");
  const bytes = new Uint8Array(rows);
  for (let row = 0; row < rows; row++) bytes[row] = (bitmap[row >> 3] >> (row & 7)) & 1;
  return bytes;
}

/** Codes below `entries`; 0 where the value is missing, since Arrow leaves anything there. */
function codesOf(batch: Batch<unknown>, validity: Uint8Array | undefined, entries: number): Uint32Array {
  const values = needed(batch) as Int32Array | BigInt64Array;
  const codes = new Uint32Array(batch.length);
  for (let row = 0; row < codes.length; row++) {
    if (validity !== undefined && validity[row] === 0) continue;
    const code = Number(values[row]);
    if (!(code >= 0 && code < entries)) throw new Error(`a code of ${code} in a dictionary of ${entries}`);
    codes[row] = code;
  }
  return codes;
}

function needed({ values, length }: Batch<unknown>): ArrayBufferView & ArrayLike<unknown> {
  if (values.length < length) throw new Error(`a buffer holds ${values.length} values of ${length}`);
  return values;
}

function checkBytes({ values, length }: Batch<unknown>, width: number): void {
  if (values.byteLength < length * width)
    throw new Error(`a buffer holds ${values.byteLength} bytes of ${length * width}`);
}

function rawOf(batch: Batch<unknown>, validity: Uint8Array | undefined): Raw {
  const { type, length: rows } = batch;
  switch (type.typeId) {
    case Type.Null:
      return { kind: "absent" };
    case Type.Bool:
      return { kind: "bool", values: bits(batch.values as Uint8Array, rows) };
    case Type.Float:
      return { kind: "f64", values: floats(batch) };
    case Type.Decimal:
      if (type.bitWidth <= 64) return { kind: "i64", values: integers(batch) };
      checkBytes(batch, type.bitWidth / 8);
      return { kind: "wide", values: Array.from({ length: rows }, (_, row) => batch.value(row) as bigint) };
    case Type.Utf8:
    case Type.Binary:
    case Type.LargeUtf8:
    case Type.LargeBinary:
      return slices(batch);
    case Type.Utf8View:
    case Type.BinaryView:
      checkBytes(batch, 16);
      return texts(rows, (row) => (validity?.[row] === 0 ? EMPTY : (batch as Encoded).view(row)));
    case Type.FixedSizeBinary:
      checkBytes(batch, type.stride);
      return texts(rows, (row) => batch.value(row) as Uint8Array);
    default:
      return { kind: "i64", values: integers(batch) };
  }
}

const EMPTY = new Uint8Array(0);

function floats(batch: Batch<unknown>): Float64Array {
  const values = needed(batch);
  if (values instanceof Float64Array) return values.subarray(0, batch.length);
  if (values instanceof Float32Array) return Float64Array.from(values.subarray(0, batch.length));
  return Float64Array.from({ length: batch.length }, (_, row) => batch.value(row) as number);
}

function integers(batch: Batch<unknown>): BigInt64Array {
  const values = needed(batch);
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    return new BigInt64Array(values.buffer, values.byteOffset, batch.length);
  }
  const narrow = values as Int32Array | Uint32Array;
  const result = new BigInt64Array(batch.length);
  const halves = new Int32Array(result.buffer);
  for (let row = 0; row < batch.length; row++) {
    halves[row * 2] = narrow[row];
    halves[row * 2 + 1] = narrow[row] < 0 ? -1 : 0;
  }
  return result;
}

/** Texts by offsets, as they lie in the batch. */
function slices(batch: Batch<unknown>): Raw {
  const bytes = batch.values as Uint8Array;
  const rows = batch.length;
  if (rows === 0) return { kind: "text", offsets: new Uint32Array(1), bytes };
  const given = batch.offsets as Int32Array | BigInt64Array;
  if (given.length <= rows) throw new Error("a text column has too few offsets");
  if (bytes.length >= 2 ** 32) throw new Error("a text column of more than 4 GiB in one batch");
  const offsets =
    given instanceof Int32Array
      ? new Uint32Array(given.buffer, given.byteOffset, rows + 1)
      : Uint32Array.from(given.subarray(0, rows + 1), Number);
  let ordered = offsets[rows] <= bytes.length;
  for (let row = 0; row < rows; row++) ordered &&= offsets[row] <= offsets[row + 1];
  if (!ordered) throw new Error("the offsets of a text column are wrong");
  return { kind: "text", offsets, bytes };
}

function texts(rows: number, at: (row: number) => Uint8Array): Raw {
  const parts = Array.from({ length: rows }, (_, row) => at(row));
  const offsets = new Uint32Array(rows + 1);
  for (let row = 0; row < rows; row++) offsets[row + 1] = offsets[row] + parts[row].length;
  return { kind: "text", offsets, bytes: Buffer.concat(parts) };
}

/** One column of the parts of a dictionary: a stream may add entries to one in later messages. */
function joined(parts: readonly Column[]): { column: Column; rows: number } {
  const rows = parts.map((part) => rowsOf(part) ?? 0);
  const total = rows.reduce((sum, count) => sum + count, 0);
  if (parts.length === 1) return { column: parts[0], rows: total };
  const [first] = parts;
  const starts = rows.map((_, part) => rows.slice(0, part).reduce((sum, count) => sum + count, 0));
  const fill = <T extends { set(from: T, at: number): void }>(target: T, of: (part: Column) => T): T => {
    parts.forEach((part, index) => target.set(of(part), starts[index]));
    return target;
  };
  const missing = parts.some((part) => part.validity !== undefined);
  const validity = missing
    ? fill(new Uint8Array(total), (part) => part.validity ?? new Uint8Array(rowsOf(part) ?? 0).fill(1))
    : undefined;
  return { column: { ...values(), ...(validity && { validity }) }, rows: total };

  function values(): Column {
    switch (first.kind) {
      case "text": {
        const all = parts as Extract<Column, { kind: "text" }>[];
        const text = (entry: number, part: Extract<Column, { kind: "text" }>): Uint8Array =>
          part.bytes.subarray(part.offsets[entry], part.offsets[entry + 1]);
        const list = all.flatMap((part) =>
          Array.from({ length: rowsOf(part) ?? 0 }, (_, entry) => text(entry, part)),
        );
        return texts(list.length, (row) => list[row]) as Column;
      }
      case "i64":
        return {
          kind: "i64",
          values: fill(new BigInt64Array(total), (part) => (part as typeof first).values),
        };
      case "f64":
        return {
          kind: "f64",
          values: fill(new Float64Array(total), (part) => (part as typeof first).values),
        };
      case "bool":
        return { kind: "bool", values: fill(new Uint8Array(total), (part) => (part as typeof first).values) };
      default:
        throw new Error("a dictionary of dictionaries");
    }
  }
}
