// DuckDB's answer to one figure: node duckdb.mjs csv|ndjson|parquet FILE > ROWS, or node duckdb.mjs keys
// FILE OUT.csv
//
// Plain JavaScript, so that its start is Node's and the module's alone. An in-memory instance with DuckDB's
// own defaults (all cores, its memory limit); types and columns are declared, so that no time goes to
// guessing them.
import { DuckDBInstance } from "@duckdb/node-api";

const aggregates = (column) =>
  ["count", "sum", "min", "max", "avg"].map((name) => `${name}(${column})::DOUBLE`).join(", ");

/** The question of each figure that prints rows: the table and field that ours prints, and the SQL. */
const questions = {
  csv: {
    table: "stations",
    field: "temperature",
    sql: `SELECT station, ${aggregates("temperature")} FROM read_csv($file, delim = ';', header = false,
      auto_detect = false, columns = {'station': 'VARCHAR', 'temperature': 'DOUBLE'})
      GROUP BY station ORDER BY station`,
  },
  ndjson: {
    table: "stations",
    field: "temperature",
    sql: `SELECT station, ${aggregates("temperature")} FROM read_json($file, format = 'newline_delimited',
      columns = {'station': 'VARCHAR', 'temperature': 'DOUBLE'}) GROUP BY station ORDER BY station`,
  },
  parquet: {
    table: "origins",
    field: "delay",
    sql: `SELECT origin, ${aggregates("delay")} FROM read_parquet($file) GROUP BY origin ORDER BY origin`,
  },
};

const [figure, file, out] = process.argv.slice(2);
const quoted = (path) => `'${path.replaceAll("'", "''")}'`;
const instance = await DuckDBInstance.create(":memory:");
const connection = await instance.connect();
if (figure === "keys") await copyKeys();
else await printRows(questions[figure]);

async function copyKeys() {
  await connection.run(`COPY (SELECT key, min(value) AS "value.min", avg(value) AS "value.mean",
    max(value) AS "value.max", count(value) AS "value.count" FROM read_csv(${quoted(file)}, delim = ',',
    header = true, auto_detect = false, columns = {'key': 'BIGINT', 'value': 'DOUBLE'})
    GROUP BY key ORDER BY key) TO ${quoted(out)} (FORMAT csv, HEADER true)`);
}

async function printRows({ table, field, sql }) {
  const reader = await connection.runAndReadAll(sql.replace("$file", quoted(file)));
  const rows = reader
    .getRows()
    .map(([key, count, sum, min, max, mean]) =>
      JSON.stringify({ table, key, [field]: { count, sum, min, max, mean } }),
    );
  process.stdout.write(`${rows.join("\n")}\n`);
}
