/** What queries become, and what is said of those that become nothing. */
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readKernel } from "../../host/compiler/model.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { SQL_CHARACTERS_MAX } from "../../host/core/limits.ts";
import type { Schema, SchemaColumn, SqlType } from "../../host/sql/expression.ts";
import { type Plan, plan } from "../../host/sql/plan.ts";
import { seeded } from "../run.ts";

const column = (name: string, type: SqlType, more: Partial<SchemaColumn> = {}): SchemaColumn => ({
  name,
  type,
  nullable: true,
  ...more,
});

const FLIGHTS: Schema = [
  column("date", "timestamp", { nullable: false }),
  column("delay", "integer"),
  column("distance", "integer", { nullable: false }),
  column("origin", "text", { nullable: false }),
  column("Destination", "text"),
  column("score", "float", { nan: true }),
  column("price", "decimal"),
  column("late", "bool"),
  column("guess", "text", { sampled: true }),
  column("tags", "text", { unsupported: "it holds lists" }),
];

const kernelOf = async (sql: string, schema = FLIGHTS) => (await plan(sql, schema)).kernel;

async function refusal(sql: string, schema = FLIGHTS): Promise<HallelujahError> {
  try {
    await plan(sql, schema);
  } catch (error) {
    assert.instance(error, HallelujahError, `${sql.slice(0, 200)}: ${(error as Error).stack}`);
    return error as HallelujahError;
  }
  throw new Error(`planned: ${sql}`);
}

/** Rows of the answer, from rows of the kernel. */
async function finished(planned: Plan, rows: Record<string, unknown>[]): Promise<unknown[][]> {
  const answer: unknown[][] = [];
  for await (const row of planned.finish(
    (async function* () {
      yield* rows;
    })(),
  ))
    answer.push(row);
  return answer;
}

const bounds = suite("host/sql: what rows that count have in common");

bounds("comparisons of a column with a constant bound it, where all of them have to hold", async () => {
  const of = async (where: string) => (await plan(`SELECT origin FROM f WHERE ${where}`, FLIGHTS)).bounds;
  assert.equal(await of("distance > 500 AND 1000 >= distance"), [
    { field: "distance", least: 500n },
    { field: "distance", greatest: 1000n },
  ]);
  assert.equal(await of("delay BETWEEN 5 AND 9"), [
    { field: "delay", least: 5n },
    { field: "delay", greatest: 9n },
  ]);
  assert.equal(await of("delay = 7 AND origin = 'JFK'"), [{ field: "delay", least: 7n, greatest: 7n }]);
  assert.equal(await of("date < '2001-01-02'"), [{ field: "date", greatest: Date.UTC(2001, 0, 2) }]);
  for (const where of [
    "distance > 500 OR delay > 5",
    "NOT distance > 500",
    "distance + 1 > 500",
    "delay <> 5",
    "late",
  ])
    assert.equal(await of(where), [], where);
});

const kernels = suite("host/sql: the kernel of a query");

kernels("a group-by is the kernel that its author would write", async () => {
  const sql = `SELECT origin, avg(delay), count(*) FROM flights WHERE distance > 500 GROUP BY origin`;
  assert.is(
    await kernelOf(sql),
    `import { Count, Optional, Sum, Table, Text } from "hallelujah";

@record
class Row {
  distance: i64;
  origin: Text;
  delay: Optional<i64>;
}
@state
class Group {
  delaySum: Sum<i64>;
  delayCount: Count;
  count: Count;
}

const groups = new Table<Text, Group>("groups");

export function each(row: Row): void {
  if (!(row.distance > 500)) return;
  const group = groups.at(row.origin);
  if (row.delay.present) {
    group.delaySum.add(row.delay.value);
    group.delayCount.add();
  }
  group.count.add();
}
`,
  );
});

