/**
 * A query as a kernel and what is left to do with its rows. Pure in the query and the schema: where the rows come from is the
 * caller's concern.
 */
import { Binder, columnExpr } from "./bind.ts";
import { type Bound, boundsOf } from "./bounds.ts";
import { type Expr, idOf, isAggregated, literal, rewrite, type Schema, type SqlType } from "./expression.ts";
import {
  emitted,
  type Ending,
  ended,
  type EngineRow,
  grouped,
  type GroupsPlan,
  type OrderKey,
} from "./finish.ts";
import { aggregatesOf, emittingKernel, groupingKernel } from "./kernel.ts";
import { matches, type Name, type Node, only, short, SqlText } from "./text.ts";

/** What a query becomes. */
export interface Plan {
  /** Source of the kernel. */
  kernel: string;
  /** Columns of the answer, each name once. */
  columns: { name: string; type: SqlType }[];
  /** What rows that count have in common; the kernel leaves out the others. */
  bounds: Bound[];
  /** What is done to the kernel's rows, in words. */
  steps: string[];
  /**
   * The answer, a row at a time, from the rows that the kernel gives: those that it emits in the order of the input, or those of
   * its tables, one table after the other. Ends the iteration of `rows` when it has enough. Throws `sql-value`.
   */
  finish(rows: AsyncIterable<EngineRow>): AsyncGenerator<unknown[]>;
}

interface Output {
  name: string;
  expr: Expr;
}

/** Plans a query over rows of a schema. Throws `sql-invalid`, `sql-unsupported`, `sql-too-long` or `sql-too-deep`. */
export async function plan(text: string, schema: Schema): Promise<Plan> {
  return new Planner(await SqlText.of(text), schema).plan();
}

/** Clauses that are refused: the node's member, and what it is called. */
const CLAUSES: [member: string, what: string, word: string][] = [
  ["withClause", "WITH", "WITH"],
  ["intoClause", "INTO", "INTO"],
  ["windowClause", "WINDOW", "WINDOW"],
  ["lockingClause", "FOR UPDATE or FOR SHARE", "FOR"],
  ["valuesLists", "VALUES", "VALUES"],
];

const FROM: Record<string, [what: string, word: string]> = {
  JoinExpr: ["a join", "JOIN"],
  RangeSubselect: ["a subquery in FROM", "FROM"],
  RangeFunction: ["a function in FROM", "FROM"],
  RangeTableSample: ["TABLESAMPLE", "TABLESAMPLE"],
};

/** The name behind FROM, as it is written. Throws as `plan` does. */
export async function fromOf(text: string): Promise<Name> {
  const sql = await SqlText.of(text);
  const { location, relname, schemaname } = fromClause(sql);
  return schemaname === undefined
    ? sql.name(location as number, relname as string)
    : { text: relname as string, quoted: true, at: location as number };
}

/** What stands behind FROM. Refuses clauses that are not supported. */
function fromClause(sql: SqlText): Node {
  const { select } = sql;
  const operation = { SETOP_UNION: "UNION", SETOP_INTERSECT: "INTERSECT", SETOP_EXCEPT: "EXCEPT" }[
    select.op as string
  ];
  if (operation) throw sql.unsupported(sql.word(operation), operation);
  for (const [member, what, word] of CLAUSES) if (select[member]) throw sql.unsupported(sql.word(word), what);
  const on = (select.distinctClause as Node[] | undefined)?.find((node) => Object.keys(node).length);
  if (on) throw sql.unsupported(sql.word("ON"), "DISTINCT ON");
  if (select.groupDistinct) throw sql.unsupported(sql.word("GROUP"), "GROUP BY DISTINCT");
  if (select.limitOption === "LIMIT_OPTION_WITH_TIES") throw sql.unsupported(sql.word("TIES"), "WITH TIES");
  if (!select.targetList) throw sql.invalid(0, "SELECT names no columns");
  const [first, second] = (select.fromClause ?? []) as Node[];
  if (!first) throw sql.invalid(0, "FROM is missing", "write SELECT ... FROM data");
  const [kind, body] = only(first);
  if (FROM[kind]) throw sql.unsupported(sql.word(FROM[kind][1]), FROM[kind][0]);
  if (kind !== "RangeVar") throw sql.unsupported(sql.word("FROM"), kind);
  if (body.inh !== true) throw sql.unsupported(sql.word("ONLY"), "FROM ONLY");
  if (body.alias?.colnames) throw sql.unsupported(body.location, "an alias with names of columns");
  if (second) throw sql.unsupported(secondAt(sql, second), "a join");
  return body;
}

