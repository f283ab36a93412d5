/**
 * Columns of a file (Parquet, Arrow) as a kernel sees them: the column frame in the input window, and the
 * conversion of what a file holds into what a field of the record class wants.
 *
 * A column frame, little endian; every pointer is an absolute address of the linear memory:
 *
 * ```
 * base    +0  u32 rows
 *         +4  u32 fields
 *         +8  fields x descriptor (32 bytes each), in the order of the record class
 *         ..  areas, each aligned to 8, in the order of the fields: validity, codes, offsets, data
 *         ..  at least 32 readable bytes
 *
 * descriptor      +0 u32 kind      +4 u32 validity   +8 u32 data   +12 u32 offsets
 *                +16 u32 codes    +20 u32 reserved x 3
 *
 * kind  0 absent      every value is missing
 *       1 f64         f64[rows] at data
 *       2 i64         i64[rows] at data; Time in milliseconds since the epoch (UTC), Decimal in millionths
 *       3 bool        u8[rows] at data, 0 or 1
 *       4 text        u32[rows + 1] at offsets, relative to data; UTF-8 bytes at data
 *       5 dictionary  u32[rows] at codes; u32[entries + 1] at offsets, relative to data; UTF-8 bytes at data
 *
 * validity  0 when every value is present, else the address of u8[rows], 1 = present
 * ```
 */
import { HallelujahError } from "../core/errors.ts";

/** Bytes of the frame's header, before the descriptors. */
export const FRAME_HEADER_BYTES = 8;
/** Bytes of one descriptor. */
export const DESCRIPTOR_BYTES = 32;
/** Readable bytes behind a frame, for the kernel's 16-byte loads. */
export const FRAME_SLACK_BYTES = 32;
/** Most rows of one frame. A constant of the format: a frame's cut depends on the data alone. */
export const FRAME_ROWS_MAX = 65_536;

const KIND = { absent: 0, f64: 1, i64: 2, bool: 3, text: 4, dictionary: 5 } as const;

/** Values of one column, one per row; `validity` (a byte per row, 1 = present) only where one is missing. */
export type Column =
  | { kind: "f64"; values: Float64Array; validity?: Uint8Array }
  | { kind: "i64"; values: BigInt64Array; validity?: Uint8Array }
  | { kind: "bool"; values: Uint8Array; validity?: Uint8Array }
  | { kind: "text"; offsets: Uint32Array; bytes: Uint8Array; validity?: Uint8Array }
  | { kind: "dictionary"; codes: Uint32Array; offsets: Uint32Array; bytes: Uint8Array; validity?: Uint8Array }
  | { kind: "absent"; validity?: Uint8Array };

/** What a field of a record class asks of a column. i8..u32 ask for i64 or u64, f32 for f64. */
export type FieldType = "f64" | "i64" | "u64" | "bool" | "text" | "time" | "decimal";
export type FieldWish = { name: string; type: FieldType; optional: boolean };

// ------------------------------------------------------------------------------------------ slices and sizes

/**
 * The rows `from` (inclusive) to `to` (exclusive) of a column. Nothing is copied: the arrays are views, and
 * `offsets` of a sliced text column start where the slice starts (not at 0) within the whole `bytes`.
 */
export function sliceColumn(column: Column, from: number, to: number): Column {
  const part = sliceValues(column, from, to);
  if (column.validity === undefined) return part;
  const validity = column.validity.subarray(from, to);
  return validity.includes(0) ? { ...part, validity } : part;
}

function sliceValues(column: Column, from: number, to: number): Column {
  switch (column.kind) {
    case "absent":
      return { kind: "absent" };
    case "f64":
      return { kind: "f64", values: column.values.subarray(from, to) };
    case "i64":
      return { kind: "i64", values: column.values.subarray(from, to) };
    case "bool":
      return { kind: "bool", values: column.values.subarray(from, to) };
    case "text":
      return { kind: "text", offsets: column.offsets.subarray(from, to + 1), bytes: column.bytes };
    case "dictionary": {
      const { offsets, bytes } = column;
      return { kind: "dictionary", codes: column.codes.subarray(from, to), offsets, bytes };
    }
  }
}

