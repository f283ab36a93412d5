/**
 * The entries of a table as a visiting kernel meets them: partition by partition in the order of their hashes, each as it is at one
 * moment between two frames of the stream. Some thousand at a time are laid out as columns in the input window; texts stay where they lie.
 */
import { HallelujahError } from "../core/errors.ts";
import {
  VISIT_CONVERTED_ROWS,
  VISIT_FOUND_ENTRIES,
  VISIT_LOOK_ENTRIES,
  VISIT_SEARCHES,
  VISIT_TEXT_BYTES,
} from "../core/limits.ts";
import { type ColumnType, fileColumn, findColumn, type Raw } from "../input/file-column.ts";
import { fitColumn } from "../input/fit.ts";
import {
  DESCRIPTOR_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_SLACK_BYTES,
  KIND,
  writeColumn,
} from "../kernel/columns.ts";
import { Entries, type Search } from "../kernel/entries.ts";
import * as map from "../kernel/memory-map.ts";
import type { VisitField } from "../kernel/rows.ts";
import { type Place, type TableColumn, type TableSet, tableColumns } from "../kernel/table-columns.ts";
import { columnType } from "./visit-columns.ts";
import type { VisitFrame, VisitSupply } from "./visit-supply.ts";

const PARTITIONS = 256;

export class TableSupply implements VisitSupply {
  /** Entries stay until they are met, or are not there for their kernel has removed them. */
  readonly dropped = 0;
  /** Windows and sessions close, and others take their places. */
  readonly isFleeting: boolean;
  private readonly entries: Entries;
  private readonly columns: TableColumns;
  private readonly to: number;
  /** Entries that were there when it began: those of a table that come later are behind them. */
  private readonly first: number;
  private partition: number;
  private search: Search | undefined;
  /** What tells the entries of the next partitions, of the next one first. */
  private found: number[][] = [];

  /** Partitions [from, to). Throws `column-missing`, `column-type` or `column-unsupported` where a field does not fit. */
  constructor(memory: WebAssembly.Memory, table: TableSet, fields: VisitField[], from: number, to: number) {
    this.entries = new Entries(memory, table);
    this.columns = new TableColumns(memory, this.entries, table, fields);
    this.isFleeting = table.kind !== "Table";
    this.first = this.entries.count;
    this.partition = from;
    this.to = to;
  }

  get count(): number {
    return this.entries.count;
  }

  /** What was met may have changed since. */
  more(): boolean {
    return false;
  }

  find(enough: () => boolean): boolean {
    const { entries, isFleeting } = this;
    if (this.found.length || this.partition === this.to) return true;
    this.search ??= entries.search(this.partition, this.searchTo(), isFleeting ? Infinity : this.first);
    while (!entries.look(this.search, VISIT_LOOK_ENTRIES)) if (!isFleeting && enough()) return false;
    this.found = this.search.found;
    this.search = undefined;
    return true;
  }

  /** Up to which partition it looks for entries: so that there are few searches, and what they find is little. */
  private searchTo(): number {
    const { count } = this.entries;
    const some = this.isFleeting ? VISIT_LOOK_ENTRIES : Math.max(VISIT_FOUND_ENTRIES, count / VISIT_SEARCHES);
    const share = Math.floor((PARTITIONS * some) / Math.max(1, count));
    return Math.min(this.to, this.partition + Math.max(1, share));
  }

  next(): VisitFrame | undefined {
    for (let found = this.found.shift(); found; found = this.found.shift()) {
      const partition = this.partition++;
      if (!found.length) continue;
      const entries = this.entries.inOrder(found);
      return { partition, index: 0, layOut: () => this.columns.layOutAll(entries) };
    }
    return undefined;
  }
}

/** A field of the visiting kernel, and the column that fills it. */
interface Filling {
  column: TableColumn;
  place: Place;
  type: ColumnType;
  wish: VisitField;
}

