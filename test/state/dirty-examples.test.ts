/** The examples, too, change no page without a mark; see watched.ts. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { packageRoot } from "../../host/core/package-root.ts";
import { kernelFile, random, seedOf } from "../run.ts";
import { walk } from "./watched.ts";

const test = suite("assembly/state: no page changes without a mark, examples");
const seed = seedOf("dirty pages of the examples");

test("the examples, a kernel of every aggregate, and one without a table", async () => {
  const folder = join(packageRoot, "examples");
  const examples = readdirSync(folder).filter((name) => name.endsWith(".ts"));
  assert.ok(examples.length >= 9);
  for (const file of [
    ...examples.map((name) => join(folder, name)),
    kernelFile("everything"),
    kernelFile("types"),
  ]) {
    await walk(file, 3000, 4000, 40, random(seed));
  }
});

test.run();
