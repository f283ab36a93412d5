/** Functions and aggregates of SQL by name. */
import { nearest } from "../core/errors.ts";
import { type AggregateKind, type Expr, isAggregated, literal, type SqlType } from "./expression.ts";
import { type Node, only, short, type SqlText } from "./text.ts";

/** What functions need of the binder, which see. */
export interface Binding {
  readonly sql: SqlText;
  bind(node: Node): Expr;
  condition(node: Node): Expr;
  at(node: Node): number;
  call(op: string, args: Expr[], type: SqlType, at: number): Expr;
  convert(expr: Expr, type: SqlType, at: number): Expr;
  unify(exprs: Expr[], at: number): Expr[];
  number(sign: string, a: Expr, b: Expr, at: number): Expr;
  sized(expr: Expr, at: number): Expr;
}

const AGGREGATES: Record<string, AggregateKind> = {
  count: "count",
  sum: "sum",
  avg: "avg",
  min: "min",
  max: "max",
  any_value: "first",
  first: "first",
  last: "last",
  approx_count_distinct: "approxDistinct",
  approx_quantile: "quantile",
};

/** What to write instead of some functions that there are not. */
const INSTEAD: Record<string, string> = {
  median: "approx_quantile(x, 0.5) is within 0.8 %",
  quantile: "approx_quantile(x, 0.5) is within 0.8 %",
  percentile_cont: "approx_quantile(x, 0.5) is within 0.8 %",
  percentile_disc: "approx_quantile(x, 0.5) is within 0.8 %",
  now: "a query has no clock: write the time, TIMESTAMP '2024-02-29 13:05'",
  random: "a query has no randomness",
};

const QUANTILES = [0.5, 0.9, 0.99];

const SPANS: Record<string, { ms?: number; months?: number }> = {
  millisecond: { ms: 1 },
  second: { ms: 1000 },
  minute: { ms: 60_000 },
  hour: { ms: 3_600_000 },
  day: { ms: 86_400_000 },
  week: { ms: 604_800_000 },
  month: { months: 1 },
  quarter: { months: 3 },
  year: { months: 12 },
};
const SHORT: Record<string, string> = {
  sec: "second",
  min: "minute",
  h: "hour",
  hr: "hour",
  s: "second",
  ms: "millisecond",
};
const TIME_PARTS = ["year", "quarter", "month", "day", "hour", "minute", "second", "dow", "isodow", "epoch"];

export interface Interval {
  months: number;
  ms: number;
}

/** Of the two sides of an operator. */
export type Intervals = [Interval | undefined, Interval | undefined];

/** The span that a node writes as INTERVAL '15 minutes'; undefined if it is no interval. */
export function intervalOf(binder: Binding, node: Node): Interval | undefined {
  const [kind, body] = only(node);
  if (kind !== "TypeCast") return undefined;
  const name = (body.typeName.names as Node[]).at(-1)!.String.sval as string;
  if (name !== "interval") return undefined;
  const at = body.typeName.location as number;
  const text = body.arg?.A_Const?.sval?.sval as string | undefined;
  if (text === undefined || body.typeName.typmods)
    throw binder.sql.unsupported(at, "an interval that is not written as INTERVAL '15 minutes'");
  return parseInterval(binder, text, at);
}

function parseInterval(binder: Binding, text: string, at: number): Interval {
  const interval = { months: 0, ms: 0 };
  const words =
    text
      .trim()
      .toLowerCase()
      .match(/\d+\s*[a-z]+/g) ?? [];
  if (
    !words.length ||
    words.join("") !==
      text
        .trim()
        .toLowerCase()
        .replace(/(?<=[a-z])\s+/g, "")
  )
    throw binder.sql.invalid(
      at,
      `'${short(text)}' is no interval`,
      "write '15 minutes', '1 hour 30 minutes', '7 days'",
    );
  for (const word of words) {
    const [, count, unit] = /^(\d+)\s*([a-z]+)$/.exec(word)!;
    const span = SPANS[unitOf(unit)];
    if (!span)
      throw binder.sql.invalid(
        at,
        `${unit} is no span of time`,
        `there are: ${Object.keys(SPANS).join(", ")}`,
      );
    interval.months += Number(count) * (span.months ?? 0);
    interval.ms += Number(count) * (span.ms ?? 0);
  }
  if (interval.ms > 1e15 || interval.months > 1e6) throw binder.sql.invalid(at, "the interval is too long");
  return interval;
}

