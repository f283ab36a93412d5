/** An author's names are an author's: none is in the way of what the compiler adds to a kernel. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import { compileKernel } from "../../host/compiler/compile.ts";

const test = suite("names of a kernel that generated code has, too");
const folder = mkdtempSync(join(tmpdir(), "hallelujah-names-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

async function compiles(source: string): Promise<void> {
  const file = join(folder, "kernel.ts");
  writeFileSync(file, source);
  await compileKernel(file, "quick");
}

const TABLES = ["table", "column", "p", "range", "format", "size", "render", "text", "INPUT"];

test("tables have the names of parameters, functions and imports; so has a class", () =>
  compiles(`import { Count, Dataset, Table, Text } from "hallelujah";
@record class Home { key: Text; row: f64 }
@state class S { o: Count; p: Count }
${TABLES.map((name) => `const ${name} = new Table<Text, S>("${name}");`).join("\n")}
const dataset = new Dataset<Home>("homes");
export function each(record: Home): void {
${TABLES.map((name) => `  ${name}.at(record.key).o.add();`).join("\n")}
  dataset.add(record);
}`));

test("so have those that fold and close keep", () =>
  compiles(`import { Count, Sessions, Table, Text, Time, Window } from "hallelujah";
@record class E { k: Text; @time at: Time }
@state class V { n: Count }
const record = new Sessions<Text, V>("record", 1000);
export function key(e: E): Text { return e.k; }
export function fold(e: E, v: V): void { v.n.add(); }
export function close(w: Window, k: Text, v: V): void {}`));

test.run();
