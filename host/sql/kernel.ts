/** The kernel of a query, as its author would write it. */
import { HallelujahError } from "../core/errors.ts";
import {
  aggregateId,
  type Aggregate,
  type Expr,
  idOf,
  type Schema,
  type SchemaColumn,
  type SqlType,
  type Value,
} from "./expression.ts";
import type { EngineRow, Reader } from "./finish.ts";
import { bare, type Code, FIELD, KernelWriter, Names, textLiteral } from "./generate.ts";
import { short } from "./text.ts";
import { fromRow } from "./values.ts";

const FIELDS_MAX = 64;
const DISTINCT_MAX = 60;
/** Columns of a group's key that may be NULL: a bit each. */
const NULLABLE_KEYS_MAX = 30;
/** A name of the SDK that a kernel imports where it has it. */
const SDK = [
  "Count",
  "Dataset",
  "Decimal",
  "Distinct",
  "First",
  "Last",
  "Max",
  "Min",
  "Optional",
  "Pair",
  "Quantiles",
  "Sum",
  "Table",
  "Text",
  "Time",
  "Triple",
  "out",
  "pair",
  "triple",
];
const STRING = /"(?:[^"\\]|\\.)*"/g;

/** A field of the state of a group. */
interface Field {
  name: string;
  type: string;
}

/** What is added to a group where a condition holds: calls of `add`, by aggregate. */
interface Feed {
  arg?: Expr;
  filter?: Expr;
  adds: ((code: Code) => string)[];
}

/** The kernel that emits a record for each row. */
export function emittingKernel(
  where: Expr | undefined,
  outputs: { name: string; expr: Expr }[],
  anyColumn: Expr,
): { source: string; fields: { name: string; type: SqlType }[] } {
  const writer = new KernelWriter();
  const names = new Names();
  const fields = outputs.map(({ name, expr }) => ({ name: names.of(name), type: expr.type, expr }));
  if (fields.length > FIELDS_MAX)
    throw new HallelujahError(
      "sql-unsupported",
      `the answer has ${fields.length} columns, and at most ${FIELDS_MAX} are supported; leave out some, from "${short(outputs[FIELDS_MAX].name)}" on`,
    );
  filter(writer, where);
  writer.line("const result = new Result();");
  for (const { name, expr } of fields) {
    const code = writer.code(expr);
    writer.when(code.present, () =>
      writer.line(`result.${name}${expr.nullable ? ".value" : ""} = ${writer.object(code, expr.type)};`),
    );
  }
  writer.line("out.emit(result);");
  const record = fields.map(
    ({ name, type, expr }) => `  ${name}: ${expr.nullable ? `Optional<${FIELD[type]}>` : FIELD[type]};`,
  );
  const classes = [classOf("record", "Result", record)];
  return { source: kernel(writer, anyColumn, classes, []), fields };
}

/** The kernel that keeps all rows as a dataset, for queries and visits; and the columns that it has to leave out. */
export function keepingKernel(dataset: string, schema: Schema): { source: string; left: SchemaColumn[] } {
  const names = new Names();
  const kept = schema.filter(({ unsupported }) => unsupported === undefined).slice(0, FIELDS_MAX);
  if (!kept.length) throw new HallelujahError("input-empty", `there is no column that ${dataset} could keep`);
  const fields = kept.map((column) => fieldOf(column, names.of(column.name)));
  const source = imported([
    classOf("record", "Row", fields),
    `const rows = new Dataset<Row>(${textLiteral(dataset)});`,
    "export function each(row: Row): void {\n  rows.add(row);\n}",
  ]);
  return { source, left: schema.filter((column) => !kept.includes(column)) };
}

