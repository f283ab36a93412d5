/** Which kernels are given rows where they lie: those of which it is certain that they do nothing with the record but read its fields. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { compileKernel } from "../../host/compiler/compile.ts";
import type { KernelModel } from "../../host/compiler/kernel-model.ts";
import { readKernel } from "../../host/compiler/model.ts";

const test = suite("kernels that read rows in place");

const HEAD = `import { Count, First, Optional, Table, Text, Time, out, pair } from "hallelujah";
@record class Row { a: Text; b: Text; n: i32; at: Time; c: Optional<Text>; d: Optional<f64> }
@record class Other { a: Text; n: i32; d: Optional<f64> }
@state class Rows { count: Count; first: First<Text> }
const rows = new Table<Text, Rows>("rows");
`;

function verdict(body: string, options: Options = {}): boolean {
  return modelOf(body, options).inPlace !== undefined;
}

interface Options {
  parameter?: string;
  more?: string;
  head?: string;
}

function modelOf(body: string, { parameter = "row", more = "", head = HEAD }: Options = {}): KernelModel {
  const text = `${head}${more}\nexport function each(${parameter}: Row): void {\n${body}\n}`;
  const { model, problems } = readKernel(text, "kernel.ts");
  assert.equal(problems, [], body);
  return model;
}

const CAN: Record<string, Parameters<typeof verdict>> = {
  "fields, as keys and as values": ["rows.at(row.a).first.add(row.b); if (row.n > 3) return;"],
  "a parameter of another name": ["rows.at(text.a).count.add();", { parameter: "text" }],
  "what an optional field is asked for": [
    "if (row.c.present) rows.at(row.c.value).count.add(); const x = row.d.or(1);",
  ],
  "methods of a field": ["rows.at(row.a.slice(1).trim()).count.add(row.at.hour + row.a.length);"],
  "a field in a variable, which is changed then": ["let n = row.n; n++; let a = row.a; a = row.b;"],
  "a property or method that has the parameter's name": [
    "const own = new Own(); own.row = row.n; own.row++;",
    { more: "class Own { row: i32 = 0 }" },
  ],
  "a record of the kernel's own": [
    "const other = new Other(); other.a = row.a; other.n = row.n; other.d.value = 2; out.emit(other);",
  ],
  "a function of the kernel's own that takes a field": [
    "rows.at(begin(row.a)).count.add();",
    { more: "function begin(text: Text): Text { return text.slice(0, 2); }" },
  ],
  "a field in a function that is none of a closure": [
    "const twice = (x: i32): i32 => x * 2; rows.at(row.a).count.add(twice(row.n));",
  ],
  "constants that hold nothing": [
    "rows.at(row.a.isEmpty ? NONE : row.a).count.add(LIMIT);",
    { more: 'const LIMIT = <u64>Math.round(2.5); const NONE = Text.of("none");' },
  ],
};

const CANNOT: Record<string, Parameters<typeof verdict>> = {
  "a field is set": ["row.n = 3; rows.at(row.a).count.add();"],
  "a field is set by what it was": ["row.n += 3;"],
  "a field is counted up": ["row.n++;"],
  "a field is counted down before it is read": ["--row.n;"],
  "an optional field is set": ["row.d.value = 3;"],
  "the time of a field is set": ["row.at.ms = 3;"],
  "the length of a field's text is set through a variable": ["const a = row.a; a.length = 1;"],
  "a text is cut where it lies, elsewhere in the file": [
    "cut(row.a); rows.at(row.a).count.add();",
    { more: "function cut(text: Text): void { text.length = 1; }" },
  ],
  "a time is moved where it lies, elsewhere in the file": [
    "move(row.at);",
    { more: "class Mover { move(time: Time): void { time.ms += 1; } }\nfunction move(time: Time): void {}" },
  ],
  "the record is emitted": ["out.emit(row);"],
  "the record is given to a function": [
    "rows.at(keyOf(row)).count.add();",
    { more: "function keyOf(given: Row): Text { return given.a; }" },
  ],
  "the record is kept in a variable": ["const same = row; rows.at(same.a).count.add();"],
  "the record is another one from here on": ["row = row;"],
  "the record is compared": ["if (row == row) rows.at(row.a).count.add();"],
  "the record is captured": ["const f = (): i32 => { const other = row; return 1; };"],
  "a variable within has the record's name": ["{ let row = 3; row++; }"],
  "a parameter within has the record's name": ["const f = (row: i32): i32 => row + 1; f(row.n);"],
  "the record's class is known to something else": [
    "rows.at(row.a).count.add();",
    { more: "function unused(given: Row): void {}" },
  ],
  "the record's class is known as another one": ["rows.at(row.a).count.add();", { more: "type Same = Row;" }],
  "an optional field is given away as it is": ["const d = row.d; if (d.present) return;"],
  "a field has brackets": ['rows.at(row["a"]).count.add();'],
  "the record is written in parentheses": ["rows.at((row).a).count.add();"],
  "something of the kernel outlives rows": [
    "rows.at(row.a).count.add();",
    {
      more: "class Box { last: Text | null = null }\nfunction make(): Box { return new Box(); }\nconst box = make();",
    },
  ],
  "a namespace may hold something": [
    "rows.at(row.a).count.add();",
    { more: "namespace Kept { export let n: i32 = 0; }" },
  ],
  "another file may do any of these": [
    "rows.at(row.a).count.add();",
    { more: 'import { x } from "./other";' },
  ],
  "there is no such field": ["rows.at(row.nothing).count.add();"],
};

for (const [name, [body, options]] of Object.entries(CAN))
  test(`rows are read in place: ${name}`, () => assert.is(verdict(body, options), true));

for (const [name, [body, options]] of Object.entries(CANNOT))
  test(`rows are copied where ${name}`, () => assert.is(verdict(body, options), false));

test("rows are copied where two views are of one column, and so would be the same", () => {
  const head = HEAD.replace("b: Text; n", '@name("a") b: Text; n');
  assert.is(verdict("rows.at(row.b).count.add();", { head }), false);
});

test("rows are copied where fold takes the record, too", () => {
  const more = `@state class Newest { n: i32 }
const last = new Table<Text, Newest>("newest");
export function key(row: Row): Text { return row.a; }
export function fold(row: Row, state: Newest): void { state.n = row.n; }`;
  assert.is(verdict("rows.at(row.a).count.add();", { more }), false);
});

/** Bodies, and the fields that they always read. */
const AHEAD: [body: string, fields: string[]][] = [
  ["rows.at(row.a).first.add(row.b);", ["a", "b"]],
  ["if (row.n > 3) rows.at(row.a).count.add();", ["n"]],
  ["if (row.n > 3 && row.b.isEmpty) rows.at(row.a).count.add();", ["n"]],
  ["if (row.n > 3 || row.b.isEmpty) return; rows.at(row.a).count.add();", ["n"]],
  ["if (row.n > 3) throw new Error(); rows.at(row.a).count.add();", ["n"]],
  ["if (row.n > 3) { rows.at(row.b).count.add(); } rows.at(row.a).count.add();", ["a", "n"]],
  ["const text = row.n > 3 ? row.a : row.b; rows.at(text).count.add();", ["n"]],
  ["for (let i = 0; i < row.n; i++) rows.at(row.a).count.add(); rows.at(row.b).count.add();", ["b"]],
  ["for (let i = 0; i < 3; i++) if (row.n == i) return; rows.at(row.b).count.add();", []],
  ["while (row.n > 3) { rows.at(row.a).count.add(); break; }", ["n"]],
  ["switch (row.n) { case 1: rows.at(row.a).count.add(); break; default: }", ["n"]],
  ["if (row.d.present) rows.at(row.a).count.add();", []],
  ["rows.at(row.a).count.add(); return; rows.at(row.b).count.add();", ["a"]],
  ["{ rows.at(row.a).count.add(row.at.hour); }", ["a", "at"]],
  ["const row$n = 3; rows.at(row.a).count.add(row.n + row$n);", []],
];

