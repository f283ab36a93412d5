/**
 * Visits of resident rows beside DuckDB over a table in memory, both in this process and on one thread each: what the kernels do, without
 * a host around them.
 */
import { mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { type BuiltKernel, buildKernel } from "../host/compiler/cache.ts";
import { csvShape } from "../host/input/csv-header.ts";
import { visitFieldsOf } from "../host/input/plan.ts";
import { Answers } from "../host/jah/answers.ts";
import { Mapper } from "../host/jah/mapper.ts";
import { Owner } from "../host/jah/owner.ts";
import { VisitResult, Visitor } from "../host/jah/visit.ts";
import { createMemory, KernelInstance } from "../host/kernel/instance.ts";
import type { Bounds, RowSet, VisitField } from "../host/kernel/rows.ts";
import * as map from "../host/kernel/memory-map.ts";
import type { Visited } from "../host/wire/visit.ts";
import { decodeBatch, encodeBatch, ROUTED } from "../host/wire/batch.ts";
import { benchFolder, root } from "./paths.ts";
import { beside, type Context, type Result } from "./results.ts";

const FRAME_BYTES = 512 * 1024;
const DELIMITER = 0x3b;
/** As a host builds kernels that visit. */
const VISIT = { target: "visit" } as const;
const STATE_BYTES = 3500 * 2 ** 20;

export interface VisitSettings {
  runs: number;
  rows: number;
  machine: Context["machine"];
  log: (line: string) => void;
}

interface Loaded {
  memory: WebAssembly.Memory;
  dataset: RowSet;
}

/** All figures of visits. `file` has lines `station;temperature`. */
export async function visit({ runs, rows, machine, log }: VisitSettings, file: string): Promise<Result[]> {
  const loaded = await load(file, log);
  const group = kernelAt(await buildKernel(path.join(root, "examples", "stations.ts"), VISIT));
  const folder = mkdtempSync(path.join(tmpdir(), "hallelujah-bench-"));
  const [from, to] = [Math.floor(rows * 0.495), Math.floor(rows * 0.505)];
  const between = path.join(folder, "between.ts");
  writeFileSync(between, betweenKernel(from, to));
  const select = kernelAt(await buildKernel(between, VISIT));
  rmSync(folder, { recursive: true });
  const connection = await (await DuckDBInstance.create(":memory:", { threads: "1" })).connect();
  await connection.run(`CREATE TABLE readings AS SELECT * FROM read_csv('${file.replaceAll("'", "''")}', delim = ';',
    header = false, auto_detect = false, columns = {'station': 'VARCHAR', 'temperature': 'DOUBLE'})`);
  const found: Record<string, number[]> = { ours: [], duckdb: [], full: [], some: [] };
  for (let round = 0; round <= runs; round++) {
    const ours = await run(loaded, group);
    const startedAt = performance.now();
    const reader =
      await connection.runAndReadAll(`SELECT station, count(*)::DOUBLE, sum(temperature), min(temperature),
      max(temperature) FROM readings GROUP BY station ORDER BY station`);
    const duckdbMs = performance.now() - startedAt;
    compare(ours.rows, reader.getRows() as unknown[][]);
    const full = await run(loaded, select);
    const bounds = [{ field: "n", least: from, greatest: to - 1 }];
    const some = await run(loaded, select, bounds);
    if (full.rows.join() !== some.rows.join())
      throw new Error("visit: the answer depends on what is passed over");
    log(
      `visit ${round || "warm-up"}: ${ours.ms.toFixed(0)} ms, duckdb ${duckdbMs.toFixed(0)} ms; filter ${some.ms.toFixed(0)} of ${full.ms.toFixed(0)} ms`,
    );
    if (!round) continue;
    const rate = (ms: number) => rows / ms / 1000;
    found.ours.push(rate(ours.ms));
    found.duckdb.push(rate(duckdbMs));
    found.full.push(rate(full.ms));
    found.some.push(rate(some.ms));
  }
  const context = { rows, machine };
  const result = (name: string, ours: string, peer: string, as: string, note: string) =>
    beside(name, "M rows/s", found[ours], { name: as, values: found[peer] }, context, note);
  return [
    result(
      "visit",
      "ours",
      "duckdb",
      "duckdb",
      "group-by over resident rows, one thread each, in one process",
    ),
    result(
      "visit-filter",
      "some",
      "full",
      "full-scan",
      "1 % by a sorted column, beside the same without bounds",
    ),
  ];
}

/** A kernel over the readings of these numbers. Its sums are of integers, so that they are the same however rows are put together. */
function betweenKernel(from: number, to: number): string {
  return `import { Stats, Table, Text } from "hallelujah";
@record class Reading { station: Text; n: i32 }
@state class Numbers { n: Stats }
const stations = new Table<Text, Numbers>("stations");
export function each(reading: Reading): void {
  if (reading.n >= ${from} && reading.n < ${to}) stations.at(reading.station).n.add(reading.n);
}`;
}

/** Keeps all lines as rows, numbered. */
async function load(file: string, log: (line: string) => void): Promise<Loaded> {
  const built = await buildKernel(path.join(benchFolder, "kernels", "readings.ts"));
  const memory = createMemory(STATE_BYTES);
  const kernel = new KernelInstance(new WebAssembly.Module(readFileSync(built.path)), memory);
  kernel.exports.start(map.NDJSON, 0x2c);
  const { fields } = built.descriptor.input;
  const columns = fields.map(({ source }) => source);
  const { plan } = csvShape("readings", Buffer.from("a;1;0\n"), fields, { delimiter: DELIMITER, columns });
  const source = { format: "csv" as const, size: 0, dataStart: 0, delimiter: DELIMITER, plan };
  const mapper = new Mapper(kernel, [source], 1, [], FRAME_BYTES);
  const owner = new Owner(kernel);
  const startedAt = performance.now();
  let frame = 0;
  for (const bytes of numbered(file)) {
    const { parts, done } = await mapper.map(
      { kind: "bytes", frame, source: 0, offset: 0, bytes },
      undefined,
    );
    const head = { kind: ROUTED, frame, source: 0, start: 0, end: 0, time: done.time, clock: 0 };
    owner.apply(decodeBatch(encodeBatch(head, parts[0])));
    frame++;
  }
  const mb = (kernel.arenaEnd - map.ARENA) / 1e6;
  log(
    `visit: ${mb.toFixed(0)} MB of rows loaded in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`,
  );
  const [{ name, fields: kept }] = built.descriptor.datasets!;
  return { memory, dataset: { number: 0, name, fields: kept } };
}

/** The lines of a file with their numbers behind them, in frames. */
function* numbered(file: string): Generator<Buffer> {
  const handle = openSync(file, "r");
  const piece = Buffer.alloc(FRAME_BYTES * 0.7);
  let rest = "";
  let n = 0;
  for (let read = 0; (read = readSync(handle, piece)) > 0; ) {
    const lines = (rest + piece.toString("latin1", 0, read)).split("\n");
    rest = lines.pop()!;
    yield Buffer.from(lines.map((line) => `${line};${n++}\n`).join(""), "latin1");
  }
}

/** A kernel as a Jah keeps it: the code of its module is optimised while it is visited with, and stays so. */
interface Kernel {
  module: WebAssembly.Module;
  fields: VisitField[];
}

function kernelAt({ path: file, descriptor }: BuiltKernel): Kernel {
  return { module: new WebAssembly.Module(readFileSync(file)), fields: visitFieldsOf(descriptor) };
}

async function run(
  { memory, dataset }: Loaded,
  { module, fields }: Kernel,
  bounds: Bounds[] = [],
): Promise<{ ms: number; rows: string[] }> {
  const startedAt = performance.now();
  const visitor = new Visitor(memory, module, { over: { dataset }, fields, from: 0, to: 256, bounds });
  const result = new VisitResult(module, createMemory(256 << 20));
  const take = (visited: Visited) => void result.take(visited);
  while (visitor.step(() => false, take));
  const rows = rowsOf(result.kernel);
  return { ms: performance.now() - startedAt, rows };
}

function rowsOf(kernel: KernelInstance): string[] {
  const answers = new Answers(() => kernel);
  answers.perform("split", { table: 0, column: -1, descending: false, splitters: [] });
  const render = { table: 0, range: 0, limit: 1e9, format: map.NDJSON, others: [] };
  const { chunks } = answers.perform("render", render) as { chunks: Uint8Array[] };
  answers.perform("finish", { table: 0 });
  return Buffer.concat(chunks).toString().split("\n").filter(Boolean);
}

function compare(ours: string[], theirs: unknown[][]): void {
  if (ours.length !== theirs.length) throw new Error(`visit: ${ours.length} groups, and ${theirs.length}`);
  ours.forEach((line, i) => {
    const { key, temperature } = JSON.parse(line);
    const [station, count, sum, min, max] = theirs[i];
    const same = key === station && temperature.count === count && temperature.min === min;
    const near = Math.abs(temperature.sum - (sum as number)) < 1e-9 * Math.max(1, temperature.count * 100);
    if (!same || temperature.max !== max || !near) throw new Error(`visit: ${line} and ${String(theirs[i])}`);
  });
}