kernels("rows are emitted with what is asked for of each", async () => {
  assert.is(
    await kernelOf(
      `SELECT origin AS "from", date_trunc('month', date) AS month, delay * 2 AS twice FROM t WHERE late`,
    ),
    `import { Optional, Text, Time, out } from "hallelujah";

@record
class Row {
  late: Optional<bool>;
  origin: Text;
  date: Time;
  delay: Optional<i64>;
}
@record
class Result {
  fromValue: Text;
  month: Time;
  twice: Optional<i64>;
}

/** a * b; what 64 bits do not hold stops the run. */
function times(a: i64, b: i64): i64 {
  const product = a * b;
  if ((a == -1 && b == i64.MIN_VALUE) || (a != 0 && a != -1 && product / a != b)) {
    throw new Error("an integer is larger than 64 bits hold");
  }
  return product;
}

export function each(row: Row): void {
  if (!(row.late.present && row.late.value)) return;
  const result = new Result();
  result.fromValue = row.origin;
  result.month = row.date.floorMonths(1);
  if (row.delay.present) result.twice.value = times(row.delay.value, 2);
  out.emit(result);
}
`,
  );
});

kernels("queries that ask for the same of the rows share a kernel", async () => {
  const first = await kernelOf("SELECT origin, count(*) n FROM a GROUP BY 1 ORDER BY 2 DESC LIMIT 10");
  const second = await kernelOf(
    "select ORIGIN, COUNT( * ) + 1 from b /* another */ group by origin having count(*) > 3",
  );
  assert.is(first, second);
});

kernels("a column whose type was only guessed is read as it is cast", async () => {
  assert.match(
    await kernelOf("SELECT sum(guess::int) FROM t WHERE CAST(guess AS bigint) > 3"),
    "guess: Optional<i64>;",
  );
  assert.match(await kernelOf("SELECT sum(guess::int), max(guess) FROM t"), "guess: Optional<Text>;");
});

kernels("a query without columns reads one whose values cannot be wrong", async () => {
  assert.match(
    await kernelOf("SELECT count(*) FROM t", [column("n", "integer", { sampled: true })]),
    "n: Optional<Text>;",
  );
});

kernels.run();

const names = suite("host/sql: names");

names("are matched whatever their case, unless they are quoted", async () => {
  const planned = await plan(
    `SELECT DELAY, destination, "Destination" d, t.Origin AS "O ""x""" FROM T`,
    FLIGHTS,
  );
  assert.equal(
    planned.columns.map(({ name }) => name),
    ["delay", "Destination", "d", 'O "x"'],
  );
  assert.match((await refusal(`SELECT "destination" FROM t`)).message, "did you mean Destination?");
});

names("that may mean several columns are refused, and found in quotes", async () => {
  const schema = [column("Name", "text"), column("name", "text")];
  const error = await refusal("SELECT NAME FROM t", schema);
  assert.is(error.code, "sql-invalid");
  assert.match(error.message, `SQL 1:8: "NAME" may be any of the columns "Name", "name"`);
  assert.equal((await plan(`SELECT "name" FROM t`, schema)).columns[0].name, "name");
  assert.match(
    (await refusal(`SELECT "a" FROM t`, [column("a", "text"), column("a", "text")])).message,
    "any of the columns",
  );
});

names("may be reserved words, hold quotes, dots and any letters, and be as long as they like", async () => {
  const odd = [
    "select",
    'a"b',
    "user.id",
    "größe €",
    "表",
    "__proto__",
    "constructor",
    "1st",
    "",
    " ",
    "x".repeat(300),
  ];
  const schema = odd.map((name) => column(name, "text"));
  const list = odd.map((name) => `"${name.replaceAll('"', '""')}"`).filter((name) => name !== '""');
  const planned = await plan(`SELECT ${list.join(", ")} FROM "from"`, schema);
  assert.equal(
    planned.columns.map(({ name }) => name),
    odd.filter((name) => name),
  );
  const { model, problems } = readKernel(planned.kernel, "query.ts");
  assert.equal(problems, []);
  assert.equal(
    model.records[0].fields.map(({ source }) => source),
    odd.filter((name) => name),
  );
  assert.is((await plan(`SELECT user_.id FROM t`, [column("user_.id", "text")])).columns[0].name, "user_.id");
});

names(
  "of columns of the answer are each there once; without AS they are the text of the expression",
  async () => {
    const planned = await plan(
      "SELECT delay, delay, delay + 1, DELAY  +\n 1, sum(1) OVERALL FROM t GROUP BY delay",
      FLIGHTS,
    );
    assert.equal(
      planned.columns.map(({ name }) => name),
      ["delay", "delay_1", "delay + 1", "DELAY + 1", "OVERALL"],
    );
  },
);

names.run();

const refused = suite("host/sql: what is refused");