function unitOf(written: string): string {
  const unit = written.toLowerCase();
  if (Object.hasOwn(SPANS, unit)) return unit;
  if (Object.hasOwn(SHORT, unit)) return SHORT[unit];
  const one = unit.replace(/s$/, "");
  return Object.hasOwn(SHORT, one) ? SHORT[one] : Object.hasOwn(SPANS, one) ? one : "";
}

/** Binds a call. */
export function bindFunction(binder: Binding, body: Node, at: number): Expr {
  const names = (body.funcname as Node[]).map((name) => name.String.sval as string);
  const name = names.at(-1)!;
  const refuse = (what: string, hint?: string) => binder.sql.unsupported(at, what, hint);
  if (body.over) throw refuse("a window function (OVER)");
  if (body.agg_within_group) throw refuse("WITHIN GROUP", INSTEAD[name]);
  if (body.agg_order) throw refuse("ORDER BY within an aggregate");
  if (body.func_variadic) throw refuse("VARIADIC");
  if (Object.hasOwn(AGGREGATES, name)) return bindAggregate(binder, body, name, at);
  if (body.agg_filter || body.agg_distinct || body.agg_star)
    throw refuse(`${short(name)} as an aggregate`, INSTEAD[name]);
  const args = (body.args ?? []) as Node[];
  const known = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (!known) {
    const all = [...Object.keys(AGGREGATES), ...Object.keys(FUNCTIONS)];
    const meant = Object.hasOwn(INSTEAD, name) ? undefined : nearest(name, all);
    const hint = Object.hasOwn(INSTEAD, name)
      ? INSTEAD[name]
      : meant
        ? `did you mean ${meant}?`
        : `there are: ${all.join(", ")}`;
    throw refuse(`the function ${short(name)}`, hint);
  }
  const [least, most] = known.takes;
  if (args.length < least || args.length > most) {
    const wanted = least === most ? `${least}` : `${least} to ${most}`;
    throw binder.sql.invalid(at, `${name} takes ${wanted} arguments, and here are ${args.length}`);
  }
  return known.bind(binder, args, at);
}

interface SqlFunction {
  takes: [number, number];
  bind: (binder: Binding, args: Node[], at: number) => Expr;
}

/** A function of one number that gives a float. */
const float = (op: string): SqlFunction => ({
  takes: [1, 1],
  bind: (binder, [arg], at) => binder.call(op, [binder.convert(binder.bind(arg), "float", at)], "float", at),
});

/** A function that leaves integers as they are. */
const rounding = (op: string): SqlFunction => ({
  takes: [1, 1],
  bind: (binder, [node], at) => {
    const arg = binder.bind(node);
    if (arg.type === "integer") return arg;
    return binder.call(op, [binder.convert(arg, "float", at)], "float", at);
  },
});

const power: SqlFunction = {
  takes: [2, 2],
  bind: (binder, args, at) =>
    binder.call(
      "power",
      args.map((arg) => binder.convert(binder.bind(arg), "float", at)),
      "float",
      at,
    ),
};

/** A part of a time; the name of the part comes first. */
const datePart: SqlFunction = {
  takes: [2, 2],
  bind: (binder, [part, node], at) => {
    const wanted = constantText(binder, part, "the part of a time").toLowerCase();
    if (!TIME_PARTS.includes(wanted))
      throw binder.sql.unsupported(
        at,
        `the part ${short(wanted)} of a time`,
        `there are: ${TIME_PARTS.join(", ")}`,
      );
    const type = wanted === "second" || wanted === "epoch" ? "float" : "integer";
    return binder.call(wanted, [timeOf(binder, node, at)], type, at);
  },
};

