import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { binaryFolder, flightsFile, peersFolder } from "./paths.ts";
import type { Format } from "./rows.ts";

/** One side of a comparison: a command that is started anew for every run. */
export interface Contender {
  name: string;
  command: string[];
  /** How it writes its answer; null when it has none to compare. */
  format: Format | null;
  /** Where the command itself writes the answer, if not to standard output. */
  answerFile?: string;
  /** Takes part in the first rounds only, without a warm-up: for what is too slow to wait for. */
  runsMax?: number;
}

/** The questions that have a kernel: its file, and what the CLI must be told of the input. */
export const kernels = {
  csv: { file: "examples/stations.ts", flags: ["--delimiter", ";", "--columns", "station,temperature"] },
  ndjson: { file: "examples/stations.ts", flags: [] },
  keys: { file: "bench/kernels/keys.ts", flags: [] },
  parquet: { file: "examples/flights.ts", flags: [] },
};
export type Question = keyof typeof kernels;

export function hallelujah(cli: string, question: Question, input: string, jahs: number): Contender {
  const { file, flags } = kernels[question];
  // Ten million rows are compared as CSV, as DuckDB's COPY writes them; the rest as NDJSON.
  const format: Format = question === "keys" ? "csv" : "ndjson";
  const words = ["run", file, input, "--format", format, ...flags, "--jahs", String(jahs)];
  return { name: "hallelujah", command: [process.execPath, cli, ...words], format };
}

export function duckdb(question: Question, input: string, outFolder: string): Contender {
  const command = [process.execPath, path.join(peersFolder, "duckdb.mjs"), question, input];
  if (question !== "keys") return { name: "duckdb", command, format: "ndjson" };
  const answerFile = path.join(outFolder, "keys-duckdb-copy.csv");
  return { name: "duckdb", command: [...command, answerFile], format: "csv", answerFile };
}

export function loop(question: "csv" | "parquet", input: string): Contender {
  const command = [process.execPath, path.join(peersFolder, "loop.mjs"), question, input];
  return { name: "loop", command, format: "ndjson" };
}

/** The C program with so many processes; undefined where no C compiler is installed. */
export function c(input: string, processes: number): Contender | undefined {
  const binary = compiled("groupby.c");
  if (binary === undefined) return undefined;
  return { name: "c", command: [binary, input, String(processes)], format: "ndjson" };
}

/** A Node that does nothing: the part of our start that no engine on Node can avoid. */
export const emptyNode: Contender = { name: "node", command: [process.execPath, "-e", "0"], format: null };

/** Says what is missing before anything is measured. */
export function checkFlights(): void {
  if (!existsSync(flightsFile)) throw new Error(`${flightsFile} does not exist: npm install vega-datasets`);
}

function compiled(source: string): string | undefined {
  const sourceFile = path.join(peersFolder, source);
  const binary = path.join(binaryFolder, path.basename(source, ".c"));
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(sourceFile).mtimeMs) return binary;
  mkdirSync(binaryFolder, { recursive: true });
  const result = spawnSync("cc", ["-O3", "-march=native", "-o", binary, sourceFile], { encoding: "utf8" });
  if (result.error !== undefined) return undefined; // no cc
  if (result.status !== 0) throw new Error(`cc ${sourceFile}: ${result.stderr}`);
  return binary;
}
