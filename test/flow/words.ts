/** A kernel that counts words and puts each out, and what it has counted. */
import type { Hallelujah } from "../../host/client/live.ts";

export const KERNEL = `import { Count, Table, Text, out } from "hallelujah";
@record class Row { key: Text }
@record class Seen { key: Text }
@state class Total { rows: Count }
const totals = new Table<Text, Total>("totals");
export function each(row: Row): void {
  totals.at(row.key).rows.add();
  const seen = new Seen();
  seen.key = row.key;
  out.emit(seen);
}`;

/** Sorted, as `KEY COUNT`. */
export const rowsOf = async (client: Hallelujah, stream: string) => {
  const rows = await (await client.query<{ key: string; rows: number }>(stream, "totals")).all();
  return rows.map(({ key, rows }) => `${key} ${rows}`).toSorted();
};
