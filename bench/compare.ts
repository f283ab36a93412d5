import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import type { Result } from "./results.ts";
import { short, table } from "./table.ts";

/**
 * The change between two results, files or folders of them:
 *
 *   git worktree add /tmp/before HEAD~1
 *   node --import tsx bench/compare.ts /tmp/before/bench/results bench/results
 */
const [before, after] = process.argv.slice(2);
if (before === undefined || after === undefined) {
  process.stderr.write(
    "node --import tsx bench/compare.ts BEFORE AFTER (results files, or folders of them)\n",
  );
  process.exit(2);
}
const old = new Map(read(before).map((result) => [identity(result), result]));
const recent = read(after);
const rows = recent.flatMap((result) => {
  const previous = old.get(identity(result));
  return previous === undefined ? [] : [row(previous, result)];
});
const header = ["figure", "peer", "unit", "before", "after", "change", "ratio before", "after", ""];
console.log(table(header, rows, [3, 4, 5, 6, 7]));
console.log(`\nbefore: ${origin([...old.values()])}\nafter:  ${origin(recent)}`);

function read(source: string): Result[] {
  const files = statSync(source).isDirectory()
    ? readdirSync(source)
        .filter((name) => name.endsWith(".json"))
        .sort()
        .map((name) => path.join(source, name))
    : [source];
  return files.flatMap((file) => JSON.parse(readFileSync(file, "utf8")) as Result[]);
}

/** Values of another input size are not comparable, so that they do not meet. */
function identity({ name, peer, rows }: Result): string {
  return `${name} ${peer} ${rows}`;
}

function row(previous: Result, result: Result): string[] {
  const change = (result.value / previous.value - 1) * 100;
  const ratio = (value: number | null) => (value === null ? "" : `${value.toFixed(2)}x`);
  return [
    result.name,
    result.peer ?? "",
    result.unit,
    short(previous.value),
    short(result.value),
    `${change < 0 ? "" : "+"}${change.toFixed(1)} %`,
    ratio(previous.ratio),
    ratio(result.ratio),
    remark(previous, result),
  ];
}

/**
 * Ranges of the runs that overlap leave open whether anything changed; all values here are better when
 * smaller.
 */
function remark(previous: Result, result: Result): string {
  const words: string[] = [];
  const overlap = result.value_min <= previous.value_max && previous.value_min <= result.value_max;
  if (!overlap) words.push(result.value < previous.value ? "better" : "WORSE");
  else if (result.value !== previous.value) words.push("within the spread");
  if (previous.met !== result.met && result.met !== null)
    words.push(result.met ? "now met" : "NO LONGER MET");
  return words.join("; ");
}

function origin(results: Result[]): string {
  const facts = results.map(
    ({ machine }) => `${machine.commit ?? "no commit"}, ${machine.cpu}, ${machine.cores} cores`,
  );
  return [...new Set(facts)].join(" | ");
}