class Planner {
  private readonly sql: SqlText;
  private readonly select: Node;
  private readonly binder: Binder;
  private readonly from: Node;

  constructor(sql: SqlText, schema: Schema) {
    this.sql = sql;
    this.select = sql.select;
    this.from = fromClause(sql);
    const alias = this.from.alias?.aliasname as string | undefined;
    this.binder = new Binder(sql, schema, [alias ?? (this.from.relname as string)]);
  }

  plan(): Plan {
    const { select, binder } = this;
    const outputs = this.outputs();
    const where = select.whereClause ? binder.condition(select.whereClause) : undefined;
    if (where && isAggregated(where))
      throw this.sql.invalid(binder.at(select.whereClause), "WHERE has no aggregates", "HAVING has");
    const having = select.havingClause ? binder.condition(select.havingClause) : undefined;
    const order = this.order(outputs);
    const exprs = [...outputs, ...order.hidden].map(({ expr }) => expr);
    const distinct = Boolean(select.distinctClause);
    const groups = select.groupClause !== undefined || having !== undefined || exprs.some(isAggregated);
    const ending: Ending = {
      columns: outputs.map(({ name, expr }) => ({ name, type: expr.type })),
      distinct: distinct && groups,
      order: order.keys,
      offset: this.count(select.limitOffset) ?? 0,
      limit: this.count(select.limitCount) ?? Number.POSITIVE_INFINITY,
    };
    if (distinct && order.hidden.length)
      throw this.sql.invalid(order.at, "SELECT DISTINCT is ordered by columns of its answer only");
    const steps = stepsOf(ending, having !== undefined);
    const { columns } = ending;
    const bounds = boundsOf(where);
    if (groups || distinct) {
      const keys = distinct && !groups ? unique(exprs) : this.keys(outputs);
      const total = groups && select.groupClause === undefined;
      const { kernel, groupsPlan } = this.grouping(where, keys, exprs, having, total);
      return {
        kernel,
        columns,
        bounds,
        steps,
        finish: (rows) => ended(grouped(rows, groupsPlan, ending), ending),
      };
    }
    const { source, fields } = emittingKernel(where, [...outputs, ...order.hidden], this.anyColumn());
    return {
      kernel: source,
      columns,
      bounds,
      steps,
      finish: (rows) => ended(emitted(rows, fields, ending), ending),
    };
  }

  /** The columns of the answer. */
  private outputs(): Output[] {
    const targets = (this.select.targetList as Node[]).map((target) => target.ResTarget as Node);
    const names = new UniqueNames();
    return targets.flatMap((target, i) => {
      const end = (targets[i + 1]?.location ?? this.from.location) as number;
      return this.target(target, end).map(({ name, expr }) => ({
        name: names.of(name),
        expr: this.typed(expr),
      }));
    });
  }

  private target(target: Node, end: number): Output[] {
    const { sql, binder } = this;
    const at = target.location as number;
    const reference = target.val.ColumnRef as Node | undefined;
    const fields = (reference?.fields ?? []) as Node[];
    if (fields.at(-1)?.A_Star) {
      const table = fields.length > 1 ? sql.names(at, [fields[0].String?.sval])[0] : undefined;
      const known = this.from.alias?.aliasname ?? this.from.relname;
      if (table && (fields.length > 2 || !matches(table, known)))
        throw sql.invalid(at, `there is no table ${short(table.text)}`);
      return binder
        .all(at)
        .map((expr) => ({ name: (expr as { column: { name: string } }).column.name, expr }));
    }
    const expr = binder.bind(target.val);
    if (target.name !== undefined) return [{ name: sql.alias(at, end, target.name as string).text, expr }];
    return [{ name: expr.is === "column" ? expr.column.name : sql.written(at, end), expr }];
  }

