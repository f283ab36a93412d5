import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { ColumnType, Raw } from "../../host/input/file-column.ts";
import { fitColumn, lookUp } from "../../host/input/fit.ts";
import type { Column } from "../../host/kernel/columns.ts";
import {
  compactDictionary,
  cutFrames,
  FRAME_SLACK_BYTES,
  frameBytes,
  rowsOf,
  sliceColumn,
  writeFrame,
} from "../../host/kernel/columns.ts";
import { compile } from "../assembly/compile.ts";

const test = suite("host/kernel/columns, assembly/record/columns");

type Value = number | bigint | string | null;

interface Reader {
  rows(base: number): number;
  present(base: number, field: number, row: number): number;
  readF64(base: number, field: number, row: number): number;
  readI64(base: number, field: number, row: number): bigint;
  readBool(base: number, field: number, row: number): number;
  text(base: number, field: number, row: number, slot: number): void;
}

const { exports, memory, base } = await compile<Reader>(
  `
  import {
    columnAt, columnBool, columnF64, columnI64, columnPresent, columnRows, columnText,
  } from "./record/columns";
  export function rows(base: usize): u32 { return columnRows(base); }
  export function present(base: usize, field: u32, row: u32): bool {
    return columnPresent(columnAt(base, field), row);
  }
  export function readF64(base: usize, field: u32, row: u32): f64 {
    return columnF64(columnAt(base, field), row);
  }
  export function readI64(base: usize, field: u32, row: u32): i64 {
    return columnI64(columnAt(base, field), row);
  }
  export function readBool(base: usize, field: u32, row: u32): bool {
    return columnBool(columnAt(base, field), row);
  }
  export function text(base: usize, field: u32, row: u32, slot: usize): void {
    columnText(columnAt(base, field), row, slot);
  }
`,
);
const bytes = new Uint8Array(memory.buffer);
const slot = Math.ceil(base / 8) * 8;
const start = slot + 8;

function textColumn(texts: readonly string[], validity?: Uint8Array): Column {
  const parts = texts.map((text) => new TextEncoder().encode(text));
  const offsets = new Uint32Array(texts.length + 1);
  parts.forEach((part, row) => {
    offsets[row + 1] = offsets[row] + part.length;
  });
  return { kind: "text", offsets, bytes: Buffer.concat(parts), ...(validity && { validity }) };
}

/** What the kernel reads from the frame at `start`. */
function readField(field: number, column: Column, rows: number): Value[] {
  return Array.from({ length: rows }, (_, row): Value => {
    if (!exports.present(start, field, row)) return null;
    if (column.kind === "f64") return exports.readF64(start, field, row);
    if (column.kind === "i64") return exports.readI64(start, field, row);
    if (column.kind === "bool") return exports.readBool(start, field, row);
    exports.text(start, field, row, slot);
    const [at, length] = new Uint32Array(memory.buffer, slot, 2);
    return new TextDecoder().decode(bytes.subarray(at, at + length));
  });
}

const rowsMax = 40;
const validity = fc.uint8Array({ minLength: rowsMax, maxLength: rowsMax, max: 1 });
const present = fc.option(validity, { nil: undefined });
const of = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: rowsMax, maxLength: rowsMax });

/** A column and what each of its rows holds. */
type Known = { column: Column; values: Value[] };

function known(column: Column, values: Value[], mask: Uint8Array | undefined): Known {
  const shown = values.map((value, row) => (mask !== undefined && mask[row] === 0 ? null : value));
  return { column: mask === undefined ? column : { ...column, validity: mask }, values: shown };
}

