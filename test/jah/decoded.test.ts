import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { DecodedFrames } from "../../host/hallelu/decoded.ts";
import { planOf } from "../../host/input/csv-header.ts";
import { type MappedFrame, Mapper, type Sharing } from "../../host/jah/mapper.ts";
import { createMemory, KernelInstance } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { DECODED_HEAD_BYTES } from "../../host/wire/decoded.ts";
import type { SourceFormat } from "../../host/wire/jah.ts";

const test = suite(
  "host/jah/decoded.ts: what one kernel decodes is mapped by another as if it had decoded it",
);

/** Fields of all kinds; each record changes some of what it was given, and what it emits shows all of them. */
const kernelOf = (
  fields: string,
  own = "",
) => `import { Count, Decimal, First, Optional, out, Table, Text, Time } from "hallelujah";
@record class Row { ${fields} }
@record class Seen { ${fields} }
@state class Kept { rows: Count${own ? "; first: First<Text>" : ""} }
const rows = new Table<Text, Kept>("rows");
export function each(row: Row): void {
  const kept = rows.at(row.name);
  kept.rows.add();
  ${own}
  const seen = new Seen();
  ${fields
    .split(";")
    .map((field) => /(\w+): (Optional)?/.exec(field)!)
    .map(([, name, optional]) =>
      optional
        ? `if (row.${name}.present) seen.${name}.value = row.${name}.value;`
        : `seen.${name} = row.${name};`,
    )
    .join("\n  ")}
  out.emit(seen);
}`;
const ALL =
  "n: i32; name: Text; at: Optional<Time>; price: f64; note: Optional<Text>; ok: Optional<bool>; cost: Decimal; big: u64; small: Optional<f32>";
const SOME = "small: Optional<f32>; note: Optional<Text>; name: Text; n: i32; at: Optional<Time>";
const COLUMNS = ["id", "n", "name", "at", "price", "note", "ok", "cost", "big", "small"];

let folder: string;
let first: BuiltKernel;
let second: BuiltKernel;
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), "hallelujah-decoded-"));
  const build = (name: string, source: string) => {
    writeFileSync(join(folder, name), source);
    return buildKernel(join(folder, name));
  };
  first = await build("first.ts", kernelOf(ALL));
  second = await build("second.ts", kernelOf(SOME, "if (row.note.present) kept.first.add(row.note.value);"));
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

function mapperOf({ path, descriptor }: BuiltKernel, format: SourceFormat) {
  const kernel = new KernelInstance(new WebAssembly.Module(readFileSync(path)), createMemory(64 << 20));
  kernel.exports.start(map.NDJSON, 0x2c);
  const plan = format === "csv" ? planOf("rows", COLUMNS, descriptor.input.fields) : [];
  const source = { format, size: 0, dataStart: 0, delimiter: 0x2c, plan };
  return new Mapper(kernel, [source], 1, [], 512 * 1024);
}

/** Two streams over one log, in one process. */
function pairOf(format: SourceFormat) {
  const [one, other, plain] = [first, second, second].map((each) => mapperOf(each, format));
  const reader = { at: 0, kernelOf: () => second.descriptor };
  const decoded = new DecodedFrames({ path: folder, make: () => {}, remove: () => {} }, () => 0);
  let frame = 0;
  return (text: string, damage: (file: string) => void = () => {}) => {
    const bytes = Buffer.from(text);
    const path = join(folder, "log");
    writeFileSync(path, bytes);
    const task = {
      kind: "slice" as const,
      frame: (reader.at = frame++),
      source: 0,
      path,
      offset: 0,
      bytes: bytes.length,
      sum: crc32(bytes),
    };
    const run = (mapper: Mapper, sharing: Sharing) => mapper.mapRead(task, undefined, undefined, sharing);
    // Which formats and sizes it is worth for is decided elsewhere.
    const logged = { frame: task.frame, bytes: 1 << 20, format: "ndjson" as const };
    const keep = decoded.keep(logged, first.descriptor, [reader])!;
    const kept = run(one, { keep });
    decoded.mapped(task.frame, { id: keep.id, bytes: kept.keptBytes ?? 0 });
    if (kept.keptBytes) damage(keep.path);
    const read = decoded.of(task.frame, reader);
    const shared = run(other, read ? { decoded: read } : {});
    decoded.read(task.frame, reader);
    same(shared, run(plain, {}));
    return { kept, shared };
  };
}

function same(a: MappedFrame, b: MappedFrame): void {
  const { emitted, ...done } = a.done;
  const { emitted: otherEmitted, ...otherDone } = b.done;
  assert.equal(done, otherDone);
  const isSame = (one: Uint8Array = Buffer.alloc(0), other: Uint8Array = Buffer.alloc(0)) =>
    Buffer.compare(one, other) === 0;
  assert.ok(isSame(emitted, otherEmitted));
  assert.is(a.parts[0].length, b.parts[0].length);
  assert.ok(a.parts[0].every((part, i) => isSame(part, b.parts[0][i])));
}

