/** A Jah's failure in words: what happened, where in the kernel and in the input, and what to do next. */
import type { BuiltKernel } from "../compiler/cache.ts";
import { KernelPlaces } from "../compiler/places.ts";
import { HallelujahError } from "../core/errors.ts";
import { outputError } from "../core/write.ts";
import { FULL_ROWS } from "../kernel/memory-map.ts";
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
  if (failure.kind === "internal" && unwritten) return outputError("rows", unwritten[1], unwritten[2]);
  if (failure.kind === "memory") {
    const { tables, datasets = [] } = kernel.descriptor;
    const { table = 0, entries } = failure;
    const grew = (what: string) => `out of memory: ${what} grew beyond the ${size(stateBytesMax)} of a Jah`;
    const more = "give each Jah more with --memory (at most 3.8G), share the";
    const message =
      table < FULL_ROWS
        ? [
            `${grew(`the table ${tables[table]?.name}`)} (${entries} entries there)`,
            `${more} keys among more --jahs, or keep less per key`,
          ]
        : [
            grew(`the dataset ${datasets[table - FULL_ROWS]?.name}`),
            `${more} rows among more --jahs, or keep fewer of them`,
          ];
    return new HallelujahError(failure.code, message.join("\n"));
  }
  if (failure.kind === "trap") {
    const place = new KernelPlaces(kernel.path, kernel.descriptor.file).of(failure.stack);
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
