/**
 * The rows of a dataset that last: in columns, cut into chunks, each partition with a list of its own. The rows of a frame go
 * to one partition, whose owner appends them in frame order, so chunks are the same however many owners there are.
 *
 *   home (in the arena's directory, 64 bytes): RowHome
 *   lists: for each of the 256 partitions { u32 first chunk, u32 last chunk, u32 rows, u32 }
 *   columns: for each { u32 kind (record/kinds.ts), u32 whether rows may lack a value, u64 } and its Dictionary, if it is of texts
 *   chunk: { u32 next chunk, u32 rows, u32 rows it has room for, u32 run of frames,
 *            u64 rows of the dataset up to its last one, u64 rows of the dataset before its first frame }
 *          then for each column { u32 values, u32 validity, u64 least, u64 greatest }
 *          values: one after the other; validity: a byte for each row, 1 where there is a value, 0 if all have one
 *          least, greatest: of numbers and times, as the widest type of their kind; least > greatest if there is none
 *
 *   routed section: { u32 ROWS + dataset, u32 rows } { u32 partition, u32 flags, u32 run, u32 0, u64 total, i64 newest, u64 last, u64 first }
 *          then for each column: validity if there is one; values. Of texts: { u32 texts, u32 bytes } u32 length[texts],
 *          bytes, and as values codes into these
 *
 * `total` is how many rows the frame adds to the dataset; it goes to all owners, with `newest`, as what is to be kept is judged by
 * all rows, wherever they are. In a section of state that changes its owner (flags) it is how many there are,
 * and `last` and `first` are those of the chunk.
 */
import { CHUNK_ROWS, ENTRIES, FULL_ROWS, OUTPUT_END, ROWS } from "../abi";
import { damaged } from "../damaged";
import { touch, touchRange } from "../dirty";
import { giveBlock, growing, releaseFrame, setLasting, takeBlock, takeFrame } from "../heap";
import { BOOL, CODES, F32, F64, I16, I32, I64, I8, U16, U32, U64, U8, shiftOf } from "../record/kinds";
import { hashWord } from "../hash";
import { Dictionary } from "./dictionary";

export const SECTION_HEADER: usize = 56;
const LIST_BYTES: usize = 16;
export const COLUMN_BYTES: usize = 48;
/** Where in a column its dictionary is. */
export const COLUMN_TEXTS: usize = 16;
export const CHUNK_HEADER: usize = 32;
export const CHUNK_COLUMN: usize = 24;
const FIRST_ROWS: u32 = 64;
/** A chunk of fewer rows goes on with those of another run of frames. */
const RUN_ROWS: u32 = 4096;

/** Flags of a section: it starts a chunk, goes on with the last one, or has no rows, but what is known of all. */
const STARTS: u32 = 1;
const CONTINUES: u32 = 2;
const STATE: u32 = 4;

/** Bytes of texts and values in one section of an export, but for a single row that has more. */
const EXPORT_BYTES: usize = 4 << 20;
/** A dictionary of fewer texts is not cleared of those that no row has any more. */
const TEXTS_KEPT: u32 = 65536;

export const NEVER: i64 = i64.MIN_VALUE;


@unmanaged export class RowHome {
  /** 0 if the dataset is new. */
  lists: u32;
  columns: u32;
  fields: u32;
  /** Rows that are here. */
  rows: u32;
  /** Rows of the dataset so far, here and elsewhere, kept or not. */
  total: u64;
  /** The greatest time of any. */
  newest: i64;

  /** An empty one, its columns of the kinds that stand at `kinds`: a byte each, and 0x80 where rows may lack a value. */
  open(fields: u32, kinds: usize): void {
    this.lists = <u32>takeBlock(256 * LIST_BYTES);
    memory.fill(this.lists, 0, 256 * LIST_BYTES);
    this.columns = <u32>takeBlock(max<usize>(<usize>fields * COLUMN_BYTES, 16));
    this.fields = fields;
    this.rows = 0;
    this.total = 0;
    this.newest = NEVER;
    openColumns(this.columns, fields, kinds);
  }

