/** Inputs: text and its header lines, gzip, Parquet and Arrow; whatever the bytes, records or an error that says what is wrong. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import {
  columnFromArray,
  CompressionType,
  dictionary,
  fixedSizeBinary,
  float64,
  getCompressionCodec,
  int32,
  int64,
  tableFromColumns,
  tableToIPC,
  timestamp,
  TimeUnit,
  utf8,
} from "@uwdata/flechette";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { RecordField } from "../../host/compiler/descriptor.ts";
import { openArrow, readBatch } from "../../host/input/arrow.ts";
import { csvShape } from "../../host/input/csv-header.ts";
import { Cutter } from "../../host/input/cutter.ts";
import { formatOf } from "../../host/input/discover.ts";
import { plainTexts } from "../../host/input/parquet-encodings.ts";
import { openParquet, readRowGroup } from "../../host/input/parquet.ts";
import { ByteStream } from "../../host/input/stream.ts";
import { checkThrift } from "../../host/input/thrift-check.ts";
import { type Column, rowsOf } from "../../host/kernel/columns.ts";
import { PLAN_END } from "../../host/kernel/memory-map.ts";
import { Decoder, scratch } from "../run.ts";
import { cases, damage, noise, outcomeNow, outcomeOf } from "./mutate.ts";

const test = suite("fuzz: host/input");
const root = mkdtempSync(join(scratch(), "fuzz-input-"));

/** Text that looks like what is read, as far as chance has it. */
const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(",", ";", "\t", '"', "\n", "\r\n", '""', "a", "\ufeff", "{", "}", "[", "\\u", "1e9"),
      fc.string(),
    ),
    { maxLength: 60 },
  )
  .map((parts) => Buffer.from(parts.join("")));

// --- text ----------------------------------------------------------------------------------------------------------

const field = (name: string): RecordField => ({
  name,
  source: name,
  type: "Text",
  optional: false,
  offset: 0,
});

test("any first line is a header with the wanted columns, or is said to be none", () => {
  fc.assert(
    fc.property(
      fc.oneof(text, noise),
      fc.subarray(["a", "b", ""]),
      fc.option(fc.nat(127)),
      (bytes, names, delimiter) => {
        const fields = names.map(field);
        const given = delimiter === null || delimiter === 10 || delimiter === 34 ? {} : { delimiter };
        const { value, error } = outcomeNow(() => csvShape("in.csv", bytes, fields, given));
        if (error) return assert.ok(["field-missing", "field-twice", "header-too-long"].includes(error.code));
        const { columns, dataStart, plan } = value!;
        assert.ok(dataStart >= 0 && dataStart <= bytes.length && plan.at(-1) === PLAN_END);
        let column = 0;
        for (let i = 0; i < plan.length - 2; i += 2) {
          column += plan[i];
          assert.is(columns[column++], fields[plan[i + 1]].source);
        }
      },
    ),
    cases(1500),
  );
});

test("any bytes have a format, or are refused with what to do", () => {
  fc.assert(
    fc.property(
      fc.oneof(text, noise),
      fc.constantFrom("a.csv", "a.ndjson", "a", "a.parquet", "a.log.gz"),
      fc.boolean(),
      (bytes, name, lines) => {
        const { error } = outcomeNow(() => formatOf(name, bytes, undefined, lines));
        if (error) assert.ok(["input-binary", "input-format"].includes(error.code), error.code);
      },
    ),
    cases(1000),
  );
});

