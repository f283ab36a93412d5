/** What a built kernel exports to its host. One call per frame or per batch, never per record. */
import { ASIDE, ENTRIES, EVENT_TIME, INPUT, LATE, NAMES, NAMES_END, RECORDS, ROWS, STATUS } from "./abi";
import { LATENESS, TABLES, adoptTable, applyTable, closeSome, collectDue, encodeTables } from "./generated";
import {
  exportTable,
  firstDueOf,
  foldRecords,
  groupTables,
  removeFromTable,
  resetTables,
  startPass,
  takeOverTable,
} from "./generated";
import {
  DATASETS,
  FOR_VISITS,
  applyRows,
  encodeDatasets,
  exportDataset,
  removeFromDataset,
  resetDatasets,
} from "./generated";
import { damaged } from "./damaged";
import { advance, dueBefore, watermark } from "./clock";
import { encodeRecords, resetRecords } from "./fold";
import { arenaEnd, releaseFrame, setLasting } from "./heap";
import { emitAs, emitFull, emittedBytes, emittedRows, lateBytes, lateEmittedRows, resetEmitted } from "./output";
import { Home } from "./state/home";
import { mapCsv as csv, mapLines as lines, countQuotes as quotes } from "./record/csv";
import { endDecoded as endWords, startDecoded as startWords } from "./record/decoded";
import { mapNdjson as ndjson } from "./record/ndjson";
import { mapColumnRows, mapDecoded as words } from "./record/rows";
import { cursor, setFormat } from "./row";
import { startRowsPass } from "./state/chunks";
import { rowsOfFrame } from "./state/dataset";

export { mapColumnRows };
export { decodedTextsFit } from "./generated";
export { encodeRange, find, orderBy, rangeSize, render, sample, size, sortRange, split, splitEnd } from "./generated";
export { splitStep } from "./generated";
export { arenaEnd };
export { emittedBytes, emittedRows, lateBytes, lateEmittedRows };
export { isTimed, isOrdered } from "./generated";

// What follows reads frames of other kinds. Without it, a kernel that only visits is half as large.

export function countQuotes(from: usize, end: usize): u32 {
  return FOR_VISITS ? <u32>unreachable() : quotes(from, end);
}

export function mapCsv(from: usize, limit: usize, end: usize, final: bool, delimiter: u32): u32 {
  return FOR_VISITS ? <u32>unreachable() : csv(from, limit, end, final, delimiter);
}

export function mapLines(from: usize, limit: usize, end: usize, final: bool): u32 {
  return FOR_VISITS ? <u32>unreachable() : lines(from, limit, end, final);
}

export function mapNdjson(from: usize, limit: usize, end: usize, final: bool): u32 {
  return FOR_VISITS ? <u32>unreachable() : ndjson(from, limit, end, final);
}

export function startDecoded(most: u32): void {
  if (!FOR_VISITS) startWords(most);
}

export function endDecoded(): i32 {
  return FOR_VISITS ? <i32>unreachable() : endWords();
}

export function mapDecoded(from: u32, to: u32, stride: usize): u32 {
  return FOR_VISITS ? <u32>unreachable() : words(from, to, stride);
}

/** Where the rendered bytes end. */
export function renderedEnd(): usize {
  return cursor;
}

/** Once, after instantiation: the module's own objects stay, whatever comes later is released. */
export function start(emitFormat: u32, delimiter: u32): void {
  __heap_mark();
  memory.fill(NAMES, 0, NAMES_END - NAMES);
  emitAs(emitFormat, <u8>delimiter);
}

/** Before a frame: counters to zero, tables empty. Where its rows go depends on its number. */
export function beginFrame(frame: u32): void {
  rowsOfFrame(frame);
  memory.fill(STATUS, 0, 0x100);
  store<f64>(EVENT_TIME, -Infinity);
  beginPart();
}

/** Before a further part of the same frame. */
export function beginPart(): void {
  releaseFrame();
  resetTables();
  resetDatasets();
  resetRecords();
  resetEmitted();
}

/** After mapping: groups the entries by owner. */
export function group(owners: u32): void {
  groupTables(owners);
}

/** The routed sections of one owner, from ENTRIES up to the returned address. */
export function encode(owner: u32): usize {
  return encodeRecords(owner, encodeDatasets(owner, encodeTables(owner, ENTRIES)));
}

/** Before a frame is applied, and whenever what it emitted was fetched. */
export function beginApply(): void {
  store<u32>(LATE, 0);
  releaseFrame();
  resetEmitted();
}

/**
 * Merges routed sections into the lasting tables, and folds records. Returns `end`; or, if what was emitted has to be
 * fetched first, from where to go on.
 */
