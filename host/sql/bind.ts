/** From the parser's tree to expressions with types: names are looked up, and what this SQL has not is refused with its place. */
import { nearest } from "../core/errors.ts";
import { SQL_DEPTH_MAX, SQL_EXPRESSION_MAX } from "../core/limits.ts";
import { evaluate } from "./evaluate.ts";
import {
  type Expr,
  literal,
  partsOf,
  type Schema,
  type SchemaColumn,
  type SqlType,
  type Value,
} from "./expression.ts";
import { type Binding, bindFunction, type Intervals, intervalOf } from "./functions.ts";
import { isOperator, operator } from "./operators.ts";
import { matches, type Name, type Node, only, short, SqlText } from "./text.ts";
import { parseAs, ValueError } from "./values.ts";

const CASES_MAX = 100;

/** Kinds of the parser's nodes that are refused, in words. */
const REFUSED: Record<string, string> = {
  SubLink: "a subquery",
  A_ArrayExpr: "ARRAY",
  RowExpr: "a row of values",
  A_Indirection: "a subscript or field of a value",
  ParamRef: "a parameter",
  CollateClause: "COLLATE",
  SQLValueFunction: "the current time or user",
  GroupingFunc: "GROUPING",
  SetToDefault: "DEFAULT",
  List: "a list",
};

/** Names of SQL's types, as the parser or a user writes them. */
const TYPES: Record<string, SqlType> = {
  bool: "bool",
  boolean: "bool",
  int2: "integer",
  int4: "integer",
  int8: "integer",
  int: "integer",
  integer: "integer",
  bigint: "integer",
  smallint: "integer",
  float8: "float",
  double: "float",
  float: "float",
  numeric: "decimal",
  decimal: "decimal",
  text: "text",
  string: "text",
  varchar: "text",
  timestamp: "timestamp",
  timestamptz: "timestamp",
  date: "date",
};

const COMPARISONS: Record<string, string> = {
  "=": "==",
  "<>": "!=",
  "!=": "!=",
  "<": "<",
  "<=": "<=",
  ">": ">",
  ">=": ">=",
};

export class Binder implements Binding {
  readonly sql: SqlText;
  /** Columns by which the rows are read, with the types that casts give them. */
  readonly columns: Schema;
  private readonly tables: string[];
  private readonly sizes = new WeakMap<Expr, number>();
  private depth = 0;

  /** `tables` are the names that may stand before a column's. */
  constructor(sql: SqlText, schema: Schema, tables: string[]) {
    this.sql = sql;
    this.tables = tables;
    this.columns = schema;
    const wanted = this.castColumns(sql.select);
    this.columns = schema.map((column) => {
      const type = wanted.get(column);
      return type ? { ...column, type } : column;
    });
  }

  /** Binds an expression. */
  bind(node: Node): Expr {
    if (++this.depth > SQL_DEPTH_MAX)
      throw this.sql.invalid(
        this.at(node),
        `the expression is nested more than ${SQL_DEPTH_MAX} deep`,
        "each term of a long sum or product is a level, too: put parts of it in parentheses",
      );
    const expr = this.bindNode(node);
    this.depth--;
    return expr;
  }

  /** Binds a condition. */
  condition(node: Node): Expr {
    return this.convert(this.bind(node), "bool", this.at(node));
  }

  /** Where a node stands, bytes. */
  at(node: Node): number {
    const [kind, body] = only(node);
    if (kind === "TypeCast" && !(body.location >= 0)) return body.typeName.location;
    // Of an infix operator the place is its sign's.
    if (body.location >= 0) return body.location as number;
    const child = (body.lexpr ?? body.arg ?? body.args?.[0]) as Node | undefined;
    return child ? this.at(child) : 0;
  }

  /** A call whose arguments have the right types; what is constant is worked out. */
  call(op: string, args: Expr[], type: SqlType, at: number): Expr {
    const { guard, nan } = operator(op);
    const constant = args.every((arg) => arg.is === "literal");
    const expr: Expr = { is: "call", op, args, type, nullable: true };
    if (constant) {
      try {
        return literal(evaluate(expr, []), type);
      } catch (error) {
        if (error instanceof ValueError) throw this.sql.invalid(at, error.message);
        throw error;
      }
    }
    const divisor = args[1]?.is === "literal" && args[1].value !== null;
    const guarded = guard !== undefined && !(divisor && Number((args[1] as { value: Value }).value) !== 0);
    expr.nullable = nan === true || guarded || args.some((arg) => arg.nullable);
    return this.sized(expr, at);
  }

