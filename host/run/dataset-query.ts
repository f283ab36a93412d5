/** A query over the rows that a stream keeps: what it becomes, and which of them it asks for. */
import { HallelujahError, nearest } from "../core/errors.ts";
import { fromOf, type Plan, plan } from "../sql/plan.ts";
import { schemaOfFields } from "../sql/schema.ts";
import { matches, type Name } from "../sql/text.ts";
import type { DatasetInfo } from "../wire/http.ts";

/** Throws `dataset-missing`, and what `plan` throws. */
export async function planDatasetQuery(
  stream: string,
  datasets: DatasetInfo[],
  sql: string,
): Promise<{ dataset: string; planned: Plan }> {
  const { name, fields } = datasetOf(stream, datasets, await fromOf(sql));
  return { dataset: name, planned: await plan(sql, schemaOfFields(fields)) };
}

/** The dataset behind FROM; of a stream that has one, also by the stream's name. */
function datasetOf(stream: string, datasets: DatasetInfo[], from: Name): DatasetInfo {
  const names = datasets.map(({ name }) => name);
  const found =
    datasets.find(({ name }) => name === from.text) ??
    datasets.find(({ name }) => matches(from, name)) ??
    (from.text === stream && datasets.length === 1 ? datasets[0] : undefined);
  if (found) return found;
  if (!names.length) {
    const message = `${stream} keeps no rows: its kernel has no Dataset; name a table instead of a query, or swap in a kernel that has one`;
    throw new HallelujahError("dataset-missing", message);
  }
  const meant = nearest(from.text, names);
  const hint = meant ? `; did you mean ${meant}?` : "";
  const message = `${stream} has no dataset ${from.text}${hint}\nit has: ${names.join(", ")}`;
  throw new HallelujahError("dataset-missing", message);
}
