/** Another kernel over the same state: what stays, what is new, what is gone, and what does not fit. */
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { fitState } from "../../host/compiler/fit.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { dirtyPages } from "../../host/kernel/pages.ts";
import { kernelOf, seeded } from "../run.ts";
import { Shard } from "./shard.ts";

const test = suite("assembly/state: swaps");

const ADDS: Record<string, [type: string, add: string]> = {
  count: ["Count", "add()"],
  sum: ["Sum<i64>", "add(row.n)"],
  least: ["Min<i64>", "add(row.n)"],
  stats: ["Stats", "add(<f64>row.n)"],
  first: ["First<Text>", "add(row.key)"],
  last: ["Last<Text>", "add(row.key)"],
  keys: ["Distinct", "add(row.key)"],
  values: ["Quantiles", "add(<f64>row.n)"],
  top: ["Top<Text>", "add(row.key)"],
};
type Tables = Record<string, string[]>;

/** A kernel of tables with fields of ADDS; a table called `words` has integers as keys. */
function kernel(tables: Tables): Promise<BuiltKernel> {
  const all = Object.entries(tables);
  const names = [
    ...new Set(all.flatMap(([, fields]) => fields.map((field) => ADDS[field][0].replace(/<.*/, "")))),
  ];
  const source = `import { Table, Text, ${names.join(", ")} } from "hallelujah";
@record class Row { key: Text; n: i64 }
${all.map(([name, fields]) => `@state class ${name.toUpperCase()} { ${fields.map((field) => `${field}: ${ADDS[field][0]};`).join(" ")} }`).join("\n")}
${all.map(([name]) => `const ${name} = new Table<${name === "words" ? "i64" : "Text"}, ${name.toUpperCase()}>("${name}");`).join("\n")}
export function each(row: Row): void {
${all.map(([name, fields]) => `  const of_${name} = ${name}.at(${name === "words" ? "row.n % 50" : "row.key"});\n${fields.map((field) => `  of_${name}.${field}.${ADDS[field][1]};`).join("\n")}`).join("\n")}
}`;
  return buildKernel(kernelOf("swapped", source));
}

function lines(count: number, seed: number): string {
  let state = seed;
  let text = "";
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const key = `key ${state % 900}${state % 7 ? "" : " with a name that is longer than what an entry holds"}`;
    text += `{"key":"${key}","n":${(state >> 4) % 5000}}\n`;
  }
  return text;
}

/** Values by table, field and key. */
function valuesOf(shard: Shard): Map<string, unknown> {
  const values = new Map<string, unknown>();
  for (const row of shard.rows()) {
    const { table, key, ...fields } = JSON.parse(row) as { table: string; key: unknown };
    for (const [field, value] of Object.entries(fields))
      values.set(`${table} ${field} ${String(key)}`, value);
  }
  return values;
}

test("a kernel of the same tables leaves every byte of the state as it is", async () => {
  const built = await kernel({ texts: ["count", "top"], words: ["stats"] });
  const shard = new Shard(built);
  await shard.add(lines(3000, 1));
  const before = shard.kernel.bytes.slice(map.ARENA, shard.kernel.arenaEnd);
  shard.swap(built);
  assert.ok(Buffer.from(before).equals(shard.kernel.bytes.subarray(map.ARENA, shard.kernel.arenaEnd)));
});

test("fields come and go, tables are declared in another order, and what stays goes on", async () => {
  const shard = new Shard(await kernel({ texts: ["count", "last", "keys"], words: ["sum", "top"] }));
  await shard.add(lines(3000, 1));
  const before = valuesOf(shard);
  shard.swap(await kernel({ words: ["values", "top", "sum"], texts: ["first", "keys", "count"] }));
  const after = valuesOf(shard);
  for (const [name, value] of after) {
    const [table, field] = name.split(" ");
    if (field === "values" || field === "first") assert.ok(value === null || typeof value === "object", name);
    else assert.equal(value, before.get(name), `${table} ${field}`);
  }
  assert.is(
    [...after].filter(([name]) => name.startsWith("texts count")).length,
    [...before].filter(([name]) => name.startsWith("texts count")).length,
  );
});

