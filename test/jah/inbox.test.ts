import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Inbox } from "../../host/jah/inbox.ts";
import { type Batch, ROUTED } from "../../host/wire/batch.ts";
import { seeded } from "../run.ts";

const test = suite("host/jah/inbox");

function batch(frame: number, start: number, end: number, source = 0, text = ""): Batch {
  return {
    kind: ROUTED,
    frame,
    source,
    start,
    end,
    time: -Infinity,
    clock: 0,
    routing: 0,
    version: 0,
    payload: Buffer.from(text),
  };
}

test("a batch is taken when all frames before it were", () => {
  const inbox = new Inbox();
  inbox.add(batch(1, 10, 20));
  assert.is(inbox.take(), undefined);
  inbox.add(batch(0, 0, 10));
  assert.is(inbox.take()?.frame, 0);
  assert.is(inbox.take()?.frame, 1);
  assert.is(inbox.take(), undefined);
  assert.is(inbox.next, 2);
});

test("a frame that was applied is not taken again", () => {
  const inbox = new Inbox();
  inbox.add(batch(0, 0, 10, 0, "first"));
  inbox.take();
  inbox.add(batch(0, 0, 10, 0, "again"));
  assert.is(inbox.take(), undefined);
  assert.is(inbox.bytes, 0);
});

test("a frame with a wrong start waits for the right one", () => {
  const inbox = new Inbox();
  inbox.add(batch(0, 0, 12));
  inbox.add(batch(1, 10, 20, 0, "wrong"));
  inbox.take();
  assert.is(inbox.take(), undefined);
  inbox.add(batch(1, 12, 20, 0, "right"));
  assert.is(inbox.take()?.payload.toString(), "right");
  assert.is(inbox.bytes, 0);
});

test("a batch waits for its routing to be known, whatever others are", () => {
  const inbox = new Inbox();
  inbox.add({ ...batch(0, 0, 10), routing: 2 });
  assert.is(
    inbox.take((routing) => routing !== 2),
    undefined,
  );
  assert.is(inbox.take((routing) => routing === 2)?.frame, 0);
});

test("the first frame of a source starts anywhere", () => {
  const inbox = new Inbox();
  inbox.add(batch(0, 0, 12));
  inbox.add(batch(1, 3, 20, 1));
  inbox.take();
  assert.is(inbox.take()?.source, 1);
});

test("with any order, duplicates and wrong starts each frame is taken once, in order, as it truly is", () => {
  const frames = fc.array(fc.tuple(fc.integer({ min: 1, max: 9 }), fc.boolean(), fc.boolean()), {
    minLength: 1,
    maxLength: 25,
  });
  fc.assert(
    fc.property(frames, fc.infiniteStream(fc.nat()), (steps, choices) => {
      const choose = (count: number) => choices.next().value! % count;
      let source = 0;
      let end = 0;
      const coming: Batch[] = [];
      const truth = steps.map(([length, newSource, wrong], frame) => {
        const first = frame === 0 || newSource;
        if (newSource && frame) {
          source++;
          end = 0;
        }
        const right = batch(frame, end, end + length, source, `right ${frame}`);
        end += length;
        coming.push(right);
        if (wrong && !first) coming.push(batch(frame, right.start + 1, right.end, source, "wrong"));
        if (choose(4) === 0) coming.push(right);
        return right;
      });
      const inbox = new Inbox();
      const taken: Batch[] = [];
      while (coming.length) {
        inbox.add(coming.splice(choose(coming.length), 1)[0]);
        if (choose(2)) for (let next = inbox.take(); next; next = inbox.take()) taken.push(next);
      }
      for (let next = inbox.take(); next; next = inbox.take()) taken.push(next);
      assert.equal(taken, truth);
      assert.is(inbox.bytes, 0);
    }),
    seeded(2000),
  );
});

test.run();
