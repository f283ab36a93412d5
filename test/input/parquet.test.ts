import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { openParquet, readRowGroup } from "../../host/input/parquet.ts";
import type { Column, FieldType } from "../../host/kernel/columns.ts";

const test = suite("host/input/parquet");
const folder = await mkdtemp(join(tmpdir(), "hallelujah-parquet-"));
const duck = await (await DuckDBInstance.create()).connect();
test.after(() => rm(folder, { recursive: true }));

type Value = number | bigint | boolean | string | null;

/** All values of a column. */
function valuesOf(column: Column, rows: number): Value[] {
  const text = new TextDecoder("utf-8", { fatal: true });
  return Array.from({ length: rows }, (_, row): Value => {
    if (column.kind === "absent" || column.validity?.[row] === 0) return null;
    if (column.kind === "bool") return column.values[row] === 1;
    if (column.kind === "f64" || column.kind === "i64") return column.values[row];
    const entry = column.kind === "dictionary" ? column.codes[row] : row;
    return text.decode(column.bytes.subarray(column.offsets[entry], column.offsets[entry + 1]));
  });
}

async function readAll(path: string, name: string, type: FieldType): Promise<Value[]> {
  const file = await openParquet(path);
  const values: Value[] = [];
  for (let group = 0; group < file.rowGroups.length; group++) {
    const { rows, columns } = await readRowGroup(file, group, [{ name, type, optional: true }]);
    for (const value of valuesOf(columns[0], rows)) values.push(value);
  }
  return values;
}

async function query(sql: string): Promise<Value[]> {
  const result = await duck.runAndReadAll(sql);
  return (result.getColumns()[0] ?? []) as Value[];
}

async function write(name: string, select: string, options: string): Promise<string> {
  const path = join(folder, name);
  await duck.run(`COPY (${select}) TO '${path}' (FORMAT parquet, ${options})`);
  return path;
}

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code ?? `no code: ${message}`;
  }
  return "no error";
}

function same(found: readonly Value[], wanted: readonly Value[], what: string): void {
  assert.is(found.length, wanted.length, `${what}: rows`);
  for (let row = 0; row < found.length; row++) {
    if (!Object.is(found[row], wanted[row]))
      assert.unreachable(`${what}: row ${row}: ${found[row]} is not ${wanted[row]}`);
  }
}

/** Every type, with nulls in every seventh row, few and many distinct values. */
const MANY_TYPES = (distinct: number, rows: number): string => `
  SELECT CASE WHEN i % 7 = 3 THEN NULL ELSE columns(*) END FROM (
    SELECT
      (i % ${distinct})::INTEGER AS i32, (-(i % ${distinct}))::TINYINT AS i8,
      (i % ${distinct})::UTINYINT AS u8,
      (4294967295 - i % ${distinct})::UINTEGER AS u32, (9007199254740993 + i % ${distinct})::BIGINT AS i64,
      (-9223372036854775807 + i % ${distinct})::BIGINT AS low,
      (18446744073709551615 - i % ${distinct})::UBIGINT AS u64,
      ((i % ${distinct}) / 8)::FLOAT AS f32, sqrt(i % ${distinct})::DOUBLE AS f64, i % 3 = 0 AS bool,
      'Zürich ' || (i % ${distinct}) AS text, repeat('x', (i % ${distinct}) % 90)::BLOB AS blob,
      ((i % ${distinct}) / 100)::DECIMAL(4, 2) AS d4, (-(i % ${distinct}) / 100)::DECIMAL(9, 3) AS d9,
      (123456789012 + i % ${distinct})::DECIMAL(18, 2) AS d18,
      ((i % ${distinct}) * 1000)::DECIMAL(38, 10) AS d38,
      DATE '1969-12-01' + (i % ${distinct})::INTEGER AS day,
      TIMESTAMP '1969-12-31 23:59:59.999499' + INTERVAL (i % ${distinct}) MILLISECOND AS us,
      (TIMESTAMP '1905-01-01 00:00:00.001' + INTERVAL (i % ${distinct}) HOUR)::TIMESTAMP_MS AS ms,
      (TIMESTAMP '2200-01-01 00:00:00.000001' + INTERVAL (i % ${distinct}) MICROSECOND)::TIMESTAMP_NS AS ns,
      (TIMESTAMP '2001-02-03 04:05:06' + INTERVAL (i % ${distinct}) SECOND)::TIMESTAMPTZ AS tz,
      TIME '01:02:03.000004' + INTERVAL (i % ${distinct}) SECOND AS clock,
      ('00000000-0000-0000-0000-' || lpad((i % ${distinct})::VARCHAR, 12, '0'))::UUID AS uuid,
      i
    FROM range(${rows}) AS r(i)
  )`;

