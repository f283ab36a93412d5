/** Columns of an Arrow record batch: what their types hold, and their buffers as the wanted fields take them. */
import type { Batch, DataType } from "@uwdata/flechette";
import { TimeUnit as Units, Type } from "@uwdata/flechette";
import { type Column, type FieldType, rowsOf } from "../kernel/columns.ts";
import type { ColumnType, Raw, TimeUnit } from "./file-column.ts";
import { fitColumn, lookUp } from "./fit.ts";

/** A type's name for people. */
export function labelOf(type: DataType): string {
  if (type.typeId === Type.Dictionary) return `a dictionary of ${labelOf(type.dictionary)}`;
  const name = Object.entries(Type).find(([, id]) => id === type.typeId)?.[0] ?? `type ${type.typeId}`;
  if (type.typeId === Type.Int) return `${type.signed ? "Int" : "Uint"}${type.bitWidth}`;
  return type.typeId === Type.Float ? `Float${16 << type.precision}` : name;
}

/** What a column of this type holds. */
export function typeOf(type: DataType): ColumnType {
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

/** What flechette keeps in a batch beside what its base class declares. */
type Encoded = Batch<unknown> & {
  dictionary: { data: readonly Batch<unknown>[] };
  view(row: number): Uint8Array;
};

/** A column of one batch, as the wanted field takes it. */
export function readColumn(batch: Batch<unknown>, wish: FieldType, where: string): Column {
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
      if (!(type.stride > 0)) throw new Error(`values of ${type.stride} bytes each`);
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