  /** An output has a type, be it NULL alone. */
  private typed(expr: Expr): Expr {
    return expr.type === "null" ? literal(null, "text") : expr;
  }

  private keys(outputs: Output[]): Expr[] {
    const nodes = (this.select.groupClause ?? []) as Node[];
    const keys = nodes.map((node) => {
      const at = this.binder.at(node);
      if (node.GroupingSet)
        throw this.sql.unsupported(node.GroupingSet.location ?? at, "ROLLUP, CUBE or GROUPING SETS");
      const key =
        this.ordinal(node, outputs, "GROUP BY") ??
        this.aliased(node, outputs, true) ??
        this.binder.bind(node);
      if (isAggregated(key)) throw this.sql.invalid(at, "GROUP BY has no aggregates");
      return this.typed(key);
    });
    return unique(keys);
  }

  /** The output that a number in ORDER BY or GROUP BY means. */
  private ordinal(node: Node, outputs: Output[], clause: string): Expr | undefined {
    const constant = node.A_Const as Node | undefined;
    if (!constant) return undefined;
    const at = constant.location as number;
    const number = constant.ival ? Number(constant.ival.ival ?? 0) : Number.NaN;
    const output = outputs[number - 1];
    if (!output)
      throw this.sql.invalid(
        at,
        `${clause} takes the numbers 1 to ${outputs.length} of the answer's columns`,
      );
    return output.expr;
  }

  /** The output that a bare name means; with `columnsFirst` only if no column of the input has it. */
  private aliased(node: Node, outputs: Output[], columnsFirst: boolean): Expr | undefined {
    const reference = node.ColumnRef as Node | undefined;
    if (reference?.fields?.length !== 1 || !reference.fields[0].String) return undefined;
    const at = reference.location as number;
    const name = this.sql.name(at, reference.fields[0].String.sval as string);
    if (columnsFirst && this.binder.columns.some((column) => matches(name, column.name))) return undefined;
    const named = outputs.filter((output) => matches(name, output.name));
    const exact = named.filter((output) => output.name === name.text);
    const found = exact.length === 1 ? exact : named;
    if (found.length > 1)
      throw this.sql.invalid(at, `"${short(name.text)}" may be any of several columns of the answer`);
    return found[0]?.expr;
  }

  /** What rows are ordered by; expressions that are no columns of the answer are hidden ones behind them. */
  private order(outputs: Output[]): { keys: OrderKey[]; hidden: Output[]; at: number } {
    const hidden: Output[] = [];
    let hiddenAt = 0;
    const all = outputs.map(({ expr }) => idOf(expr));
    const keys = ((this.select.sortClause ?? []) as Node[]).map(({ SortBy: sort }): OrderKey => {
      const node = sort.node as Node;
      const at = this.binder.at(node);
      if (sort.useOp)
        throw this.sql.unsupported(sort.location >= 0 ? sort.location : at, "ORDER BY ... USING");
      const expr = this.typed(
        this.ordinal(node, outputs, "ORDER BY") ??
          this.aliased(node, outputs, false) ??
          this.binder.bind(node),
      );
      let index = all.indexOf(idOf(expr));
      if (index < 0) {
        index = all.push(idOf(expr)) - 1;
        hidden.push({ name: `order ${hidden.length + 1}`, expr });
        hiddenAt = at;
      }
      const descending = sort.sortby_dir === "SORTBY_DESC";
      const nulls = sort.sortby_nulls as string;
      const nullsFirst = nulls === "SORTBY_NULLS_FIRST" || (nulls !== "SORTBY_NULLS_LAST" && descending);
      return { index, descending, nullsFirst };
    });
    return { keys, hidden, at: hiddenAt };
  }