const columns: fc.Arbitrary<Known> = fc.oneof(
  fc
    .tuple(of(fc.double({ noNaN: true })), present)
    .map(([values, mask]) => known({ kind: "f64", values: Float64Array.from(values) }, values, mask)),
  fc
    .tuple(of(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })), present)
    .map(([values, mask]) => known({ kind: "i64", values: BigInt64Array.from(values) }, values, mask)),
  fc
    .tuple(of(fc.nat({ max: 1 })), present)
    .map(([values, mask]) => known({ kind: "bool", values: Uint8Array.from(values) }, values, mask)),
  fc
    .tuple(of(fc.string({ unit: "binary" })), present)
    .map(([values, mask]) => known(textColumn(values), values, mask)),
  fc
    .tuple(fc.array(fc.string({ unit: "binary" }), { minLength: 1, maxLength: 90 }), of(fc.nat()), present)
    .map(([entries, picks, mask]) => {
      const codes = Uint32Array.from(picks, (pick) => pick % entries.length);
      return known(
        lookUp(codes, undefined, textColumn(entries)),
        Array.from(codes, (code) => entries[code]),
        mask,
      );
    }),
  fc.constant({ column: { kind: "absent" }, values: Array.from({ length: rowsMax }, () => null) } as Known),
);

test("the kernel reads what the host wrote, of any slice", () => {
  fc.assert(
    fc.property(fc.array(columns, { maxLength: 6 }), fc.nat(rowsMax), fc.nat(rowsMax), (fields, a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const rows = to - from;
      const slices = fields.map(({ column }) => sliceColumn(column, from, to));
      bytes.fill(0xff, start, bytes.length);
      const end = writeFrame(bytes, start, bytes.length, rows, slices);
      assert.is(end - start, frameBytes(slices, rows));
      assert.is(bytes[end], 0xff, "nothing is written behind the end");
      assert.is(exports.rows(start), rows);
      fields.forEach(({ column, values }, field) => {
        const found = readField(field, column, rows);
        found.forEach((value, row) =>
          assert.ok(Object.is(value, values[from + row]), `field ${field}, row ${row}`),
        );
      });
    }),
    { numRuns: 300 },
  );
});

test("numbers convert between f64, i64 and bool", () => {
  const values: Column[] = [
    { kind: "i64", values: BigInt64Array.of(-3n) },
    { kind: "f64", values: Float64Array.of(-7) },
    { kind: "bool", values: Uint8Array.of(1) },
  ];
  writeFrame(bytes, start, bytes.length, 1, values);
  assert.equal(
    [0, 1, 2].map((field) => exports.readF64(start, field, 0)),
    [-3, -7, 1],
  );
  assert.equal(
    [0, 1, 2].map((field) => exports.readI64(start, field, 0)),
    [-3n, -7n, 1n],
  );
});

test("every area is aligned to 8", () => {
  const mask = Uint8Array.of(1, 0, 1);
  const fields = [
    textColumn(["a", "", "bcd"], mask),
    { kind: "bool", values: Uint8Array.of(1, 0, 1), validity: mask } as Column,
  ];
  writeFrame(bytes, start, bytes.length, 3, fields);
  const words = new Uint32Array(memory.buffer, start, 2 + 2 * 8);
  for (const field of [0, 1]) for (const word of [1, 2, 3, 4]) assert.is(words[2 + field * 8 + word] % 8, 0);
});

test("a frame that does not fit the window is refused before anything is written", () => {
  const column = textColumn(["x".repeat(100)]);
  const needs = frameBytes([column], 1) + FRAME_SLACK_BYTES;
  bytes.fill(0xff, start, start + 200);
  assert.throws(
    () => writeFrame(bytes, start, start + needs - 1, 1, [column]),
    (error: { code: string }) => error.code === "frame-too-large",
  );
  assert.is(bytes[start], 0xff);
  assert.is(writeFrame(bytes, start, start + needs, 1, [column]) + FRAME_SLACK_BYTES, start + needs);
});