const AT: [sql: string, code: string, place: string, words: string][] = [
  ["SELECT 1 +", "sql-invalid", "1:11", "syntax error at end of input"],
  ["SELECT 'open", "sql-invalid", "1:8", "unterminated quoted string"],
  ["SELECT delay /* open", "sql-invalid", "1:14", "unterminated /* comment"],
  ["SELEC 1", "sql-invalid", "1:1", `syntax error at or near "SELEC"`],
  ["SELECT 'é', delay FROM t WHERE (", "sql-invalid", "1:33", "syntax error"],
  ["SELECT 'é', delay FROM my-rows", "sql-invalid", "1:26", 'is written in quotes: "my-rows"'],
  ["SELECT 'é', select FROM t", "sql-invalid", "1:13", 'is written in quotes: "my-rows"'],
  ["SELECT 1", "sql-invalid", "1:1", "FROM is missing"],
  ["SELECT delay\nFROM t\nWHERE dely > 1", "sql-invalid", "3:7", `there is no column "dely"`],
  ["SELECT 'ü', nothing FROM t", "sql-invalid", "1:13", `there is no column "nothing"`],
  ["SELECT tags FROM t", "sql-invalid", "1:8", "it holds lists"],
  ["SELECT * FROM t", "sql-invalid", "1:8", `"tags" cannot be read`],
  ["SELECT x.delay FROM t", "sql-invalid", "1:8", "no table x"],
  ["SELECT a.* FROM t b", "sql-invalid", "1:8", "there is no table a"],
  ["SELECT delay FROM a JOIN b ON true", "sql-unsupported", "1:21", "a join"],
  ["SELECT delay d FROM ONLY a", "sql-unsupported", "1:21", "FROM ONLY"],
  ["SELECT delay FROM a, b", "sql-unsupported", "1:22", "a join"],
  ["SELECT delay FROM (SELECT 1) s", "sql-unsupported", "1:14", "a subquery in FROM"],
  ["SELECT delay FROM t WHERE delay IN (SELECT 1)", "sql-unsupported", "1:33", "a subquery"],
  ["SELECT (SELECT 1) FROM t", "sql-unsupported", "1:8", "a subquery"],
  ["SELECT delay FROM generate_series(1, 2)", "sql-unsupported", "1:14", "a function in FROM"],
  ["SELECT delay FROM t UNION SELECT delay FROM t", "sql-unsupported", "1:21", "UNION"],
  ["SELECT delay FROM t EXCEPT SELECT delay FROM t", "sql-unsupported", "1:21", "EXCEPT"],
  ["WITH x AS (SELECT 1) SELECT delay FROM t", "sql-unsupported", "1:1", "WITH"],
  ["VALUES (1)", "sql-unsupported", "1:1", "VALUES"],
  ["DELETE FROM t", "sql-unsupported", "1:1", "DELETE"],
  ["SELECT 1 FROM t; SELECT 2 FROM t", "sql-unsupported", "1:18", "a second statement"],
  ["SELECT sum(delay) OVER () FROM t", "sql-unsupported", "1:8", "a window function"],
  ["SELECT DISTINCT ON (delay) delay FROM t", "sql-unsupported", "1:17", "DISTINCT ON"],
  ["SELECT delay FROM t GROUP BY ROLLUP (delay)", "sql-unsupported", "1:30", "ROLLUP"],
  ["SELECT delay FROM t FOR UPDATE", "sql-unsupported", "1:21", "FOR UPDATE"],
  ["SELECT delay INTO u FROM t", "sql-unsupported", "1:14", "INTO"],
  ["SELECT delay FROM t ORDER BY delay FETCH FIRST 3 ROWS WITH TIES", "sql-unsupported", "1:60", "WITH TIES"],
  ["SELECT delay FROM t TABLESAMPLE SYSTEM (1)", "sql-unsupported", "1:21", "TABLESAMPLE"],
  ["SELECT median(delay) FROM t", "sql-unsupported", "1:8", "approx_quantile(x, 0.5)"],
  ["SELECT stddev(delay) FROM t", "sql-unsupported", "1:8", "the function stddev"],
  ["SELECT approx_quantile(delay, 0.25) FROM t", "sql-unsupported", "1:8", "0.5, 0.9, 0.99"],
  ["SELECT sum(DISTINCT delay) FROM t", "sql-unsupported", "1:8", "DISTINCT within sum"],
  ["SELECT count(DISTINCT delay, origin) FROM t", "sql-invalid", "1:8", "one argument"],
  [
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY delay) FROM t",
    "sql-unsupported",
    "1:8",
    "WITHIN GROUP",
  ],
  ["SELECT sum(count(*)) FROM t", "sql-invalid", "1:8", "no aggregate within it"],
  ["SELECT origin FROM t WHERE count(*) > 1", "sql-invalid", "1:37", "HAVING has"],
  ["SELECT origin, delay FROM t GROUP BY origin", "sql-invalid", "1:16", "neither in GROUP BY"],
  ["SELECT count(*), origin FROM t", "sql-invalid", "1:18", "neither in GROUP BY"],
  ["SELECT origin FROM t GROUP BY 2", "sql-invalid", "1:31", "the numbers 1 to 1"],
  ["SELECT origin FROM t ORDER BY 0", "sql-invalid", "1:31", "the numbers 1 to 1"],
  ["SELECT DISTINCT origin FROM t ORDER BY delay", "sql-invalid", "1:40", "columns of its answer only"],
  ["SELECT origin || 'x' FROM t", "sql-unsupported", "1:15", "the operator ||"],
  ["SELECT origin + 1 FROM t", "sql-invalid", "1:15", "do not go together"],
  ["SELECT origin FROM t WHERE delay", "sql-invalid", "1:28", "a bool is wanted"],
  ["SELECT origin FROM t WHERE delay = 'soon'", "sql-invalid", "1:34", "'soon' is no integer"],
  ["SELECT origin FROM t WHERE date > '2001-02-30'", "sql-invalid", "1:33", "is no timestamp"],
  ["SELECT origin FROM t WHERE origin LIKE 'a_b'", "sql-unsupported", "1:35", "LIKE 'a_b'"],
  ["SELECT origin FROM t WHERE origin LIKE '%a%b%'", "sql-unsupported", "1:35", "LIKE"],
  ["SELECT origin FROM t WHERE origin LIKE Destination", "sql-unsupported", "1:35", "LIKE with a pattern"],
  ["SELECT origin FROM t WHERE origin ILIKE 'a'", "sql-unsupported", "1:35", "ILIKE"],
  ["SELECT origin FROM t WHERE origin ~ 'a'", "sql-unsupported", "1:35", "the operator ~"],
  ["SELECT delay BETWEEN SYMMETRIC 3 AND 1 FROM t", "sql-unsupported", "1:14", "BETWEEN SYMMETRIC"],
  ["SELECT delay::varchar(3) FROM t", "sql-unsupported", "1:15", "a type with a length"],
  ["SELECT delay::json FROM t", "sql-unsupported", "1:15", "the type json"],
  ["SELECT delay::text FROM t", "sql-unsupported", "1:13", "a cast of integer to text"],
  ["SELECT ARRAY[1] FROM t", "sql-unsupported", "1:8", "ARRAY"],
  ["SELECT $1 FROM t", "sql-unsupported", "1:8", "a parameter"],
  ["SELECT current_date FROM t", "sql-unsupported", "1:8", "the current time"],
  ["SELECT now() FROM t", "sql-unsupported", "1:8", "no clock"],
  ["SELECT date + INTERVAL '1 month' FROM t", "sql-unsupported", "1:13", "adding months"],
  ["SELECT INTERVAL '1 day' FROM t", "sql-unsupported", "1:8", "the type interval"],
  ["SELECT date_trunc('century', date) FROM t", "sql-unsupported", "1:8", "the unit century"],
  ["SELECT extract(millennium FROM date) FROM t", "sql-unsupported", "1:8", "millennium"],
  ["SELECT 9223372036854775807 + 1 FROM t", "sql-invalid", "1:28", "larger than 64 bits"],
  ["SELECT 9223372036854775808 FROM t", "sql-invalid", "1:8", "larger than 64 bits"],
  ["SELECT delay FROM t LIMIT delay", "sql-invalid", "1:27", "whole numbers"],
  ["SELECT delay FROM t LIMIT -1", "sql-invalid", "1:27", "whole numbers"],
  ["SELECT delay FROM t ORDER BY delay USING <", "sql-unsupported", "1:42", "USING"],
  ['SELECT origin COLLATE "C" FROM t', "sql-unsupported", "1:15", "COLLATE"],
];

