/** Bad records in words: the first few with file and line, and how many there were. */
import { closeSync, openSync, readSync } from "node:fs";
import type { RecordField } from "../compiler/descriptor.ts";
import type { Problem } from "../wire/jah.ts";
import type { Source } from "../input/plan.ts";

/** A bad record as it is shown. */
export interface BadRecord {
  file: string;
  /** From 1; undefined in Parquet and Arrow, where `row` counts from 0 within the row group. */
  line?: number;
  row?: number;
  reason: string;
  excerpt: string;
}

const KINDS: Record<string, string> = {
  Text: "a text",
  Time: "a time",
  bool: "a boolean",
  Decimal: "a decimal",
};

/** Why a record is bad, in words. The numbers are those of assembly/abi.ts. */
export function reasonOf(problem: Problem, fields: RecordField[]): string {
  const field = fields[problem.field];
  const name = field ? `"${field.source}"` : "a field";
  switch (problem.reason) {
    case 1:
      return field
        ? `it has ${count(problem.detail, "field")}, too few for ${name}`
        : `it has ${count(problem.detail, "field")}, fewer than there are columns`;
    case 2:
      return `it has ${count(problem.detail, "field")}, more than there are columns`;
    case 3:
      return `${name} is not a number`;
    case 4:
      return `${name} is not an integer that fits ${field?.type ?? "its type"}`;
    case 5:
      return `${name} is neither true nor false`;
    case 6:
      return `${name} is not a time as ISO 8601 writes it`;
    case 7:
      return `${name} is not a decimal of at most 6 digits after the point`;
    case 8:
      return `${name} is missing`;
    case 9:
      return `${name} is null`;
    case 10:
      return "it is not JSON";
    case 11:
      return "it is not a JSON object";
    case 12:
      return `${name} is not ${KINDS[field?.type ?? ""] ?? "a number"} in JSON`;
    case 13:
      return `field ${problem.detail + 1} goes on after its closing quote`;
    case 15:
      return "a quoted field is not closed";
    case 16:
      return "it is longer than 16 MiB";
    default:
      return `reason ${problem.reason}`;
  }
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

/**
 * The problems with their lines. Lines of files are counted from the start of the file; those of streams are known
 * from the frames before.
 */
export function describeProblems(
  problems: Problem[],
  sources: Source[],
  fields: RecordField[],
  linesBefore: (problem: Problem) => number | undefined,
): BadRecord[] {
  const lines = new Map<Problem, number>();
  for (const source of new Set(problems.map((problem) => problem.source))) {
    const here = problems.filter((problem) => problem.source === source);
    if (sources[source].kind === "range") countFileLines(sources[source].path!, here, lines);
  }
  return problems.map((problem) => {
    const source = sources[problem.source];
    const base = { file: source.name, reason: reasonOf(problem, fields), excerpt: problem.excerpt };
    if (source.kind === "rows") return { ...base, row: problem.offset };
    const line = lines.get(problem) ?? linesBefore(problem);
    return line === undefined ? base : { ...base, line };
  });
}

/** Line numbers of byte offsets, in one pass over the file. */
function countFileLines(path: string, problems: Problem[], lines: Map<Problem, number>): void {
  const sorted = problems.toSorted((a, b) => a.offset - b.offset);
  const chunk = Buffer.allocUnsafe(1 << 20);
  const fd = openSync(path, "r");
  try {
    let line = 1;
    let at = 0;
    for (const problem of sorted) {
      while (at < problem.offset) {
        const got = readSync(fd, chunk, 0, Math.min(chunk.length, problem.offset - at), at);
        if (!got) break;
        for (let lf = chunk.indexOf(0x0a); lf >= 0 && lf < got; lf = chunk.indexOf(0x0a, lf + 1)) line++;
        at += got;
      }
      lines.set(problem, line);
    }
  } finally {
    closeSync(fd);
  }
}

/** One bad record as a line of text: `data.csv:17: "delay" is not a number: 12,abc`. */
export function formatBadRecord({ file, line, row, reason, excerpt }: BadRecord): string {
  const place = line !== undefined ? `${file}:${line}` : row !== undefined ? `${file} row ${row}` : file;
  return `${place}: ${reason}${excerpt ? `: ${printable(excerpt)}` : ""}`;
}

function printable(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) => JSON.stringify(char).slice(1, -1));
}