  private grouping(
    where: Expr | undefined,
    keys: Expr[],
    exprs: Expr[],
    having: Expr | undefined,
    total: boolean,
  ) {
    const { sql } = this;
    const aggregates = aggregatesOf([...exprs, ...(having ? [having] : [])]);
    const kernel = groupingKernel(where, keys, aggregates, this.anyColumn());
    const indexOfKey = new Map(keys.map((key, i) => [idOf(key), i]));
    const indexOf = new Map(aggregates.map((aggregate, i) => [aggregate, keys.length + i]));
    const ids = new Map(
      [...indexOf].map(([aggregate, index]) => [
        idOf({ is: "aggregate", aggregate, at: 0, type: "null", nullable: true }),
        index,
      ]),
    );
    const toResult = (expr: Expr): Expr =>
      rewrite(expr, (part) => {
        const index =
          indexOfKey.get(idOf(part)) ?? (part.is === "aggregate" ? ids.get(idOf(part)) : undefined);
        if (index !== undefined) return { is: "result", index, type: part.type, nullable: part.nullable };
        if (part.is !== "column") return undefined;
        const message = `the column "${short(part.column.name)}" is neither in GROUP BY nor within an aggregate`;
        throw sql.invalid(part.at, message);
      });
    const groupsPlan: GroupsPlan = {
      table: kernel.table,
      readers: kernel.readers,
      distinct: kernel.distinct,
      total,
      outputs: exprs.map(toResult),
      ...(having ? { having: toResult(having) } : {}),
    };
    return { kernel: kernel.source, groupsPlan };
  }

  /** A column to read where a query needs none: one whose values cannot be wrong. */
  private anyColumn(): Expr {
    const readable = this.binder.columns.filter((column) => !column.unsupported);
    const column = readable.find(({ type }) => type !== "text") ?? readable[0];
    if (!column)
      throw this.sql.invalid(this.from.location as number, "the input has no columns that can be read");
    const type: SqlType = column.sampled ? "text" : column.type;
    return columnExpr({ ...column, type, nullable: true, nan: false }, 0);
  }

  /** The number behind LIMIT or OFFSET; undefined if there is none. */
  private count(node: Node | undefined): number | undefined {
    if (!node) return undefined;
    const expr = this.binder.bind(node);
    const at = this.binder.at(node);
    if (expr.is === "literal" && expr.value === null) return undefined;
    if (expr.is !== "literal" || expr.type !== "integer" || (expr.value as bigint) < 0n)
      throw this.sql.invalid(at, "LIMIT and OFFSET are whole numbers from 0");
    return Number(expr.value);
  }
}

/** Where the second table of FROM stands. */
function secondAt(sql: SqlText, node: Node): number {
  const [, body] = only(node);
  return (body.location as number | undefined) ?? sql.word("FROM");
}

/** Expressions, each once, without constants. */
function unique(exprs: Expr[]): Expr[] {
  const found = new Map<string, Expr>();
  for (const expr of exprs) if (expr.is !== "literal") found.set(idOf(expr), expr);
  return [...found.values()];
}

function stepsOf({ columns, distinct, order, offset, limit }: Ending, having: boolean): string[] {
  const by = order.map(({ index, descending, nullsFirst }) => {
    const name = columns[index]?.name ?? "an expression";
    return `${short(name)}${descending ? " DESC" : ""}${nullsFirst === descending ? "" : nullsFirst ? " NULLS FIRST" : " NULLS LAST"}`;
  });
  return [
    ...(having ? ["keep the rows for which HAVING is true"] : []),
    `show the columns ${columns.map(({ name }) => short(name)).join(", ")}`,
    ...(distinct ? ["leave out rows that were there before"] : []),
    ...(by.length ? [`order by ${by.join(", ")}`] : []),
    ...(offset ? [`leave out the first ${offset} rows`] : []),
    ...(Number.isFinite(limit) ? [`end after ${limit} rows`] : []),
  ];
}

/** Names of columns, each once: a second `a` is `a_1`. */
class UniqueNames {
  private readonly taken = new Set<string>();

  of(wanted: string): string {
    let name = wanted;
    for (let i = 1; this.taken.has(name); i++) name = `${wanted}_${i}`;
    this.taken.add(name);
    return name;
  }
}