  /** Whether the columns are of these kinds. */
  fits(fields: u32, kinds: usize): bool {
    if (this.fields != fields) return false;
    for (let i: u32 = 0; i < fields; i++) {
      const column = columnAt(this.columns, i);
      const kind = <u32>load<u8>(kinds + i);
      if (load<u32>(column) != (kind & 0x7f) || load<u32>(column, 4) != kind >> 7) return false;
    }
    return true;
  }
}

/** Columns without a text. */
export function openColumns(columns: usize, fields: u32, kinds: usize): void {
  for (let i: u32 = 0; i < fields; i++) {
    const column = columnAt(columns, i);
    const kind = <u32>load<u8>(kinds + i);
    store<u32>(column, kind & 0x7f);
    store<u32>(column, kind >> 7, 4);
    store<u64>(column, 0, 8);
    textsOf(column).init();
  }
}


@inline export function columnAt(columns: usize, i: u32): usize {
  return columns + <usize>i * COLUMN_BYTES;
}


@inline export function textsOf(column: usize): Dictionary {
  return changetype<Dictionary>(column + COLUMN_TEXTS);
}


@inline function listAt(home: RowHome, partition: u32): usize {
  return <usize>home.lists + <usize>partition * LIST_BYTES;
}


@inline function chunkColumn(chunk: usize, i: u32): usize {
  return chunk + CHUNK_HEADER + <usize>i * CHUNK_COLUMN;
}


@inline function chunkBytes(fields: u32): usize {
  return CHUNK_HEADER + <usize>fields * CHUNK_COLUMN;
}

// ------------------------------------------------------------------------------------------------- sections

/** Writes the header of a section at `o`; returns its end. */
export function putHeader(
  o: usize,
  dataset: u32,
  rows: u32,
  partition: u32,
  flags: u32,
  run: u32,
  total: u64,
  newest: i64,
  last: u64,
  first: u64,
): usize {
  store<u32>(o, ROWS + dataset);
  store<u32>(o, rows, 4);
  store<u32>(o, partition, 8);
  store<u32>(o, flags, 12);
  store<u32>(o, run, 16);
  store<u32>(o, 0, 20);
  store<u64>(o, total, 24);
  store<i64>(o, newest, 32);
  store<u64>(o, last, 40);
  store<u64>(o, first, 48);
  return o + SECTION_HEADER;
}

// Where the columns of the section at hand are: { u32 validity, u32 values, u32 codes of its texts in the column's dictionary, u32 }.
const SOURCE: usize = 16;
const sources: usize = memory.data(64 * 16, 8);

/**
 * Finds the columns of a section from `p` on, which ends before `limit`, and takes its texts in; returns its end. What comes from other Jahs is
 * held against the bytes that there are.
 */
function readColumns(home: RowHome, p: usize, limit: usize, rows: u32): usize {
  for (let i: u32 = 0; i < home.fields; i++) {
    const source = sources + <usize>i * SOURCE;
    const column = columnAt(home.columns, i);
    const kind = load<u32>(column);
    store<u64>(source, 0);
    if (load<u32>(column, 4)) {
      store<u32>(source, <u32>p);
      p = pass(p, rows, limit);
    }
    let texts: u32 = 0;
    if (kind == CODES) {
      const lengths = pass(p, 8, limit);
      texts = load<u32>(p);
      if (texts > <u32>((limit - lengths) >> 2)) damaged();
      const bytes = lengths + ((<usize>texts) << 2);
      const end = pass(bytes, load<u32>(p, 4), limit);
      store<u32>(source, <u32>takeTexts(textsOf(column), texts, lengths, bytes, end), 8);
      p = end;
    }
    store<u32>(source, <u32>p, 4);
    if (rows > <u32>((limit - p) >> shiftOf(kind))) damaged();
    const values = p;
    p += (<usize>rows) << shiftOf(kind);
    if (kind == CODES) checkCodes(values, p, texts);
  }
  return p;
}


@inline function pass(p: usize, bytes: u32, limit: usize): usize {
  if (bytes > <u32>(limit - p)) damaged();
  return p + bytes;
}