test("a stream is cut at the same places however it comes, and no byte is lost", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 });
  fc.assert(
    fc.property(
      fc.oneof(text, noise),
      sizes,
      fc.boolean(),
      fc.integer({ min: 1, max: 64 }),
      (bytes, chunks, quotes, frame) => {
        const cut = (lengths: number[]) => {
          const cutter = new Cutter(0, quotes, 0x2c, frame);
          const frames: Buffer[] = [];
          const take = () => {
            for (let next = cutter.next(); next; next = cutter.next()) frames.push(next.bytes);
          };
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const length = lengths[i % lengths.length];
            cutter.push(bytes.subarray(at, at + length));
            at += length;
            take();
          }
          cutter.end();
          take();
          return frames;
        };
        const frames = cut(chunks);
        assert.ok(Buffer.concat(frames).equals(bytes));
        assert.equal(
          cut([1 << 20]).map(({ length }) => length),
          frames.map(({ length }) => length),
        );
      },
    ),
    cases(1000),
  );
});

test("records of any bytes are rows, or are counted as bad", async () => {
  const decoder = await Decoder.of("types");
  const { fields } = decoder.descriptor.input;
  const header = `${fields.map(({ source }) => source).join(",")}\n`;
  const row = (i: number) => Object.fromEntries(fields.map(({ source, type }) => [source, valueOf(type, i)]));
  const rows = Array.from({ length: 6 }, (_, i) => row(i));
  const csv = Buffer.from(header + rows.map((each) => `${Object.values(each).join(",")}\n`).join(""));
  const ndjson = Buffer.from(rows.map((each) => `${JSON.stringify(each)}\n`).join(""));
  assert.is((await decoder.ndjson(ndjson)).bad + (await decoder.csv(csv)).bad, 0);
  await fc.assert(
    fc.asyncProperty(damage, fc.oneof(text, noise), async (change, odd) => {
      for (const bytes of [change(ndjson), odd]) {
        const { rows: found, bad } = await decoder.ndjson(bytes);
        assert.ok(found.length + bad <= bytes.filter((byte) => byte === 10).length + 1);
      }
      const body = Buffer.concat([Buffer.from(header), change(csv.subarray(header.length))]);
      const { rows: found, bad } = await decoder.csv(body);
      assert.ok(found.length + bad <= body.filter((byte) => byte === 10).length);
    }),
    cases(400),
  );
});

function valueOf(type: string, i: number): unknown {
  if (type === "bool") return i % 2 === 0;
  if (type === "Time") return `2024-05-01T10:00:0${i}Z`;
  return type === "Text" ? `text ${i}` : i;
}

// --- gzip ----------------------------------------------------------------------------------------------------------

