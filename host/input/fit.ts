/** From what a column of a file holds to the column that a field of the record class wants. */
import { HallelujahError } from "../core/errors.ts";
import type { Column, FieldType } from "../kernel/columns.ts";
import { decimalText, formatted } from "./as-text.ts";
import type { ColumnType, Raw, TimeUnit } from "./file-column.ts";

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
