/**
 * What can be done to values that are not NULL: the same thing as source of a kernel and over values here. Times and decimals
 * are i64 in a kernel, milliseconds and millionths; a text is a Text. An answer of null is NULL; so is what a guard refuses.
 */
import type { Value } from "./expression.ts";
import { check64, compare, DAY_MS, MILLION, parseAs, roundAway, roundToEven, ValueError } from "./values.ts";

/** An argument as source: its value, and for a time the object that has its parts. */
export interface Argument {
  value: string;
  /** Of a time: a Time. */
  time: string;
  /** Of a text that is a constant: it as a string. */
  constant?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: the binder has checked the types
type Any = any;

export interface Operator {
  /** Source of the value. */
  code: (...args: Argument[]) => string;
  evaluate: (...args: Any[]) => Value;
  /** Source of the condition without which the answer is NULL. */
  guard?: (...args: Argument[]) => string;
  /** Whether an answer that is NaN is NULL. */
  nan?: boolean;
  /** Whether the source has an argument more than once. */
  again?: boolean;
  /** Functions of the kernel that the source calls. */
  uses?: Helper[];
}

/** Functions that a generated kernel has if it needs them. */
export const HELPERS = {
  plus: `/** a + b; what 64 bits do not hold stops the run. */
function plus(a: i64, b: i64): i64 {
  const sum = a + b;
  if (((a ^ sum) & (b ^ sum)) < 0) throw new Error("an integer is larger than 64 bits hold");
  return sum;
}`,
  minus: `/** a - b; what 64 bits do not hold stops the run. */
function minus(a: i64, b: i64): i64 {
  const difference = a - b;
  if (((a ^ b) & (a ^ difference)) < 0) throw new Error("an integer is larger than 64 bits hold");
  return difference;
}`,
  times: `/** a * b; what 64 bits do not hold stops the run. */
function times(a: i64, b: i64): i64 {
  const product = a * b;
  if ((a == -1 && b == i64.MIN_VALUE) || (a != 0 && a != -1 && product / a != b)) {
    throw new Error("an integer is larger than 64 bits hold");
  }
  return product;
}`,
  over: `/** a / b, cut off at the point. */
function over(a: i64, b: i64): i64 {
  return b == -1 ? minus(0, a) : a / b;
}`,
  rounded: `/** The nearest integer; halves go away from zero. */
function rounded(x: f64): f64 {
  const whole = trunc(x);
  return abs(x - whole) >= 0.5 ? whole + copysign<f64>(1, x) : whole;
}`,
  integer: `/** The nearest integer, the even one of two. */
function integer(x: f64): i64 {
  const whole = nearest(x);
  if (!(whole >= -9223372036854775808.0 && whole < 9223372036854775808.0)) {
    throw new Error("a number is larger than 64 bits hold");
  }
  return <i64>whole;
}`,
  numberOf: `/** The number that is written in a text. */
function numberOf(text: Text): f64 {
  const value = text.trim().toF64();
  if (isNaN(value)) throw new Error("a text that is cast to a number is none: " + text.toString());
  return value;
}`,
  integerOf: `/** The integer that is written in a text. */
function integerOf(text: Text): i64 {
  const value = text.trim().toI64(0);
  if (value == 0 && text.trim().toI64(1) == 1 && !text.trim().is("1")) {
    throw new Error("a text that is cast to an integer is none: " + text.toString());
  }
  return value;
}`,
} as const;

export type Helper = keyof typeof HELPERS;

/** What a helper calls. */
export const HELPER_USES: Partial<Record<Helper, Helper[]>> = { over: ["minus"] };

const binary = (sign: string) => (a: Argument, b: Argument) => `(${a.value} ${sign} ${b.value})`;
const called =
  (name: string) =>
  (...args: Argument[]) =>
    `${name}(${args.map(({ value }) => value).join(", ")})`;
const notZero = (_: Argument, b: Argument) => `${b.value} != 0`;

/** A comparison: numbers and truth values by the sign, texts by their bytes. */
function comparison(sign: string, holds: (order: number) => boolean): Record<string, Operator> {
  const evaluate = (a: Any, b: Any) => holds(compare(a, b));
  const text = (a: Argument, b: Argument): string => {
    if (sign === "==" || sign === "!=") {
      const [view, constant] = a.constant === undefined ? [a, b.constant] : [b, a.constant];
      if (constant !== undefined) return `${sign === "!=" ? "!" : ""}${view.value}.is(${constant})`;
      return `(${a.value} ${sign} ${b.value})`;
    }
    return `(${a.value}.compare(${b.value}) ${sign} 0)`;
  };
  return { [sign]: { code: binary(sign), evaluate }, [`text${sign}`]: { code: text, evaluate } };
}

const pattern = (name: string, test: (text: string, part: string) => boolean): Operator => ({
  code: (text, part) => `${text.value}.${name}(${part.constant})`,
  evaluate: test,
});

const part = (code: (time: string) => string, of: (date: Date) => number): Operator => ({
  code: (t) => `<i64>${code(t.time)}`,
  evaluate: (ms: number) => BigInt(of(new Date(ms))),
});

const WEEK_MS = 7 * DAY_MS;
/** 1970 began on a Thursday; weeks begin on Monday. */
const MONDAY_MS = 3 * DAY_MS;
/** 2000-01-03, a Monday: where spans begin that do not fill a day. */
const BUCKETS_FROM_MS = 946_857_600_000;

const floored = (ms: number, step: number) => Math.floor(ms / step) * step;

/** The start of the span of so many ms. */
function floor(step: number): Operator {
  if (DAY_MS % step === 0)
    return { code: (t) => `${t.time}.floor(${step}).ms`, evaluate: (ms: number) => floored(ms, step) };
  const from = step === WEEK_MS ? -MONDAY_MS : BUCKETS_FROM_MS % step;
  return {
    code: (t) => `(Time.of(${t.value} - (${from})).floor(${step}).ms + (${from}))`,
    evaluate: (ms: number) => floored(ms - from, step) + from,
  };
}

/** The start of the span of so many months, counted from 2000. */
function floorMonths(months: number): Operator {
  return {
    code: (t) => `${t.time}.floorMonths(${months}).ms`,
    evaluate: (ms: number) => {
      const date = new Date(ms);
      const month = (date.getUTCFullYear() - 2000) * 12 + date.getUTCMonth();
      const first = floored(month, months);
      const year = 2000 + Math.floor(first / 12);
      return new Date(0).setUTCFullYear(year, first - Math.floor(first / 12) * 12, 1);
    },
  };
}

const pick = (better: (order: number) => boolean) => (a: Any, b: Any) => (better(compare(a, b)) ? a : b);
const cast = (code: (a: Argument) => string, evaluate: (value: Any) => Value, uses?: Helper[]): Operator => ({
  code,
  evaluate,
  ...(uses ? { uses } : {}),
});
const parsed = (type: "integer" | "float") => (text: string) => {
  const value = parseAs(text, type);
  if (value === undefined) throw new ValueError(`"${text}" is no ${type}`);
  return value;
};

const OPERATORS: Record<string, Operator> = {
  "i+": { code: called("plus"), evaluate: (a: bigint, b: bigint) => check64(a + b), uses: ["plus"] },
  "i-": { code: called("minus"), evaluate: (a: bigint, b: bigint) => check64(a - b), uses: ["minus"] },
  "i*": { code: called("times"), evaluate: (a: bigint, b: bigint) => check64(a * b), uses: ["times"] },
  "i/": {
    code: (a, b) => (/^\d+$/.test(b.value) ? `(${a.value} / ${b.value})` : `over(${a.value}, ${b.value})`),
    evaluate: (a: bigint, b: bigint) => (b === 0n ? null : check64(a / b)),
    guard: notZero,
    uses: ["over"],
  },
  "i%": { code: binary("%"), evaluate: (a: bigint, b: bigint) => (b === 0n ? null : a % b), guard: notZero },
  "f+": { code: binary("+"), evaluate: (a, b) => a + b },
  "f-": { code: binary("-"), evaluate: (a, b) => a - b },
  "f*": { code: binary("*"), evaluate: (a, b) => a * b },
  "f/": { code: binary("/"), evaluate: (a, b) => (b === 0 ? null : a / b), guard: notZero },
  // A decimal's value is an integer of millionths.
  "d+": { code: called("plus"), evaluate: (a: bigint, b: bigint) => check64(a + b), uses: ["plus"] },
  "d-": { code: called("minus"), evaluate: (a: bigint, b: bigint) => check64(a - b), uses: ["minus"] },
  // Times are far from what overflows.
  "t+": { code: binary("+"), evaluate: (a, b) => a + Number(b) },
  "t-": { code: binary("-"), evaluate: (a, b) => a - Number(b) },
  "i-neg": { code: (a) => `minus(0, ${a.value})`, evaluate: (a: bigint) => check64(-a), uses: ["minus"] },
  "f-neg": { code: (a) => `(-${a.value})`, evaluate: (a) => -a },
  ...comparison("==", (order) => order === 0),
  ...comparison("!=", (order) => order !== 0),
  ...comparison("<", (order) => order < 0),
  ...comparison("<=", (order) => order <= 0),
  ...comparison(">", (order) => order > 0),
  ...comparison(">=", (order) => order >= 0),
  like: pattern("is", (text, other) => text === other),
  likeStart: pattern("startsWith", (text, other) => text.startsWith(other)),
  likeEnd: pattern("endsWith", (text, other) => text.endsWith(other)),
  likeAny: pattern("includes", (text, other) => text.includes(other)),
  likeBoth: {
    code: (text, start, end) =>
      `(${text.value}.length >= ${byteLength(start) + byteLength(end)} && ${text.value}.startsWith(${start.constant}) && ${text.value}.endsWith(${end.constant}))`,
    evaluate: (text: string, start: string, end: string) =>
      text.length >= start.length + end.length && text.startsWith(start) && text.endsWith(end),
    again: true,
  },
  "i-abs": {
    code: (a) => `(${a.value} < 0 ? minus(0, ${a.value}) : ${a.value})`,
    evaluate: (a: bigint) => check64(a < 0n ? -a : a),
    uses: ["minus"],
    again: true,
  },
  "f-abs": { code: called("abs"), evaluate: Math.abs },
  floor: { code: called("floor"), evaluate: Math.floor },
  ceil: { code: called("ceil"), evaluate: Math.ceil },
  trunc: { code: called("trunc"), evaluate: Math.trunc },
  round: { code: called("rounded"), evaluate: roundAway, uses: ["rounded"] },
  sqrt: { code: called("sqrt"), evaluate: Math.sqrt, nan: true },
  exp: { code: called("Math.exp"), evaluate: Math.exp },
  ln: {
    code: called("Math.log"),
    evaluate: (a) => (a > 0 ? Math.log(a) : null),
    guard: (a) => `${a.value} > 0`,
  },
  power: { code: called("Math.pow"), evaluate: (a, b) => a ** b, nan: true },
  least: {
    code: (a, b) => `(${b.value} < ${a.value} ? ${b.value} : ${a.value})`,
    evaluate: pick((order) => order <= 0),
    again: true,
  },
  greatest: {
    code: (a, b) => `(${b.value} > ${a.value} ? ${b.value} : ${a.value})`,
    evaluate: pick((order) => order >= 0),
    again: true,
  },
  "integer>float": cast((a) => `<f64>${a.value}`, Number),
  "integer>decimal": cast(
    (a) => `times(${a.value}, 1000000)`,
    (a: bigint) => check64(a * MILLION),
    ["times"],
  ),
  "decimal>float": cast(
    (a) => `(<f64>${a.value} / 1000000)`,
    (a) => Number(a) / 1e6,
  ),
  "decimal>integer": cast(
    (a) => `integer(rounded(<f64>${a.value} / 1000000))`,
    (a) => BigInt(roundAway(Number(a) / 1e6)),
    ["integer", "rounded"],
  ),
  "float>integer": cast((a) => `integer(${a.value})`, roundToEven, ["integer"]),
  "bool>integer": cast(
    (a) => `<i64>${a.value}`,
    (a) => (a ? 1n : 0n),
  ),
  "integer>bool": cast(
    (a) => `(${a.value} != 0)`,
    (a) => a !== 0n,
  ),
  "text>float": cast((a) => `numberOf(${a.value})`, parsed("float"), ["numberOf"]),
  "text>integer": cast((a) => `integerOf(${a.value})`, parsed("integer"), ["integerOf"]),
  "timestamp>date": floor(DAY_MS),
  year: part(
    (t) => `${t}.year`,
    (d) => d.getUTCFullYear(),
  ),
  month: part(
    (t) => `${t}.month`,
    (d) => d.getUTCMonth() + 1,
  ),
  quarter: part(
    (t) => `((${t}.month + 2) / 3)`,
    (d) => Math.floor(d.getUTCMonth() / 3) + 1,
  ),
  day: part(
    (t) => `${t}.day`,
    (d) => d.getUTCDate(),
  ),
  hour: part(
    (t) => `${t}.hour`,
    (d) => d.getUTCHours(),
  ),
  minute: part(
    (t) => `${t}.minute`,
    (d) => d.getUTCMinutes(),
  ),
  isodow: part(
    (t) => `${t}.weekday`,
    (d) => d.getUTCDay() || 7,
  ),
  dow: part(
    (t) => `(${t}.weekday % 7)`,
    (d) => d.getUTCDay(),
  ),
  second: {
    code: (t) => `(<f64>(${t.value} - ${t.time}.floor(60000).ms) / 1000)`,
    evaluate: (ms: number) => (ms - floored(ms, 60_000)) / 1000,
    again: true,
  },
  epoch: { code: (t) => `(<f64>${t.value} / 1000)`, evaluate: (ms: number) => ms / 1000 },
};

function byteLength({ constant }: Argument): number {
  return Buffer.byteLength(JSON.parse(constant!) as string);
}

/** The operator of a name; `floor:3600000` and `months:3` are made as they are asked for. */
export function operator(op: string): Operator {
  const [name, argument] = op.split(":");
  if (name === "floor" && argument) return floor(Number(argument));
  if (name === "months") return floorMonths(Number(argument));
  return OPERATORS[op];
}

/** Whether there is such an operator. */
export function isOperator(op: string): boolean {
  return Object.hasOwn(OPERATORS, op);
}