/** The parts of some keys: where they lie. */
interface Parts {
  starts: Float64Array[];
  /** Bytes of a text, without what ends it. */
  lengths: Uint32Array[];
  /** Of a text, the zeros in it: each is written as two bytes. */
  zeros: Uint32Array[];
}

class TableColumns {
  private readonly memory: WebAssembly.Memory;
  private readonly entries: Entries;
  private readonly where: string;
  private readonly key: string[];
  private readonly fillings: (Filling | undefined)[];
  /** Texts of keys are taken from tuples. */
  private readonly readsParts: boolean;

  constructor(memory: WebAssembly.Memory, entries: Entries, table: TableSet, wishes: VisitField[]) {
    this.memory = memory;
    this.entries = entries;
    this.key = table.key;
    this.where = `the table ${table.name}`;
    const columns = tableColumns(table);
    const offered = columns.map(({ name, type, unsupported }) =>
      unsupported === undefined
        ? fileColumn(name, columnType(type), type)
        : fileColumn(name, { is: "unsupported", why: unsupported }, `of type ${type}`),
    );
    this.fillings = wishes.map((wish) => {
      const found = findColumn(this.where, offered, wish);
      const column = found && columns[offered.indexOf(found)];
      return column?.place && { column, place: column.place, type: found!.type, wish };
    });
    this.readsParts = table.key.length > 1 && this.fillings.some((filling) => filling?.place.is === "key");
  }

  /**
   * Lays entries out as column frames at INPUT, one after the other in the same place; says of each whether texts were copied there, which
   * are gone with the next one.
   */
  *layOutAll(entries: Float64Array): Generator<boolean> {
    for (let from = 0; from < entries.length; ) {
      let some = entries.subarray(from, from + VISIT_CONVERTED_ROWS);
      const parts = this.readsParts ? this.partsOf(some) : undefined;
      if (parts) some = some.subarray(0, this.fitting(parts, some.length));
      from += some.length;
      yield this.layOut(some, parts);
    }
  }

  /** How many rows at the start may have texts copied: their bytes are bounded, but for those of one row. */
  private fitting({ lengths, zeros }: Parts, rows: number): number {
    const read = this.fillings.flatMap((filling) =>
      filling?.place.is === "key" ? [filling.place.part] : [],
    );
    let bytes = 0;
    for (let row = 0; row < rows; row++) {
      for (const part of read) if (zeros[part][row]) bytes += lengths[part][row];
      if (row && bytes > VISIT_TEXT_BYTES) return row;
    }
    return rows;
  }

  private layOut(entries: Float64Array, parts: Parts | undefined): boolean {
    const { buffer } = this.memory;
    const bytes = new Uint8Array(buffer);
    const words = (FRAME_HEADER_BYTES + this.fillings.length * DESCRIPTOR_BYTES) / 4;
    const header = new Uint32Array(buffer, map.INPUT, words);
    header.fill(0);
    header[0] = entries.length;
    header[1] = this.fillings.length;
    let end = map.INPUT + words * 4;
    let copied = false;
    this.fillings.forEach((filling, i) => {
      if (!filling) return;
      const { place, type, wish, column } = filling;
      const descriptor = header.subarray((FRAME_HEADER_BYTES + i * DESCRIPTOR_BYTES) / 4);
      if (type.is === "text") {
        const texts = this.texts(place, entries, parts);
        const laid = layTexts(bytes, end, texts, descriptor);
        end = laid.end;
        copied ||= laid.copied;
      } else {
        const where = `${this.where}, ${column.name}`;
        const fitted = fitColumn(this.numbers(filling, entries, parts), type, wish.type, where);
        end = writeColumn(bytes, end, fitted, descriptor);
      }
    });
    return copied;
  }

