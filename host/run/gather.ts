/**
 * Reads the tables out of the Jahs, in order: sampled keys give the borders of ranges, each range is sorted and
 * rendered by one Jah, and the ranges are written one after the other while the next ones are in work.
 */
import { RANGES_AHEAD } from "../core/limits.ts";
import { type Order, rangesFor, splittersOf } from "../kernel/order.ts";
import type { Jah } from "./jahs.ts";

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
  const { ranges: wanted, most } = rangesFor(entries, request.stateBytes, request.limit);
  const samples = most ? await Promise.all(jahs.map((jah) => jah.call("sample", { table, most }))) : [];
  const splitters = splittersOf(samples, wanted, order);
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