/**
 * The column with a dictionary no longer than its rows: of a longer one only the entries in use are kept, in
 * the order of their first use. So a frame's size goes down with its rows, and a cut is decided by the data.
 */
export function compactDictionary(column: Column): Column {
  if (column.kind !== "dictionary" || column.offsets.length - 1 <= column.codes.length) return column;
  const { codes, offsets, bytes, validity } = column;
  const place = new Map<number, number>();
  const used = codes.map((code, row) => {
    if (validity !== undefined && validity[row] === 0) return 0;
    const at = place.get(code) ?? place.size;
    place.set(code, at);
    return at;
  });
  const entries = gatherTexts(Uint32Array.from(place.keys()), offsets, bytes);
  return { kind: "dictionary", codes: used, ...entries, ...(validity && { validity }) };
}

/** Bytes of a frame of these columns (header and areas, without the slack), each of `rows` rows. */
export function frameBytes(columns: readonly Column[], rows: number): number {
  let total = FRAME_HEADER_BYTES + columns.length * DESCRIPTOR_BYTES;
  for (const column of columns) total += areaBytes(compactDictionary(column), rows);
  return total;
}

function areaBytes(column: Column, rows: number): number {
  const validity = column.validity === undefined ? 0 : align(rows);
  switch (column.kind) {
    case "absent":
      return 0;
    case "f64":
    case "i64":
      return validity + rows * 8;
    case "bool":
      return validity + align(rows);
    case "text":
      return validity + align(column.offsets.length * 4) + align(textBytes(column.offsets));
    case "dictionary":
      return validity + align(rows * 4) + align(column.offsets.length * 4) + align(textBytes(column.offsets));
  }
}

function textBytes(offsets: Uint32Array): number {
  return offsets[offsets.length - 1] - offsets[0];
}

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/**
 * Cuts `rows` rows into frames: at most `rowsMax` rows each, and a frame larger than `capacity` bytes is
 * halved until its parts fit. Depends on the data and on the two constants alone.
 * @param capacity bytes of the input window, slack included
 * @returns ranges `[from, to)` in order, that cover all rows; none if there are no rows
 * @throws HallelujahError `record-too-large` when one row alone does not fit
 */
export function cutFrames(
  columns: readonly Column[],
  rows: number,
  capacity: number,
  rowsMax = FRAME_ROWS_MAX,
): [number, number][] {
  const cuts: [number, number][] = [];
  const halve = (from: number, to: number): void => {
    const slices = columns.map((column) => sliceColumn(column, from, to));
    const bytes = frameBytes(slices, to - from) + FRAME_SLACK_BYTES;
    if (bytes <= capacity) {
      cuts.push([from, to]);
    } else if (to - from === 1) {
      const message =
        `one record takes ${bytes} bytes in the input window, which holds ${capacity}; ` +
        "leave its longest text out of the record class";
      throw new HallelujahError("record-too-large", message);
    } else {
      const middle = from + ((to - from) >>> 1);
      halve(from, middle);
      halve(middle, to);
    }
  };
  for (let from = 0; from < rows; from += rowsMax) halve(from, Math.min(from + rowsMax, rows));
  return cuts;
}

// ------------------------------------------------------------------------------------------------ the writer

/**
 * Writes a frame of `rows` rows into the linear memory.
 * @param memory bytes of the whole memory, from address 0
 * @param base address of the frame, a multiple of 8
 * @param limit address where the input window ends
 * @param columns one per field of the record class, each of `rows` rows
 * @returns the address where the frame ends (before its slack)
 * @throws HallelujahError `frame-too-large` when it does not fit the window; nothing is written then
 */
