/** Whole hosts on virtual time: in no seed is a rule broken. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { simulate } from "./simulate.ts";
import { scenarioOf } from "./scenario.ts";

const test = suite("simulation: a host");
/** The first and the last seed. The suite's runs on two Nodes each take a half: it is plain computation. */
const [FIRST, LAST] = (process.env.SIMULATED_SEEDS ?? "1-500").split("-").map(Number);
const SEEDS = LAST - FIRST + 1;
const given = process.env.FC_SEED;

test(`seeds ${FIRST} to ${LAST}: each frame once and in order, nobody starves or flaps, no CPU is lost`, async () => {
  const seeds = given ? [Number(given)] : Array.from({ length: SEEDS }, (_, i) => FIRST + i);
  const sums = { frames: 0, moves: 0, deaths: 0, answers: 0, refusals: 0 };
  for (const seed of seeds) {
    const { counts } = await simulate(scenarioOf(seed));
    for (const what of Object.keys(sums) as (keyof typeof sums)[]) sums[what] += counts[what];
  }
  // That there was something to see.
  for (const [what, sum] of Object.entries(sums))
    assert.ok(given || sum > SEEDS / 10, `${sum} ${what} in ${SEEDS} seeds`);
});

test("a seed says the same each time", async () => {
  const [first, second] = [await simulate(scenarioOf(42)), await simulate(scenarioOf(42))];
  assert.equal(first.story, second.story);
});

test.run();
