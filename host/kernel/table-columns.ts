/**
 * The columns of a table as other kernels visit it: what `query` shows of its rows, by the names that it has in CSV. Where in an entry
 * a value lies follows from the table's descriptor; assembly/state/home.ts draws entries, aggregates.ts and key.ts what is in them.
 */
import { keyColumns, orderColumns } from "./order.ts";

/** A field of a table's state. */
interface TableField {
  name: string;
  aggregate: string;
  type?: string | undefined;
  /** Bytes from the start of the value. */
  offset: number;
  /** Names of the numbers that it shows; empty if it is one value. */
  columns: string[];
}

/** A table of the kernel whose arena it is. */
export interface TableSet {
  /** Its place among the kernel's tables. */
  number: number;
  name: string;
  /** Entries of a Table stay where they are; of others, and of older modules, which do not say, they may be removed. */
  kind?: "Table" | "Windows" | "Sessions" | undefined;
  /** Types of the key's parts. */
  key: string[];
  fields: TableField[];
}

/** Where the values of a column lie; offsets are from the start of an entry's value. */
export type Place =
  /** The key, if it is one part; or a part of it. */
  | { is: "key"; part: number }
  /** A number in 8 bytes as `stored`; missing where the word at `has` is 0. */
  | { is: "number"; stored: "f64" | "f32" | "i64" | "bool"; offset: number; has?: number }
  /** A float that is missing where it is none, or infinite. */
  | { is: "finite"; offset: number }
  /** A sum over a count. */
  | { is: "mean"; count: number; sum: number }
  /** A text that an aggregate keeps. */
  | { is: "text"; offset: number };

export interface TableColumn {
  name: string;
  /** As kernels write it: i64, f64, Text, Time ...; the aggregate's name if it cannot be read. */
  type: string;
  /** Whether rows may lack it. */
  optional: boolean;
  /** Undefined if it cannot be read; then `unsupported` says why. */
  place?: Place;
  unsupported?: string;
}

const SKETCH = "sketches are shown by query STREAM TABLE only";

/** In the order in which `query` shows them. */
export function tableColumns({ name, key, fields }: Omit<TableSet, "number">): TableColumn[] {
  const keys = keyColumns(key).map(
    (column, part): TableColumn => ({
      name: column,
      type: key[part],
      optional: false,
      place: { is: "key", part },
    }),
  );
  return [
    ...keys,
    ...fields.flatMap((field) => {
      const names = orderColumns({ name, key, fields: [field] });
      return valuesOf(field).map((value, i) => ({ name: names[i], ...value }));
    }),
  ];
}

type Value = Omit<TableColumn, "name">;

/** The values of a field, one for each of its columns. */
function valuesOf({ aggregate, type = "f64", offset, columns }: TableField): Value[] {
  switch (aggregate) {
    case "Count":
      return [number("u64", "i64", offset)];
    case "Sum":
      return [number(wide(type), storedAs(type), offset)];
    case "Min":
    case "Max":
    case "First":
    case "Last":
      return type === "Text"
        ? [{ type, optional: true, place: { is: "text", offset } }]
        : [number(type === "f32" ? "f64" : type, storedAs(type), offset, offset + 8)];
    case "Stats":
      return [
        number("u64", "i64", offset),
        number("f64", "f64", offset + 8),
        { type: "f64", optional: true, place: { is: "finite", offset: offset + 16 } },
        { type: "f64", optional: true, place: { is: "finite", offset: offset + 24 } },
        { type: "f64", optional: true, place: { is: "mean", count: offset, sum: offset + 8 } },
      ];
    case "Plain":
      return [number(type, type === "bool" || type === "f32" ? type : storedAs(type), offset)];
    default:
      return (columns.length ? columns : [""]).map(() => ({
        type: aggregate,
        optional: false,
        unsupported: SKETCH,
      }));
  }
}

function number(type: string, stored: "f64" | "f32" | "i64" | "bool", offset: number, has?: number): Value {
  const place: Place = { is: "number", stored, offset, ...(has === undefined ? {} : { has }) };
  return { type, optional: has !== undefined, place };
}

/** How aggregates keep a value: of floats the 8 bytes of an f64, else 64 bits. */
function storedAs(type: string): "f64" | "i64" {
  return type.startsWith("f") ? "f64" : "i64";
}

/** The type of a total. */
function wide(type: string): string {
  if (type === "Decimal") return type;
  return type.startsWith("f") ? "f64" : `${type[0]}64`;
}