export function writeFrame(
  memory: Uint8Array,
  base: number,
  limit: number,
  rows: number,
  columns: readonly Column[],
): number {
  if (base % 8 !== 0 || memory.byteOffset % 8 !== 0)
    throw new TypeError("a column frame starts at a multiple of 8");
  const compact = columns.map(compactDictionary);
  const bytes = frameBytes(compact, rows);
  if (base + bytes + FRAME_SLACK_BYTES > Math.min(limit, memory.length)) {
    const message =
      `a frame of ${rows} rows takes ${bytes + FRAME_SLACK_BYTES} bytes; the input window has ` +
      `${Math.min(limit, memory.length) - base}; cut it into smaller frames (cutFrames)`;
    throw new HallelujahError("frame-too-large", message);
  }
  const words = new Uint32Array(memory.buffer, memory.byteOffset + base, frameHeaderWords(columns.length));
  words.fill(0);
  words[0] = rows;
  words[1] = columns.length;
  let end = base + words.byteLength;
  compact.forEach((column, field) => {
    checkRows(column, rows);
    const descriptor = words.subarray(FRAME_HEADER_BYTES / 4 + (field * DESCRIPTOR_BYTES) / 4);
    end = writeColumn(memory, end, column, descriptor);
  });
  return end;
}

function frameHeaderWords(fields: number): number {
  return (FRAME_HEADER_BYTES + fields * DESCRIPTOR_BYTES) / 4;
}

function checkRows(column: Column, rows: number): void {
  const has = rowsOf(column);
  if (has !== undefined && has !== rows) throw new TypeError(`a column of ${has} rows in a frame of ${rows}`);
}

/** Rows of a column; undefined for an absent one, which fits any number of rows. */
export function rowsOf(column: Column): number | undefined {
  if (column.kind === "absent") return undefined;
  if (column.kind === "text") return column.offsets.length - 1;
  return column.kind === "dictionary" ? column.codes.length : column.values.length;
}

function writeColumn(memory: Uint8Array, start: number, column: Column, descriptor: Uint32Array): number {
  let end = start;
  const put = (bytes: Uint8Array): number => {
    const at = end;
    memory.set(bytes, at);
    end += align(bytes.length);
    return at;
  };
  const putOffsets = (offsets: Uint32Array): number => {
    const at = put(bytesOf(offsets));
    const first = offsets[0];
    if (first !== 0) {
      const written = new Uint32Array(memory.buffer, memory.byteOffset + at, offsets.length);
      for (let i = 0; i < written.length; i++) written[i] -= first;
    }
    return at;
  };
  descriptor[0] = KIND[column.kind];
  if (column.kind === "absent") return end;
  if (column.validity !== undefined) descriptor[1] = put(column.validity);
  if (column.kind === "dictionary") descriptor[4] = put(bytesOf(column.codes));
  if (column.kind === "text" || column.kind === "dictionary") {
    const { offsets, bytes } = column;
    descriptor[3] = putOffsets(offsets);
    descriptor[2] = put(bytes.subarray(offsets[0], offsets[offsets.length - 1]));
  } else {
    descriptor[2] = put(bytesOf(column.values));
  }
  return end;
}

