import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  binary,
  bool,
  CompressionType,
  columnFromArray,
  type DataType,
  dateDay,
  dateMillisecond,
  decimal128,
  decimal32,
  decimal64,
  dictionary,
  float16,
  float32,
  float64,
  int16,
  int32,
  int64,
  int8,
  largeUtf8,
  list,
  nullType,
  struct,
  tableFromColumns,
  tableFromIPC,
  tableToIPC,
  timeMicrosecond,
  timestamp,
  TimeUnit,
  uint32,
  uint64,
  uint8,
  utf8,
  field as arrowField,
  getCompressionCodec,
  setCompressionCodec,
} from "@uwdata/flechette";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { openArrow, readBatch } from "../../host/input/arrow.ts";
import type { Column, FieldType } from "../../host/kernel/columns.ts";

const test = suite("host/input/arrow");
const folder = await mkdtemp(join(tmpdir(), "hallelujah-arrow-"));
test.after(() => rm(folder, { recursive: true }));

type Value = number | bigint | boolean | string | null;

function valuesOf(column: Column, rows: number): Value[] {
  return Array.from({ length: rows }, (_, row): Value => {
    if (column.kind === "absent" || column.validity?.[row] === 0) return null;
    if (column.kind === "bool") return column.values[row] === 1;
    if (column.kind === "f64" || column.kind === "i64") return column.values[row];
    const entry = column.kind === "dictionary" ? column.codes[row] : row;
    return new TextDecoder().decode(column.bytes.subarray(column.offsets[entry], column.offsets[entry + 1]));
  });
}

async function readAll(path: string, name: string, type: FieldType): Promise<Value[]> {
  const file = await openArrow(path);
  const values: Value[] = [];
  for (let batch = 0; batch < file.batches.length; batch++) {
    const { rows, columns } = await readBatch(file, batch, [{ name, type, optional: true }]);
    for (const value of valuesOf(columns[0], rows)) values.push(value);
  }
  return values;
}

async function codeOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code ?? `no code: ${message}`;
  }
  return "no error";
}

type Format = "file" | "stream";

/** A file with one column of each given type, in batches of 100 rows. */
async function write(
  name: string,
  columns: Record<string, [unknown[], DataType]>,
  format: Format,
): Promise<string> {
  const options = { maxBatchRows: 100, useBigInt: true };
  const entries = Object.entries(columns).map(([key, [values, type]]) => [
    key,
    columnFromArray(values, type, options),
  ]);
  const bytes = tableToIPC(tableFromColumns(Object.fromEntries(entries)), { format });
  const path = join(folder, name);
  await writeFile(path, bytes!);
  return path;
}

const ROWS = 250;
/** Row numbers turned into values, every seventh missing. */
const some = <T>(value: (row: number) => T): (T | null)[] =>
  Array.from({ length: ROWS }, (_, row) => (row % 7 === 3 ? null : value(row)));

const day = 86_400_000;
const COLUMNS: Record<string, [unknown[], DataType]> = {
  i8: [some((i) => (i % 100) - 50), int8()],
  i16: [some((i) => i - 300), int16()],
  i32: [some((i) => -i * 1_000), int32()],
  i64: [some((i) => 2n ** 60n + BigInt(i)), int64()],
  u8: [some((i) => i), uint8()],
  u32: [some((i) => 4_294_967_295 - i), uint32()],
  u64: [some((i) => 2n ** 64n - 1n - BigInt(i)), uint64()],
  f16: [some((i) => i / 2), float16()],
  f32: [some((i) => i / 8), float32()],
  f64: [some(Math.sqrt), float64()],
  bool: [some((i) => i % 3 === 0), bool()],
  text: [some((i) => `Zürich ${i}`), utf8()],
  large: [some((i) => `Bern ${i}`), largeUtf8()],
  binary: [some((i) => Buffer.from(`b${i}`)), binary()],
  city: [some((i) => `city ${i % 5}`), dictionary(utf8(), int8())],
  codes: [some((i) => BigInt(i % 5) * 2n ** 55n), dictionary(int64(), int32())],
  // a bigint is the unscaled value; flechette 2.6.0 scales other numbers of a decimal32 wrongly
  d32: [some((i) => BigInt(i) * 25n), decimal32(9, 2)],
  d64: [some((i) => i / 4), decimal64(18, 3)],
  d128: [some((i) => i / 4), decimal128(38, 9)],
  day: [some((i) => new Date((i - 100) * day)), dateDay()],
  date: [some((i) => new Date((i - 100) * day)), dateMillisecond()],
  seconds: [some((i) => (i - 100) * 1_000), timestamp(TimeUnit.SECOND)],
  micros: [some((i) => i - 100), timestamp(TimeUnit.MICROSECOND)],
  nanos: [some((i) => i - 100), timestamp(TimeUnit.NANOSECOND)],
  clock: [some((i) => BigInt(i) * 1_000_000n + 5n), timeMicrosecond()],
  none: [some(() => null), nullType()],
};