/** The codes of texts in a dictionary, u32 each; those that it lacks are added. */
function takeTexts(dictionary: Dictionary, texts: u32, lengths: usize, bytes: usize, end: usize): usize {
  const codes = takeFrame((((<usize>texts) << 2) + 8) & ~7, false);
  for (let i: u32 = 0; i < texts; i++) {
    const length = load<u32>(lengths + ((<usize>i) << 2));
    const next = pass(bytes, length, end);
    store<u32>(codes + ((<usize>i) << 2), dictionary.codeOf(bytes, length));
    bytes = next;
  }
  return codes;
}

function checkCodes(from: usize, to: usize, texts: u32): void {
  let most: u32 = 0;
  for (let at = from; at < to; at += 4) most = max(most, load<u32>(at));
  if (to > from && most >= texts) damaged();
}

/**
 * Appends a routed section (behind its first 8 bytes) to its partition, and drops what is not to be kept any more: rows but for the
 * last `keepRows`, and those that lie `keepAge` ms behind the newest by the field `timeField`; 0 keeps all. Returns its end, which `limit` is
 * not before.
 */
export function appendSection(
  dataset: u32,
  home: RowHome,
  p: usize,
  rows: u32,
  limit: usize,
  chunkRows: u32,
  keepRows: u64,
  keepAge: i64,
  timeField: i32,
): usize {
  setLasting(true);
  releaseFrame();
  growing(FULL_ROWS + dataset);
  if (limit - p < SECTION_HEADER - 8 || load<u32>(p) > 255 || load<u32>(p, 4) > STATE) damaged();
  const flags = load<u32>(p, 4);
  const total = load<u64>(p, 16);
  const first = flags ? load<u64>(p, 40) : home.total;
  home.newest = max(home.newest, load<i64>(p, 24));
  home.total = flags ? max(home.total, total) : home.total + total;
  let end = p + SECTION_HEADER - 8;
  if (rows) {
    end = readColumns(home, end, limit, rows);
    const last = flags ? load<u64>(p, 32) : home.total;
    appendRows(home, load<u32>(p), rows, flags, load<u32>(p, 8), first, last, chunkRows);
  }
  if (!flags) trim(home, keepRows, keepAge, timeField);
  setLasting(false);
  releaseFrame();
  return end;
}

function appendRows(
  home: RowHome,
  partition: u32,
  rows: u32,
  flags: u32,
  run: u32,
  first: u64,
  last: u64,
  chunkRows: u32,
): void {
  const list = listAt(home, partition);
  touch(list);
  let starts = flags == STARTS;
  for (let from: u32 = 0; from < rows;) {
    let chunk = <usize>load<u32>(list, 4);
    const has = chunk ? load<u32>(chunk, 4) : 0;
    // One that changes its owner is whole.
    if (!flags) starts = has >= chunkRows || (has >= min(RUN_ROWS, chunkRows >> 1) && load<u32>(chunk, 12) != run);
    let room = chunkRows - has;
    if (!chunk || starts) {
      chunk = addChunk(home, list, first);
      room = chunkRows;
    }
    const to = flags ? rows : min(rows, from + room);
    appendTo(home, chunk, from, to);
    store<u32>(chunk, run, 12);
    store<u64>(chunk, last, 16);
    starts = false;
    from = to;
  }
  store<u32>(list, load<u32>(list, 8) + rows, 8);
  home.rows += rows;
}

function addChunk(home: RowHome, list: usize, first: u64): usize {
  const fields = home.fields;
  const chunk = takeBlock(chunkBytes(fields));
  memory.fill(chunk, 0, chunkBytes(fields));
  store<u64>(chunk, first, 24);
  for (let i: u32 = 0; i < fields; i++) emptyBounds(chunkColumn(chunk, i) + 8, load<u32>(columnAt(home.columns, i)));
  const before = <usize>load<u32>(list, 4);
  if (before) {
    touch(before);
    store<u32>(before, <u32>chunk);
  } else store<u32>(list, <u32>chunk);
  store<u32>(list, <u32>chunk, 4);
  return chunk;
}

