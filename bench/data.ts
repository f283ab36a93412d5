import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { ByteSink, putInteger, putTenths } from "./bytes.ts";
import { dataFolder, stationsFile } from "./paths.ts";
import { Random } from "./random.ts";

/** Part of every file's identity: raise it when a change here changes a byte of what is written. */
const GENERATOR_VERSION = 1;
const SEED = 20_260_101;
export const ROWS_DEFAULT = 30_000_000;
/** Rows of the file that measures start-up: long enough to be an input, too short to take time. */
const START_ROWS = 10;

/** What the manifest holds of one file; a file is used again only when all of it still holds. */
interface FileFacts {
  version: number;
  seed: number;
  rows: number;
  bytes: number;
  /** Distinct keys really drawn. */
  keysDistinct: number;
}

export interface DataSet {
  stationsCsv: string;
  stationsNdjson: string;
  keysCsv: string;
  startCsv: string;
}

type Generator = (file: string, rows: number) => Omit<FileFacts, "version" | "seed">;

/**
 * The input files for `rows` rows, written when absent or not as the manifest beside them says. The default
 * size lies in bench/data itself, other sizes in folders of their own, so that a small trial never costs
 * the large files.
 */
export function ensureData(rows: number, wanted: (keyof DataSet)[], log: (line: string) => void): DataSet {
  const folder = dataFolder(rows, ROWS_DEFAULT);
  mkdirSync(folder, { recursive: true });
  const files: Record<keyof DataSet, [string, Generator, number]> = {
    stationsCsv: ["stations.csv", writeStationsCsv, rows],
    stationsNdjson: ["stations.ndjson", writeStationsNdjson, rows],
    keysCsv: ["keys.csv", writeKeysCsv, rows],
    startCsv: ["start.csv", writeStationsCsv, START_ROWS],
  };
  const manifestFile = path.join(folder, "manifest.json");
  const manifest: Record<string, FileFacts> = existsSync(manifestFile)
    ? JSON.parse(readFileSync(manifestFile, "utf8"))
    : {};
  for (const name of wanted) {
    const [base, generate, fileRows] = files[name];
    const file = path.join(folder, base);
    if (isCurrent(file, manifest[base], fileRows)) continue;
    const start = performance.now();
    delete manifest[base];
    manifest[base] = { version: GENERATOR_VERSION, seed: SEED, ...generate(file, fileRows) };
    writeFileSync(manifestFile, `${JSON.stringify(manifest, null, 2)}\n`);
    const { bytes, keysDistinct } = manifest[base];
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    log(`${base}: ${fileRows} rows, ${(bytes / 1e6).toFixed(1)} MB, ${keysDistinct} keys (${seconds} s)`);
  }
  const at = (name: keyof DataSet) => path.join(folder, files[name][0]);
  return {
    stationsCsv: at("stationsCsv"),
    stationsNdjson: at("stationsNdjson"),
    keysCsv: at("keysCsv"),
    startCsv: at("startCsv"),
  };
}

function isCurrent(file: string, facts: FileFacts | undefined, rows: number): boolean {
  if (facts === undefined || !existsSync(file)) return false;
  const same = facts.version === GENERATOR_VERSION && facts.seed === SEED && facts.rows === rows;
  return same && statSync(file).size === facts.bytes;
}

/** `station;-12.3`, no header. */
function writeStationsCsv(file: string, rows: number): ReturnType<Generator> {
  const readings = new Readings();
  const prefixes = readings.names.map((name) => Buffer.from(`${name};`));
  const sink = new ByteSink(file);
  for (let row = 0; row < rows; row++) {
    readings.next();
    sink.reserve();
    sink.put(prefixes[readings.station]);
    sink.end = putTenths(sink.bytes, sink.end, readings.tenths);
    sink.bytes[sink.end++] = 10;
  }
  return { rows, bytes: sink.close(), keysDistinct: readings.distinct() };
}

/** The rows of the CSV in the same order, with two further fields that the question does not need. */
function writeStationsNdjson(file: string, rows: number): ReturnType<Generator> {
  const readings = new Readings();
  const id = Buffer.from(`{"id":`);
  const middles = readings.names.map((name) =>
    Buffer.from(`,"station":${JSON.stringify(name)},"temperature":`),
  );
  const yes = Buffer.from(`,"ok":true}\n`);
  const no = Buffer.from(`,"ok":false}\n`);
  const sink = new ByteSink(file);
  for (let row = 0; row < rows; row++) {
    readings.next();
    sink.reserve();
    sink.put(id);
    sink.end = putInteger(sink.bytes, sink.end, row);
    sink.put(middles[readings.station]);
    sink.end = putTenths(sink.bytes, sink.end, readings.tenths);
    sink.put(row % 16 === 15 ? no : yes);
  }
  return { rows, bytes: sink.close(), keysDistinct: readings.distinct() };
}

/**
 * `key,value` with a header: a third as many possible keys as rows, so each comes about three times, in no
 * order.
 */
function writeKeysCsv(file: string, rows: number): ReturnType<Generator> {
  const random = new Random(SEED, 2);
  const keysPossible = Math.max(1, Math.round(rows / 3));
  const seen = new Uint8Array(keysPossible);
  let keysDistinct = 0;
  const sink = new ByteSink(file);
  sink.put(Buffer.from("key,value\n"));
  for (let row = 0; row < rows; row++) {
    // 32 bits times 10 M does not fit a double's 53, so the draw is reduced to 29 bits first.
    const key = Math.floor(((random.bits() >>> 3) * keysPossible) / 0x2000_0000);
    keysDistinct += 1 - seen[key];
    seen[key] = 1;
    sink.reserve();
    sink.end = putInteger(sink.bytes, sink.end, key);
    sink.bytes[sink.end++] = 44;
    sink.end = putTenths(sink.bytes, sink.end, random.normal(250));
    sink.bytes[sink.end++] = 10;
  }
  return { rows, bytes: sink.close(), keysDistinct };
}

/** The sequence of readings that the CSV and the NDJSON share. */
class Readings {
  readonly names = readFileSync(stationsFile, "utf8").trimEnd().split("\n");
  /** Index of the station of the current reading. */
  station = 0;
  /** Its temperature in tenths of a degree. */
  tenths = 0;
  readonly #means: number[];
  readonly #seen: Uint8Array;
  readonly #random = new Random(SEED, 1);

  constructor() {
    const climate = new Random(SEED, 0);
    this.#means = this.names.map(() => 120 + climate.normal(100));
    this.#seen = new Uint8Array(this.names.length);
  }

  next(): void {
    this.station = this.#random.below(this.names.length);
    this.tenths = this.#means[this.station] + this.#random.normal(100);
    this.#seen[this.station] = 1;
  }

  distinct(): number {
    return this.#seen.reduce((sum, one) => sum + one, 0);
  }
}