/** The kernel that keeps groups, and how their values are read. */
export function groupingKernel(
  where: Expr | undefined,
  keys: Expr[],
  aggregates: Aggregate[],
  anyColumn: Expr,
): {
  source: string;
  readers: Reader[];
  table: string;
  distinct: { table: string; index: number; keyParts: number }[];
} {
  const writer = new KernelWriter();
  const fields = new Map<string, Field>();
  const names = new Names();
  const feeds = new Map<string, Feed>();
  const distinct: { table: string; index: number; keyParts: number; aggregate: Aggregate }[] = [];

  const keep = (
    type: string,
    aggregate: Aggregate,
    add: (field: string) => (code: Code) => string,
  ): string => {
    const { arg, filter: taken } = aggregate;
    const id = `${type} ${arg ? idOf(arg) : ""} ${taken ? idOf(taken) : ""}`;
    let field = fields.get(id);
    if (!field) {
      const word = type.replace(/<.*/, "");
      const base = arg ? `${nameOf(arg)} ${word}` : taken ? "some" : "count";
      fields.set(id, (field = { name: names.of(base), type }));
      const feedId = `${arg ? idOf(arg) : ""} ${taken ? idOf(taken) : ""}`;
      const feed = feeds.get(feedId) ?? {
        ...(arg ? { arg } : {}),
        ...(taken ? { filter: taken } : {}),
        adds: [],
      };
      feed.adds.push(add(field.name));
      feeds.set(feedId, feed);
    }
    return field.name;
  };
  const counted = (aggregate: Aggregate) =>
    keep("Count", aggregate, (field) => () => `group.${field}.add();`);
  const added = (type: string, aggregate: Aggregate) =>
    keep(
      type,
      aggregate,
      (field) => (code) => `group.${field}.add(${writer.object(code, aggregate.arg!.type)});`,
    );

  filter(writer, where);
  const key = keyOf(writer, keys);
  const readers = aggregates.map((aggregate, i): Reader => {
    if (aggregate.kind !== "countDistinct") return readerOf(aggregate, counted, added);
    distinct.push({
      table: `distinct${distinct.length + 1}`,
      index: keys.length + i,
      keyParts: key.parts.length,
      aggregate,
    });
    return () => 0n;
  });
  if (distinct.length > DISTINCT_MAX)
    throw new HallelujahError(
      "sql-unsupported",
      `the query counts distinct values ${distinct.length} times, and at most ${DISTINCT_MAX} are supported`,
    );
  if (!fields.size) counted({ kind: "count" });

  writer.line(`const group = groups.at(${key.source});`);
  for (const { arg, filter: taken, adds } of feeds.values()) {
    writer.when(taken ? writer.truth(taken) : "", () => {
      const code: Code = arg ? writer.code(arg) : { value: "", present: "", time: "" };
      const used = adds.length > 1 && arg ? writer.spill(code, arg.type) : code;
      writer.when(used.present, () => {
        for (const add of adds) writer.line(add(used));
      });
    });
  }
  for (const { table, aggregate } of distinct) writeDistinct(writer, table, keys, aggregate, key);

  const classes = [
    classOf(
      "state",
      "Group",
      [...fields.values()].map(({ name, type }) => `  ${name}: ${type};`),
    ),
  ];
  const tables = [`const groups = new Table<${key.type}, Group>("groups");`];
  if (distinct.length) classes.push(classOf("state", "Seen", ["  times: Count;"]));
  for (const { table, aggregate } of distinct) {
    const type = tupleType([...key.parts.map((part) => part.type), keyType(aggregate.arg!.type)]);
    tables.push(`const ${table} = new Table<${type}, Seen>("${table}");`);
  }
  return {
    source: kernel(writer, anyColumn, classes, tables),
    readers: [...key.readers, ...readers],
    table: "groups",
    distinct,
  };
}

/** Rows that are not wanted are left. */
function filter(writer: KernelWriter, where: Expr | undefined): void {
  if (!where) return;
  const wanted = writer.truth(where);
  if (wanted === "true") return;
  const unwanted =
    wanted.startsWith("!") && /^!?[\w.]+$/.test(wanted) ? wanted.slice(1) : `!(${bare(wanted)})`;
  writer.line(`if (${unwanted}) return;`);
}