  /** The expression, unless it has grown out of bounds by parts that it has more than once. */
  sized(expr: Expr, at: number): Expr {
    const size = partsOf(expr).reduce((sum, part) => sum + (this.sizes.get(part) ?? 1), 1);
    if (size > SQL_EXPRESSION_MAX) throw this.sql.invalid(at, "the expression is too large");
    this.sizes.set(expr, size);
    return expr;
  }

  /** The expression as another type, where SQL does that by itself. */
  convert(expr: Expr, type: SqlType, at: number): Expr {
    if (expr.type === type) return expr;
    if (expr.type === "null") return literal(null, type);
    if (expr.is === "literal" && expr.type === "text") {
      const value = parseAs(expr.value as string, type);
      if (value === undefined) throw this.sql.invalid(at, `'${short(expr.value as string)}' is no ${type}`);
      return literal(value, type);
    }
    if (expr.type === "date" && type === "timestamp") return { ...expr, type };
    const op = `${expr.type}>${type}`;
    if (["integer>float", "integer>decimal", "decimal>float"].includes(op))
      return this.call(op, [expr], type, at);
    throw this.sql.invalid(at, `a ${type} is wanted here, and this is a ${expr.type}`);
  }

  /** All of one type: the one that can hold them. */
  unify(exprs: Expr[], at: number): Expr[] {
    const typed = exprs.filter((expr) => expr.type !== "null");
    // A text that is written in the query is what the others are.
    const known = typed.filter((expr) => !(expr.is === "literal" && expr.type === "text"));
    const types = new Set((known.length ? known : typed).map((expr) => expr.type));
    const type = common([...types]);
    if (!type)
      throw this.sql.invalid(at, `${[...types].join(" and ")} do not go together`, "CAST one of them");
    return exprs.map((expr) => this.convert(expr, type, at));
  }

  compare(sign: string, left: Expr, right: Expr, at: number): Expr {
    const [a, b] = this.unify([left, right], at);
    return this.call(a.type === "text" ? `text${sign}` : sign, [a, b], "bool", at);
  }

  and(args: Expr[]): Expr {
    return { is: "and", args, type: "bool", nullable: args.some((arg) => arg.nullable) };
  }

  not(arg: Expr): Expr {
    return { is: "not", args: [arg], type: "bool", nullable: arg.nullable };
  }

  private bindNode(node: Node): Expr {
    const [kind, body] = only(node);
    const at = this.at(node);
    switch (kind) {
      case "ColumnRef":
        return { is: "column", ...this.columnOf(body) };
      case "A_Const":
        return this.constant(body);
      case "TypeCast":
        return this.cast(body, at);
      case "A_Expr":
        return this.operation(body, at);
      case "BoolExpr": {
        const args = (body.args as Node[]).map((arg) => this.condition(arg));
        if (body.boolop === "NOT_EXPR") return this.sized(this.not(args[0]), at);
        const is = body.boolop === "AND_EXPR" ? "and" : "or";
        return this.sized({ is, args, type: "bool", nullable: args.some((arg) => arg.nullable) }, at);
      }
      case "NullTest":
        return this.sized(this.nullTest(this.bind(body.arg), body.nulltesttype === "IS_NULL"), at);
      case "BooleanTest":
        return this.sized(this.booleanTest(body), at);
      case "CaseExpr":
        return this.sized(this.caseOf(body, at), at);
      case "CoalesceExpr":
        return this.sized(
          this.coalesce(
            (body.args as Node[]).map((arg) => this.bind(arg)),
            at,
          ),
          at,
        );
      case "MinMaxExpr":
        return this.extreme(body, at);
      case "FuncCall":
        return bindFunction(this, body, at);
      default:
        throw this.sql.unsupported(at, REFUSED[kind] ?? kind.replace(/Expr$/, ""));
    }
  }

