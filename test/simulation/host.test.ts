/** Whole hosts on virtual time: in no seed is a rule broken. Storms, half of the seeds, are in storms.test.ts. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { simulate } from "./simulate.ts";
import { scenarioOf } from "./scenario.ts";
import { holds } from "./seeds.ts";

const test = suite("simulation: a host");
holds(test, "days without a storm", ({ kind }) => kind !== "storm");

test("a seed says the same each time", async () => {
  const [first, second] = [await simulate(scenarioOf(42)), await simulate(scenarioOf(42))];
  assert.equal(first.story, second.story);
});

test.run();
