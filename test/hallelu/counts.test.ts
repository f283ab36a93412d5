import { suite } from "uvu";
import * as assert from "uvu/assert";
import { FrameCounts } from "../../host/hallelu/counts.ts";

const test = suite("host/hallelu/counts.ts: what is counted, frame by frame");

test("a frame that is mapped again counts once, also after what was below it is saved", () => {
  const counts = new FrameCounts({ records: 100, bad: 1, late: 0 });
  counts.set(4, { records: 10, bad: 1 });
  counts.set(5, { records: 20, bad: 0 });
  counts.set(4, { late: 3 });
  counts.set(5, { records: 20, bad: 0 });
  assert.equal(counts.total, { records: 130, bad: 2, late: 3 });
  const saved = counts.close(5);
  assert.equal(saved, { records: 110, bad: 2, late: 3 });
  const restarted = new FrameCounts(saved);
  restarted.set(5, { records: 20, bad: 0 });
  assert.equal(restarted.total, counts.total);
});

test.run();
