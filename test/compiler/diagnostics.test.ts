/** What an author reads when a kernel does not compile: the place, and what to write instead. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { compileKernel } from "../../host/compiler/compile.ts";
import { CompileError, type Diagnostic, formatDiagnostic, placeOf } from "../../host/compiler/diagnostics.ts";
import { readKernel } from "../../host/compiler/model.ts";

const IMPORTS =
  'import { Count, Cursor, Distinct, First, Optional, Pair, Stats, Sum, Table, Text, Top, pair } from "hallelujah";\n';
const RECORD = "@record class R { k: Text; v: f64; o: Optional<f64> }\n";
const STATE = "@state class S { n: Count; s: Stats }\n";
const TABLE = 'const t = new Table<Text, S>("t");\n';
const EACH = "export function each(r: R): void { t.at(r.k).n.add(); }\n";

/** A kernel whose `each` does `body`, which starts at line 6, column 1. */
const doing = (body: string) =>
  `${IMPORTS}${RECORD}${STATE}${TABLE}export function each(r: R): void {\n${body}\n}\n`;

/** Where the first diagnostic is, and its sentence with its hint. */
function first(text: string, [diagnostic]: Diagnostic[]): { place: string; said: string } {
  const { line, column } = placeOf(text, diagnostic.start ?? 0);
  return { place: `${line}:${column}`, said: `${diagnostic.message}\n${diagnostic.hint ?? ""}` };
}

/** A kernel with sessions; every part may be another one. */
function timed({
  record = "@record class E { k: Text; @time(5 * 1000) at: Time }",
  state = "@state class V { n: Count; step: u8 }",
  table = 'const open = new Sessions<Text, V>("open", 1000);',
  key = "export function key(e: E): Text { return e.k; }",
  fold = "export function fold(e: E, v: V): void { v.n.add(); }",
  close = "export function close(w: Window, k: Text, v: V): void {}",
} = {}): string {
  return [
    'import { Count, Optional, Sessions, Table, Text, Time, Window, Windows } from "hallelujah";',
    record,
    state,
    table,
    key,
    fold,
    close,
  ].join("\n");
}

type Case = [rule: string, kernel: string, place: string, said: RegExp];