async function unzipped(bytes: Buffer): Promise<Buffer> {
  const stream = await ByteStream.open("-", Readable.from([bytes.subarray(0, 7), bytes.subarray(7)]));
  const chunks: Buffer[] = [];
  for (let chunk = await stream.next(); chunk; chunk = await stream.next()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("gzip is what was compressed, or is broken", async () => {
  const plain = Buffer.from("station;-12.3\n".repeat(400));
  const zipped = gzipSync(plain);
  const two = Buffer.concat([zipped, gzipSync(plain)]);
  assert.ok((await unzipped(two)).equals(Buffer.concat([plain, plain])));
  for (const cut of [2, 9, 10, 11, 30, zipped.length - 9, zipped.length - 8, zipped.length - 1])
    assert.is(
      (await outcomeOf(() => unzipped(zipped.subarray(0, cut)))).error?.code,
      "input-corrupt",
      `${cut} bytes`,
    );
  await fc.assert(
    fc.asyncProperty(damage, async (change) => {
      const changed = change(zipped);
      const { value, error } = await outcomeOf(() => unzipped(changed));
      if (error) return assert.is(error.code, "input-corrupt");
      // Its head may hold what does not matter, or no longer say that it is gzip; what follows a member is not gzip any more.
      assert.ok(
        value!.equals(plain) || value!.equals(changed) || value!.length === 0 || isRepeat(value!, plain),
      );
    }),
    cases(200),
  );
});

function isRepeat(bytes: Buffer, plain: Buffer): boolean {
  return bytes.length % plain.length === 0 && bytes.subarray(0, plain.length).equals(plain);
}

// --- columns -------------------------------------------------------------------------------------------------------

const CODES = ["input-corrupt", "input-unsupported", "column-value", "column-unsupported", "column-overflow"];
const CHANGED = join(root, "changed");

/** Columns have as many values as they say, within their bytes. */
function checkColumn(column: Column, rows: number): void {
  assert.ok(column.kind === "absent" || rowsOf(column) === rows, `${column.kind} of ${rows} rows`);
  if (column.kind !== "text" && column.kind !== "dictionary") return;
  const { offsets, bytes } = column;
  for (let i = 1; i < offsets.length; i++)
    assert.ok(offsets[i - 1] <= offsets[i] && offsets[i] <= bytes.length);
  if (column.kind === "dictionary")
    for (const code of column.codes) assert.ok(code < offsets.length - 1 || column.validity);
}

async function readParquet(bytes: Buffer): Promise<void> {
  writeFileSync(CHANGED, bytes);
  const file = await openParquet(CHANGED);
  for (const [group, { rows }] of file.rowGroups.entries())
    for (const { name, serves } of file.columns) {
      const wishes = [...serves.slice(0, 1), ...serves.slice(-1)].map((type) => ({
        name,
        type,
        optional: true,
      }));
      for (const column of (await readRowGroup(file, group, wishes)).columns) checkColumn(column, rows);
    }
}

async function readArrow(bytes: Buffer): Promise<void> {
  writeFileSync(CHANGED, bytes);
  const file = await openArrow(CHANGED);
  for (const [batch, { rows }] of file.batches.entries())
    for (const { name, serves } of file.columns) {
      const wishes = [...serves.slice(0, 1), ...serves.slice(-1)].map((type) => ({
        name,
        type,
        optional: true,
      }));
      for (const column of (await readBatch(file, batch, wishes)).columns) checkColumn(column, rows);
    }
}

async function corrupted(read: (bytes: Buffer) => Promise<void>, bytes: Buffer): Promise<string | undefined> {
  const { error } = await outcomeOf(() => read(bytes));
  if (error) assert.ok(CODES.includes(error.code), error.code);
  return error?.code;
}

const duck = await (await DuckDBInstance.create()).connect();
async function parquet(codec: string, version: string): Promise<Buffer> {
  const path = join(root, `${codec}-${version}.parquet`);
  const select = `SELECT i::INTEGER AS a, CASE WHEN i % 5 = 0 THEN NULL ELSE 'text ' || (i % 9) END AS b, i / 7.0 AS c,
    i % 2 = 0 AS d, (i * 1000000)::DECIMAL(38, 4) AS e, DATE '2024-01-01' + i::INTEGER AS f, repeat('x', i % 30) || i AS g
    FROM range(300) r(i)`;
  await duck.run(
    `COPY (${select}) TO '${path}' (FORMAT parquet, COMPRESSION ${codec}, PARQUET_VERSION ${version})`,
  );
  return readFileSync(path);
}

test("Parquet that was changed: columns that hold together, or damage that is said to be", async () => {
  for (const [codec, version] of [
    ["uncompressed", "V2"],
    ["snappy", "V1"],
    ["zstd", "V2"],
  ]) {
    const whole = await parquet(codec, version);
    await readParquet(whole);
    const footer = whole.length - 8 - whole.readUInt32LE(whole.length - 8);
    await fc.assert(
      fc.asyncProperty(damage, fc.boolean(), async (change, inFooter) => {
        // A footer keeps its length where it can, so that more is read than that it is wrong.
        const tail = change(whole.subarray(footer, whole.length - 8));
        const end = Buffer.from(whole.subarray(-8));
        end.writeUInt32LE(tail.length, 0);
        await corrupted(
          readParquet,
          inFooter ? Buffer.concat([whole.subarray(0, footer), tail, end]) : change(whole),
        );
      }),
      cases(90),
    );
  }
});

/** A Parquet file whose footer is these bytes. */
function withFooter(footer: number[]): Buffer {
  const end = Buffer.from("\0\0\0\0PAR1");
  end.writeUInt32LE(footer.length, 0);
  return Buffer.concat([Buffer.from("PAR1"), Buffer.from(footer), end]);
}

test("a footer that claims lists in lists, each of millions, makes no room for them", async () => {
  const million = [0xf9, 0xff, 0xff, 0xff, 0x0f]; // a list of 2^25 - 1 lists
  const footer = [0x29, ...Array.from({ length: 400 }, () => million).flat()];
  const before = process.memoryUsage().heapTotal;
  assert.is(await corrupted(readParquet, withFooter(footer)), "input-corrupt");
  assert.ok(process.memoryUsage().heapTotal - before < 128 << 20, "memory was taken for what is not there");
  // Numbers of any length, structs in structs.
  assert.is(await corrupted(readParquet, withFooter([0x16, ...Array(200_000).fill(0xff)])), "input-corrupt");
  assert.is(await corrupted(readParquet, withFooter(Array(200_000).fill(0x1c))), "input-corrupt");
  assert.is(await corrupted(readParquet, withFooter(Array(200_000).fill(0x19))), "input-corrupt");
});

test("any bytes are a struct of Thrift, or are not; neither takes long", () => {
  fc.assert(
    fc.property(noise, (bytes) => {
      try {
        checkThrift({ view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length), offset: 0 });
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof RangeError) && !(error instanceof TypeError));
      }
    }),
    cases(3000),
  );
});

