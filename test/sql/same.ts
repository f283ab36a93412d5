/** Answers of a query held against DuckDB's. */
import * as assert from "uvu/assert";
import type { SqlType } from "../../host/sql/expression.ts";

/** Rows are the same: floats within 1e-9, in order only where the query decides it. */
export function compareRows(
  sql: string,
  rows: unknown[][],
  expected: unknown[][],
  types: SqlType[],
  ordered: boolean,
): void {
  const [a, b] = [rows, expected].map((each) =>
    each.map((row) => row.map((value, i) => normal(value, types[i]))),
  );
  if (!ordered)
    for (const each of [a, b]) each.sort((x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1));
  assert.is(a.length, b.length, `${sql}: ${a.length} rows, DuckDB has ${b.length}`);
  for (const [i, row] of a.entries()) {
    for (const [j, value] of row.entries())
      assert.ok(
        equal(value, b[i][j]),
        `${sql}\nrow ${i}: ${JSON.stringify(row)}\nDuckDB: ${JSON.stringify(b[i])}`,
      );
  }
}

/** A value as both have it: integers as texts, times in ms. */
function normal(value: unknown, type: SqlType): unknown {
  if (value === null) return null;
  if (type === "integer") return String(value);
  if (type === "float") return Number(value) + 0;
  if (type === "timestamp")
    return Date.parse(
      (value as string).endsWith("Z") ? (value as string) : `${(value as string).replace(" ", "T")}Z`,
    );
  return value;
}

function equal(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number")
    return a === b || Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));
  return a === b;
}