for (const [sql, code, place, words] of AT) {
  refused(sql.replaceAll("\n", " "), async () => {
    const error = await refusal(sql);
    assert.is(error.code, code, error.message);
    assert.match(error.message, words);
    assert.ok(error.message.startsWith(`SQL ${place}: `), error.message);
  });
}

refused("the line is shown with a mark under the place, long lines in part", async () => {
  const { message } = await refusal("SELECT\n  delay,\n  dely FROM t");
  assert.is(message.split("\n").slice(1, 3).join("\n"), ["   3 |   dely FROM t", "     |   ^~~~"].join("\n"));
  const long = await refusal(`SELECT ${"delay + ".repeat(40)}dely${" + delay".repeat(40)} FROM t`);
  const [, line, mark] = long.message.split("\n");
  assert.is(line.slice(mark.indexOf("^"), mark.indexOf("^") + 4), "dely");
  assert.ok(line.length < 130);
});

refused("an empty query, and one that holds what no text holds", async () => {
  for (const sql of ["", "  \n", ";", "-- nothing"]) assert.is((await refusal(sql)).code, "sql-invalid");
  assert.match((await refusal("SELECT '\0' FROM t")).message, "SQL 1:9");
  assert.match((await refusal("SELECT '\ud800' FROM t")).message, "SQL 1:9");
});

