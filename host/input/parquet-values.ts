/** The values of a Parquet page as typed arrays, by the column's physical and logical type. */
import type { ColumnMetaData } from "hyparquet";
import { parseFloat16 } from "hyparquet/src/convert.js";
import { byteStreamSplit } from "hyparquet/src/encoding.js";
import { readPlain } from "hyparquet/src/plain.js";
import type { FieldWish } from "../kernel/columns.ts";
import { unsupported } from "./columnar.ts";
import type { ColumnType, FileColumn, Raw } from "./file-column.ts";
import { type Cursor, deltaTexts, plainTexts, readRuns, unpackDeltas } from "./parquet-encodings.ts";
import type { Element } from "./parquet-schema.ts";

/** A column of one row group, and what is to become of it. */
export type Chunk = {
  bytes: Buffer;
  rows: number;
  meta: ColumnMetaData;
  element: Element;
  column: FileColumn;
  wish: FieldWish;
  where: string;
};

/** Codes of a dictionary. */
export type Codes = { kind: "codes"; codes: Uint32Array };

/** Decoded values; `wide` are decimals of more than 64 bits. */
export type Values = Exclude<Raw, { kind: "absent" | "dictionary" }>;

/** How many values there are. */
export function lengthOf(values: Values | Codes): number {
  if (values.kind === "codes") return values.codes.length;
  return values.kind === "text" ? values.offsets.length - 1 : values.values.length;
}

/** Decodes `count` values of a page. The result's kind depends on the column alone (see `emptyOf`). */
export function readValues(chunk: Chunk, cursor: Cursor, encoding: string, count: number): Values {
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

/** No values, of the kind that all pages of this column decode to. */
export function emptyOf({ element, column }: Chunk): Values {
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
