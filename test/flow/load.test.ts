/** Files whose names and contents do not say what they are. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { write } from "../run.ts";
import { prints } from "./commands.ts";
import { startHost } from "./host.ts";

const test = suite("flow/load");

test("files are loaded as what their user says that they are, by the host, too", async () => {
  const file = write("days.csv", '{"day":"a","n":1}\n{"day":"b","n":2}\n');
  const host = await startHost({ cpus: 1 });
  try {
    const said = await prints(host.url, ["load", "days", file, "--input-format", "ndjson"]);
    assert.match(said, /^days keeps 2 rows of 2 columns/);
    const query = "SELECT sum(n) AS total FROM days";
    assert.is(await prints(host.url, ["query", "days", query]), '{"total":3}\n');
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test.run();
