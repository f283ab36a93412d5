/** Other results from what runs: visits of rows that stay over HTTP, as a kernel and as SQL, beside DuckDB; and how long records wait for a swap. */
import { createReadStream, readFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { buildKernel, sourceFile } from "../host/compiler/cache.ts";
import { planStreamQuery } from "../host/run/stream-query.ts";
import { drained, largeBody, post, startHost, type TestHost } from "./host.ts";
import type { LiveSettings } from "./live.ts";
import { root } from "./paths.ts";
import { alone, beside, type Result } from "./results.ts";
import { quantile } from "./statistics.ts";

export interface ReconfigureSettings extends LiveSettings {
  rows: number;
}

const STREAM = "readings";
const KEEP = `import { Dataset, Text } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
const readings = new Dataset<Reading>("${STREAM}");
export function each(reading: Reading): void { readings.add(reading); }`;
const SQL = `SELECT station, count(*) AS n, sum(temperature) AS total, min(temperature) AS least, max(temperature) AS most
  FROM ${STREAM} GROUP BY station ORDER BY station`;

/** Swaps of a round, and the pause before each, ms; as long is looked at without swaps. */
const SWAPS = 40;
const SWAP_EVERY_MS = 150;

/** All figures. `file` has lines `station;temperature`. */
export async function reconfigure(settings: ReconfigureSettings, file: string): Promise<Result[]> {
  return [...(await visits(settings, file)), ...(await swaps(settings))];
}

async function visits(
  { cli, runs, rows, machine, log }: ReconfigureSettings,
  file: string,
): Promise<Result[]> {
  const host = await startHost(cli);
  try {
    await load(host, file, log);
    const connection = await (await DuckDBInstance.create(":memory:", { threads: "2" })).connect();
    await connection.run(`CREATE TABLE ${STREAM} AS SELECT * FROM read_csv('${file.replaceAll("'", "''")}', delim = ';',
      header = false, auto_detect = false, columns = {'station': 'VARCHAR', 'temperature': 'DOUBLE'})`);
    const kernel = readFileSync(path.join(root, "examples", "stations.ts"), "utf8");
    const found: Record<string, number[]> = { kernel: [], sql: [], duckdb: [] };
    for (let round = 0; round <= runs; round++) {
      const [theirs, duckdb] = await timed(() => inDuckDb(connection));
      const [visited, ours] = await timed(async () =>
        (await host.client.visit<Station>(STREAM, { kernel, order: "key" })).all(),
      );
      compare(
        visited.map(({ key, temperature: { count, sum, min, max } }) => [key, count, sum, min, max]),
        theirs,
      );
      const [answered, sql] = await timed(() => inSql(host));
      compare(answered, theirs);
      log(
        `visits ${round || "warm-up"}: kernel ${ours.toFixed(0)} ms, SQL ${sql.toFixed(0)} ms, duckdb ${duckdb.toFixed(0)} ms`,
      );
      if (!round) continue;
      for (const [name, ms] of Object.entries({ kernel: ours, sql, duckdb }))
        found[name].push(rows / ms / 1000);
    }
    const context = { rows, machine };
    const result = (name: string, values: number[], note: string) =>
      beside(name, "M rows/s", values, { name: "duckdb", values: found.duckdb }, context, note);
    return [
      result(
        "visit-host",
        found.kernel,
        "group-by of a host's resident rows over HTTP, two Jahs and two threads",
      ),
      result("visit-sql", found.sql, "the same as SQL: planned, compiled the first time, and visited"),
    ];
  } finally {
    await host.stop();
  }
}

/** All lines as rows that two Jahs keep. */
async function load(host: TestHost, file: string, log: (line: string) => void): Promise<void> {
  const { client } = host;
  const startedAt = performance.now();
  await client.deploy(STREAM, { kernel: KEEP, min: 1, max: 2 });
  await client.push(STREAM, createReadStream(file), {
    format: "csv",
    delimiter: ";",
    columns: ["station", "temperature"],
  });
  await drained(client, STREAM);
  await client.change(STREAM, { min: 2, shards: 2 });
  while ((await client.stream(STREAM)).shards.length < 2) await sleep(50);
  await drained(client, STREAM);
  log(`visits: loaded in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
}

/** What comes of it, and how long it takes, ms. */
async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const startedAt = performance.now();
  const value = await work();
  return [value, performance.now() - startedAt];
}

interface Station {
  key: string;
  temperature: { count: number; sum: number; min: number; max: number };
}

async function inDuckDb(connection: DuckDBConnection): Promise<unknown[][]> {
  const reader = await connection.runAndReadAll(SQL.replace("count(*)", "count(*)::DOUBLE"));
  return reader.getRows() as unknown[][];
}

/** As `hallelujah query` does it. */
async function inSql({ client }: TestHost): Promise<unknown[][]> {
  const { datasets = [] } = await client.stream(STREAM);
  const { dataset, planned } = await planStreamQuery(STREAM, { datasets }, SQL);
  const { kernel, bounds } = planned;
  const rows: unknown[][] = [];
  const visit = await client.visit<Record<string, unknown>>(STREAM, { kernel, dataset, bounds });
  for await (const row of planned.finish(visit)) rows.push(row);
  return rows;
}

function compare(ours: unknown[][], theirs: unknown[][]): void {
  if (ours.length !== theirs.length) throw new Error(`visits: ${ours.length} groups, and ${theirs.length}`);
  for (const [i, row] of ours.entries()) {
    const near = (a: unknown, b: unknown) =>
      typeof a === "string"
        ? a === b
        : Math.abs(Number(a) - Number(b)) < 1e-9 * Math.max(1e6, Math.abs(Number(b)));
    if (!row.every((value, at) => near(value, theirs[i][at])))
      throw new Error(`visits: ${row.join(", ")} where DuckDB says ${theirs[i].join(", ")}`);
  }
}

// --- swaps -------------------------------------------------------------------------------------------------------

/**
 * The longest gap between two answers of a query by key, each behind a record of its own, in the time of a swap under a steady load; and in
 * times as long in which nothing is swapped.
 */
async function swaps({ cli, runs, machine, log }: ReconfigureSettings): Promise<Result[]> {
  const example = readFileSync(path.join(root, "examples", "stations.ts"), "utf8");
  const wasm = await Promise.all(
    [example, `${example}\n// another\n`].map(async (source) =>
      readFileSync((await buildKernel(sourceFile("swap", source))).path),
    ),
  );
  const found: Record<string, number[]> = { swapped: [], quiet: [], pauses: [] };
  for (let round = 0; round <= runs; round++) {
    const host = await startHost(cli);
    try {
      await host.client.deploy("load", { kernel: wasm[0], max: 1 });
      const quiet = await gaps(host, () => sleep(2));
      let swapped = 0;
      const during = await gaps(host, () => host.client.swap("load", { kernel: wasm[++swapped % 2] }));
      found.pauses.push(...(await pauses(host, wasm)));
      const [p99, without] = [during, quiet].map((each) => quantile(each, 0.99));
      log(`swaps ${round || "warm-up"}: p99 ${p99.toFixed(1)} ms, without ${without.toFixed(1)} ms`);
      if (!round) continue;
      found.swapped.push(p99);
      found.quiet.push(without);
    } finally {
      await host.stop();
    }
  }
  return [
    alone(
      "swap-pause",
      [quantile(found.pauses, 0.99)],
      "ms",
      { rows: null, machine },
      `p99 of ${found.pauses.length} swaps at full load: time for which the shard applied nothing`,
    ),
    beside(
      "swap-gap",
      "ms",
      found.swapped,
      { name: "no-swap", values: found.quiet },
      { rows: null, machine },
      "p99 of the longest gap between two answers while a kernel is swapped, under a steady load",
    ),
  ];
}