test("a row group of more rows than any has, and a page of more bytes than its own can hold, are damage", async () => {
  const whole = await parquet("snappy", "V1");
  const file = await (async () => {
    writeFileSync(CHANGED, whole);
    return openParquet(CHANGED);
  })();
  const wish = { name: "b", type: "text" as const, optional: false };
  const { meta_data: meta } = file.metadata.row_groups[0].columns[1];
  // Where the page's header says how large it becomes: a zigzag varint behind the page's type, field 2.
  const header = Number(meta!.dictionary_page_offset ?? meta!.data_page_offset);
  assert.is(whole[header + 2], 0x15);
  const claim = Buffer.concat([
    whole.subarray(0, header + 3),
    Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f]), // 2 GiB
    whole.subarray(header + 3 + varintBytes(whole, header + 3)),
  ]);
  writeFileSync(CHANGED, claim);
  const grown = { ...file, bytes: claim.length };
  const { error } = await outcomeOf(() => readRowGroup(grown, 0, [wish]));
  assert.is(error?.code, "input-corrupt");
  assert.ok(error!.message.includes("claims to hold"), error!.message);
});

function varintBytes(bytes: Buffer, at: number): number {
  let length = 1;
  while (bytes[at + length - 1] & 0x80) length++;
  return length;
}

function arrow(format: "file" | "stream"): Buffer {
  const rows = Array.from({ length: 120 }, (_, i) => i);
  const options = { maxBatchRows: 50, useBigInt: true };
  const column = (value: (i: number) => unknown, type: Parameters<typeof columnFromArray>[1]) =>
    columnFromArray(
      rows.map((i) => (i % 7 === 3 ? null : value(i))),
      type,
      options,
    );
  const table = tableFromColumns({
    a: column((i) => i, int32()),
    b: column((i) => `text ${i}`, utf8()),
    c: column((i) => i / 7, float64()),
    d: column((i) => `city ${i % 4}`, dictionary(utf8(), int32())),
    e: column((i) => BigInt(i) * 3n, int64()),
    f: column((i) => i * 1000, timestamp(TimeUnit.MILLISECOND)),
    g: column((i) => Uint8Array.of(i, 1, 2, 3), fixedSizeBinary(4)),
  });
  return Buffer.from(tableToIPC(table, { format })!);
}

