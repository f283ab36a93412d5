/** The process that builds a kernel, beside the one that asked for it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
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

test.run();
