/**
 * NDJSON: one object a line. Keys may come in any order; as they rarely change it, the decoder remembers for each
 * position the bytes of the key it saw there last, and compares before it parses. Unwanted values are passed over.
 *
 *   NAMES: per position { u32 node, u32 length, u32 target, u32 0, 48 bytes: the key from its quote to its value }
 */
import { BAD_JSON, DONE, FIELDS_SEEN, FRAME_END, IS_NULL, MISSING, NAMES, NAMES_END } from "../abi";
import { NOT_AN_OBJECT, ROWS_GOOD, WRONG_JSON_TYPE } from "../abi";
import { absent, begin, decode, each, jsonKinds, lookup, REQUIRED } from "../generated";
import { partFull } from "../heap";
import { maskOf } from "../hash";
import { sameBytes } from "../text";
import { lineEnd, more, part } from "./csv";
import { dropDecoded } from "./decoded";
import { problem } from "./problem";

const LF: u8 = 0x0a;
const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const SLOT: usize = 64;
const REMEMBERED_MAX: usize = 48;
const DEPTH_MAX: i32 = 32;

/** What `lookup` answers: a field, a node below which fields lie, or nothing that is wanted. */
export const SKIP: u32 = 0xffff_ffff;
export const NODE: u32 = 0x8000_0000;

// Kinds of JSON values, as bits.
const STRING: u32 = 1;
const NUMBER: u32 = 2;
const BOOLEAN: u32 = 4;
/** What a text takes. */
const ANY: u32 = 7;

/** Nodes above the one whose keys are read. */
const nodes: usize = memory.data(128);

// What `readString` found.
let stringStart: usize = 0;
let stringEnd: usize = 0;


@inline function skipSpace(p: usize): usize {
  while (true) {
    const byte = load<u8>(p);
    if (byte > 0x20 || (byte != 0x20 && byte != 0x09 && byte != 0x0d)) return p;
    p++;
  }
}

/** Quotes, backslashes and control bytes among 16. */
@inline function stringStops(v: v128): u32 {
  return i8x16.bitmask(
    v128.or(
      v128.or(i8x16.eq(v, i8x16.splat(QUOTE)), i8x16.eq(v, i8x16.splat(BACKSLASH))),
      i8x16.lt_u(v, i8x16.splat(0x20)),
    ),
  );
}

/** The first quote, backslash or control byte at or after `p`: by 32 bytes, as few strings are longer. */
@inline function stringStop(p: usize): usize {
  while (true) {
    const hits = stringStops(v128.load(p)) | (stringStops(v128.load(p, 16)) << 16);
    if (hits) return p + <usize>ctz(hits);
    p += 32;
  }
}

/** Whether the key remembered in `slot` stands at `p`. */
@inline function isRemembered(slot: usize, p: usize, length: u32): bool {
  const mask = maskOf(length);
  const differing = v128.and(v128.xor(v128.load(slot, 16), v128.load(p)), v128.load(mask));
  if (v128.any_true(differing)) return false;
  return length <= 16 || sameBytes(slot + 32, p + 16, length - 16);
}

/** Reads the string behind the quote at `p`; returns where it goes on, 0 if it is broken. */
@inline function readString(p: usize): usize {
  const start = p + 1;
  const stop = stringStop(start);
  if (load<u8>(stop) != QUOTE) return readEscaped(start, stop);
  stringStart = start;
  stringEnd = stop;
  return stop + 1;
}

/** Passes over a string; 0 if it is broken. */
@inline function skipString(p: usize): usize {
  let stop = stringStop(p + 1);
  while (load<u8>(stop) == BACKSLASH) {
    if (load<u8>(stop, 1) < 0x20) return 0; // a line ends there
    stop = stringStop(stop + 2);
  }
  return load<u8>(stop) == QUOTE ? stop + 1 : 0;
}

