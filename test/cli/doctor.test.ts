import { suite } from "uvu";
import * as assert from "uvu/assert";
import { cli, scratch } from "../run.ts";

const test = suite("cli/doctor");

test("a machine that runs these tests can be a host", async () => {
  const { stdout, code } = await cli(["doctor"]);
  assert.match(stdout, /^ok +Node 2/m);
  assert.match(stdout, /^ok +\d+ CPUs? for Jahs/m);
  assert.match(stdout, /^ok +RocksDB/m);
  assert.is(code, 0);
});

test("in a pipe there are colors only where they are asked for, on a build server too", async () => {
  const colored = /\x1b\[/;
  assert.not.match((await cli(["doctor"], { env: { CI: "1" } })).stdout, colored);
  assert.not.match((await cli(["doctor"], { env: { FORCE_COLOR: "0" } })).stdout, colored);
  assert.match((await cli(["doctor"], { env: { FORCE_COLOR: "1" } })).stdout, colored);
});

test("a folder that is none of a host is refused", async () => {
  const { stderr, code } = await cli(["doctor", "--data", scratch()]);
  assert.match(stderr, /is no data folder of a host/);
  assert.is(code, 1);
});

test.run();
