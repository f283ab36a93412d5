/** What `load` says of a stream that has read its files. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { loaded } from "../../host/cli/load.ts";

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
  assert.is(loaded({ name: "x", records: 0, badRecords: 0 }, plan).misfits, "");
});

test.run();