test("after any swaps each field holds what came since it was there last", async () => {
  const variants: Tables[] = [
    { texts: ["count", "first", "top"], words: ["sum"] },
    { texts: ["top", "keys", "count"], words: ["sum", "values"] },
    { words: ["values", "least", "sum"] },
    { words: ["sum", "last"], texts: ["stats", "top", "first", "count"] },
  ];
  const kernels = await Promise.all(variants.map(kernel));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ variant: fc.nat(variants.length - 1), seed: fc.nat() }), {
        minLength: 1,
        maxLength: 6,
      }),
      async (steps) => {
        const shard = new Shard(kernels[0]);
        // A shard for each table and field, of a kernel that has it all the time, from when it was added.
        const alone = new Map<string, { shard: Shard; field: string }>();
        let tables: Tables = {};
        for (const { variant, seed } of [{ variant: 0, seed: 1 }, ...steps]) {
          const next = variants[variant];
          shard.swap(kernels[variant]);
          for (const [table, fields] of Object.entries(next))
            for (const field of fields)
              if (!tables[table]?.includes(field))
                alone.set(`${table} ${field}`, {
                  shard: new Shard(await kernel({ [table]: [field] })),
                  field,
                });
          tables = next;
          const text = lines(400, seed);
          await shard.add(text);
          const values = valuesOf(shard);
          for (const [table, fields] of Object.entries(next)) {
            for (const field of fields) {
              const reference = alone.get(`${table} ${field}`)!.shard;
              await reference.add(text);
              // Keys from before the field was there have its empty value.
              for (const [name, value] of valuesOf(reference)) assert.equal(values.get(name), value, name);
            }
          }
        }
      },
    ),
    seeded(12),
  );
});

test("the memory of what is gone is used again", async () => {
  const [one, other] = [await kernel({ texts: ["top", "keys"] }), await kernel({ words: ["count"] })];
  const shard = new Shard(one);
  const round = async (i: number) => {
    await shard.add(lines(3000, i));
    shard.swap(other);
    await shard.add(lines(100, i));
    shard.swap(one);
  };
  for (let i = 0; i < 3; i++) await round(i);
  const end = shard.kernel.arenaEnd;
  for (let i = 3; i < 15; i++) await round(i);
  assert.ok(shard.kernel.arenaEnd <= end * 1.05, "the arena grew");
});

test("all that a swap changes is marked for the next checkpoint", async () => {
  const shard = new Shard(await kernel({ texts: ["count", "last"], words: ["sum"] }));
  await shard.add(lines(3000, 1));
  const { memory } = shard.kernel;
  new Uint8Array(memory.buffer, map.DIRTY, 65536).fill(0);
  const before = new Uint8Array(memory.buffer).slice(map.ARENA);
  shard.swap(await kernel({ texts: ["last", "keys", "count"] }));
  const after = new Uint8Array(memory.buffer, map.ARENA);
  const marked = new Set(dirtyPages(memory, shard.kernel.arenaEnd));
  for (let at = 0; at < before.length && at < after.length; at += 65536) {
    const same = Buffer.from(before.buffer, at, 65536).equals(after.subarray(at, at + 65536));
    if (!same) assert.ok(marked.has((map.ARENA + at) >>> 16), `page ${at >>> 16} changed and is not marked`);
  }
});

test("what does not fit is named with table, field and both types", async () => {
  const was = (await kernel({ texts: ["count"], words: ["sum"] })).descriptor;
  const changed = structuredClone(was);
  changed.tables[0].fields[0].aggregate = "Sum";
  changed.tables[0].fields[0].type = "f64";
  changed.tables[1].key = ["Text"];
  assert.equal(fitState(was, changed).misfits, [
    "texts: the field count is Sum<f64>, and was Count",
    "words: its key is Text, and was i64",
  ]);
  assert.equal(fitState(was, { ...was, time: { field: "at", lateness: 5 } }).misfits, [
    "the event time is at, 5 ms late at most, and was not used",
  ]);
});

const UPGRADES = (
  states: string,
  body: string,
) => `import { Count, Distinct, First, Last, Max, Quantiles, Stats, Sum, Table, Text, Top } from "hallelujah";
@record class Row { key: Text; n: i64 }
${states}
const texts = new Table<Text, Kept>("texts");
${body}`;
const OLD_FIELDS =
  "count: Count; first: First<Text>; top: Top<Text>; keys: Distinct; values: Quantiles; sum: Sum<i64>;";
const OLD_KERNEL = UPGRADES(
  `@state class Kept { ${OLD_FIELDS} }`,
  `export function each(row: Row): void {
  const kept = texts.at(row.key);
  kept.count.add(); kept.first.add(row.key); kept.top.add(row.key); kept.keys.add(row.key); kept.values.add(<f64>row.n); kept.sum.add(row.n);
}`,
);
/** Of the old fields `top` and \`count\` stay; \`sum\` is of another type, and the order of the old class is not that of the old kernel. */
const NEW_KERNEL = (body: string) =>
  UPGRADES(
    `@state class Was { sum: Sum<i64>; values: Quantiles; keys: Distinct; count: Count; top: Top<Text>; first: First<Text> }
@state class Kept { top: Top<Text>; sum: Sum<f64>; label: Last<Text>; longest: Max<Text>; count: Count; }`,
    `export function upgrade(was: Was, kept: Kept): void {
  ${body}
}
export function each(row: Row): void {
  const kept = texts.at(row.key);
  kept.count.add(); kept.top.add(row.key); kept.sum.add(<f64>row.n); kept.label.add(row.key); kept.longest.add(row.key);
}`,
  );
