/**
 * CSV (RFC 4180) and plain lines. The host has found the wanted columns and wrote the plan: how many columns to pass
 * over, then which field comes. Behind the last byte stand 64 line feeds, so scanning needs no bounds.
 *
 * A quote opens a quoted field only as its first byte; elsewhere it is text.
 */
import { BAD_QUOTES, DONE, FRAME_END, MORE, NEXT, PART, PLAN, PLAN_END, QUOTED, ROWS_GOOD } from "../abi";
import { TOO_FEW_FIELDS, TOO_MANY_FIELDS, UNCLOSED_QUOTE } from "../abi";
import { begin, decode, each, isEmptyAbsent, mapPlainRows, PLANNED } from "../generated";
import { partFull } from "../heap";
import { dropDecoded } from "./decoded";
import { problem } from "./problem";
import { CR, LF, QUOTE, structurals } from "./structure";

/** The first delimiter or line feed at or after `p`. */
function fieldEnd(p: usize, delimiters: v128): usize {
  while (true) {
    const hits = structurals(p, delimiters);
    if (hits) return p + <usize>ctz(hits);
    p += 64;
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
  dropDecoded();
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

/** Rows that are read with care before plain ones are tried again, once most rows are not plain. */
const CAREFUL_ROWS: u32 = 256;

/**
 * Maps the records that start in [from, limit). Bytes are there up to `end`; `final` says that no more will come for
 * the record at hand. Returns DONE, PART or MORE, with NEXT or FRAME_END in the control block.
 *
 * Plain rows (no quote, as many fields as there are columns, all of them fit) take a loop of their own; each other row
 * is read with care.
 */
export function mapCsv(from: usize, limit: usize, end: usize, final: bool, delimiter: u32): u32 {
  const plannedInOrder = isPlanInOrder();
  let careful: u32 = plannedInOrder ? 1 : u32.MAX_VALUE;
  let p = from;
  while (p < limit) {
    if (plannedInOrder) {
      const next = mapPlainRows(p, limit, end, delimiter);
      if (partFull) return part(next);
      careful = next - p < 1024 ? min(careful << 1, CAREFUL_ROWS) : 1;
      p = next;
      if (p >= limit) break;
    }
    const status = mapWithCare(p, limit, end, final, delimiter, careful);
    if (status != DONE) return status;
    p = <usize>load<u32>(NEXT);
  }
  store<u32>(FRAME_END, <u32>p);
  return DONE;
}

/** Whether the wanted columns come in the order in which the record declares its fields. */
function isPlanInOrder(): bool {
  for (let i: u32 = 0; i < PLANNED; i++) if (<u32>load<u16>(PLAN + ((<usize>i) << 2), 2) != i) return false;
  return true;
}

/** Maps up to `most` records, whatever they are; DONE leaves the next one's start in NEXT. */
function mapWithCare(from: usize, limit: usize, end: usize, final: bool, delimiter: u32, most: u32): u32 {
  const delimiters = i8x16.splat(<i8>delimiter);
  let rows = load<u32>(ROWS_GOOD);
  let p = from;
  // Structural bytes are found 64 at a time: `hits` are those at `block` + bit that were not passed yet.
  let block = p;
  let hits = structurals(p, delimiters);
  for (let left = most; left && p < limit; left--) {
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
        block = stop + 1;
        hits = structurals(block, delimiters);
        if (quotedBad && !reason) {
          reason = BAD_QUOTES;
          detail = columns;
        }
        start = quotedStart;
        bytesEnd = quotedEnd;
      } else {
        while (!hits) {
          block += 64;
          hits = structurals(block, delimiters);
        }
        stop = block + <usize>ctz(hits);
        hits &= hits - 1;
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
      block = p;
      hits = structurals(p, delimiters);
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
    if (partFull) {
      store<u32>(ROWS_GOOD, rows);
      return part(p);
    }
  }
  store<u32>(ROWS_GOOD, rows);
  store<u32>(NEXT, <u32>p);
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
    if (partFull) {
      store<u32>(ROWS_GOOD, rows);
      return part(p);
    }
  }
  store<u32>(ROWS_GOOD, rows);
  store<u32>(FRAME_END, <u32>p);
  return DONE;
}

/** The record at `row` does not end in the bytes that are there. */
export function more(row: usize, rows: u32): u32 {
  __heap_release(); // the record is read again from its start
  store<u32>(ROWS_GOOD, rows);
  store<u32>(NEXT, <u32>row);
  return MORE;
}

/** The frame's tables are full: mapping goes on at `next` after a flush. */
export function part(next: usize): u32 {
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
