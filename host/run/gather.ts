/**
 * Reads the tables out of the Jahs, in order: sampled keys give the borders of ranges, each range is sorted and
 * rendered by one Jah, and the ranges are written one after the other while the next ones are in work.
 */
import { HallelujahError, nearest } from "../core/errors.ts";
import { RANGE_BYTES, RANGE_ROWS, RANGES_AHEAD } from "../core/limits.ts";
import type { TableDescriptor } from "../compiler/descriptor.ts";
import type { Jah } from "./jahs.ts";

/** Sampled keys for each border: more of them make ranges of more even size. */
const SAMPLES_PER_RANGE = 16;
const RANGES_MAX = 4096;

export interface Order {
  column: number;
  descending: boolean;
}

/** The columns of a table by which rows can be ordered: `temperature.mean`, `flights`. */
export function orderColumns(table: TableDescriptor): string[] {
  return table.fields.flatMap(({ name, columns }) =>
    columns.length ? columns.map((column) => `${name}.${column}`) : [name],
  );
}

/** Reads `-temperature.mean`, `key` or `-key`. */
export function parseOrder(text: string, table: TableDescriptor): Order {
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

export interface GatherRequest {
  table: number;
  order: Order;
  limit: number;
  entries: number;
  /** Bytes of all arenas, from which the size of an entry is known roughly. */
  stateBytes: number;
  /** Whether a row was written before this table's first. */
  written: boolean;
}

/** Writes the rows of one table through `write`; returns how many there were. */
export async function gather(
  jahs: Jah[],
  request: GatherRequest,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<number> {
  const { table, order, entries } = request;
  if (!entries || !request.limit) return 0;
  await Promise.all(jahs.map((jah) => jah.call("order", { table, ...order })));
  const splitters = await findSplitters(jahs, request);
  await Promise.all(jahs.map((jah) => jah.call("split", { table, splitters })));
  const ranges = splitters.length + 1;

  // With a limit the first ranges are enough, so they are read one by one.
  const ahead = request.limit === Infinity ? jahs.length * RANGES_AHEAD : 0;
  const asked: Promise<{ rows: number }>[] = [];
  let left = request.limit;
  let rows = 0;
  let first = !request.written;
  for (let range = 0; range < ranges && left > 0; range++) {
    while (asked.length <= Math.min(range + ahead, ranges - 1)) {
      const next = asked.length;
      const owner = next % jahs.length;
      const argument = { table, range: next, owner, limit: Math.min(left, 0xffffffff) };
      const answers = jahs.map((jah) => jah.call("range", argument));
      asked.push(answers[owner]);
    }
    const rendered = await asked[range];
    const { bytes } = await jahs[range % jahs.length].call("write", { range, first });
    for (const chunk of bytes) await write(chunk);
    if (rendered.rows) first = false;
    rows += rendered.rows;
    left -= rendered.rows;
  }
  return rows;
}

interface Sample {
  bytes: Uint8Array;
  primary: bigint;
  key: Buffer;
}

async function findSplitters(
  jahs: Jah[],
  { table, order, entries, stateBytes, limit }: GatherRequest,
): Promise<Uint8Array[]> {
  const rowsMax = Math.max(16, Math.min(RANGE_ROWS, Math.floor(RANGE_BYTES / (stateBytes / entries))));
  const wanted = Math.min(RANGES_MAX, Math.ceil(entries / rowsMax), limit < entries ? RANGES_MAX : Infinity);
  if (wanted <= 1) return [];
  const most = wanted * SAMPLES_PER_RANGE;
  const answers = await Promise.all(jahs.map((jah) => jah.call("sample", { table, most })));
  const samples = answers.flatMap(readSamples);
  const turned = order.column < 0 && order.descending ? -1 : 1;
  samples.sort((a, b) =>
    a.primary === b.primary ? turned * Buffer.compare(a.key, b.key) : a.primary < b.primary ? -1 : 1,
  );
  const splitters: Uint8Array[] = [];
  for (let i = 1; i < wanted; i++) splitters.push(samples[Math.floor((i * samples.length) / wanted)].bytes);
  return splitters;
}

/** The samples of one Jah: { u64 primary, u32 length, u32 0, key bytes padded to 8 } each; see Table.sample. */
function readSamples(bytes: Uint8Array): Sample[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples: Sample[] = [];
  for (let at = 0; at < buffer.length; ) {
    const length = buffer.readUInt32LE(at + 8);
    const end = at + 16 + Math.ceil(length / 8) * 8;
    samples.push({
      bytes: buffer.subarray(at, end),
      primary: buffer.readBigUInt64LE(at),
      key: buffer.subarray(at + 16, at + 16 + length),
    });
    at = end;
  }
  return samples;
}
