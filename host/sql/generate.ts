/**
 * Expressions as source of a kernel. An expression is a value and the condition under which it is not NULL; the value is
 * evaluated only where the condition holds. Names and texts of a query are in the source only as literals.
 */
import { type Expr, idOf, type SchemaColumn, type SqlType } from "./expression.ts";
import { type Argument, HELPER_USES, HELPERS, type Helper, operator } from "./operators.ts";

/** An expression as source. */
export interface Code extends Argument {
  /** Source of the condition under which it is not NULL; empty if it never is. */
  present: string;
}

/** How values of a type are written in a kernel. */
const STORED: Record<SqlType, { type: string; none: string }> = {
  bool: { type: "bool", none: "false" },
  integer: { type: "i64", none: "0" },
  float: { type: "f64", none: "0" },
  decimal: { type: "i64", none: "0" },
  timestamp: { type: "i64", none: "0" },
  date: { type: "i64", none: "0" },
  text: { type: "Text", none: 'Text.of("")' },
  null: { type: "bool", none: "false" },
};

/** Types of fields, keys and aggregates. */
export const FIELD: Record<SqlType, string> = {
  bool: "bool",
  integer: "i64",
  float: "f64",
  decimal: "Decimal",
  timestamp: "Time",
  date: "Time",
  text: "Text",
  null: "Text",
};

/** What a kernel is made of, while it is written. */
export class KernelWriter {
  readonly columns = new Map<SchemaColumn, string>();
  private readonly helpers = new Set<Helper>();
  private readonly names = new Names();
  /** Lines of the function at hand. */
  private lines: string[] = [];
  private indent = 1;
  private temporaries = 0;
  /** Expressions that are in a variable for the time being, by their ids. */
  private readonly known = new Map<string, Code>();

  /** A name in the record of the input, for a column. */
  column(column: SchemaColumn): string {
    let name = this.columns.get(column);
    if (name === undefined) {
      name = this.names.of(column.name);
      this.columns.set(column, name);
    }
    return name;
  }

  line(text: string): void {
    for (const line of text.split("\n")) this.lines.push(line ? "  ".repeat(this.indent) + line : "");
  }

  /** `if (condition) { ... }`, or without braces if it is one line. */
  when(condition: string, write: () => void): void {
    if (!condition || condition === "true") return write();
    const body = this.block(write);
    if (body.length === 1) this.line(`if (${bare(condition)}) ${body[0].trim()}`);
    else {
      this.line(`if (${bare(condition)}) {`);
      this.lines.push(...body);
      this.line("}");
    }
  }

  body(): string {
    return this.lines.join("\n");
  }

  /** Functions that the expressions call. */
  functions(): string[] {
    return [...this.helpers]
      .map((name) => HELPERS[name])
      .map((source) => {
        return source;
      });
  }

  /** The condition under which an expression is true. */
  truth(expr: Expr): string {
    return this.condition(expr).yes;
  }

  /** An expression as source. */
  code(expr: Expr): Code {
    const known = this.known.size ? this.known.get(idOf(expr)) : undefined;
    if (known) return known;
    switch (expr.is) {
      case "column":
        return this.columnCode(expr.column);
      case "literal":
        return this.literalCode(expr);
      case "call":
        return this.callCode(expr);
      case "and":
      case "or":
      case "not": {
        const { yes, no } = this.condition(expr);
        if (!expr.nullable) return plain(yes);
        const value = this.temporary(yes);
        return { ...plain(value), present: any([value, no]) };
      }
      case "isNull": {
        const { present } = this.code(expr.args[0]);
        return plain(present ? not(present) : "false");
      }
      case "coalesce":
        return this.coalesceCode(expr);
      case "case":
        return this.caseCode(expr);
      default:
        throw new TypeError(`${expr.is} is nothing that a kernel works out`);
    }
  }