const CHECKS: [string, FieldType, (row: number) => Value][] = [
  ["i8", "i64", (i) => BigInt((i % 100) - 50)],
  ["i16", "i64", (i) => BigInt(i - 300)],
  ["i32", "i64", (i) => BigInt(-i * 1_000)],
  ["i32", "decimal", (i) => BigInt(-i) * 1_000_000_000n],
  ["i64", "i64", (i) => 2n ** 60n + BigInt(i)],
  ["i64", "text", (i) => String(2n ** 60n + BigInt(i))],
  ["u8", "u64", (i) => BigInt(i)],
  ["u32", "i64", (i) => BigInt(4_294_967_295 - i)],
  ["u64", "u64", (i) => BigInt(-1 - i)],
  ["u64", "text", (i) => String(2n ** 64n - 1n - BigInt(i))],
  ["f16", "f64", (i) => i / 2],
  ["f32", "f64", (i) => i / 8],
  ["f64", "f64", Math.sqrt],
  ["bool", "bool", (i) => i % 3 === 0],
  ["text", "text", (i) => `Zürich ${i}`],
  ["large", "text", (i) => `Bern ${i}`],
  ["binary", "text", (i) => `b${i}`],
  ["city", "text", (i) => `city ${i % 5}`],
  ["codes", "i64", (i) => BigInt(i % 5) * 2n ** 55n],
  ["codes", "text", (i) => String(BigInt(i % 5) * 2n ** 55n)],
  ["d32", "decimal", (i) => BigInt(i) * 250_000n],
  ["d32", "text", (i) => (i / 4).toFixed(2)],
  ["d64", "decimal", (i) => BigInt(i) * 250_000n],
  ["d128", "decimal", (i) => BigInt(i) * 250_000n],
  ["d128", "f64", (i) => i / 4],
  ["day", "time", (i) => BigInt((i - 100) * day)],
  ["date", "time", (i) => BigInt((i - 100) * day)],
  ["seconds", "time", (i) => BigInt(i - 100) * 1_000n],
  ["micros", "time", (i) => BigInt(i - 100)],
  ["nanos", "time", (i) => BigInt(i - 100)],
  [
    "clock",
    "text",
    (i) => `00:${String(Math.floor(i / 60)).padStart(2, "0")}:${String(i % 60).padStart(2, "0")}.000005`,
  ],
  ["none", "f64", () => null],
];

for (const format of ["file", "stream"] as const) {
  test(`reads every type, with missing values, of a ${format}`, async () => {
    const path = await write(`types-${format}.arrow`, COLUMNS, format);
    const file = await openArrow(path);
    assert.equal(
      file.batches.map(({ rows }) => rows),
      [100, 100, 50],
    );
    assert.equal(
      file.columns.map(({ name }) => name),
      Object.keys(COLUMNS),
    );
    for (const [name, type, value] of CHECKS) {
      assert.equal(await readAll(path, name, type), some(value), `${name} as ${type}`);
    }
  });
}

const flights = fileURLToPath(
  new URL("../../node_modules/vega-datasets/data/flights-200k.arrow", import.meta.url),
);

test("reads the flights as flechette does", async () => {
  const table = tableFromIPC(await readFile(flights));
  const file = await openArrow(flights);
  assert.equal(
    file.columns.map(({ name }) => name),
    table.names,
  );
  assert.is(
    file.batches.reduce((sum, { rows }) => sum + rows, 0),
    table.numRows,
  );
  for (const { name } of file.columns) {
    const found = await readAll(flights, name, "f64");
    const wanted = table.getChild(name)!.toArray() as ArrayLike<number>;
    assert.ok(
      found.length === wanted.length && found.every((value, row) => Number(value) === wanted[row]),
      name,
    );
  }
});

test("keeps the dictionary of a text column", async () => {
  const file = await openArrow(await write("dictionary.arrow", { city: COLUMNS.city }, "file"));
  const { columns } = await readBatch(file, 1, [{ name: "city", type: "text", optional: false }]);
  assert.is(columns[0].kind, "dictionary");
});

test("reads files without rows", async () => {
  const path = await write(
    "empty.arrow",
    { city: [[], dictionary(utf8(), int8())], number: [[], int32()] },
    "stream",
  );
  assert.equal(await readAll(path, "number", "i64"), []);
  assert.equal(await readAll(path, "city", "text"), []);
});