refused.run();

const large = suite("host/sql: long and deep queries");

const LENGTH = 10_000;
const repeated = (part: string, between: string) =>
  Array.from({ length: Math.floor(LENGTH / (part.length + between.length)) }, () => part).join(between);

large("of ten thousand characters are planned where they are only long", async () => {
  for (const sql of [
    `SELECT origin FROM t WHERE delay IN (${Array.from({ length: 2000 }, (_, i) => i).join(", ")})`,
    `SELECT origin FROM t WHERE ${repeated("delay = 1", " OR ")}`,
    `SELECT origin FROM t WHERE ${repeated("origin <> 'x'", " AND ")}`,
    `SELECT ${Array.from({ length: 64 }, () => `delay + ${"1".repeat(14)}`).join(", ")} FROM t`,
    `SELECT '${"x".repeat(LENGTH)}' AS x FROM t`,
    `SELECT count(*) AS "${"é".repeat(LENGTH)}" FROM t`,
    `SELECT count(*) /* ${"x".repeat(LENGTH)} */ FROM t`,
  ]) {
    const planned = await plan(sql, FLIGHTS);
    assert.equal(readKernel(planned.kernel, "query.ts").problems, []);
  }
});

large("that are deep are refused, whatever the depth is made of", async () => {
  const n = LENGTH / 2;
  for (const depth of [300, n, 30_000]) {
    for (const deep of [
      `${"(".repeat(depth)}delay${")".repeat(depth)} + 1 + ${"- ".repeat(depth)}delay`,
      `${"1 + delay * (".repeat(depth)}1${")".repeat(depth)}`,
      `${"delay + ".repeat(depth)}1`,
      `${"NOT ".repeat(depth)}late`,
      `${"abs(".repeat(depth)}delay${")".repeat(depth)}`,
      `${"CASE WHEN late THEN ".repeat(depth)}1${" END".repeat(depth)}`,
      `${"CASE WHEN late THEN 1 ELSE ".repeat(depth)}1${" END".repeat(depth)}`,
    ]) {
      const { code } = await refusal(`SELECT ${deep} FROM t`);
      assert.ok(["sql-invalid", "sql-too-deep", "sql-too-long"].includes(code), code);
    }
  }
});

large(
  "that are long sums say that each term is a level, and are planned with parts in parentheses",
  async () => {
    const sum = (terms: number) => Array.from({ length: terms }, () => "delay").join(" + ");
    const { message } = await refusal(`SELECT ${sum(2500)} FROM t`);
    assert.match(message, /nested more than 200 deep\n[^]*each term of a long sum .*parentheses/);
    const parts = Array.from({ length: 50 }, () => `(${sum(50)})`).join(" + ");
    const planned = await plan(`SELECT ${parts} FROM t`, FLIGHTS);
    assert.equal(readKernel(planned.kernel, "query.ts").problems, []);
  },
);

