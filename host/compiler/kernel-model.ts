/** What a kernel is, as read from its source: its records, states, tables, and the functions that the engine calls. */
import type { Access } from "./always-read.ts";
import { type Node, NodeKind } from "./asc.mjs";

export interface FieldModel {
  name: string;
  source: string;
  type: string;
  optional: boolean;
}

export interface AggregateModel {
  name: string;
  /** Name of an aggregate of the SDK, or PLAIN. */
  aggregate: string;
  type?: string;
}

/** A class that the compiler replaces: where it stands in the text. */
interface ClassModel<F> {
  name: string;
  start: number;
  end: number;
  fields: F[];
}

export type RecordModel = ClassModel<FieldModel>;
export type StateModel = ClassModel<AggregateModel>;

export interface TableModel {
  /** What it is: values by key, or by key and span of event time. */
  kind: TableKind;
  /** Name of the constant in the kernel. */
  constant: string;
  /** Name under which its rows come out. */
  name: string;
  key: string[];
  keyType: string;
  state: string;
  /** Of windows and sessions: the lengths that they were given, ms, or how these are written; joined by commas. */
  span?: string;
  /** Where `export` goes, unless it is exported already. */
  exportAt?: number;
}

export interface DatasetModel {
  /** Name of the constant in the kernel. */
  constant: string;
  /** Name under which other kernels find its rows. */
  name: string;
  record: string;
  /** The field by which rows grow old; undefined if they do not. */
  ageField?: string;
  /** Where `export` goes, unless it is exported already. */
  exportAt?: number;
}

export type TableKind = "Table" | "Windows" | "Sessions";

export interface KernelModel {
  records: RecordModel[];
  states: StateModel[];
  tables: TableModel[];
  datasets: DatasetModel[];
  /** The record that `each` and `fold` take. */
  input: string;
  each: boolean;
  /** Where it starts: it goes into the loops over records. */
  eachAt?: number;
  /** Where it does nothing with its record but read it. */
  inPlace?: InPlace;
  /** The table whose values `fold` changes. */
  fold?: TableModel;
  /** Whether there is a function `late`. */
  late: boolean;
  /** The functions that are called when a window or session of a table is over. */
  closes: { name: string; table: TableModel }[];
  /** The functions that make states of a table from those of a kernel before, which are of class `from`. */
  upgrades: { name: string; from: string; table: TableModel }[];
  /** The field of event time, and how late records may be, ms. */
  time?: { field: string; lateness: number };
}

/** How `each` is given rows that lie in columns, see in-place.ts: by their number, and with the fields that it reads in any case. */
export interface InPlace {
  /** By which name it calls its record. */
  parameter: string;
  /** Where further parameters go. */
  parametersAt: number;
  /** The fields that are read ahead, in the order of the record, and where they are read. */
  ahead: string[];
  accesses: Access[];
}

/** A function of the kernel, as the generated module calls it. */
export function kernelName(name: string): string {
  return `kernel${name[0].toUpperCase()}${name.slice(1)}`;
}

/** By what name the generated module knows a table: authors call theirs as they like. */
export function tableName({ constant }: TableModel): string {
  return `table_${constant}`;
}

/** By what name the generated module knows a class of the kernel's: authors call theirs as they like. */
export function className(name: string): string {
  return `class_${name}`;
}

interface Typed extends Node {
  name: { identifier?: { text: string } | undefined };
  typeName?: { identifier?: { text: string } | undefined };
}

/** The name of a type, or of what `new` makes. */
export function typeText(node: Typed): string {
  const name = node.kind === NodeKind.New ? node.typeName : node.name;
  return name?.identifier?.text ?? "";
}
