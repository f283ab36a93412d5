/** A Jah's failure in words: what happened, where in the kernel and in the input, and what to do next. */
import { readFileSync } from "node:fs";
import { decodedMappings, originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";
import type { BuiltKernel } from "../compiler/cache.ts";
import { sectionNames, sectionText } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import type { Failure, FrameTask } from "../wire/jah.ts";
import type { Source } from "../input/plan.ts";

export function explainFailure(
  failure: Failure,
  kernel: BuiltKernel,
  sources: Source[],
  task: FrameTask | undefined,
  stateBytesMax: number,
  frameBytes: number,
): HallelujahError {
  const where = inputPlace(failure, sources, task, frameBytes);
  if (failure.kind === "input") return new HallelujahError(failure.code, failure.message);
  const unwritten = /^(E[A-Z]+): (.*), write$/.exec(failure.message);
  if (failure.kind === "internal" && unwritten) return outputError(unwritten[1], unwritten[2]);
  if (failure.kind === "memory") {
    const table = kernel.descriptor.tables[failure.table ?? 0];
    const message = [
      `out of memory: the table ${table?.name} grew beyond the ${size(stateBytesMax)} of a Jah (${failure.entries} entries there)`,
      "give each Jah more with --memory (at most 3.8G), share the keys among more --jahs, or keep less per key",
    ];
    return new HallelujahError(failure.code, message.join("\n"));
  }
  if (failure.kind === "trap") {
    const place = kernelPlace(failure.stack, kernel);
    const message = [
      `the kernel stopped: ${failure.message}`,
      ...(place ? [place] : []),
      ...(where ? [`at ${where}`] : []),
    ];
    return new HallelujahError(failure.code, message.join("\n"));
  }
  return new HallelujahError(
    failure.code,
    `${failure.message}\n${failure.stack}${where ? `\nat ${where}` : ""}`,
  );
}

/** Rows cannot be written: whoever read them has gone, or the disk is full. `code` is that of the system. */
export function outputError(code: string, message: string): HallelujahError {
  if (code === "EPIPE")
    return new HallelujahError("output-closed", "the output was closed before all rows were written");
  return new HallelujahError("output-failed", `the rows cannot be written: ${message} (${code})`);
}

function size(bytes: number): string {
  if (bytes < 1 << 20) return `${Math.ceil(bytes / 1024)} KiB`;
  return bytes >= 1 << 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}

function inputPlace(
  failure: Failure,
  sources: Source[],
  task: FrameTask | undefined,
  frameBytes: number,
): string | undefined {
  const source = sources[failure.source ?? task?.source ?? -1];
  if (!source) return undefined;
  if (task?.kind === "rows") {
    return `${source.name}, ${source.format === "parquet" ? "row group" : "record batch"} ${task.index}`;
  }
  const range =
    task?.kind === "range"
      ? [task.index * frameBytes, Math.min((task.index + 1) * frameBytes, source.size)]
      : [failure.start, failure.end];
  return range[0] === undefined ? source.name : `${source.name}, bytes ${range[0]} to ${range[1]}`;
}

/** The innermost place in the author's file: `in each (stations.ts:9:3)`, with the line itself. */
function kernelPlace(stack: string, kernel: BuiltKernel): string | undefined {
  const map = sectionText(readFileSync(kernel.path), sectionNames.sourceMap);
  if (!map) return undefined;
  const trace = new TraceMap(map);
  for (const [, name, offset] of stack.matchAll(
    /(?:at )?(\S*?) ?\(?wasm:\/\/\S*?:(?:wasm-function\[\d+\]:)?(0x[0-9a-f]+|\d+)/g,
  )) {
    const called = name.replace(/^\$/, "");
    const position = placeOf(trace, Number(offset), kernel.descriptor.file);
    if (!position) continue;
    const own = called.includes("~lib/") ? inlinedInto(called) : called.split("/").at(-1) || "each";
    return `in ${own} (${kernel.descriptor.file}:${position.line}:${position.column + 1})`;
  }
  return undefined;
}

/** Which of the author's functions is inlined in a function of the engine: applying folds, closing closes, the rest maps. */
function inlinedInto(engine: string): string {
  if (/apply|fold/i.test(engine)) return "fold";
  return /close/i.test(engine) ? "close" : "each";
}

/** The author's line behind an offset of the module's code; undefined if that code is none of the author's. */
function placeOf(
  trace: TraceMap,
  offset: number,
  file: string,
): { line: number; column: number } | undefined {
  const isOwn = (source: string | null | undefined) =>
    source?.split("/").at(-1) === file && !source.includes("~lib/");
  const { source, line, column } = originalPositionFor(trace, { line: 1, column: offset });
  if (source) return isOwn(source) ? { line, column } : undefined;
  // The optimiser forgets the place of some calls and loops; the place before is near enough.
  const [mappings = []] = decodedMappings(trace);
  for (const segment of mappings.toReversed()) {
    if (segment[0] > offset || segment.length === 1) continue;
    return isOwn(trace.sources[segment[1]]) ? { line: segment[2] + 1, column: segment[3] } : undefined;
  }
  return undefined;
}
