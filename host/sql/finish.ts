/** What is left to do when a kernel's rows have come: groups become rows, which are chosen, ordered and cut. */
import { HallelujahError } from "../core/errors.ts";
import { evaluate } from "./evaluate.ts";
import type { Expr, SqlType, Value } from "./expression.ts";
import { compare, fromRow, toRow, ValueError } from "./values.ts";

/** A row of the engine: of a table, or as it was emitted. */
export type EngineRow = Record<string, unknown>;

/** Reads a value of a row, or of a group. */
export type Reader = (row: EngineRow) => Value;

export interface OrderKey {
  /** Of the values of a row. */
  index: number;
  descending: boolean;
  nullsFirst: boolean;
}

/** What is done to rows of values: the first of them are the columns of the answer, the others are to order by. */
export interface Ending {
  columns: { name: string; type: SqlType }[];
  distinct: boolean;
  order: OrderKey[];
  offset: number;
  /** Infinity if there is none. */
  limit: number;
}

/** A row's values, and its cells as they are shown. */
export interface Row {
  values: Value[];
  cells: unknown[];
}

export interface GroupsPlan {
  /** Name of the table that holds the groups; its rows come before those of the tables of distinct values. */
  table: string;
  /** Values of a group: its keys, then its aggregates. */
  readers: Reader[];
  /** Which of the values is the number of distinct values that a table has of the group. */
  distinct: { table: string; index: number; keyParts: number }[];
  /** Whether there is one row even of no group at all. */
  total: boolean;
  having?: Expr;
  outputs: Expr[];
}

/** The rows that a kernel emitted. */
export async function* emitted(
  rows: AsyncIterable<EngineRow>,
  fields: { name: string; type: SqlType }[],
  ending: Ending,
): AsyncGenerator<Row> {
  const shown = ending.columns.length;
  const needed = new Set(ending.order.map(({ index }) => index));
  for await (const row of rows) {
    const cells = fields.slice(0, shown).map(({ name, type }) => cellOf(row[name] ?? null, type));
    const values = fields.map(({ name, type }, i) => (needed.has(i) ? fromRow(row[name], type) : null));
    yield { values, cells };
  }
}

function cellOf(value: unknown, type: SqlType): unknown {
  return type === "date" && typeof value === "string" ? value.slice(0, 10) : value;
}

/** The rows of groups. */
export async function* grouped(
  rows: AsyncIterable<EngineRow>,
  plan: GroupsPlan,
  ending: Ending,
): AsyncGenerator<Row> {
  let any = false;
  for await (const values of plan.distinct.length ? withDistinct(rows, plan) : plainGroups(rows, plan)) {
    any = true;
    const row = rowOf(values, plan, ending);
    if (row) yield row;
  }
  if (any || !plan.total) return;
  const row = rowOf(
    plan.readers.map((read) => read({})),
    plan,
    ending,
  );
  if (row) yield row;
}

async function* plainGroups(rows: AsyncIterable<EngineRow>, plan: GroupsPlan): AsyncGenerator<Value[]> {
  for await (const row of rows) yield plan.readers.map((read) => read(row));
}

/** Groups wait for the tables of their distinct values. */
async function* withDistinct(rows: AsyncIterable<EngineRow>, plan: GroupsPlan): AsyncGenerator<Value[]> {
  const groups = new Map<string, Value[]>();
  for await (const row of rows) {
    if (row.table === plan.table) {
      const values = plan.readers.map((read) => read(row));
      for (const { index } of plan.distinct) values[index] = 0n;
      groups.set(JSON.stringify([row.key].flat()), values);
      continue;
    }
    const { index, keyParts } = plan.distinct.find(({ table }) => table === row.table)!;
    const key = keyParts ? [row.key].flat().slice(0, keyParts) : [0];
    const values = groups.get(JSON.stringify(key))!;
    values[index] = (values[index] as bigint) + 1n;
  }
  yield* groups.values();
}

function rowOf(group: Value[], { having, outputs }: GroupsPlan, ending: Ending): Row | undefined {
  try {
    if (having && evaluate(having, group) !== true) return undefined;
    const values = outputs.map((output) => evaluate(output, group));
    return { values, cells: ending.columns.map(({ type }, i) => toRow(values[i], type)) };
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new HallelujahError("sql-value", `a value of the answer cannot be worked out: ${error.message}`, {
      cause: error,
    });
  }
}

/** The rows of the answer. Whoever has enough ends the iteration, and with it that of `rows`. */
export async function* ended(rows: AsyncIterable<Row>, ending: Ending): AsyncGenerator<unknown[]> {
  const { order, offset, limit } = ending;
  if (limit === 0) return;
  const source = ending.distinct ? distinct(rows) : rows;
  const wanted = offset + limit;
  if (!order.length) {
    let at = 0;
    for await (const { cells } of source) {
      if (at++ >= offset) yield cells;
      if (at >= wanted) return;
    }
    return;
  }
  for (const { cells } of (await first(source, order, wanted)).slice(offset)) yield cells;
}

/** The first `count` rows in order; no more than twice as many are held. */
async function first(rows: AsyncIterable<Row>, order: OrderKey[], count: number): Promise<Row[]> {
  const byOrder = (a: Row, b: Row) => compareRows(a, b, order);
  let held: Row[] = [];
  for await (const row of rows) {
    held.push(row);
    if (held.length >= 2 * count + 1024) held = held.sort(byOrder).slice(0, count);
  }
  return held.sort(byOrder).slice(0, count);
}

function compareRows(a: Row, b: Row, order: OrderKey[]): number {
  for (const { index, descending, nullsFirst } of order) {
    const [x, y] = [a.values[index], b.values[index]];
    if (x === null || y === null) {
      if (x === y) continue;
      return (x === null) === nullsFirst ? -1 : 1;
    }
    const sign = compare(x, y);
    if (sign) return descending ? -sign : sign;
  }
  return 0;
}

async function* distinct(rows: AsyncIterable<Row>): AsyncGenerator<Row> {
  const seen = new Set<string>();
  for await (const row of rows) {
    const key = JSON.stringify(row.cells);
    if (seen.has(key)) continue;
    seen.add(key);
    yield row;
  }
}