  /** Every column of the rows that can be read, for `*`. */
  all(at: number): Expr[] {
    const unreadable = this.columns.find((column) => column.unsupported);
    if (unreadable)
      throw this.sql.invalid(
        at,
        `the column "${unreadable.name}" cannot be read: ${unreadable.unsupported}`,
        "name the columns that are wanted instead of *",
      );
    return this.columns.map((column) => columnExpr(column, at));
  }

  /** The column that a reference names. */
  columnOf(body: Node): { column: SchemaColumn; at: number; type: SqlType; nullable: boolean } {
    const fields = body.fields as Node[];
    const at = body.location as number;
    if (fields.some((field) => field.A_Star)) throw this.sql.unsupported(at, "* within an expression");
    const parts = fields.map((field) => (field.String?.sval as string) ?? "");
    const names = this.sql.names(at, parts);
    const behind = names.length > 1 && this.tables.some((table) => matches(names[0], table));
    const own = behind ? names.slice(1) : names;
    const name: Name = {
      text: own.map(({ text }) => text).join("."),
      quoted: own.some(({ quoted }) => quoted),
      at,
    };
    const found = this.find(name, behind ? undefined : names);
    if (found.unsupported)
      throw this.sql.invalid(at, `the column "${found.name}" cannot be read: ${found.unsupported}`);
    return { column: found, at, type: found.type, nullable: found.nullable };
  }

  private find(name: Name, dotted?: Name[]): SchemaColumn {
    const exact = this.columns.filter((column) => column.name === name.text);
    const found = name.quoted ? exact : this.columns.filter((column) => matches(name, column.name));
    if (found.length === 1) return found[0];
    if (exact.length > 1 || found.length > 1) {
      const names = found.map((column) => `"${column.name}"`).join(", ");
      const hint = exact.length > 1 ? "give the columns names that differ" : 'write it in quotes: "Name"';
      throw this.sql.invalid(name.at, `"${short(name.text)}" may be any of the columns ${names}`, hint);
    }
    const names = this.columns.map((column) => column.name);
    const meant = nearest(name.text, names);
    const listed = names.slice(0, 40).map(short).join(", ");
    const hint = `${meant ? `did you mean ${short(meant)}? ` : ""}there are: ${listed}${names.length > 40 ? ", ..." : ""}`;
    const table = dotted && dotted.length > 1 ? `, and no table ${short(dotted[0].text)}` : "";
    throw this.sql.invalid(name.at, `there is no column "${short(name.text)}"${table}`, hint);
  }

  private constant(body: Node): Expr {
    if (body.isnull) return literal(null, "null");
    if (body.boolval) return literal(body.boolval.boolval === true, "bool");
    if (body.ival) return literal(BigInt(body.ival.ival ?? 0), "integer");
    if (body.sval) return literal((body.sval.sval as string) ?? "", "text");
    if (body.bsval) throw this.sql.unsupported(body.location, "a string of bits");
    const text = body.fval.fval as string;
    if (!/^-?\d+$/.test(text)) {
      const value = Number(text);
      if (!Number.isFinite(value)) throw this.sql.invalid(body.location, `${short(text)} is no number`);
      return literal(value, "float");
    }
    const value = BigInt(text);
    if (BigInt.asIntN(64, value) !== value)
      throw this.sql.invalid(
        body.location,
        `${short(text)} is larger than 64 bits hold`,
        "write it with a point",
      );
    return literal(value, "integer");
  }

  /** The type of a cast. */
  typeOf(body: Node): SqlType {
    const at = body.typeName.location as number;
    const names = (body.typeName.names as Node[]).map((name) => name.String.sval as string);
    const name = names.at(-1)!;
    const type = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
    if (!type || body.typeName.arrayBounds || body.typeName.setof)
      throw this.sql.unsupported(
        at,
        `the type ${short(name)}`,
        `there are: ${[...new Set(Object.values(TYPES))].join(", ")}`,
      );
    if (body.typeName.typmods) throw this.sql.unsupported(at, "a type with a length or precision");
    return type;
  }