const FULL_UPGRADE = `kept.sum.add(<f64>was.sum.value + 0.5);
  kept.label.add(was.first.value);
  kept.longest.add(Text.of("a text that is made for each entry, longer than that of any key: ~"));
  kept.longest.add(was.first.value);`;

const built = (source: string) => buildKernel(kernelOf("upgraded", source));

test("upgrade makes each entry of the old one, of which fields of the same name and type are there already", async () => {
  const shard = new Shard(await built(OLD_KERNEL));
  await shard.add(lines(3000, 1));
  const before = valuesOf(shard);
  const next = await built(NEW_KERNEL(FULL_UPGRADE));
  shard.swap(next);
  const expect = (times: number) => {
    const after = valuesOf(shard);
    assert.is(after.size, (before.size / 6) * 5);
    for (const [name, value] of after) {
      const [, field, ...parts] = name.split(" ");
      const key = parts.join(" ");
      const was = (of: string) => before.get(`texts ${of} ${key}`);
      if (field === "sum") assert.is(value, (was("sum") as number) * times + 0.5);
      else if (field === "count") assert.is(value, (was("count") as number) * times);
      else if (field === "label") assert.is(value, key);
      else if (field === "longest") assert.is(value, key);
      else if (times === 1) assert.equal(value, was("top"));
    }
  };
  expect(1);
  await shard.add(lines(3000, 1));
  expect(2);
  // The fields are those of the new kernel now: there is nothing to upgrade.
  shard.swap(next);
  expect(2);
});

test("what an upgrade changes is marked, its blocks too, and what it drops is given back", async () => {
  const old = await built(OLD_KERNEL);
  // `top` is one and the same in both; what the function changes in it has to be on disk as well.
  const next = await built(
    NEW_KERNEL(`${FULL_UPGRADE} kept.top.add(Text.of("more")); was.top.add(Text.of("and more"));`),
  );
  const shard = new Shard(old);
  await shard.add(lines(3000, 1));
  const { memory } = shard.kernel;
  new Uint8Array(memory.buffer, map.DIRTY, 65536).fill(0);
  const before = new Uint8Array(memory.buffer).slice(map.ARENA);
  shard.swap(next);
  const after = new Uint8Array(memory.buffer, map.ARENA);
  const marked = new Set(dirtyPages(memory, shard.kernel.arenaEnd));
  for (let at = 0; at < before.length && at < after.length; at += 65536) {
    const same = Buffer.from(before.buffer, at, 65536).equals(after.subarray(at, at + 65536));
    if (!same) assert.ok(marked.has((map.ARENA + at) >>> 16), `page ${at >>> 16} changed and is not marked`);
  }
  for (const [name, value] of valuesOf(shard)) {
    if (!name.startsWith("texts top")) continue;
    const keys = (value as { key: string }[]).map(({ key }) => key);
    assert.ok(keys.includes("more") && keys.includes("and more"), name);
  }
});

test("swaps there and back by upgrades of both kernels use the memory again", async () => {
  const there = await built(NEW_KERNEL(FULL_UPGRADE));
  const back = await built(
    UPGRADES(
      `@state class Was { top: Top<Text>; sum: Sum<f64>; label: Last<Text>; longest: Max<Text>; count: Count; }
@state class Kept { ${OLD_FIELDS} }`,
      `export function upgrade(was: Was, kept: Kept): void {
  kept.sum.add(<i64>was.sum.value); kept.first.add(was.label.value); kept.keys.add(was.label.value); kept.values.add(was.sum.value);
}
${OLD_KERNEL.slice(OLD_KERNEL.indexOf("export function each"))}`,
    ),
  );
  const shard = new Shard(back);
  await shard.add(lines(3000, 1));
  const round = () => [there, back].forEach((kernel) => shard.swap(kernel));
  for (let i = 0; i < 3; i++) round();
  const end = shard.kernel.arenaEnd;
  for (let i = 3; i < 15; i++) round();
  assert.is(shard.kernel.arenaEnd, end);
});

test("an upgrade that stops says so", async () => {
  const shard = new Shard(await built(OLD_KERNEL));
  await shard.add(lines(100, 1));
  const stops = await built(NEW_KERNEL('if (was.count.value) throw new Error("not from here");'));
  assert.throws(() => shard.swap(stops), /not from here/);
});