/** Column, field type, the same in DuckDB's SQL. */
const CHECKS: [string, FieldType, string][] = [
  ["i32", "i64", "i32::BIGINT"],
  ["i32", "u64", "i32::BIGINT"],
  ["i32", "text", "i32::VARCHAR"],
  ["i32", "decimal", "i32::BIGINT * 1000000"],
  ["i8", "i64", "i8::BIGINT"],
  ["u8", "i64", "u8::BIGINT"],
  ["u32", "i64", "u32::BIGINT"],
  ["u32", "text", "u32::VARCHAR"],
  ["i64", "i64", "i64"],
  ["i64", "text", "i64::VARCHAR"],
  ["low", "i64", "low"],
  ["u64", "u64", "(u64::HUGEINT - 18446744073709551616)::BIGINT"],
  ["u64", "f64", "u64::DOUBLE"],
  ["u64", "text", "u64::VARCHAR"],
  ["f32", "f64", "f32::DOUBLE"],
  ["f64", "f64", "f64"],
  ["bool", "bool", "bool"],
  ["bool", "text", "bool::VARCHAR"],
  ["text", "text", "text"],
  ["blob", "text", "blob::VARCHAR"],
  ["d4", "decimal", "(d4 * 1000000)::BIGINT"],
  ["d4", "f64", "d4::DOUBLE"],
  ["d4", "text", "d4::VARCHAR"],
  ["d9", "decimal", "(d9::DECIMAL(18, 3) * 1000000)::BIGINT"],
  ["d9", "text", "d9::VARCHAR"],
  ["d18", "decimal", "(d18::HUGEINT * 1000000)::BIGINT"],
  ["d18", "i64", "d18::BIGINT"],
  ["d38", "decimal", "(d38::HUGEINT * 1000000)::BIGINT"],
  ["d38", "i64", "d38::BIGINT"],
  ["d38", "f64", "d38::DOUBLE"],
  ["d38", "text", "d38::VARCHAR"],
  ["day", "time", "epoch_ms(day)"],
  ["day", "text", "day::VARCHAR"],
  ["us", "time", "floor(epoch_us(us)::DECIMAL(30, 3) / 1000)::BIGINT"],
  ["ms", "time", "epoch_ms(ms)"],
  ["ms", "text", "strftime(ms::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%gZ')"],
  ["ns", "time", "epoch_ms(ns)"],
  ["tz", "time", "epoch_ms(tz)"],
  ["clock", "text", "strftime(DATE '2000-01-01' + clock, '%H:%M:%S.%f')"],
  ["uuid", "text", "uuid::VARCHAR"],
];

async function checkAll(path: string, checks = CHECKS): Promise<void> {
  for (const [name, type, sql] of checks) {
    const wanted = await query(`SELECT ${sql} FROM read_parquet('${path}')`);
    same(await readAll(path, name, type), wanted, `${name} as ${type}`);
  }
}

for (const [codec, version, distinct] of [
  ["uncompressed", "V1", 50],
  ["snappy", "V2", 100],
  ["gzip", "V1", 100],
  ["zstd", "V2", 30],
  ["lz4_raw", "V1", 100],
  ["brotli", "V2", 100],
] as const) {
  test(`reads every type as DuckDB does: ${codec}, ${version}`, async () => {
    const options = `COMPRESSION ${codec}, PARQUET_VERSION ${version}, ROW_GROUP_SIZE 2048`;
    await checkAll(await write(`${codec}-${version}.parquet`, MANY_TYPES(distinct, 5_000), options));
  });
}

