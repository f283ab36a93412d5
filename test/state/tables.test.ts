import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { kernelOf, type Row, random, runRows, seedOf, write } from "../run.ts";

const test = suite("assembly/state: tables against DuckDB");

const vega = (name: string) => join(packageRoot, "node_modules", "vega-datasets", "data", name);

const duck = await (await DuckDBInstance.create(":memory:")).connect();
async function sql(query: string): Promise<Row[]> {
  return (await duck.runAndReadAll(query)).getRowObjectsJson();
}

const SDK =
  "Count, Decimal, Distinct, First, Last, Max, Min, Optional, Pair, Quantiles, Stats, Sum, Table, Text, Time, Top, Triple, out, pair, triple";

/** A kernel of a record's fields, states and tables, and the body of `each(row)`. */
function kernel(name: string, record: string, declarations: string, body: string): string {
  const whole = `${record}\n${declarations}\n${body}`;
  const used = SDK.split(", ").filter((word) => new RegExp(`\\b${word}\\b`).test(whole));
  const source = `import { ${used.join(", ")} } from "hallelujah";
@record class Row { ${record} }
${declarations}
export function each(row: Row): void {
  ${body}
}
`;
  return kernelOf(name, source);
}

/** A row without the name of its table. */
function without(row: Row): Row {
  return Object.fromEntries(Object.entries(row).filter(([name]) => name !== "table"));
}

function near(actual: number, expected: number, tolerance: number, what: string): void {
  const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  assert.ok(error <= tolerance, `${what}: ${actual}, expected ${expected}`);
}

test("three million flights: counts, sums, least, greatest, quantiles, distinct, top", async () => {
  const path = vega("flights-3m.parquet");
  const flights = kernel(
    "flights3m",
    "origin: Text; destination: Text; delay: i32; distance: i64; date: Time",
    `@state class Origin {
  flights: Count; delay: Stats; distance: Sum<i64>; soonest: Min<i32>; first: Min<Time>; last: Max<Time>;
  destinations: Distinct; delays: Quantiles; most: Top<Text>;
}
const origins = new Table<Text, Origin>("origins");`,
    `const origin = origins.at(row.origin);
  origin.flights.add();
  origin.delay.add(row.delay);
  origin.distance.add(row.distance);
  origin.soonest.add(row.delay);
  origin.first.add(row.date);
  origin.last.add(row.date);
  origin.destinations.add(row.destination);
  origin.delays.add(<f64>row.delay);
  origin.most.add(row.destination);`,
  );
  const { rows, summary } = await runRows(flights, path);
  const expected = await sql(`
    select origin as key, count(*)::int as flights, sum(delay)::double as sum, min(delay)::int as min, max(delay)::int as max, avg(delay) as mean,
      sum(distance)::double as distance, epoch_ms(min(date))::double as first, epoch_ms(max(date))::double as last,
      count(distinct destination)::int as destinations, quantile_cont(delay, [0.5, 0.9, 0.99]) as quantiles
    from '${path}' group by origin order by origin`);
  const tops = await sql(
    `select origin, destination, count(*)::int as n from '${path}' group by all order by origin, n desc, destination`,
  );
  assert.is(summary.rows, 3_000_000);
  assert.is(rows.length, expected.length);
  rows.forEach((row, i) => {
    const other = expected[i];
    assert.equal(
      [
        row.key,
        row.flights,
        row.delay.count,
        row.delay.sum,
        row.delay.min,
        row.delay.max,
        row.distance,
        row.soonest,
      ],
      [other.key, other.flights, other.flights, other.sum, other.min, other.max, other.distance, other.min],
    );
    near(row.delay.mean, other.mean, 1e-12, row.key);
    assert.equal([Date.parse(row.first), Date.parse(row.last)], [other.first, other.last]);
    near(row.destinations, other.destinations, 0.05, `${row.key} destinations`);
    const [p50, p90, p99] = other.quantiles as number[];
    if (other.flights > 1000) {
      near(row.delays.p50 + 100, p50 + 100, 0.05, `${row.key} p50`);
      near(row.delays.p90 + 100, p90 + 100, 0.05, `${row.key} p90`);
      near(row.delays.p99 + 100, p99 + 100, 0.08, `${row.key} p99`);
    }
    const top = tops.filter(({ origin }) => origin === row.key).slice(0, 3);
    if (top.length === 3 && other.destinations <= 50) {
      assert.equal(
        row.most.slice(0, 3).map(({ count }: Row) => count),
        top.map(({ n }) => n),
        row.key,
      );
    }
  });
});