  /** A value as a field of a record, a key or an aggregate takes it. */
  object(code: Code, type: SqlType): string {
    if (type === "timestamp" || type === "date") return code.time;
    if (type === "decimal") {
      const units = /^(.*)\.units$/.exec(code.value);
      return units && atom(code.value) ? units[1] : `Decimal.of(${bare(code.value)})`;
    }
    return bare(code.value);
  }

  /** A value in a variable of its own, if it is more than a name. */
  spill(code: Code, type: SqlType, always = false): Code {
    if (!always && atom(code.value) && (!code.present || atom(code.present))) return code;
    if (!code.present) return this.named(this.temporary(bare(code.value), STORED[type].type), "", type);
    const present = !always && atom(code.present) ? code.present : this.temporary(bare(code.present));
    const { type: stored, none } = STORED[type];
    const value = this.temporary(`${present} ? ${code.value} : ${none}`, stored);
    return this.named(value, present, type);
  }

  private temporary(value: string, type?: string): string {
    const name = `v${++this.temporaries}`;
    this.line(`const ${name}${type ? `: ${type}` : ""} = ${value};`);
    return name;
  }

  private named(value: string, present: string, type: SqlType): Code {
    return { value, present, time: type === "timestamp" || type === "date" ? `Time.of(${bare(value)})` : "" };
  }

  private columnCode(column: SchemaColumn): Code {
    const field = `row.${this.column(column)}`;
    const whole = column.nullable ? `${field}.value` : field;
    const here = column.nullable ? `${field}.present` : "";
    const { type } = column;
    if (type === "timestamp" || type === "date") return { value: `${whole}.ms`, time: whole, present: here };
    if (type === "decimal") return { value: `${whole}.units`, time: "", present: here };
    const present = column.nan && type === "float" ? all([here, `!isNaN(${whole})`]) : here;
    return { value: whole, time: "", present };
  }

  private literalCode({ type, value }: Expr & { is: "literal" }): Code {
    const { none } = STORED[type];
    if (value === null) return this.named(none, "false", type);
    if (type === "text") {
      const constant = textLiteral(value as string);
      return { value: `Text.of(${constant})`, time: "", present: "", constant };
    }
    return this.named(numberLiteral(value as bigint | number | boolean, type), "", type);
  }

  private callCode({ op, args }: Expr & { is: "call" }): Code {
    const { code, guard, nan, again, uses } = operator(op);
    for (const helper of uses ?? []) this.help(helper);
    const twice = guard !== undefined || again === true;
    const codes = args.map((arg) => {
      const made = this.code(arg);
      return twice && arg.is !== "literal" ? this.spill(made, arg.type) : made;
    });
    const present = codes.map((each) => each.present);
    const constant = args.map((arg) => (arg.is === "literal" && arg.value !== null ? arg.value : undefined));
    const sure = constant[1] !== undefined && Number(constant[1]) !== 0;
    if (guard && !sure) present.push(`(${guard(...codes)})`);
    const value = code(...codes);
    const made: Code = { value, present: all(present), time: timeBehind(value) };
    if (!nan) return made;
    const kept = this.spill(made, "float");
    return { ...kept, present: all([kept.present, `!isNaN(${kept.value})`]) };
  }

  private help(name: Helper): void {
    for (const other of HELPER_USES[name] ?? []) this.help(other);
    this.helpers.add(name);
  }

  private coalesceCode(expr: Expr & { is: "coalesce" }): Code {
    const args = untilSure(expr.args);
    const codes = args.map((arg, i) => {
      const made = this.code(arg);
      return expr.nullable || i < args.length - 1 ? this.spill(made, arg.type) : made;
    });
    const value = codes
      .slice(0, -1)
      .reduceRight(
        (rest, each) => `(${each.present || "true"} ? ${each.value} : ${rest})`,
        codes.at(-1)!.value,
      );
    return this.named(value, expr.nullable ? any(codes.map(({ present }) => present)) : "", expr.type);
  }

