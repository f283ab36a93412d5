/**
 * How the rows of tables are read in order: which columns there are, and by which sampled keys the entries of several
 * Jahs are split into ranges that are sorted and rendered one by one.
 */
import { HallelujahError, nearest } from "../core/errors.ts";
import { RANGE_BYTES, RANGE_ROWS } from "../core/limits.ts";

/** Sampled keys for each border: more of them make ranges of more even size. */
const SAMPLES_PER_RANGE = 16;
const RANGES_MAX = 4096;
/** Bytes of a key by which ranges are told apart: all splitters together must fit the input window of a Jah. */
const SPLITTER_KEY_BYTES = 4096;
const SAMPLE_HEADER = 16;

export interface Order {
  /** Number of the column; -1 for the key. */
  column: number;
  descending: boolean;
}

interface Columns {
  name: string;
  key: string[];
  fields: { name: string; columns: string[] }[];
}

/** The columns of a table by which rows can be ordered: `temperature.mean`, `flights`. */
export function orderColumns(table: Columns): string[] {
  return table.fields.flatMap(({ name, columns }) =>
    columns.length ? columns.map((column) => `${name}.${column}`) : [name],
  );
}

/** Names of a table's key in CSV: `key`, or `key.0`, `key.1` of a tuple. */
export function keyColumns(key: string[]): string[] {
  return key.length === 1 ? ["key"] : key.map((_, i) => `key.${i}`);
}

/** Reads `-temperature.mean`, `key` or `-key`. */
export function parseOrder(text: string, table: Columns): Order {
  const descending = text.startsWith("-");
  const path = text.replace(/^[-+]/, "");
  if (path === "key") return { column: -1, descending };
  const columns = orderColumns(table);
  const column = columns.indexOf(path);
  if (column >= 0) return { column, descending };
  const only = columns.filter((candidate) => candidate.split(".")[0] === path);
  const meant = only[0] ?? nearest(path, [...columns, "key"]);
  const hint = meant ? `; did you mean ${meant}?` : "";
  const message = `${table.name} cannot be ordered by ${path}${hint}\nit has: key, ${columns.join(", ")}`;
  throw new HallelujahError("order-unknown", message);
}

/** Into how many ranges a result is split, and how many keys each Jah samples for that; 1 and 0 for a small one. */
export function rangesFor(
  entries: number,
  stateBytes: number,
  limit: number,
): { ranges: number; most: number } {
  if (!entries) return { ranges: 1, most: 0 };
  const rowsMax = Math.max(16, Math.min(RANGE_ROWS, Math.floor(RANGE_BYTES / (stateBytes / entries))));
  const ranges = Math.min(RANGES_MAX, Math.ceil(entries / rowsMax), limit < entries ? RANGES_MAX : Infinity);
  return ranges <= 1 ? { ranges: 1, most: 0 } : { ranges, most: ranges * SAMPLES_PER_RANGE };
}

interface Sample {
  bytes: Uint8Array;
  primary: bigint;
  key: Buffer;
}

/** The borders between `ranges` ranges, from the samples of all Jahs. Throws `samples-invalid`. */
export function splittersOf(answers: Uint8Array[], ranges: number, order: Order): Uint8Array[] {
  const samples = answers.flatMap(readSamples);
  const turned = order.column < 0 && order.descending ? -1 : 1;
  samples.sort((a, b) =>
    a.primary === b.primary ? turned * Buffer.compare(a.key, b.key) : a.primary < b.primary ? -1 : 1,
  );
  if (!samples.length) return [];
  const splitters: Uint8Array[] = [];
  for (let i = 1; i < ranges; i++)
    splitters.push(splitterOf(samples[Math.floor((i * samples.length) / ranges)]));
  return splitters;
}

/** A sample as a border. The start of a long key is a border as good as all of it. */
function splitterOf({ bytes, key }: Sample): Uint8Array {
  if (key.length <= SPLITTER_KEY_BYTES) return bytes;
  const short = Buffer.from(bytes.subarray(0, SAMPLE_HEADER + SPLITTER_KEY_BYTES));
  short.writeUInt32LE(SPLITTER_KEY_BYTES, 8);
  return short;
}

/**
 * The samples of one Jah: { u64 primary, u32 length, u32 0, key bytes padded to 8 } each; see Table.sample. Throws
 * `samples-invalid`.
 */
function readSamples(bytes: Uint8Array): Sample[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples: Sample[] = [];
  for (let at = 0; at < buffer.length; ) {
    const length = at + SAMPLE_HEADER > buffer.length ? Infinity : buffer.readUInt32LE(at + 8);
    const end = at + SAMPLE_HEADER + Math.ceil(length / 8) * 8;
    if (end > buffer.length)
      throw new HallelujahError(
        "samples-invalid",
        `the keys that a Jah sampled cannot be read at byte ${at}`,
      );
    samples.push({
      bytes: buffer.subarray(at, end),
      primary: buffer.readBigUInt64LE(at),
      key: buffer.subarray(at + SAMPLE_HEADER, at + SAMPLE_HEADER + length),
    });
    at = end;
  }
  return samples;
}