function bytesOf(array: Float64Array | BigInt64Array | Uint32Array | Uint8Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

// ----------------------------------------------------------------------------- what a column of a file holds

/** What a column of a file holds, whatever the format. `unsupported` says why it is not offered. */
export type ColumnType =
  | { is: "integer"; unsigned: boolean }
  | { is: "float"; single: boolean }
  | { is: "bool" }
  | { is: "text" }
  | { is: "time"; unit: TimeUnit }
  | { is: "clock"; unit: TimeUnit }
  | { is: "decimal"; scale: number }
  | { is: "nothing" }
  | { is: "unsupported"; why: string };

export type TimeUnit = "day" | "s" | "ms" | "us" | "ns";

/** A column as a file offers it: `label` names its type for people, `serves` the field types it can fill. */
export type FileColumn = { name: string; type: ColumnType; label: string; serves: readonly FieldType[] };

/**
 * Values as a file stores them: integers, times and decimals as i64 in the file's unit (a u64 as its bits);
 * decimals too wide for i64 as bigints (their value at a missing row is 0n).
 */
export type Raw = Column | { kind: "wide"; values: bigint[]; validity?: Uint8Array };

const SERVES: Record<ColumnType["is"], readonly FieldType[]> = {
  integer: ["i64", "u64", "f64", "decimal", "text"],
  float: ["f64", "i64", "u64", "decimal", "text"],
  bool: ["bool", "i64", "u64", "f64", "text"],
  text: ["text"],
  time: ["time", "text"],
  clock: ["text"],
  decimal: ["decimal", "f64", "i64", "u64", "text"],
  nothing: ["f64", "i64", "u64", "bool", "text", "time", "decimal"],
  unsupported: [],
};

export function fileColumn(name: string, type: ColumnType, label: string): FileColumn {
  return { name, type, label, serves: SERVES[type.is] };
}

/**
 * Finds the column that fills a field.
 * @param file name of the file, for the message
 * @returns undefined when the file has no such column and the field is optional
 * @throws HallelujahError `column-missing`, `column-unsupported` or `column-type`, naming file, column and
 * both types
 */
export function findColumn(
  file: string,
  columns: readonly FileColumn[],
  wish: FieldWish,
): FileColumn | undefined {
  const column = columns.find((candidate) => candidate.name === wish.name);
  if (column === undefined) {
    if (wish.optional) return undefined;
    const names = columns.map((candidate) => candidate.name).join(", ");
    throw new HallelujahError(
      "column-missing",
      `${file} has no column "${wish.name}" (it has ${names}); correct the field's name, or make it optional`,
    );
  }
  if (column.type.is === "unsupported") {
    const { why } = column.type;
    const message = `${file}: column "${wish.name}" is ${column.label}, which cannot be read: ${why}`;
    throw new HallelujahError("column-unsupported", message);
  }
  if (column.serves.includes(wish.type)) return column;
  throw new HallelujahError(
    "column-type",
    `${file}: column "${wish.name}" is ${column.label}, but the field wants ${wish.type}; ` +
      `this column can fill ${column.serves.join(", ")}`,
  );
}

// ------------------------------------------------------------------------- from the file's type to a field's

/**
 * Turns values as the file holds them into the column a field wants; `serves` must already allow it.
 * Time is rounded down to a millisecond, a float to the nearest millionth when a Decimal is wanted; nothing
 * else loses digits.
 * @param where file and column, for the message
 * @throws HallelujahError `column-value` when a present value cannot be held by the field's type
 */
export function fitColumn(raw: Raw, type: ColumnType, wish: FieldType, where: string): Column {
  if (raw.kind === "absent" || type.is === "nothing") return { kind: "absent" };
  const fail = (value: unknown, why: string): never => {
    throw new HallelujahError("column-value", `${where}: the value ${value} ${why}`);
  };
  const fitted = fitValues(raw, type, wish, fail);
  return raw.validity === undefined ? fitted : { ...fitted, validity: raw.validity };
}

type Fail = (value: unknown, why: string) => never;

function fitValues(raw: Raw, type: ColumnType, wish: FieldType, fail: Fail): Column {
  if (wish === "text" && raw.kind !== "text" && raw.kind !== "dictionary") return formatted(raw, type);
  const { validity } = raw;
  switch (raw.kind) {
    case "f64":
      if (wish === "i64" || wish === "u64") {
        return { kind: "i64", values: wholeNumbers(raw.values, validity, wish, fail) };
      }
      return wish === "decimal"
        ? { kind: "i64", values: nearestMillionths(raw.values, validity, fail) }
        : raw;
    case "i64":
      return fitI64(raw.values, validity, type, wish, fail);
    case "wide":
      return fitDecimal(raw.values, validity, type, wish, fail);
    default:
      return raw;
  }
}

function fitI64(
  values: BigInt64Array,
  validity: Uint8Array | undefined,
  type: ColumnType,
  wish: FieldType,
  fail: Fail,
): Column {
  if (type.is === "time") return { kind: "i64", values: milliseconds(values, validity, type.unit, fail) };
  if (type.is === "decimal" && (wish !== "decimal" || type.scale > 6)) {
    return fitDecimal(values, validity, type, wish, fail);
  }
  const unsigned = type.is === "integer" && type.unsigned;
  const high = unsigned || wish === "u64" ? firstNegative(values, validity) : -1;
  if (high >= 0 && unsigned !== (wish === "u64")) {
    if (wish === "f64") return { kind: "f64", values: Float64Array.from(values, unsignedNumber) };
    fail(unsigned ? BigInt.asUintN(64, values[high]) : values[high], `does not fit ${wish}`);
  }
  if (wish !== "decimal") return { kind: "i64", values };
  const scale = type.is === "decimal" ? type.scale : 0;
  return { kind: "i64", values: multiplied(values, validity, 10 ** (6 - scale), "as millionths", fail) };
}

function unsignedNumber(value: bigint): number {
  return Number(BigInt.asUintN(64, value));
}

function firstNegative(values: BigInt64Array, validity: Uint8Array | undefined): number {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  for (let row = 0; row < values.length; row++) {
    if (halves[row * 2 + 1] < 0 && (validity === undefined || validity[row] === 1)) return row;
  }
  return -1;
}

function milliseconds(
  values: BigInt64Array,
  validity: Uint8Array | undefined,
  unit: TimeUnit,
  fail: Fail,
): BigInt64Array {
  if (unit === "ms") return values;
  if (unit === "us" || unit === "ns") return floorDivided(values, unit === "us" ? 1_000 : 1_000_000);
  return multiplied(values, validity, unit === "s" ? 1_000 : 86_400_000, "as milliseconds", fail);
}

/**
 * Each value over `divisor` (below 2^21), rounded down. Works on 32-bit halves: reading an element of a
 * BigInt64Array makes an object, and millions of them are the slowest part of reading a file.
 */
function floorDivided(values: BigInt64Array, divisor: number): BigInt64Array {
  const result = new BigInt64Array(values.length);
  const from = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const to = new Int32Array(result.buffer);
  for (let i = 0; i < from.length; i += 2) {
    const high = Math.floor(from[i + 1] / divisor);
    const rest = from[i + 1] - high * divisor; // below 2^21, so that rest * 2^32 + low is exact
    to[i] = Math.floor((rest * 2 ** 32 + (from[i] >>> 0)) / divisor);
    to[i + 1] = high;
  }
  return result;
}

function multiplied(
  values: BigInt64Array,
  validity: Uint8Array | undefined,
  factor: number,
  what: string,
  fail: Fail,
): BigInt64Array {
  const result = new BigInt64Array(values.length);
  const from = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  const to = new Int32Array(result.buffer);
  const exact = Math.floor(2 ** 53 / factor);
  for (let row = 0; row < values.length; row++) {
    if (validity !== undefined && validity[row] === 0) continue;
    const value = from[row * 2 + 1] * 2 ** 32 + (from[row * 2] >>> 0);
    if (value >= -exact && value <= exact) {
      to[row * 2] = value * factor;
      to[row * 2 + 1] = Math.floor((value * factor) / 2 ** 32);
    } else {
      result[row] = checkI64(values[row] * BigInt(factor), values[row], what, fail);
    }
  }
  return result;
}

function checkI64(value: bigint, shown: unknown, what: string, fail: Fail): bigint {
  return BigInt.asIntN(64, value) === value ? value : fail(shown, `does not fit 64 bits ${what}`);
}

function wholeNumbers(
  values: Float64Array,
  validity: Uint8Array | undefined,
  wish: FieldType,
  fail: Fail,
): BigInt64Array {
  const result = new BigInt64Array(values.length);
  const [least, most] = wish === "u64" ? [0, 2 ** 64] : [-(2 ** 63), 2 ** 63];
  for (let row = 0; row < values.length; row++) {
    if (validity !== undefined && validity[row] === 0) continue;
    const value = values[row];
    if (!(Math.trunc(value) === value && value >= least && value < most)) fail(value, `is no ${wish}`);
    result[row] = BigInt.asIntN(64, BigInt(value));
  }
  return result;
}

function nearestMillionths(
  values: Float64Array,
  validity: Uint8Array | undefined,
  fail: Fail,
): BigInt64Array {
  const result = new BigInt64Array(values.length);
  for (let row = 0; row < values.length; row++) {
    if (validity !== undefined && validity[row] === 0) continue;
    const value = Math.round(values[row] * 1e6);
    if (!(value >= -(2 ** 63) && value < 2 ** 63)) fail(values[row], "does not fit 64 bits as millionths");
    result[row] = BigInt(value);
  }
  return result;
}

function fitDecimal(
  values: ArrayLike<bigint>,
  validity: Uint8Array | undefined,
  type: ColumnType,
  wish: FieldType,
  fail: Fail,
): Column {
  const scale = type.is === "decimal" ? type.scale : 0;
  if (wish === "f64") {
    return { kind: "f64", values: Float64Array.from(values, (value) => Number(decimalText(value, scale))) };
  }
  const target = wish === "decimal" ? 6 : 0;
  const up = 10n ** BigInt(Math.max(target - scale, 0));
  const down = 10n ** BigInt(Math.max(scale - target, 0));
  const result = new BigInt64Array(values.length);
  for (let row = 0; row < values.length; row++) {
    if (validity !== undefined && validity[row] === 0) continue;
    const value = values[row];
    const shown = decimalText(value, scale);
    if (value % down !== 0n) fail(shown, `has more than ${target} digits behind the point`);
    const whole = (value / down) * up;
    if (wish === "u64" && (whole < 0n || whole >= 2n ** 64n)) fail(shown, "does not fit u64");
    result[row] = wish === "u64" ? whole : checkI64(whole, shown, `as ${wish}`, fail);
  }
  return { kind: "i64", values: result };
}

// --------------------------------------------------------------------------------------------------- to text

function formatted(raw: Raw, type: ColumnType): Column {
  const show = formatOf(type);
  const values = raw.kind === "absent" || raw.kind === "text" || raw.kind === "dictionary" ? [] : raw.values;
  const offsets = new Uint32Array(values.length + 1);
  const texts: string[] = new Array(values.length);
  for (let row = 0; row < values.length; row++) {
    texts[row] = raw.validity !== undefined && raw.validity[row] === 0 ? "" : show(values[row]);
    offsets[row + 1] = offsets[row] + texts[row].length;
  }
  return { kind: "text", offsets, bytes: Buffer.from(texts.join(""), "latin1") };
}

/** How a value becomes text; the texts are ASCII. */
function formatOf(type: ColumnType): (value: number | bigint) => string {
  switch (type.is) {
    case "bool":
      return (value) => (value === 0 ? "false" : "true");
    case "float":
      return type.single ? (value) => singleText(Number(value)) : String;
    case "integer":
      return type.unsigned ? (value) => String(BigInt.asUintN(64, BigInt(value))) : String;
    case "decimal":
      return (value) => decimalText(BigInt(value), type.scale);
    case "time":
      return (value) => timeText(BigInt(value), type.unit);
    case "clock":
      return (value) => clockText(BigInt(value), type.unit);
    default:
      return String;
  }
}

/** The shortest digits that give the same f32 back. */
function singleText(value: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}

function decimalText(value: bigint, scale: number): string {
  if (scale <= 0) return String(value * 10n ** BigInt(-scale));
  const digits = String(value < 0n ? -value : value).padStart(scale + 1, "0");
  return `${value < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const PER_SECOND = { s: 1n, ms: 1_000n, us: 1_000_000n, ns: 1_000_000_000n } as const;

/** ISO 8601 in UTC, with milliseconds; a date alone for days. Beyond the years of a Date: the number. */
function timeText(value: bigint, unit: TimeUnit): string {
  const perSecond = unit === "day" ? 1n : PER_SECOND[unit];
  const scaled = (unit === "day" ? value * 86_400n : value) * 1_000n;
  const ms = Number(scaled / perSecond - (scaled % perSecond < 0n ? 1n : 0n));
  if (Math.abs(ms) > 8.64e15) return String(value);
  const text = new Date(ms).toISOString();
  return unit === "day" ? text.slice(0, text.indexOf("T")) : text;
}

/** Time of day, `hh:mm:ss` and the unit's digits. */
function clockText(value: bigint, unit: TimeUnit): string {
  const perSecond = unit === "day" ? 1n : PER_SECOND[unit];
  const seconds = Number(value / perSecond);
  const two = (part: number): string => String(Math.floor(part)).padStart(2, "0");
  const digits = String(perSecond).length - 1;
  const rest = digits === 0 ? "" : `.${String(value % perSecond).padStart(digits, "0")}`;
  return `${two(seconds / 3_600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}${rest}`;
}

// ---------------------------------------------------------------------------------------------- dictionaries

/**
 * The column whose row `r` is entry `codes[r]` of `entries`: text stays a dictionary, numbers are looked up.
 * @param codes one per row; at a missing row any code within `entries`, or 0
 */
export function lookUp(codes: Uint32Array, validity: Uint8Array | undefined, entries: Column): Column {
  const present = lookUpValidity(codes, validity, entries.validity);
  const column = lookUpValues(codes, entries);
  return present === undefined ? column : { ...column, validity: present };
}

function lookUpValidity(
  codes: Uint32Array,
  validity: Uint8Array | undefined,
  entries: Uint8Array | undefined,
): Uint8Array | undefined {
  if (entries === undefined) return validity;
  return Uint8Array.from(
    codes,
    (code, row) => (validity === undefined ? 1 : validity[row]) & (entries[code] ?? 0),
  );
}

function lookUpValues(codes: Uint32Array, entries: Column): Column {
  switch (entries.kind) {
    case "absent":
      return { kind: "absent" };
    case "f64": {
      const values = new Float64Array(codes.length);
      for (let row = 0; row < codes.length; row++) values[row] = entries.values[codes[row]];
      return { kind: "f64", values };
    }
    case "bool": {
      const values = new Uint8Array(codes.length);
      for (let row = 0; row < codes.length; row++) values[row] = entries.values[codes[row]];
      return { kind: "bool", values };
    }
    case "i64": {
      const values = new BigInt64Array(codes.length);
      const from = new Int32Array(
        entries.values.buffer,
        entries.values.byteOffset,
        entries.values.length * 2,
      );
      const to = new Int32Array(values.buffer);
      for (let row = 0; row < codes.length; row++) {
        to[row * 2] = from[codes[row] * 2];
        to[row * 2 + 1] = from[codes[row] * 2 + 1];
      }
      return { kind: "i64", values };
    }
    case "text": {
      const { bytes } = entries;
      const offsets = entries.offsets.length > 1 ? entries.offsets : new Uint32Array(2);
      return { kind: "dictionary", codes, offsets, bytes };
    }
    case "dictionary": {
      const inner = new Uint32Array(codes.length);
      for (let row = 0; row < codes.length; row++) inner[row] = entries.codes[codes[row]];
      return { kind: "dictionary", codes: inner, offsets: entries.offsets, bytes: entries.bytes };
    }
  }
}

/** The texts at `codes`, one after the other. */
export function gatherTexts(
  codes: Uint32Array,
  offsets: Uint32Array,
  bytes: Uint8Array,
): { offsets: Uint32Array; bytes: Uint8Array } {
  const ends = new Uint32Array(codes.length + 1);
  let total = 0;
  for (let i = 0; i < codes.length; i++) {
    total += offsets[codes[i] + 1] - offsets[codes[i]];
    ends[i + 1] = total;
  }
  if (total >= 2 ** 32) throw new HallelujahError("column-overflow", "the texts of one column exceed 4 GiB");
  const gathered = new Uint8Array(total);
  for (let i = 0; i < codes.length; i++) {
    gathered.set(bytes.subarray(offsets[codes[i]], offsets[codes[i] + 1]), ends[i]);
  }
  return { offsets: ends, bytes: gathered };
}
