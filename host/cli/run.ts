/** `hallelujah run`: the main job on the terminal. */
import { availableParallelism } from "node:os";
import { HallelujahError } from "../core/errors.ts";
import { writeFully } from "../core/write.ts";
import { CSV, JSON_ARRAY, NDJSON } from "../kernel/memory-map.ts";
import { outputError } from "../run/failure.ts";
import { type JobOptions, runJob, type Summary } from "../run/job.ts";
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
}

const FORMATS = { table: NDJSON, ndjson: NDJSON, json: JSON_ARRAY, csv: CSV } as const;
const STDOUT = 1;

export async function runCommand(kernel: string, inputs: string[], flags: RunFlags): Promise<void> {
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
  const tables: Buffer[] = [];
  const { frameTimeout, memory, ...rest } = flags;
  const options: JobOptions = {
    ...rest,
    ...(memory === undefined ? {} : { stateBytesMax: memory }),
    ...(frameTimeout === undefined ? {} : { frameTimeoutMs: frameTimeout }),
    kernel,
    inputs,
    signal: stop.signal,
    ...(progress ? { onProgress: (state) => progress.update(state) } : {}),
  };
  try {
    const summary = await runJob(options, {
      format: FORMATS[format],
      delimiter: flags.format === "csv" && flags.delimiter !== undefined ? flags.delimiter : 0x2c,
      shared: format !== "table",
      write: async (bytes) => {
        if (format === "table") tables.push(Buffer.from(bytes));
        else await writeFully(STDOUT, bytes);
      },
    });
    progress?.clear();
    if (format === "table") {
      const { renderTables } = await import("./table.ts");
      await writeFully(STDOUT, Buffer.from(renderTables(Buffer.concat(tables), process.stdout.columns)));
    }
    reportProblems(summary);
  } catch (error) {
    progress?.clear();
    if (signals.caught) process.exitCode = 128 + signals.caught;
    else {
      const failure = inWriting(error);
      if (failure.code !== "output-closed") throw failure; // else whoever read the rows has enough
    }
  } finally {
    signals.forget();
  }
}

/** An error of the system while rows are written, in words. */
function inWriting(error: unknown): Error & { code?: string } {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall !== "write" || !code) return error as Error;
  return outputError(code, message.replace(/^\w+: /, "").replace(/, write$/, ""));
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
