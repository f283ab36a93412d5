/** `hallelujah visit`, and `query` with SQL: another kernel over the rows that a stream keeps. */
import { basename } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { readKernel } from "./deploy.ts";
import { hostOf, print, printRows, type RemoteFlags, untilInterrupted } from "./remote.ts";

interface VisitFlags extends RemoteFlags {
  dataset?: string;
  table?: string;
  order?: string;
  limit?: number;
  timeout?: number;
  rows?: number;
}

export async function visitCommand(name: string, path: string, flags: VisitFlags): Promise<void> {
  const kernel = readKernel(path);
  if (typeof kernel !== "string")
    throw new HallelujahError("usage", "a visiting kernel is a .ts file: the host compiles it");
  const { dataset, table, order, limit, timeout, rows } = flags;
  const options = {
    kernel,
    file: basename(path),
    signal: untilInterrupted(),
    ...(dataset === undefined ? {} : { dataset }),
    ...(table === undefined ? {} : { table }),
    ...(order === undefined ? {} : { order }),
    ...(limit === undefined ? {} : { limit }),
    ...(timeout === undefined ? {} : { timeout: timeout * 1000 }),
    ...(rows === undefined ? {} : { rows }),
  };
  await printRows(flags, (accept) => hostOf(flags).visitBytes(name, options, accept));
}

/** The query becomes a kernel, which visits the dataset behind FROM; what is left to do with its rows is done here. */
export async function querySqlCommand(
  name: string,
  sql: string,
  flags: RemoteFlags & { explain?: boolean; key?: string; order?: string; limit?: number },
): Promise<void> {
  for (const option of ["key", "order", "limit"] as const)
    if (flags[option] !== undefined)
      throw new HallelujahError("usage", `--${option} is for tables; a query says it by itself`);
  const host = hostOf(flags);
  const [{ planDatasetQuery }, { printExplained, writeRows }] = await Promise.all([
    import("../run/dataset-query.ts"),
    import("./sql.ts"),
  ]);
  const { datasets = [] } = await host.stream(name);
  const { dataset, planned } = await planDatasetQuery(name, datasets, sql);
  if (flags.explain) return printExplained(planned, (text) => void process.stdout.write(text));
  const visit = await host.visit<Record<string, unknown>>(name, {
    kernel: planned.kernel,
    file: "query.ts",
    dataset,
    bounds: planned.bounds,
    signal: untilInterrupted(),
  });
  const format = flags.format ?? (process.stdout.isTTY ? "table" : "ndjson");
  const columns = planned.columns.map((column) => column.name);
  await writeRows({ columns, rows: planned.finish(visit) }, format, ",", print);
}
