/** Visits in one Jah, asked for their steps as a Hallelu asks: for the next one before the last is answered. */
import { readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { visitFieldsOf } from "../../host/input/plan.ts";
import { Visits } from "../../host/jah/visits.ts";
import { NDJSON } from "../../host/kernel/memory-map.ts";
import type { VisitStep } from "../../host/wire/visit.ts";
import { kernelOf } from "../run.ts";
import { Owners, rowSets } from "../state/datasets.ts";

const test = suite("host/jah/visits.ts: visits under way in a Jah");

const LEFT_MS = 60_000;
const KEEP = `import { Dataset } from "hallelujah";
@record class Row { n: i64 }
const rows = new Dataset<Row>("rows");
export function each(row: Row): void { rows.add(row); }`;
const STOP = `import { Count, Table } from "hallelujah";
@record class Row { n: i64 }
@state class Kept { count: Count }
const kept = new Table<i64, Kept>("kept");
export function each(row: Row): void {
  if (row.n < 0) throw new Error("a negative number");
  kept.at(row.n).count.add();
}`;

/** A Jah that keeps these numbers, a partition for every eight of them; and a visit of it, begun. */
async function visited(numbers: number[]) {
  const keeper = await buildKernel(kernelOf("keep", KEEP));
  const visiting = await buildKernel(kernelOf("stop", STOP));
  const owners = new Owners(keeper, 1);
  for (const n of numbers) await owners.add(`{"n":${n}}\n`);
  const [{ shard }] = owners.all;
  const visits = new Visits({
    memory: shard.kernel.memory,
    watchdog: { enter: () => {}, leave: () => {} },
    version: () => 1,
    held: () => ({ from: 0, to: 256 }),
    isFree: () => true,
    restore: () => shard.instantiate(),
  });
  let visit = 0;
  const begin = async () => {
    const start = {
      visit: ++visit,
      version: 1,
      wasm: readFileSync(visiting.path),
      isHome: true,
      over: { dataset: rowSets(keeper)[0] },
      fields: visitFieldsOf(visiting.descriptor),
      bounds: [],
      format: NDJSON,
      leftMs: LEFT_MS,
    };
    await visits.perform("visit", start);
    const step = () =>
      visits.perform("visitStep", { visit: start.visit, leftMs: LEFT_MS }) as Promise<VisitStep>;
    return { step };
  };
  return { begin, owners };
}

test("a visit whose kernel stops is over: the step that was asked ahead meets none of the rows behind", async () => {
  // Rows of several partitions, of which the first stops the kernel.
  const { begin, owners } = await visited([-1, ...Array.from({ length: 40 }, (_, i) => i)]);
  const { step } = await begin();
  const [first, ahead] = await Promise.allSettled([step(), step()]);
  assert.match(String((first as PromiseRejectedResult).reason), /a negative number/);
  assert.is(ahead.status, "rejected");
  assert.is((ahead as PromiseRejectedResult).reason.code, "visit-lost");
  // The stream goes on, and so does who visits next.
  await owners.add('{"n":100}\n');
  const again = await (await begin()).step().catch((error: unknown) => error);
  assert.match(String(again), /a negative number/);
});

test.run();
