/** A Jah's failure in words: what happened, where in the kernel and in the input, and what to do next. */
import { readFileSync } from "node:fs";
import { originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";
import type { BuiltKernel } from "../compiler/cache.ts";
import { sectionNames, sectionText } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import type { Failure, FrameTask } from "../wire/jah.ts";
import type { Source } from "./plan.ts";

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
    const message = [`the kernel stopped: ${failure.message}`, ...(place ? [place] : []), ...(where ? [`at ${where}`] : [])];
    return new HallelujahError(failure.code, message.join("\n"));
  }
  return new HallelujahError(failure.code, `${failure.message}\n${failure.stack}${where ? `\nat ${where}` : ""}`);
}

function size(bytes: number): string {
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
  for (const [, name, offset] of stack.matchAll(/(?:at )?(\S*?) ?\(?wasm:\/\/\S*?:(?:wasm-function\[\d+\]:)?(0x[0-9a-f]+|\d+)/g)) {
    const position = originalPositionFor(trace, { line: 1, column: Number(offset) });
    if (!position.source || position.source.includes("~lib/")) continue;
    const author = position.source.split("/").at(-1);
    if (author !== kernel.descriptor.file) continue;
    const called = name.split("/").at(-1) || "each";
    return `in ${called.replace(/^kernelEach$/, "each")} (${author}:${position.line}:${position.column + 1})`;
  }
  return undefined;
}
