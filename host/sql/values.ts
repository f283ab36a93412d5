/** Values of SQL: 64-bit integers that do not overflow in silence, texts and times as they are written. */
import type { SqlType, Value } from "./expression.ts";

export const DAY_MS = 86_400_000;
export const MILLION = 1_000_000n;

/** An operation that has no answer, e.g. an integer beyond 64 bits. */
export class ValueError extends Error {}

/** The integer, if 64 bits hold it. */
export function check64(value: bigint): bigint {
  if (BigInt.asIntN(64, value) !== value) throw new ValueError(`${value} is larger than 64 bits hold`);
  return value;
}

/** The nearest integer, to the even one if two are as near. */
export function roundToEven(value: number): bigint {
  if (!(Math.abs(value) < 2 ** 63)) throw new ValueError(`${value} is larger than 64 bits hold`);
  const down = Math.floor(value);
  const rest = value - down;
  const odd = rest === 0.5 && down % 2 !== 0;
  return BigInt(rest > 0.5 || odd ? down + 1 : down);
}

/** Halves go away from zero. */
export function roundAway(value: number): number {
  const whole = Math.trunc(value);
  return Math.abs(value - whole) >= 0.5 ? whole + Math.sign(value) : whole;
}

const TIME =
  /^\s*(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?)?\s*$/;

/** Milliseconds of `2024-02-29`, `2024-02-29 13:05`, `2024-02-29T13:05:00.5+02:00`; undefined if it is no time. */
export function parseTime(text: string): number | undefined {
  const found = TIME.exec(text);
  if (!found) return undefined;
  const [, year, month, day, hour = "0", minute = "0", second = "0", fraction = "", zone = "Z"] = found;
  const date = Date.parse(`${year}-${month}-${day}T00:00:00Z`);
  if (Number.isNaN(date) || new Date(date).getUTCDate() !== Number(day)) return undefined;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const ms = Number(fraction.padEnd(3, "0").slice(0, 3));
  const offset = /^z$/i.test(zone)
    ? 0
    : Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(":", ""));
  const minutes = Number(hour) * 60 + Number(minute) + (zone.startsWith("-") ? offset : -offset);
  return date + minutes * 60_000 + Number(second) * 1000 + ms;
}

/** The decimal that is written, in millionths; undefined if it is none, or has more digits. */
export function parseDecimal(text: string): bigint | undefined {
  const found = /^\s*([+-]?)(\d{1,13})(?:\.(\d{0,6})0*)?\s*$/.exec(text);
  if (!found) return undefined;
  const units = BigInt(found[2] + (found[3] ?? "").padEnd(6, "0"));
  return found[1] === "-" ? -units : units;
}

/** The value that a text of a query means where another type is wanted; undefined if it means none. */
export function parseAs(text: string, type: SqlType): Value | undefined {
  switch (type) {
    case "text":
      return text;
    case "integer": {
      const found = /^\s*[+-]?\d{1,19}\s*$/.test(text) ? BigInt(text.trim().replace(/^\+/, "")) : undefined;
      return found !== undefined && BigInt.asIntN(64, found) === found ? found : undefined;
    }
    case "float": {
      const number = /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(text) ? Number(text) : Number.NaN;
      return Number.isNaN(number) ? undefined : number;
    }
    case "decimal":
      return parseDecimal(text);
    case "bool":
      return /^\s*(t|true|yes|on|1)\s*$/i.test(text)
        ? true
        : /^\s*(f|false|no|off|0)\s*$/i.test(text)
          ? false
          : undefined;
    case "timestamp":
      return parseTime(text);
    case "date": {
      const ms = parseTime(text);
      return ms === undefined ? undefined : Math.floor(ms / DAY_MS) * DAY_MS;
    }
    default:
      return undefined;
  }
}

/** The value in a row of the engine, where integers and decimals beyond 2^53 are texts. */
export function fromRow(value: unknown, type: SqlType): Value {
  if (value === null || value === undefined) return null;
  if (type === "integer") return BigInt(value as number | string);
  if (type === "decimal") return parseDecimal(plain(String(value))) ?? null;
  if (type === "timestamp" || type === "date") return Date.parse(value as string);
  return value as Value;
}

/** A number without an exponent. */
function plain(text: string): string {
  return /e/i.test(text) ? Number(text).toFixed(6) : text;
}

/** The value as a row shows it: times in ISO 8601, integers and decimals beyond 2^53 as texts, what is no finite number as null. */
export function toRow(value: Value, type: SqlType): unknown {
  if (value === null) return null;
  if (type === "timestamp" || type === "date") return timeText(value as number, type);
  if (type === "decimal") return decimalText(value as bigint);
  if (typeof value === "bigint") return safe(value) ? Number(value) : String(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  return value;
}

function safe(value: bigint): boolean {
  return value <= Number.MAX_SAFE_INTEGER && value >= -Number.MAX_SAFE_INTEGER;
}

function timeText(ms: number, type: SqlType): string | null {
  const year = new Date(ms).getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) return null;
  const text = new Date(ms).toISOString();
  return type === "date" ? text.slice(0, 10) : text;
}

function decimalText(units: bigint): number | string {
  const digits = String(units < 0n ? -units : units).padStart(7, "0");
  const text = `${units < 0n ? "-" : ""}${digits.slice(0, -6)}.${digits.slice(-6)}`.replace(/\.?0+$/, "");
  return safe(units) ? Number(text) : text;
}

/** Order of two values of one type: negative, zero or positive. Texts are in the order of their code points. */
export function compare(a: Exclude<Value, null>, b: Exclude<Value, null>): number {
  if (typeof a === "string" && typeof b === "string") return compareText(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}

function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // Halves of a pair stand for what lies beyond all other units.
    const [wideX, wideY] = [(x & 0xf800) === 0xd800, (y & 0xf800) === 0xd800];
    return wideX === wideY ? x - y : wideX ? 1 : -1;
  }
  return a.length - b.length;
}
