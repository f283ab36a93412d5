/** Every example of the docs, on real or generated data, against a reference that others wrote or that is plain to see. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { run } from "../host/client/run.ts";

type Row = Record<string, any>;

const folder = mkdtempSync(join(tmpdir(), "hallelujah-examples-"));
const data = (name: string) => join("node_modules/vega-datasets/data", name);
test.after(() => rmSync(folder, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Rows of one table by key; the key of a tuple is joined by slashes. */
async function rowsOf(example: string, input: string, table: string): Promise<Map<string, Row>> {
  const rows = new Map<string, Row>();
  for await (const row of run({ kernel: `examples/${example}.ts`, inputs: [input], jahs: 2, table })) {
    rows.set([(row as Row).key].flat().join("/"), row as Row);
  }
  return rows;
}

async function duckdb(sql: string): Promise<Row[]> {
  const connection = await (await DuckDBInstance.create(":memory:")).connect();
  return (await connection.runAndReadAll(sql)).getRowObjectsJson() as Row[];
}

const near = (actual: number, expected: number, relative: number) =>
  Math.abs(actual - expected) <= relative * Math.max(1, Math.abs(expected));

test("stations: count, sum, least and greatest of each station", async () => {
  const lines = Array.from(
    { length: 5000 },
    (_, i) => `Station ${(i * 7919) % 97};${((i * 31) % 800) / 10 - 40}`,
  );
  const expected = new Map<string, number[]>();
  for (const line of lines) {
    const [name, value] = line.split(";");
    expected.set(name, [...(expected.get(name) ?? []), Number(value)]);
  }
  const rows = await rowsOf(
    "stations",
    write("stations.csv", `station;temperature\n${lines.join("\n")}\n`),
    "stations",
  );
  assert.is(rows.size, expected.size);
  for (const [name, values] of expected) {
    const { count, sum, min, max, mean } = rows.get(name)!.temperature;
    const total = values.reduce((a, b) => a + b, 0);
    assert.equal([count, min, max], [values.length, Math.min(...values), Math.max(...values)]);
    assert.ok(near(sum, total, 1e-12) && near(mean, total / values.length, 1e-12), name);
  }
});

test("flights: delays by origin, as DuckDB has them", async () => {
  const parquet = data("flights-3m.parquet");
  const expected = await duckdb(
    `SELECT origin, count(delay)::INT n, sum(delay)::DOUBLE s, min(delay)::INT low, max(delay)::INT high
     FROM '${parquet}' WHERE delay IS NOT NULL GROUP BY origin`,
  );
  const rows = await rowsOf("flights", parquet, "origins");
  assert.is(rows.size, expected.length);
  for (const { origin, n, s, low, high } of expected) {
    const { count, sum, min, max } = rows.get(origin)!.delay;
    assert.equal([count, sum, min, max], [n, s, low, high], origin);
  }
});