test("bird strikes: a CSV with quotes, by pair and triple, first and last in the order of the input", async () => {
  const path = vega("birdstrikes.csv");
  const strikes = kernel(
    "strikes",
    `@name("Origin State") state: Text; @name("Wildlife Size") size: Text; @name("Time of day") time: Text;
  @name("Airport Name") airport: Text; @name("Cost Total $") cost: i64; @name("Speed IAS in knots") speed: Optional<f64>`,
    `@state class Some { n: Count; cost: Sum<i64>; speed: Max; first: First<Text>; last: Last<Text>; firstCost: First<i64>; lastCost: Last<i64> }
@state class N { n: Count }
const pairs = new Table<Pair<Text, Text>, Some>("pairs");
const triples = new Table<Triple<Text, bool, i64>, N>("triples");
const flags = new Table<bool, N>("flags");`,
    `const both = pairs.at(pair<Text, Text>(row.state, row.size));
  both.n.add();
  both.cost.add(row.cost);
  if (row.speed.present) both.speed.add(row.speed.value);
  both.first.add(row.airport);
  both.last.add(row.airport);
  both.firstCost.add(row.cost);
  both.lastCost.add(row.cost);
  triples.at(triple<Text, bool, i64>(row.time, row.cost > 0, row.cost)).n.add();
  flags.at(row.speed.present).n.add();`,
  );
  const { rows, summary } = await runRows(strikes, path, { frameBytes: 50_000, jahs: 3 });
  assert.is(summary.badRecords, 0);
  await sql(
    `create table strikes as select row_number() over () as i, * from read_csv('${path}', header = true)`,
  );
  const expected = await sql(`
    select "Origin State" as a, "Wildlife Size" as b, count(*)::int as n, sum("Cost Total $")::double as cost, max("Speed IAS in knots")::double as speed,
      first("Airport Name" order by i) as first, last("Airport Name" order by i) as last,
      first("Cost Total $" order by i)::double as firstCost, last("Cost Total $" order by i)::double as lastCost
    from strikes group by all order by a, b`);
  const pairs = rows.filter(({ table }) => table === "pairs");
  assert.equal(
    pairs.map(({ key: [a, b], ...row }) => ({ a, b, ...without(row) })),
    expected,
  );
  const triples = await sql(
    `select "Time of day" as a, "Cost Total $" > 0 as b, "Cost Total $"::double as c, count(*)::int as n from strikes group by all order by a, b, c`,
  );
  assert.equal(
    rows.filter(({ table }) => table === "triples").map(({ key, n }) => [...key, n]),
    triples.map(({ a, b, c, n }) => [a, b, c, n]),
  );
  const flags = rows.filter(({ table }) => table === "flags");
  assert.equal(
    flags.map(({ key, n }) => [key, n]),
    (
      await sql(
        `select "Speed IAS in knots" is not null as b, count(*)::int as n from strikes group by b order by b`,
      )
    ).map(({ b, n }) => [b, n]),
  );
});

