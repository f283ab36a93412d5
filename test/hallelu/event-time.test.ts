/** What the log of one stream says of event time, and for whom it counts. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { countsFor, EventTime, IDLE_MS, PUSHES, type TimeReader } from "../../host/hallelu/event-time.ts";

const owner: TimeReader = { field: "at", of: undefined, takesUnnamed: true };
const sharer: TimeReader = { field: "at", of: "second", takesUnnamed: false };
/** A reprocess by the same field reads what the stream itself reads; and one by another. */
const reprocess: TimeReader = owner;
const other: TimeReader = { ...reprocess, field: "seen", takesUnnamed: false };
const timeless: TimeReader = { ...sharer, field: undefined };
const all = [owner, sharer, reprocess, other, timeless];

test("facts count for all that read a log, what was taken to be so for who took it, and a reprocess by the same field", () => {
  const of = (head: Parameters<typeof countsFor>[1]) => all.map((reader) => countsFor(reader, head));
  assert.equal(of({ clock: 2, time: "open" }), [true, true, true, true, true]);
  assert.equal(of({ clock: 2, time: "end" }), [true, true, true, true, true]);
  for (const time of [7, "end"] as const) {
    assert.equal(of({ clock: 2, time, field: "at" }), [true, false, true, false, false]);
    assert.equal(of({ clock: 2, time, field: "seen" }), [false, false, false, true, false]);
    assert.equal(of({ clock: 2, time, field: "at", of: "second" }), [false, true, false, false, false]);
  }
  // Older logs named no field, as there was one alone.
  assert.equal(of({ clock: 2, time: 7 }), [true, false, true, false, false]);
});

test("who begins with a log knows when its records came, and nothing else", () => {
  const known = new EventTime();
  known.came(PUSHES, 1_000);
  known.mapped(PUSHES, 500);
  known.logged({ clock: 2, time: "end" }, 2_000);
  const begun = new EventTime(known.seen);
  assert.not(begun.hasEnded(2), "the log will say so");
  assert.equal(begun.due(900, 1_400), [], "nothing was mapped");
  begun.logged({ clock: 2, time: "end" }, 3_000);
  begun.mapped(PUSHES, 700);
  assert.equal(begun.due(1_800, 1_000 + IDLE_MS), [], "it would be 1700");
  assert.equal(begun.due(1_800, 2_100), [{ clock: PUSHES, time: 1_800 }]);
});

test("a clock that says nothing of time is let go once, and is waited for again when records come", () => {
  const time = new EventTime();
  time.came(PUSHES, 0);
  time.mapped(PUSHES, 100);
  time.came(2, 0);
  const heads = time.due(200, 2_000);
  assert.equal(heads, [
    { clock: 2, time: "end" },
    { clock: PUSHES, time: 2_100 },
  ]);
  for (const head of heads) time.logged({ ...head, field: "at" }, 2_000);
  assert.not(time.hasEnded(2), "nobody has said so");
  assert.equal(time.due(3_000, 4_000), [{ clock: PUSHES, time: 4_100 }]);
  time.came(2, 5_000);
  time.mapped(2, 150);
  assert.equal(time.due(5_000, 5_000 + IDLE_MS), [], "it is at 1150");
  time.goesOn(3, 6_000);
  assert.ok(time.isKnown(3), "its records came before this process");
});

test.run();
