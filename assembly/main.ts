/** What a built kernel exports to its host. One call per frame or per batch, never per record. */
import { ENTRIES, NAMES, NAMES_END, STATUS } from "./abi";
import { TABLES, adoptTable, applyTable, encodeTables, exportTable, groupTables } from "./generated";
import { removeFromTable, resetTables, startPass } from "./generated";
import { arenaEnd, releaseFrame } from "./heap";
import { emitAs, emittedBytes, emittedRows, resetEmitted } from "./output";
import { countQuotes, mapCsv, mapLines } from "./record/csv";
import { mapNdjson } from "./record/ndjson";
import { mapColumnRows } from "./record/rows";
import { cursor, setFormat } from "./row";

export { countQuotes, mapCsv, mapLines, mapNdjson, mapColumnRows };
export { encodeRange, find, orderBy, rangeSize, render, sample, size, sortRange, split, splitEnd } from "./generated";
export { splitStep } from "./generated";
export { arenaEnd };
export { emittedBytes, emittedRows };

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

/** Before a frame: counters to zero, tables empty. */
export function beginFrame(): void {
  memory.fill(STATUS, 0, 0x100);
  beginPart();
}

/** Before a further part of the same frame. */
export function beginPart(): void {
  releaseFrame();
  resetTables();
  resetEmitted();
}

/** After mapping: groups the entries by owner. */
export function group(owners: u32): void {
  groupTables(owners);
}

/** The routed sections of one owner, from ENTRIES up to the returned address. */
export function encode(owner: u32): usize {
  return encodeTables(owner, ENTRIES);
}

/** Merges routed sections into the lasting tables. */
export function apply(p: usize, end: usize): void {
  while (p < end) p = applyTable(load<u32>(p), p + 8, load<u32>(p, 4));
}

/** Takes in sections of other Jahs' entries, to be rendered in order with this Jah's. */
export function adopt(p: usize, end: usize): void {
  while (p < end) p = adoptTable(load<u32>(p), p + 8, load<u32>(p, 4));
}

let passTable: u32 = 0;
let passFrom: u32 = 0;
let passTo: u32 = 0;

/** Starts to write out the entries of partitions [from, to); `exportStep` goes on with it. */
export function exportStart(from: u32, to: u32): void {
  passTable = 0;
  passFrom = from;
  passTo = to;
  startPass();
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
  return 0;
}

/** Starts to remove the entries of partitions [from, to). */
export function removeStart(from: u32, to: u32): void {
  exportStart(from, to);
}

/** Removes some entries; false when none is left. */
export function removeStep(): bool {
  while (passTable < TABLES && !removeFromTable(passTable, passFrom, passTo)) passTable++;
  return passTable < TABLES;
}

/** How rows are rendered. */
export function renderAs(format: u32, delimiter: u32): void {
  setFormat(format, <u8>delimiter);
}
