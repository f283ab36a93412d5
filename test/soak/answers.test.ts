/** The check of a soak that an answer is the state of its frame (answers.ts) sees what is not. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Answer, checkAnswers } from "./answers.ts";
import type { Piece } from "./handled.ts";
import { totalsOf } from "./series.ts";

/** Two producers by turns: ten records in each frame. */
const FRAMES = 6;
const pieces: (Piece & { producer: string })[] = Array.from({ length: FRAMES }, (_, frame) => ({
  producer: frame % 2 ? "b" : "a",
  frame,
  first: Math.floor(frame / 2) * 10,
  count: 10,
}));
const answer = (frame: number, a: number, b: number, more: Partial<Answer> = {}): Answer => ({
  table: "totals",
  frame,
  counts: new Map([
    ["a", a],
    ["b", b],
  ]),
  sent: new Map([
    ["a", 30],
    ["b", 30],
  ]),
  ...more,
});
const check = (...answers: Answer[]) => checkAnswers(answers, pieces);

test("answers of what is in the frames below pass, in any order", () => {
  check(answer(6, 30, 30), answer(0, 0, 0), answer(3, 20, 10));
});

test("a frame too many or too few, and a part of one, are seen", () => {
  assert.throws(() => check(answer(3, 20, 20)), /totals at frame 3 had 20 records of b, and 10 are/);
  assert.throws(() => check(answer(3, 10, 10)), /had 10 records of a, and 20 are/);
  assert.throws(() => check(answer(3, 15, 10)), /had 15 records of a/);
});

test("records of two frames at once are seen, although each producer has its first so many", () => {
  assert.throws(() => check(answer(4, 30, 20)), /had 30 records of a, and 20 are/);
});

test("entries are those of the frame, and their records may be of later ones, not of earlier ones", () => {
  const entries = (a: number, b: number, most = 100) => ({
    keys: {
      counts: new Map([
        ["a", a],
        ["b", b],
      ]),
      most,
    },
  });
  check(answer(3, 25, 20, entries(20, 10)), answer(3, 20, 10, entries(12, 10, 12)));
  assert.throws(() => check(answer(3, 25, 20, entries(20, 11))), /had 11 entries of b, and 10 records/);
  assert.throws(() => check(answer(3, 25, 9, entries(20, 10))), /had 9 records of b, and 10 are/);
});

test("totals of the numbers from 0 on pass, also of none, and others do not", () => {
  const row = { producer: "a", count: 4, sum: 6, min: 0, max: 3 };
  assert.equal([...totalsOf([row])], [["a", 4]]);
  assert.equal([...totalsOf([{ producer: "a", count: 0, sum: null, min: null, max: null }])], [["a", 0]]);
  for (const wrong of [{ sum: 7 }, { min: 1 }, { max: 4 }, { count: 5 }])
    assert.throws(() => totalsOf([{ ...row, ...wrong }]), /are due of/);
});

test.run();