  private cast(body: Node, at: number): Expr {
    const type = this.typeOf(body);
    const arg = this.bind(body.arg);
    if (arg.type === type) return arg;
    if (arg.type === "null" || (arg.is === "literal" && arg.type === "text"))
      return this.convert(arg, type, at);
    if (arg.type === "date" && type === "timestamp") return { ...arg, type };
    const op = `${arg.type}>${type}`;
    if (!isOperator(op)) throw this.sql.unsupported(at, `a cast of ${arg.type} to ${type}`);
    return this.call(op, [arg], type, at);
  }

  private operation(body: Node, at: number): Expr {
    const sign = (body.name as Node[]).map((name) => name.String.sval as string).at(-1)!;
    switch (body.kind) {
      case "AEXPR_OP":
        return this.arithmetic(sign, body, at);
      case "AEXPR_IN": {
        const left = this.bind(body.lexpr);
        const items = (body.rexpr.List.items as Node[]).map((item) => this.bind(item));
        const equal = items.map((item) => this.compare("==", left, item, at));
        const any: Expr = {
          is: "or",
          args: equal,
          type: "bool",
          nullable: equal.some((each) => each.nullable),
        };
        return this.sized(sign === "<>" ? this.not(any) : any, at);
      }
      case "AEXPR_BETWEEN":
      case "AEXPR_NOT_BETWEEN": {
        const value = this.bind(body.lexpr);
        const [low, high] = (body.rexpr.List.items as Node[]).map((item) => this.bind(item));
        const within = this.and([this.compare(">=", value, low, at), this.compare("<=", value, high, at)]);
        return this.sized(body.kind === "AEXPR_BETWEEN" ? within : this.not(within), at);
      }
      case "AEXPR_DISTINCT":
      case "AEXPR_NOT_DISTINCT": {
        const [left, right] = this.unify([this.bind(body.lexpr), this.bind(body.rexpr)], at);
        const equal = this.compare("==", left, right, at);
        const neither = this.and([this.nullTest(left, true), this.nullTest(right, true)]);
        const same = this.sized(this.coalesce([equal, neither], at), at);
        return body.kind === "AEXPR_DISTINCT" ? this.not(same) : same;
      }
      case "AEXPR_LIKE":
        return this.like(body, sign === "!~~", at);
      case "AEXPR_NULLIF": {
        const [left, right] = [this.bind(body.lexpr), this.bind(body.rexpr)];
        const equal = this.compare("==", left, right, at);
        const args = [equal, literal(null, left.type), left];
        return this.sized({ is: "case", args, type: left.type, nullable: true }, at);
      }
      default:
        throw this.sql.unsupported(at, OPERATIONS[body.kind as string] ?? `the operator ${sign}`);
    }
  }

  private arithmetic(sign: string, body: Node, at: number): Expr {
    if (!body.lexpr) return this.unary(sign, body, at);
    const spans: Intervals = [intervalOf(this, body.lexpr), intervalOf(this, body.rexpr)];
    if (spans[0] || spans[1]) return this.shift(sign, body, spans, at);
    const left = this.bind(body.lexpr);
    const right = this.bind(body.rexpr);
    if (Object.hasOwn(COMPARISONS, sign)) return this.compare(COMPARISONS[sign], left, right, at);
    if (!["+", "-", "*", "/", "%", "^"].includes(sign))
      throw this.sql.unsupported(at, `the operator ${short(sign)}`);
    const [a, b] = this.unify([left, right], at);
    return this.number(sign, a, b, at);
  }

  /** An operation of arithmetic on two numbers of one type. */
  number(sign: string, a: Expr, b: Expr, at: number): Expr {
    if (a.type === "null") return literal(null, "float");
    const float = () => [this.convert(a, "float", at), this.convert(b, "float", at)];
    if (sign === "^") return this.call("power", float(), "float", at);
    const op = `${a.type[0]}${sign}`;
    if (["integer", "float", "decimal"].includes(a.type) && isOperator(op))
      return this.call(op, [a, b], a.type, at);
    if (a.type === "decimal" && isOperator(`f${sign}`)) return this.call(`f${sign}`, float(), "float", at);
    throw this.sql.unsupported(at, `${sign} of a ${a.type}`);
  }