large("of more columns than a record has fields name the first beyond", async () => {
  const columns = Array.from({ length: 70 }, (_, i) => column(`c${i}`, "integer"));
  const answer = await refusal("SELECT * FROM t", columns);
  assert.is(answer.code, "sql-unsupported");
  assert.match(answer.message, /the answer has 70 columns.*"c64"/);
  const read = await refusal(`SELECT ${columns.map(({ name }) => name).join(" + ")} FROM t`, columns);
  assert.match(read.message, /the query reads 70 columns.*"c64"/);
});

large("that grow as they are planned are refused in time", async () => {
  const nested = (make: (inner: string) => string, depth: number) => {
    let sql = "delay";
    for (let i = 0; i < depth; i++) sql = make(sql);
    return `SELECT ${sql} FROM t`;
  };
  for (const make of [
    (inner: string) => `nullif(${inner}, 1)`,
    (inner: string) => `greatest(${inner}, delay)`,
    (inner: string) => `CASE ${inner} WHEN 1 THEN 2 WHEN 2 THEN 3 ELSE 4 END`,
    (inner: string) => `CASE WHEN ${inner} BETWEEN 1 AND 2 THEN delay ELSE 3 END`,
    (inner: string) => `coalesce(${inner}, delay)`,
    (inner: string) => `CASE WHEN late THEN 1 WHEN ${inner} > 2 THEN 2 END`,
    (inner: string) => `(delay / (${inner}))`,
  ]) {
    // Depth 12 is planned, and its kernel is of a length that goes with the query's.
    const { kernel } = await plan(nested(make, 12), FLIGHTS).catch((error: HallelujahError) => {
      assert.match(error.message, "too large");
      return { kernel: "" };
    });
    assert.ok(kernel.length < 60_000, `${kernel.length}`);
    await plan(nested(make, 190), FLIGHTS).catch((error: HallelujahError) =>
      assert.instance(error, HallelujahError),
    );
  }
  assert.is((await refusal(`SELECT ${"a".repeat(SQL_CHARACTERS_MAX)} FROM t`)).code, "sql-too-long");
});

large("made of words at random are right or refused", async () => {
  const words =
    `SELECT FROM WHERE GROUP BY ORDER HAVING LIMIT OFFSET DISTINCT AS AND OR NOT IN IS NULL BETWEEN LIKE CASE WHEN THEN ELSE END
    COALESCE NULLIF CAST ( ) ( ) , , . * + - / % = <> < > <= >= :: 1 2 0 1.5 'a' '%b' 'x''y' "delay" t delay origin distance late score
    price date count(*) sum(delay) avg(score) min(origin) integer text JOIN UNION OVER INTERVAL '1 day' date_trunc('day',date) -- /* */
    $1 [ ] ; \\ é "ü" E'\\n' U&'\\0041' true false ASC DESC NULLS FIRST EXISTS (SELECT 1) \n`.split(/ +/);
  const clause = fc.array(fc.constantFrom(...words), { maxLength: 14 }).map((parts) => parts.join(" "));
  const query = fc.oneof(
    clause,
    clause.map((text) => `SELECT ${text} FROM t`),
    fc.tuple(clause, clause).map(([a, b]) => `SELECT delay, ${a} FROM t WHERE ${b}`),
    clause.map((text) => `SELECT origin, count(*) FROM t GROUP BY origin ORDER BY ${text}`),
    clause.map((text) => `SELECT delay FROM t WHERE ${text}`),
    fc.string({ unit: "binary", maxLength: 60 }),
  );
  await fc.assert(
    fc.asyncProperty(query, async (sql) => {
      let planned: Plan;
      try {
        planned = await plan(sql, FLIGHTS);
      } catch (error) {
        assert.instance(error, HallelujahError, `${sql}: ${(error as Error).stack}`);
        return;
      }
      assert.equal(readKernel(planned.kernel, "query.ts").problems, [], sql);
    }),
    seeded(3000),
  );
});

large.run();

const injection = suite("host/sql: a query's text is never code");

const STRING = /"(?:[^"\\]|\\.)*"/g;

