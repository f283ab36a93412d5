/** Many hosts of one cluster on virtual time: in no seed is a rule broken, and parts that are broken on purpose are found out. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { CLUSTER_MUTANTS, type ClusterMutant } from "./broken.ts";
import { clusterScenarioOf } from "./scenario.ts";
import { simulateCluster } from "./simulate.ts";

const test = suite("simulation: a cluster");
const SEEDS = 500;
/** Seeds of its kind of scenario in which a mutant must have been found out. */
const MUTANT_SEEDS = 60;
const given = process.env.FC_SEED;

test(`${SEEDS} seeds: one leader for each stream, nothing is lost, only what is a lost host's moves, and all goes on`, async () => {
  const seeds = given ? [Number(given)] : Array.from({ length: SEEDS }, (_, i) => i + 1);
  const sums = { moves: 0, losses: 0, acknowledged: 0, mended: 0 };
  for (const seed of seeds) {
    const { counts } = (await simulateCluster(clusterScenarioOf(seed))).rules;
    for (const each of Object.keys(sums) as (keyof typeof sums)[]) sums[each] += counts[each];
  }
  // That there was something to see.
  const least = { moves: SEEDS, losses: SEEDS, acknowledged: 50 * SEEDS, mended: 1 };
  for (const each of Object.keys(sums) as (keyof typeof sums)[])
    assert.ok(given || sums[each] >= least[each], `${sums[each]} ${each}`);
});

test("a seed says the same each time", async () => {
  const [first, second] = [
    await simulateCluster(clusterScenarioOf(41)),
    await simulateCluster(clusterScenarioOf(41)),
  ];
  assert.equal(first.story, second.story);
});

test("a rule that is broken says how to replay it", async () => {
  const { message } = await breaking(CLUSTER_MUTANTS.at(-1)!);
  assert.match(message, /npm run simulate -- --cluster --seed \d+/);
});

for (const mutant of CLUSTER_MUTANTS) {
  test(`found out: ${mutant.name}`, async () => {
    await breaking(mutant);
  });
}

/** What the first seed says that finds a mutant out. */
async function breaking({ name, kind, breaks }: ClusterMutant): Promise<Error> {
  const restore = breaks();
  try {
    for (let seed = 1; seed <= MUTANT_SEEDS; seed++) {
      try {
        await simulateCluster(clusterScenarioOf(seed, { kind }));
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
