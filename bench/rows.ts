import { closeSync, openSync, readSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";

/** One row of an answer: its key as text, and the numbers of `columns` (NaN where there is none). */
export interface Row {
  key: string;
  values: number[];
}

/**
 * The rows of an answer in the order of the file. `columns` holds names such as `temperature.mean`, without
 * the key.
 */
export interface Rows {
  readonly columns: string[];
  next(): Row | undefined;
  close(): void;
}

export type Format = "ndjson" | "csv";

export function openRows(file: string, format: Format): Rows {
  const lines = new Lines(file);
  return format === "csv" ? new CsvRows(lines) : new NdjsonRows(lines);
}

/**
 * Lines of a file, read without waiting in between: an answer of ten million rows has to be compared in
 * seconds.
 */
class Lines {
  readonly #file: number;
  readonly #bytes = Buffer.allocUnsafe(1 << 20);
  readonly #decoder = new StringDecoder("utf8");
  #text = "";
  #at = 0;
  #ended = false;

  constructor(file: string) {
    this.#file = openSync(file, "r");
  }

  next(): string | undefined {
    for (;;) {
      const end = this.#text.indexOf("\n", this.#at);
      if (end !== -1) return this.#take(end, end + 1);
      if (this.#ended)
        return this.#at < this.#text.length ? this.#take(this.#text.length, this.#text.length) : undefined;
      this.#fill();
    }
  }

  close(): void {
    closeSync(this.#file);
  }

  #take(end: number, next: number): string {
    const line = this.#text.slice(this.#at, end);
    this.#at = next;
    return line.endsWith("\r") ? line.slice(0, -1) : line;
  }

  #fill(): void {
    const got = readSync(this.#file, this.#bytes);
    this.#ended = got === 0;
    this.#text = this.#text.slice(this.#at) + this.#decoder.write(this.#bytes.subarray(0, got));
    this.#at = 0;
  }
}

/** Rows with a header. Only number keys are written as CSV here, so a quote is a mistake and not a case. */
class CsvRows implements Rows {
  readonly columns: string[] = [];
  readonly #lines: Lines;
  readonly #keyColumn: number;
  readonly #valueColumns: number[] = [];

  constructor(lines: Lines) {
    this.#lines = lines;
    const names = (lines.next() ?? "").split(",");
    this.#keyColumn = names.indexOf("key");
    if (this.#keyColumn === -1) throw new Error(`no column "key" in the header ${names.join(",")}`);
    names.forEach((name, column) => {
      if (name === "key" || name === "table") return;
      this.columns.push(name);
      this.#valueColumns.push(column);
    });
  }

  next(): Row | undefined {
    const line = this.#lines.next();
    if (line === undefined) return undefined;
    const fields = line.split(",");
    if (fields.length < this.columns.length + 1 || line.includes('"')) throw new Error(`not a row: ${line}`);
    const values = this.#valueColumns.map((column) =>
      fields[column] === "" ? Number.NaN : Number(fields[column]),
    );
    return { key: fields[this.#keyColumn], values };
  }

  close(): void {
    this.#lines.close();
  }
}

/** Rows as `{"table":...,"key":...,"field":{"count":...}}`; the columns are those of the first row. */
class NdjsonRows implements Rows {
  readonly columns: string[];
  readonly #lines: Lines;
  #first: Map<string, unknown> | undefined;

  constructor(lines: Lines) {
    this.#lines = lines;
    this.#first = this.#read();
    this.columns = [...(this.#first?.keys() ?? [])].filter((name) => name !== "key" && name !== "table");
  }

  next(): Row | undefined {
    const fields = this.#first ?? this.#read();
    this.#first = undefined;
    if (fields === undefined) return undefined;
    const key = fields.get("key");
    const values = this.columns.map((name) => Number(fields.get(name) ?? Number.NaN));
    return { key: typeof key === "string" ? key : JSON.stringify(key), values };
  }

  close(): void {
    this.#lines.close();
  }

  #read(): Map<string, unknown> | undefined {
    const line = this.#lines.next();
    if (line === undefined) return undefined;
    const fields = new Map<string, unknown>();
    for (const [name, value] of Object.entries(JSON.parse(line))) {
      const nested = typeof value === "object" && value !== null && !Array.isArray(value);
      if (!nested) fields.set(name, value);
      else for (const [inner, number] of Object.entries(value)) fields.set(`${name}.${inner}`, number);
    }
    return fields;
  }
}