  /** The values of a column that holds no texts. */
  private numbers({ place, column }: Filling, entries: Float64Array, parts: Parts | undefined): Raw {
    const { buffer } = this.memory;
    const rows = entries.length;
    const { header } = this.entries;
    switch (place.is) {
      case "number": {
        const at = header + place.offset;
        const validity = place.has === undefined ? undefined : present(buffer, entries, header + place.has);
        const values = numbersAt(buffer, entries, at, place.stored);
        return validity ? { ...values, validity } : values;
      }
      case "finite": {
        const values = doublesAt(buffer, entries, header + place.offset);
        return {
          kind: "f64",
          values,
          validity: Uint8Array.from(values, (value) => Number(Number.isFinite(value))),
        };
      }
      case "mean": {
        const sums = doublesAt(buffer, entries, header + place.sum);
        const counts = new Uint32Array(wordsAt(buffer, entries, header + place.count).buffer);
        const values = sums.map((sum, i) => sum / (counts[2 * i + 1] * 2 ** 32 + counts[2 * i]));
        return {
          kind: "f64",
          values,
          validity: Uint8Array.from(values, (value) => Number(Number.isFinite(value))),
        };
      }
      case "key": {
        const values = parts
          ? partNumbers(buffer, parts.starts[place.part], rows, column.type)
          : wordsAt(buffer, entries, 0);
        if (column.type !== "bool") return { kind: "i64", values };
        return { kind: "bool", values: Uint8Array.from(values, (value) => Number(value !== 0n)) };
      }
      default:
        throw new TypeError(`${place.is} is no number`);
    }
  }

  /** Where the texts of a column lie. */
  private texts(place: Place, entries: Float64Array, parts: Parts | undefined): Texts {
    const words = new Uint32Array(this.memory.buffer);
    const rows = entries.length;
    if (place.is === "key" && parts)
      return {
        starts: parts.starts[place.part],
        lengths: parts.lengths[place.part],
        zeros: parts.zeros[place.part],
      };
    const starts = new Float64Array(rows);
    const lengths = new Uint32Array(rows);
    // { u32 address, u32 length } of the key; { u32 block, u32 length, u32 capacity, u32 has } of a text that is kept.
    const kept = place.is === "text";
    const at = (kept ? this.entries.header + place.offset : this.entries.keyView) / 4;
    const validity = kept ? new Uint8Array(rows) : undefined;
    for (let row = 0; row < rows; row++) {
      const view = entries[row] / 4 + at;
      starts[row] = words[view];
      lengths[row] = words[view + 1];
      if (validity) validity[row] = words[view + 3] ? 1 : 0;
    }
    return { starts, lengths, ...(validity ? { validity } : {}) };
  }

  /** Where the parts of keys lie that are tuples. */
  private partsOf(entries: Float64Array): Parts {
    const words = new Uint32Array(this.memory.buffer);
    const bytes = new Uint8Array(this.memory.buffer);
    const rows = entries.length;
    const parts: Parts = {
      starts: this.key.map(() => new Float64Array(rows)),
      lengths: this.key.map(() => new Uint32Array(rows)),
      zeros: this.key.map(() => new Uint32Array(rows)),
    };
    for (let row = 0; row < rows; row++) {
      const view = (entries[row] + this.entries.keyView) / 4;
      let at = words[view];
      const end = at + words[view + 1];
      for (const [part, type] of this.key.entries()) {
        parts.starts[part][row] = at;
        if (type !== "Text") {
          at += 8;
          continue;
        }
        let zeros = 0;
        const start = at;
        for (; at < end; at++) {
          if (bytes[at]) continue;
          if (bytes[++at] === 1) break;
          zeros++;
        }
        parts.zeros[part][row] = zeros;
        parts.lengths[part][row] = at - 1 - start;
        at++;
      }
      if (at !== end)
        throw new HallelujahError(
          "store-damaged",
          `a key of ${this.where} does not have the parts of its type`,
        );
    }
    return parts;
  }
}

interface Texts {
  starts: Float64Array;
  lengths: Uint32Array;
  zeros?: Uint32Array;
  validity?: Uint8Array;
}

