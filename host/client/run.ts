/** A run as an async iterable of rows. */
import { HallelujahError } from "../core/errors.ts";
import { iterateJob } from "../run/iterate.ts";
import type { JobOptions, Summary } from "../run/job.ts";
import type { Row } from "./rows.ts";

export interface RunOptions extends Omit<JobOptions, "kernel" | "delimiter" | "freshInstances" | "enough"> {
  /** The kernel: a `.ts` file, which is built if need be, or a built `.wasm`; or `sql` instead. */
  kernel?: string;
  /** A query instead of a kernel: `SELECT ... FROM ...`, where the name behind FROM is any. */
  sql?: string;
  /** With `sql`: types of columns by name, e.g. `{ zip: "text" }`, where the first rows would not tell them right. */
  types?: Record<string, string>;
  /** CSV: the byte between fields, as a character; found out if not given. */
  delimiter?: string;
}

/** Rows in order: what the kernel emitted, then its tables; or those of a query. And a summary when all is done. */
export interface Run extends AsyncIterable<Row> {
  /** Settles when the run has ended; rejects with a HallelujahError. Rows that are not read hold the run back. */
  readonly summary: Promise<Summary>;
}

/**
 * Runs a kernel, or a query, over files, in as many processes as there are CPUs. Nothing but the caller's iteration pulls
 * rows, so a slow reader slows the run and memory stays bounded.
 *
 *   for await (const row of run({ kernel: "stations.ts", inputs: ["data/*.csv"] })) console.log(row);
 *   for await (const row of run({ sql: "SELECT count(*) AS n FROM data", inputs: ["data/*.csv"] })) console.log(row.n);
 */
export function run(options: RunOptions): Run {
  const { delimiter, kernel, sql, types, ...rest } = options;
  if (delimiter !== undefined && Buffer.byteLength(delimiter) !== 1) {
    throw new TypeError("delimiter is one byte");
  }
  if ((kernel === undefined) === (sql === undefined)) throw new TypeError("a run takes a kernel, or sql");
  const job = { ...rest, ...(delimiter === undefined ? {} : { delimiter: delimiter.charCodeAt(0) }) };
  if (sql !== undefined) return queried({ ...job, sql, ...(types ? { types } : {}) });
  const { summary, rows } = iterateJob({ ...job, kernel: kernel! });
  return { summary, [Symbol.asyncIterator]: rows };
}

/** A query's rows as objects, whose members are in the order of the columns but for names that are numbers. */
function queried(options: Omit<JobOptions, "kernel"> & { sql: string; types?: Record<string, string> }): Run {
  for (const name of ["order", "limit", "table"] as const)
    if (options[name] !== undefined) throw new HallelujahError("usage", `a query says ${name} itself`);
  const query = import("../run/query.ts").then(({ runQuery }) => runQuery(options));
  const summary = query.then((started) => started.summary);
  summary.catch(() => {});
  async function* rows(): AsyncGenerator<Row> {
    const { columns, rows: cells } = await query;
    for await (const row of cells()) yield Object.fromEntries(columns.map((name, i) => [name, row[i]]));
  }
  return { summary, [Symbol.asyncIterator]: rows };
}
