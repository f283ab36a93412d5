/** What rows say of the numbers from 0 on that they were made of: how many there are of each producer. */
import { type Counts, Differences } from "./handled.ts";

// biome-ignore lint/suspicious/noExplicitAny: rows are whatever the kernels make
export type Row = any;

/**
 * Rows that keep count, sum, least and greatest of the numbers by key, where number n of a producer has the key n modulo
 * `keys`. How many numbers there are of each producer; throws unless they are the first so many.
 */
export function series(rows: Row[], keys: number, read: (row: Row) => (number | undefined)[]): Counts {
  const counts: Counts = new Map();
  const found = rows.map((row) => {
    const [producer, key] = (row.key as string).split("-");
    const values = read(row);
    counts.set(producer, (counts.get(producer) ?? 0) + values[0]!);
    return { row, producer, key: Number(key), values };
  });
  const wrong = new Differences();
  for (const { row, producer, key, values } of found) {
    const count = Math.max(0, Math.ceil((counts.get(producer)! - key) / keys));
    const last = key + (count - 1) * keys;
    const wanted = [count, ((key + last) * count) / 2, key, last];
    if (values.some((value, i) => value !== undefined && value !== wanted[i]))
      wrong.add(
        `${JSON.stringify(row)} where ${wanted.join(", ")} are due of ${counts.get(producer)} records`,
      );
  }
  wrong.end();
  return counts;
}

/** The same of rows that keep them for a producer as a whole; there is none where a sum of nothing is missing. */
export function totalsOf(rows: Row[]): Counts {
  const counts: Counts = new Map();
  const wrong = new Differences();
  for (const row of rows) {
    const count = Number(row.count);
    counts.set(row.producer, count);
    const wanted = [((count - 1) * count) / 2, 0, count - 1];
    if (count && [row.sum, row.min, row.max].some((value, i) => Number(value) !== wanted[i]))
      wrong.add(`${JSON.stringify(row)} where ${wanted.join(", ")} are due of ${count} records`);
  }
  wrong.end();
  return counts;
}