test("an upgrade starts from the state that it names, and from no other", async () => {
  const was = (await built(OLD_KERNEL)).descriptor;
  const next = (await built(NEW_KERNEL(FULL_UPGRADE))).descriptor;
  const fit = fitState(was, next);
  assert.equal(fit.misfits, []);
  const { added, dropped, upgrade } = fit.tables[0];
  assert.equal(
    [added, dropped, upgrade?.length],
    [["sum", "label", "longest"], ["first", "keys", "values", "sum"], 6],
  );
  assert.is(fitState(next, next).tables[0].upgrade, undefined);
  const other = structuredClone(was);
  other.tables[0].fields[5].type = "u64";
  other.tables[0].fields[0].name = "counted";
  other.tables[0].key = ["i64"];
  assert.equal(fitState(other, next).misfits, [
    "texts: its key is Text, and was i64",
    "texts: the field sum of Was, which upgrade takes, is Sum<i64>, and was Sum<u64>",
    "texts: the field count of Was, which upgrade takes, is Count, and there was none",
    "texts: the field counted, which was Count, is not in Was, which upgrade takes",
  ]);
  // The way back has no upgrade.
  assert.equal(fitState(next, was).misfits, ["texts: the field sum is Sum<i64>, and was Sum<f64>"]);
});

test("datasets keep their places and columns; others may come behind them", async () => {
  const plain = (await kernel({ texts: ["count"] })).descriptor;
  const rows = (name: string, type: string) => ({
    name,
    record: "Row",
    fields: [{ name: "n", type, optional: false, kind: 2, width: 8 }],
  });
  const was = { ...plain, datasets: [rows("rows", "i64")] };
  const misfits = (...datasets: ReturnType<typeof rows>[]) => fitState(was, { ...plain, datasets }).misfits;
  assert.equal(misfits(rows("rows", "i64"), rows("more", "f64")), []);
  assert.equal(misfits(rows("rows", "Time")), ["rows: its rows are of n: Time, and were of n: i64"]);
  for (const others of [[], [rows("more", "i64"), rows("rows", "i64")]]) {
    assert.equal(misfits(...others), [
      "the dataset rows is number 1 of the old kernel's, and has to be that of the new one's",
    ]);
  }
  assert.equal(fitState(plain, was).misfits, []);
});

const WINDOWS = (
  fields: string,
  adds: string,
) => `import { Count, Sum, Text, Time, Window, Windows, out } from "hallelujah";
@record class Row { key: Text; @time at: Time; n: i64 }
@record class Closed { key: Text; count: u64 }
@state class Slot { ${fields} }
const slots = new Windows<Text, Slot>("slots", 1_000 * 60);
export function each(row: Row): void { const slot = slots.at(row.key, row.at); ${adds} }
export function close(window: Window, key: Text, slot: Slot): void { const row = new Closed(); row.key = key; row.count = slot.count.value; out.emit(row); }`;

test("windows whose states were upgraded close when they are due", async () => {
  const [one, other] = await Promise.all([
    buildKernel(kernelOf("windows", WINDOWS("count: Count;", "slot.count.add();"))),
    buildKernel(
      kernelOf(
        "windows",
        `${WINDOWS("sum: Sum<i64>; more: Sum<f64>; count: Sum<u64>;", "slot.count.add(1);")}
@state class Was { count: Count; }
export function upgradeSlots(was: Was, slot: Slot): void { slot.count.add(was.count.value); }`,
      ),
    ),
  ]);
  const frame = (minute: number) =>
    Array.from(
      { length: 200 },
      (_, i) =>
        `{"key":"key ${i % 90}","at":${JSON.stringify(new Date(minute * 60_000 + i * 400).toISOString())},"n":${i}}\n`,
    ).join("");
  const swapped = new Shard(one);
  const steady = new Shard(one);
  for (let minute = 0; minute < 6; minute++) {
    if (minute === 3) swapped.swap(other);
    const [is, was] = [await swapped.add(frame(minute)), await steady.add(frame(minute))];
    assert.is(is, was, `minute ${minute}`);
    if (minute) assert.ok(is.length > 1000);
  }
});

test("windows that are open stay open, and close when they are due", async () => {
  const [one, other] = await Promise.all([
    buildKernel(kernelOf("windows", WINDOWS("count: Count;", "slot.count.add();"))),
    buildKernel(
      kernelOf("windows", WINDOWS("sum: Sum<i64>; count: Count;", "slot.count.add(); slot.sum.add(row.n);")),
    ),
  ]);
  const frame = (minute: number) =>
    Array.from(
      { length: 200 },
      (_, i) =>
        `{"key":"key ${i % 90}","at":${JSON.stringify(new Date(minute * 60_000 + i).toISOString())},"n":${i}}\n`,
    ).join("");
  const swapped = new Shard(one);
  const steady = new Shard(one);
  for (let minute = 0; minute < 12; minute++) {
    if (minute % 3 === 2) swapped.swap(minute % 2 ? one : other);
    assert.is(await swapped.add(frame(minute)), await steady.add(frame(minute)), `minute ${minute}`);
  }
});

test.run();
