/** The process that builds a kernel, beside the one that asked for it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Compilers } from "../../host/compiler/apart.ts";
import { packageRoot } from "../../host/core/package-root.ts";

const test = suite("compiler: a process of its own");
const PATIENCE_MS = 60_000;

/** Building it starts it, which takes until somebody ends that. */
const ENDLESS = `import { Sum, Table, Text } from "hallelujah";
@record class R { k: Text }
@state class S { n: Sum }
function spin(): i32 { let i: i32 = 0; while (true) { i++; if (i == -1 && i == 0) break; } return i; }
const k: i32 = spin();
const t = new Table<Text, S>("t");
export function each(r: R): void { t.at(r.k).n.add(k); }
`;

const isThere = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test("it ends with whoever asked, also within a loop that never ends", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-apart-"));
  const file = join(folder, "endless.ts");
  writeFileSync(file, ENDLESS);
  const compiler = JSON.stringify(join(packageRoot, "dist", "compiler", "main.js"));
  const asks = `const child = require("node:child_process").fork(${compiler});
child.send(${JSON.stringify(file)});
console.log(child.pid);
setInterval(() => {}, 1000);`;
  const parent = spawn(process.execPath, ["-e", asks], { stdio: ["ignore", "pipe", "inherit"] });
  let pid = 0;
  try {
    const [line] = (await once(createInterface(parent.stdout), "line")) as [string];
    pid = Number(line);
    assert.ok(pid > 0 && isThere(pid));
    await sleep(2000); // it is at work
    assert.ok(isThere(pid), "it has not ended by itself");
    parent.kill("SIGKILL");
    for (const deadline = Date.now() + PATIENCE_MS; isThere(pid); await sleep(50))
      assert.ok(Date.now() < deadline, "it is left over");
  } finally {
    parent.kill("SIGKILL");
    if (pid && isThere(pid)) process.kill(pid, "SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Processes of this one that are compilers. */
const compilers = () =>
  readFileSync(`/proc/self/task/${process.pid}/children`, "utf8")
    .split(" ")
    .filter((pid) => pid && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("compiler/main.js"))
    .map(Number);

const gone = async (pids: number[]) => {
  for (const deadline = Date.now() + PATIENCE_MS; pids.some(isThere); await sleep(20))
    assert.ok(Date.now() < deadline, "it is left over");
};

async function problem(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    return error as { code: string; message: string };
  }
  return assert.unreachable("it was built") as never;
}

/** A kernel that was never built before, as its text is new. */
let kernels = 0;
function newKernel(folder: string, body = ""): string {
  const file = join(folder, `k${kernels++}.ts`);
  const text = `// ${folder} ${kernels}
import { Count, Table, Text } from "hallelujah";
@record class R { k: Text }
@state class S { n: Count }
const t = new Table<Text, S>("t");
export function each(r: R): void { t.at(r.k).n.add(); ${body} }`;
  writeFileSync(file, text);
  return file;
}

test("of two processes one stays, builds one kernel after the other, wrong ones too, and gives way to a new one if it is stopped", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-apart-"));
  const warm = new Compilers({ max: 2, warmMs: Number.POSITIVE_INFINITY });
  try {
    const [first] = await Promise.all([newKernel(folder), newKernel(folder)].map((file) => warm.build(file)));
    assert.not.ok(first.cached);
    assert.is(first.descriptor.tables[0].name, "t");
    for (const deadline = Date.now() + PATIENCE_MS; compilers().length !== 1; await sleep(20))
      assert.ok(Date.now() < deadline, "both are kept, or none");
    const pids = compilers();
    const wrong = await problem(warm.build(newKernel(folder, "missing(1);")));
    assert.is(wrong.code, "kernel-invalid");
    assert.match(wrong.message, /:6:\d+ error: /);
    assert.not.ok((await warm.build(newKernel(folder))).cached);
    assert.equal(compilers(), pids);

    const endless = join(folder, "endless.ts");
    writeFileSync(endless, ENDLESS);
    const stop = new AbortController();
    const stopped = problem(warm.build(endless, { signal: stop.signal }));
    stop.abort();
    assert.is((await stopped).code, "aborted");
    await gone(pids);
    assert.not.ok((await warm.build(newKernel(folder))).cached);
    const last = compilers();
    assert.is(last.length, 1);
    warm.end();
    await gone(last);
  } finally {
    warm.end();
    rmSync(folder, { recursive: true, force: true });
  }
});

test("one that has nothing to do for its time ends", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-apart-"));
  const brief = new Compilers({ warmMs: 0 });
  try {
    await brief.build(newKernel(folder));
    for (const deadline = Date.now() + PATIENCE_MS; compilers().length; await sleep(20))
      assert.ok(Date.now() < deadline, "it is left over");
  } finally {
    brief.end();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