  private caseCode(expr: Expr & { is: "case" }): Code {
    const { type, none } = STORED[expr.type];
    const value = `v${++this.temporaries}`;
    const present = expr.nullable ? `v${++this.temporaries}` : "";
    this.line(`let ${value}: ${type} = ${none};`);
    if (present) this.line(`let ${present} = false;`);
    const assign = (result: Expr) => {
      const made = this.code(result);
      if (made.present === "false") return;
      this.when(present ? made.present : "", () => {
        this.line(`${value} = ${bare(made.value)};`);
        if (present) this.line(`${present} = true;`);
      });
    };
    this.branches(expr.args, assign);
    return this.named(value, present, expr.type);
  }

  /** `if (...) { ... } else if (...) { ... } else { ... }`; a condition that needs lines of its own nests. */
  private branches(args: readonly Expr[], assign: (result: Expr) => void): void {
    let opened = 0;
    let chained = false;
    for (let i = 0; i + 1 < args.length; i += 2) {
      let condition = "";
      const before = this.block(() => {
        condition = this.truth(args[i]);
      });
      if (chained && before.length) {
        this.line("} else {");
        this.indent++;
        opened++;
        chained = false;
        this.lines.push(...before);
      } else this.lines.push(...before.map((line) => line.slice(2)));
      this.line(`${chained ? "} else " : ""}if (${bare(condition)}) {`);
      this.lines.push(...this.block(() => assign(args[i + 1])));
      chained = true;
    }
    const otherwise = this.block(() => assign(args.at(-1)!));
    if (otherwise.length) {
      this.line("} else {");
      this.lines.push(...otherwise);
    }
    this.line("}");
    for (; opened; opened--) {
      this.indent--;
      this.line("}");
    }
  }

  /** Lines that are written a step further in. */
  private block(write: () => void): string[] {
    const outer = this.lines;
    this.lines = [];
    this.indent++;
    write();
    this.indent--;
    const body = this.lines;
    this.lines = outer;
    return body;
  }

  /** When an expression is true, and when it is false; otherwise it is NULL. */
  private condition(expr: Expr): { yes: string; no: string } {
    if (expr.is === "not") {
      const { yes, no } = this.condition(expr.args[0]);
      return { yes: no, no: yes };
    }
    if (expr.is === "and" || expr.is === "or") {
      const left = sharedLeft(expr.args);
      if (left) this.known.set(idOf(left), this.spill(this.code(left), left.type, true));
      const parts = expr.args.map((arg) => this.condition(arg));
      if (left) this.known.delete(idOf(left));
      const [yes, no] = [parts.map((part) => part.yes), parts.map((part) => part.no)];
      return expr.is === "and" ? { yes: every(yes), no: any(no) } : { yes: any(yes), no: every(no) };
    }
    const { value, present } = this.code(expr);
    return { yes: every([present, value]), no: every([present, not(value)]) };
  }
}

/** The value that many conditions hold against others, as IN does: a field that is read hundreds of times makes compiling slow. */
function sharedLeft(conditions: Expr[]): Expr | undefined {
  const [first] = conditions;
  if (conditions.length <= 8 || first.is !== "call") return undefined;
  const id = idOf(first.args[0]);
  const all = conditions.every(
    (each) => each.is === "call" && each.op.endsWith("==") && idOf(each.args[0]) === id,
  );
  return all ? first.args[0] : undefined;
}

/** Arguments up to the first that is never NULL. */
function untilSure(args: Expr[]): Expr[] {
  const sure = args.findIndex((arg) => !arg.nullable);
  return sure < 0 ? args : args.slice(0, sure + 1);
}

/** The time whose milliseconds a value is. */
function timeBehind(value: string): string {
  const object =
    /^([\w.]+\.floor(?:Months)?\(\d+\)|[\w.]+|Time\.of\([\w.]+\)\.floor(?:Months)?\(\d+\))\.ms$/.exec(value);
  return object ? object[1] : `Time.of(${bare(value)})`;
}

