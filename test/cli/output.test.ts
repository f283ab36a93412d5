/** What is printed where nobody reads it any more, or where it cannot be written. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { cli, scratch, write } from "../run.ts";

const test = suite("host/cli: output that nobody takes");

/** Descriptor 3 is a pipe whose reader has gone. */
const GONE = "exec 3> >(true); wait $!; HALLELUJAH";
const inputs = write("readings.csv", "station,temperature\nOslo,-3.5\n");
const kernel = join(packageRoot, "examples", "stations.ts");

test("a reader that has gone is no error, whatever is printed", async () => {
  for (const args of [
    ["--help"],
    ["swap", "--help"],
    ["--version"],
    ["run", "--sql", "SELECT count(*) FROM data", "--explain", inputs],
    ["run", kernel, inputs],
    ["build", kernel, "-o", join(scratch(), "stations.wasm")],
    ["new", join(scratch(), "project")],
  ]) {
    const { code, stderr } = await cli(args, { shell: `${GONE} >&3` });
    assert.equal([code, stderr], [0, ""], args.join(" "));
  }
});

test("what is said to nobody does not change the exit code", async () => {
  assert.is((await cli(["swap", "--no-such"], { shell: `${GONE} 2>&3` })).code, 2);
  assert.is((await cli(["run", kernel, "no-such.csv"], { shell: `${GONE} 2>&3` })).code, 1);
});

if (existsSync("/dev/full"))
  test("a disk that is full is told in a sentence", async () => {
    for (const args of [["--help"], ["--version"]]) {
      const { code, stderr } = await cli(args, { shell: "HALLELUJAH > /dev/full" });
      assert.is(code, 1);
      assert.match(stderr, /^hallelujah: the output cannot be written: no space left on device.*\n$/);
    }
  });

test("a host whose output nobody reads any more goes on until it is told to stop", async () => {
  const main = join(packageRoot, "dist", "cli", "main.js");
  const up = ["up", "--listen", "127.0.0.1:0", "--cpus", "1", "--data", join(scratch(), "data")];
  const child = spawn(process.execPath, [main, ...up]);
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  const ended = once(child, "close");
  await once(child.stdout, "data");
  child.stdout.destroy();
  child.kill("SIGTERM");
  assert.equal(await ended, [0, null], complaints);
  assert.is(complaints, "");
});

test.run();