test("cuts cover all rows in order and fit, and depend on the data alone", () => {
  fc.assert(
    fc.property(
      fc.array(columns, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 50 }),
      (fields, most) => {
        const all = fields.map(({ column }) => column);
        const capacity =
          1 +
          Math.max(
            ...Array.from({ length: rowsMax }, (_, row) =>
              frameBytes(
                all.map((column) => sliceColumn(column, row, row + 1)),
                1,
              ),
            ),
          ) +
          FRAME_SLACK_BYTES;
        const cuts = cutFrames(all, rowsMax, capacity, most);
        let at = 0;
        for (const [from, to] of cuts) {
          assert.is(from, at);
          assert.ok(to > from && to - from <= most);
          writeFrame(
            bytes,
            start,
            start + capacity,
            to - from,
            all.map((column) => sliceColumn(column, from, to)),
          );
          at = to;
        }
        assert.is(at, rowsMax);
      },
    ),
  );
  assert.equal(cutFrames([{ kind: "absent" }], 0, 1_000), []);
  assert.equal(cutFrames([{ kind: "absent" }], 65_537, 1_000), [
    [0, 65_536],
    [65_536, 65_537],
  ]);
  const long = [textColumn(["x".repeat(1_000)])];
  assert.throws(
    () => cutFrames(long, 1, 500),
    (error: { code: string }) => error.code === "record-too-large",
  );
});

test("a dictionary longer than its slice keeps the entries in use", () => {
  const entries = textColumn(Array.from({ length: 1_000 }, (_, entry) => `entry ${entry}`));
  const column = lookUp(Uint32Array.of(999, 5, 999), undefined, entries);
  const compact = compactDictionary(column);
  assert.is(compact.kind === "dictionary" && compact.offsets.length, 3);
  assert.is(rowsOf(compact), 3);
  writeFrame(bytes, start, bytes.length, 3, [column]);
  assert.equal(readField(0, column, 3), ["entry 999", "entry 5", "entry 999"]);
});

const time = (unit: "us" | "ns" | "s" | "day"): ColumnType => ({ is: "time", unit });

test("times are rounded down to milliseconds, before 1970 too", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      for (const [unit, divisor] of [
        ["us", 1_000n],
        ["ns", 1_000_000n],
      ] as const) {
        const fitted = fitColumn({ kind: "i64", values: BigInt64Array.of(value) }, time(unit), "time", "t");
        const rest = ((value % divisor) + divisor) % divisor;
        assert.is(fitted.kind === "i64" && fitted.values[0], (value - rest) / divisor);
      }
    }),
  );
});

test("decimals are exact or refused", () => {
  const arbitrary = fc.tuple(fc.bigInt({ min: -(2n ** 100n), max: 2n ** 100n }), fc.nat(12));
  fc.assert(
    fc.property(arbitrary, ([unscaled, scale]) => {
      const fits = BigInt.asIntN(64, unscaled) === unscaled;
      const raw: Raw = fits
        ? { kind: "i64", values: BigInt64Array.of(unscaled) }
        : { kind: "wide", values: [unscaled] };
      const millionths =
        scale <= 6 ? unscaled * 10n ** BigInt(6 - scale) : unscaled / 10n ** BigInt(scale - 6);
      const exact =
        millionths * 10n ** BigInt(Math.max(scale - 6, 0)) ===
        unscaled * 10n ** BigInt(Math.max(6 - scale, 0));
      let found: bigint | undefined;
      try {
        const column = fitColumn(raw, { is: "decimal", scale }, "decimal", "d");
        if (column.kind === "i64") found = column.values[0];
      } catch (error) {
        assert.is((error as { code: string }).code, "column-value");
      }
      assert.is(found, exact && BigInt.asIntN(64, millionths) === millionths ? millionths : undefined);
    }),
    { numRuns: 1_000 },
  );
});

test("a value that is missing is not judged", () => {
  const column: Raw = { kind: "f64", values: Float64Array.of(Number.NaN, 2), validity: Uint8Array.of(0, 1) };
  const fitted = fitColumn(column, { is: "float", single: false }, "i64", "n");
  assert.equal(fitted.kind === "i64" && [...fitted.values], [0n, 2n]);
  assert.equal(fitted.validity, Uint8Array.of(0, 1));
});

test.run();
