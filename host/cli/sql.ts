/** Answers to queries on the terminal. */
import type { writeFully as Write } from "../core/write.ts";
import { planQuery, type QueryOptions, runQuery } from "../run/query.ts";
import type { Summary } from "../run/job.ts";

type Format = "table" | "ndjson" | "json" | "csv";

/** Bytes that are written at once. */
const CHUNK_CHARACTERS = 64 * 1024;

/** Prints what a query becomes: its kernel, with the steps that are left as a comment. */
export async function explainSql(options: QueryOptions, write: (text: string) => void): Promise<void> {
  const planned = await planQuery(options);
  planned.stdin?.destroy();
  printExplained(planned, write);
}

/** The same of a query that is planned. */
export function printExplained(
  { kernel, steps }: { kernel: string; steps: string[] },
  write: (text: string) => void,
): void {
  write(
    `// The rows of this kernel are then finished:\n${steps.map((step) => `// - ${oneLine(step)}\n`).join("")}${kernel}`,
  );
}

/** Runs a query over files and writes its rows. `delimiter` is that of CSV that is written. */
export async function writeSql(
  options: QueryOptions,
  format: Format,
  delimiter: string,
  write: (bytes: Uint8Array) => ReturnType<typeof Write>,
): Promise<Summary> {
  const { columns, rows, summary } = await runQuery(options);
  await writeRows({ columns, rows: rows() }, format, delimiter, write);
  return summary;
}

/** Writes the rows of an answer. */
export async function writeRows(
  { columns, rows }: { columns: string[]; rows: AsyncIterable<unknown[]> },
  format: Format,
  delimiter: string,
  write: (bytes: Uint8Array) => Promise<unknown>,
): Promise<void> {
  if (format === "table") {
    const all: unknown[][] = [];
    for await (const row of rows) all.push(row);
    const { renderRows } = await import("./table.ts");
    await write(Buffer.from(renderRows(columns, all, process.stdout.columns)));
    return;
  }
  const text = textOf(format, columns, delimiter);
  let waiting = text.start;
  let any = false;
  for await (const row of rows) {
    waiting += `${any ? text.between : text.first}${text.row(row)}`;
    any = true;
    if (waiting.length < CHUNK_CHARACTERS) continue;
    await write(Buffer.from(waiting));
    waiting = "";
  }
  await write(Buffer.from(waiting + (any ? text.end : text.none)));
}

interface Text {
  start: string;
  first: string;
  between: string;
  end: string;
  /** Instead of the end, if there is no row. */
  none: string;
  row: (row: unknown[]) => string;
}

function textOf(format: Exclude<Format, "table">, columns: string[], delimiter: string): Text {
  if (format === "csv") {
    const line = (cells: unknown[]) => `${cells.map((cell) => csvCell(cell, delimiter)).join(delimiter)}\n`;
    return { start: line(columns), first: "", between: "", end: "", none: "", row: line };
  }
  const labels = columns.map((name, i) => `${i ? "," : "{"}${JSON.stringify(name)}:`);
  const object = (cells: unknown[]) =>
    `${cells.map((cell, i) => labels[i] + JSON.stringify(cell)).join("")}}`;
  if (format === "json")
    return { start: "", first: "[\n", between: ",\n", end: "\n]\n", none: "[]\n", row: object };
  return { start: "", first: "", between: "", end: "", none: "", row: (cells) => `${object(cells)}\n` };
}

/** RFC 4180, as the engine writes it. */
function csvCell(cell: unknown, delimiter: string): string {
  if (cell === null) return "";
  const text = String(cell);
  return /["\r\n]/.test(text) || text.includes(delimiter) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Without line breaks, so that it stays within its comment. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, " ");
}