/** How a value of an aggregate is kept and read. */
function readerOf(
  aggregate: Aggregate,
  counted: (aggregate: Aggregate) => string,
  added: (type: string, aggregate: Aggregate) => string,
): Reader {
  const { kind, arg, filter: taken, quantile } = aggregate;
  const same: Aggregate = { kind, ...(arg ? { arg } : {}), ...(taken ? { filter: taken } : {}) };
  if (kind === "count") {
    const field = counted(same);
    return (row) => fromRow(row[field] ?? 0, "integer");
  }
  const type = arg!.type;
  const value = FIELD[type];
  // A group has at least one row, and all of its rows have the value.
  const sure = !arg!.nullable && !taken;
  switch (kind) {
    case "sum": {
      const sum = added(`Sum<${value}>`, same);
      if (sure) return (row) => fromRow(row[sum], type);
      const count = counted(same);
      return (row) => (row[count] ? fromRow(row[sum], type) : null);
    }
    case "avg": {
      const [sum, count] = [added(`Sum<${value}>`, same), counted(sure ? { kind: "count" } : same)];
      return (row) => (row[count] ? mean(fromRow(row[sum], type), Number(row[count]), type) : null);
    }
    case "approxDistinct": {
      const field = added("Distinct", same);
      return (row) => fromRow(row[field] ?? 0, "integer");
    }
    case "quantile": {
      const field = added("Quantiles", same);
      const column = `p${quantile! * 100}`;
      return (row) => fromRow((row[field] as EngineRow | undefined)?.[column], "float");
    }
    default: {
      const word = { min: "Min", max: "Max", first: "First", last: "Last" }[
        kind as "min" | "max" | "first" | "last"
      ];
      const field = added(`${word}<${value}>`, same);
      return (row) => fromRow(row[field], type);
    }
  }
}

function mean(sum: Value, count: number, type: SqlType): Value {
  if (sum === null) return null;
  return Number(sum) / (type === "decimal" ? 1e6 : 1) / count;
}

/** A table whose keys are a group and a value that it has. */
function writeDistinct(
  writer: KernelWriter,
  table: string,
  keys: Expr[],
  { arg, filter: taken }: Aggregate,
  key: Key,
): void {
  writer.when(taken ? writer.truth(taken) : "", () => {
    const code = writer.spill(writer.code(arg!), arg!.type);
    writer.when(code.present, () => {
      const parts = [
        ...key.parts.map((part) => part.source),
        partOf(writer, { ...code, present: "" }, arg!.type),
      ];
      writer.line(`${table}.at(${tuple(parts)}).times.add();`);
    });
  });
}

interface Key {
  source: string;
  type: string;
  parts: { source: string; type: string }[];
  readers: Reader[];
}

/** A group's key; where columns may be NULL, a number that says which of them are comes first. */
function keyOf(writer: KernelWriter, keys: Expr[]): Key {
  if (!keys.length) return { source: "0", type: "u8", parts: [], readers: [] };
  const codes = keys.map((key) => writer.spill(writer.code(key), key.type));
  const parts = keys.map((key, i) => ({
    source: partOf(writer, codes[i], key.type),
    type: keyType(key.type),
  }));
  const absent = codes.flatMap(({ present }, i) => (present ? [{ present, i }] : []));
  const bits = absent.map(({ present }, bit) => `(${present} ? 0 : ${2 ** bit})`);
  if (absent.length > NULLABLE_KEYS_MAX)
    throw new HallelujahError(
      "sql-unsupported",
      `GROUP BY has ${absent.length} columns that may be NULL, and at most ${NULLABLE_KEYS_MAX} are supported`,
    );
  if (absent.length) {
    const nulls = `<u32>${bits.length > 1 ? `(${bits.join(" + ")})` : bits[0]}`;
    parts.unshift({ source: nulls, type: "u32" });
  }
  // Where distinct values are kept beside, parts of the key are needed again.
  const first = absent.length ? 1 : 0;
  const readers = keys.map((key, i): Reader => {
    const bit = absent.findIndex((each) => each.i === i);
    return (row) => {
      const values = [row.key].flat();
      if (bit >= 0 && Math.floor(Number(values[0]) / 2 ** bit) % 2) return null;
      const value = values[first + i];
      return key.type === "float" ? fromBits(value as number | string) : fromRow(value, key.type);
    };
  });
  return {
    source: tuple(parts.map(({ source }) => source)),
    type: tupleType(parts.map(({ type }) => type)),
    parts,
    readers,
  };
}

