/** Expressions of a query with their types: what the planner makes of the parser's tree. */

/**
 * `timestamp` and `date` are instants in UTC, in milliseconds; `decimal` has six digits after the point; `null` is the type of
 * NULL alone.
 */
export type SqlType = "bool" | "integer" | "float" | "decimal" | "text" | "timestamp" | "date" | "null";

/** Integers and decimals (millionths) are bigints, times numbers of milliseconds. */
export type Value = null | boolean | bigint | number | string;

/** A column of the rows that a query reads. */
export interface SchemaColumn {
  name: string;
  type: SqlType;
  /** Whether rows may lack it. */
  nullable: boolean;
  /** Whether it may hold what is no number, which counts as NULL. */
  nan?: boolean;
  /** Whether the type was found out from the first rows, so that a CAST says better. */
  sampled?: boolean;
  /** Why it cannot be read, if so. */
  unsupported?: string;
}

export type Schema = readonly SchemaColumn[];

interface Typed {
  type: SqlType;
  nullable: boolean;
}

export type Expr = Typed &
  (
    | { is: "column"; column: SchemaColumn; at: number }
    | { is: "literal"; value: Value }
    | { is: "call"; op: string; args: Expr[] }
    | { is: "and" | "or"; args: Expr[] }
    | { is: "not" | "isNull"; args: [Expr] }
    /** The first of the args that is not NULL. */
    | { is: "coalesce"; args: Expr[] }
    /** condition, value, condition, value, ..., value otherwise. */
    | { is: "case"; args: Expr[] }
    | { is: "aggregate"; aggregate: Aggregate; at: number }
    /** On the rows of a result: the group's key or an aggregate, by its number. */
    | { is: "result"; index: number }
  );

export type AggregateKind =
  | "count"
  | "countDistinct"
  | "approxDistinct"
  | "sum"
  | "avg"
  | "min"
  | "max"
  | "first"
  | "last"
  | "quantile";

export interface Aggregate {
  kind: AggregateKind;
  /** None for count(*). */
  arg?: Expr;
  /** Rows that it takes. */
  filter?: Expr;
  /** Of `quantile`. */
  quantile?: number;
}

/** The expressions right below. */
export function partsOf(expr: Expr): Expr[] {
  if ("args" in expr) return expr.args;
  if (expr.is !== "aggregate") return [];
  const { arg, filter } = expr.aggregate;
  return [...(arg ? [arg] : []), ...(filter ? [filter] : [])];
}

const ids = new WeakMap<Expr, string>();

/** Two expressions with the same id are the same. */
export function idOf(expr: Expr): string {
  let id = ids.get(expr);
  if (id === undefined) {
    id = describe(expr);
    ids.set(expr, id);
  }
  return id;
}

function describe(expr: Expr): string {
  const parts = partsOf(expr).map(idOf).join(",");
  switch (expr.is) {
    case "column":
      return JSON.stringify(expr.column.name);
    case "literal":
      return `${expr.type}:${typeof expr.value === "string" ? JSON.stringify(expr.value) : String(expr.value)}`;
    case "call":
      return `${expr.op}(${parts})`;
    case "aggregate":
      return `${aggregateId(expr.aggregate)}`;
    case "result":
      return `#${expr.index}`;
    default:
      return `${expr.is}(${parts})`;
  }
}

/** Two aggregates with the same id are the same. */
export function aggregateId({ kind, arg, filter, quantile }: Aggregate): string {
  return `${kind}${quantile ?? ""}(${arg ? idOf(arg) : "*"})${filter ? ` where ${idOf(filter)}` : ""}`;
}

export function literal(value: Value, type: SqlType): Expr {
  return { is: "literal", value, type, nullable: value === null };
}

/** A copy of an expression with other parts below it; `change` gives undefined for what stays. */
export function rewrite(expr: Expr, change: (expr: Expr) => Expr | undefined): Expr {
  const changed = change(expr);
  if (changed) return changed;
  if (!("args" in expr)) return expr;
  return { ...expr, args: expr.args.map((arg) => rewrite(arg, change)) } as Expr;
}

/** Whether some part of an expression is of a kind. */
export function holds(expr: Expr, kind: Expr["is"]): boolean {
  return expr.is === kind || partsOf(expr).some((part) => holds(part, kind));
}

/** Whether an expression has an aggregate in it. */
export function isAggregated(expr: Expr): boolean {
  return holds(expr, "aggregate");
}
