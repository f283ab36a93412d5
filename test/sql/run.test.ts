/** `run --sql` and the library's `run({ sql })` over files of all kinds. */
import { once } from "node:events";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { run, type RunOptions } from "../../host/client/run.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { cli, parseLines, scratch, write } from "../run.ts";

const test = suite("run --sql");

const SALES = write(
  "sales.csv",
  `shop,"city, state",zip,sold,price,when,open\n` +
    `A,"Oslo, NO",0150,3,1.50,2024-02-01,true\n` +
    `B,"Say ""hi""",0151,,2.25,2024-02-01T06:00:00Z,false\n` +
    `A,,0150,4,,2024-03-05 07:30,\n` +
    `,"Oslo, NO",9000,-1,0.1,,true\n`,
);

type Options = Omit<RunOptions, "inputs"> & { sql: string };

async function answer(inputs: string | string[], options: Options): Promise<Record<string, unknown>[]> {
  const rows: Record<string, unknown>[] = [];
  const job = run({ jahs: 1, ...options, inputs: [inputs].flat() });
  for await (const row of job) rows.push(row as Record<string, unknown>);
  await job.summary;
  return rows;
}

async function refusal(inputs: string, options: Options): Promise<HallelujahError> {
  try {
    await answer(inputs, options);
  } catch (error) {
    assert.instance(error, HallelujahError);
    return error as HallelujahError;
  }
  throw new Error(`answered: ${options.sql}`);
}

test("types of CSV are those that all values fit; gaps are NULL, leading zeros make a text", async () => {
  const sql = `SELECT "city, state" AS city, zip, sold + 1 AS more, price * 2 AS twice, "when", open FROM sales`;
  assert.equal(await answer(SALES, { sql }), [
    { city: "Oslo, NO", zip: "0150", more: 4, twice: 3, when: "2024-02-01T00:00:00.000Z", open: true },
    { city: 'Say "hi"', zip: "0151", more: null, twice: 4.5, when: "2024-02-01T06:00:00.000Z", open: false },
    { city: null, zip: "0150", more: 5, twice: null, when: "2024-03-05T07:30:00.000Z", open: null },
    { city: "Oslo, NO", zip: "9000", more: 0, twice: 0.2, when: null, open: true },
  ]);
});

test("NULL is a group of its own, and no value of an aggregate", async () => {
  const sql = `SELECT shop, count(*) n, count(sold) c, sum(sold) s, avg(price) a, min("city, state") city, count(DISTINCT zip) z
    FROM t GROUP BY shop ORDER BY shop NULLS FIRST`;
  assert.equal(await answer(SALES, { sql }), [
    { shop: null, n: 1, c: 1, s: -1, a: 0.1, city: "Oslo, NO", z: 1 },
    { shop: "A", n: 2, c: 2, s: 7, a: 1.5, city: "Oslo, NO", z: 1 },
    { shop: "B", n: 1, c: 0, s: null, a: 2.25, city: 'Say "hi"', z: 1 },
  ]);
});

test("types may be given, by name or by a cast", async () => {
  const sql = "SELECT sum(zip) AS s, sum(price) AS p FROM t";
  assert.is((await refusal(SALES, { sql })).code, "sql-invalid");
  assert.equal(await answer(SALES, { sql, types: { zip: "i64", price: "decimal" } }), [{ s: 9451, p: 3.85 }]);
  assert.equal(await answer(SALES, { sql: "SELECT sum(zip::int) AS s, sum(price) AS p FROM t" }), [
    { s: 9451, p: 3.85 },
  ]);
  assert.is((await refusal(SALES, { sql, types: { zop: "text" } })).code, "types-invalid");
  assert.is((await refusal(SALES, { sql, types: { zip: "blob" } })).code, "types-invalid");
});

