/** `hallelujah visit`, and `query` with SQL: another kernel over the rows that a stream keeps, or over those of a table. */
import { basename } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { readKernel } from "./deploy.ts";
import { hostOf, print, printRows, type RemoteFlags, untilInterrupted } from "./remote.ts";

interface VisitFlags extends RemoteFlags {
  dataset?: string;
  hold?: boolean;
  table?: string;
  order?: string;
  limit?: number;
  timeout?: number;
  rows?: number;
  follow?: boolean;
}

export async function visitCommand(name: string, path: string, flags: VisitFlags): Promise<void> {
  const kernel = readKernel(path);
  const { dataset, hold, table, order, limit, timeout, rows } = flags;
  const options = {
    kernel,
    file: basename(path),
    signal: untilInterrupted(),
    ...(dataset === undefined ? {} : { dataset }),
    ...(hold ? { hold } : {}),
    ...(table === undefined ? {} : { table }),
    ...(order === undefined ? {} : { order }),
    ...(limit === undefined ? {} : { limit }),
    ...(timeout === undefined ? {} : { timeout: timeout * 1000 }),
    ...(rows === undefined ? {} : { rows }),
  };
  if (!flags.follow) return printRows(flags, (accept) => hostOf(flags).visitBytes(name, options, accept));
  const { format = process.stdout.isTTY ? "table" : "ndjson" } = flags;
  if (format !== "table" && format !== "ndjson")
    throw new HallelujahError("usage", "--follow prints results as table or ndjson");
  if (format === "table" && !process.stdout.isTTY)
    throw new HallelujahError(
      "usage",
      "--follow draws a table on a terminal only; without one: --format ndjson",
    );
  const results = (signal: AbortSignal) => hostOf(flags).follow(name, { ...options, signal });
  if (format === "ndjson") {
    for await (const result of results(options.signal)) await print(`${JSON.stringify(result)}\n`);
  } else {
    const [{ show }, { renderTables }] = await Promise.all([import("./watch.ts"), import("./table.ts")]);
    await show(options.signal, async function* (stop) {
      for await (const { frame, rows } of results(stop)) {
        const lines = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
        const table = rows.length ? renderTables(lines, process.stdout.columns) : "no rows yet\n";
        yield `${name} as of frame ${frame}\n${table}`;
      }
    });
  }
  process.stderr.write(`${name} is there no more, or its host is going down\n`);
}

/** What `run` takes for files, which rows that are kept need not. */
const OF_FILES = [
  ["sql", "query STREAM 'SELECT ...' asks a stream"],
  ["types", "the rows have their types"],
  ["explain", "query STREAM 'SELECT ...' --explain prints the kernel of a query"],
  ["delimiter", "the rows are no files"],
  ["columns", "the rows have their names"],
  ["inputFormat", "the rows are no files"],
  ["jahs", "the Jahs that keep the rows run it"],
  ["memory", "the Jahs that keep the rows run it"],
  ["frameTimeout", "the host has its own"],
  ["strict", "the rows fitted when they came"],
] as const;

/** `run KERNEL --from STREAM`: a visit. */
export async function runFromCommand(
  [kernel, ...inputs]: string[],
  flags: VisitFlags & { from: string } & { [name in (typeof OF_FILES)[number][0]]?: unknown },
): Promise<void> {
  for (const [name, why] of OF_FILES)
    if (flags[name] !== undefined)
      throw new HallelujahError(
        "usage",
        `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} is for files: ${why}`,
      );
  if (inputs.length)
    throw new HallelujahError("usage", `with --from ${flags.from} there are no inputs: ${inputs.join(" ")}`);
  await visitCommand(flags.from, kernel, flags);
}

/** The query becomes a kernel, which visits the dataset or the table behind FROM; what is left to do with its rows is done here. */
export async function querySqlCommand(
  name: string,
  sql: string,
  flags: RemoteFlags & { explain?: boolean; key?: string; order?: string; limit?: number },
): Promise<void> {
  for (const option of ["key", "order", "limit"] as const)
    if (flags[option] !== undefined)
      throw new HallelujahError("usage", `--${option} is for tables; a query says it by itself`);
  const host = hostOf(flags);
  const [{ planStreamQuery }, { printExplained, writeRows }] = await Promise.all([
    import("../run/stream-query.ts"),
    import("./sql.ts"),
  ]);
  const { dataset, planned } = await planStreamQuery(name, await host.stream(name), sql);
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
