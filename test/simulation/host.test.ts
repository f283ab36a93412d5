/** Whole hosts on virtual time: in no seed is a rule broken, and parts that are broken on purpose are found out. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Mutant, MUTANTS } from "./broken.ts";
import { simulate } from "./simulate.ts";
import { scenarioOf } from "./scenario.ts";

const test = suite("simulation: a host");
const SEEDS = 500;
/** Seeds of its kind of scenario in which a mutant must have been found out. */
const MUTANT_SEEDS = 60;
const given = process.env.FC_SEED;

test(`${SEEDS} seeds: each frame once and in order, nobody starves or flaps, no CPU is lost`, async () => {
  const seeds = given ? [Number(given)] : Array.from({ length: SEEDS }, (_, i) => i + 1);
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

test("a rule that is broken says how to replay it", async () => {
  const { message } = await breaking(MUTANTS[0]);
  assert.match(message, /npm run simulate -- --seed \d+/);
});

for (const mutant of MUTANTS) {
  test(`found out: ${mutant.name}`, async () => {
    await breaking(mutant);
  });
}

/** What the first seed says that finds a mutant out. */
async function breaking({ name, where, breaks }: Mutant): Promise<Error> {
  const restore = breaks();
  try {
    for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
      try {
        await simulate(scenarioOf(seed, where));
      } catch (error) {
        return error as Error;
      }
    }
  } finally {
    restore();
  }
  return assert.unreachable(`${name}: no rule was broken in ${MUTANT_SEEDS} seeds`) as never;
}

test.run();