export function apply(p: usize, end: usize): usize {
  while (p < end) {
    const start = p;
    const kind: u32 = end - p < 8 ? <u32>0 : load<u32>(p);
    if (kind >= ROWS && kind != RECORDS) p = applyRows(kind - ROWS, p + 8, load<u32>(p, 4), end);
    else {
      const count = sectionCount(p, end);
      if (kind == RECORDS) {
        p = foldRecords(p + 8, end, count);
        if (emitFull()) return p;
      } else p = applyTable(kind, p + 8, count);
    }
    if (p <= start || p > end) damaged();
  }
  return p;
}

/**
 * How many entries or records the section at `p` has. They come from another Jah: what they count is held against the bytes that there
 * are, of which each takes more than eight, so that room is made for no more than came.
 */
@inline function sectionCount(p: usize, end: usize): u32 {
  const count = end - p < 8 ? <u32>-1 : load<u32>(p, 4);
  if (count > <u32>((end - p) >> 3)) damaged();
  return count;
}

/** All of a frame is applied: its source has come to `time` (ms), which may close windows. */
export function advanceClock(clock: u32, time: f64): void {
  advance(clock, time, <f64>LATENESS);
}

/** Finds the windows and sessions of a table that are over; `closeStep` closes them. */
export function closeStart(table: u32): void {
  collectDue(table, dueBefore);
}

/** Closes some; true if what was emitted has to be fetched, and there may be more. `silent`: SILENT counts. */
export function closeStep(table: u32, silent: bool): bool {
  return closeSome(table, silent);
}

/** When the first window or session is over, ms, by the time that records may be late; Infinity if there is none. */
export function nextClose(): f64 {
  let first: f64 = Infinity;
  for (let table: u32 = 0; table < TABLES; table++) first = min(first, firstDueOf(table));
  return first + <f64>LATENESS;
}

/** Up to which event time the frames applied have come, ms; -Infinity before the first. */
export function watermarkOf(): f64 {
  return watermark();
}

export function tableCount(): u32 {
  return TABLES;
}

/** Takes in sections of other Jahs' entries, to be rendered in order with this Jah's. */
export function adopt(p: usize, end: usize): void {
  while (p < end) {
    const start = p;
    p = adoptTable(load<u32>(p), p + 8, sectionCount(p, end));
    if (p <= start || p > end) damaged();
  }
}

/** The table, or behind the tables the dataset, that is at hand. */
let passTable: u32 = 0;
let passFrom: u32 = 0;
let passTo: u32 = 0;

/** Starts to write out the entries of partitions [from, to); `exportStep` goes on with it. */
export function exportStart(from: u32, to: u32): void {
  passTable = 0;
  passFrom = from;
  passTo = to;
  startPass();
  startRowsPass(from);
}

/**
 * Writes some entries as a routed section at ENTRIES; returns its end, 0 when all are written. Frames may be mapped between
 * two steps, but nothing applied.
 */
export function exportStep(): usize {
  for (; passTable < TABLES; passTable++) {
    beginPart();
    const end = exportTable(passTable, passFrom, passTo);
    if (end != ENTRIES) return end;
  }
  for (; passTable < TABLES + DATASETS; passTable++) {
    beginPart();
    const end = exportDataset(passTable - TABLES, passTo);
    if (end != ENTRIES) return end;
    startRowsPass(passFrom);
  }
  return 0;
}

/** Starts to remove the entries of partitions [from, to). */
export function removeStart(from: u32, to: u32): void {
  exportStart(from, to);
}

/** Removes some entries; false when none is left. */
export function removeStep(): bool {
  while (passTable < TABLES && !removeFromTable(passTable, passFrom, passTo)) passTable++;
  if (passTable < TABLES) return true;
  for (let dataset: u32 = 0; dataset < DATASETS; dataset++) {
    startRowsPass(passFrom);
    removeFromDataset(dataset, passTo);
  }
  return false;
}

/** A table of this kernel takes over the entries of the home ASIDE by the plan at INPUT; see Entries.takeOver. */
export function takeOver(table: u32): void {
  __heap_mark(); // `start` comes later, and what an upgrade of an entry allocates is released behind it
  takeOverTable(table, changetype<Home>(ASIDE), INPUT);
}

/** Gives back what the home ASIDE has, whose entries were removed before. */
export function freeAside(): void {
  setLasting(true);
  changetype<Home>(ASIDE).free();
  setLasting(false);
}

/** How rows are rendered. */
export function renderAs(format: u32, delimiter: u32): void {
  setFormat(format, <u8>delimiter);
}