for (const format of ["file", "stream"] as const)
  test(`an Arrow ${format} that was changed: columns that hold together, or damage that is said to be`, async () => {
    const whole = arrow(format);
    await readArrow(whole);
    // Metadata lies at the front and, of a file, at the end.
    const place = fc.constantFrom(0, 0, whole.length >> 1);
    await fc.assert(
      fc.asyncProperty(damage, place, fc.integer({ min: 200, max: 3000 }), async (change, from, length) => {
        const part = whole.subarray(from, from + length);
        const changed = Buffer.concat([whole.subarray(0, from), change(part), whole.subarray(from + length)]);
        await corrupted(readArrow, changed);
      }),
      cases(150),
    );
  });

/** Arrow's metadata with 32-bit words of one value made another, one place at a time. */
function* patched(whole: Buffer, from: number, to: number): Generator<Buffer> {
  const wanted = Buffer.alloc(4);
  wanted.writeUInt32LE(from);
  for (let at = whole.indexOf(wanted); at >= 0; at = whole.indexOf(wanted, at + 1)) {
    const changed = Buffer.from(whole);
    changed.writeUInt32LE(to, at);
    yield changed;
  }
}

test("values of no bytes each are damage, and not as many as a batch claims to have", async () => {
  const ROWS = 50;
  const column = columnFromArray(
    Array.from({ length: ROWS }, (_, i) => new Uint8Array(12_345).fill(i)),
    fixedSizeBinary(12_345),
  );
  const whole = Buffer.from(tableToIPC(tableFromColumns({ g: column }), { format: "stream" })!);
  await readArrow(whole);
  // The width is there once, in the schema; the rows in the batch and in its one node.
  const [narrow] = patched(whole, 12_345, 0);
  let claimed = narrow;
  for (let i = 0; i < 2; i++) [claimed] = patched(claimed, ROWS, 100_000_000);
  assert.is(await corrupted(readArrow, claimed), "input-corrupt");
});

test("a buffer of zstd of more bytes than its own can hold is damage", () => {
  const codec = getCompressionCodec(CompressionType.ZSTD)!;
  const bytes = Buffer.alloc(40, 7);
  for (const length of [2 ** 23, 2 ** 31, 2 ** 40, -1, Number.NaN])
    assert.throws(() => codec.decode(bytes, length), /claims to hold/);
});

test("texts of a page that has no room for them make no room for them", () => {
  const view = new DataView(new ArrayBuffer(64));
  for (const count of [17, 2 ** 20, 2 ** 31 - 1, 2 ** 40])
    assert.throws(() => plainTexts(view, 0, count), /texts in 64 bytes/);
  assert.is(plainTexts(view, 0, 16).offsets.length, 17);
});

test("a row group of more rows than any has is damage", async () => {
  const whole = await parquet("uncompressed", "V1");
  // Its rows are the zigzag varint of 300; the greatest that is taken is 2^26.
  const rows = Buffer.from([0xd8, 0x04]);
  const codes = new Set<string | undefined>();
  for (
    let at = whole.lastIndexOf(rows);
    at > whole.length - 8 - whole.readUInt32LE(whole.length - 8);
    at = whole.lastIndexOf(rows, at - 1)
  ) {
    const footer = Buffer.concat([
      whole.subarray(0, at),
      Buffer.from([0x80, 0x80, 0x80, 0x80, 0x02]),
      whole.subarray(at + 2),
    ]);
    footer.writeUInt32LE(whole.readUInt32LE(whole.length - 8) + 3, footer.length - 8);
    writeFileSync(CHANGED, footer);
    const { value, error } = await outcomeOf(() => openParquet(CHANGED));
    codes.add(error?.code);
    for (const { rows: found } of value?.rowGroups ?? []) assert.ok(found <= 2 ** 26, `${found} rows`);
  }
  assert.ok(codes.has("input-corrupt"));
});

test.run();