/** A string with escapes: resolved into the record heap. Lone surrogates become U+FFFD. */
function readEscaped(start: usize, stop: usize): usize {
  const last = skipString(start - 1);
  if (!last) return 0;
  dropDecoded();
  const copy = heap.alloc(last - start + 32);
  let o = copy;
  let p = start;
  while (true) {
    memory.copy(o, p, stop - p);
    o += stop - p;
    p = stop;
    const byte = load<u8>(p);
    if (byte == QUOTE) break;
    if (byte != BACKSLASH) return 0;
    const escape = load<u8>(p, 1);
    p += 2;
    let code: u32 = 0;
    if (escape == QUOTE || escape == BACKSLASH || escape == 0x2f) code = escape;
    else if (escape == 0x6e) code = 0x0a;
    else if (escape == 0x74) code = 0x09;
    else if (escape == 0x72) code = 0x0d;
    else if (escape == 0x62) code = 0x08;
    else if (escape == 0x66) code = 0x0c;
    else if (escape == 0x75) {
      code = hex4(p);
      if (code > 0xffff) return 0;
      p += 4;
      if (code >> 10 == 0x36) {
        // a high surrogate: joined with the low one behind it
        const low: u32 = load<u16>(p) == 0x755c ? hex4(p + 2) : 0;
        if (low >> 10 == 0x37) {
          code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
          p += 6;
        } else code = 0xfffd;
      } else if (code >> 10 == 0x37) code = 0xfffd;
    } else return 0;
    o = putCodePoint(o, code);
    stop = stringStop(p);
  }
  stringStart = copy;
  stringEnd = o;
  return p + 1;
}

/** Four hexadecimal digits; above 0xffff if they are none. */
function hex4(p: usize): u32 {
  let value: u32 = 0;
  for (let i: usize = 0; i < 4; i++) {
    const byte = <u32>load<u8>(p + i);
    const digit = byte - 0x30 < 10 ? byte - 0x30 : (byte | 0x20) - 0x61 < 6 ? (byte | 0x20) - 0x57 : 0x10000;
    value = (value << 4) | digit;
    if (digit > 15) return 0x10000;
  }
  return value;
}

function putCodePoint(o: usize, code: u32): usize {
  if (code < 0x80) {
    store<u8>(o, <u8>code);
    return o + 1;
  }
  if (code < 0x800) {
    store<u8>(o, <u8>(0xc0 | (code >> 6)));
    store<u8>(o, <u8>(0x80 | (code & 0x3f)), 1);
    return o + 2;
  }
  if (code < 0x10000) {
    store<u8>(o, <u8>(0xe0 | (code >> 12)));
    store<u8>(o, <u8>(0x80 | ((code >> 6) & 0x3f)), 1);
    store<u8>(o, <u8>(0x80 | (code & 0x3f)), 2);
    return o + 3;
  }
  store<u8>(o, <u8>(0xf0 | (code >> 18)));
  store<u8>(o, <u8>(0x80 | ((code >> 12) & 0x3f)), 1);
  store<u8>(o, <u8>(0x80 | ((code >> 6) & 0x3f)), 2);
  store<u8>(o, <u8>(0x80 | (code & 0x3f)), 3);
  return o + 4;
}

/** The first byte at or after `p` that ends a number or a literal: comma, brackets, white space. */
@inline function scalarEnd(p: usize): usize {
  while (true) {
    const v = v128.load(p);
    const brackets = v128.and(v, i8x16.splat(<i8>0xdf)); // ] and } become ]
    const hits = i8x16.bitmask(
      v128.or(
        v128.or(i8x16.eq(v, i8x16.splat(0x2c)), i8x16.eq(brackets, i8x16.splat(0x5d))),
        i8x16.lt_u(v, i8x16.splat(0x21)),
      ),
    );
    if (hits) return p + <usize>ctz(hits);
    p += 16;
  }
}

/**
 * Whether [p, end) starts and ends as a number of JSON does. What is between is left to the parser of the field, which
 * takes a little more than JSON: no leading zero, plus or point, no point at the end.
 */
