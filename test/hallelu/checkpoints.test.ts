/** When an owner is asked to save its state. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CHECKPOINT_BYTES, CHECKPOINT_MS } from "../../host/core/limits.ts";
import { Checkpoints } from "../../host/hallelu/checkpoints.ts";
import type { Jah } from "../../host/hallelu/jahs.ts";

const test = suite("hallelu/checkpoints");
const FRAME_BYTES = 1 << 20;
const MANY = (CHECKPOINT_BYTES / FRAME_BYTES) * 2;

/** One owner, of a log whose frames are all of one size. */
function owned() {
  const at = { applied: 0, logged: 0 };
  const asked: number[] = [];
  const jah = { id: 1, state: "working", send: () => asked.push(at.applied) } as unknown as Jah;
  const checkpoints = new Checkpoints({
    bytesFrom: (frame) => (at.logged - frame) * FRAME_BYTES,
    appliedBy: () => at.applied,
    outputs: () => Promise.resolve(),
    standing: () => ({}) as never,
    onSaved: () => {},
    note: () => {},
    fail: (message) => assert.unreachable(message),
  });
  return { at, asked, jah, checkpoints };
}

test("one that comes back catches up before it is saved, but not for ever", () => {
  const { at, asked, jah, checkpoints } = owned();
  const start = performance.now();
  Object.assign(at, { applied: MANY, logged: 3 * MANY });
  checkpoints.joined(jah, 0);
  checkpoints.tick(start + 100);
  assert.equal(asked, [], "it has much to do");
  at.applied = 2 * MANY;
  checkpoints.tick(start + CHECKPOINT_MS - 1000);
  assert.equal(asked, []);
  checkpoints.tick(start + CHECKPOINT_MS + 1000);
  assert.equal(asked, [2 * MANY], "it had its time");
});

test("one that has caught up is saved at once, also when it is behind again", () => {
  const { at, asked, jah, checkpoints } = owned();
  const start = performance.now();
  Object.assign(at, { applied: 10, logged: 11 });
  checkpoints.joined(jah, 9);
  checkpoints.tick(start + 100);
  assert.equal(asked, [], "there is hardly anything to save");
  Object.assign(at, { applied: 10 + MANY, logged: 10 + 3 * MANY });
  checkpoints.tick(start + 200);
  assert.equal(asked, [10 + MANY]);
});

test.run();
