/** Expressions over the rows of a result, and over constants: SQL's rules for NULL, and the same operators as in kernels. */
import type { Expr, Value } from "./expression.ts";
import { operator } from "./operators.ts";

/** The value of an expression; `row` holds what its results are. Throws ValueError. */
export function evaluate(expr: Expr, row: readonly Value[]): Value {
  switch (expr.is) {
    case "literal":
      return expr.value;
    case "result":
      return row[expr.index];
    case "call": {
      const values: Value[] = [];
      for (const arg of expr.args) {
        const value = evaluate(arg, row);
        if (value === null) return null;
        values.push(value);
      }
      const { evaluate: apply, nan } = operator(expr.op);
      const value = apply(...values);
      return nan && Number.isNaN(value) ? null : value;
    }
    case "and":
    case "or":
      return logic(expr.args, row, expr.is === "or");
    case "not": {
      const value = evaluate(expr.args[0], row);
      return value === null ? null : !value;
    }
    case "isNull":
      return evaluate(expr.args[0], row) === null;
    case "coalesce": {
      for (const arg of expr.args) {
        const value = evaluate(arg, row);
        if (value !== null) return value;
      }
      return null;
    }
    case "case": {
      for (let i = 0; i + 1 < expr.args.length; i += 2)
        if (evaluate(expr.args[i], row) === true) return evaluate(expr.args[i + 1], row);
      return evaluate(expr.args.at(-1)!, row);
    }
    default:
      throw new TypeError(`${expr.is} has no value in a row of a result`);
  }
}

/** AND of values that may be NULL; OR if `stop` is true. */
function logic(args: Expr[], row: readonly Value[], stop: boolean): Value {
  let known = true;
  for (const arg of args) {
    const value = evaluate(arg, row);
    if (value === stop) return stop;
    if (value === null) known = false;
  }
  return known ? !stop : null;
}
