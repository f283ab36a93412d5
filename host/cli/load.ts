/** `hallelujah load`: files become rows that a stream keeps, for queries and visits. */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { StreamInfo } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { isRemote } from "../input/discover.ts";
import { printable } from "../input/reasons.ts";
import { type KeepPlan, planKeep } from "../run/keep.ts";
import type { SourceFormat } from "../wire/jah.ts";
import { ProgressLine } from "./progress.ts";
import { quoted } from "./push.ts";
import { hostOf, print, type RemoteFlags, untilInterrupted } from "./remote.ts";

export interface LoadFlags extends RemoteFlags {
  types?: Record<string, string>;
  inputFormat?: SourceFormat;
  max?: number;
  retain?: string;
  explain?: boolean;
}

/** How often it is looked how far the stream is, ms. */
const LOOK_MS = 100;

/** What a file was taken for, in words. */
const TAKEN_FOR = { csv: "CSV", ndjson: "NDJSON", lines: "lines", parquet: "Parquet", arrow: "Arrow" };

/** Columns that are named where nothing fits, and characters of each. */
const COLUMNS_SHOWN = 5;
const NAME_SHOWN = 40;

export async function loadCommand(name: string, inputs: string[], flags: LoadFlags): Promise<void> {
  if (inputs.includes("-"))
    throw new HallelujahError("usage", `load reads files; pipe records to: hallelujah push ${name}`);
  const plan = await planKeep(name, inputs, flags.types, flags.inputFormat);
  const { files, kernel, left } = plan;
  for (const { name: column, why } of left)
    process.stderr.write(`the column ${column} is left out: ${why}\n`);
  if (flags.explain) return print(kernel);
  const signal = untilInterrupted();
  const host = hostOf(flags);
  const { max, retain, inputFormat } = flags;
  await host.deploy(name, {
    kernel,
    file: `${name}.ts`,
    // The host reads them.
    source: files.map(({ path }) => (isRemote(path) ? path : resolve(path))),
    ...(inputFormat === undefined ? {} : { inputFormat }),
    ...(max === undefined ? {} : { max }),
    ...(retain === undefined ? {} : { retain }),
  });
  const bytesTotal = files.reduce((sum, { size }) => sum + size, 0);
  const bar = process.stderr.isTTY ? new ProgressLine("loaded") : undefined;
  try {
    for (;;) {
      const stream = await host.stream(name, { signal });
      if (stream.error !== undefined) throw new HallelujahError("stream-failed", `${name}: ${stream.error}`);
      const { inputsRead = 0, frame, frames, backlog } = stream;
      const isRead = inputsRead === files.length;
      if (isRead && frame === frames) return await tell(stream, plan);
      const read = (bytesTotal * inputsRead) / files.length;
      bar?.update({ bytes: Math.max(0, read - backlog.bytes), bytesTotal, rows: stream.records });
      await sleep(LOOK_MS, undefined, { signal });
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    bar?.clear();
  }
}

/** What is there, and what can be asked of it. */
async function tell(stream: StreamInfo, plan: LoadedPlan): Promise<void> {
  const { misfits, text } = loaded(stream, plan);
  process.stderr.write(misfits);
  await print(text);
}

type LoadedPlan = Pick<KeepPlan, "files" | "format" | "columns">;

type LoadedStream = Pick<StreamInfo, "name" | "records" | "badRecords" | "problems">;

/** What to say of a stream that has read its files: of records that did not fit, and of the others. Throws `load-misfit` if none fits. */
export function loaded(
  { name, records, badRecords, problems = [] }: LoadedStream,
  plan: LoadedPlan,
): { misfits: string; text: string } {
  const [first] = problems;
  const why = first ? `, such as ${first.source}: ${first.reason}, in ${printable(first.record)}` : "";
  const mistyped = [...new Set(problems.flatMap((problem) => problem.mistyped ?? []))];
  const types = quoted(mistyped.map((column) => `${column}=text`).join(","));
  const hint = mistyped.length
    ? `Types are found in the first 256 KiB; to give others (text, float, decimal, bool, timestamp): --types ${types}\n`
    : "";
  const misfits = badRecords ? `${count(badRecords, "record")} did not fit${why}\n${hint}` : "";
  if (badRecords && !records) throw nothingFits(name, plan, misfits);
  const { length } = plan.columns;
  const ask = `hallelujah query ${name} 'SELECT count(*) FROM "${name}"'`;
  const text = `${name} keeps ${count(records, "row")} of ${count(length, "column")}; ask for them: ${ask}\n`;
  return { misfits, text };
}

function nothingFits(name: string, { files, format, columns }: LoadedPlan, misfits: string): HallelujahError {
  const names = columns
    .slice(0, COLUMNS_SHOWN)
    .map((column) => `"${printable(column).slice(0, NAME_SHOWN)}"`);
  const more = columns.length > COLUMNS_SHOWN ? ", ..." : "";
  const of = files.length === 1 ? files[0].path : `the ${files.length} files`;
  return new HallelujahError(
    "load-misfit",
    `no record of ${of} fits; ${files[0].path} was taken for ${TAKEN_FOR[format]} with the columns ${names.join(", ")}${more}\n` +
      `${misfits}A file is taken for what its name ends in (.csv, .ndjson, .parquet ...), and else for what it looks like, unless --input-format says it.\n` +
      `${name} stays, without rows; to remove it: hallelujah rm ${name}`,
  );
}

function count(n: number, what: string): string {
  return `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
}
