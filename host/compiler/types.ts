/** What the fields of kernels may be: one table for the generator, the descriptors and the errors. */
import type { KIND } from "../kernel/columns.ts";

/** Type of a record's field, as the kernel's author writes it. */
export interface FieldType {
  /** Bytes the field takes in the record; a multiple of 8. */
  size: number;
  /** How a dataset holds it: kind of the column, and bytes of a value. */
  kind: keyof typeof KIND;
  width: number;
  /** How a column of Parquet or Arrow is read for it. */
  column: "f64" | "i64" | "u64" | "bool" | "text" | "time" | "decimal";
  /** JSON values that fit, as bits: 1 string, 2 number, 4 boolean. */
  json: number;
  /** Whether the value is a view of an unmanaged class (else a number). */
  view: boolean;
  /** Expression that decodes bytes [p, end) into the slot at `at`; see assembly/record/field.ts. */
  decode: (at: string) => string;
}

const integer = (name: string): FieldType => {
  const signed = name.startsWith("i");
  return {
    size: 8,
    kind: name as keyof typeof KIND,
    width: Number(name.slice(1)) / 8,
    column: signed ? "i64" : "u64",
    json: 2,
    view: false,
    decode: (at) =>
      signed
        ? `i64Field(${at}, p, end, ${name}.MIN_VALUE, ${name}.MAX_VALUE)`
        : `u64Field(${at}, p, end, ${name}.MAX_VALUE)`,
  };
};

export const FIELD_TYPES: Record<string, FieldType> = {
  f64: {
    size: 8,
    kind: "f64",
    width: 8,
    column: "f64",
    json: 2,
    view: false,
    decode: (at) => `f64Field(${at}, p, end)`,
  },
  f32: {
    size: 8,
    kind: "f32",
    width: 4,
    column: "f64",
    json: 2,
    view: false,
    decode: (at) => `f32Field(${at}, p, end)`,
  },
  i64: integer("i64"),
  i32: integer("i32"),
  i16: integer("i16"),
  i8: integer("i8"),
  u64: integer("u64"),
  u32: integer("u32"),
  u16: integer("u16"),
  u8: integer("u8"),
  bool: {
    size: 8,
    kind: "bool",
    width: 1,
    column: "bool",
    json: 4,
    view: false,
    decode: (at) => `boolField(${at}, p, end)`,
  },
  Text: {
    size: 8,
    kind: "codes",
    width: 4,
    column: "text",
    json: 7,
    view: true,
    decode: (at) => `textField(${at}, p, end)`,
  },
  Time: {
    size: 8,
    kind: "i64",
    width: 8,
    column: "time",
    json: 1,
    view: true,
    decode: (at) => `timeField(${at}, p, end)`,
  },
  Decimal: {
    size: 8,
    kind: "i64",
    width: 8,
    column: "decimal",
    json: 3,
    view: true,
    decode: (at) => `decimalField(${at}, p, end)`,
  },
};

/** An aggregate of a `@state` class. `size` is asserted against the SDK when a kernel is compiled. */
export interface AggregateType {
  size: number;
  /** File of the SDK below `state/`. */
  module: string;
  /** Names of the numbers it renders; empty if it renders as one value. */
  columns: string[];
  /** Type arguments it may take; the first is taken where none is written. Empty: it takes none. */
  takes: string[];
  /** Whether a type argument has to be written. */
  needsType: boolean;
}

const NUMBERS = ["f64", "f32", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8"];
const ORDERED = [...NUMBERS, "Time", "Decimal"];

/** A field of a state that only `fold` changes: a value as it is. */
export const PLAIN = "Plain";

export const AGGREGATES: Record<string, AggregateType> = {
  Count: { module: "aggregates", size: 8, columns: [], takes: [], needsType: false },
  Sum: { module: "aggregates", size: 8, columns: [], takes: [...NUMBERS, "Decimal"], needsType: false },
  Min: { module: "aggregates", size: 16, columns: [], takes: [...ORDERED, "Text"], needsType: false },
  Max: { module: "aggregates", size: 16, columns: [], takes: [...ORDERED, "Text"], needsType: false },
  Stats: {
    module: "aggregates",
    size: 32,
    columns: ["count", "sum", "min", "max", "mean"],
    takes: [],
    needsType: false,
  },
  First: { module: "aggregates", size: 16, columns: [], takes: [...ORDERED, "Text"], needsType: true },
  Last: { module: "aggregates", size: 16, columns: [], takes: [...ORDERED, "Text"], needsType: true },
  Distinct: { module: "distinct", size: 16, columns: [], takes: [], needsType: false },
  Quantiles: { module: "quantiles", size: 24, columns: ["p50", "p90", "p99"], takes: [], needsType: false },
  Top: {
    module: "top",
    size: 24,
    columns: [],
    takes: ["Text", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "Time"],
    needsType: true,
  },
};

/** Types of keys, and of the parts of a `Pair` or `Triple`. */
export const KEY_TYPES = [
  "Text",
  "i64",
  "i32",
  "i16",
  "i8",
  "u64",
  "u32",
  "u16",
  "u8",
  "bool",
  "Time",
  "Decimal",
];
export const TUPLES: Record<string, number> = { Pair: 2, Triple: 3 };

/** The type as which a number is stored in its 8 bytes. */
export function wideOf(type: string): string {
  if (type.startsWith("f")) return type;
  return type.startsWith("i") || type === "Time" || type === "Decimal" ? "i64" : "u64";
}