/** Of swaps while four clients push all that is taken in, the time for which the shard applied nothing, ms. */
async function pauses({ client, port }: TestHost, wasm: Uint8Array[]): Promise<number[]> {
  const { body } = largeBody();
  let over = false;
  const pushing = Array.from({ length: 4 }, async () => {
    while (!over) if ((await post(port, "load", body)) !== 200) await sleep(20);
  });
  const first = (await client.versions("load")).length;
  for (let i = 0; i < SWAPS; i++) {
    await sleep(SWAP_EVERY_MS);
    await client.swap("load", { kernel: wasm[(first + i) % 2] });
  }
  over = true;
  await Promise.all(pushing);
  const swapped = (await client.versions("load")).slice(first);
  if (swapped.some(({ pauseMs }) => pauseMs === undefined)) throw new Error("swaps: a pause is not known");
  return swapped.map(({ pauseMs }) => pauseMs!);
}

/** The longest gap in each of the times in which `happens` is at work, ms. */
async function gaps({ client, port }: TestHost, happens: () => Promise<unknown>): Promise<number[]> {
  const { body } = largeBody();
  const one = Buffer.from('{"station":"seen","temperature":1}\n');
  let over = false;
  /** Of each answer, when it came. */
  const answers: number[] = [performance.now()];
  const asking = (async () => {
    while (!over) {
      await post(port, "load", one);
      await (await client.query("load", "stations", { key: "seen" })).all();
      answers.push(performance.now());
    }
  })();
  // Half of what a host takes in.
  const loading = (async () => {
    for (let due = performance.now(); !over; due += 20) {
      await post(port, "load", body);
      await sleep(Math.max(0, due - performance.now()));
    }
  })();
  const longest: number[] = [];
  for (let i = 0; i < SWAPS; i++) {
    await sleep(SWAP_EVERY_MS);
    const from = performance.now();
    await happens();
    const to = performance.now();
    await sleep(SWAP_EVERY_MS / 3);
    const between = answers.map((at, k) => ({ from: answers[k - 1] ?? at, to: at }));
    const touched = between.filter((gap) => gap.to > from && gap.from < to + SWAP_EVERY_MS / 3);
    longest.push(Math.max(0, ...touched.map((gap) => gap.to - gap.from)));
  }
  over = true;
  await Promise.all([asking, loading]);
  return longest;
}
