/** The seeds of the suite, of which each file takes some: together they are all. */
import type { Test } from "uvu";
import * as assert from "uvu/assert";
import { type Scenario, scenarioOf } from "./scenario.ts";
import { simulate } from "./simulate.ts";

const SEEDS = 500;
const given = process.env.FC_SEED;

/** A test that no rule is broken in those of the seeds that are `wanted`; a seed that is given is taken by whoever wants it. */
export function holds(test: Test, what: string, wanted: (scenario: Scenario) => boolean): void {
  const all = given ? [Number(given)] : Array.from({ length: SEEDS }, (_, i) => i + 1);
  const seeds = all.filter((seed) => wanted(scenarioOf(seed)));
  const words = "each frame once and in order, nobody starves or flaps, no CPU is lost";
  test(`${what}, ${seeds.length} of ${all.length} seeds: ${words}`, async () => {
    const sums = {
      frames: 0,
      moves: 0,
      deaths: 0,
      answers: 0,
      refusals: 0,
      swaps: 0,
      rollBacks: 0,
      reprocesses: 0,
      cuts: 0,
    };
    for (const seed of seeds) {
      const { counts } = await simulate(scenarioOf(seed));
      for (const each of Object.keys(sums) as (keyof typeof sums)[]) sums[each] += counts[each];
    }
    // That there was something to see.
    for (const [each, sum] of Object.entries(sums))
      assert.ok(given || sum > seeds.length / 10, `${sum} ${each} in ${seeds.length} seeds`);
  });
}