/** Found by reading the kernel, before AssemblyScript compiles it. */
const READ: Case[] = [
  [
    "fold without key",
    timed({ key: "" }),
    "1:1",
    /key, which says whose[^]*export function key\(record: E\): Text/,
  ],
  ...(
    [
      ["upgrade is exported", "function ^upgrade(old: Q, s: S): void {}", /write export function upgrade/],
      ["upgrade takes two states", "export function ^upgrade(s: S): void {}", /takes a state as it was, the/],
      ["upgrade takes a state", "export function upgrade(old: ^Qu, s: S): void {}", /Qu is no @state class/],
      ["upgrade is of a table", "export function upgrade(old: S, q: ^Q): void {}", /no table keeps Q/],
      ["the old state is another class", "export function upgrade(old: ^S, s: S): void {}", /class OldS/],
      [
        "a table is upgraded by one function",
        "export function upgrade(old: Q, s: S): void {} export function ^upgradeT(old: P, s: S): void {}",
        /two functions that upgrade t/,
      ],
      [
        "upgrade fills no table",
        "export function upgrade(old: Q, s: S): void { ^t.at(x); }",
        /t.at fills a table/,
      ],
      ["upgrade emits nothing", "export function upgrade(old: Q, s: S): void { ^out.emit(x); }", /no output/],
    ] as [string, string, RegExp][]
  ).map(([rule, marked, said]): Case => {
    const upgrade = marked.replace("^", "");
    const states = "@state class Q { v: f64 } @state class P { n: Count }";
    const source = `${IMPORTS}${RECORD}${STATE}${TABLE}${EACH}${upgrade}\n${states}`;
    return [rule, source, `6:${marked.indexOf("^") + 1}`, said];
  }),
  [
    "key returns the table's key",
    timed({ key: "export function key(e: E): i32 { return 1; }" }),
    "5:28",
    /key returns i32[^]*keys of open are Text/,
  ],
  [
    "windows and sessions have a close",
    timed({ close: "" }),
    "1:1",
    /sessions of open end without[^]*close\(window/,
  ],
  [
    "close takes the table's key",
    timed({ close: "export function close(w: Window, k: i32, v: V): void {}" }),
    "7:37",
    /keys of open are Text/,
  ],
  [
    "sessions need the time of events",
    timed({ record: "@record class E { k: Text; at: Time }" }),
    "1:1",
    /needs the time of each event[^]*@time/,
  ],
  [
    "the time is of type Time",
    timed({ record: "@record class E { k: Text; @time at: i64 }" }),
    "2:28",
    /field of type Time/,
  ],
  [
    "the time is not optional",
    timed({ record: "@record class E { k: Text; @time at: Optional<Time> }" }),
    "2:28",
    /field of type Time/,
  ],
  [
    "there is one time",
    timed({ record: "@record class E { k: Text; @time at: Time; @time to: Time }" }),
    "2:44",
    /one field[^]*@time on at/,
  ],
  [
    "how late records may be is a number of ms",
    timed({ record: '@record class E { k: Text; @time("5s") at: Time }' }),
    "2:34",
    /@time\(10_000\)/,
  ],
  [
    "a plain field is for fold only",
    timed({
      table: 'const open = new Windows<Text, V>("open", 1000);',
      key: "",
      fold: "export function each(e: E): void { open.at(e.k, e.at).n.add(); }",
    }),
    "3:34",
    /u8 has no rule[^]*change it in fold/,
  ],
  [
    "what fold keeps is not filled elsewhere",
    timed({
      table: 'const open = new Table<Text, V>("open");',
      fold: "export function fold(e: E, v: V): void { open.at(e.k).n.add(); }",
      close: "",
    }),
    "6:42",
    /fills a table while records are read/,
  ],
  [
    "each leaves what fold keeps alone",
    timed({
      table: 'const open = new Table<Text, V>("open");',
      close: "export function each(e: E): void { open.at(e.k).n.add(); }",
    }),
    "7:36",
    /open is kept by fold/,
  ],
  [
    "a Table has nothing to close",
    timed({ table: 'const open = new Table<Text, V>("open");' }),
    "7:17",
    /Table, which has nothing to close/,
  ],
  [
    "late is for fold",
    timed({
      state: "@state class V { n: Count }",
      table: 'const open = new Windows<Text, V>("open", 1000);',
      key: "export function late(e: E): void {}",
      fold: "export function each(e: E): void { open.at(e.k, e.at).n.add(); }",
    }),
    "5:17",
    /counted and left out/,
  ],
  [
    "windows have a state of their own",
    timed({
      state: "@state class V { n: Count }",
      table: 'const open = new Windows<Text, V>("open", 1000);const t = new Table<Text, V>("t");',
      key: "",
      fold: "export function each(e: E): void { open.at(e.k, e.at).n.add(); }",
    }),
    "7:46",
    /V is kept by more than one table/,
  ],
  [
    "key is for fold",
    `${IMPORTS}${RECORD}${STATE}${TABLE}${EACH}export function key(r: R): Text { return r.k; }`,
    "6:17",
    /key is for fold/,
  ],
  [
    "an aggregate that is misspelt",
    `${IMPORTS}${RECORD}@state class S { n: Statz }\n${TABLE}${EACH}`,
    "3:21",
    /did you mean Stats/,
  ],
  [
    "a collection as an aggregate",
    `${IMPORTS}${RECORD}@state class S { n: Map<string, i32> }\n${TABLE}${EACH}`,
    "3:21",
    /second Table/,
  ],
  [
    "a plain field of state",
    `${IMPORTS}${RECORD}@state class S { n: f64 }\n${TABLE}${EACH}`,
    "3:21",
    /merging[^]*Sum<f64>, Min<f64>/,
  ],
  [
    "only aggregates that take a text are named for one",
    `${IMPORTS}${RECORD}@state class S { n: Text }\n${TABLE}${EACH}`,
    "3:21",
    /kept: Min<Text>, Max<Text>, First<Text>, Last<Text>, Top<Text>, Distinct or Count/,
  ],
  [
    "an aggregate without its type",
    `${IMPORTS}${RECORD}@state class S { n: Top }\n${TABLE}${EACH}`,
    "3:21",
    /Top<Text>/,
  ],
  [
    "a state field called key",
    `${IMPORTS}${RECORD}@state class S { key: Count }\n${TABLE}${EACH}`,
    "3:18",
    /never called key/,
  ],
  [
    "a field's type that is misspelt",
    `${IMPORTS}@record class R { k: Text; v: f46 }\n${STATE}${TABLE}${EACH}`,
    "2:31",
    /did you mean f64/,
  ],
  [
    "TypeScript's string",
    `${IMPORTS}@record class R { k: string }\n${STATE}${TABLE}${EACH}`,
    "2:22",
    /did you mean Text/,
  ],
  [
    "a nullable field",
    `${IMPORTS}@record class R { k: Text | null }\n${STATE}${TABLE}${EACH}`,
    "2:22",
    /Optional<Text>/,
  ],
  [
    "a field with a default",
    `${IMPORTS}@record class R { k: Text; v: f64 = 1 }\n${STATE}${TABLE}${EACH}`,
    "2:37",
    /no initializer/,
  ],
  [
    "a method in a record",
    `${IMPORTS}@record class R { k: Text; f(): void {} }\n${STATE}${TABLE}${EACH}`,
    "2:28",
    /fields only/,
  ],
  [
    "a decorator that is misspelt",
    `${IMPORTS}@recrod class R { k: Text }\n${STATE}${TABLE}${EACH}`,
    "2:1",
    /did you mean @record/,
  ],
  [
    "a class without its decorator",
    `${IMPORTS}class R { k: Text }\n${STATE}${TABLE}${EACH}`,
    "5:25",
    /write @record before class R/,
  ],
  ["no each", `${IMPORTS}${RECORD}${STATE}${TABLE}`, "1:1", /no function each/],
  [
    "each as a constant",
    `${IMPORTS}${RECORD}${STATE}${TABLE}export const each = (r: R): void => {};\n`,
    "5:14",
    /export function each/,
  ],
  [
    "each that is not exported",
    `${IMPORTS}${RECORD}${STATE}${TABLE}function each(r: R): void {}\n`,
    "5:10",
    /export function each/,
  ],
  [
    "a let outside of functions",
    `${IMPORTS}${RECORD}${STATE}${TABLE}let x: i32 = 0;\n${EACH}`,
    "5:1",
    /forgotten after every frame/,
  ],
  [
    "a static field",
    `${IMPORTS}${RECORD}${STATE}${TABLE}class C { static n: i32 = 0 }\n${EACH}`,
    "5:11",
    /forgotten after every frame/,
  ],
  [
    "a constant collection",
    `${IMPORTS}${RECORD}${STATE}${TABLE}const list = [1, 2];\n${EACH}`,
    "5:14",
    /collection/,
  ],
  [
    "a key of floats",
    `${IMPORTS}${RECORD}${STATE}const t = new Table<f64, S>("t");\n${EACH}`,
    "4:21",
    /no type of a key/,
  ],
  [
    "a state class that is missing",
    `${IMPORTS}${RECORD}${STATE}const t = new Table<Text, Q>("t");\n${EACH}`,
    "4:27",
    /no @state class/,
  ],
  [
    "a table without a name",
    `${IMPORTS}${RECORD}${STATE}const t = new Table<Text, S>();\n${EACH}`,
    "4:11",
    /takes a name/,
  ],
  [
    "two tables of one name",
    `${IMPORTS}${RECORD}${STATE}${TABLE}const u = new Table<Text, S>("t");\n${EACH}`,
    "5:11",
    /two tables/,
  ],
  [
    "a dataset of no record",
    `${IMPORTS}${RECORD}${STATE}const d = new Dataset<S>("d");\n${EACH}`,
    "4:23",
    /S is no @record class/,
  ],
  [
    "a dataset without a name",
    `${IMPORTS}${RECORD}${STATE}const d = new Dataset<R>();\n${EACH}`,
    "4:11",
    /write new Dataset<Flight>\("flights"\)/,
  ],
  [
    "a dataset with the name of a table",
    `${IMPORTS}${RECORD}${STATE}${TABLE}const d = new Dataset<R>("t");\n${EACH}`,
    "5:11",
    /two datasets called t/,
  ],
  [
    "rows without a time grow not old",
    `${IMPORTS}${RECORD}${STATE}${TABLE}const d = new Dataset<R>("d", 0, 60 * 1000);\n${EACH}`,
    "5:34",
    /a time of theirs[^]*not Optional/,
  ],
  ["a dataset inside a function", doing('const d = new Dataset<R>("d");'), "6:11", /top of the kernel/],
  [
    "rows are added in each",
    `${timed()}\nconst rows = new Dataset<E>("rows");\nexport function late(e: E): void { rows.add(e); }`,
    "9:36",
    /rows takes rows while records are read/,
  ],
  ["a table inside a function", doing('const u = new Table<Text, S>("u");'), "6:11", /top of the kernel/],
  [
    "a field without a type",
    `${IMPORTS}@record class R { k; v: f64 }\n${STATE}${TABLE}${EACH}`,
    "2:19",
    /Type expected/,
  ],
  [
    "for without a condition, with a break",
    doing("for (;;) { if (r.v > 1) break; }"),
    "6:1",
    /while \(true\)/,
  ],
  ["the clock", doing("t.at(r.k).n.add(<u64>Date.now());"), "6:22", /no clock/],
  ["randomness", doing("t.at(r.k).s.add(Math.random());"), "6:17", /no randomness/],
  ["the console", doing('console.log("x");'), "6:1", /out\.emit/],
  ["an optional field where a value is meant", doing("t.at(r.k).s.add(r.o);"), "6:17", /r\.o\.present/],
];

/** Found by AssemblyScript, in words of ours. */
const COMPILED: Case[] = [
  [
    "a field that is misspelt",
    doing("t.at(r.kk).n.add();"),
    "6:8",
    /'kk' does not exist on type 'generated\/R'|'kk' does not exist on type 'R'/,
  ],
  [
    "a number as the key of texts",
    doing("t.at(r.v).n.add();"),
    "6:6",
    /Type 'f64' is not assignable to type 'Text'/,
  ],
  ["a float where an integer is taken", doing("t.at(r.k).n.add(r.v);"), "6:17", /write <u64>r\.v/],
  ["a text compared with a string", doing('if (r.k == "x") t.at(r.k).n.add();'), "6:5", /\.is\("GET"\)/],
  ["a sum on an aggregate", doing("t.at(r.k).n += 1;"), "6:1", /count\.add/],
  [
    "a name that is not imported",
    `import { Count, Stats, Text, Optional } from "hallelujah";\n${RECORD}${STATE}${TABLE}${EACH}`,
    "4:15",
    /import \{ Table \}/,
  ],
  ["for of", doing("const a = [1]; for (const x of a) t.at(r.k).s.add(x);"), "6:16", /let i = 0/],
  ["a closure", doing("let i = 0; [1].forEach((x) => { i += x; });"), "6:33", /no closures/],
  ["try", doing("try { t.at(r.k).n.add(); } catch (e) {}"), "6:1", /no exceptions/],
  ["a regular expression", doing("const x = /a/;"), "6:11", /Cursor/],
  ["JSON", doing('JSON.parse("1");'), "6:1", /@name/],
  ["a union type", doing("let x: i32 | string = 0;"), "6:14", /no union types/],
  ["memory", doing("store<i32>(0, 1);"), "6:1", /no direct access to memory/],
];

const reading = suite("a kernel that is wrong as it is read");
for (const [rule, kernel, place, said] of READ) {
  reading(rule, () => {
    const found = first(
      kernel,
      new CompileError(readKernel(kernel, "kernel.ts").problems, kernel).diagnostics,
    );
    assert.is(found.place, place);
    assert.match(found.said, said);
  });
}

reading("plain fields are for fold, and for what upgrade takes", () => {
  const upgrade =
    "@state class Q { v: f64 } export function upgrade(old: Q, s: S): void { s.n.add(<u64>old.v); }";
  const { model, problems } = readKernel(`${IMPORTS}${RECORD}${STATE}${TABLE}${EACH}${upgrade}`, "kernel.ts");
  assert.equal(problems, []);
  assert.equal(
    model.upgrades.map(({ name, from, table }) => [name, from, table.name]),
    [["upgrade", "Q", "t"]],
  );
});

reading(
  "a loop without a condition is fine without a break of its own, and a name of the author's is no global",
  () => {
    const fine = doing(
      "let i = 0; for (;;) { while (true) { if (++i > 3) break; } switch (i) { case 4: break; } if (i) return; }",
    );
    assert.equal(readKernel(fine, "kernel.ts").problems, []);
    const own = doing("const process = t.at(r.k); process.n.add();");
    assert.equal(readKernel(own, "kernel.ts").problems, []);
    assert.equal(readKernel(doing("t.at(r.k).s.add(r.o.or(1));"), "kernel.ts").problems, []);
  },
);

reading("a diagnostic shows its line, and points at its place", () => {
  const text = "one\n  two three\n";
  assert.is(
    formatDiagnostic({ file: "k.ts", start: 10, end: 15, message: "wrong", hint: "write four" }, text),
    ["k.ts:2:7 error: wrong", "   2 |   two three", "     |       ^~~~~", "      write four"].join("\n"),
  );
});
reading.run();

const compiling = suite("a kernel that AssemblyScript refuses");
const folder = mkdtempSync(join(tmpdir(), "hallelujah-diagnostics-"));
const file = join(folder, "kernel.ts");
compiling.after(() => rmSync(folder, { recursive: true, force: true }));
for (const [rule, kernel, place, said] of COMPILED) {
  compiling(rule, async () => {
    writeFileSync(file, kernel);
    const error = await compileKernel(file).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.instance(error, CompileError);
    assert.is((error as CompileError).code, "kernel-invalid");
    const found = first(kernel, (error as CompileError).diagnostics);
    assert.is(found.place, place);
    assert.match(found.said, said);
    assert.not.match((error as CompileError).message, /~lib\/hallelujah/);
  });
}
compiling.run();
