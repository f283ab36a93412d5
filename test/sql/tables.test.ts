/** Queries over a stream's tables give what DuckDB gives over the rows that `query` shows of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { tableColumns } from "../../host/kernel/table-columns.ts";
import { planStreamQuery } from "../../host/run/stream-query.ts";
import type { SqlType } from "../../host/sql/expression.ts";
import { kernelOf, type Row, write } from "../run.ts";
import { Owners, rowsOf, tableSet, visit } from "../state/datasets.ts";
import { type Column, queries } from "./queries.ts";
import { compareRows } from "./same.ts";

const test = suite("sql: queries over tables");
const QUERIES = Number(process.env.SQL_QUERIES ?? 8);
const SEED = Number(process.env.FC_SEED ?? 20_261_126);

/** Strikes of birds by place and kind: tuples as keys, numbers, texts and times as values. */
const KERNEL = `
import { Count, Distinct, Last, Max, Min, Optional, Pair, Stats, Sum, Table, Text, Time, pair } from "hallelujah";
@record class Strike {
  @name("Origin State") state: Text; @name("Wildlife Species") species: Text; @name("Flight Date") date: Time; @name("Speed IAS in knots") speed: Optional<f64>;
  @name("Cost Total $") cost: i64;
}
@state class Strikes { strikes: Count; speed: Stats; cost: Sum<i64>; worst: Max<i64>; first: Min<Time>; last: Last<Text>; fast: Max<Text>; kinds: Distinct }
@state class Few { strikes: Count; speed: Stats }
const places = new Table<Pair<Text, Text>, Strikes>("places");
const states = new Table<Text, Few>("states");
export function each(strike: Strike): void {
  const place = places.at(pair(strike.state, strike.species));
  place.strikes.add();
  place.cost.add(strike.cost);
  place.worst.add(strike.cost);
  place.first.add(strike.date);
  place.last.add(strike.species);
  place.kinds.add(strike.species);
  const state = states.at(strike.state);
  state.strikes.add();
  if (!strike.speed.present) return;
  place.speed.add(strike.speed.value);
  state.speed.add(strike.speed.value);
  if (strike.speed.value > 200) place.fast.add(strike.species);
}`;

/** The first lines of the file as NDJSON. */
function strikes(): string[] {
  const path = join("node_modules/vega-datasets/data", "birdstrikes.csv");
  const [head, ...lines] = readFileSync(path, "utf8").split(/\r?\n/).slice(0, 4000);
  const names = head.split(",");
  return lines
    .filter((line) => line && !line.includes('"'))
    .map((line) => {
      const row = Object.fromEntries(line.split(",").map((value, i) => [names[i], value]));
      const speed = row["Speed IAS in knots"];
      return JSON.stringify({
        "Origin State": row["Origin State"],
        "Wildlife Species": row["Wildlife Species"],
        "Flight Date": `${row["Flight Date"]}T00:00:00Z`,
        "Cost Total $": Number(row["Cost Total $"]),
        ...(speed ? { "Speed IAS in knots": Number(speed) } : {}),
      });
    });
}

async function keep() {
  const built = await buildKernel(kernelOf("strikes", KERNEL));
  const owners = new Owners(built, 2);
  const lines = strikes();
  assert.ok(lines.length > 2000);
  for (let from = 0; from < lines.length; from += 500)
    await owners.add(`${lines.slice(from, from + 500).join("\n")}\n`);
  return { built, owners };
}
const kept = keep();

/** What a stream says of its tables. */
async function tables() {
  const { built } = await kept;
  return built.descriptor.tables.map((table) => ({ name: table.name, fields: tableColumns(table) }));
}

/** The answer of a query, as `hallelujah query` has it. */
async function ask(sql: string): Promise<{ rows: unknown[][]; types: SqlType[] }> {
  const { built, owners } = await kept;
  const { dataset, planned } = await planStreamQuery("birds", { tableColumns: await tables() }, sql);
  const kernel = await buildKernel(kernelOf("query", planned.kernel));
  const found = await visit(owners.all, built, kernel, { table: tableSet(built, dataset) });
  const lines = [...found.emitted.split("\n").filter(Boolean), ...found.rows].map(
    (line) => JSON.parse(line) as Row,
  );
  const given = (async function* () {
    yield* lines;
  })();
  const rows: unknown[][] = [];
  for await (const row of planned.finish(given)) rows.push(row);
  return { rows, types: planned.columns.map(({ type }) => type) };
}

const DUCK_TYPES: Record<string, string> = {
  u64: "BIGINT",
  i64: "BIGINT",
  f64: "DOUBLE",
  Text: "VARCHAR",
  Time: "TIMESTAMP",
};
const SQL_TYPES: Record<string, SqlType> = {
  u64: "integer",
  i64: "integer",
  f64: "float",
  Text: "text",
  Time: "timestamp",
};

