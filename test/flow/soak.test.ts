/** A soak of a minute (test/soak/); `npm run soak` is a long one. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { soak } from "../soak/soak.ts";

test("whatever is killed, what was acknowledged is there once, also after a loss of power", async () => {
  const lines: string[] = [];
  try {
    const summary = await soak({
      seconds: 60,
      seed: 4,
      killEverySeconds: 1.5,
      recordsPerMinute: 600_000,
      powerLosses: 1,
      say: (line) => lines.push(line),
    });
    assert.ok(summary.records > 0 && summary.outputs > 0 && summary.swaps >= 3);
    assert.ok(Object.values(summary.kills).reduce((sum, count) => sum + count, 0) >= 10);
  } catch (error) {
    console.log(lines.join("\n"));
    throw error;
  }
});

test.run();
