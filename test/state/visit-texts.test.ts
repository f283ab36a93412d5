/** Visits that group by texts: their entries are found by the codes of the texts, or by the texts where there are no codes, or too many. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import type { CompileTarget } from "../../host/compiler/compile.ts";
import { readKernel } from "../../host/compiler/model.ts";
import { kernelOf, parseLines, random, seedOf } from "../run.ts";
import { Owners, visit } from "./datasets.ts";

const test = suite("visits by texts");
const seed = seedOf("visit-texts");

const ROW = "{ a: Text; b: Text; c: Optional<Text>; n: i32 }";
const KEEP = `import { Dataset, Optional, Text } from "hallelujah";
@record class Row ${ROW}
const rows = new Dataset<Row>("rows");
export function each(row: Row): void { rows.add(row); }`;

/**
 * Every way in which a text becomes a key: a field, two of them for one table, one that may lack, a part of it, one of the kernel's own, a
 * pair, and a field to which the kernel has assigned another text.
 */
const GROUP = `import { Count, Optional, Pair, Table, Text, pair } from "hallelujah";
@record class Row ${ROW}
@state class Rows { count: Count }
const one = new Table<Text, Rows>("one");
const second = new Table<Text, Rows>("second");
const both = new Table<Text, Rows>("both");
const maybe = new Table<Text, Rows>("maybe");
const begins = new Table<Text, Rows>("begins");
const own = new Table<Text, Rows>("own");
const changed = new Table<Text, Rows>("changed");
const filled = new Table<Text, Rows>("filled");
const pairs = new Table<Pair<Text, Text>, Rows>("pairs");
export function each(row: Row): void {
  one.at(row.a).count.add();
  second.at(row.b).count.add();
  both.at(row.b).count.add();
  both.at(row.a).count.add();
  if (row.c.present) maybe.at(row.c.value).count.add();
  begins.at(row.a.slice(0, 3)).count.add();
  own.at(Text.of(row.n % 2 ? "odd" : "even")).count.add();
  pairs.at(pair(row.a, row.b)).count.add();
  if (row.n % 7 == 0) row.a = row.b;
  changed.at(row.a).count.add();
  if (row.c.present) {
    if (row.n % 3 == 0) row.c.value = row.b;
    filled.at(row.c.value).count.add();
  }
}`;

/** The same but for the last: a kernel that only reads gets no copies of rows, and finds entries by the places of texts. */
const READ = GROUP.replace(/  if \(row\.n % 7[^]*/, "}");

interface Row {
  a: string;
  b: string;
  c?: string;
  n: number;
}

function expected(rows: Row[], reads: boolean): string[] {
  const counts = new Map<string, number>();
  const add = (table: string, key: unknown) => {
    const name = JSON.stringify([table, key]);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  for (const { a, b, c, n } of rows) {
    add("one", a);
    add("second", b);
    add("both", b);
    add("both", a);
    if (c !== undefined) add("maybe", c);
    add("begins", a.slice(0, 3));
    add("own", n % 2 ? "odd" : "even");
    add("pairs", [a, b]);
    if (reads) continue;
    add("changed", n % 7 ? a : b);
    if (c !== undefined) add("filled", n % 3 ? c : b);
  }
  return [...counts].map(([name, count]) => `${name} ${count}`).toSorted();
}

for (const target of ["release", "visit", "quick-visit"] satisfies CompileTarget[])
  for (const [texts, rows] of [
    [40, 3000],
    [30_000, 60_000],
  ])
    for (const [name, kernel] of Object.entries({ GROUP, READ }))
      test(`${texts} texts, built for ${target}: ${name}`, async () => {
        assert.is(readKernel(kernel, "group.ts").model.inPlace !== undefined, kernel === READ);
        const draw = random(seed + texts);
        const text = () => `${"xyz"[Math.floor(draw() * 3)]}-${Math.floor(draw() * texts)}`;
        const all = Array.from({ length: rows }, (_, n): Row => {
          return { a: text(), b: text(), n, ...(draw() < 0.5 ? { c: text() } : {}) };
        });
        const keeper = await buildKernel(kernelOf("keep", KEEP));
        const owners = new Owners(keeper, 2);
        for (let at = 0; at < rows; at += 1000)
          await owners.add(
            `${all
              .slice(at, at + 1000)
              .map((row) => JSON.stringify(row))
              .join("\n")}\n`,
          );
        const visitor = await buildKernel(kernelOf("group", kernel), { target });
        const answer = await visit(owners.all, keeper, visitor);
        assert.is(answer.visited, rows);
        const found = parseLines(answer.rows.join("\n")).map(
          ({ table, key, count }) => `${JSON.stringify([table, key])} ${count as number}`,
        );
        assert.equal(found.toSorted(), expected(all, kernel === READ), `seed ${seed}`);
      });

test.run();
