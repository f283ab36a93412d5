/** What `dev` shows: rows that came, went and changed, and how many of them. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { compare, type Kind, type Result } from "../../../host/cli/dev/changes.ts";
import { render } from "../../../host/cli/dev/view.ts";

const test = suite("cli/dev: the view");

type Row = Record<string, unknown>;
const result = (rows: Row[], more = false): Result => ({ rows, more, notes: [] });
const station = (key: unknown, n: number, more: Row = {}): Row => ({
  table: "stations",
  key,
  t: { n, ...more },
});
/** Marks and keys, one after the other. */
const marks = ({ lines }: Kind) =>
  lines.map(({ mark, cells }) => `${mark}${JSON.stringify(cells.key)}`).join(" ");
const OPTIONS = { name: "k.ts", width: 100 };
const answer = (now: Result, before?: Result) =>
  render({ kind: "answer", round: 2, ms: 41.6, result: now, before }, OPTIONS);

test("rows of a table are told by their keys", () => {
  const before = result([station("a", 1), station("b", 2), station("c", 3), station("d", 4)]);
  const [kind] = compare(result([station("b", 2), station("c", 5), station("e", 6)]), before);
  assert.is(marks(kind), '-"a"  "b" ~"c" -"d" +"e"');
  assert.equal(kind.lines[2].was, { "t.n": 3 });
  assert.equal([kind.rows, kind.added, kind.gone, kind.changed], [3, 1, 2, 1]);
});

test("another order alone changes no row", () => {
  const rows = [station("a", 1), station(["b", 2], 2)];
  const [kind] = compare(result(rows.toReversed()), result(rows));
  assert.is(marks(kind), ' ["b",2]  "a"');
});

test("the first answer has no marks, and one after an empty one only new rows", () => {
  const now = result([station("a", 1)]);
  assert.is(marks(compare(now)[0]), ' "a"');
  assert.is(marks(compare(now, result([]))[0]), '+"a"');
  assert.is(marks(compare(result([]), now)[0]), '-"a"');
});

test("columns that come and go change no row, and are named", () => {
  const before = result([station("a", 1, { old: 1 }), station("b", 2, { old: 1 })]);
  const [kind] = compare(result([station("a", 1, { p: 7 }), station("b", 3, { p: 8 })]), before);
  assert.is(marks(kind), ' "a" ~"b"');
  assert.equal([kind.newColumns, kind.goneColumns], [["t.p"], ["t.old"]]);
  assert.match(
    answer(result([station("a", 1, { p: 7 })]), before),
    /stations \(1 row: 1 gone; new: t\.p; no more: t\.old\)/,
  );
});

test("what is emitted has no key: equal rows are counted", () => {
  const [kind] = compare(result([{ n: 1 }, { n: 1 }, { n: 2 }]), result([{ n: 1 }, { n: 3 }]));
  assert.equal(
    kind.lines.map(({ mark, cells }) => `${mark}${cells.n}`),
    [" 1", "-3", "+1", "+2"],
  );
});

test("a table that is no more is shown as gone", () => {
  const kinds = compare(result([{ n: 1 }]), result([station("a", 1)]));
  assert.equal(
    kinds.map(({ title, rows, added, gone }) => [title, rows, added, gone]),
    [
      ["what it emits", 1, 1, 0],
      ["stations", 0, 0, 1],
    ],
  );
});

test("a changed cell has its old value, in full where rounding hides the change", () => {
  const text = answer(
    result([station("a", 1.00000001), station("b", 2)]),
    result([station("a", 1), station("b", 3)]),
  );
  assert.match(text, /^#2 k\.ts 42 ms: 2 changed\n/);
  assert.match(text, /│ ~ │ a\s+│\s+1\.00000001 \(was 1\) │/);
  assert.match(text, /│ ~ │ b\s+│\s+2 \(was 3\) │/);
  assert.match(answer(result([station("a", 1)]), result([station("a", 1)])), /nothing changed/);
});

test("rows with changes are shown before others, in the order of the answer", () => {
  const rows = Array.from({ length: 50 }, (_, i) => station(`k${String(i).padStart(2, "0")}`, i));
  const before = rows.map((row, i) => (i >= 30 && i < 32 ? station(row.key, -1) : row));
  const text = render(
    { kind: "answer", round: 2, ms: 1, result: result(rows), before: result(before) },
    { ...OPTIONS, limit: 3 },
  );
  assert.equal(text.match(/k\d\d/g), ["k00", "k30", "k31"]);
  assert.match(text, /47 more rows\n/);
});

test("a terminal is filled and not overrun, whatever there is to show", () => {
  const rows = Array.from({ length: 200 }, (_, i) => station(`k${i}`, i));
  const others = rows.map((row) => ({ ...row, table: "others" }));
  const before = result([...rows, ...others].map((row) => ({ ...row, t: { n: -1 } })));
  for (const height of [24, 50, 80])
    for (const now of [rows, [...rows, ...others]]) {
      const shown = { kind: "answer" as const, round: 2, ms: 1, result: result(now, true), before };
      const lines = render(shown, { ...OPTIONS, height }).split("\n").length;
      assert.ok(lines <= height && lines > height - 8, `${lines} of ${height}`);
    }
});

test("an error has its text, and on a terminal the last good answer below", () => {
  const shown = {
    kind: "error" as const,
    round: 3,
    ms: 7,
    message: "k.ts:4:5 error: no\n   4 | \u001b[2Jx",
    last: result([station("a", 1)]),
    lastRound: 2,
  };
  const piped = render(shown, OPTIONS);
  assert.is(
    piped,
    "#3 k.ts failed after 7 ms\nk.ts:4:5 error: no\n   4 | \uFFFD[2Jx\n#2 is the last good answer\n",
  );
  assert.match(
    render(shown, { ...OPTIONS, height: 24 }),
    /#2 is the last good answer:\nstations \(1 row\)\n/,
  );
});

test("rows that are not read are said to be there, and so are records that do not fit", () => {
  const text = answer({ rows: [station("a", 1)], more: true, notes: ["1 record \u001b[2J did not fit"] });
  assert.match(text, /there are more rows/);
  assert.match(text, /1 record \uFFFD\[2J did not fit\n/);
});

test.run();
