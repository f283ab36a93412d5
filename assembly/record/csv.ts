/**
 * CSV (RFC 4180) and plain lines. The host has found the wanted columns and wrote the plan: how many columns to pass
 * over, then which field comes. Behind the last byte stand 64 line feeds, so scanning needs no bounds.
 *
 * A quote opens a quoted field only as its first byte; elsewhere it is text.
 */
import { BAD_QUOTES, DONE, FRAME_END, MORE, NEXT, PART, PLAN, PLAN_END, QUOTED, ROWS_GOOD } from "../abi";
import { TOO_FEW_FIELDS, TOO_MANY_FIELDS, UNCLOSED_QUOTE } from "../abi";
import { begin, decode, each, isEmptyAbsent } from "../generated";
import { partFull } from "../heap";
import { problem } from "./problem";

const LF: u8 = 0x0a;
const CR: u8 = 0x0d;
const QUOTE: u8 = 0x22;

/** The first delimiter or line feed at or after `p`. */
@inline function fieldEnd(p: usize, delimiters: v128): usize {
  while (true) {
    const v = v128.load(p);
    const hits = i8x16.bitmask(v128.or(i8x16.eq(v, delimiters), i8x16.eq(v, i8x16.splat(LF))));
    if (hits) return p + <usize>ctz(hits);
    p += 16;
  }
}

/** The first line feed at or after `p`. */
export function lineEnd(p: usize): usize {
  while (true) {
    const hits = i8x16.bitmask(i8x16.eq(v128.load(p), i8x16.splat(LF)));
    if (hits) return p + <usize>ctz(hits);
    p += 16;
  }
}

// What `quoted` found.
let quotedStart: usize = 0;
let quotedEnd: usize = 0;
let quotedBad: bool = false;

/**
 * Reads the quoted field whose opening quote is at `p`; returns the delimiter or line feed behind it, or 0 when it is
 * not closed before `end`. Doubled quotes are resolved into the record heap.
 */
function quoted(p: usize, end: usize, delimiters: v128): usize {
  store<u32>(QUOTED, 1);
  const start = p + 1;
  let doubled: u32 = 0;
  let q = start;
  while (true) {
    const hits = i8x16.bitmask(i8x16.eq(v128.load(q), i8x16.splat(QUOTE)));
    if (!hits) {
      q += 16;
      if (q >= end) return 0;
      continue;
    }
    q += <usize>ctz(hits);
    if (q >= end) return 0;
    if (load<u8>(q, 1) != QUOTE || q + 1 >= end) break;
    doubled++;
    q += 2;
  }
  quotedStart = start;
  quotedEnd = q;
  if (doubled) unescape(start, q, doubled);
  const behind = q + 1;
  let next = fieldEnd(behind, delimiters);
  quotedBad = next != behind && !(next == behind + 1 && load<u8>(behind) == CR && load<u8>(next) == LF);
  return next;
}

function unescape(start: usize, end: usize, doubled: u32): void {
  const copy = heap.alloc(end - start - doubled + 32);
  let o = copy;
  for (let p = start; p < end; p++) {
    const byte = load<u8>(p);
    store<u8>(o++, byte);
    if (byte == QUOTE) p++;
  }
  quotedStart = copy;
  quotedEnd = o;
}

/**
 * Maps the records that start in [from, limit). Bytes are there up to `end`; `final` says that no more will come for
 * the record at hand. Returns DONE, PART or MORE, with NEXT or FRAME_END in the control block.
 */
