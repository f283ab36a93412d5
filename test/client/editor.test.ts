/** What editors say of kernels: nothing, unless there is a mistake. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";

const test = suite("the kernel's types in editors");
const scaffold = mkdtempSync(join(tmpdir(), "hallelujah-editor-"));

test.before(() => {
  cpSync(join(packageRoot, "templates", "kernel"), scaffold, { recursive: true });
  mkdirSync(join(scaffold, "node_modules"));
  symlinkSync(packageRoot, join(scaffold, "node_modules", "hallelujah"));
  symlinkSync(join(packageRoot, "node_modules", "uvu"), join(scaffold, "node_modules", "uvu"));
});

test.after(() => rmSync(scaffold, { recursive: true, force: true }));

/** TypeScript's complaints about a project, a line each. */
function complaints(project: string): string[] {
  const tsc = join(packageRoot, "node_modules", "typescript", "bin", "tsc");
  const { stdout } = spawnSync(process.execPath, [tsc, "--noEmit", "--pretty", "false", "-p", project], {
    encoding: "utf8",
  });
  return stdout.split("\n").filter((line) => /error TS\d+/.test(line));
}

function inScaffold(kernel: string): string[] {
  const file = join(scaffold, "kernels", "tried.ts");
  writeFileSync(file, kernel);
  try {
    return complaints(scaffold);
  } finally {
    rmSync(file);
  }
}

test("examples and benchmarks have no mistakes", () => {
  assert.equal(complaints(join(packageRoot, "examples")), []);
});

test("a new project has no mistakes, neither in its kernel nor in its test", () => {
  assert.equal(complaints(scaffold), []);
  assert.equal(complaints(join(scaffold, "test", "jsconfig.json")), []);
});

test("every name of the SDK is there, with AssemblyScript's own beside it", () => {
  const kernel = `
    import { Count, Cursor, Decimal, Distinct, First, Last, Max, Min, Optional, Pair, Quantiles } from "hallelujah";
    import { Stats, Sum, Table, Text, Time, Top, Triple, out, pair, triple } from "hallelujah";
    @record class Sale { @name("user.id") user: i64; at: Time; price: Decimal; vip: bool; note: Optional<Text> }
    @record class Seen { note: Text; price: Decimal; count: Optional<i32> }
    @state class Kept {
      n: Count; total: Sum<Decimal>; f: Sum; lo: Min<i32>; hi: Max<Time>; first: First<Text>; last: Last<Time>;
      users: Distinct; q: Quantiles; top: Top<Text>; s: Stats;
    }
    const hours = new Table<Pair<Text, i32>, Kept>("hours");
    const days = new Table<Triple<Time, bool, Decimal>, Kept>("days");
    const LIMIT: i64 = 1_000_000;
    function half(x: f64): f64 { return x / 2; }
    export function each(sale: Sale): void {
      const kept = hours.at(pair(sale.note.or(Text.of("none")), sale.at.hour));
      days.at(triple(sale.at.floor(86_400_000), sale.vip, sale.price)).n.add(2);
      kept.total.add(sale.price.plus(Decimal.of(LIMIT)));
      kept.f.add(half(<f64>sale.user) + Mathf.sqrt(2) + max<f64>(1, 2) + f64.MAX_VALUE);
      kept.lo.add(<i32>sale.user >> 2);
      kept.hi.add(sale.at);
      kept.users.add(pair(sale.user, sale.at));
      kept.q.add(sale.price);
      const list = new StaticArray<i32>(4);
      list[0] = String.UTF8.byteLength("x");
      if (sale.price < Decimal.of(5) && sale.note.present && sale.note.value != Text.of("x")) {
        const cursor = new Cursor(sale.note.value);
        while (!cursor.done) kept.top.add(cursor.until(0x20).trim());
        const seen = new Seen();
        seen.note = sale.note.value;
        seen.count.value = list[0];
        out.emit(seen);
      }
    }`;
  assert.equal(inScaffold(kernel), []);
});

test("a mistake shows", () => {
  const head =
    'import { Stats, Table, Text } from "hallelujah";\n@record class R { k: Text; v: f64 }\n@state class S { s: Stats }\n';
  const table = 'const t = new Table<Text, S>("t");\n';
  const each = (body: string) => inScaffold(`${head}${table}export function each(r: R): void { ${body} }\n`);
  for (const body of [
    "t.at(r.kk);",
    "t.at(r.v);",
    "t.at(r.k).s.add(r.k);",
    "t.at(r.k).s.push(1);",
    "new Text();",
  ]) {
    const found = each(body);
    assert.is(found.length, 1, body);
    assert.match(found[0], /tried\.ts\(5,/);
  }
  assert.is(inScaffold(head.replace("@record", "@recrod")).length, 1);
});

test.run();
