/**
 * Queries at random over real data give what DuckDB gives: floats within 1e-9, rows in order where ORDER BY decides it.
 * More of them: SQL_QUERIES=2000 FC_SEED=7 npx tsx test/sql/duckdb.test.ts
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance, type DuckDBConnection } from "@duckdb/node-api";
import fc from "fast-check";
import { test } from "uvu";
import { findSchema } from "../../host/input/schema.ts";
import { planQuery, runQuery } from "../../host/run/query.ts";
import type { SqlType } from "../../host/sql/expression.ts";
import { scratch, write } from "../run.ts";
import { type Column, queries } from "./queries.ts";
import { compareRows } from "./same.ts";

/** About how many queries go over all data sets together; each is compiled, which takes most of the time. */
const QUERIES = Number(process.env.SQL_QUERIES ?? 36);
const SEED = Number(process.env.FC_SEED ?? 20_261_126);

// Thousands of kernels are no use to anybody later.
if (process.env.SQL_QUERIES) process.env.HALLELUJAH_CACHE = join(scratch(), "cache");

const data = (name: string) => join("node_modules/vega-datasets/data", name);
const DUCK_TYPES: Record<SqlType, string> = {
  bool: "BOOLEAN",
  integer: "BIGINT",
  float: "DOUBLE",
  decimal: "DECIMAL(18,6)",
  text: "VARCHAR",
  timestamp: "TIMESTAMP",
  date: "DATE",
  null: "VARCHAR",
};

const duckdb = async (): Promise<DuckDBConnection> => (await DuckDBInstance.create(":memory:")).connect();
const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** Two thousand flights, with columns of all types that lack values. */
async function flights(): Promise<string> {
  const path = join(scratch(), "flights.parquet");
  const connection = await duckdb();
  await connection.run(`COPY (
    SELECT date, nullif(delay, 0) AS delay, distance, origin, nullif(destination, 'ORD') AS "Destination Airport",
      CASE WHEN delay % 7 <> 3 THEN delay / 8.0::DOUBLE END AS score, (distance / 100.0)::DECIMAL(12,2) AS price,
      CASE WHEN delay % 5 <> 0 THEN delay > 10 END AS late, date::DATE AS day
    FROM read_parquet('${data("flights-3m.parquet")}', file_row_number = true) WHERE file_row_number % 1500 = 7
  ) TO '${path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)`);
  return path;
}

/** The films, a line each: texts with quotes, numbers that are missing. */
function movies(): string {
  const all = JSON.parse(readFileSync(data("movies.json"), "utf8")) as Record<string, unknown>[];
  const lines = all.slice(0, 1200).map((movie) => {
    const {
      Title,
      Director,
      "US Gross": gross,
      "IMDB Rating": rating,
      "Rotten Tomatoes Rating": tomatoes,
    } = movie;
    return JSON.stringify({ Title: String(Title), director: Director, gross, rating, tomatoes });
  });
  return write("movies.ndjson", `${lines.join("\n")}\n`);
}

const SETS: [name: string, share: number, path: () => Promise<string> | string][] = [
  ["flights", 4, flights],
  ["birdstrikes", 2, () => birdstrikes()],
  ["weather", 1, () => data("seattle-weather.csv")],
  ["movies", 2, movies],
];

/** Part of a file with quoted texts and gaps. */
function birdstrikes(): string {
  const lines = readFileSync(data("birdstrikes.csv"), "utf8").split("\n");
  return write("birdstrikes.csv", `${lines.slice(0, 2000).join("\n")}\n`);
}

for (const [name, share, path] of SETS.filter(([each]) => each.includes(process.env.SQL_SET ?? ""))) {
  test(`${name}: generated queries give what DuckDB gives`, async () => {
    const input = await path();
    const { columns: schema } = await findSchema({ inputs: [input], stdin: process.stdin });
    const connection = await duckdb();
    const source = input.endsWith(".csv")
      ? `read_csv('${input}', header = true, all_varchar = true)`
      : input.endsWith(".ndjson")
        ? `read_json('${input}', format = 'newline_delimited')`
        : `'${input}'`;
    const casts = schema.map(
      (column) => `CAST(${quote(column.name)} AS ${DUCK_TYPES[column.type]}) AS ${quote(column.name)}`,
    );
    await connection.run(`CREATE TABLE t AS SELECT ${casts.join(", ")} FROM ${source}`);
    const columns: Column[] = [];
    for (const column of schema) {
      if (column.type === "date" || column.type === "decimal") continue; // see the test of types
      const sql = `SELECT DISTINCT ${quote(column.name)}::VARCHAR FROM t WHERE ${quote(column.name)} IS NOT NULL ORDER BY 1 LIMIT 40`;
      const values = (await connection.runAndReadAll(sql)).getRows().map(([value]) => value as string);
      columns.push({ name: column.name, type: column.type, values });
    }
    const runs = Math.max(1, Math.round((QUERIES * share) / 9));
    await fc.assert(
      fc.asyncProperty(queries(columns), async ({ ours, duck, ordered }) => {
        const expected = (await connection.runAndReadAll(duck)).getRowsJson() as unknown[][];
        await check(ours, input, expected, ordered);
      }),
      { seed: SEED, numRuns: runs, endOnFailure: !process.env.SQL_SHRINK, includeErrorInReport: true },
    );
  });
}

async function check(sql: string, input: string, expected: unknown[][], ordered: boolean): Promise<void> {
  // Frames are so small that there are several of most files.
  const options = { sql, inputs: [input], jahs: 1, strict: true, frameBytes: 50_000 };
  const types = (await planQuery(options)).columns.map(({ type }) => type);
  const query = await runQuery(options);
  const rows: unknown[][] = [];
  for await (const row of query.rows()) rows.push(row);
  await query.summary;
  compareRows(sql, rows, expected, types, ordered);
}

test.run();