/** A column of codes, of which each row has its own; texts with zeros that are written as two bytes are copied behind it. */
function layTexts(
  bytes: Uint8Array,
  start: number,
  { starts, lengths, zeros, validity }: Texts,
  descriptor: Uint32Array,
): { end: number; copied: boolean } {
  const rows = starts.length;
  const views = new Uint32Array(bytes.buffer, start, 2 * rows);
  const codes = new Uint32Array(bytes.buffer, start + 8 * rows, rows);
  let end = start + aligned(12 * rows);
  descriptor[0] = KIND.codes;
  descriptor[2] = codes.byteOffset;
  descriptor[4] = views.byteOffset;
  if (validity) {
    bytes.set(validity, end);
    descriptor[1] = end;
    end += aligned(rows);
  }
  const begin = end;
  for (let row = 0; row < rows; row++) {
    codes[row] = row;
    views[2 * row] = starts[row];
    views[2 * row + 1] = lengths[row];
    if (!zeros?.[row]) continue;
    if (end + lengths[row] + FRAME_SLACK_BYTES > map.DIRTY)
      throw new HallelujahError(
        "record-too-large",
        "the texts of one row do not fit the input window; read fewer of them",
      );
    views[2 * row] = end;
    views[2 * row + 1] = lengths[row] - zeros[row];
    for (let at = starts[row], to = at + lengths[row]; at < to; at++) {
      bytes[end++] = bytes[at];
      if (!bytes[at]) at++;
    }
  }
  return { end: aligned(end), copied: end > begin };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** The 8 bytes at `offset` of each entry. No element is read of a BigInt64Array, which would make an object of each. */
function wordsAt(buffer: ArrayBufferLike, entries: Float64Array, offset: number): BigInt64Array<ArrayBuffer> {
  const words = new Uint32Array(buffer);
  const halves = new Uint32Array(2 * entries.length);
  for (let row = 0; row < entries.length; row++) {
    const at = (entries[row] + offset) / 4;
    halves[2 * row] = words[at];
    halves[2 * row + 1] = words[at + 1];
  }
  return new BigInt64Array(halves.buffer);
}

function doublesAt(buffer: ArrayBufferLike, entries: Float64Array, offset: number): Float64Array {
  const doubles = new Float64Array(buffer, 0, Math.floor(buffer.byteLength / 8));
  return entries.map((entry) => doubles[(entry + offset) / 8]);
}

function numbersAt(
  buffer: ArrayBufferLike,
  entries: Float64Array,
  offset: number,
  stored: "f64" | "f32" | "i64" | "bool",
): Raw {
  switch (stored) {
    case "f64":
      return { kind: "f64", values: doublesAt(buffer, entries, offset) };
    case "f32": {
      const singles = new Float32Array(buffer);
      return { kind: "f64", values: entries.map((entry) => singles[(entry + offset) / 4]) };
    }
    case "bool": {
      const bytes = new Uint8Array(buffer);
      return { kind: "bool", values: Uint8Array.from(entries, (entry) => (bytes[entry + offset] ? 1 : 0)) };
    }
    case "i64":
      return { kind: "i64", values: wordsAt(buffer, entries, offset) };
  }
}

/** Whether there is a value: the word at `offset` is not 0. */
function present(buffer: ArrayBufferLike, entries: Float64Array, offset: number): Uint8Array {
  const words = new Uint32Array(buffer);
  return Uint8Array.from(entries, (entry) => (words[(entry + offset) / 4] ? 1 : 0));
}

/** Numbers of tuples: big-endian, signed ones with the top bit flipped. */
function partNumbers(
  buffer: ArrayBufferLike,
  starts: Float64Array,
  rows: number,
  type: string,
): BigInt64Array<ArrayBuffer> {
  const view = new DataView(buffer);
  const flipped = type.startsWith("u") || type === "bool" ? 0 : 0x8000_0000;
  const halves = new Uint32Array(2 * rows);
  for (let row = 0; row < rows; row++) {
    halves[2 * row] = view.getUint32(starts[row] + 4);
    halves[2 * row + 1] = (view.getUint32(starts[row]) ^ flipped) >>> 0;
  }
  return new BigInt64Array(halves.buffer);
}