/** Appends rows [from, to) of the section at hand. */
function appendTo(home: RowHome, chunk: usize, from: u32, to: u32): void {
  const has = load<u32>(chunk, 4);
  const rows = to - from;
  touchRange(chunk, chunkBytes(home.fields));
  if (has + rows > load<u32>(chunk, 8)) enlarge(home, chunk, has + rows);
  for (let i: u32 = 0; i < home.fields; i++) {
    const source = sources + <usize>i * SOURCE;
    const column = chunkColumn(chunk, i);
    const kind = load<u32>(columnAt(home.columns, i));
    const shift = shiftOf(kind);
    const values = <usize>load<u32>(source, 4) + ((<usize>from) << shift);
    const to = <usize>load<u32>(column) + ((<usize>has) << shift);
    touchRange(to, (<usize>rows) << shift);
    let validity = <usize>load<u32>(source);
    if (validity) {
      validity += from;
      const at = <usize>load<u32>(column, 4) + has;
      touchRange(at, rows);
      memory.copy(at, validity, rows);
    }
    if (kind == CODES) translate(to, values, rows, load<u32>(source, 8));
    else {
      memory.copy(to, values, (<usize>rows) << shift);
      widenBounds(column + 8, kind, values, rows, validity);
    }
  }
  store<u32>(chunk, has + rows, 4);
}


@inline function translate(to: usize, from: usize, rows: u32, codes: usize): void {
  for (let i: usize = 0, end = (<usize>rows) << 2; i < end; i += 4) {
    store<u32>(to + i, load<u32>(codes + ((<usize>load<u32>(from + i)) << 2)));
  }
}

/** Room for `rows` rows at least: the next power of two. */
function enlarge(home: RowHome, chunk: usize, rows: u32): void {
  const has = load<u32>(chunk, 4);
  const before = load<u32>(chunk, 8);
  let room = max(FIRST_ROWS, before);
  while (room < rows) room <<= 1;
  for (let i: u32 = 0; i < home.fields; i++) {
    const column = columnAt(home.columns, i);
    const place = chunkColumn(chunk, i);
    const shift = shiftOf(load<u32>(column));
    moveBlock(place, (<usize>before) << shift, (<usize>room) << shift, (<usize>has) << shift);
    if (load<u32>(column, 4)) moveBlock(place + 4, before, room, has);
  }
  store<u32>(chunk, room, 8);
}

function moveBlock(place: usize, before: usize, bytes: usize, used: usize): void {
  const block = takeBlock(bytes);
  const old = <usize>load<u32>(place);
  if (old) {
    memory.copy(block, old, used);
    giveBlock(old, before);
  }
  store<u32>(place, <u32>block);
}

// --------------------------------------------------------------------------------------------------- bounds

@inline function isFloat(kind: u32): bool {
  return kind == F64 || kind == F32;
}


@inline function isUnsigned(kind: u32): bool {
  return kind == U64 || kind == U32 || kind == U16 || kind == U8 || kind == BOOL;
}

function emptyBounds(at: usize, kind: u32): void {
  if (isFloat(kind)) {
    store<f64>(at, Infinity);
    store<f64>(at, -Infinity, 8);
  } else if (isUnsigned(kind)) {
    store<u64>(at, u64.MAX_VALUE);
    store<u64>(at, 0, 8);
  } else {
    store<i64>(at, i64.MAX_VALUE);
    store<i64>(at, i64.MIN_VALUE, 8);
  }
}

function widenBounds(at: usize, kind: u32, values: usize, rows: u32, validity: usize): void {
  if (kind == F64) widen<f64, f64>(at, values, rows, validity);
  else if (kind == I64) widen<i64, i64>(at, values, rows, validity);
  else if (kind == I32) widen<i32, i64>(at, values, rows, validity);
  else if (kind == U32) widen<u32, u64>(at, values, rows, validity);
  else if (kind == F32) widen<f32, f64>(at, values, rows, validity);
  else if (kind == U64) widen<u64, u64>(at, values, rows, validity);
  else if (kind == I16) widen<i16, i64>(at, values, rows, validity);
  else if (kind == U16) widen<u16, u64>(at, values, rows, validity);
  else if (kind == I8) widen<i8, i64>(at, values, rows, validity);
  else widen<u8, u64>(at, values, rows, validity);
}

