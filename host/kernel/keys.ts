/**
 * Keys of tables as entries hold them (assembly/state/key.ts), from what users write: a text as it is, anything else as
 * JSON.
 */
import { HallelujahError } from "../core/errors.ts";

const SIGN = 1n << 63n;
const INTEGER = /^([iu])(8|16|32|64)$/;
const DECIMAL_DIGITS = 6;

/** The bytes of a key: `types` are those of its parts. Throws `key-invalid`. */
export function encodeKey(types: string[], value: unknown): Uint8Array {
  if (types.length === 1) return types[0] === "Text" ? encodeText(value) : word(wordOf(types[0], value));
  if (!Array.isArray(value) || value.length !== types.length)
    throw invalid(value, `an array of ${types.length}: ${types.join(", ")}`);
  return Buffer.concat(types.map((type, i) => encodePart(type, value[i])));
}

/** A key from a URL or a command line: a text as it is, other types as JSON. Throws `key-invalid`. */
export function parseKey(types: string[], text: string): Uint8Array {
  if (types.length === 1 && types[0] === "Text") return encodeText(text);
  if (types.length === 1 && /^(Time|Decimal|[iu]\d+)$/.test(types[0]) && !text.startsWith('"'))
    return encodeKey(types, text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const wanted = types.length === 1 ? `a ${types[0]}` : `[${types.join(", ")}]`;
    throw new HallelujahError("key-invalid", `the key ${text} is no JSON; it has to be ${wanted}`);
  }
  return encodeKey(types, value);
}

function encodeText(value: unknown): Buffer {
  if (typeof value !== "string") throw invalid(value, "a text");
  return Buffer.from(value);
}

/** A part of a tuple, so that bytes sort as parts do. */
function encodePart(type: string, value: unknown): Buffer {
  if (type !== "Text") {
    const bytes = Buffer.alloc(8);
    const raw = wordOf(type, value);
    bytes.writeBigUInt64BE(type.startsWith("u") || type === "bool" ? raw : raw ^ SIGN);
    return bytes;
  }
  const parts: Buffer[] = [];
  for (const byte of encodeText(value)) parts.push(Buffer.from(byte ? [byte] : [0, 0xff]));
  return Buffer.concat([...parts, Buffer.from([0, 1])]);
}

function word(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function wordOf(type: string, value: unknown): bigint {
  if (type === "bool") {
    if (typeof value !== "boolean") throw invalid(value, "true or false");
    return value ? 1n : 0n;
  }
  if (type === "Time") {
    const ms =
      typeof value === "string"
        ? Date.parse(/[zZ]|[+-]\d\d:?\d\d$/.test(value) || !value.includes("T") ? value : `${value}Z`)
        : Number.NaN;
    if (Number.isNaN(ms)) throw invalid(value, "a time, such as 2024-02-29T13:05:00Z");
    return BigInt.asUintN(64, BigInt(ms));
  }
  if (type === "Decimal") return BigInt.asUintN(64, unitsOf(value));
  const [, sign, bits] = INTEGER.exec(type)!;
  const integer = integerOf(value, type);
  const [low, high] =
    sign === "i"
      ? [-(1n << BigInt(Number(bits) - 1)), (1n << BigInt(Number(bits) - 1)) - 1n]
      : [0n, (1n << BigInt(bits)) - 1n];
  if (integer < low || integer > high) throw invalid(value, `an ${type}, from ${low} to ${high}`);
  return BigInt.asUintN(64, integer);
}

function integerOf(value: unknown, type: string): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === "string" && /^-?\d{1,20}$/.test(value)) return BigInt(value);
  throw invalid(value, `an integer (${type})`);
}

/** Millionths. */
function unitsOf(value: unknown): bigint {
  const found = /^(-?)(\d{1,13})(?:\.(\d{1,6}))?$/.exec(String(value));
  if (!found || (typeof value !== "string" && typeof value !== "number"))
    throw invalid(value, `a number of at most ${DECIMAL_DIGITS} digits after the point`);
  const units = BigInt(found[2] + (found[3] ?? "").padEnd(DECIMAL_DIGITS, "0"));
  return found[1] ? -units : units;
}

function invalid(value: unknown, wanted: string): HallelujahError {
  return new HallelujahError("key-invalid", `the key ${JSON.stringify(value)} has to be ${wanted}`);
}