export function mapCsv(from: usize, limit: usize, end: usize, final: bool, delimiter: u32): u32 {
  const delimiters = i8x16.splat(<i8>delimiter);
  let rows = load<u32>(ROWS_GOOD);
  let p = from;
  while (p < limit) {
    const row = p;
    let plan = PLAN;
    let reason: u32 = 0;
    let badField: u32 = 0;
    let detail: u32 = 0;
    let columns: u32 = 0;
    let stop: usize = 0;
    begin();
    let skip = <u32>load<u16>(plan);
    let field = <u32>load<u16>(plan, 2);
    while (true) {
      let start = p;
      let bytesEnd: usize;
      if (load<u8>(p) == QUOTE) {
        stop = quoted(p, end, delimiters);
        if (!stop) break;
        if (quotedBad && !reason) {
          reason = BAD_QUOTES;
          detail = columns;
        }
        start = quotedStart;
        bytesEnd = quotedEnd;
      } else {
        stop = fieldEnd(p, delimiters);
        bytesEnd = stop;
        if (load<u8>(stop) == LF && load<u8>(stop - 1) == CR && stop > p) bytesEnd--;
      }
      if (skip) skip--;
      else if (field != PLAN_END) {
        const why = bytesEnd == start && isEmptyAbsent(field) ? 0 : decode(field, start, bytesEnd);
        if (why && !reason) {
          reason = why;
          badField = field;
        }
        plan += 4;
        skip = <u32>load<u16>(plan);
        field = <u32>load<u16>(plan, 2);
      } else if (!reason) reason = TOO_MANY_FIELDS;
      columns++;
      if (load<u8>(stop) == LF) break;
      p = stop + 1;
    }
    if (!stop) {
      if (!final) return more(row, rows);
      problem(row, UNCLOSED_QUOTE, columns, 0);
      p = lineEnd(row) + 1;
      continue;
    }
    if (stop >= end && !final) return more(row, rows);
    p = stop + 1;
    if (columns == 1 && (stop == row || (stop == row + 1 && load<u8>(row) == CR))) continue; // a blank line
    if (skip || field != PLAN_END) {
      if (!reason || reason == BAD_QUOTES) reason = TOO_FEW_FIELDS;
      badField = field == PLAN_END ? 0xffff : field;
    }
    if (reason) problem(row, reason, badField, reason == BAD_QUOTES ? detail : columns);
    else {
      rows++;
      each();
    }
    __heap_release();
    if (partFull) return part(p, rows);
  }
  store<u32>(ROWS_GOOD, rows);
  store<u32>(FRAME_END, <u32>p);
  return DONE;
}

/** Maps lines as they are: the record's only field is the line. */
export function mapLines(from: usize, limit: usize, end: usize, final: bool): u32 {
  let rows = load<u32>(ROWS_GOOD);
  let p = from;
  while (p < limit) {
    const stop = lineEnd(p);
    if (stop >= end && !final) return more(p, rows);
    const bytesEnd = stop > p && load<u8>(stop - 1) == CR ? stop - 1 : stop;
    begin();
    const reason = bytesEnd == p && isEmptyAbsent(0) ? 0 : decode(0, p, bytesEnd);
    if (reason) problem(p, reason, 0, 0);
    else {
      rows++;
      each();
    }
    p = stop + 1;
    __heap_release();
    if (partFull) return part(p, rows);
  }
  store<u32>(ROWS_GOOD, rows);
  store<u32>(FRAME_END, <u32>p);
  return DONE;
}

export function more(row: usize, rows: u32): u32 {
  store<u32>(ROWS_GOOD, rows);
  store<u32>(NEXT, <u32>row);
  return MORE;
}

export function part(next: usize, rows: u32): u32 {
  store<u32>(ROWS_GOOD, rows);
  store<u32>(NEXT, <u32>next);
  return PART;
}

/** How many quotes lie in [p, end): the parity from which a cut inside a quoted field is guessed. */
export function countQuotes(p: usize, end: usize): u32 {
  let count: u32 = 0;
  for (; p + 16 <= end; p += 16) {
    count += popcnt<u32>(i8x16.bitmask(i8x16.eq(v128.load(p), i8x16.splat(QUOTE))));
  }
  for (; p < end; p++) count += <u32>(load<u8>(p) == QUOTE);
  return count;
}
