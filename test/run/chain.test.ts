import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Chain } from "../../host/run/chain.ts";
import type { FrameDone } from "../../host/wire/jah.ts";
import { seeded } from "../run.ts";

const test = suite("host/run/chain");

function done(frame: number, start: number, end: number, source = 0): FrameDone {
  return {
    frame,
    source,
    start,
    end,
    time: -Infinity,
    rows: 1,
    bad: 0,
    problems: [],
    emittedRows: 0,
    lines: 0,
    quoted: false,
  };
}

test("frames are confirmed in order, whatever the order they come in", () => {
  const chain = new Chain();
  assert.equal(chain.add(done(2, 20, 30)), { confirmed: [] });
  assert.equal(chain.add(done(1, 10, 20)), { confirmed: [] });
  const { confirmed, again } = chain.add(done(0, 0, 10));
  assert.equal(
    confirmed.map(({ frame }) => frame),
    [0, 1, 2],
  );
  assert.is(again, undefined);
  assert.is(chain.next, 3);
});

test("a frame that does not start where the one before ended is asked for again, once", () => {
  const chain = new Chain();
  chain.add(done(0, 0, 12));
  assert.equal(chain.add(done(1, 10, 20)), { confirmed: [], again: { frame: 1, source: 0, start: 12 } });
  assert.equal(chain.add(done(1, 10, 20)), { confirmed: [] });
  assert.is(chain.add(done(1, 12, 20)).confirmed.length, 1);
});

test("a frame behind a wrong one is looked at when the wrong one has come right", () => {
  const chain = new Chain();
  chain.add(done(0, 0, 12));
  chain.add(done(2, 20, 30));
  assert.equal(chain.add(done(1, 10, 20)).again, { frame: 1, source: 0, start: 12 });
  const { confirmed, again } = chain.add(done(1, 12, 24));
  assert.equal(
    confirmed.map(({ frame }) => frame),
    [1],
  );
  assert.equal(again, { frame: 2, source: 0, start: 24 });
});

test("the first frame of a source starts anywhere", () => {
  const chain = new Chain();
  chain.add(done(0, 0, 12));
  assert.is(chain.add(done(1, 3, 20, 1)).confirmed.length, 1);
});

/** Frames as they truly are: each starts where the one before in its source ended. */
const truth = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.boolean()), { minLength: 1, maxLength: 30 })
  .map((steps) => {
    let source = 0;
    let end = 0;
    return steps.map(([length, newSource], frame) => {
      if (newSource && frame) {
        source++;
        end = 0;
      }
      const start = end;
      end += length;
      return done(frame, start, end, source);
    });
  });

test("with any order and any wrong guesses each frame is confirmed once, in order, as it truly is", () => {
  fc.assert(
    fc.property(truth, fc.infiniteStream(fc.nat()), (frames, choices) => {
      const choose = (count: number) => choices.next().value! % count;
      const chain = new Chain();
      const confirmed: FrameDone[] = [];
      // What Jahs are to hand in: a guess is wrong now and then, but for a source's first frame.
      const first = (frame: FrameDone) => !frame.frame || frames[frame.frame - 1].source !== frame.source;
      const coming = frames.map((frame) =>
        first(frame) || choose(3) ? frame : { ...frame, start: frame.start - 1 - choose(2) },
      );
      let asked = 0;
      while (coming.length) {
        const [next] = coming.splice(choose(coming.length), 1);
        const step = chain.add(next);
        confirmed.push(...step.confirmed);
        if (step.again) {
          asked++;
          assert.is(step.again.start, frames[step.again.frame].start);
          coming.push(frames[step.again.frame]);
        }
      }
      assert.equal(confirmed, frames);
      assert.ok(asked <= frames.length);
    }),
    seeded(3000),
  );
});

test.run();