@inline function numberBounds(p: usize, end: usize): bool {
  const q = p + usize(load<u8>(p) == 0x2d);
  const first = load<u8>(q) - 0x30;
  if (first > 9 || load<u8>(end - 1) - 0x30 > 9) return false;
  return first != 0 || load<u8>(q, 1) - 0x30 > 9;
}

/** Whether [p, end) is a number of JSON (RFC 8259, 6): asked where a text takes it as it is. */
function isNumber(p: usize, end: usize): bool {
  if (!numberBounds(p, end)) return false;
  let digits = false;
  let point = false;
  let exponent = false;
  for (p += usize(load<u8>(p) == 0x2d); p < end; p++) {
    const byte = load<u8>(p);
    if (byte - 0x30 < 10) {
      digits = true;
      continue;
    }
    if (!digits || exponent) return false;
    if (byte == 0x2e) {
      if (point) return false;
      point = true;
    } else if ((byte | 0x20) == 0x65) {
      exponent = true;
      p += usize(load<u8>(p, 1) == 0x2b || load<u8>(p, 1) == 0x2d);
    } else return false;
    digits = false;
  }
  return digits;
}

/** Passes over an object or an array; 0 if it is broken. */
function skipNested(p: usize): usize {
  let depth = 0;
  while (true) {
    const byte = load<u8>(p);
    if (byte == QUOTE) {
      p = skipString(p);
      if (!p) return 0;
      continue;
    }
    if (byte == LF) return 0;
    const bracket = byte | 0x20;
    p++;
    if (bracket == 0x7b) depth++;
    else if (bracket == 0x7d) {
      depth--;
      if (!depth) return p;
    }
  }
}

/** Passes over any value; 0 if it is broken. */
@inline function skipValue(p: usize): usize {
  const byte = load<u8>(p);
  if (byte == QUOTE) return skipString(p);
  if ((byte | 0x20) == 0x7b) return skipNested(p);
  const end = scalarEnd(p);
  return end == p ? 0 : end;
}

let keyTarget: u32 = 0;

/** Reads a key that was not foreseen, and remembers it; returns where its value starts, 0 if it is broken. */
function readKey(p: usize, node: u32, slot: usize): usize {
  if (load<u8>(p) != QUOTE) return 0;
  let q = readString(p);
  if (!q) return 0;
  keyTarget = lookup(node, stringStart, <u32>(stringEnd - stringStart));
  q = skipSpace(q);
  if (load<u8>(q) != 0x3a) return 0;
  q = skipSpace(q + 1);
  if (q - p <= REMEMBERED_MAX && slot + SLOT <= NAMES_END) {
    store<u32>(slot, node);
    store<u32>(slot, <u32>(q - p), 4);
    store<u32>(slot, keyTarget, 8);
    memory.copy(slot + 16, p, q - p);
  }
  return q;
}

let badReason: u32 = 0;
let badField: u32 = 0;
let seen: u64 = 0;
/** Fields of all records since this instance was made; the control block is cleared before every frame. */
let everSeen: u64 = 0;

/** Reads a value into a field; returns where it ends, 0 if the JSON is broken. Notes why a value does not fit. */
@inline function readValue(p: usize, field: u32): usize {
  const first = load<u8>(p);
  let kind = NUMBER;
  let start = p;
  let end: usize;
  let next: usize;
  if (first == QUOTE) {
    kind = STRING;
    next = readString(p);
    if (!next) return 0;
    start = stringStart;
    end = stringEnd;
  } else if ((first | 0x20) == 0x7b) {
    kind = 0;
    next = skipNested(p);
    end = next;
  } else {
    next = scalarEnd(p);
    end = next;
    if (first > 0x39) {
      const word = load<u32>(p);
      if (word == 0x6c6c756e && end - p == 4) {
        note(absent(field, IS_NULL), field);
        return next;
      }
      kind = BOOLEAN;
      const isTrue = word == 0x65757274 && end - p == 4;
      if (!isTrue && !(word == 0x736c6166 && end - p == 5 && load<u8>(p, 4) == 0x65)) return 0;
    } else if (!numberBounds(p, end)) return 0;
    else if (jsonKinds(field) == ANY && !isNumber(p, end)) return 0;
  }
  if (jsonKinds(field) & kind) note(decode(field, start, end), field);
  else note(WRONG_JSON_TYPE, field);
  return next;
}


