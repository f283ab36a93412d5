/** Asks for what a stream holds: by its tables, by kernels that visit it, or by SQL. */
import type { Hallelujah } from "../../host/client/live.ts";
import { planStreamQuery } from "../../host/run/stream-query.ts";
import type { Plan } from "../../host/sql/plan.ts";
import type { Row } from "./series.ts";
import type { Asked } from "./streams.ts";

export interface Answered {
  /** It holds what the frames below this one hold. */
  frame: number;
  rows: Row[];
}

/** What queries become, which does not change with a stream's kernels. */
const plans = new Map<string, { dataset: string; planned: Plan }>();

/** Rejects as `query` and `visit` do. */
export async function ask(
  client: Hallelujah,
  stream: string,
  asked: Asked,
  options: { signal?: AbortSignal } = {},
): Promise<Answered> {
  const { name, visit, sql, dataset, hold } = asked;
  if (sql !== undefined) return askSql(client, stream, sql, options);
  const given = { ...(dataset === undefined ? {} : { dataset }), ...(hold ? { hold } : {}) };
  const rows =
    visit === undefined
      ? await client.query<Row>(stream, name, options)
      : await client.visit<Row>(stream, { kernel: visit, table: name, ...given, ...options });
  return { frame: rows.frame, rows: await rows.all() };
}

async function askSql(
  client: Hallelujah,
  stream: string,
  sql: string,
  options: { signal?: AbortSignal },
): Promise<Answered> {
  let plan = plans.get(sql);
  if (!plan)
    plans.set(sql, (plan = await planStreamQuery(stream, await client.stream(stream, options), sql)));
  const { dataset, planned } = plan;
  const { kernel, bounds, columns } = planned;
  const visit = await client.visit<Record<string, unknown>>(stream, { kernel, dataset, bounds, ...options });
  const rows: Row[] = [];
  for await (const values of planned.finish(visit))
    rows.push(Object.fromEntries(columns.map(({ name }, i) => [name, values[i]])));
  return { frame: visit.frame, rows };
}
