/** The first line of a CSV file: its delimiter, its columns, and the plan by which the kernel reads the wanted ones. */
import { HallelujahError, nearest } from "../core/errors.ts";
import { HEAD_BYTES } from "../core/limits.ts";
import { PLAN_END } from "../kernel/memory-map.ts";
import type { RecordField } from "../compiler/descriptor.ts";

const LF = 0x0a;
const QUOTE = 0x22;
/** Bytes that may stand between fields: comma, semicolon, tab, bar. */
export const DELIMITERS = [0x2c, 0x3b, 0x09, 0x7c];

export interface CsvShape {
  delimiter: number;
  columns: string[];
  /** Where the first record starts in the file. */
  dataStart: number;
  plan: number[];
}

/** Bytes of a UTF-8 byte-order mark at the start. */
export function bomLength(head: Buffer): number {
  return head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? 3 : 0;
}

/**
 * Reads the shape of a file from its head. `columns` are given where the file has no header line. Without a
 * delimiter, the one of comma, semicolon, tab and bar under which most of the wanted columns are found is taken.
 */
export function csvShape(
  path: string,
  head: Buffer,
  fields: RecordField[],
  given: { delimiter?: number; columns?: string[] },
): CsvShape {
  const start = bomLength(head);
  const candidates = given.delimiter === undefined ? DELIMITERS : [given.delimiter];
  let best: (CsvRecord & { delimiter: number; found: number }) | undefined;
  for (const delimiter of candidates) {
    const { names, end, whole } = csvRecord(head, start, delimiter);
    const found = given.columns
      ? Number(names.length === given.columns.length)
      : fields.filter((field) => names.includes(field.source)).length;
    if (!best || found > best.found) best = { delimiter, names, end, whole, found };
  }
  const { delimiter, names, end, whole } = best!;
  if (!whole && !given.columns && head.length >= HEAD_BYTES) {
    const message = `${path} has no header line: its first line is longer than ${HEAD_BYTES / 1024} KiB\nname its columns with --columns, or its format with --input-format`;
    throw new HallelujahError("header-too-long", message);
  }
  const columns = given.columns ?? names;
  const dataStart = given.columns ? start : end;
  if (
    given.delimiter === undefined &&
    !given.columns &&
    names.length === 1 &&
    path.toLowerCase().includes(".tsv")
  ) {
    return { delimiter: 0x09, columns, dataStart, plan: planOf(path, columns, fields) };
  }
  return { delimiter, columns, dataStart, plan: planOf(path, columns, fields) };
}

interface CsvRecord {
  names: string[];
  /** Where the next record starts. */
  end: number;
  /** Whether it ends within the head. */
  whole: boolean;
}

/** The record that starts at `start`: its fields as texts. */
export function csvRecord(head: Buffer, start: number, delimiter: number): CsvRecord {
  const names: string[] = [];
  let at = start;
  while (true) {
    let name: string;
    if (head[at] === QUOTE) {
      let text = "";
      let from = at + 1;
      while (true) {
        const quote = head.indexOf(QUOTE, from);
        const stop = quote < 0 ? head.length : quote;
        text += head.toString("utf8", from, stop);
        if (head[stop + 1] !== QUOTE || quote < 0) {
          at = Math.min(stop + 1, head.length);
          break;
        }
        text += '"';
        from = stop + 2;
      }
      name = text;
    } else name = "";
    let stop = at;
    while (stop < head.length && head[stop] !== delimiter && head[stop] !== LF) stop++;
    if (!name) name = head.toString("utf8", at, stop).replace(/\r$/, "");
    names.push(name);
    if (stop >= head.length || head[stop] === LF) {
      return { names, end: Math.min(stop + 1, head.length), whole: stop < head.length };
    }
    at = stop + 1;
  }
}

/** The plan by which a kernel's fields are read from these columns. Throws `field-missing` or `field-twice`. */
export function planOf(path: string, columns: string[], fields: RecordField[]): number[] {
  const wanted = fields
    .map((field, index) => ({ index, column: findColumn(path, columns, field, fields) }))
    .filter(({ column }) => column >= 0)
    .toSorted((a, b) => a.column - b.column);
  const plan: number[] = [];
  let at = 0;
  for (const { index, column } of wanted) {
    plan.push(column - at, index);
    at = column + 1;
  }
  plan.push(columns.length - at, PLAN_END);
  return plan;
}

function findColumn(path: string, columns: string[], field: RecordField, fields: RecordField[]): number {
  const column = columns.indexOf(field.source);
  if (column < 0) throw fieldMissing(path, field, columns);
  const twin = fields.find((other) => other !== field && other.source === field.source);
  if (twin) {
    const message = `the fields ${field.name} and ${twin.name} both read the column "${field.source}"; one is enough`;
    throw new HallelujahError("field-twice", message);
  }
  return column;
}

/** The error of a field that an input does not have: what it has, and what was probably meant. */
export function fieldMissing(path: string, field: RecordField, found: string[]): HallelujahError {
  const meant = nearest(field.source, found);
  const short = found.slice(0, 40).map((name) => (name.length > 60 ? `${name.slice(0, 60)}...` : name));
  const listed = found.length > 40 ? [...short, `and ${found.length - 40} more`] : short;
  const asked =
    field.source === field.name ? `"${field.name}"` : `"${field.source}" (the field ${field.name})`;
  const hint = meant ? `; did you mean "${meant}"?` : "";
  const header =
    found.length && !found.some((name) => /[A-Za-z]/.test(name))
      ? "\nif the file has no header line, name its columns with --columns"
      : "";
  const message = `${path} has no ${asked}${hint}\nit has: ${listed.join(", ")}${header}`;
  return new HallelujahError("field-missing", message);
}
