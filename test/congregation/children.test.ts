import { spawn } from "node:child_process";
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Children } from "../../host/congregation/children.ts";
import { identityOf, isAlive } from "../../host/congregation/identity.ts";
import { scratch } from "../run.ts";

const test = suite("host/congregation/children.ts: what an earlier Congregation left");

const started: number[] = [];
function child() {
  const process = spawn("sleep", ["60"], { stdio: "ignore" });
  started.push(process.pid!);
  return process;
}
test.after(() => {
  for (const pid of started) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
});

function folder(name: string): string {
  const path = join(scratch(), name);
  mkdirSync(path);
  return path;
}

test("they are ended, and those that ended before are not looked for", async () => {
  const data = folder("left");
  const before = new Children(data);
  const [one, two] = [child(), child()];
  before.add(one);
  before.add(two);
  const ids = [one, two].map(({ pid }) => identityOf(pid!));
  one.kill("SIGKILL");
  await new Promise((done) => one.once("exit", done));
  await new Children(data).endLeft();
  assert.equal(ids.map(isAlive), [false, false]);
  await new Children(data).endLeft();
});

test("a copy of the folder has nothing to do with them", async () => {
  const data = folder("original");
  const kept = child();
  new Children(data).add(kept);
  const copy = join(scratch(), "copy");
  cpSync(data, copy, { recursive: true });
  await new Children(copy).endLeft();
  assert.ok(isAlive(identityOf(kept.pid!)));
});

test("another process that has the number by now is left alone", () => {
  const { pid } = child();
  assert.not.ok(isAlive({ pid: pid!, started: "1" }));
});

test.run();
