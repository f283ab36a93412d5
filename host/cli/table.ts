/** Rows as a table for people. */
import Table from "cli-table3";
import { colors } from "./colors.ts";

/** Rows that are drawn; a table of more is better read as ndjson or csv. */
const ROWS_MAX = 1000;

type Row = Record<string, unknown>;

/** NDJSON rows, drawn as one table for each kind of row. `width` is that of the terminal, columns. */
export function renderTables(ndjson: Buffer, width = 120): string {
  const kinds = new Map<string, { title: string; rows: Row[]; count: number }>();
  for (const line of lines(ndjson)) {
    const row = JSON.parse(line) as Row;
    const title = typeof row.table === "string" && "key" in row ? row.table : "output";
    const id = `${title} ${Object.keys(row).join(" ")}`;
    let kind = kinds.get(id);
    if (!kind) kinds.set(id, (kind = { title, rows: [], count: 0 }));
    kind.count++;
    if (kind.rows.length < ROWS_MAX) kind.rows.push(row);
  }
  return [...kinds.values()].map((kind) => draw(kind, width)).join("\n");
}

/** The rows of a query, drawn as one table. */
export function renderRows(names: string[], rows: unknown[][], width = 120): string {
  const flat = rows.slice(0, ROWS_MAX);
  const numeric = names.map((_, i) => flat.every((row) => row[i] === null || typeof row[i] === "number"));
  return `${colors.dim(countOf(rows.length))}\n${grid(names, numeric, flat, width)}${moreOf(rows.length - flat.length)}\n`;
}

/** A table of rows of cells. */
export function drawTable(names: string[], rows: unknown[][]): string {
  const numeric = names.map((_, i) => rows.every((row) => typeof row[i] === "number"));
  const table = new Table({
    head: names.map((name) => colors.bold(name)),
    colAligns: numeric.map((isNumber) => (isNumber ? "right" : "left")),
    style: { head: [], border: [], compact: true },
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  for (const row of rows) table.push(row.map((value) => cell(value, 60)));
  return table.toString();
}

function* lines(bytes: Buffer): Generator<string> {
  for (let at = 0; at < bytes.length; ) {
    const lf = bytes.indexOf(0x0a, at);
    const end = lf < 0 ? bytes.length : lf;
    if (end > at) yield bytes.toString("utf8", at, end);
    at = end + 1;
  }
}

function draw({ title, rows, count }: { title: string; rows: Row[]; count: number }, width: number): string {
  const flat = rows.map(flatten);
  const names = Object.keys(flat[0]);
  const numeric = names.map((name) =>
    flat.every((row) => row[name] === null || typeof row[name] === "number"),
  );
  const cells = flat.map((row) => names.map((name) => row[name]));
  const more = moreOf(count - rows.length);
  return `${colors.bold(title)} ${colors.dim(`(${countOf(count)})`)}\n${grid(names, numeric, cells, width)}${more}\n`;
}

function countOf(rows: number): string {
  return `${rows} ${rows === 1 ? "row" : "rows"}`;
}

function moreOf(rows: number): string {
  return rows > 0 ? `\n${rows} more rows; --format ndjson or csv gives them all` : "";
}

/** How long a cell may be in a table of this width, characters. */
export function cellWidth(width: number): number {
  return Math.max(16, Math.floor(width / 2));
}

/** Rows of cells in a frame; columns of numbers are aligned to the right. */
export function grid(names: string[], numeric: boolean[], rows: unknown[][], width: number): string {
  const table = new Table({
    head: names.map((name) => colors.bold(name)),
    colAligns: numeric.map((isNumber) => (isNumber ? "right" : "left")),
    style: { head: [], border: [], compact: true },
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
  });
  const cellMax = cellWidth(width);
  for (const row of rows) table.push(row.map((value) => cell(value, cellMax)));
  return table.toString();
}

/** Members of members get names joined by dots; the table's name goes. */
export function flatten(row: Row): Row {
  const flat: Row = {};
  for (const [name, value] of Object.entries(row)) {
    if (name === "table") continue;
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [inner, part] of Object.entries(value)) flat[`${name}.${inner}`] = part;
    } else flat[name] = value;
  }
  return flat;
}

/** A value as it is shown, in at most so many characters. */
export function cell(value: unknown, max: number): string {
  let text: string;
  if (value === null || value === undefined) text = "";
  else if (typeof value === "number")
    text = Number.isInteger(value) ? String(value) : value.toPrecision(6).replace(/\.?0+$/, "");
  else if (typeof value === "string") text = value.replace(/[\u0000-\u001f\u007f]/g, "\uFFFD");
  else if (Array.isArray(value))
    text = value.map((part) => (typeof part === "object" ? list(part) : String(part))).join(", ");
  else text = JSON.stringify(value);
  return text.length > max ? `${text.slice(0, max - 1)}\u2026` : text;
}

/** An entry of Top. */
function list(part: unknown): string {
  const { key, count } = part as { key?: unknown; count?: unknown };
  return key === undefined ? JSON.stringify(part) : `${key} (${count})`;
}
