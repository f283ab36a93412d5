/** What a column of a file holds, whatever the format, and which fields of a record class it can fill. */
import { HallelujahError } from "../core/errors.ts";
import type { Column, FieldType, FieldWish } from "../kernel/columns.ts";

/** What a column of a file holds, whatever the format. `unsupported` says why it is not offered. */
export type ColumnType =
  | { is: "integer"; unsigned: boolean }
  | { is: "float"; single: boolean }
  | { is: "bool" }
  | { is: "text" }
  | { is: "time"; unit: TimeUnit }
  | { is: "clock"; unit: TimeUnit }
  | { is: "decimal"; scale: number }
  | { is: "nothing" }
  | { is: "unsupported"; why: string };

export type TimeUnit = "day" | "s" | "ms" | "us" | "ns";

/** A column as a file offers it: `label` names its type for people, `serves` the field types it can fill. */
export type FileColumn = { name: string; type: ColumnType; label: string; serves: readonly FieldType[] };

/**
 * Values as a file stores them: integers, times and decimals as i64 in the file's unit (a u64 as its bits);
 * decimals too wide for i64 as bigints (their value at a missing row is 0n).
 */
export type Raw = Column | { kind: "wide"; values: bigint[]; validity?: Uint8Array };

const SERVES: Record<ColumnType["is"], readonly FieldType[]> = {
  integer: ["i64", "u64", "f64", "decimal", "text"],
  float: ["f64", "i64", "u64", "decimal", "text"],
  bool: ["bool", "i64", "u64", "f64", "text"],
  text: ["text"],
  time: ["time", "text"],
  clock: ["text"],
  decimal: ["decimal", "f64", "i64", "u64", "text"],
  nothing: ["f64", "i64", "u64", "bool", "text", "time", "decimal"],
  unsupported: [],
};

export function fileColumn(name: string, type: ColumnType, label: string): FileColumn {
  return { name, type, label, serves: SERVES[type.is] };
}

/**
 * Finds the column that fills a field.
 * @param file name of the file, for the message
 * @returns undefined when the file has no such column and the field is optional
 * @throws HallelujahError `column-missing`, `column-unsupported` or `column-type`, naming file, column and
 * both types
 */
export function findColumn(
  file: string,
  columns: readonly FileColumn[],
  wish: FieldWish,
): FileColumn | undefined {
  const column = columns.find((candidate) => candidate.name === wish.name);
  if (column === undefined) {
    if (wish.optional) return undefined;
    const names = columns.map((candidate) => candidate.name).join(", ");
    throw new HallelujahError(
      "column-missing",
      `${file} has no column "${wish.name}" (it has ${names}); correct the field's name, or make it optional`,
    );
  }
  if (column.type.is === "unsupported") {
    const { why } = column.type;
    const message = `${file}: column "${wish.name}" is ${column.label}, which cannot be read: ${why}`;
    throw new HallelujahError("column-unsupported", message);
  }
  if (column.serves.includes(wish.type)) return column;
  throw new HallelujahError(
    "column-type",
    `${file}: column "${wish.name}" is ${column.label}, but the field wants ${wish.type}; ` +
      `this column can fill ${column.serves.join(", ")}`,
  );
}