/** A part of a key. Floats are kept by their bits, both zeros by those of 0. */
function partOf(writer: KernelWriter, code: Code, type: SqlType): string {
  const value = type === "float" ? `reinterpret<i64>(${bare(code.value)} + 0.0)` : writer.object(code, type);
  if (!code.present) return type === "integer" && /^\(?-?\d+\)?$/.test(value) ? `<i64>${value}` : value;
  const none: Partial<Record<SqlType, string>> = {
    text: 'Text.of("")',
    bool: "false",
    timestamp: "Time.of(0)",
    date: "Time.of(0)",
    decimal: "Decimal.of(0)",
  };
  return `${code.present} ? ${value} : ${none[type] ?? "0"}`;
}

function keyType(type: SqlType): string {
  return type === "float" ? "i64" : FIELD[type];
}

function fromBits(bits: number | string): number {
  return new Float64Array(new BigInt64Array([BigInt(bits)]).buffer)[0];
}

/** Parts as one key: tuples have two or three parts, more are tuples of tuples. */
function tuple(parts: string[]): string {
  if (parts.length === 1) return parts[0];
  const groups = inThrees(parts).map(tuple);
  return `${groups.length === 2 ? "pair" : "triple"}(${groups.join(", ")})`;
}

function tupleType(parts: string[]): string {
  if (parts.length === 1) return parts[0];
  const groups = inThrees(parts).map(tupleType);
  return `${groups.length === 2 ? "Pair" : "Triple"}<${groups.join(", ")}>`;
}

function inThrees(parts: string[]): string[][] {
  if (parts.length <= 3) return parts.map((part) => [part]);
  const size = Math.ceil(parts.length / 3);
  return [parts.slice(0, size), parts.slice(size, 2 * size), parts.slice(2 * size)].filter(
    (each) => each.length,
  );
}

function nameOf(expr: Expr): string {
  if (expr.is === "column") return expr.column.name;
  if (expr.is !== "call") return "value";
  return expr.args.map(nameOf).find((name) => name !== "value") ?? "value";
}

function classOf(decorator: string, name: string, fields: string[]): string {
  return `@${decorator}\nclass ${name} {\n${fields.join("\n")}\n}`;
}

/** The whole source. A record has at least one field: that of `anyColumn` if the query needs none. */
function kernel(writer: KernelWriter, anyColumn: Expr, classes: string[], tables: string[]): string {
  if (!writer.columns.size) writer.code(anyColumn);
  if (writer.columns.size > FIELDS_MAX)
    throw new HallelujahError(
      "sql-unsupported",
      `the query reads ${writer.columns.size} columns, and at most ${FIELDS_MAX} are supported; "${short([...writer.columns.keys()][FIELDS_MAX].name)}" is the first beyond`,
    );
  const fields = [...writer.columns].map(([column, name]) => fieldOf(column, name));
  const each = `export function each(row: Row): void {\n${writer.body()}\n}`;
  const parts = [
    [classOf("record", "Row", fields), ...classes].join("\n"),
    tables.join("\n"),
    ...writer.functions(),
    each,
  ];
  return imported(parts.filter((part) => part));
}

/** A column as a field of the record that is read. */
function fieldOf(column: SchemaColumn, name: string): string {
  const type = column.nullable ? `Optional<${FIELD[column.type]}>` : FIELD[column.type];
  const source = name === column.name ? "" : `@name(${textLiteral(column.name)}) `;
  return `  ${source}${name}: ${type};`;
}

/** Parts of a source, with what they need of the SDK. */
function imported(parts: string[]): string {
  const source = parts.join("\n\n");
  const words = new Set(source.replace(STRING, "").match(/\w+/g));
  const imports = SDK.filter((name) => words.has(name));
  return `import { ${imports.join(", ")} } from "hallelujah";\n\n${source}\n`;
}

/** Aggregates of expressions, each once. */
export function aggregatesOf(exprs: Expr[]): Aggregate[] {
  const found = new Map<string, Aggregate>();
  const visit = (expr: Expr) => {
    if (expr.is === "aggregate") found.set(aggregateId(expr.aggregate), expr.aggregate);
    else if ("args" in expr) expr.args.forEach(visit);
  };
  exprs.forEach(visit);
  return [...found.values()];
}
