import path from "node:path";
import { fileURLToPath } from "node:url";

/** The repository, wherever the bench is started from. */
export const root = path.resolve(fileURLToPath(import.meta.url), "../..");
export const benchFolder = path.join(root, "bench");
export const peersFolder = path.join(benchFolder, "peers");
export const stationsFile = path.join(benchFolder, "stations.txt");
/** Binaries compiled for the bench; inside the folder that git ignores. */
export const binaryFolder = path.join(benchFolder, "data", "bin");
/** 3,000,000 real flights, 13 MB; comes with the development dependency vega-datasets. */
export const flightsFile = path.join(root, "node_modules/vega-datasets/data/flights-3m.parquet");

export function dataFolder(rows: number, rowsDefault: number): string {
  const folder = path.join(benchFolder, "data");
  return rows === rowsDefault ? folder : path.join(folder, `rows-${rows}`);
}

/**
 * Only the full size writes results that are kept: a trial of a thousand rows says nothing about the bars.
 */
export function resultsFolder(rows: number, rowsDefault: number): string {
  if (rows === rowsDefault) return path.join(benchFolder, "results");
  return path.join(dataFolder(rows, rowsDefault), "results");
}
