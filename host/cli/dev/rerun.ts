/** The three ways in which `dev` has a kernel run: over files, as the kernel of a stream, over the rows that a stream keeps. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Hallelujah, StreamInfo } from "../../client/live.ts";
import type { Compilers } from "../../compiler/apart.ts";
import { HallelujahError } from "../../core/errors.ts";
import { iterateJob } from "../../run/iterate.ts";
import type { JobOptions } from "../../run/job.ts";
import { formatBadRecord } from "../../run/problems.ts";
import { readKernel } from "../deploy.ts";
import { hostOf } from "../remote.ts";
import type { RunFlags } from "../run.ts";
import type { Result } from "./changes.ts";
import type { LoopParts } from "./loop.ts";

export interface DevFlags
  extends Pick<
    RunFlags,
    "order" | "limit" | "table" | "delimiter" | "columns" | "inputFormat" | "jahs" | "memory" | "frameTimeout"
  > {
  stream?: string;
  from?: string;
  dataset?: string;
  url?: string;
  token?: string;
}

/** Rows of an answer that are read and compared. */
const ROWS_MAX = 100_000;

type Row = Record<string, unknown>;
type Rerun = Pick<LoopParts<string>, "build" | "rerun">;

/** How the kernel is built, and what is done with it then. What is built is the path of a module, or the source itself for a visit. */
export function rerunOf(kernel: string, inputs: string[], flags: DevFlags, compilers: Compilers): Rerun {
  const { stream, from } = flags;
  if (from !== undefined) return visits(kernel, from, flags);
  // A stream stays when `dev` has ended.
  const target = stream === undefined ? "quick" : "release";
  const build = async (signal: AbortSignal) => (await compilers.build(kernel, { target, signal })).path;
  if (stream !== undefined)
    return { build, rerun: (module, signal) => swapped(kernel, module, stream, flags, signal) };
  return { build, rerun: (module, signal) => overInputs(module, inputs, flags, signal) };
}

async function overInputs(
  module: string,
  inputs: string[],
  { order, table, delimiter, columns, inputFormat, jahs, memory, frameTimeout }: DevFlags,
  signal: AbortSignal,
): Promise<Result> {
  const options: JobOptions = {
    kernel: module,
    inputs,
    signal,
    limit: ROWS_MAX + 1,
    ...(order === undefined ? {} : { order }),
    ...(table === undefined ? {} : { table }),
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(columns === undefined ? {} : { columns }),
    ...(inputFormat === undefined ? {} : { inputFormat }),
    ...(jahs === undefined ? {} : { jahs }),
    ...(memory === undefined ? {} : { stateBytesMax: memory }),
    ...(frameTimeout === undefined ? {} : { frameTimeoutMs: frameTimeout }),
  };
  const { rows, summary } = iterateJob(options, true);
  summary.catch(() => {}); // it is told by the rows, too
  const read = await readRows(rows());
  const { badRecords, problems, late } = await summary;
  const notes = [];
  if (badRecords) {
    notes.push(`${badRecords} records did not fit and were left out; the first:`);
    notes.push(formatBadRecord(problems[0]));
  }
  if (late) notes.push(`${late} records came too late for their windows and were left out`);
  return { ...read, notes };
}

/** States of a stream that is, or will be in a moment, as it should be. */
const RUNS = new Set(["starting", "running", "parked", "waking"]);

/** The kernel becomes that of the stream, which is made if it is not there; then all its tables are read, or one. */
async function swapped(
  kernel: string,
  module: string,
  name: string,
  flags: DevFlags,
  signal: AbortSignal,
): Promise<Result> {
  const host = hostOf(flags);
  const sent = { kernel: readFileSync(module), file: basename(kernel) };
  // Not ended by the next save: the host would go on with it, and the one that follows be refused.
  const { tables, state } = await swapOrDeploy(host, name, sent);
  const notes = RUNS.has(state) ? [] : [`${name} is ${state}`];
  const { order, table } = flags;
  const found: Result = { rows: [], more: false, notes };
  for (const each of table === undefined ? tables : [table]) {
    if (signal.aborted) break;
    const options = { limit: ROWS_MAX + 1, signal, ...(order === undefined ? {} : { order }) };
    const { rows, more } = await readRows(await host.query<Row>(name, each, options));
    found.rows.push(...rows);
    found.more ||= more;
  }
  return found;
}

async function swapOrDeploy(
  host: Hallelujah,
  name: string,
  sent: { kernel: Uint8Array; file: string },
): Promise<StreamInfo> {
  try {
    return await host.swap(name, sent);
  } catch (error) {
    if (!(error instanceof HallelujahError) || error.code !== "stream-unknown") throw error;
    return host.deploy(name, sent);
  }
}

/** The host compiles what visits, so it is sent the source. */
function visits(kernel: string, name: string, flags: DevFlags): Rerun {
  const { dataset, table, order } = flags;
  return {
    build: async () => readKernel(kernel) as string,
    rerun: async (source, signal) => {
      const rows = await hostOf(flags).visit<Row>(name, {
        kernel: source,
        file: basename(kernel),
        quick: true,
        limit: ROWS_MAX + 1,
        signal,
        ...(dataset === undefined ? {} : { dataset }),
        ...(table === undefined ? {} : { table }),
        ...(order === undefined ? {} : { order }),
      });
      return { ...(await readRows(rows)), notes: [] };
    },
  };
}

/** At most ROWS_MAX; leaving ends what sends them. */
async function readRows(from: AsyncIterable<Row>): Promise<{ rows: Row[]; more: boolean }> {
  const rows: Row[] = [];
  for await (const row of from) {
    if (rows.length === ROWS_MAX) return { rows, more: true };
    rows.push(row);
  }
  return { rows, more: false };
}
