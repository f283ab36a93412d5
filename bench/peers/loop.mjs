// What one writes in Node without an engine: node loop.mjs csv|parquet FILE > ROWS
import { createReadStream } from "node:fs";
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";

const [figure, file] = process.argv.slice(2);
/** @type {Map<string, {count: number, sum: number, min: number, max: number}>} */
const groups = new Map();

function add(key, value) {
  const group = groups.get(key);
  if (group === undefined) {
    groups.set(key, { count: 1, sum: value, min: value, max: value });
    return;
  }
  group.count++;
  group.sum += value;
  if (value < group.min) group.min = value;
  if (value > group.max) group.max = value;
}

function print(table, field) {
  const byBytes = ([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  const rows = [...groups]
    .sort(byBytes)
    .map(([key, { count, sum, min, max }]) =>
      JSON.stringify({ table, key, [field]: { count, sum, min, max, mean: sum / count } }),
    );
  process.stdout.write(`${rows.join("\n")}\n`);
}

function addLine(line) {
  const delimiter = line.indexOf(";");
  if (delimiter !== -1) add(line.slice(0, delimiter), Number(line.slice(delimiter + 1)));
}

if (figure === "csv") {
  let rest = "";
  for await (const chunk of createReadStream(file, { encoding: "utf8", highWaterMark: 1 << 20 })) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) addLine(line);
  }
  addLine(rest);
  print("stations", "temperature");
} else {
  const buffer = await asyncBufferFromFile(file);
  const metadata = await parquetMetadataAsync(buffer);
  // One row group at a time: the rows of the whole file as objects would not fit a small machine.
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    const columns = ["origin", "delay"];
    const rows = await parquetReadObjects({ file: buffer, metadata, compressors, columns, rowStart, rowEnd });
    for (const { origin, delay } of rows) add(origin, Number(delay));
    rowStart = rowEnd;
  }
  print("origins", "delay");
}