const texts = fc.oneof(
  fc.constantFrom("", "Oslo", "Zürich", "a long name of a town that has more than thirty-two bytes"),
  fc.string({ maxLength: 6 }),
);
const good = fc.record(
  {
    id: fc.nat(),
    n: fc.integer(),
    name: texts,
    at: fc.constantFrom("2026-01-02T03:04:05.678Z", null),
    price: fc.double({ noNaN: true, noDefaultInfinity: true }),
    note: fc.oneof(texts, fc.constant(null)),
    ok: fc.oneof(fc.boolean(), fc.constant(null)),
    cost: fc.constantFrom(1.25, -3, 0),
    big: fc.nat(),
    small: fc.float({ noNaN: true, noDefaultInfinity: true }),
  },
  { requiredKeys: ["n", "name", "price", "cost", "big"] },
);
/** Broken for one kernel, or both, or none. */
const odd = fc.oneof(
  good.map((row) => JSON.stringify({ ...row, price: "much" })),
  good.map((row) => JSON.stringify({ ...row, n: null })),
  good.map((row) => JSON.stringify(row).slice(0, -1)),
  good.map((row) => JSON.stringify({ user: { name: "x", n: [1, { a: "}" }] }, ...row })),
  good.map((row) => ` ${JSON.stringify(row).replaceAll(",", " ,\t")} \r`),
  fc.constantFrom("", "{}", "[1]", "no JSON"),
);
const ndjson = fc
  .array(
    fc.oneof(
      { arbitrary: good.map((row) => JSON.stringify(row)), weight: 20 },
      { arbitrary: odd, weight: 1 },
    ),
    { maxLength: 40 },
  )
  .map((lines) => lines.map((line) => `${line}\n`).join(""));

test("NDJSON: the same entries, rows and counts, whatever the records are", () => {
  const pair = pairOf("ndjson");
  let [came, not] = [0, 0];
  fc.assert(
    fc.property(ndjson, (text) => {
      const { kept, shared } = pair(text);
      // Kept is what has neither a bad record nor an escape that was resolved.
      assert.is(shared.cameDecoded === true, kept.keptBytes !== undefined);
      if (kept.done.bad || !kept.done.rows) assert.not(shared.cameDecoded);
      if (kept.done.rows && !kept.done.bad && !text.includes("\\")) assert.ok(shared.cameDecoded);
      if (shared.cameDecoded) came++;
      else not++;
    }),
    { numRuns: 200 },
  );
  assert.ok(came > 30 && not > 30, `${came} came decoded, ${not} did not`);
});

test("CSV: the same, with quotes and empty fields", () => {
  const pair = pairOf("csv");
  const cell = (value: unknown) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const row = good.map((record) =>
    COLUMNS.map((name) => cell(record[name as keyof typeof record])).join(","),
  );
  let came = 0;
  fc.assert(
    fc.property(fc.array(row, { maxLength: 30 }), (rows) => {
      if (pair(rows.map((each) => `${each}\n`).join("")).shared.cameDecoded) came++;
    }),
    { numRuns: 200 },
  );
  assert.ok(came > 20, `${came}`);
});

test("more records than a part or a file holds", () => {
  const pair = pairOf("ndjson");
  const linesOf = (count: number, name: string) =>
    Array.from(
      { length: count },
      (_, i) => `{"n":${i},"name":"${name}${i}","price":1,"cost":1,"big":1}\n`,
    ).join("");
  const parts = pair(linesOf(36_000, "n".repeat(360)));
  assert.ok(parts.shared.cameDecoded);
  assert.ok(parts.shared.parts[0].length > 1);
  // 64 bytes a row: there is no room for all.
  const many = pair(linesOf(70_000, "n"));
  assert.is(many.kept.done.rows, 70_000);
  assert.is(many.kept.keptBytes, undefined);
});

test("a file that is damaged, cut off, another one or not there is not used", () => {
  const pair = pairOf("ndjson");
  const text = Array.from(
    { length: 20 },
    (_, i) => `{"n":${i},"name":"Oslo","price":1,"cost":1,"big":1,"note":"x${i}"}\n`,
  ).join("");
  let before: Buffer | undefined;
  const cases: ((file: string, bytes: Buffer) => Buffer | undefined)[] = [
    (_file, bytes) => bytes.subarray(0, 20),
    (_file, bytes) => bytes.subarray(0, bytes.length - 1),
    () => Buffer.alloc(0),
    () => before, // of the frame before
    (file) => void rmSync(file),
    // A sum that is right, over rows whose texts lie anywhere.
    (_file, bytes) => withTexts(bytes, 0xffff_fff0),
    (_file, bytes) => withTexts(bytes, 0),
  ];
  for (const damage of cases) {
    const { shared } = pair(text, (file) => {
      const bytes = readFileSync(file);
      const damaged = damage(file, bytes);
      if (damaged) writeFileSync(file, damaged);
      before = bytes;
    });
    assert.not(shared.cameDecoded, `case ${cases.indexOf(damage)}`);
  }
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, bits) => {
      const { shared } = pair(text, (file) => {
        const bytes = readFileSync(file);
        bytes[at % bytes.length] ^= bits;
        writeFileSync(file, bytes);
      });
      assert.not(shared.cameDecoded);
    }),
    { numRuns: 200 },
  );
  assert.ok(pair(text).shared.cameDecoded);
});

/** Whoever wrote this meant harm: all words of the rows are views of what lies at an address. */
function withTexts(file: Buffer, address: number): Buffer {
  const bytes = Buffer.from(file);
  for (let at = DECODED_HEAD_BYTES; at < bytes.length; at += 8) {
    bytes.writeUInt32LE(address, at);
    bytes.writeUInt32LE(64, at + 4);
  }
  const sum = crc32(bytes.subarray(DECODED_HEAD_BYTES), crc32(bytes.subarray(0, DECODED_HEAD_BYTES - 4)));
  bytes.writeUInt32LE(sum, DECODED_HEAD_BYTES - 4);
  return bytes;
}

test.run();
