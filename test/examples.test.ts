/** Every example of the docs, on real or generated data, against a reference that others wrote or that is plain to see. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { run } from "../host/client/run.ts";
import { buildKernel } from "../host/compiler/cache.ts";
import { Owners, visit } from "./state/datasets.ts";

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

test("kept-flights: another kernel over its rows answers what it does over the file", async () => {
  const flights = Array.from({ length: 6000 }, (_, i) => ({
    date: new Date(978_307_200_000 + i * 60_000).toISOString(),
    delay: i % 9 ? ((i * 37) % 200) - 20 : null,
    distance: (i * 13) % 3000,
    origin: `A${(i * i) % 71}`,
    destination: `A${(i * 7) % 71}`,
  }));
  const lines = flights.map((flight) => `${JSON.stringify(flight)}\n`);
  const wanted = await rowsOf("flights", write("flights.ndjson", lines.join("")), "origins");
  const keeper = await buildKernel("examples/kept-flights.ts");
  const owners = new Owners(keeper, 2);
  for (let from = 0; from < lines.length; from += 500)
    await owners.add(lines.slice(from, from + 500).join(""));
  const { rows } = await visit(owners.all, keeper, await buildKernel("examples/flights.ts"));
  assert.equal(
    rows.map((row) => JSON.parse(row)),
    [...wanted.values()],
  );
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

/** Events of a shop: users come and go, times go on but for a few seconds. */
function shopEvents(
  count: number,
): { user: string; at: number; page: string; action: string; tag: string }[] {
  let state = 11;
  const random = (n: number) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % n;
  let now = Date.parse("2024-05-01T00:00:00Z");
  return Array.from({ length: count }, () => {
    now += random(20_000);
    return {
      user: `user${random(300)}`,
      at: now - random(30_000),
      page: `/p${random(40)}`,
      action: ["view", "view", "cart", "order", "help"][random(5)],
      tag: `tag${Math.min(random(60), random(60))}`,
    };
  });
}

const ndjson = (rows: { at: number }[]) =>
  rows.map((row) => `${JSON.stringify({ ...row, at: new Date(row.at).toISOString() })}\n`).join("");

async function outputOf(example: string, input: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of run({ kernel: `examples/${example}.ts`, inputs: [input], jahs: 2 })) {
    if (!("table" in row)) rows.push(row as Row);
  }
  return rows;
}

test("sessions: visits that end with half an hour without an event, as DuckDB has them", async () => {
  // In the order of their times, so that where a session begins is plain.
  const events = shopEvents(20_000).toSorted((a, b) => a.at - b.at);
  const input = write("sessions.ndjson", ndjson(events));
  const expected = await duckdb(
    `WITH e AS (SELECT "user" u, epoch_ms("at"::TIMESTAMP) t, page, row_number() OVER () n FROM read_json('${input}')),
     gaps AS (SELECT *, CASE WHEN t - lag(t) OVER (PARTITION BY u ORDER BY n) < 1800000 THEN 0 ELSE 1 END fresh FROM e),
     numbered AS (SELECT *, sum(fresh) OVER (PARTITION BY u ORDER BY n) visit FROM gaps)
     SELECT u, min(t)::DOUBLE s, ((max(t) - min(t)) // 1000)::INT AS secs, count(*)::INT events,
       count(DISTINCT page)::INT pages, arg_max(page, n) exit FROM numbered GROUP BY u, visit`,
  );
  const line = (row: unknown[]) => row.join(" ");
  const rows = await outputOf("sessions", input);
  assert.ok(rows.length > 1000);
  assert.equal(
    rows
      .map((row) => line([row.user, Date.parse(row.start), row.seconds, row.events, row.pages, row.exit]))
      .toSorted(),
    expected.map(({ u, s, secs, events: n, pages, exit }) => line([u, s, secs, n, pages, exit])).toSorted(),
  );
});

test("funnel: orders that came by way of a view and the cart within a day", async () => {
  const events = shopEvents(20_000);
  const expected: string[] = [];
  const shoppers = new Map<
    string,
    { step: number; since: number; views: number; carts: number; orders: number }
  >();
  for (const { user, at, action } of events) {
    const shopper = shoppers.get(user) ?? { step: 0, since: 0, views: 0, carts: 0, orders: 0 };
    shoppers.set(user, shopper);
    if (at - shopper.since > 86_400_000) shopper.step = 0;
    if (action === "view" && shopper.step === 0)
      Object.assign(shopper, { step: 1, since: at, views: shopper.views + 1 });
    else if (action === "cart" && shopper.step === 1)
      Object.assign(shopper, { step: 2, carts: shopper.carts + 1 });
    else if (action === "order" && shopper.step === 2) {
      Object.assign(shopper, { step: 0, orders: shopper.orders + 1 });
      expected.push(`${user} ${at} ${Math.trunc((at - shopper.since) / 60_000)}`);
    }
  }
  const input = write("funnel.ndjson", ndjson(events));
  const orders = await outputOf("funnel", input);
  assert.ok(orders.length > 500);
  assert.equal(
    orders.map((row) => `${row.user} ${Date.parse(row.at)} ${row.minutes}`).toSorted(),
    expected.toSorted(),
  );
  const rows = await rowsOf("funnel", input, "shoppers");
  for (const [user, { step, views, carts, orders: done }] of shoppers) {
    const row = rows.get(user)!;
    assert.equal([row.step, row.views, row.carts, row.orders], [step, views, carts, done], user);
  }
});

test("trending: posts and users of each tag in the last hour, every ten minutes, as DuckDB has them", async () => {
  const input = write("trending.ndjson", ndjson(shopEvents(20_000)));
  const expected = await duckdb(
    `WITH e AS (SELECT tag, "user" u, epoch_ms("at"::TIMESTAMP) t FROM read_json('${input}')),
     spread AS (SELECT tag, u, (t // 600000 + k) * 600000 AS upto FROM e, range(1, 7) r(k))
     SELECT tag, upto::DOUBLE upto, count(*)::INT posts, count(DISTINCT u)::INT users
     FROM spread GROUP BY tag, upto HAVING count(*) >= 2`,
  );
  const rows = await outputOf("trending", input);
  assert.ok(rows.length > 1000);
  assert.equal(
    rows.map((row) => `${row.tag} ${Date.parse(row.until)} ${row.posts} ${row.users}`).toSorted(),
    expected.map(({ tag, upto, posts, users }) => `${tag} ${upto} ${posts} ${users}`).toSorted(),
  );
});

test.run();
