/** A query over files: its schema is found, it is planned into a kernel, which runs as any other, and its rows are finished. */
import { buildKernel, sourceFile } from "../compiler/cache.ts";
import { HallelujahError, nearest } from "../core/errors.ts";
import { findSchema } from "../input/schema.ts";
import type { Schema, SqlType } from "../sql/expression.ts";
import { type Plan, plan } from "../sql/plan.ts";
import { iterateJob } from "./iterate.ts";
import type { JobOptions, Summary } from "./job.ts";

export interface QueryOptions extends Omit<JobOptions, "kernel" | "order" | "limit" | "table" | "enough"> {
  /** SELECT ... FROM ...; the name behind FROM is any. */
  sql: string;
  /** Types of columns, by name: `integer`, `float`, `decimal`, `bool`, `text`, `timestamp`, or those of a record's fields. */
  types?: Record<string, string>;
}

export interface Query {
  /** Names of the answer's columns, each once. */
  columns: string[];
  /** Rows of the answer, with a value for each column. To be asked for once. */
  rows(): AsyncGenerator<unknown[]>;
  /** Settles when the run has ended, be it that a LIMIT was reached. */
  summary: Promise<Summary>;
}

/** Types by the words that users have for them. */
const TYPES: Record<string, SqlType> = {
  integer: "integer",
  bigint: "integer",
  int: "integer",
  i64: "integer",
  float: "float",
  double: "float",
  f64: "float",
  decimal: "decimal",
  numeric: "decimal",
  bool: "bool",
  boolean: "bool",
  text: "text",
  varchar: "text",
  timestamp: "timestamp",
  time: "timestamp",
};

/** What a query over files becomes. Reads the start of the input. Throws as `plan` and `findSchema` do, and `types-invalid`. */
export async function planQuery(options: QueryOptions): Promise<Plan & Pick<JobOptions, "stdin">> {
  const { columns, stdin } = await findSchema({ ...options, stdin: options.stdin ?? process.stdin });
  const planned = await plan(options.sql, withTypes(columns, options.types ?? {}));
  return { ...planned, stdin };
}

/** Starts a query. Its rows have to be read to its end. */
export async function runQuery(options: QueryOptions): Promise<Query> {
  const { sql: _, types: __, ...job } = options;
  const planned = await planQuery(options);
  const kernel = sourceFile("query", planned.kernel);
  await buildKernel(kernel);
  const { summary, rows, leave } = iterateJob(
    { ...job, kernel, ...(planned.stdin ? { stdin: planned.stdin } : {}) },
    true,
  );
  async function* finished(): AsyncGenerator<unknown[]> {
    try {
      yield* planned.finish(rows());
    } finally {
      leave();
    }
  }
  return { columns: planned.columns.map(({ name }) => name), rows: finished, summary };
}

/** A schema with the types that users give. Throws `types-invalid`. */
export function withTypes(schema: Schema, types: Record<string, string>): Schema {
  const names = schema.map(({ name }) => name);
  for (const [name, type] of Object.entries(types)) {
    if (!Object.hasOwn(TYPES, type.toLowerCase())) {
      const words = Object.keys(TYPES).join(", ");
      throw new HallelujahError("types-invalid", `${type} is no type of a column; there are: ${words}`);
    }
    if (names.includes(name)) continue;
    const meant = nearest(name, names);
    const hint = meant ? `; did you mean "${meant}"?` : "";
    throw new HallelujahError("types-invalid", `there is no column "${name}" to give a type${hint}`);
  }
  return schema.map((column) => {
    const given = Object.hasOwn(types, column.name) ? types[column.name].toLowerCase() : undefined;
    if (given === undefined) return column;
    const { unsupported: _, ...rest } = column;
    return { ...rest, type: TYPES[given], sampled: false, nullable: true };
  });
}