test("offers no nested columns, and says what a column can fill", async () => {
  const nested: Record<string, [unknown[], DataType]> = {
    list: [[[1, 2]], list(arrowField("item", int32()))],
    struct: [[{ a: 1 }], struct([arrowField("a", int32())])],
    text: [["x"], utf8()],
    number: [[1.5], float64()],
  };
  const file = await openArrow(await write("nested.arrow", nested, "file"));
  const read = (name: string, type: FieldType, optional = false) =>
    codeOf(() => readBatch(file, 0, [{ name, type, optional }]));
  assert.is(await read("list", "i64"), "column-unsupported");
  assert.is(await read("struct", "text"), "column-unsupported");
  assert.is(await read("text", "f64"), "column-type");
  assert.is(await read("number", "i64"), "column-value");
  assert.is(await read("nothing", "i64"), "column-missing");
  assert.is(await read("nothing", "i64", true), "no error");
  assert.is(await read("text", "text"), "no error");
});

/** A zstd frame that stores its bytes raw (RFC 8878). */
function storeZstd(bytes: Uint8Array): Uint8Array {
  const block = (bytes.length << 3) | 1;
  const size = Buffer.alloc(4);
  size.writeUInt32LE(bytes.length);
  return Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0]),
    size,
    Buffer.from([block, block >> 8, block >> 16]),
    bytes,
  ]);
}

// Writes zstd without a compressor; flechette keeps what does not get shorter as it is.
test("reads bodies compressed with zstd, refuses LZ4", async () => {
  const ours = getCompressionCodec(CompressionType.ZSTD)!;
  const shorter = (bytes: Uint8Array): Uint8Array => {
    // a run-length block where all bytes agree, else too long to be kept
    if (bytes.length < 20 || bytes.some((byte) => byte !== bytes[0])) return storeZstd(bytes);
    const block = (bytes.length << 3) | 3;
    const size = Buffer.alloc(4);
    size.writeUInt32LE(bytes.length);
    return Buffer.concat([
      Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0]),
      size,
      Buffer.from([block, block >> 8, block >> 16, bytes[0]]),
    ]);
  };
  const column = columnFromArray(
    Array.from({ length: 100 }, () => 7),
    int8(),
  );
  const rows = tableFromColumns({
    n: column,
    m: columnFromArray(
      Array.from({ length: 100 }, (_, i) => i),
      int32(),
    ),
  });
  for (const [codec, code] of [
    [CompressionType.ZSTD, "no error"],
    [CompressionType.LZ4_FRAME, "input-unsupported"],
  ] as const) {
    setCompressionCodec(codec, { encode: shorter, decode: ours.decode });
    const path = join(folder, `compressed-${codec}.arrow`);
    await writeFile(path, tableToIPC(rows, { codec })!);
    setCompressionCodec(codec, codec === CompressionType.ZSTD ? ours : (undefined as never));
    assert.is(await codeOf(() => readAll(path, "n", "i64")), code);
    if (code === "no error") {
      assert.equal(
        await readAll(path, "n", "i64"),
        Array.from({ length: 100 }, () => 7n),
      );
      assert.equal(
        await readAll(path, "m", "i64"),
        Array.from({ length: 100 }, (_, i) => BigInt(i)),
      );
    }
  }
});

test("a truncated or damaged file is an error with a code, never a crash or a hang", async () => {
  for (const format of ["file", "stream"] as const) {
    const whole = await readFile(await write(`whole-${format}.arrow`, COLUMNS, format));
    const broken = join(folder, "broken.arrow");
    const readEverything = async (): Promise<void> => {
      const file = await openArrow(broken);
      for (let batch = 0; batch < file.batches.length; batch++) {
        for (const { name, serves } of file.columns) {
          await readBatch(
            file,
            batch,
            serves.slice(0, 1).map((type) => ({ name, type, optional: true })),
          );
        }
      }
    };
    for (const bytes of [0, 3, 9, 20, 500, whole.length >> 1]) {
      await writeFile(broken, whole.subarray(0, bytes));
      assert.is(await codeOf(readEverything), "input-corrupt", `the first ${bytes} bytes of a ${format}`);
    }
    let seed = 12_345;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const known = ["no error", "input-corrupt", "input-unsupported", "column-value", "column-unsupported"];
    for (let round = 0; round < 60; round++) {
      const damaged = Buffer.from(whole);
      for (let byte = 0; byte < 4; byte++)
        damaged[random(round % 2 === 0 ? 3_000 : whole.length)] = random(256);
      await writeFile(broken, damaged);
      const code = await codeOf(readEverything);
      assert.ok(known.includes(code), `round ${round}: ${code}`);
    }
  }
});

test.run();