test("weather: times as keys, in order and the other way round", async () => {
  const path = vega("seattle-weather.csv");
  const weather = kernel(
    "weather",
    "date: Time; temp_max: f64; wind: Decimal; weather: Text",
    `@state class Day { max: Max; wind: Sum<Decimal>; n: Count }
const months = new Table<Time, Day>("months");
const kinds = new Table<Text, Day>("kinds");
const winds = new Table<Decimal, Day>("winds");`,
    `const month = months.at(Time.of(row.date.ms - <i64>(row.date.day - 1) * 86400000));
  month.max.add(row.temp_max);
  month.wind.add(row.wind);
  month.n.add();
  const kind = kinds.at(row.weather);
  kind.max.add(row.temp_max);
  kind.wind.add(row.wind);
  kind.n.add();
  winds.at(row.wind).n.add();`,
  );
  const months = await sql(`
    select strftime(date_trunc('month', date), '%Y-%m-%dT00:00:00.000Z') as key, max(temp_max)::double as max,
      sum(wind::decimal(18, 6))::double as wind, count(*)::int as n from '${path}' group by key order by key`);
  const read = async (options: object) => (await runRows(weather, path, options)).rows.map(without);
  assert.equal(await read({ table: "months" }), months);
  assert.equal(await read({ table: "months", order: "-key" }), months.toReversed());
  assert.equal(await read({ table: "months", order: "-key", limit: 5 }), months.toReversed().slice(0, 5));
  const kinds = await sql(`
    select weather as key, max(temp_max)::double as max, sum(wind::decimal(18, 6))::double as wind, count(*)::int as n
    from '${path}' group by key order by key`);
  assert.equal(await read({ table: "kinds" }), kinds);
  assert.equal(
    await read({ table: "kinds", order: "n" }),
    kinds.toSorted((a, b) => a.n - b.n),
  );
  assert.equal(
    await read({ table: "kinds", order: "-wind", limit: 2 }),
    kinds.toSorted((a, b) => b.wind - a.wind).slice(0, 2),
  );
  const winds = await sql(
    `select wind::double as key, count(*)::int as n from '${path}' group by key order by key`,
  );
  assert.equal(
    (await read({ table: "winds" })).map(({ key, n }) => ({ key, n })),
    winds,
  );
});

