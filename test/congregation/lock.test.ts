/** The lock of a data folder: one holder at a time, whatever the others left behind and however many come at once. */
import { fork } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { lockFolder } from "../../host/congregation/lock.ts";

const root = mkdtempSync(join(tmpdir(), "hallelujah-lock-"));
test.after(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const fresh = () => join(root, String(folders++));

/** A contender that takes the lock some times and writes down when it had it. */
const contender = join(root, "contender.mjs");
writeFileSync(
  contender,
  `import { appendFileSync } from "node:fs";
import { lockFolder } from ${JSON.stringify(join(process.cwd(), "host/congregation/lock.ts"))};
const [folder, rounds, dies] = process.argv.slice(2);
for (let round = 0; round < Number(rounds); round++) {
  const release = await lockFolder(folder, 60_000);
  appendFileSync(folder + ".events", "+" + process.pid + "\\n");
  await new Promise((done) => setTimeout(done, 2));
  appendFileSync(folder + ".events", "-" + process.pid + "\\n");
  if (dies === "yes" && round + 1 === Number(rounds)) process.kill(process.pid, "SIGKILL");
  release();
}
`,
);

function contend(folder: string, rounds: number, dies: boolean): Promise<void> {
  const child = fork(contender, [folder, String(rounds), dies ? "yes" : "no"], {
    stdio: "ignore",
  });
  return new Promise((done) => child.once("exit", () => done()));
}

async function refusal(folder: string): Promise<string> {
  try {
    (await lockFolder(folder, 0))();
    return "taken";
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("a folder has one holder until it gives the lock back", async () => {
  const folder = fresh();
  const release = await lockFolder(folder, 0);
  assert.is(await refusal(folder), "data-locked");
  release();
  assert.is(await refusal(folder), "taken");
  assert.equal(readdirSync(folder).length, 1, "what was tried leaves nothing behind");
});

test("what holds nobody that lives is nobody's: nonsense, a dead process, a number that was given again", async () => {
  const holders = [
    "",
    "nonsense",
    "{}",
    `{"pid":${2 ** 40},"started":"1"}`,
    '{"pid":"1","started":""}',
    '{"pid":0,"started":""}',
    '{"pid":2147483646,"started":"1"}',
    JSON.stringify({ pid: process.pid, started: "1" }),
  ];
  for (const holder of holders) {
    const folder = fresh();
    (await lockFolder(folder, 0))();
    writeFileSync(join(folder, "lock.7"), holder);
    if (holder.includes(String(process.pid)) && process.platform !== "linux") continue;
    assert.is(await refusal(folder), "taken", holder);
  }
});

test("many at once, some of which die with the lock: never two holders", async () => {
  const { readFileSync } = await import("node:fs");
  const folder = fresh();
  (await lockFolder(folder, 0))();
  writeFileSync(join(folder, "lock.1"), '{"pid":2147483646,"started":"1"}');
  await Promise.all(Array.from({ length: 8 }, (_, i) => contend(folder, 25, i % 3 === 0)));
  const events = readFileSync(`${folder}.events`, "utf8").trim().split("\n");
  assert.is(events.length, 8 * 25 * 2);
  for (let i = 0; i < events.length; i += 2)
    assert.is(events[i + 1], events[i].replace("+", "-"), `event ${i}`);
});

test("a folder that cannot be written is said so", async () => {
  const file = fresh();
  writeFileSync(file, "no folder");
  assert.is(await refusal(file), "data-unwritable");
  if (process.getuid?.() === 0) return; // root may write anywhere
  const folder = fresh();
  (await lockFolder(folder, 0))();
  chmodSync(folder, 0o500);
  assert.is(await refusal(folder), "data-unwritable");
});

test.run();
