/** Errors in a kernel: where in the author's file, the line itself, and what to write instead. */
import { HallelujahError } from "../core/errors.ts";

export interface Diagnostic {
  file: string;
  /** Offsets in the author's text; undefined if the error has no place there. */
  start?: number;
  end?: number;
  message: string;
  hint?: string;
}

export interface Place {
  line: number;
  column: number;
}

/** 1-based line and column of an offset. */
export function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  const lineStart = before.lastIndexOf("\n") + 1;
  return { line: before.split("\n").length, column: offset - lineStart + 1 };
}

/**
 * One diagnostic as text:
 *
 *   stations.ts:4:38 error: Statz is no aggregate
 *      4 | @state class Weather { temperature: Statz }
 *        |                                     ^~~~~
 *        did you mean Stats?
 */
export function formatDiagnostic(diagnostic: Diagnostic, text: string): string {
  const { file, start, message, hint } = diagnostic;
  const indent = " ".repeat(6);
  const hintLine = hint ? `\n${indent}${hint}` : "";
  if (start === undefined) return `${file} error: ${message}${hintLine}`;
  const { line, column } = placeOf(text, start);
  const source = text.split("\n")[line - 1].replace(/\r$/, "");
  const length = Math.max(1, Math.min((diagnostic.end ?? start) - start, source.length - column + 1));
  const under = source.slice(0, column - 1).replace(/[^\t]/g, " ");
  return [
    `${file}:${line}:${column} error: ${message}`,
    `${String(line).padStart(4)} | ${source}`,
    `     | ${under}^${"~".repeat(length - 1)}${hintLine}`,
  ].join("\n");
}

/** A kernel that does not compile. `message` holds every diagnostic as text. */
export class CompileError extends HallelujahError {
  readonly diagnostics: Diagnostic[];

  constructor(diagnostics: Diagnostic[], text: string) {
    super("kernel-invalid", diagnostics.map((d) => formatDiagnostic(d, text)).join("\n\n"));
    this.diagnostics = diagnostics;
  }
}