for (const [body, fields] of AHEAD)
  test(`what is always read is read ahead: ${fields.join(", ") || "nothing"} of ${body}`, () =>
    assert.equal(modelOf(body).inPlace!.ahead, fields));

test("a text whose class the kernel has not imported is not read ahead", () => {
  const more = 'const numbers = new Table<i32, Rows>("numbers");';
  const body = "numbers.at(row.n).count.add(row.at.hour);";
  assert.equal(modelOf(body, { more }).inPlace!.ahead, ["n", "at"]);
  const head = HEAD.replace(" Time,", "");
  assert.equal(modelOf(body, { more, head }).inPlace!.ahead, ["n"]);
});

test("a read that is not written in one is left to the record", () => {
  const { accesses } = modelOf("rows.at(row.a).first.add(row\n  .a); rows.at(row . a).count.add();").inPlace!;
  assert.is(accesses.length, 1);
});

const folder = mkdtempSync(join(tmpdir(), "hallelujah-in-place-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

test("what is wrong in each is told as of any kernel", async () => {
  const wrongs = [
    "const n: u8 = row.f; rows.at(row.a).count.add();",
    "rows.at(row.n).count.add(row.n);",
    "rows.at(row.a).count.add(row.a.nothing);",
    "rows.at(row.a).count.add(row.n); const f = (): i32 => row.n; f();",
    "rows.at(row.a).count.add(row.nothing);",
    "rows.at(\n  row.a).counts.add(row\n.a.length + row.n, row.n);",
    "rows.at(row.a.slice(row.b)).count.add();",
  ];
  for (const wrong of wrongs) {
    const file = join(folder, "kernel.ts");
    writeFileSync(
      file,
      `${HEAD.replace("n: i32", "n: i32; f: f64")}export function each(row: Row): void { ${wrong} }`,
    );
    const told = async (target: "release" | "visit") => {
      let message = "";
      await compileKernel(file, target).catch((error: Error) => {
        message = error.message;
      });
      return message;
    };
    const message = await told("release");
    assert.match(message, "error");
    assert.is(await told("visit"), message, wrong);
  }
});

test.run();