test("a later value that does not fit is reported as any bad record is, never silently wrong", async () => {
  const head = Array.from({ length: 40_000 }, (_, i) => `${i},${i % 7}`).join("\n");
  const path = write("later.csv", `a,b\n${head}\nlots,1\n5,2\n`);
  const job = run({ sql: "SELECT count(*) AS n, sum(a) AS s FROM t", inputs: [path], jahs: 1 });
  const rows = [];
  for await (const row of job) rows.push(row);
  const { badRecords, problems } = await job.summary;
  assert.equal(rows, [{ n: 40_001, s: 799_980_005 }]);
  assert.is(badRecords, 1);
  assert.match(JSON.stringify(problems[0]), "lots");
  assert.is((await refusal(path, { sql: "SELECT sum(a) FROM t", strict: true })).code, "bad-record");
  // A query that does not read the column has the row.
  assert.equal(await answer(path, { sql: "SELECT count(*) AS n, sum(b) AS s FROM t" }), [
    { n: 40_002, s: 119_998 },
  ]);
  assert.equal(await answer(path, { sql: "SELECT count(*) AS n FROM t" }), [{ n: 40_002 }]);
});

test("NDJSON has its keys as columns, nested ones by dots; lists are refused by name", async () => {
  const path = write(
    "events.ndjson",
    `{"user":{"id":1,"name":"a"},"at":"2024-01-01T00:00:00Z","tags":["x"],"n":1.5}\n{"user":{"id":2},"at":null,"n":2,"new":true}\n`,
  );
  assert.equal(
    await answer(path, {
      sql: `SELECT "user.id", t."user.name" AS name, n, new FROM t ORDER BY "user.id" DESC`,
    }),
    [
      { "user.id": 2, name: null, n: 2, new: true },
      { "user.id": 1, name: "a", n: 1.5, new: null },
    ],
  );
  assert.match((await refusal(path, { sql: "SELECT tags FROM t" })).message, "it holds lists");
  const floats = write("floats.ndjson", `{"a":{"x":1.0},"y":2}\n{"a":{"x":2e2},"y":3}\nno json\n`);
  assert.equal(await answer(floats, { sql: `SELECT sum("a.x") / 2 AS x, sum(y) / 2 AS y FROM t` }), [
    { x: 100.5, y: 2 },
  ]);
});

test("lines, gzip, standard input and several files", async () => {
  const lines = write("text.log", "one\ntwo\none\n");
  const sql = "SELECT line, count(*) AS n FROM t GROUP BY 1 ORDER BY 1";
  assert.equal(await answer(lines, { sql, inputFormat: "lines" }), [
    { line: "one", n: 2 },
    { line: "two", n: 1 },
  ]);
  const csv = "k,v\na,1\nb,2\n";
  const packed = write("packed.csv.gz", gzipSync(csv));
  const plain = write("plain.csv", "v;k\n3;c\n4;a\n");
  const sums = { sql: "SELECT k, sum(v) AS s FROM t GROUP BY k ORDER BY k" };
  assert.equal(await answer([packed, plain], sums), [
    { k: "a", s: 5 },
    { k: "b", s: 2 },
    { k: "c", s: 3 },
  ]);
  const many = Array.from({ length: 300_000 }, (_, i) => `${i % 3},${i}\n`).join("");
  const stdin = () => Readable.from([Buffer.from("k,v\n"), ...chunks(Buffer.from(many), 50_000)]);
  const expected = [0, 1, 2].map((k) => ({ k, s: 100_000 * k + 3 * 4_999_950_000 }));
  assert.equal(await answer("-", { ...sums, stdin: stdin() }), expected);
  assert.equal(await answer("-", { ...sums, stdin: Readable.from([gzipSync(`k,v\n${many}`)]) }), expected);
});