const plain = (value: string): Code => ({ value, present: "", time: "" });

/** Whether a source is a name, a member or a literal, so that it may stand twice. */
function atom(source: string): boolean {
  return /^!?[\w.]+$/.test(source);
}

/** All of some conditions; empty if they hold anyway. */
const all = (parts: string[]) =>
  joined(
    parts.filter((part) => part && part !== "true"),
    "&&",
  );
const every = (parts: string[]) => all(parts) || "true";
const any = (parts: string[]) =>
  joined(
    parts.map((part) => part || "true"),
    "||",
  );

/** Conditions joined two by two, so that long lists of them are not deep. */
function joined(parts: string[], sign: string): string {
  if (parts.length <= 1) return parts[0] ?? "";
  if (parts.length <= 8) return `(${parts.join(` ${sign} `)})`;
  const half = parts.length >> 1;
  return `(${joined(parts.slice(0, half), sign)} ${sign} ${joined(parts.slice(half), sign)})`;
}

function not(condition: string): string {
  if (condition === "true") return "false";
  if (condition === "false") return "true";
  return condition.startsWith("!") && atom(condition)
    ? condition.slice(1)
    : `!${atom(condition) ? condition : wrapped(condition)}`;
}

function wrapped(source: string): string {
  return bare(source) === source ? `(${source})` : source;
}

/** Without the parentheses around all of it. */
export function bare(source: string): string {
  if (!source.startsWith("(") || !source.endsWith(")")) return source;
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < source.length - 1; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === '"') quoted = !quoted;
    else if (!quoted && source[i] === "(") depth++;
    else if (!quoted && source[i] === ")") depth--;
    if (depth === 0) return source;
  }
  return source.slice(1, -1);
}

/** A text as a literal, in ASCII but for letters, so that nothing of it can be more than that. */
export function textLiteral(text: string): string {
  return JSON.stringify(text).replace(/[^\x20-\x7e\p{L}]/gu, (sign) =>
    [...Array(sign.length).keys()]
      .map((i) => `\\u${sign.charCodeAt(i).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

function numberLiteral(value: bigint | number | boolean, type: SqlType): string {
  if (typeof value === "boolean") return String(value);
  if (typeof value === "bigint") {
    if (value === -(2n ** 63n)) return "i64.MIN_VALUE";
    return value < 0n ? `(${value})` : String(value);
  }
  const text = String(value);
  if (type !== "float") return value < 0 ? `(${text})` : text;
  const float = /^-?\d+$/.test(text) ? `${text}.0` : text;
  return value < 0 || Object.is(value, -0) ? `(${Object.is(value, -0) ? "-0.0" : float})` : float;
}

/** Words that are no names of fields. */
const RESERVED = new Set(
  `abstract any as async await bool boolean break case catch class const constructor continue debugger declare default delete do
  else enum export extends false finally for from function get if implements import in instanceof interface is key keyof let
  module namespace new null number of package private protected public readonly return set static string super switch table
  symbol this throw true try type typeof undefined var void while with yield i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 v128
  isize usize rows group`.split(/\s+/),
);

/** Names of fields after those of columns: letters and digits, each once. */
export class Names {
  private readonly taken = new Set<string>();

  of(wanted: string): string {
    const words = wanted.match(/[A-Za-z0-9]+/g) ?? ["column"];
    const camel = words
      .map((word, i) => (i ? word[0].toUpperCase() + word.slice(1) : word[0].toLowerCase() + word.slice(1)))
      .join("")
      .slice(0, 40);
    const base = /^[A-Za-z]/.test(camel) ? camel : `c${camel}`;
    let name = RESERVED.has(base) ? `${base}Value` : base;
    for (let i = 2; this.taken.has(name); i++) name = `${base}${i}`;
    this.taken.add(name);
    return name;
  }
}