  private unary(sign: string, body: Node, at: number): Expr {
    const arg = this.bind(body.rexpr);
    if (!["-", "+"].includes(sign)) throw this.sql.unsupported(at, `the operator ${short(sign)}`);
    if (!["integer", "float", "decimal", "null"].includes(arg.type))
      throw this.sql.invalid(at, `a number is wanted behind ${sign}, and this is a ${arg.type}`);
    if (sign === "+" || arg.type === "null") return arg;
    return this.call(arg.type === "float" ? "f-neg" : "i-neg", [arg], arg.type, at);
  }

  /** A time and a span of fixed length. */
  private shift(sign: string, body: Node, [first, second]: Intervals, at: number): Expr {
    const span = second ?? (sign === "+" ? first : undefined);
    if (!span || (first && second) || !["+", "-"].includes(sign))
      throw this.sql.unsupported(at, "an interval here", "a time may have one added or taken away");
    if (span.months)
      throw this.sql.unsupported(at, "adding months", "days and shorter spans have a fixed length");
    const time = this.bind(second ? body.lexpr : body.rexpr);
    const base = time.type === "timestamp" ? time : this.convert(time, "timestamp", at);
    return this.call(`t${sign}`, [base, literal(BigInt(span.ms), "integer")], "timestamp", at);
  }

  private like(body: Node, negated: boolean, at: number): Expr {
    const text = this.convert(this.bind(body.lexpr), "text", at);
    const pattern = this.bind(body.rexpr);
    if (pattern.is !== "literal" || pattern.type !== "text")
      throw this.sql.unsupported(at, "LIKE with a pattern that is not written in the query, or with ESCAPE");
    const pieces = piecesOf(pattern.value as string);
    const hint = "one or two of %, at the ends or one between, are: 'a%', '%a', '%a%', 'a%b'";
    if (!pieces) throw this.sql.unsupported(at, `LIKE '${short(pattern.value as string)}'`, hint);
    const parts = pieces.texts.map((piece) => literal(piece, "text"));
    const found = this.call(pieces.op, [text, ...parts], "bool", at);
    return negated ? this.sized(this.not(found), at) : found;
  }

  private nullTest(arg: Expr, wanted: boolean): Expr {
    const test: Expr = { is: "isNull", args: [arg], type: "bool", nullable: false };
    return wanted ? test : this.not(test);
  }

  private booleanTest(body: Node): Expr {
    const arg = this.condition(body.arg);
    const kind = body.booltesttype as string;
    const negated = kind.startsWith("IS_NOT");
    const wanted = kind.replace("IS_NOT_", "").replace("IS_", "");
    if (wanted === "UNKNOWN") return this.nullTest(arg, !negated);
    const sure: Expr = {
      is: "coalesce",
      args: [arg, literal(wanted !== "TRUE", "bool")],
      type: "bool",
      nullable: false,
    };
    return (wanted === "TRUE") !== negated ? sure : this.not(sure);
  }

  coalesce(args: Expr[], at: number): Expr {
    const unified = this.unify(args, at);
    return {
      is: "coalesce",
      args: unified,
      type: unified[0].type,
      nullable: unified.every((arg) => arg.nullable),
    };
  }

  private caseOf(body: Node, at: number): Expr {
    const branches = (body.args as Node[]).map((branch) => branch.CaseWhen as Node);
    if (branches.length > CASES_MAX) throw this.sql.unsupported(at, `CASE with more than ${CASES_MAX} WHEN`);
    const subject = body.arg ? this.bind(body.arg) : undefined;
    const conditions = branches.map(({ expr }) =>
      subject ? this.compare("==", subject, this.bind(expr), this.at(expr)) : this.condition(expr),
    );
    const results = branches.map(({ result }) => this.bind(result));
    results.push(body.defresult ? this.bind(body.defresult) : literal(null, "null"));
    const unified = this.unify(results, at);
    const args = [...conditions.flatMap((condition, i) => [condition, unified[i]]), unified.at(-1)!];
    return { is: "case", args, type: unified[0].type, nullable: unified.some((result) => result.nullable) };
  }

  /** GREATEST and LEAST, which pass NULL over. */
  private extreme(body: Node, at: number): Expr {
    const op = body.op === "IS_GREATEST" ? "greatest" : "least";
    const args = this.unify(
      (body.args as Node[]).map((arg) => this.bind(arg)),
      at,
    );
    if (args[0].type === "text" || args[0].type === "bool")
      throw this.sql.unsupported(at, `${op.toUpperCase()} of a ${args[0].type}`);
    return args.reduce((a, b) => {
      const best = this.call(op, [a, b], a.type, at);
      return best.nullable ? this.sized(this.coalesce([best, a, b], at), at) : best;
    });
  }