for (const version of ["V1", "V2"]) {
  test(`reads columns without a dictionary, ${version}`, async () => {
    const format = `PARQUET_VERSION ${version}, DICTIONARY_SIZE_LIMIT 1`;
    const options = `COMPRESSION zstd, ROW_GROUP_SIZE 4096, ${format}`;
    const path = await write(`plain-${version}.parquet`, MANY_TYPES(100, 9_000), options);
    await checkAll(path);
    const file = await openParquet(path);
    const { columns } = await readRowGroup(file, 0, [{ name: "text", type: "text", optional: false }]);
    assert.is(columns[0].kind, "text");
  });
}

test("keeps the dictionary of a text column", async () => {
  const path = await write(
    "dictionary.parquet",
    "SELECT 'city ' || (i % 9) AS city FROM range(5000) t(i)",
    "CODEC zstd",
  );
  const { columns } = await readRowGroup(await openParquet(path), 0, [
    { name: "city", type: "text", optional: false },
  ]);
  assert.is(columns[0].kind, "dictionary");
  assert.is(columns[0].kind === "dictionary" && columns[0].offsets.length, 10);
  assert.is(columns[0].validity, undefined);
});

test("reads columns whose values are all missing, and files without rows", async () => {
  const nulls = "SELECT NULL::BIGINT AS n, NULL::VARCHAR AS t, NULL::DOUBLE AS f, NULL::DECIMAL(38, 2) AS d";
  const full = await write("nulls.parquet", `${nulls} FROM range(3000)`, "CODEC snappy");
  for (const [name, type] of [
    ["n", "i64"],
    ["t", "text"],
    ["f", "f64"],
    ["d", "decimal"],
    ["n", "text"],
  ] as const) {
    same(
      await readAll(full, name, type),
      Array.from({ length: 3_000 }, () => null),
      name,
    );
  }
  const empty = await write("empty.parquet", `${nulls} LIMIT 0`, "CODEC snappy");
  for (const [name, type] of [
    ["n", "i64"],
    ["t", "text"],
  ] as const)
    same(await readAll(empty, name, type), [], name);
  assert.is((await openParquet(empty)).columns.length, 4);
});

const flights = fileURLToPath(
  new URL("../../node_modules/vega-datasets/data/flights-3m.parquet", import.meta.url),
);

test("reads three million flights as DuckDB does", async () => {
  const file = await openParquet(flights);
  assert.is(
    file.rowGroups.reduce((sum, { rows }) => sum + rows, 0),
    3_000_000,
  );
  assert.equal(
    file.columns.map(({ name }) => name),
    ["date", "delay", "distance", "origin", "destination"],
  );
  let delay = 0;
  let last = 0n;
  const count = new Map<string, number>();
  for (let group = 0; group < file.rowGroups.length; group++) {
    const { rows, columns } = await readRowGroup(file, group, [
      { name: "delay", type: "f64", optional: false },
      { name: "origin", type: "text", optional: false },
      { name: "date", type: "time", optional: false },
    ]);
    const [delays, origins, dates] = columns;
    if (delays.kind !== "i64" || origins.kind !== "dictionary" || dates.kind !== "i64")
      return assert.unreachable();
    const names = valuesOf({ ...origins, kind: "text" }, origins.offsets.length - 1) as string[];
    for (let row = 0; row < rows; row++) {
      delay += Number(delays.values[row]);
      const origin = names[origins.codes[row]];
      count.set(origin, (count.get(origin) ?? 0) + 1);
    }
    last = dates.values[rows - 1];
  }
  const [sum] = await query(`SELECT sum(delay)::DOUBLE FROM '${flights}'`);
  assert.is(delay, sum);
  const names = await query(`SELECT origin FROM '${flights}' GROUP BY origin ORDER BY origin`);
  const counts = await query(`SELECT count(*) FROM '${flights}' GROUP BY origin ORDER BY origin`);
  assert.equal(
    [...count].sort(([a], [b]) => (a < b ? -1 : 1)),
    names.map((name, at) => [name, Number(counts[at])]),
  );
  assert.equal([last], await query(`SELECT epoch_ms(date) FROM '${flights}' LIMIT 1 OFFSET 2999999`));
});

