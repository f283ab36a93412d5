/** The pages of a Parquet column chunk put together as one column, with a place for each row. */
import { HallelujahError } from "../core/errors.ts";
import { type Column, gatherTexts } from "../kernel/columns.ts";
import { fitColumn, lookUp } from "./fit.ts";
import { type Page, readPages } from "./parquet-pages.ts";
import { type Chunk, type Codes, emptyOf, lengthOf, type Values } from "./parquet-values.ts";

/** Reads a column chunk: its pages put together, nulls in their places, as the wanted field takes it. */
export function readChunk(chunk: Chunk): Column {
  const { rows, column, wish, where } = chunk;
  const nullable = chunk.element.repetition_type === "OPTIONAL";
  const levels = nullable ? new Uint8Array(rows) : undefined;
  const { pages, dictionary } = readPages(chunk, levels);
  const validity = levels?.includes(0) ? levels : undefined;
  if (pages.every(isCoded)) {
    const codes = joinCodes(pages, rows);
    if (validity !== undefined) spread(codes, countOf(pages), validity);
    const entries = dictionary ?? emptyOf(chunk);
    return lookUp(codes, validity, fitColumn(entries, column.type, wish.type, where));
  }
  const values = joinValues(pages, rows, dictionary);
  if (validity !== undefined) spreadValues(values, countOf(pages), validity);
  return fitColumn(validity === undefined ? values : { ...values, validity }, column.type, wish.type, where);
}

function isCoded(page: Page): page is { rows: number; values: Codes } {
  return page.values.kind === "codes";
}

function countOf(pages: readonly Page[]): number {
  return pages.reduce((sum, { values }) => sum + lengthOf(values), 0);
}

/** The codes of all pages, in an array with a place for each of `rows` rows. */
function joinCodes(pages: readonly { values: Codes }[], rows: number): Uint32Array {
  if (pages.length === 1 && pages[0].values.codes.length === rows) return pages[0].values.codes;
  const joined = new Uint32Array(rows);
  let at = 0;
  for (const { values } of pages) {
    joined.set(values.codes, at);
    at += values.codes.length;
  }
  return joined;
}

/** The values of all pages, in arrays with a place for each of `rows` rows; codes are looked up. */
function joinValues(pages: readonly Page[], rows: number, dictionary: Values | undefined): Values {
  const parts = pages.map(({ values }) =>
    values.kind === "codes" ? entriesAt(values.codes, dictionary) : values,
  );
  if (parts.length === 1 && lengthOf(parts[0]) === rows) return parts[0];
  const { kind } = parts[0];
  let at = 0;
  if (kind === "text") return joinTexts(parts as Extract<Values, { kind: "text" }>[], rows);
  if (kind === "wide") {
    const values = Array.from({ length: rows }, () => 0n);
    for (const part of parts) for (const value of (part as { values: bigint[] }).values) values[at++] = value;
    return { kind, values };
  }
  const fill = <T extends { set(from: T, at: number): void }>(joined: T): T => {
    for (const part of parts) {
      joined.set((part as unknown as { values: T }).values, at);
      at += lengthOf(part);
    }
    return joined;
  };
  if (kind === "f64") return { kind, values: fill(new Float64Array(rows)) };
  if (kind === "i64") return { kind, values: fill(new BigInt64Array(rows)) };
  return { kind: "bool", values: fill(new Uint8Array(rows)) };
}

function joinTexts(parts: readonly Extract<Values, { kind: "text" }>[], rows: number): Values {
  const total = parts.reduce((sum, part) => sum + part.bytes.length, 0);
  if (total >= 2 ** 32)
    throw new HallelujahError("column-overflow", "the texts of one row group exceed 4 GiB");
  const offsets = new Uint32Array(rows + 1);
  const bytes = new Uint8Array(total);
  let row = 0;
  let end = 0;
  for (const part of parts) {
    bytes.set(part.bytes, end);
    for (let i = 1; i < part.offsets.length; i++) offsets[row + i] = end + part.offsets[i];
    row += part.offsets.length - 1;
    end += part.bytes.length;
  }
  return { kind: "text", offsets, bytes };
}

function entriesAt(codes: Uint32Array, dictionary: Values | undefined): Values {
  if (dictionary === undefined) throw new Error("a value refers to a missing dictionary");
  if (dictionary.kind === "text")
    return { kind: "text", ...gatherTexts(codes, dictionary.offsets, dictionary.bytes) };
  if (dictionary.kind === "wide") {
    return { kind: "wide", values: Array.from(codes, (code) => dictionary.values[code]) };
  }
  return lookUp(codes, undefined, dictionary) as Values;
}

/** Moves `count` values from the front to the rows that have one; 0 elsewhere. */
function spread<T>(values: { [row: number]: T }, count: number, validity: Uint8Array, none = 0 as T): void {
  for (let row = validity.length - 1, from = count - 1; row >= 0; row--) {
    values[row] = validity[row] === 1 ? values[from--] : none;
  }
}

/** The same for i64, by 32-bit halves: a BigInt for each would be slow, an f64 might change the bits. */
function spreadI64(values: BigInt64Array, count: number, validity: Uint8Array): void {
  const halves = new Int32Array(values.buffer, values.byteOffset, values.length * 2);
  for (let row = validity.length - 1, from = count - 1; row >= 0; row--) {
    const present = validity[row] === 1;
    halves[row * 2] = present ? halves[from * 2] : 0;
    halves[row * 2 + 1] = present ? halves[from * 2 + 1] : 0;
    if (present) from--;
  }
}

function spreadValues(values: Values, count: number, validity: Uint8Array): void {
  switch (values.kind) {
    case "text": {
      const { offsets } = values;
      for (let row = validity.length, from = count; row > 0; row--) {
        offsets[row] = offsets[from];
        from -= validity[row - 1];
      }
      return;
    }
    case "i64":
      return spreadI64(values.values, count, validity);
    case "wide":
      return spread(values.values, count, validity, 0n);
    default:
      return spread(values.values, count, validity);
  }
}
