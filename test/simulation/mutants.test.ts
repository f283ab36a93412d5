/** Parts of a host that are broken on purpose are found out in the simulator. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Mutant, MUTANTS } from "./broken.ts";
import { END_MUTANTS } from "./broken-ends.ts";
import { OUTPUT_MUTANTS } from "./broken-outputs.ts";
import { REPROCESS_MUTANTS } from "./broken-reprocesses.ts";
import { SWAP_MUTANTS } from "./broken-swaps.ts";
import { simulate } from "./simulate.ts";
import { scenarioOf } from "./scenario.ts";

const test = suite("simulation: mutants");
/** Seeds of its kind of scenario in which a mutant must have been found out. */
const MUTANT_SEEDS = 60;

test("a rule that is broken says how to replay it", async () => {
  const { message } = await breaking(MUTANTS[0]);
  assert.match(message, /npm run simulate -- --seed \d+/);
});

for (const mutant of [...MUTANTS, ...SWAP_MUTANTS, ...OUTPUT_MUTANTS, ...REPROCESS_MUTANTS, ...END_MUTANTS]) {
  test(`found out: ${mutant.name}`, async () => {
    await breaking(mutant);
  });
}

/** What the first seed says that finds a mutant out. */
async function breaking({ name, where, first = 1, breaks }: Mutant): Promise<Error> {
  const restore = breaks();
  try {
    for (let seed = first; seed < first + MUTANT_SEEDS; seed++) {
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