// Written by parquet-wasm (arrow-rs) with a dictionary of at most 200 bytes; the later pages are PLAIN in the
// first, DELTA_BYTE_ARRAY and DELTA_BINARY_PACKED in the second (data pages of version 2). Brotli, base64.
const MIXED = [
  "G+oHAB4HuTn0btlelUz5T2zqOyCUOJVPc1WllvjERLPO1Qya2xaSKdW93WNusZErHdD3YJAH4H6Y/reIwIENuJAi0zItomk40ua+" +
    "Ijg6OwX1Kg1OoWt/Uqt0w08SbRHpCqtGaYQw4J4UGcBIkZNPJhRwcvEE3mX5bgVAfivrPjvWggJOLh5evig/TymIbXXHXeD88F8p" +
    "cBEoyGgS0+kNI5VkkoE6KSqA+O9H/z8bSoZFooEnTCptUk7PCjuTb5BaV6LbOIQxjuCofEtmaUvdUuyEiIQJiQneZKSEpO5t1Jep" +
    "YAQI9G/0TNCpGQE667DYKKQdVlWxHY9LyG6pvU1yZud+bCs4j4Gr6JKrgFeCK7ZVmHtScjt5N1kNctzNCuC54/b4Eva6x0+geTId" +
    "EnSqlYvsKWI9uclcOtvchbzFz7fbcU7yeWMr3bqInxYgcN0dSLMAKuSxCzuby/5ZIZy1tZTng2tuV6qjnK7fkeiGRCeEalSFEAZs" +
    "EAArA7MqEBjxgXZGRVI7WBV0JDrprItuuuuhp1766Kuf/gYYZLAhhhpmhJFGGW2MccabYGIwaajYFOx61KnnrxHoHaMROi0Sukty" +
    "35jwvyL1+f+8IspZ5fhSCZZR+RgN6RQUUVWO2dGp3NxUaY1e7XWxWinV663HvV/3Zv/hrWwzUgACHZLpnKjToHrLXi7GGN8f+r/n" +
    "TFSs02BgkjrdEKJAnWFVMOtotjnmmmeBhRZZbIllllthpVXWWCtonUIbbLTJZltss90OO+2yx1777HfAIYcdcdQxJ5x0yungTE+x" +
    "c2V47HxZ3hKUelfqHEEvpxW26UK+Qy+65Iqrrrnuhltuu+Ouex546JHHnnjmuRdeeuWNt95574NPPgdfeop9TWvLt/M38WraH7SD" +
    "aYAWFGmcqL1hOtcGmV4I2gkha5KR3jwwSwSvMMp4Qhq1XwNeTLtio+B3WT9OX6IWCVFPwqvefh4k8GKVLK37PK7f6ZS/WpJAllTB" +
    "Ic0QK82oFgOApJvN8ozxFUp7IfIYrqchhizcA1nlS4ckPP2wtoFrb8xpf6QpmcUIpJIAkginsFoGtCMadQJEmFSLXr3878Iw7YYp" +
    "7Yot7YtZklYEI6kUtGvZ33whTdH2aBEAj3FYStdpVLuJrAyrP+Ttkr0DS8fV0V8E7g0ntyjYivNRgIA31PkokAev5c2gfaTO+8sH" +
    "767H3/hpzfcd+SWtxGgqYzd/qXr1risNars2Gy5o07BwWm6fNLaBR1Nb1L7oQT7iqjgiU8facBW0mYBWp2k21zitc6+8SDl4r9aP" +
    "+3v9cvf57/8jnkCuKzef6zFADICfgKke",
  "GwYFAIzDOIZ8Fw9R7P7/97L7ktcMqkxPb86k9oBlCnoBz3ZFf9KA/9/Vs16eh74pV4mlaeDh/97pu81FhXEAMtaydz5F/3wsoMDi" +
    "NKG9KA1smVvzXIGZlg3HJiLu1yuF0tIgxc0sniG5GITgAnCNBHAA4CmCMagEDVp0GIRRE6OXA8B8o2sf8HQADVp0GDBisphFn8az" +
    "cUyv0Sru1eiQw8UEJ5JafEIw4r7Aow+CCsD7/d7v94aEj2ATptuJPuMlpfzwdJcjMXa0KdM3q5k29WpbjEOo5FCSxI919Rnra/WH" +
    "AFngnso+zukKAORwIsXlTC3+IagPPSf0G6Lgm5LxT7y+ELON0FZgKcMyoS7+fn6elHbepGD4mUlZM7WOLA0DBSHGEN6RUsr2HNd/" +
    "wIDuFOi8flofoP+JIpmQuKlJg9Fk9kUqHVGATpXRY8CICbOwPEq1MSolaFSK9BpAihcoHmByMXsJZq5nABwJEEc5MICd0aqQU769" +
    "oxw6BDrSic50pRvd6UFPetOHvvSjPwMZxGCGMJThjMDGSNoYzRjGMk6M78VNhNTgJ/EKcnhv8eR8BqOeMPRBEwLvfx9W3u9Ym8R5" +
    "J/k42GJgJNBDIGd5+T5n6Jj6eWSujMh9HFcYkFfaru6u7Vb7fNgLmRqAdGMOF3Ei6/f2lOiBEXfjD8v81DaGlsxvs9mRUh+GEIDR" +
    "fLLcN+ageUWMEL4Q3EcEAGEni1cY4QkBMcimOOAgdz6TP7laidOJMJ8BQCrGZTo09e7dY0CDMxxECugQyKjp3lEFQq4HQCc0z+2l" +
    "p0B4wIoeYkQQeKCDmAacEy8qVJAR3y3cUgj/7IK+kCB5aBxyyCMDSBFYL4dOWhB226MZbOioUCbtx6t/plzYOu2ZPGgsd+qV4k0m" +
    "gsuodNJBx7HN9q4AoofaQSouLjjWyUj1BxLdeI0DJIekdpfok6GD1K4Ir4BJlBEpEhVKUh60rIjao3N00zRXSeP6lawfURu5YTs/" +
    "AHqBLwEdhrNB01zRurZ0kGS34XSsypRQ0VtsDHMslZmLImfqEEFIKe7aLlMrnVrs2dS7V792fSN7/xM9y2CJ0kXFiBEeAJ8+fCYA" +
    "bhA=",
];

