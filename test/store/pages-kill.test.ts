/** Processes that are killed while they write a store, at any moment. */
import { fork } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { openPages } from "../../host/store/pages.ts";
import { scratch } from "../run.ts";
import { restored, sorted } from "./pages-suite.ts";
import { contentAfter } from "./pages-writer.ts";

const KILLS = 10;

const test = suite("host/store/pages and SIGKILL");

test("a process that is killed leaves what it had committed, and nothing of what it had not", async () => {
  const seed = Math.floor(Math.random() * 1000);
  console.log(`seed ${seed}`);
  const folder = mkdtempSync(join(scratch(), "killed-"));
  let lowest = 0;
  for (let kill = 1; kill <= KILLS; kill++) {
    const child = fork(join(import.meta.dirname, "pages-writer.ts"), [folder, String(seed)]);
    const exited = new Promise((done) => child.once("exit", done));
    child.on("message", (round) => (lowest = round as number));
    // Every second one before it has committed anything, if need be while it opens the store.
    if (kill % 2) await new Promise((done) => child.once("message", done));
    await setTimeout(Math.random() * (kill % 2 ? 300 : 1500));
    child.kill("SIGKILL");
    await exited;

    const store = await openPages(folder);
    assert.is(store.damage, undefined);
    const rounds = store.checkpoints.map(({ meta }) => (meta as { round: number }).round);
    assert.ok((rounds[0] ?? 0) >= lowest, `round ${lowest} was committed, ${rounds[0]} is there`);
    if (rounds.length > 1) assert.is(rounds[1], rounds[0] - 1);
    for (const [i, round] of rounds.entries())
      assert.equal(
        sorted(await restored(store, store.checkpoints[i].number)),
        sorted(contentAfter(seed, round)),
      );
    await store.close();
  }
  assert.ok(lowest > 0);
});

test.run();
