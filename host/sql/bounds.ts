/** What a condition says of the range of single columns: rows outside of it need not be looked at. */
import type { Expr, SqlType } from "./expression.ts";

/** Both inclusive. Integers, and decimals in millionths, are bigints; times are ms. */
export interface Bound {
  field: string;
  least?: number | bigint;
  greatest?: number | bigint;
}

/** The comparison with its sides exchanged. */
const TURNED: Record<string, string> = { "<": ">", "<=": ">=", "==": "==", ">=": "<=", ">": "<" };
/** Types whose values are compared as they are kept. */
const ORDERED = new Set<SqlType>(["integer", "float", "decimal", "timestamp"]);

/** All of them have to hold, and they are not all that the condition says. */
export function boundsOf(where: Expr | undefined): Bound[] {
  if (where?.is === "and") return where.args.flatMap(boundsOf);
  if (where?.is !== "call" || !Object.hasOwn(TURNED, where.op)) return [];
  const [a, b] = where.args;
  return [...boundOf(where.op, a, b), ...boundOf(TURNED[where.op], b, a)];
}

function boundOf(op: string, column: Expr, literal: Expr): Bound[] {
  if (column.is !== "column" || literal.is !== "literal") return [];
  const { value, type } = literal;
  if (type !== column.type || !ORDERED.has(type)) return [];
  if (typeof value !== "bigint" && !Number.isFinite(value)) return [];
  const limit = value as number | bigint;
  return [
    {
      field: column.column.name,
      ...(op.startsWith("<") ? {} : { least: limit }),
      ...(op.startsWith(">") ? {} : { greatest: limit }),
    },
  ];
}