/** DuckDB with a table that holds what `query` shows. */
async function duckdb(name: string) {
  const { built, owners } = await kept;
  const set = tableSet(built, name);
  const columns = tableColumns(set).filter(({ unsupported }) => unsupported === undefined);
  const shown = owners.all
    .flatMap(({ shard }) => rowsOf(shard.kernel, set.number))
    .map((line) => JSON.parse(line) as Row);
  const lines = shown.map((row) =>
    JSON.stringify(
      Object.fromEntries(
        columns.map((column) => [
          column.name,
          column.name.split(".").reduce((value, part) => value?.[part], row),
        ]),
      ),
    ),
  );
  const path = write(`${name}.ndjson`, `${lines.join("\n")}\n`);
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  const casts = columns.map(
    (column) => `CAST("${column.name}" AS ${DUCK_TYPES[column.type]}) AS "${column.name}"`,
  );
  await connection.run(
    `CREATE TABLE t AS SELECT ${casts.join(", ")} FROM read_json('${path}', format = 'newline_delimited')`,
  );
  return { connection, columns };
}

for (const name of ["places", "states"]) {
  test(`${name}: generated queries give what DuckDB gives`, async () => {
    const { connection, columns } = await duckdb(name);
    const known: Column[] = [];
    for (const column of columns) {
      const sql = `SELECT DISTINCT "${column.name}"::VARCHAR FROM t WHERE "${column.name}" IS NOT NULL ORDER BY 1 LIMIT 40`;
      const values = (await connection.runAndReadAll(sql)).getRows().map(([value]) => value as string);
      known.push({ name: column.name, type: SQL_TYPES[column.type], values });
    }
    await fc.assert(
      fc.asyncProperty(queries(known), async ({ ours, duck, ordered }) => {
        const expected = (await connection.runAndReadAll(duck)).getRowsJson() as unknown[][];
        const sql = ours.replace(/\bFROM t\b/, `FROM ${name}`);
        assert.is.not(sql, ours);
        const { rows, types } = await ask(sql);
        compareRows(sql, rows, expected, types, ordered);
      }),
      { seed: SEED, numRuns: Math.ceil(QUERIES / 2), endOnFailure: true, includeErrorInReport: true },
    );
  });
}

test("groups of a table's rows are grouped again by a part of their key, or by a value, without quotes where the name has a point", async () => {
  const { connection } = await duckdb("places");
  for (const sql of [
    'SELECT "key.0" AS state, sum(strikes) AS n, max(speed.max), count(*) FROM places GROUP BY 1 HAVING sum(strikes) > 20 ORDER BY n DESC, 1 LIMIT 7',
    "SELECT strikes, count(*), min(first), avg(speed.mean) FROM places WHERE speed.count > 1 GROUP BY strikes ORDER BY 1",
    "SELECT last, cost FROM places WHERE fast IS NOT NULL AND cost > 1000 ORDER BY cost DESC, last LIMIT 5",
  ]) {
    const duck = sql
      .replace("FROM places", "FROM t")
      .replace(/speed\.(\w+)/g, '"speed.$1"')
      .replace(/min\(first\)/, 'min("first")')
      .replace(/SELECT last/, 'SELECT "last"');
    const expected = (await connection.runAndReadAll(duck)).getRowsJson() as unknown[][];
    assert.ok(expected.length > 2, sql);
    const { rows, types } = await ask(sql);
    compareRows(sql, rows, expected, types, true);
  }
});

test("what FROM may name is said where it names nothing; what cannot be read is refused by its name", async () => {
  const refused = async (sql: string): Promise<{ code: string; message: string }> => {
    const datasets = [{ name: "flights", fields: [] }];
    try {
      await planStreamQuery("birds", { datasets, tableColumns: await tables() }, sql);
    } catch (error) {
      return error as { code: string; message: string };
    }
    return assert.unreachable(sql) as never;
  };
  const unknown = await refused("SELECT strikes FROM place");
  assert.is(unknown.code, "dataset-missing");
  assert.match(
    unknown.message,
    /birds has no dataset or table place; did you mean places\?\nit has: flights, places, states/,
  );
  const sketch = await refused("SELECT kinds FROM places");
  assert.is(sketch.code, "sql-invalid");
  assert.match(sketch.message, /"kinds" cannot be read: sketches are shown by query STREAM TABLE only/);
  assert.match(
    (await refused("SELECT * FROM places")).message,
    /"kinds" cannot be read[^]*name the columns that are wanted instead of \*/,
  );
  const column = await refused("SELECT station FROM states");
  assert.match(column.message, /there are: key, strikes, speed\.count/);
});

test("the stream's name stands for its only table", async () => {
  const [, states] = await tables();
  const { dataset } = await planStreamQuery("birds", { tableColumns: [states] }, "SELECT key FROM birds");
  assert.is(dataset, "states");
});

test.run();