for (const [at, base64] of MIXED.entries()) {
  test(`reads a column whose later pages leave the dictionary, V${at + 1}`, async () => {
    const path = join(folder, `mixed-${at}.parquet`);
    await writeFile(path, brotliDecompressSync(Buffer.from(base64, "base64")));
    const rows = Array.from({ length: 240 }, (_, i) => i);
    const texts = rows.map((i) => (i % 5 === 4 ? null : i < 100 ? `city ${i % 7}` : `town ${i}`));
    const numbers = rows.map((i) => (i % 6 === 5 ? null : i < 100 ? BigInt(i % 4) : 2n ** 60n + BigInt(i)));
    same(await readAll(path, "text", "text"), texts, "text");
    same(await readAll(path, "number", "i64"), numbers, "number");
    same(
      await readAll(path, "number", "text"),
      numbers.map((n) => n?.toString() ?? null),
      "number as text",
    );
  });
}

test("offers no nested columns, and says what a column can fill", async () => {
  const select =
    "SELECT [1, 2] AS list, {'a': 1} AS struct, map {'k': 1} AS map, 'x' AS text, 1.5::DOUBLE AS number";
  const path = await write("nested.parquet", select, "CODEC snappy");
  const file = await openParquet(path);
  const serves = file.columns.map(({ name, serves }) => [name, serves.length > 0]);
  assert.equal(serves, [
    ["list", false],
    ["struct", false],
    ["map", false],
    ["text", true],
    ["number", true],
  ]);
  const read = (name: string, type: FieldType, optional = false) =>
    codeOf(() => readRowGroup(file, 0, [{ name, type, optional }]));
  assert.is(await read("list", "i64"), "column-unsupported");
  assert.is(await read("struct", "text"), "column-unsupported");
  assert.is(await read("text", "f64"), "column-type");
  assert.is(await read("number", "bool"), "column-type");
  assert.is(await read("number", "i64"), "column-value");
  assert.is(await read("nothing", "i64"), "column-missing");
  assert.is(await read("nothing", "i64", true), "no error");
  same(await readAll(path, "text", "text"), ["x"], "text");
});

