/**
 * What columns an input has, and of which types. Parquet and Arrow say it themselves. Of CSV the header gives the names, of
 * NDJSON the keys; the types are those that all values of the first 256 KiB fit.
 */
import { Readable } from "node:stream";
import { HallelujahError } from "../core/errors.ts";
import { HEAD_BYTES } from "../core/limits.ts";
import type { Schema, SchemaColumn, SqlType } from "../sql/expression.ts";
import { parseTime } from "../sql/values.ts";
import type { SourceFormat } from "../wire/jah.ts";
import { bomLength, csvRecord, DELIMITERS } from "./csv-header.ts";
import {
  findFiles,
  formatOf,
  type InputFile,
  isGzip,
  isRemote,
  nameWithoutGz,
  readHead,
} from "./discover.ts";
import type { ColumnType, FileColumn } from "./file-column.ts";
import type { ParquetFile } from "./parquet.ts";
import type { InputOptions } from "./plan.ts";
import { ByteStream } from "./stream.ts";

/** Parquet files of which all are looked at for NULLs; of more, every column may have some. */
const FILES_LOOKED_AT = 64;

export interface FoundSchema {
  /** What the file was taken for. */
  format: SourceFormat;
  columns: Schema;
  /** Standard input with what was read of it, where an input is `-`. */
  stdin: Readable;
}

/** The columns of an input: those of its first file that is not empty. Throws as `planSources` does. */
export async function findSchema(options: InputOptions): Promise<FoundSchema> {
  const files = await findFiles(options.inputs, options.signal);
  const file = files.find(({ path, size }) => size > 0 || path === "-") ?? files[0];
  if (!file) throw new HallelujahError("input-missing", "name at least one input: a file, a folder, or -");
  if (file.path === "-") {
    const { kept, again } = await headOf(options.stdin);
    const stream = await ByteStream.open("-", Readable.from(kept), options.stdinName);
    return { ...textSchema("", await stream.head(), stream.name, options), stdin: again };
  }
  return { ...(await schemaOf(file, files, options)), stdin: options.stdin };
}

/** The first chunks of a stream, and the stream with them. */
async function headOf(stdin: Readable): Promise<{ kept: Buffer[]; again: Readable }> {
  const chunks = stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer | string>;
  const kept: Buffer[] = [];
  for (let length = 0; length < HEAD_BYTES; length += kept.at(-1)!.length) {
    const { value, done } = await chunks.next();
    if (done) break;
    kept.push(Buffer.from(value));
  }
  const all = async function* () {
    try {
      yield* kept;
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
    } finally {
      await chunks.return?.();
    }
  };
  return { kept, again: Readable.from(all()) };
}

type FileSchema = Pick<FoundSchema, "format" | "columns">;

async function schemaOf(file: InputFile, files: InputFile[], options: InputOptions): Promise<FileSchema> {
  const { path, size } = file;
  const onDisk = size > 0 && !isRemote(path);
  const head = onDisk ? readHead(path) : Buffer.alloc(0);
  if (onDisk && !isGzip(head)) {
    const format = formatOf(path, head, options.inputFormat, false);
    if (format === "parquet") return { format, columns: await parquetSchema(files, path) };
    if (format === "arrow") {
      const { openArrow } = await import("./arrow.ts");
      return { format, columns: (await openArrow(path)).columns.map((column) => columnOf(column, true)) };
    }
    return textSchema(path, head, path, options);
  }
  const stream = await ByteStream.open(path, options.stdin, undefined, options.signal);
  try {
    return textSchema(nameWithoutGz(path), await stream.head(), stream.name, options);
  } finally {
    stream.close();
  }
}

/** The schema of the first file; a column may lack values if some file's footer does not say that it has all. */
async function parquetSchema(files: InputFile[], first: string): Promise<Schema> {
  const { openParquet } = await import("./parquet.ts");
  const { columns } = await openParquet(first);
  const looked =
    files.length <= FILES_LOOKED_AT
      ? files.filter(({ path }) => /\.(parquet|pq)$/i.test(path) || path === first)
      : [];
  const opened =
    looked.length === files.length ? await Promise.all(looked.map(({ path }) => openParquet(path))) : [];
  return columns.map((column) => {
    const whole = opened.length > 0 && opened.every((file) => hasAll(file, column.name));
    return columnOf(column, !whole);
  });
}

/** Whether a column has a value in every row. */
function hasAll({ metadata }: ParquetFile, name: string): boolean {
  return metadata.row_groups.every(({ columns }) => {
    const column = columns.find(
      ({ meta_data: meta }) => meta?.path_in_schema.length === 1 && meta.path_in_schema[0] === name,
    );
    return column?.meta_data?.statistics?.null_count === 0n;
  });
}

function columnOf({ name, type, label }: FileColumn, nullable: boolean): SchemaColumn {
  if (type.is === "unsupported")
    return { name, type: "text", nullable, unsupported: `it is ${label}: ${type.why}` };
  return { name, type: typeOf(type), nullable: nullable || type.is === "nothing", nan: type.is === "float" };
}

function typeOf(type: ColumnType): SqlType {
  if (type.is === "time") return type.unit === "day" ? "date" : "timestamp";
  if (type.is === "decimal") return type.scale <= 6 ? "decimal" : "float";
  return type.is === "integer" || type.is === "float" || type.is === "bool" ? type.is : "text";
}

