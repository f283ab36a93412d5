import { type Format, openRows, type Rows } from "./rows.ts";

/** An answer in a file, and who gave it. */
export interface Answer {
  name: string;
  file: string;
  format: Format;
}

/**
 * Two sums of the same numbers in another order differ in their last digits. The difference allowed is
 * relative to the result or to the greatest number of the group: numbers that cancel out leave a sum far
 * smaller than its rounding.
 */
const TOLERANCE = 1e-9;

/**
 * A column both answers have: its place in each, and where the extremes of the same field stand in the
 * first.
 */
interface SharedColumn {
  name: string;
  left: number;
  right: number;
  leftMin: number;
  leftMax: number;
  isCount: boolean;
}

/**
 * Holds two answers against each other: the same keys in the same order, equal counts, equal numbers.
 * Throws if not.
 */
export function compareAnswers(left: Answer, right: Answer): void {
  const leftRows = openRows(left.file, left.format);
  const rightRows = openRows(right.file, right.format);
  try {
    compareRows(leftRows, rightRows);
  } catch (cause) {
    throw new Error(`wrong answer, ${left.name} against ${right.name}: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    leftRows.close();
    rightRows.close();
  }
}

function compareRows(leftRows: Rows, rightRows: Rows): void {
  const columns = sharedColumns(leftRows.columns, rightRows.columns);
  for (let row = 1; ; row++) {
    const left = leftRows.next();
    const right = rightRows.next();
    if (left === undefined && right === undefined) {
      if (row === 1) throw new Error("no rows at all");
      return;
    }
    if (left?.key !== right?.key) {
      throw new Error(`row ${row} has key ${left?.key ?? "(none)"} against ${right?.key ?? "(none)"}`);
    }
    for (const column of columns) {
      const a = left!.values[column.left];
      const b = right!.values[column.right];
      if (!equal(a, b, column, left!.values)) {
        throw new Error(`row ${row}, key ${left!.key}: ${column.name} is ${a} against ${b}`);
      }
    }
  }
}

function sharedColumns(left: string[], right: string[]): SharedColumn[] {
  const shared = left.filter((name) => right.includes(name));
  for (const needed of [".count", ".min", ".max", ".mean"]) {
    if (!shared.some((name) => name.endsWith(needed))) {
      throw new Error(`no column *${needed} in both of (${left.join(", ")}) and (${right.join(", ")})`);
    }
  }
  return shared.map((name) => {
    const field = name.slice(0, name.lastIndexOf("."));
    return {
      name,
      left: left.indexOf(name),
      right: right.indexOf(name),
      leftMin: left.indexOf(`${field}.min`),
      leftMax: left.indexOf(`${field}.max`),
      isCount: name.endsWith(".count"),
    };
  });
}

function equal(a: number, b: number, column: SharedColumn, left: number[]): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (column.isCount) return false;
  const extreme = Math.max(Math.abs(left[column.leftMin] ?? 0), Math.abs(left[column.leftMax] ?? 0));
  return Math.abs(a - b) <= TOLERANCE * Math.max(Math.abs(a), Math.abs(b), extreme);
}
