/** Built kernels by what they are: when one is found, and when it has to be built anew. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel, findBuilt } from "../../host/compiler/cache.ts";

const test = suite("compiler: the cache");
const folders: string[] = [];
const before = process.env.HALLELUJAH_CACHE;

/** A folder with a kernel and what it imports; answers the kernel's path. */
function kernelIn(words: { step: string; name?: string }): string {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-cache-"));
  folders.push(folder);
  writeFileSync(join(folder, "step.ts"), `export const STEP: i32 = ${words.step};\n`);
  const kernel = join(folder, words.name ?? "kernel.ts");
  writeFileSync(
    kernel,
    `import { Sum, Table, Text } from "hallelujah";
import { STEP } from "./step";
@record class R { k: Text }
@state class S { n: Sum }
const t = new Table<Text, S>("t");
export function each(r: R): void { t.at(r.k).n.add(STEP); }
`,
  );
  return kernel;
}

test.before(() => {
  process.env.HALLELUJAH_CACHE = mkdtempSync(join(tmpdir(), "hallelujah-cache-"));
  folders.push(process.env.HALLELUJAH_CACHE);
});

test.after(() => {
  if (before === undefined) delete process.env.HALLELUJAH_CACHE;
  else process.env.HALLELUJAH_CACHE = before;
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

test("the same kernel in another folder is found; one that differs in what it imports, or in its name, is not", async () => {
  const kernel = kernelIn({ step: "1" });
  assert.is(findBuilt(kernel), undefined);
  const { path, cached } = await buildKernel(kernel);
  assert.not(cached);
  assert.is(findBuilt(kernel)?.path, path);
  // Hosts put what clients send into a new folder each time.
  assert.is(findBuilt(kernelIn({ step: "1" }))?.path, path);
  assert.is(findBuilt(kernelIn({ step: "2" })), undefined);
  assert.is(
    findBuilt(kernelIn({ step: "1", name: "other.ts" })),
    undefined,
    "places in the source are named by it",
  );
});

test.run();