function textSchema(path: string, head: Buffer, shown: string, options: InputOptions): FileSchema {
  const format = formatOf(path, head, options.inputFormat, false, shown);
  if (format === "parquet" || format === "arrow") {
    const message = `${shown}: the columns of ${format} are found in files that are not compressed, on a disk`;
    throw new HallelujahError("input-format", message);
  }
  if (format === "lines") return { format, columns: [{ name: "line", type: "text", nullable: false }] };
  if (!head.length && !options.columns)
    throw new HallelujahError("input-empty", `${shown} is empty, so it has no columns`);
  return {
    format,
    columns: format === "ndjson" ? ndjsonSchema(head, shown) : csvSchema(path, head, options),
  };
}

function csvSchema(path: string, head: Buffer, { delimiter: given, columns }: InputOptions): Schema {
  const delimiter = given ?? delimiterOf(path, head, columns);
  const start = bomLength(head);
  const header = csvRecord(head, start, delimiter);
  const names = columns ?? header.names;
  const kinds = names.map(() => new Kinds());
  for (let at = columns ? start : header.end; at < head.length; ) {
    const { names: cells, end, whole } = csvRecord(head, at, delimiter);
    if (!whole && head.length >= HEAD_BYTES) break;
    for (const [i, cell] of cells.slice(0, kinds.length).entries()) if (cell) kinds[i].addText(cell);
    at = end;
  }
  return names.map((name, i) => ({ name, type: kinds[i].type, nullable: true, sampled: true }));
}

/** The delimiter under which the first line has most columns, or as many as there are names. */
function delimiterOf(path: string, head: Buffer, columns: string[] | undefined): number {
  const candidates = DELIMITERS.map((delimiter) => ({
    delimiter,
    count: csvRecord(head, bomLength(head), delimiter).names.length,
  }));
  if (columns) return (candidates.find(({ count }) => count === columns.length) ?? candidates[0]).delimiter;
  const most = Math.max(...candidates.map(({ count }) => count));
  if (most === 1 && path.toLowerCase().includes(".tsv")) return 0x09;
  return candidates.find(({ count }) => count === most)!.delimiter;
}

function ndjsonSchema(head: Buffer, shown: string): Schema {
  const lines = head.toString("utf8", bomLength(head)).split("\n");
  if (head.length >= HEAD_BYTES) lines.pop();
  const columns = new Map<string, Kinds>();
  for (const line of lines) {
    if (!addRecord(line, columns)) continue; // such a line is reported when it is read
    for (const key of pointed(line))
      for (const [name, kinds] of columns) if (name === key || name.endsWith(`.${key}`)) kinds.addPointed();
  }
  if (!columns.size)
    throw new HallelujahError("input-empty", `${shown} has no JSON object in its first lines`);
  return [...columns].map(([name, kinds]) => ({
    name,
    type: kinds.type,
    nullable: true,
    sampled: true,
    ...(kinds.nested ? { unsupported: `it holds ${kinds.nested}` } : {}),
  }));
}

const POINTED = /"((?:[^"\\]|\\.)*)"\s*:\s*-?\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)\s*[,}]/g;

/** Keys of numbers with a point or an exponent, as in `1.0`, which are no integers to a kernel and are to JSON.parse. */
function* pointed(line: string): Generator<string> {
  if (!/\d[.eE]/.test(line)) return;
  for (const [, key] of line.matchAll(POINTED)) yield JSON.parse(`"${key}"`) as string;
}

/** Adds the values of a line; whether it is JSON. */
function addRecord(line: string, columns: Map<string, Kinds>): boolean {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return false;
  }
  const add = (value: unknown, prefix: string) => {
    for (const [key, inner] of Object.entries(value as object)) {
      const name = prefix + key;
      const object = typeof inner === "object" && inner !== null && !Array.isArray(inner);
      let kinds = columns.get(name);
      if (!kinds && !object) columns.set(name, (kinds = new Kinds()));
      if (object) add(inner, `${name}.`);
      else kinds!.addJson(inner);
    }
  };
  if (typeof record === "object" && record !== null && !Array.isArray(record)) add(record, "");
  return true;
}

const INTEGER = /^-?(0|[1-9]\d{0,17})$/;
const FLOAT = /^-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?$/i;

/** What values of a column may be. */
class Kinds {
  nested: string | undefined;
  private any = false;
  private integer = true;
  private float = true;
  private bool = true;
  private time = true;

  /** The narrowest type that all values fit. */
  get type(): SqlType {
    if (!this.any) return "text";
    if (this.integer) return "integer";
    if (this.float) return "float";
    if (this.bool) return "bool";
    return this.time ? "timestamp" : "text";
  }

  addText(text: string): void {
    this.any = true;
    this.integer &&= INTEGER.test(text);
    this.float &&= FLOAT.test(text);
    this.bool &&= /^(true|false)$/i.test(text);
    this.time &&= parseTime(text) !== undefined;
  }

  addPointed(): void {
    this.integer = false;
  }

  addJson(value: unknown): void {
    if (value === null) return;
    if (typeof value === "object") this.nested = "lists";
    this.any = true;
    this.integer &&= typeof value === "number" && Number.isSafeInteger(value);
    this.float &&= typeof value === "number";
    this.bool &&= typeof value === "boolean";
    this.time &&= typeof value === "string" && parseTime(value) !== undefined;
  }
}
