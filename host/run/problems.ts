/** Bad records in words: the first few with file and line, and how many there were. */
import { closeSync, openSync, readSync } from "node:fs";
import type { RecordField } from "../compiler/descriptor.ts";
import type { Problem } from "../wire/jah.ts";
import type { Source } from "../input/plan.ts";
import { printable, reasonOf } from "../input/reasons.ts";

/** A bad record as it is shown. */
export interface BadRecord {
  file: string;
  /** From 1; undefined in Parquet and Arrow, where `row` counts from 0 within the row group. */
  line?: number;
  row?: number;
  reason: string;
  excerpt: string;
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
