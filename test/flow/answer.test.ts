import { gzipSync } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { random, type RunOptions, runRows, seedOf, write } from "../run.ts";

const test = suite("the same answer, byte for byte");

const next = random(seedOf("answer"));

/** Rows of keys, integers and floats of many sizes, whose sum depends on the order in which they are added. */
function rows(count: number, keys: number, quoted: number): string {
  const lines: string[] = ["key,n,x\n"];
  for (let i = 0; i < count; i++) {
    const key = `key ${Math.floor(next() * next() * keys)}`;
    const x = (next() - 0.5) * 10 ** Math.floor(next() * 20 - 10);
    lines.push(`${next() < quoted ? `"${key}, ""\nquoted"` : key},${i},${x}\n`);
  }
  return lines.join("");
}

async function allTheSame(inputs: string, runs: RunOptions[]): Promise<Buffer> {
  let first: Buffer | undefined;
  for (const options of runs) {
    const { bytes, summary } = await runRows("everything", inputs, options);
    assert.is(summary.badRecords, 0);
    first ??= bytes;
    assert.ok(bytes.equals(first), JSON.stringify(options));
  }
  return first!;
}

test("with 1, 2, 4 and 8 Jahs: float sums, sketches, first and last", async () => {
  const path = write("answer.csv", rows(100_000, 20_000, 0));
  await allTheSame(path, [{ jahs: 1 }, { jahs: 2 }, { jahs: 4 }, { jahs: 8 }]);
  await allTheSame(path, [
    { jahs: 1, order: "-sum", table: "keys", limit: 50 },
    { jahs: 3, order: "-sum", table: "keys", limit: 50 },
  ]);
});

test("with many lines in quotes, in small frames", async () => {
  const path = write("quoted.csv", rows(20_000, 2000, 0.5));
  await allTheSame(
    path,
    [1, 2, 5].map((jahs) => ({ jahs, frameBytes: 4096 })),
  );
});

test("from a file, from gzip and from standard input", async () => {
  const csv = Buffer.from(rows(40_000, 5000, 0.2));
  const path = write("source.csv", csv);
  const zipped = gzipSync(csv, { level: 1 });
  const gz = write("source.csv.gz", zipped);
  for (const frameBytes of [512 * 1024, 10_000]) {
    const plain = await allTheSame(path, [{ jahs: 2, frameBytes }]);
    for (const [input, stdin] of [
      [gz, undefined],
      ["-", csv],
      ["-", zipped],
    ] as const) {
      const { bytes } = await runRows("everything", input, { frameBytes, ...(stdin ? { stdin } : {}) });
      assert.ok(bytes.equals(plain), `${input} ${frameBytes}`);
    }
  }
});

test("from a file and from standard input where a quote is never closed", async () => {
  const csv = Buffer.from(rows(5000, 500, 0.1).replace("\nkey", '\n"key'));
  const path = write("unclosed.csv", csv);
  const answers = [];
  for (const options of [{ jahs: 1 }, { jahs: 2 }, { jahs: 2, stdin: csv }]) {
    answers.push(
      await runRows("everything", "stdin" in options ? "-" : path, { frameBytes: 2000, ...options }),
    );
  }
  for (const { bytes, summary } of answers) {
    assert.ok(bytes.equals(answers[0].bytes));
    assert.is(summary.rows + summary.badRecords, answers[0].summary.rows + answers[0].summary.badRecords);
    assert.is(summary.badRecords, answers[0].summary.badRecords);
  }
});

test("as CSV, NDJSON and one JSON array", async () => {
  const path = write(
    "formats.ndjson",
    Array.from({ length: 3000 }, (_, i) => `{"x":${i / 7},"n":${i},"key":"k \\"${i % 99}\\""}\n`).join(""),
  );
  const options = { table: "keys", frameBytes: 5000 };
  const lines = await runRows("everything", path, options);
  const array = await runRows("everything", path, { ...options, format: "json" });
  assert.equal(array.rows, lines.rows);
  const csv = await runRows("everything", path, { ...options, format: "csv" });
  const expected = lines.rows.map(
    ({ key, count, sum }) => `keys,"${key.replaceAll('"', '""')}",${count},${sum}\n`,
  );
  assert.is(csv.text, `table,key,count,sum\n${expected.join("")}`);
});

test("with a million keys", async () => {
  const lines = Array.from({ length: 1_000_000 }, (_, i) => `${(i * 7919) % 1_000_003},${i},0.1\n`);
  const path = write("million.csv", `key,n,x\n${lines.join("")}`);
  const options = { table: "keys", limit: 10, order: "-key" };
  const bytes = await allTheSame(path, [
    { jahs: 1, ...options },
    { jahs: 2, ...options },
  ]);
  assert.is(bytes.toString().split("\n")[0], '{"table":"keys","key":"999999","count":1,"sum":0.1}');
  const all = await runRows("everything", path, { table: "keys", jahs: 4 });
  assert.is(all.summary.tables.keys, 1_000_000);
  assert.is(all.text.split("\n").length, 1_000_001);
  const keys = all.rows.map(({ key }) => key as string);
  for (let i = 1; i < keys.length; i++)
    if (!(keys[i - 1] < keys[i])) assert.unreachable(`${keys[i - 1]} before ${keys[i]}`);
});

test.run();