test("movies as NDJSON: nulls, numbers and texts that are not ASCII", async () => {
  const movies = JSON.parse(readFileSync(vega("movies.json"), "utf8")) as Row[];
  const path = write("movies.ndjson", movies.map((movie) => `${JSON.stringify(movie)}\n`).join(""));
  const genres = kernel(
    "movies",
    `@name("Major Genre") genre: Optional<Text>; @name("US Gross") gross: Optional<i64>; @name("IMDB Rating") rating: Optional<f64>; @name("Title") title: Optional<Text>`,
    `@state class Genre { n: Count; gross: Sum<i64>; rating: Stats; titles: Distinct; last: Last<Text> }
const genres = new Table<Text, Genre>("genres");`,
    `const genre = genres.at(row.genre.present ? row.genre.value : Text.of("(none)"));
  genre.n.add();
  if (row.gross.present) genre.gross.add(row.gross.value);
  if (row.rating.present) genre.rating.add(row.rating.value);
  if (row.title.present) genre.titles.add(row.title.value), genre.last.add(row.title.value);`,
  );
  const { rows, summary } = await runRows(genres, path, { frameBytes: 30_000 });
  // Some titles are numbers in that file; a Text takes them as they are written.
  assert.is(summary.badRecords, 0);
  const byKey = new Map<string, Row[]>();
  for (const movie of movies) {
    const key = movie["Major Genre"] ?? "(none)";
    byKey.set(key, [...(byKey.get(key) ?? []), movie]);
  }
  const expected = [...byKey.entries()].toSorted(([a], [b]) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  assert.equal(
    rows.map(({ key, n, gross, last, rating }) => [key, n, gross, last, rating.count, rating.max]),
    expected.map(([key, list]) => {
      const ratings = list.map((movie) => movie["IMDB Rating"]).filter((rating) => rating !== null);
      const titles = list.map(({ Title }) => Title).filter((title) => title !== null);
      return [
        key,
        list.length,
        list.reduce((sum, movie) => sum + (movie["US Gross"] ?? 0), 0),
        `${titles.at(-1)}`,
        ratings.length,
        Math.max(...ratings),
      ];
    }),
  );
  rows.forEach(({ key, titles }) =>
    near(titles, new Set(byKey.get(key)!.map(({ Title }) => Title)).size, 0.05, key),
  );
});

test("airports: texts by their bytes, and the flights of an Arrow file", async () => {
  const airports = kernel(
    "airports",
    "name: Text; state: Text; latitude: f64",
    `@state class Place { n: Count; north: Max; south: Min }
const states = new Table<Text, Place>("states");
const names = new Table<Text, Place>("names");`,
    `const place = states.at(row.state);
  place.n.add();
  place.north.add(row.latitude);
  place.south.add(row.latitude);
  names.at(row.name).n.add();`,
  );
  const path = vega("airports.csv");
  const { rows } = await runRows(airports, path);
  await sql(`create table airports as select * from read_csv('${path}', header = true, all_varchar = true)`);
  assert.equal(
    rows.filter(({ table }) => table === "states").map(({ key, n, north, south }) => [key, n, north, south]),
    (
      await sql(
        `select coalesce(state, '') as key, count(*)::int as n, max(latitude::double) as north, min(latitude::double) as south from airports group by 1 order by 1`,
      )
    ).map(({ key, n, north, south }) => [key, n, north, south]),
  );
  const names = rows.filter(({ table }) => table === "names").map(({ key }) => key as string);
  assert.equal(
    names,
    names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  );
  assert.is(names.length, (await sql("select count(distinct name)::int as n from airports"))[0].n);

  const arrow = kernel(
    "arrow",
    "delay: i32; distance: i32",
    `@state class Tally { n: Count; distance: Sum<i64> }
const delays = new Table<i32, Tally>("delays");`,
    "const tally = delays.at(row.delay); tally.n.add(); tally.distance.add(row.distance);",
  );
  const flights = JSON.parse(readFileSync(vega("flights-200k.json"), "utf8")) as Row[];
  const expected = new Map<number, [number, number]>();
  for (const { delay, distance } of flights) {
    const [n, sum] = expected.get(delay) ?? [0, 0];
    expected.set(delay, [n + 1, sum + distance]);
  }
  const fromArrow = await runRows(arrow, vega("flights-200k.arrow"));
  assert.equal(
    fromArrow.rows.map(({ key, n, distance }) => [key, n, distance]),
    [...expected.entries()].toSorted(([a], [b]) => a - b).map(([key, [n, sum]]) => [key, n, sum]),
  );
});

const WIDTHS: Record<string, [bigint, bigint]> = Object.fromEntries(
  [8n, 16n, 32n, 64n].flatMap((bits) => [
    [`i${bits}`, [-(2n ** (bits - 1n)), 2n ** (bits - 1n) - 1n]],
    [`u${bits}`, [0n, 2n ** bits - 1n]],
  ]),
);

test("integer keys of every width are ordered by value, and kept exactly", async () => {
  const next = random(seedOf("integers"));
  const types = Object.keys(WIDTHS);
  const integers = kernel(
    "integers",
    types.map((type) => `${type}: ${type};`).join(" "),
    `@state class N { n: Count }\n${types
      .map(
        (
          type,
        ) => `@state class S${type} { sum: Sum<f64>; min: Min<${type}>; max: Max<${type}>; last: Last<${type}> }
const t${type} = new Table<${type}, N>("${type}");
const a${type} = new Table<bool, S${type}>("all${type}");
const p${type} = new Table<Pair<${type}, ${type}>, N>("pair${type}");`,
      )
      .join("\n")}`,
    types
      .map(
        (type) =>
          `t${type}.at(row.${type}).n.add(); const s${type} = a${type}.at(true); s${type}.min.add(row.${type}); s${type}.max.add(row.${type}); s${type}.last.add(row.${type}); p${type}.at(pair<${type}, ${type}>(row.${type}, row.${type})).n.add();`,
      )
      .join("\n  "),
  );
  const records = Array.from({ length: 300 }, (_, i) =>
    types.map((type) => {
      const [low, high] = WIDTHS[type];
      if (i < 6) return [low, high, 0n, 1n, low + 1n, high - 1n][i];
      const bits = Math.floor(next() * Number(type.slice(1)));
      const value = BigInt.asUintN(bits, BigInt(Math.floor(next() * 2 ** 53)) * 4099n);
      return low < 0n && next() < 0.5 ? -value : value;
    }),
  );
  const csv = `${types.join(",")}\n${records.map((record) => `${record.join(",")}\n`).join("")}`;
  const { rows, text } = await runRows(integers, write("integers.csv", csv), { frameBytes: 1000 });
  const shown = (value: bigint) =>
    value > 2n ** 53n - 1n || value < 1n - 2n ** 53n ? `${value}` : Number(value);
  assert.not.match(text, /[:,[]-?\d{17,}/); // no reader may round a number
  types.forEach((type, column) => {
    const values = records.map((record) => record[column]);
    const sorted = [...new Set(values)].toSorted((a, b) => (a < b ? -1 : 1));
    const table = (name: string) => rows.filter((row) => row.table === name);
    assert.equal(
      table(type).map(({ key }) => key),
      sorted.map(shown),
      type,
    );
    assert.equal(
      table(`pair${type}`).map(({ key }) => key),
      sorted.map((value) => [shown(value), shown(value)]),
      type,
    );
    const [all] = table(`all${type}`);
    assert.equal([all.min, all.max, all.last], [sorted[0], sorted.at(-1)!, values.at(-1)!].map(shown), type);
  });
});

test("sums of integers and decimals are exact, or the run fails", async () => {
  const next = random(seedOf("sums"));
  const sums = kernel(
    "sums",
    "a: i64; b: u64; c: Decimal; key: i32",
    `@state class Sums { a: Sum<i64>; b: Sum<u64>; c: Sum<Decimal>; low: Min<Decimal>; high: Max<Decimal> }
const sums = new Table<i32, Sums>("sums");`,
    "const sum = sums.at(row.key); sum.a.add(row.a); sum.b.add(row.b); sum.c.add(row.c); sum.low.add(row.c); sum.high.add(row.c);",
  );
  const records = Array.from({ length: 5000 }, (_, i) => ({
    a: BigInt(Math.floor((next() - 0.5) * 2 ** 50)),
    b: BigInt(Math.floor(next() * 2 ** 50)),
    c: BigInt(Math.floor((next() - 0.5) * 2 ** 46)),
    key: i % 7,
  }));
  const decimal = (units: bigint) => {
    const digits = `${units < 0n ? -units : units}`.padStart(7, "0");
    return `${units < 0n ? "-" : ""}${digits.slice(0, -6)}.${digits.slice(-6)}`;
  };
  const csv = (list: typeof records) =>
    `a,b,c,key\n${list.map(({ a, b, c, key }) => `${a},${b},${decimal(c)},${key}\n`).join("")}`;
  const { text } = await runRows(sums, write("sums.csv", csv(records)), { frameBytes: 3000, format: "csv" });
  const exact = (units: bigint) => decimal(units).replace(/\.?0+$/, "");
  const expected = Array.from({ length: 7 }, (_, key) => {
    const list = records.filter((record) => record.key === key);
    const total = (field: "a" | "b" | "c") => list.reduce((sum, record) => sum + record[field], 0n);
    const c = list.map((record) => record.c).toSorted((x, y) => (x < y ? -1 : 1));
    return `sums,${key},${total("a")},${total("b")},${exact(total("c"))},${exact(c[0])},${exact(c.at(-1)!)}\n`;
  });
  assert.is(text, `table,key,a,b,c,low,high\n${expected.join("")}`);
  const over = csv([
    ...records,
    { a: 2n ** 63n - 1n, b: 0n, c: 0n, key: 0 },
    { a: 2n ** 63n - 1n, b: 0n, c: 0n, key: 0 },
  ]);
  try {
    await runRows(sums, write("over.csv", over));
    assert.unreachable("the sum overflowed");
  } catch (error) {
    assert.match((error as Error).message, /a Sum is larger than 64 bits hold; use Sum<f64>/);
  }
});

test("300,000 pairs of texts, in order", async () => {
  const pairs = kernel(
    "pairs",
    "a: Text; b: Text; n: i64",
    `@state class N { n: Sum<i64> }
const pairs = new Table<Pair<Text, Text>, N>("pairs");
const texts = new Table<Text, N>("texts");`,
    "pairs.at(pair<Text, Text>(row.a, row.b)).n.add(row.n); texts.at(row.b).n.add(row.n);",
  );
  const count = 300_000;
  const csv = `a,b,n\n${Array.from({ length: count }, (_, i) => `${"prefix ".repeat(i % 4)}${i % 1000},a somewhat longer text ${(i * 7919) % count},${i}\n`).join("")}`;
  const { rows, summary } = await runRows(pairs, write("pairs.csv", csv), { jahs: 1 });
  assert.equal(summary.tables, { pairs: count, texts: count });
  const found = rows.filter(({ table }) => table === "pairs");
  for (let i = 1; i < found.length; i++) {
    const [a, b] = found[i - 1].key;
    const [c, d] = found[i].key;
    if (a > c || (a === c && b >= d)) assert.unreachable(`${a} ${b} before ${c} ${d}`);
  }
  assert.is(
    found.reduce((sum, { n }) => sum + n, 0),
    (count * (count - 1)) / 2,
  );
});

test("texts of any kind as keys and in pairs: empty, with NULs, long, and alike in their first bytes", async () => {
  const any = kernel(
    "anytext",
    "a: Text; b: Text",
    `@state class N { n: Count }
const pairs = new Table<Pair<Text, Text>, N>("pairs");
const texts = new Table<Text, N>("texts");`,
    "pairs.at(pair<Text, Text>(row.a, row.b)).n.add(); texts.at(row.a).n.add();",
  );
  const next = random(seedOf("texts"));
  const unit = ["\0", "\x01", "a", "é", "\u{1F600}", "\uffff", '"', "\n", "\u007f"];
  const make = () =>
    (next() < 0.2 ? "same first 16 bytes, then " : "") +
    Array.from({ length: Math.floor(next() * 6) }, () => unit[Math.floor(next() * unit.length)]).join("");
  const records = Array.from({ length: 3000 }, () => [make(), make()]);
  records.push(["", ""], ["x".repeat(500_000), "y"], ["x".repeat(500_001), "y"]);
  const path = write("texts.ndjson", records.map(([a, b]) => `${JSON.stringify({ a, b })}\n`).join(""));
  const { rows } = await runRows(any, path, { frameBytes: 20_000 });
  const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  const texts = [...new Set(records.map(([a]) => a))].toSorted(byBytes);
  assert.ok(rows.filter(({ table }) => table === "texts").every(({ key }, i) => key === texts[i]));
  const pairs = [...new Map(records.map((record) => [record.join("\u0002|"), record])).values()].toSorted(
    ([a, b], [c, d]) => byBytes(a, c) || byBytes(b, d),
  );
  const found = rows.filter(({ table }) => table === "pairs");
  assert.is(found.length, pairs.length);
  assert.ok(found.every(({ key }, i) => key[0] === pairs[i][0] && key[1] === pairs[i][1]));
});

test.run();
