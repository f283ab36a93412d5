/** What `load` says of a stream that has read its files. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { loaded } from "../../host/cli/load.ts";
import type { RecordField } from "../../host/compiler/descriptor.ts";
import { mistypedOf } from "../../host/input/reasons.ts";
import type { Problem } from "../../host/wire/jah.ts";

const test = suite("host/cli/load.ts: what is said of loaded files");

const plan = {
  files: [{ path: "live/spread.ts", size: 400 }],
  format: "csv" as const,
  columns: ["import { Quantiles", "Stats", "Table", 'Text } from "hallelujah";'],
};
const problem = (reason: string) => ({
  frame: 0,
  source: "/d/spread.ts",
  reason,
  record: "@rec\u001b[2Jord",
});
const short = problem("it has 1 field, fewer than there are columns");

test("where no record fits, it fails, and says what the file was taken for and how to go on", () => {
  let error: { code: string; message: string } | undefined;
  try {
    loaded({ name: "x", records: 0, badRecords: 16, problems: [short] }, plan);
  } catch (why) {
    error = why as { code: string; message: string };
  }
  assert.is(error?.code, "load-misfit");
  const { message } = error!;
  assert.match(
    message,
    /^no record of live\/spread\.ts fits; .* taken for CSV .*"import { Quantiles", "Stats"/,
  );
  assert.match(message, "16 records did not fit, such as /d/spread.ts: it has 1 field, fewer");
  assert.not.match(message, "\u001b");
  assert.match(message, /x stays, .*hallelujah rm x$/);
});

test("where some fit, it says how many do not; of empty files there is nothing wrong", () => {
  const some = loaded({ name: "x", records: 1, badRecords: 2, problems: [short] }, plan);
  assert.match(some.misfits, /^2 records did not fit, such as/);
  assert.match(some.text, /^x keeps 1 row of 4 columns; ask for them: /);
  assert.not.match(some.misfits, "--types");
  assert.is(loaded({ name: "x", records: 0, badRecords: 0 }, plan).misfits, "");
});

test("types are spoken of where a value does not have its column's, by the names of these columns", () => {
  const typed = ["n", "Seen at", "n"].map((mistyped) => ({ ...problem("it is not that"), mistyped }));
  const { misfits } = loaded({ name: "x", records: 9, badRecords: 4, problems: [short, ...typed] }, plan);
  assert.match(misfits, /first 256 KiB; .*: --types 'n=text,Seen at=text'\n$/);
});

const field = (type: string) => ({ source: "n", type }) as RecordField;
test("a record that is no JSON, or too long, has no column of another type", () => {
  const of = (reason: number, type = "i64", at = 0) =>
    mistypedOf({ reason, field: at } as Problem, [field(type)]);
  assert.equal(
    [3, 4, 5, 6, 7, 12].map((reason) => of(reason)),
    Array(6).fill("n"),
  );
  for (const reason of [1, 2, 8, 9, 10, 11, 13, 15, 16]) assert.is(of(reason), undefined);
  assert.is(of(12, "Text"), undefined);
  assert.is(of(10, "i64", -1), undefined);
});

test.run();
