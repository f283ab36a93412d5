/** A Parquet file's schema: its top-level columns, and what each of them holds. */
import type { SchemaElement } from "hyparquet";
import type { ColumnType, FileColumn } from "./file-column.ts";
import { fileColumn } from "./file-column.ts";

/** An entry of the schema, right under the root. */
export type Element = SchemaElement & { nested: boolean };

/** The columns right under the root; those with children or repeated values are `nested`. */
export function topLevel(schema: readonly SchemaElement[]): Element[] {
  const columns: Element[] = [];
  const after = (at: number): number => {
    let next = at + 1;
    for (let child = 0; child < (schema[at].num_children ?? 0); child++) next = after(next);
    return next;
  };
  for (let at = 1; at < schema.length; at = after(at)) {
    const nested = schema[at].type === undefined || schema[at].repetition_type === "REPEATED";
    columns.push({ ...schema[at], nested });
  }
  return columns;
}

/** A top-level column as the file offers it. */
export function describe(element: Element): FileColumn {
  const { logical_type: logical, converted_type: converted } = element;
  const noted = logical?.type ?? converted;
  const physical = element.type ?? "a group";
  return fileColumn(element.name, typeOf(element), noted === undefined ? physical : `${physical} (${noted})`);
}

const CONVERTED_UNITS = { MILLIS: "ms", MICROS: "us", NANOS: "ns" } as const;

function typeOf(element: Element): ColumnType {
  const { type, logical_type: logical, converted_type: converted } = element;
  if (element.nested)
    return { is: "unsupported", why: "lists, maps and structs are not read; flatten the column" };
  const noted = logical?.type;
  if (noted === "NULL") return { is: "nothing" };
  if (noted === "DECIMAL" || converted === "DECIMAL") {
    return { is: "decimal", scale: logical?.type === "DECIMAL" ? logical.scale : (element.scale ?? 0) };
  }
  switch (type) {
    case "BOOLEAN":
      return { is: "bool" };
    case "FLOAT":
    case "DOUBLE":
      return { is: "float", single: type === "FLOAT" };
    case "INT96":
      return { is: "time", unit: "ms" };
    case "INT32":
    case "INT64":
      return integerType(element);
    default:
      if (noted === "FLOAT16") return { is: "float", single: true };
      if (noted === "BSON" || noted === "GEOMETRY" || noted === "GEOGRAPHY" || converted === "INTERVAL") {
        return { is: "unsupported", why: "there is no field type for it" };
      }
      return { is: "text" };
  }
}

function integerType(element: Element): ColumnType {
  const { logical_type: logical, converted_type: converted } = element;
  if (logical?.type === "DATE" || converted === "DATE") return { is: "time", unit: "day" };
  if (logical?.type === "TIMESTAMP") return { is: "time", unit: CONVERTED_UNITS[logical.unit] };
  if (logical?.type === "TIME") return { is: "clock", unit: CONVERTED_UNITS[logical.unit] };
  if (converted?.startsWith("TIMESTAMP_"))
    return { is: "time", unit: converted.endsWith("MILLIS") ? "ms" : "us" };
  if (converted?.startsWith("TIME_"))
    return { is: "clock", unit: converted.endsWith("MILLIS") ? "ms" : "us" };
  const unsigned =
    logical?.type === "INTEGER" ? !logical.isSigned : (converted?.startsWith("UINT_") ?? false);
  return { is: "integer", unsigned };
}