const FUNCTIONS: Record<string, SqlFunction> = {
  abs: {
    takes: [1, 1],
    bind: (binder, [node], at) => {
      const arg = binder.bind(node);
      const whole = arg.type === "integer" || arg.type === "decimal";
      const number = whole ? arg : binder.convert(arg, "float", at);
      return binder.call(whole ? "i-abs" : "f-abs", [number], number.type, at);
    },
  },
  floor: rounding("floor"),
  ceil: rounding("ceil"),
  ceiling: rounding("ceil"),
  trunc: rounding("trunc"),
  round: rounding("round"),
  sqrt: float("sqrt"),
  exp: float("exp"),
  ln: float("ln"),
  power,
  pow: power,
  mod: {
    takes: [2, 2],
    bind: (binder, args, at) => {
      const [a, b] = binder.unify(
        args.map((arg) => binder.bind(arg)),
        at,
      );
      return binder.number("%", a, b, at);
    },
  },
  starts_with: {
    takes: [2, 2],
    bind: (binder, [node, part], at) => {
      const text = binder.convert(binder.bind(node), "text", at);
      const start = literal(constantText(binder, part, "the start of a text"), "text");
      return binder.call("likeStart", [text, start], "bool", at);
    },
  },
  date_trunc: {
    takes: [2, 2],
    bind: (binder, [unit, node], at) => {
      const written = constantText(binder, unit, "the unit of date_trunc");
      const span = SPANS[unitOf(written)];
      if (!span)
        throw binder.sql.unsupported(
          at,
          `the unit ${short(written)}`,
          `there are: ${Object.keys(SPANS).join(", ")}`,
        );
      return binder.call(
        span.ms ? `floor:${span.ms}` : `months:${span.months}`,
        [timeOf(binder, node, at)],
        "timestamp",
        at,
      );
    },
  },
  time_bucket: {
    takes: [2, 2],
    bind: (binder, [width, node], at) => {
      const span =
        intervalOf(binder, width) ?? parseInterval(binder, constantText(binder, width, "a span of time"), at);
      if (span.ms > 0 === span.months > 0)
        throw binder.sql.invalid(at, "a span has a length, in months or in days and shorter units");
      return binder.call(
        span.ms ? `floor:${span.ms}` : `months:${span.months}`,
        [timeOf(binder, node, at)],
        "timestamp",
        at,
      );
    },
  },
  extract: datePart,
  date_part: datePart,
};

/** A time, as a timestamp. */
function timeOf(binder: Binding, node: Node, at: number): Expr {
  return binder.convert(binder.bind(node), "timestamp", at);
}

function constantText(binder: Binding, node: Node, what: string): string {
  const expr = binder.bind(node);
  if (expr.is === "literal" && expr.type === "text") return expr.value as string;
  throw binder.sql.invalid(binder.at(node), `${what} is a text that is written in the query`);
}

function bindAggregate(binder: Binding, body: Node, name: string, at: number): Expr {
  const { sql } = binder;
  const nodes = (body.args ?? []) as Node[];
  const kind = AGGREGATES[name];
  const distinct = body.agg_distinct === true;
  if (body.agg_star ? kind !== "count" || distinct : nodes.length !== (kind === "quantile" ? 2 : 1))
    throw sql.invalid(
      at,
      `${name} takes ${kind === "quantile" ? "a number and a quantile" : "one argument"}`,
    );
  if (distinct && !["count", "min", "max"].includes(kind))
    throw sql.unsupported(at, `DISTINCT within ${name}`);
  const bound = nodes.map((node) => binder.bind(node));
  const filter = body.agg_filter ? binder.condition(body.agg_filter as Node) : undefined;
  if ([...bound, ...(filter ? [filter] : [])].some(isAggregated))
    throw sql.invalid(at, "an aggregate has no aggregate within it");
  const made = (type: SqlType, aggregateKind: AggregateKind, arg?: Expr, quantile?: number): Expr => {
    const aggregate = {
      kind: aggregateKind,
      ...(arg ? { arg } : {}),
      ...(filter ? { filter } : {}),
      ...(quantile === undefined ? {} : { quantile }),
    };
    const counts = ["count", "countDistinct", "approxDistinct"].includes(aggregateKind);
    return binder.sized({ is: "aggregate", aggregate, at, type, nullable: !counts }, at);
  };
  const [first] = bound;
  if (!first) return made("integer", "count");
  const arg = first.type === "null" ? literal(null, "integer") : first;
  switch (kind) {
    case "count":
      if (distinct) return made("integer", "countDistinct", arg);
      return arg.nullable ? made("integer", "count", arg) : made("integer", "count");
    case "approxDistinct":
      return made("integer", kind, arg);
    case "sum":
    case "avg":
      if (!["integer", "float", "decimal"].includes(arg.type))
        throw sql.invalid(at, `${name} takes numbers, and this is a ${arg.type}`);
      return made(kind === "sum" ? arg.type : "float", kind, arg);
    case "quantile": {
      const share = bound[1];
      const quantile = share.is === "literal" ? Number(share.value) : Number.NaN;
      if (!QUANTILES.includes(quantile))
        throw sql.unsupported(at, "this quantile", `there are: ${QUANTILES.join(", ")}`);
      return made("float", kind, binder.convert(arg, "float", at), quantile);
    }
    default:
      if (arg.type === "bool") throw sql.unsupported(at, `${name} of a bool`);
      return made(arg.type, kind, arg);
  }
}
