/** A query over the rows that a stream keeps, or over those of its tables: what it becomes, and which of them it asks for. */
import { HallelujahError, nearest } from "../core/errors.ts";
import { fromOf, type Plan, plan } from "../sql/plan.ts";
import { schemaOfFields } from "../sql/schema.ts";
import { matches, type Name } from "../sql/text.ts";
import type { VisitableInfo } from "../wire/http.ts";

/** What a query may name behind FROM. */
interface Visitables {
  datasets?: VisitableInfo[] | undefined;
  tableColumns?: VisitableInfo[] | undefined;
}

/** `dataset` is the name of what is visited, be it a table. Throws `dataset-missing`, and what `plan` throws. */
export async function planStreamQuery(
  stream: string,
  visitables: Visitables,
  sql: string,
): Promise<{ dataset: string; planned: Plan }> {
  const { name, fields } = visitableOf(stream, visitables, await fromOf(sql));
  return { dataset: name, planned: await plan(sql, schemaOfFields(fields)) };
}

/** The dataset or table behind FROM; the stream's name stands for its only dataset, or without datasets for its only table. */
function visitableOf(
  stream: string,
  { datasets = [], tableColumns = [] }: Visitables,
  from: Name,
): VisitableInfo {
  const all = [...datasets, ...tableColumns];
  const names = all.map(({ name }) => name);
  const first = datasets.length ? datasets : tableColumns;
  const found =
    all.find(({ name }) => name === from.text) ??
    all.find(({ name }) => matches(from, name)) ??
    (from.text === stream && first.length === 1 ? first[0] : undefined);
  if (found) return found;
  if (!names.length) {
    const message = `${stream} keeps nothing that could be asked: its kernel has neither a Dataset nor a table; swap in a kernel that has one`;
    throw new HallelujahError("dataset-missing", message);
  }
  const meant = nearest(from.text, names);
  const hint = meant ? `; did you mean ${meant}?` : "";
  const message = `${stream} has no dataset or table ${from.text}${hint}\nit has: ${names.join(", ")}`;
  throw new HallelujahError("dataset-missing", message);
}
