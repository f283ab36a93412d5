import { suite } from "uvu";
import * as assert from "uvu/assert";
import { FrameCounts } from "../../host/hallelu/counts.ts";

const test = suite("host/hallelu/counts.ts: what is counted, frame by frame");

test("a frame that is mapped again counts once, also after what was below it is saved", () => {
  const counts = new FrameCounts({ records: 100, bad: 1, late: 0 }, 4);
  counts.set(4, { records: 10, bad: 1 });
  counts.set(5, { records: 20, bad: 0 });
  counts.set(4, { late: 3 });
  counts.set(5, { records: 20, bad: 0 });
  assert.equal(counts.total, { records: 130, bad: 2, late: 3 });
  const saved = counts.below(5);
  assert.equal(saved, { records: 110, bad: 2, late: 3 });
  counts.close(5);
  counts.set(4, { records: 7, bad: 7, late: 7 });
  assert.equal(counts.total, { records: 130, bad: 2, late: 3 });
  const restarted = new FrameCounts(saved, 5);
  restarted.set(4, { records: 10, bad: 1 });
  restarted.set(5, { records: 20, bad: 0 });
  assert.equal(restarted.total, counts.total);
});

test("a checkpoint may know more than the registry", () => {
  const counts = new FrameCounts({ records: 100, bad: 1, late: 0 }, 4);
  counts.set(9, { records: 5 });
  counts.restore(8, { records: 180, bad: 3, late: 2 });
  assert.equal(counts.total, { records: 185, bad: 3, late: 2 });
  counts.restore(6, { records: 120, bad: 1, late: 0 });
  counts.set(7, { records: 20 });
  assert.equal(counts.total, { records: 185, bad: 3, late: 2 });
});

test.run();