function chunks(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

test("empty inputs: a header alone has columns and no rows", async () => {
  const path = write("header.csv", "a,b\n");
  assert.equal(await answer(path, { sql: "SELECT count(*) AS n, min(a) AS low FROM t" }), [
    { n: 0, low: null },
  ]);
  assert.equal(await answer(path, { sql: "SELECT * FROM t" }), []);
  assert.is((await refusal(write("empty.csv", ""), { sql: "SELECT * FROM t" })).code, "input-empty");
});

test("integers that overflow stop the run", async () => {
  const path = write("big.csv", "a\n9223372036854775\n5\n");
  for (const sql of [
    "SELECT a * 1001 FROM t",
    "SELECT a * 1000 + a FROM t",
    "SELECT (0 - a * 1000) - a FROM t",
  ])
    assert.match((await refusal(path, { sql })).message, "larger than 64 bits hold", sql);
  assert.equal(
    await answer(path, {
      sql: "SELECT a * 1000 AS b, a / 0 AS c, a % 0 AS d, a / 0.0 AS e FROM t WHERE a > 5",
    }),
    [{ b: "9223372036854775000", c: null, d: null, e: null }],
  );
});

test("sketches are within what they promise; first and last are in the order of the input", async () => {
  const rows = Array.from({ length: 20_000 }, (_, i) => `${i % 2 ? "b" : ""},${(i * 7919) % 10_007}`);
  const path = write("many.csv", `k,v\n${rows.join("\n")}\n`);
  const sql = `SELECT approx_count_distinct(v) AS d, approx_count_distinct(k) AS k, approx_quantile(v, 0.5) AS m, approx_quantile(v, 0.99) AS h,
    any_value(k) AS any, first(v) AS first, last(v) AS last, any_value(v) FILTER (WHERE v > 99999) AS none FROM t`;
  const [row] = await answer(path, { sql, frameBytes: 10_000, jahs: 2 });
  const within = (value: unknown, expected: number, share: number) =>
    assert.ok(Math.abs((value as number) - expected) <= share * expected, `${value} for ${expected}`);
  within(row.d, 10_007, 0.06);
  within(row.m, 5003, 0.01);
  within(row.h, 9907, 0.01);
  assert.equal([row.k, row.any, row.first, row.last, row.none], [1, "b", 0, (19_999 * 7919) % 10_007, null]);
});

test("a LIMIT ends the run before the input has ended", async () => {
  const path = write("long.csv", `a\n${"1234567\n".repeat(1_000_000)}`);
  const job = run({ sql: "SELECT a FROM t LIMIT 2", inputs: [path], jahs: 1 });
  const rows = [];
  for await (const row of job) rows.push(row);
  assert.equal(rows, [{ a: 1_234_567 }, { a: 1_234_567 }]);
  assert.ok((await job.summary).rows < 1_000_000);
});

test("dates, decimals and floats without a number are as DuckDB has them", async () => {
  const path = join(scratch(), "types.parquet");
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  await connection.run(`COPY (
    SELECT DATE '2001-01-01' + (i % 40)::INT AS day, CASE WHEN i % 5 <> 0 THEN (i * 7 % 1000 / 100.0)::DECIMAL(9,2) END AS price,
      CASE WHEN i % 11 = 0 THEN 'NaN'::DOUBLE WHEN i % 3 <> 0 THEN i / 4.0 END::DOUBLE AS x, i % 2 = 0 AS even
    FROM range(500) r(i)) TO '${path}' (FORMAT parquet)`);
  const check = async (sql: string, duck: string) => {
    const rows = (await answer(path, { sql })).map((row) => Object.values(row).map((value) => String(value)));
    const expected = (
      await connection.runAndReadAll(
        duck.replace(" t", ` (SELECT * REPLACE (nullif(x, 'NaN') AS x) FROM '${path}') t`),
      )
    ).getRowsJson();
    assert.equal(
      rows,
      expected.map((row) =>
        row.map((value) => (/^-?\d+\.\d+$/.test(String(value)) ? String(Number(value)) : String(value))),
      ),
      sql,
    );
  };
  const decimals = "sum(price), min(price), max(price), count(x), count(DISTINCT price)";
  await check(
    `SELECT even, ${decimals} FROM t GROUP BY even ORDER BY 1`,
    `SELECT even, ${decimals} FROM t GROUP BY even ORDER BY 1`,
  );
  const prices = "price, price + price, price - 1, count(*)";
  await check(
    `SELECT ${prices} FROM t WHERE price > 1.5 AND NOT x IS NULL GROUP BY 1 ORDER BY price DESC LIMIT 9`,
    `SELECT ${prices} FROM t WHERE price > 1.5 AND NOT x IS NULL GROUP BY 1 ORDER BY price DESC LIMIT 9`,
  );
  const days = "day, min(day), max(day), extract(dow FROM day)";
  await check(
    `SELECT ${days} FROM t WHERE day BETWEEN '2001-01-05' AND DATE '2001-02-03' GROUP BY 1, 4 ORDER BY 1`,
    `SELECT ${days} FROM t WHERE day BETWEEN '2001-01-05' AND DATE '2001-02-03' GROUP BY 1, 4 ORDER BY 1`,
  );
  await check(
    "SELECT x, count(*) FROM t GROUP BY x ORDER BY x DESC NULLS LAST LIMIT 12",
    "SELECT x, count(*) FROM t GROUP BY x ORDER BY x DESC NULLS LAST LIMIT 12",
  );
});

test("the command line writes every format, with the columns in the order of SELECT", async () => {
  const sql = `SELECT zip AS "2", sold AS "1", "city, state", sold FROM t WHERE shop IS NOT NULL ORDER BY sold DESC NULLS LAST`;
  const ran = async (...args: string[]) => {
    const { code, stdout, stderr } = await cli(["run", "--jahs", "1", "--sql", sql, SALES, ...args]);
    assert.is(code, 0, stderr);
    return stdout;
  };
  assert.is(
    await ran(),
    `{"2":"0150","1":4,"city, state":null,"sold":4}\n{"2":"0150","1":3,"city, state":"Oslo, NO","sold":3}\n` +
      `{"2":"0151","1":null,"city, state":"Say \\"hi\\"","sold":null}\n`,
  );
  assert.is(
    await ran("--format", "csv"),
    `2,1,"city, state",sold\n0150,4,,4\n0150,3,"Oslo, NO",3\n0151,,"Say ""hi""",\n`,
  );
  assert.equal(JSON.parse(await ran("--format", "json")).length, 3);
  assert.match(await ran("--format", "table"), /3 rows\n[^]*2 .*1 .*city, state[^]*0150 .*4 /);
});

test("--explain prints a kernel that runs by itself", async () => {
  const sql = "SELECT shop, sum(sold) AS total FROM t GROUP BY shop ORDER BY total LIMIT 1";
  const { code, stdout } = await cli(["run", "--explain", "--sql", sql, SALES]);
  assert.is(code, 0);
  assert.match(stdout, "// - order by total\n// - end after 1 rows\nimport {");
  const ran = await cli(["run", "--jahs", "1", write("explained.ts", stdout), SALES]);
  assert.is(ran.code, 0, ran.stderr);
  assert.equal(
    parseLines(ran.stdout).map(({ soldSum }) => soldSum),
    [7, 0, -1],
  );
});

test("what is wrong with the call is said with the exit code 2, a place in the query with its mark", async () => {
  const misused = async (args: string[], words: string | RegExp) => {
    const { code, stdout, stderr } = await cli(["run", ...args]);
    assert.is(code, 2, stderr);
    assert.is(stdout, "");
    assert.match(stderr, words);
  };
  await misused(
    ["--sql", "SELECT sold FROM a JOIN b ON true", SALES],
    /SQL 1:20: a join is not supported\n.*\n +\| {20}\^~~~/,
  );
  await misused(["--sql", "SELECT 1 FROM t", "--order", "key", SALES], /--order is for kernels/);
  await misused(["--explain", "k.ts", SALES], /--explain is for --sql/);
  await misused(["--sql", "SELECT 1 FROM t", "--types", "zip", SALES], /zip=text/);
  await misused(["--sql", "SELECT 1 FROM t"], /inputs|kernel/);
});

test("standard input may be a query's input, and a reader that has enough ends it", async () => {
  const text = `a\n${"1\n".repeat(10)}`;
  const ran = await cli(["run", "--jahs", "1", "--sql", "SELECT sum(a) AS s FROM t", "-"], { stdin: text });
  assert.is(ran.stdout, `{"s":10}\n`);
  const endless = Readable.from(
    (function* () {
      yield "a\n";
      while (true) yield "1\n".repeat(50_000);
    })(),
  );
  const job = run({ sql: "SELECT a FROM t LIMIT 3", inputs: ["-"], stdin: endless, jahs: 1 });
  let rows = 0;
  for await (const _ of job) rows++;
  assert.is(rows, 3);
  await job.summary;
  if (!endless.destroyed) await once(endless, "close");
});

test.run();