@inline function note(reason: u32, field: u32): void {
  seen |= (<u64>1) << field;
  if (!reason || badReason) return;
  badReason = reason;
  badField = field;
}

/** Reads the object that starts at `p`; returns what follows it, 0 if it is no JSON. */
@inline function readObject(p: usize): usize {
  let node: u32 = 0;
  let depth = 0;
  let slot = NAMES;
  p = skipSpace(p + 1);
  if (load<u8>(p) == 0x7d) return p + 1;
  while (true) {
    const length = load<u32>(slot, 4);
    let target: u32;
    if (length && load<u32>(slot) == node && isRemembered(slot, p, length)) {
      target = load<u32>(slot, 8);
      p = skipSpace(p + length);
    } else {
      p = readKey(p, node, slot);
      if (!p) return 0;
      target = keyTarget;
    }
    if (slot + SLOT < NAMES_END) slot += SLOT;
    if (target == SKIP) p = skipValue(p);
    else if (!(target & NODE)) p = readValue(p, target);
    else if (load<u8>(p) == 0x7b && depth < DEPTH_MAX) {
      p = skipSpace(p + 1);
      if (load<u8>(p) != 0x7d) {
        store<u32>(nodes + ((<usize>depth) << 2), node);
        depth++;
        node = target & ~NODE;
        continue;
      }
      p++;
    } else p = skipValue(p);
    if (!p) return 0;
    while (true) {
      p = skipSpace(p);
      const byte = load<u8>(p++);
      if (byte == 0x2c) break;
      if (byte != 0x7d) return 0;
      if (!depth) return p;
      depth--;
      node = load<u32>(nodes + ((<usize>depth) << 2));
    }
    p = skipSpace(p);
  }
}

/** Maps the records that start in [from, limit); see mapCsv. */
export function mapNdjson(from: usize, limit: usize, end: usize, final: bool): u32 {
  let rows = load<u32>(ROWS_GOOD);
  let p = from;
  while (p < limit) {
    const row = p;
    p = skipSpace(p);
    if (load<u8>(p) == LF) {
      if (p >= end && !final) return more(row, rows);
      p++;
      continue; // a blank line
    }
    badReason = 0;
    seen = 0;
    begin();
    let stop: usize = 0;
    if (load<u8>(p) == 0x7b) {
      stop = readObject(p);
      if (stop) stop = skipSpace(stop);
      if (!stop || load<u8>(stop) != LF) {
        badReason = BAD_JSON;
        stop = lineEnd(p);
      }
    } else {
      badReason = NOT_AN_OBJECT;
      stop = lineEnd(p);
    }
    if (stop >= end && !final) return more(row, rows);
    if (!badReason && (seen & REQUIRED) != REQUIRED) {
      badReason = MISSING;
      badField = <u32>ctz<u64>(REQUIRED & ~seen);
    }
    everSeen |= seen;
    if (badReason) problem(row, badReason, badField, 0);
    else {
      rows++;
      each();
    }
    p = stop + 1;
    __heap_release();
    if (partFull) {
      store<u64>(FIELDS_SEEN, everSeen);
      store<u32>(ROWS_GOOD, rows);
      return part(p);
    }
  }
  store<u64>(FIELDS_SEEN, everSeen);
  store<u32>(ROWS_GOOD, rows);
  store<u32>(FRAME_END, <u32>p);
  return DONE;
}
