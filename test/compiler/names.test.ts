/** An author's names are an author's: none is in the way of what the compiler adds to a kernel. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { compileKernel } from "../../host/compiler/compile.ts";
import { generate } from "../../host/compiler/generate.ts";
import { readKernel } from "../../host/compiler/model.ts";

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

/** A kernel that has whatever the compiler adds something for. */
const FULL = `import { Count, Dataset, Decimal, Optional, Sessions, Sum, Text, Time, Window, out } from "hallelujah";
@record class Event { k: Text; @time at: Time; n: Optional<f64> }
@record class Ended { n: f64; d: Decimal }
@state class Was { sum: Sum<i64> }
@state class Kept { n: f64; count: Count }
const kept = new Sessions<Text, Kept>("kept", 1000);
const events = new Dataset<Event>("events");
export function each(event: Event): void { events.add(event); }
export function key(event: Event): Text { return event.k; }
export function fold(event: Event, to: Kept): void { to.n += event.n.or(0); to.count.add(); }
export function late(event: Event): void {}
export function close(window: Window, k: Text, state: Kept): void { const ended = new Ended(); ended.n = state.n; out.emit(ended); }
export function upgrade(was: Was, to: Kept): void { to.n = <f64>was.sum.value; }`;

/** All that the generated module declares or imports, but for what authors import by that name themselves. */
function namesOfGenerated(): string[] {
  const { model, problems } = readKernel(FULL, "kernel.ts");
  assert.equal(problems, []);
  const source = generate(model, "./kernel");
  const declared = [...source.matchAll(/^(?:@\w+ )*(?:export )?(?:function|const|let|class) (\w+)/gm)];
  const imported = [...source.matchAll(/^import \{ (.*) \} from/gm)].flatMap(([, list]) =>
    list.split(", ").map((each) => each.replace(/^.* as /, "")),
  );
  const known = new Set(FULL.match(/\w+/g));
  return [...new Set([...declared.map(([, name]) => name), ...imported])].filter((name) => !known.has(name));
}

test("no name of the generated module is taken from a class or a function of the author's", async () => {
  const names = namesOfGenerated();
  for (const name of ["column", "RECORD", "INPUT", "OtherHome", "kernelFold", "table_kept", "render"])
    assert.ok(names.includes(name), name);
  const all = (declare: (name: string, i: number) => string, of = names) =>
    `${FULL}\n${of.map(declare).join("\n")}`;
  await compiles(all((name) => `@record class ${name} { n: f64; text: Text }`));
  await compiles(all((name) => `@state class ${name} { n: Sum; count: Count }`));
  await compiles(all((name) => `class ${name} { constructor(public n: f64) {} }`));
  // The engine calls a function of such a name.
  const free = names.filter((name) => !/^close[A-Z]/.test(name));
  await compiles(all((name, i) => `export function ${name}(n: f64): f64 { return n + ${i}; }`, free));
});

test("a class has the name of its author in what is said of it", async () => {
  const error = await compiles(FULL.replace("ended.n =", "ended.m =")).then(
    () => assert.unreachable("it compiled"),
    (why: Error) => why,
  );
  assert.match(error!.message, /Property 'm' does not exist on type 'Ended'/);
});

test("the input of a kernel, and what fold and upgrade keep, have names of the generated module", () => {
  const renamed: Record<string, string> = { Event: "column", Ended: "each_", Was: "RECORD", Kept: "render" };
  return compiles(FULL.replace(/Event|Ended|Was|Kept/g, (name) => renamed[name]));
});

test.run();
