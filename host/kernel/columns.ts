/**
 * Columns of a file (Parquet, Arrow) as a kernel sees them: the column frame in the input window, its layout and
 * its writer. What a file holds becomes such columns in host/input/fit.ts.
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
 *       6 codes       u32[rows] at data; { u32 address, u32 length } of each text at codes, and at offsets how
 *                     many there are, if codes mean the same for all of a frame, else 0
 *       7 f32, 8 i8, 9 u8, 10 i16, 11 u16, 12 i32, 13 u32, 14 u64: values at data
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

/** Kinds of columns, as assembly/record/kinds.ts has them. Files come as the first six, columns of datasets as all but text and dictionary. */
export const KIND = {
  absent: 0,
  f64: 1,
  i64: 2,
  bool: 3,
  text: 4,
  dictionary: 5,
  codes: 6,
  f32: 7,
  i8: 8,
  u8: 9,
  i16: 10,
  u16: 11,
  i32: 12,
  u32: 13,
  u64: 14,
} as const;

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

/**
 * Writes one column of a frame from `start` on, a multiple of 8, and its descriptor, 8 words that are 0. Returns where it ends.
 * There must be room for it.
 */
export function writeColumn(
  memory: Uint8Array,
  start: number,
  column: Column,
  descriptor: Uint32Array,
): number {
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