test("refuses values that a field cannot hold", async () => {
  const select =
    "SELECT -1 AS negative, 18446744073709551615::UBIGINT AS huge, 9e18::DOUBLE AS big, " +
    "0.12345678::DECIMAL(9, 8) AS fine, 99999999999999999999::DECIMAL(38, 0) AS wide, 'nan'::DOUBLE AS nan";
  const file = await openParquet(await write("values.parquet", select, "CODEC snappy"));
  for (const [name, type] of [
    ["negative", "u64"],
    ["huge", "i64"],
    ["big", "decimal"],
    ["fine", "decimal"],
    ["wide", "decimal"],
    ["wide", "i64"],
    ["nan", "i64"],
    ["nan", "decimal"],
  ] as const) {
    assert.is(
      await codeOf(() => readRowGroup(file, 0, [{ name, type, optional: false }])),
      "column-value",
      name,
    );
  }
});

test("a truncated or damaged file is an error with a code, never a crash or a hang", async () => {
  const path = await write("whole.parquet", MANY_TYPES(100, 3_000), "CODEC snappy, ROW_GROUP_SIZE 2048");
  const whole = await readFile(path);
  const broken = join(folder, "broken.parquet");
  const readEverything = async (): Promise<void> => {
    const file = await openParquet(broken);
    for (let group = 0; group < file.rowGroups.length; group++) {
      for (const { name, serves } of file.columns) {
        await readRowGroup(
          file,
          group,
          serves.slice(0, 1).map((type) => ({ name, type, optional: true })),
        );
      }
    }
  };
  for (const bytes of [0, 3, 11, 12, 100, whole.length >> 1, whole.length - 1]) {
    await writeFile(broken, whole.subarray(0, bytes));
    assert.is(await codeOf(readEverything), "input-corrupt", `the first ${bytes} bytes`);
  }
  await writeFile(broken, "a,b\n1,2\n".repeat(10));
  assert.is(await codeOf(readEverything), "input-corrupt");
  let seed = 12_345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const codes = new Set<string>();
  for (let round = 0; round < 150; round++) {
    const damaged = Buffer.from(whole);
    // a third in the footer, the rest anywhere
    const from = round % 3 === 0 ? whole.length - 8 - whole.readUInt32LE(whole.length - 8) : 0;
    for (let byte = 0; byte < 4; byte++) damaged[from + random(whole.length - from)] = random(256);
    await writeFile(broken, damaged);
    codes.add(await codeOf(readEverything));
  }
  const known = ["no error", "input-corrupt", "input-unsupported", "column-value", "column-unsupported"];
  for (const code of codes) assert.ok(known.includes(code), code);
});

test("a page header without the length of its levels is an error, not an endless loop", async () => {
  const path = join(folder, "busy.parquet");
  // found by writing random bytes over the file
  for (const damage of [
    [[237, 255]],
    [
      [391, 186],
      [142, 255],
    ],
  ]) {
    const bytes = brotliDecompressSync(Buffer.from(MIXED[1], "base64"));
    for (const [at, value] of damage) bytes[at] = value;
    await writeFile(path, bytes);
    assert.is(await codeOf(() => readAll(path, "text", "text")), "input-corrupt");
  }
});

test.run();