/** NaN counts for nothing: it lies within no bounds. */
function widen<T, W>(at: usize, values: usize, rows: u32, validity: usize): void {
  let least = load<W>(at);
  let greatest = load<W>(at, 8);
  for (let i: usize = 0; i < <usize>rows; i++) {
    if (validity && !load<u8>(validity + i)) continue;
    const value = <W>load<T>(values + i * sizeof<T>());
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  store<W>(at, least);
  store<W>(at, greatest, 8);
}

// ------------------------------------------------------------------------------------------ what is dropped

function trim(home: RowHome, keepRows: u64, keepAge: i64, timeField: i32): void {
  if (!keepRows && !keepAge) return;
  const before = home.rows;
  for (let partition: u32 = 0; partition < 256; partition++) {
    const list = listAt(home, partition);
    while (load<u32>(list) && isOver(home, load<u32>(list), keepRows, keepAge, timeField)) dropFirst(home, list);
  }
  if (home.rows != before) cleanTexts(home);
}

/** Whether a chunk lies wholly behind what is to be kept. */
@inline function isOver(home: RowHome, chunk: usize, keepRows: u64, keepAge: i64, timeField: i32): bool {
  if (keepRows && home.total - load<u64>(chunk, 16) >= keepRows) return true;
  return keepAge != 0 && load<i64>(chunkColumn(chunk, timeField), 16) < home.newest - keepAge;
}

function dropFirst(home: RowHome, list: usize): void {
  const chunk = <usize>load<u32>(list);
  const next = load<u32>(chunk);
  const rows = load<u32>(chunk, 4);
  const room = <usize>load<u32>(chunk, 8);
  for (let i: u32 = 0; i < home.fields; i++) {
    const place = chunkColumn(chunk, i);
    const shift = shiftOf(load<u32>(columnAt(home.columns, i)));
    if (load<u32>(place)) giveBlock(load<u32>(place), room << shift);
    if (load<u32>(place, 4)) giveBlock(load<u32>(place, 4), room);
  }
  giveBlock(chunk, chunkBytes(home.fields));
  touch(list);
  store<u32>(list, next);
  if (!next) store<u32>(list, 0, 4);
  store<u32>(list, load<u32>(list, 8) - rows, 8);
  home.rows -= rows;
}

/** Rows were dropped. Texts that no row has any more stay, but not beyond twice as many as there are rows. */
function cleanTexts(home: RowHome): void {
  for (let i: u32 = 0; i < home.fields; i++) {
    const column = columnAt(home.columns, i);
    if (load<u32>(column) != CODES) continue;
    const texts = textsOf(column);
    if (!home.rows) texts.drop();
    else if (texts.count > TEXTS_KEPT && texts.count >> 1 > home.rows) rebuildTexts(home, i, texts);
  }
}

/** Gives the texts of a column new codes, in the order of the rows that have them. */
function rebuildTexts(home: RowHome, field: u32, texts: Dictionary): void {
  const fresh = changetype<Dictionary>(takeBlock(sizeof<u64>() * 4));
  fresh.init();
  for (let partition: u32 = 0; partition < 256; partition++) {
    for (let chunk = <usize>load<u32>(listAt(home, partition)); chunk; chunk = load<u32>(chunk)) {
      const values = <usize>load<u32>(chunkColumn(chunk, field));
      const end = values + ((<usize>load<u32>(chunk, 4)) << 2);
      touchRange(values, end - values);
      for (let at = values; at < end; at += 4) {
        const view = <usize>texts.views + ((<usize>load<u32>(at)) << 3);
        store<u32>(at, fresh.codeOf(load<u32>(view), load<u32>(view, 4)));
      }
    }
  }
  texts.drop();
  touchRange(changetype<usize>(texts), sizeof<u64>() * 4);
  memory.copy(changetype<usize>(texts), changetype<usize>(fresh), sizeof<u64>() * 4);
  giveBlock(changetype<usize>(fresh), sizeof<u64>() * 4);
}

// ------------------------------------------------------------------------- state that changes its owner

// The export or removal of partitions that is under way.
let passPartition: u32 = 0;
let passChunk: usize = 0;
let passRow: u32 = 0;
let passBegun: bool = false;

/** Starts to go through partitions: `exportRows` or `removeRows` goes on with it. */
export function startRowsPass(from: u32): void {
  passPartition = from;
  passChunk = 0;
  passRow = 0;
  passBegun = false;
}

/** Writes some of the rows of partitions up to `to` as a section at ENTRIES; returns its end, ENTRIES when there are no more. */
export function exportRows(dataset: u32, home: RowHome, to: u32): usize {
  if (!passBegun) {
    passBegun = true;
    return putHeader(ENTRIES, dataset, 0, 0, STATE, 0, home.total, home.newest, 0, 0);
  }
  while (!passChunk) {
    if (passPartition == to) return ENTRIES;
    passChunk = load<u32>(listAt(home, passPartition));
    passRow = 0;
    if (!passChunk) passPartition++;
  }
  const end = encodeChunk(dataset, home, passPartition, passChunk, passRow);
  passRow += load<u32>(ENTRIES, 4);
  if (passRow == load<u32>(passChunk, 4)) {
    passChunk = load<u32>(passChunk);
    passRow = 0;
    if (!passChunk) passPartition++;
  }
  return end;
}

/** Writes rows of a chunk, from `from` on, as many as a section should hold. */
function encodeChunk(dataset: u32, home: RowHome, partition: u32, chunk: usize, from: u32): usize {
  const fields = home.fields;
  const rows = load<u32>(chunk, 4) - from;
  // Of each column of texts, the code of each row within the section, then the codes in the dictionary.
  const maps = takeFrame(((<usize>fields) << 4) + 8, false);
  let bytes: usize = 0;
  let count: u32 = 0;
  openMaps(home, maps, rows);
  while (count < rows && (!count || bytes + rowBytes(home, chunk, from + count) < EXPORT_BYTES)) {
    for (let i: u32 = 0; i < fields; i++) {
      const kind = load<u32>(columnAt(home.columns, i));
      bytes += ((<usize>1) << shiftOf(kind)) + 1;
      if (kind == CODES) bytes += mapRow(home, chunk, maps, i, from + count, count, rows);
    }
    count++;
  }
  const flags = from ? CONTINUES : STARTS;
  const run = load<u32>(chunk, 12);
  const first = load<u64>(chunk, 24);
  const last = load<u64>(chunk, 16);
  let o = putHeader(ENTRIES, dataset, count, partition, flags, run, home.total, home.newest, last, first);
  for (let i: u32 = 0; i < fields; i++) o = encodeColumn(home, chunk, maps, i, from, count, o);
  return o;
}

/** Bytes that a row takes in a section, at most. */
function rowBytes(home: RowHome, chunk: usize, row: u32): usize {
  let bytes: usize = 0;
  for (let i: u32 = 0; i < home.fields; i++) {
    const kind = load<u32>(columnAt(home.columns, i));
    bytes += 9;
    if (kind != CODES) continue;
    const code = load<u32>(<usize>load<u32>(chunkColumn(chunk, i)) + ((<usize>row) << 2));
    bytes += 4 + <usize>load<u32>(viewOf(home, i, code), 4);
  }
  return bytes;
}

/** A map: { u32 slots, u32 texts, u32 list of their codes, u32 codes of rows }; slots are { u32 code + 1, u32 text }. */
function openMaps(home: RowHome, maps: usize, rows: u32): void {
  for (let i: u32 = 0; i < home.fields; i++) {
    if (load<u32>(columnAt(home.columns, i)) != CODES) continue;
    const map = maps + ((<usize>i) << 4);
    const slots = takeFrame(slotsFor(rows) << 3, false);
    memory.fill(slots, 0, slotsFor(rows) << 3);
    store<u32>(map, <u32>slots);
    store<u32>(map, 0, 4);
    store<u32>(map, <u32>takeFrame((((<usize>rows) << 2) + 8) & ~7, false), 8);
    store<u32>(map, <u32>takeFrame((((<usize>rows) << 2) + 8) & ~7, false), 12);
  }
}


@inline function slotsFor(rows: u32): usize {
  return (<usize>2) << (32 - clz<u32>(rows));
}

/** Notes the text of a row; the bytes that it adds to the section. */
function mapRow(home: RowHome, chunk: usize, maps: usize, field: u32, row: u32, place: u32, rows: u32): usize {
  const map = maps + ((<usize>field) << 4);
  const code = load<u32>(<usize>load<u32>(chunkColumn(chunk, field)) + ((<usize>row) << 2));
  const mask = <u32>slotsFor(rows) - 1;
  let i = hashWord(code) & mask;
  let bytes: usize = 0;
  while (true) {
    const slot = <usize>load<u32>(map) + ((<usize>i) << 3);
    const found = load<u32>(slot);
    if (!found) {
      const text = load<u32>(map, 4);
      store<u32>(slot, code + 1);
      store<u32>(slot, text, 4);
      store<u32>(<usize>load<u32>(map, 8) + ((<usize>text) << 2), code);
      store<u32>(map, text + 1, 4);
      bytes = 4 + <usize>load<u32>(viewOf(home, field, code), 4);
    }
    if (!found || found == code + 1) {
      store<u32>(<usize>load<u32>(map, 12) + ((<usize>place) << 2), load<u32>(slot, 4));
      return bytes;
    }
    i = (i + 1) & mask;
  }
}


@inline function viewOf(home: RowHome, field: u32, code: u32): usize {
  return <usize>textsOf(columnAt(home.columns, field)).views + ((<usize>code) << 3);
}

function encodeColumn(home: RowHome, chunk: usize, maps: usize, field: u32, from: u32, rows: u32, o: usize): usize {
  const place = chunkColumn(chunk, field);
  const kind = load<u32>(columnAt(home.columns, field));
  if (load<u32>(columnAt(home.columns, field), 4)) {
    memory.copy(o, <usize>load<u32>(place, 4) + from, rows);
    o += rows;
  }
  if (kind != CODES) {
    const bytes = (<usize>rows) << shiftOf(kind);
    memory.copy(o, <usize>load<u32>(place) + ((<usize>from) << shiftOf(kind)), bytes);
    return o + bytes;
  }
  const map = maps + ((<usize>field) << 4);
  const start = o;
  o = putTextsStart(o, load<u32>(map, 4));
  for (let i: u32 = 0; i < load<u32>(map, 4); i++) {
    const view = viewOf(home, field, load<u32>(<usize>load<u32>(map, 8) + ((<usize>i) << 2)));
    o = putText(start, i, view, o);
  }
  memory.copy(o, load<u32>(map, 12), (<usize>rows) << 2);
  return o + ((<usize>rows) << 2);
}

/** Begins the texts of a column at `o`; returns where their bytes go. */
export function putTextsStart(o: usize, texts: u32): usize {
  store<u32>(o, texts);
  store<u32>(o, 0, 4);
  return o + 8 + ((<usize>texts) << 2);
}

/** Puts the text of a view into the texts that start at `start`, the next one; returns the end of its bytes. */
@inline export function putText(start: usize, i: u32, view: usize, o: usize): usize {
  const length = load<u32>(view, 4);
  if (o + length > OUTPUT_END) throw new Error("the rows of one frame are larger than the output window (16 MiB)");
  store<u32>(start + 8 + ((<usize>i) << 2), length);
  store<u32>(start, load<u32>(start, 4) + length, 4);
  memory.copy(o, load<u32>(view), length);
  return o + length;
}

/** Removes the rows of partitions up to `to`; false when none is left. */
export function removeRows(home: RowHome, to: u32): bool {
  setLasting(true);
  for (; passPartition < to; passPartition++) {
    const list = listAt(home, passPartition);
    while (load<u32>(list)) dropFirst(home, list);
  }
  cleanTexts(home);
  setLasting(false);
  return false;
}

/** Most rows of a chunk of a dataset that keeps so many: few enough that what is kept beyond is little. */
export function chunkRowsFor(keepRows: u64): u32 {
  if (!keepRows) return CHUNK_ROWS;
  let rows: u32 = 64;
  while (rows < CHUNK_ROWS && <u64>rows * 512 < keepRows) rows <<= 1;
  return rows;
}