test("wordcount: every word of a text", async () => {
  const text = `${readFileSync("README.md", "utf8")}\nIt's été: don't, 'quoted' — Ünï\n`;
  const word = /[A-Za-z0-9\u0080-\u{10ffff}]+(?:'[A-Za-z0-9\u0080-\u{10ffff}]+)*/gu;
  const expected = new Map<string, number>();
  for (const [found] of text.matchAll(word)) {
    const lower = found.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    expected.set(lower, (expected.get(lower) ?? 0) + 1);
  }
  const rows = await rowsOf("wordcount", write("text.txt", text), "words");
  assert.equal(new Map([...rows].map(([key, row]) => [key, row.count])), new Map([...expected].toSorted()));
});

test("weblog: paths, visitors, sizes and agents of an Apache log", async () => {
  const hits = Array.from({ length: 4000 }, (_, i) => ({
    host: `10.0.0.${(i * 13) % 200}`,
    path: `/p${(i * i) % 23}.html`,
    status: [200, 200, 304, 404][i % 4],
    bytes: i % 4 === 2 ? "-" : String((i * 37) % 5000),
    agent: `Agent/${i % 7}`,
  }));
  const log = hits.map(
    ({ host, path, status, bytes, agent }) =>
      `${host} - - [10/Oct/2000:13:55:36 -0700] "GET ${path} HTTP/1.0" ${status} ${bytes} "http://e.example/" "${agent}"`,
  );
  const file = write("access.log", `${log.join("\n")}\n`);
  const paths = await rowsOf("weblog", file, "paths");
  assert.is(paths.size, new Set(hits.map(({ path }) => path)).size);
  for (const [path, row] of paths) {
    const mine = hits.filter((hit) => hit.path === path);
    const sizes = mine.map(({ bytes }) => Number(bytes) || 0).toSorted((a, b) => a - b);
    assert.is(row.requests, mine.length);
    assert.is(
      row.bytes,
      sizes.reduce((a, b) => a + b, 0),
    );
    assert.is(row.visitors, new Set(mine.map(({ host }) => host)).size); // exact: they are few
    assert.ok(near(row.size.p50, sizes[Math.ceil(sizes.length * 0.5) - 1], 2 ** -7), path);
  }
  const statuses = await rowsOf("weblog", file, "statuses");
  for (const [status, row] of statuses) {
    const agents = new Map<string, number>();
    for (const { agent } of hits.filter((hit) => String(hit.status) === status)) {
      agents.set(agent, (agents.get(agent) ?? 0) + 1);
    }
    const counts = [...agents].map(([key, count]) => ({ key, count }));
    assert.equal(
      row.agents,
      counts.toSorted((a, b) => b.count - a.count || (a.key < b.key ? -1 : 1)),
    );
  }
});

test("strikes: quoted fields and names with spaces, as DuckDB reads them", async () => {
  const csv = data("birdstrikes.csv");
  const source = `read_csv('${csv}', header = true, all_varchar = true)`;
  const states = await rowsOf("strikes", csv, "states");
  const expected = await duckdb(
    `SELECT "Origin State" s, count(*)::INT n, sum("Cost Total $"::BIGINT)::DOUBLE c, count("Speed IAS in knots")::INT k
     FROM ${source} GROUP BY 1`,
  );
  assert.is(states.size, expected.length);
  for (const { s, n, c, k } of expected) {
    const { strikes, cost, speed } = states.get(s ?? "")!;
    assert.equal([strikes, cost, speed.count], [n, c, k], s);
  }
  const species = await rowsOf("strikes", csv, "species");
  const kinds = await duckdb(
    `SELECT "Wildlife Species" s, count(*)::INT n, max("Speed IAS in knots"::DOUBLE) f FROM ${source} GROUP BY 1`,
  );
  assert.is(species.size, kinds.length);
  for (const { s, n, f } of kinds)
    assert.equal([species.get(s)!.strikes, species.get(s)!.fastest], [n, f], s);
});

test("top-routes: a tuple as key; quantiles within their promised error", async () => {
  const parquet = data("flights-3m.parquet");
  const rows = await rowsOf("top-routes", parquet, "routes");
  const expected = await duckdb(
    `SELECT origin || '/' || destination r, count(*)::INT n, max(distance)::INT far,
       quantile_disc(delay, 0.5)::DOUBLE a, quantile_disc(delay, 0.9)::DOUBLE b, quantile_disc(delay, 0.99)::DOUBLE c
     FROM '${parquet}' WHERE delay IS NOT NULL AND distance IS NOT NULL GROUP BY origin, destination`,
  );
  assert.is(rows.size, expected.length);
  for (const { r, n, far, a, b, c } of expected) {
    const { flights, delay, distance } = rows.get(r)!;
    assert.equal([flights, distance], [n, far], r);
    for (const [got, want] of [
      [delay.p50, a],
      [delay.p90, b],
      [delay.p99, c],
    ]) {
      assert.ok(near(got, want, 2 ** -7), `${r}: ${got} for ${want}`);
    }
  }
});

test.run();
