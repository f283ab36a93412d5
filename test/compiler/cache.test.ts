/** Built kernels by what they are: when one is found, and when it has to be built anew. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel, findBuilt, sourceFile } from "../../host/compiler/cache.ts";
import { packageRoot } from "../../host/core/package-root.ts";

const test = suite("compiler: the cache");
const folders: string[] = [];
const { HALLELUJAH_CACHE: before, HALLELUJAH_CACHE_FILES: filesBefore, OTHER_NODE } = process.env;

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

test("what is built quickly lies beside what is built for long", async () => {
  const kernel = kernelIn({ step: "7" });
  const long = await buildKernel(kernel);
  assert.is(findBuilt(kernel, "quick"), undefined);
  const quick = await buildKernel(kernel, { target: "quick" });
  assert.not(quick.cached);
  assert.is(findBuilt(kernel, "quick")?.path, quick.path);
  assert.is(findBuilt(kernel)?.path, long.path);
  assert.equal(quick.descriptor, long.descriptor);
  assert.not.equal(readFileSync(quick.path), readFileSync(long.path));
});

test("of more files than are kept those go that were not used for longest", () => {
  const [first, second] = ["1", "2"].map((text) => sourceFile("query", text));
  utimesSync(first, 1, 1);
  utimesSync(second, 2, 2);
  process.env.HALLELUJAH_CACHE_FILES = "2";
  try {
    assert.is(sourceFile("query", "1"), first); // it is used again
    const third = sourceFile("query", "3");
    assert.equal([first, second, third].map(existsSync), [true, false, true]);
  } finally {
    if (filesBefore === undefined) delete process.env.HALLELUJAH_CACHE_FILES;
    else process.env.HALLELUJAH_CACHE_FILES = filesBefore;
  }
});

// So whoever runs under both may share one cache.
(OTHER_NODE ? test : test.skip)("under another Node the compiler makes the same module", async () => {
  const kernel = kernelIn({ step: "3" });
  const { path } = await buildKernel(kernel);
  const cache = mkdtempSync(join(tmpdir(), "hallelujah-cache-"));
  folders.push(cache);
  const main = join(packageRoot, "dist", "cli", "main.js");
  const out = join(cache, "other.wasm");
  execFileSync(OTHER_NODE!, [main, "build", kernel, "--output", out], {
    env: { ...process.env, HALLELUJAH_CACHE: cache },
  });
  assert.ok(readFileSync(path).equals(readFileSync(out)));
});

test.run();