injection("names and texts are literals in the kernel, whatever they hold", async () => {
  const hostile = [
    `"); throw new Error("`,
    `'); evil(); ('`,
    "`${evil()}`",
    "*/ evil(); /*",
    "// evil\nevil();",
    "\\",
    '\\"; evil(); "',
    "\u2028evil();\u2029",
    "\r\nevil();",
    "@record class Evil {}",
    'import { out } from "./evil"',
    "\t\f\u0001\u001f\u007f\u0085\ufeff\u{e0001}",
  ];
  for (const text of hostile) {
    const sql = text.replaceAll("'", "''");
    const name = text.replaceAll('"', '""');
    const schema = [column(text, "text"), column("delay", "integer")];
    for (const query of [
      `SELECT "${name}" AS "${name}", '${sql}' FROM t WHERE "${name}" = '${sql}' OR "${name}" LIKE '%${sql.replace(/[%_\\]/g, "")}%'`,
      `SELECT "${name}", CASE WHEN delay > 1 THEN '${sql}' END, max("${name}") FROM t GROUP BY 1, 2`,
      `SELECT count(*) AS "${name}", count(DISTINCT "${name}") FROM "${name}" HAVING max("${name}") > '${sql}' ORDER BY 1`,
    ]) {
      const planned = await plan(query, schema);
      const { kernel } = planned;
      assert.not.match(kernel.replace(STRING, '""'), /evil\(|class Evil|throw /, kernel);
      const { model, problems } = readKernel(kernel, "query.ts");
      assert.equal(problems, []);
      assert.is(model.records[0].fields[0].source, text);
      assert.ok([...kernel].every((sign) => sign === "\n" || /[\x20-\x7e\p{L}]/u.test(sign)));
    }
  }
});

injection.run();

const rows = suite("host/sql: finishing");

rows("no row at all is one row of aggregates without GROUP BY, and none with it", async () => {
  const sql =
    "SELECT count(*), count(delay), sum(delay), avg(score), min(origin), count(DISTINCT origin), sum(delay) + 1 FROM t";
  assert.equal(await finished(await plan(sql, FLIGHTS), []), [[0, 0, null, null, null, 0, null]]);
  assert.equal(await finished(await plan(`${sql} GROUP BY late`, FLIGHTS), []), []);
  assert.equal(await finished(await plan(`${sql} HAVING count(*) > 0`, FLIGHTS), []), []);
  assert.equal(await finished(await plan("SELECT DISTINCT 1 AS one FROM t", FLIGHTS), []), []);
});

rows("integers beyond 2^53 stay exact, and an overflow is an error", async () => {
  const planned = await plan("SELECT sum(distance) AS s, sum(distance) + 1 FROM t", FLIGHTS);
  const row = { table: "groups", key: 0, distanceSum: "9007199254740993", distanceCount: 2 };
  assert.equal(await finished(planned, [row]), [["9007199254740993", "9007199254740994"]]);
  try {
    await finished(planned, [{ ...row, distanceSum: "9223372036854775807" }]);
    assert.unreachable();
  } catch (error) {
    assert.is((error as HallelujahError).code, "sql-value");
  }
});

rows("texts are ordered by their code points, NULL as PostgreSQL has it", async () => {
  const texts = ["\uffee", "\u{1f600}", "Z", "a", "é", null, "", "ab"];
  const given = texts.map((origin) => ({ destination: origin }));
  const sorted = async (order: string) =>
    (await finished(await plan(`SELECT destination FROM t ORDER BY 1${order}`, FLIGHTS), given)).map(
      ([text]) => text,
    );
  const up = ["", "Z", "a", "ab", "é", "\uffee", "\u{1f600}"];
  assert.equal(await sorted(""), [...up, null]);
  assert.equal(await sorted(" DESC"), [null, ...up.toReversed()]);
  assert.equal(await sorted(" NULLS FIRST"), [null, ...up]);
  assert.equal(await sorted(" DESC NULLS LAST LIMIT 2 OFFSET 6"), ["", null]);
});

rows("a LIMIT ends the reading of rows", async () => {
  const planned = await plan("SELECT delay FROM t LIMIT 3 OFFSET 2", FLIGHTS);
  let read = 0;
  let left = false;
  const endless = (async function* () {
    try {
      for (;;) yield { delay: read++ };
    } finally {
      left = true;
    }
  })();
  const answer: unknown[][] = [];
  for await (const row of planned.finish(endless)) answer.push(row);
  assert.equal(answer, [[2], [3], [4]]);
  assert.equal([read, left], [5, true]);
});

rows.run();
bounds.run();
