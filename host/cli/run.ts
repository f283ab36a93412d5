/** `hallelujah run`: the main job on the terminal. */
import { availableParallelism } from "node:os";
import { HallelujahError } from "../core/errors.ts";
import { inWriting, writeFully } from "../core/write.ts";
import { CSV, JSON_ARRAY, NDJSON } from "../kernel/memory-map.ts";
import { type JobOptions, type Progress, runJob, type Summary } from "../run/job.ts";
import type { QueryOptions } from "../run/query.ts";
import { formatBadRecord } from "../run/problems.ts";
import type { SourceFormat } from "../wire/jah.ts";
import { ProgressLine } from "./progress.ts";

export interface RunFlags {
  format?: "table" | "ndjson" | "json" | "csv";
  order?: string;
  limit?: number;
  table?: string;
  delimiter?: number;
  columns?: string[];
  inputFormat?: SourceFormat;
  jahs?: number;
  memory?: number;
  frameTimeout?: number;
  strict?: boolean;
  sql?: string;
  types?: Record<string, string>;
  explain?: boolean;
  follow?: boolean;
  dataset?: string;
  hold?: boolean;
  url?: string;
  token?: string;
}

const FORMATS = { table: NDJSON, ndjson: NDJSON, json: JSON_ARRAY, csv: CSV } as const;
const STDOUT = 1;

/** Runs a kernel, or the query of `--sql`, for which `kernel` is undefined. */
export async function runCommand(
  kernel: string | undefined,
  inputs: string[],
  flags: RunFlags,
): Promise<void> {
  const { sql } = flags;
  checkFlags(kernel, inputs, flags);
  if (flags.explain) {
    const { explainSql } = await import("./sql.ts");
    return explainSql({ ...flags, sql: sql!, inputs }, (text) => process.stdout.write(text));
  }
  const cpus = availableParallelism();
  if (flags.jahs !== undefined && flags.jahs > cpus) {
    process.stderr.write(
      `hallelujah: --jahs ${flags.jahs} is more than the ${cpus} CPUs here; they will take turns\n`,
    );
  }
  const format = flags.format ?? (process.stdout.isTTY ? "table" : "ndjson");
  const stop = new AbortController();
  const signals = stopOnSignals(stop);
  const progress = process.stderr.isTTY ? new ProgressLine() : undefined;
  const { frameTimeout, memory, ...rest } = flags;
  const options = {
    ...rest,
    ...(memory === undefined ? {} : { stateBytesMax: memory }),
    ...(frameTimeout === undefined ? {} : { frameTimeoutMs: frameTimeout }),
    inputs,
    signal: stop.signal,
    ...(progress ? { onProgress: (state: Progress) => progress.update(state) } : {}),
  };
  const delimiter = flags.format === "csv" && flags.delimiter !== undefined ? flags.delimiter : 0x2c;
  try {
    const clear = () => progress?.clear();
    const summary =
      sql === undefined
        ? await runKernel({ ...options, kernel: kernel! }, format, delimiter, clear)
        : await runSql({ ...options, sql }, format, delimiter, clear);
    progress?.clear();
    reportProblems(summary);
  } catch (error) {
    progress?.clear();
    if (signals.caught) process.exitCode = 128 + signals.caught;
    else {
      const failure = inWriting("rows", error);
      if (failure.code !== "output-closed") throw failure; // else whoever read the rows has enough
    }
  } finally {
    signals.forget();
  }
}

function checkFlags(kernel: string | undefined, inputs: string[], flags: RunFlags): void {
  const { sql } = flags;
  const refuse = (message: string) => new HallelujahError("usage", message);
  if (!inputs.length)
    throw refuse("missing required argument 'inputs': name files, folders or globs, or - for standard input");
  for (const name of ["explain", "types"] as const)
    if (flags[name] !== undefined && sql === undefined) throw refuse(`--${name} is for --sql`);
  for (const name of ["follow", "url", "token", "dataset", "hold"] as const)
    if (flags[name] !== undefined) throw refuse(`--${name} is for --from, the rows that a stream keeps`);
  for (const name of ["order", "limit", "table"] as const)
    if (flags[name] !== undefined && kernel === undefined)
      throw refuse(`--${name} is for kernels: a query says it itself`);
}

async function runKernel(
  options: JobOptions,
  format: keyof typeof FORMATS,
  delimiter: number,
  clear: () => void,
): Promise<Summary> {
  const tables: Buffer[] = [];
  const summary = await runJob(options, {
    format: FORMATS[format],
    delimiter,
    shared: format !== "table",
    write: async (bytes) => {
      if (format === "table") tables.push(Buffer.from(bytes));
      else await writeFully(STDOUT, bytes);
    },
  });
  clear();
  if (format === "table") {
    const { renderTables } = await import("./table.ts");
    await writeFully(STDOUT, Buffer.from(renderTables(Buffer.concat(tables), process.stdout.columns)));
  }
  return summary;
}

async function runSql(
  options: QueryOptions,
  format: keyof typeof FORMATS,
  delimiter: number,
  clear: () => void,
): Promise<Summary> {
  const { writeSql } = await import("./sql.ts");
  return writeSql(options, format, String.fromCharCode(delimiter), (bytes) => {
    clear();
    return writeFully(STDOUT, bytes);
  });
}

function stopOnSignals(stop: AbortController): { caught: number; forget: () => void } {
  const state = { caught: 0, forget: () => {} };
  const on = (number: number) => () => {
    state.caught = number;
    stop.abort();
  };
  const listeners = { SIGINT: on(2), SIGTERM: on(15), SIGHUP: on(1) };
  for (const [name, listener] of Object.entries(listeners)) process.once(name, listener);
  state.forget = () => {
    for (const [name, listener] of Object.entries(listeners)) process.off(name, listener);
  };
  return state;
}

function reportProblems({ badRecords, problems, rows, late }: Summary): void {
  if (late)
    process.stderr.write(`hallelujah: ${late} records came too late for their windows and were left out\n`);
  if (!badRecords) return;
  for (const problem of problems) process.stderr.write(`${formatBadRecord(problem)}\n`);
  const share = rows + badRecords ? ` of ${rows + badRecords}` : "";
  const more = badRecords > problems.length ? `; the first ${problems.length} are shown` : "";
  process.stderr.write(`hallelujah: ${badRecords}${share} records did not fit and were left out${more}\n`);
  if (!rows) throw new HallelujahError("no-record-fits", "no record fits the kernel's record class");
}