  /** The column of a reference, if its type was only found out. What is wrong with the reference is said elsewhere. */
  private sampledColumn(body: Node): SchemaColumn | undefined {
    const parts = (body.fields as Node[]).map((field) => field.String?.sval as string);
    const names = this.sql.names(body.location as number, parts);
    const found = [names, names.slice(1)].flatMap((each) =>
      this.columns.filter((column) =>
        matches({ ...names[0], text: each.map(({ text }) => text).join(".") }, column.name),
      ),
    );
    return found.length === 1 && found[0].sampled ? found[0] : undefined;
  }

  private knownType(cast: Node): SqlType | undefined {
    const name = (cast.typeName.names as Node[]).at(-1)!.String.sval as string;
    return Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  }

  /** Columns whose type was only found out, and that are cast to one other type wherever they stand. */
  private castColumns(select: Node): Map<SchemaColumn, SqlType> {
    const types = new Map<SchemaColumn, Set<SqlType>>();
    const stack: { node: unknown; cast?: Node }[] = [{ node: select }];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const { node, cast } = next;
      if (typeof node !== "object" || node === null) continue;
      for (const [kind, body] of Object.entries(node as Node)) {
        if (kind === "TypeCast") stack.push({ node: body.arg, cast: body });
        else if (kind === "ColumnRef") {
          const column = this.sampledColumn(body);
          if (!column) continue;
          const type = (cast && this.knownType(cast)) ?? column.type;
          types.set(column, (types.get(column) ?? new Set()).add(type));
        } else stack.push({ node: body });
      }
    }
    const wanted = new Map<SchemaColumn, SqlType>();
    for (const [column, [type, another]] of [...types].map(([key, set]) => [key, [...set]] as const)) {
      const readable =
        column.type === "text" || type === "text" || (column.type === "integer" && type !== "bool");
      if (!another && type !== column.type && readable) wanted.set(column, type);
    }
    return wanted;
  }
}

/** Kinds of operations that are refused, in words. */
const OPERATIONS: Record<string, string> = {
  AEXPR_OP_ANY: "ANY",
  AEXPR_OP_ALL: "ALL",
  AEXPR_ILIKE: "ILIKE",
  AEXPR_SIMILAR: "SIMILAR TO",
  AEXPR_BETWEEN_SYM: "BETWEEN SYMMETRIC",
  AEXPR_NOT_BETWEEN_SYM: "NOT BETWEEN SYMMETRIC",
};

/** The expression of a column. */
export function columnExpr(column: SchemaColumn, at: number): Expr {
  return { is: "column", column, at, type: column.type, nullable: column.nullable };
}

function common(types: SqlType[]): SqlType | undefined {
  if (types.length <= 1) return types[0] ?? "null";
  const all = (...allowed: SqlType[]) => types.every((type) => allowed.includes(type));
  if (all("integer", "decimal", "float")) return types.includes("float") ? "float" : "decimal";
  return all("timestamp", "date") ? "timestamp" : undefined;
}

/** What a pattern of LIKE asks for; undefined if that is more than the start, the end or some part of a text. */
function piecesOf(pattern: string): { op: string; texts: string[] } | undefined {
  let texts = [""];
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === "_") return undefined;
    if (pattern[i] === "%") texts.push("");
    else if (pattern[i] === "\\" && ++i === pattern.length) return undefined;
    else texts[texts.length - 1] += pattern[i];
  }
  // %% is the same as %.
  texts = texts.filter((text, i) => text || i === 0 || i === texts.length - 1);
  if (texts.length === 1) return { op: "like", texts };
  const [first, middle, last] = [texts[0], texts.slice(1, -1), texts.at(-1)!];
  if (!middle.length) {
    if (!first) return { op: last ? "likeEnd" : "likeStart", texts: [last] };
    return last ? { op: "likeBoth", texts: [first, last] } : { op: "likeStart", texts: [first] };
  }
  return middle.length === 1 && !first && !last ? { op: "likeAny", texts: middle } : undefined;
}
