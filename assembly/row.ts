/**
 * Rendering: rows of tables and emitted records as NDJSON or CSV, written where `cursor` points.
 * A row's aggregate calls `single()` once if it is one value, else `part(label)` before each of its values and
 * `close()` at the end; so one `render` serves both formats.
 */
import { CSV } from "./abi";
import { formatDecimal, formatF64, formatI64, formatU64 } from "./number/format";

/** Next byte to write. */
export let cursor: usize = 0;
export let format: u32 = 0;
let delimiter: u8 = 0x2c;

export function setCursor(at: usize): void {
  cursor = at;
}

export function setFormat(to: u32, separator: u8): void {
  format = to;
  delimiter = separator;
}


@inline export function put(byte: u8): void {
  store<u8>(cursor++, byte);
}


@inline export function raw(ptr: usize, length: usize): void {
  memory.copy(cursor, ptr, length);
  cursor += length;
}

/** Before the name and value of a state field: `label` holds `,"name":`. */
export function label(ptr: usize, length: usize): void {
  if (format != CSV) raw(ptr, length);
}

/** Before the value of an aggregate that is a single value. */
@inline export function single(): void {
  if (format == CSV) put(delimiter);
}

/** Before one of several values; `label` holds `{"count":` for the first, `,"sum":` for the others. */
export function part(ptr: usize, length: usize): void {
  if (format == CSV) put(delimiter);
  else raw(ptr, length);
}

/** After the last of several values. */
@inline export function close(): void {
  if (format != CSV) put(0x7d);
}


@inline export function separator(): void {
  put(format == CSV ? delimiter : 0x2c);
}

export function nothing(): void {
  if (format == CSV) return;
  store<u32>(cursor, 0x6c6c756e); // null
  cursor += 4;
}

/** A float as JavaScript prints it; null (nothing in CSV) if it is no finite number. */
export function float(x: f64): void {
  if (x - x != 0) nothing();
  else cursor = formatF64(cursor, x);
}

/** An unsigned integer; beyond 2^53 as a JSON string, so that no reader rounds it. */
export function unsigned(x: u64): void {
  const big = format != CSV && x > 0x1fffffffffffff;
  if (big) put(0x22);
  cursor = formatU64(cursor, x);
  if (big) put(0x22);
}

export function signed(x: i64): void {
  const big = format != CSV && (x > 0x1fffffffffffff || x < -0x1fffffffffffff);
  if (big) put(0x22);
  cursor = formatI64(cursor, x);
  if (big) put(0x22);
}

export function boolean(x: bool): void {
  if (x) {
    store<u32>(cursor, 0x65757274);
    cursor += 4;
  } else {
    store<u32>(cursor, 0x736c6166);
    store<u8>(cursor, 0x65, 4);
    cursor += 5;
  }
}

/** A decimal of millionths; a JSON string if a reader would round it. */
export function decimal(units: i64): void {
  const big = format != CSV && (units > 0x1fffffffffffff || units < -0x1fffffffffffff);
  if (big) put(0x22);
  cursor = formatDecimal(cursor, units, 6);
  if (big) put(0x22);
}

/** Text, escaped as the format asks. Bytes that are no UTF-8 become U+FFFD. */
export function text(ptr: usize, length: u32): void {
  if (format == CSV) csvText(ptr, length);
  else jsonText(ptr, length);
}

/** Whether 16 bytes hold nothing that JSON escapes and nothing outside ASCII. */
@inline function plain(p: usize): i32 {
  const v = v128.load(p);
  const odd = v128.or(
    v128.or(i8x16.eq(v, i8x16.splat(0x22)), i8x16.eq(v, i8x16.splat(0x5c))),
    i8x16.lt_s(v, i8x16.splat(0x20)), // signed: also everything above 0x7f
  );
  return i8x16.bitmask(odd);
}

function jsonText(ptr: usize, length: u32): void {
  put(0x22);
  const end = ptr + length;
  let p = ptr;
  while (p < end) {
    const odd = plain(p);
    const run = min<usize>(odd ? <usize>ctz(odd) : 16, end - p);
    v128.store(cursor, v128.load(p));
    cursor += run;
    p += run;
    if (p >= end) break;
    if (run == 16) continue;
    const byte = load<u8>(p);
    if (byte >= 0x80) p = unicode(p, end);
    else {
      escape(byte);
      p++;
    }
  }
  put(0x22);
}

function escape(byte: u8): void {
  put(0x5c);
  if (byte == 0x22 || byte == 0x5c) put(byte);
  else if (byte == 0x0a) put(0x6e);
  else if (byte == 0x0d) put(0x72);
  else if (byte == 0x09) put(0x74);
  else if (byte == 0x08) put(0x62);
  else if (byte == 0x0c) put(0x66);
  else {
    store<u32>(cursor, 0x30303075); // u000
    store<u8>(cursor, 0x30 + (byte >> 4), 3);
    store<u8>(cursor, hex(byte & 15), 4);
    cursor += 5;
  }
}


@inline function hex(digit: u8): u8 {
  return digit < 10 ? 0x30 + digit : 0x57 + digit;
}

/** Copies one code point, or writes U+FFFD for bytes that are none; returns where the next one starts. */
function unicode(p: usize, end: usize): usize {
  const size = <usize>codePointBytes(p, end);
  if (!size) {
    store<u16>(cursor, 0xbfef);
    store<u8>(cursor, 0xbd, 2);
    cursor += 3;
    return p + 1;
  }
  store<u32>(cursor, load<u32>(p));
  cursor += size;
  return p + size;
}

/** Bytes of the well-formed UTF-8 sequence at `p` (Unicode 15, table 3-7), 0 if there is none. */
export function codePointBytes(p: usize, end: usize): u32 {
  const first = <u32>load<u8>(p);
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  const left = <u32>(end - p);
  const second = <u32>load<u8>(p, 1);
  if (first < 0xe0) return left >= 2 && second >> 6 == 2 ? 2 : 0;
  const third = <u32>load<u8>(p, 2);
  if (first < 0xf0) {
    const low: u32 = first == 0xe0 ? 0xa0 : 0x80;
    const high: u32 = first == 0xed ? 0x9f : 0xbf;
    return left >= 3 && second >= low && second <= high && third >> 6 == 2 ? 3 : 0;
  }
  if (first > 0xf4) return 0;
  const low: u32 = first == 0xf0 ? 0x90 : 0x80;
  const high: u32 = first == 0xf4 ? 0x8f : 0xbf;
  const fourth = <u32>load<u8>(p, 3);
  return left >= 4 && second >= low && second <= high && third >> 6 == 2 && fourth >> 6 == 2 ? 4 : 0;
}

/** RFC 4180: quoted where it holds the delimiter, a quote or a line break. */
function csvText(ptr: usize, length: u32): void {
  let quotes: u32 = 0;
  let odd = false;
  let wide = false;
  for (let i: usize = 0; i < <usize>length; i++) {
    const byte = load<u8>(ptr + i);
    if (byte == 0x22) quotes++;
    else if (byte == delimiter || byte == 0x0a || byte == 0x0d) odd = true;
    else if (byte >= 0x80) wide = true;
  }
  if (!quotes && !odd && !wide) {
    raw(ptr, length);
    return;
  }
  const quoted = quotes > 0 || odd;
  if (quoted) put(0x22);
  const end = ptr + length;
  let p = ptr;
  while (p < end) {
    const byte = load<u8>(p);
    if (byte >= 0x80) p = unicode(p, end);
    else {
      if (byte == 0x22) put(0x22);
      put(byte);
      p++;
    }
  }
  if (quoted) put(0x22);
}
