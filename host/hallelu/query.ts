/**
 * Reads a table out of the shards of a stream. All shards are held at one frame boundary meanwhile, so the answer holds
 * exactly the frames below it: a shard that is behind goes on to the frame of the one that is furthest, and none goes
 * beyond until the last range is rendered.
 */
import { HallelujahError, nearest } from "../core/errors.ts";
import { keyColumns, type Order, orderColumns, parseOrder, rangesFor, splittersOf } from "../kernel/order.ts";
import { parseKey } from "../kernel/keys.ts";
import { partitionOf } from "../kernel/partitions.ts";
import { CSV, JSON_ARRAY, NDJSON } from "../kernel/memory-map.ts";
import type { KernelDescriptor, TableDescriptor } from "../compiler/descriptor.ts";
import type { Answer, QueryRequest } from "./host.ts";
import type { Jah } from "./jahs.ts";
import { type UnavailableShard, wayOut } from "./unavailable.ts";

export const FORMATS = { ndjson: NDJSON, csv: CSV, json: JSON_ARRAY } as const;

export interface Query {
  table: number;
  descriptor: TableDescriptor;
  key: Uint8Array | undefined;
  order: Order;
  limit: number;
  format: (typeof FORMATS)[keyof typeof FORMATS];
}

/** A request as the shards are asked. Throws `table-unknown`, `order-unknown` or `key-invalid`. */
export function planQuery(kernel: KernelDescriptor, stream: string, request: QueryRequest): Query {
  const table = kernel.tables.findIndex(({ name }) => name === request.table);
  if (table < 0) {
    const names = kernel.tables.map(({ name }) => name);
    const meant = nearest(request.table, names);
    const hint = meant ? `; did you mean ${meant}?` : "";
    const has = names.length ? `it has: ${names.join(", ")}` : "its kernel has none; read its output instead";
    throw new HallelujahError("table-unknown", `${stream} has no table ${request.table}${hint}\n${has}`);
  }
  const descriptor = kernel.tables[table];
  return {
    table,
    descriptor,
    key: request.key === undefined ? undefined : parseKey(descriptor.key, request.key),
    order:
      request.order === undefined ? { column: -1, descending: false } : parseOrder(request.order, descriptor),
    limit: request.limit ?? Infinity,
    format: FORMATS[request.format],
  };
}

/**
 * Refuses what would need the state of shards that cannot be had: whole tables, and keys in their partitions; or, without a query, any
 * part of the state. Throws `shard-unavailable`.
 */
export function refuseUnavailable(
  stream: string,
  query: Query | undefined,
  unavailable: UnavailableShard[],
): void {
  const hit = unavailable.filter((shard) => !query?.key || mayHold(shard, query.descriptor, query.key));
  if (!hit.length) return;
  const which = hit.map(({ from, to }) => `${from} to ${to - 1}`).join(" and ");
  const reasons = hit.map(({ reason }) => reason).join("; ");
  const message = `partitions ${which} of ${stream} are unavailable: ${reasons}; what is not in them is answered by key\n${wayOut(stream)}`;
  throw new HallelujahError("shard-unavailable", message);
}

/** Whether a key is of a shard's partitions; modules that do not say how their keys are made may have it there. */
function mayHold(
  { from, to }: UnavailableShard,
  { key: types, windows }: TableDescriptor,
  key: Uint8Array,
): boolean {
  if (windows === undefined && types.length > 1 && types[0] === "Time") return true;
  const partition = partitionOf(types, key, windows ?? false);
  return partition >= from && partition < to;
}

/**
 * Asks the shards; `jahs` are their owners. The answer holds the frames below `least` at least. Resolves when the first
 * rows are known; the shards are held until the rows are read or given up, then `release` is called.
 */
export async function ask(jahs: Jah[], query: Query, least: number, release: () => void): Promise<Answer> {
  let held = false;
  const letGo = () => {
    if (held) for (const jah of jahs) void jah.call("release", undefined).catch(() => {});
    release();
  };
  try {
    held = true;
    const frame = await holdAll(jahs, least);
    return { frame, rows: released(answerOf(jahs, query), letGo) };
  } catch (error) {
    letGo();
    throw error;
  }
}

/** Holds all shards at one frame, which is `least` at least; answers it. */
export async function holdAll(jahs: Jah[], least: number): Promise<number> {
  const now = await Promise.all(jahs.map((jah) => jah.call("hold", { at: -1 })));
  const frame = Math.max(least, ...now.map(({ next }) => next));
  await Promise.all(jahs.map((jah) => jah.call("hold", { at: frame })));
  return frame;
}

/** The first chunk is asked for at once, so that the shards are held as short as can be. */
function released(rows: AsyncGenerator<Uint8Array>, letGo: () => void): AsyncIterable<Uint8Array> {
  let over = false;
  const finish = () => {
    if (!over) letGo();
    over = true;
  };
  const ahead = rows.next();
  ahead.then(({ done }) => done && finish(), finish);
  return {
    async *[Symbol.asyncIterator]() {
      try {
        for (let next = await ahead; !next.done; next = await rows.next()) yield next.value;
      } finally {
        await rows.return(undefined);
        finish();
      }
    },
  };
}

/** The rows of a table, with what stands before and after them in its format. */
export function answerOf(jahs: Asked[], query: Query): AsyncGenerator<Uint8Array> {
  return framed(query, rows(jahs, query));
}

async function* framed(query: Query, rows: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { format, descriptor } = query;
  if (format === CSV) {
    yield Buffer.from(`${["table", ...keyColumns(descriptor.key), ...orderColumns(descriptor)].join(",")}\n`);
  }
  let first = true;
  for await (const chunk of rows) {
    if (!chunk.length) continue;
    // Rows of an array bring the comma before them.
    if (format === JSON_ARRAY && first) yield Buffer.from("[");
    yield format === JSON_ARRAY && first ? chunk.subarray(1) : chunk;
    first = false;
  }
  if (format === JSON_ARRAY) yield Buffer.from(first ? "[]\n" : "\n]\n");
}

/** What holds entries of a table, and can be asked for them. */
export type Asked = Pick<Jah, "call">;

async function* rows(jahs: Asked[], query: Query): AsyncGenerator<Uint8Array> {
  const { table, key, order, limit, format } = query;
  if (!limit) return;
  if (key) {
    const found = await Promise.all(jahs.map((jah) => jah.call("find", { table, key, format })));
    yield* found;
    return;
  }
  const sizes = await Promise.all(jahs.map((jah) => jah.call("size", { table })));
  const entries = sizes.reduce((sum, size) => sum + size.entries, 0);
  const stateBytes = sizes.reduce((sum, size) => sum + size.bytes, 0);
  if (!entries) return;
  const { ranges, most } = rangesFor(entries, stateBytes, limit);
  const samples = most
    ? await Promise.all(jahs.map((jah) => jah.call("sample", { table, ...order, most })))
    : [];
  const splitters = splittersOf(samples, ranges, order);
  await Promise.all(jahs.map((jah) => jah.call("split", { table, ...order, splitters })));
  try {
    let left = limit;
    for (let range = 0; range <= splitters.length && left > 0; range++) {
      const turned = range % jahs.length;
      const others = await Promise.all(
        jahs.map((jah, i) => (i === turned ? [] : jah.call("part", { table, range }))),
      );
      const argument = { table, range, limit: Math.min(left, 0xffffffff), format, others: others.flat() };
      const { chunks, rows: count } = await jahs[turned].call("render", argument);
      yield* chunks;
      left -= count;
    }
  } finally {
    for (const jah of jahs) void jah.call("finish", { table }).catch(() => {});
  }
}
