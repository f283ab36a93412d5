/** What simulated hosts found once: the run in which it showed, and the rule alone where it can be said without a host. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Dispatch, PARTITIONS } from "../../host/hallelu/dispatch.ts";
import { Scaler, type Scaled } from "../../host/hallelu/scaler.ts";
import type { Jah } from "../../host/hallelu/jahs.ts";
import { simulate } from "../simulation/simulate.ts";
import { type Scenario, scenarioOf } from "../simulation/scenario.ts";

const test = suite("regressions: simulated hosts");

/** Seeds, what they were run as, and what was wrong. */
const FOUND: [number, Partial<Scenario>, string][] = [
  [
    5,
    { kind: "vain" },
    "of a step that did not help only one Jah was taken back, and none if the load was new",
  ],
  [
    67,
    { kind: "vain" },
    "what was applied in a burst after a split passed for help, and nothing was taken back while state was saved",
  ],
  [
    672,
    { kind: "storm" },
    "an owner took a batch under a routing that it was not told of, as it knew a higher one",
  ],
  [716, { kind: "storm" }, "the same, after two deaths"],
  [
    87,
    { kind: "storm" },
    "after a host was killed, state moved to a Jah that was behind, which applied frames again",
  ],
];

for (const [seed, given, what] of FOUND) {
  test(`seed ${seed}: ${what}`, async () => {
    await simulate(scenarioOf(seed, given));
  });
}

test("a frame is applied everywhere only when a shard that is replayed has applied it, too", () => {
  const dispatch = new Dispatch([{ jah: 1, from: 0, to: PARTITIONS }], 0, () => 1000);
  dispatch.joined(1);
  dispatch.joined(2);
  dispatch.logged(10);
  dispatch.move([{ from: 128, to: PARTITIONS, donor: 1, receiver: 2 }]);
  dispatch.handOut();
  dispatch.appliedUpTo(1, 10);
  dispatch.appliedUpTo(2, 10);
  const [shard] = dispatch.lost(2);
  dispatch.recover({ ...shard, jah: 3 }, 0);
  dispatch.joined(3);
  dispatch.handOut();
  // Its partitions go to the other Jah as soon as it has replayed them: the log holds frames that they lack.
  dispatch.move([{ from: 128, to: PARTITIONS, donor: 3, receiver: 1 }]);
  dispatch.appliedUpTo(3, 4);
  assert.is(dispatch.lowest, 4);
  dispatch.appliedUpTo(3, 10);
  assert.is(dispatch.lowest, 10);
});

test("state that was read back ahead of the others changes hands where it is", () => {
  const dispatch = new Dispatch([{ jah: 1, from: 0, to: PARTITIONS }], 10, () => 1000);
  dispatch.lost(1);
  dispatch.recover({ jah: 2, from: 0, to: 128 }, 10);
  dispatch.recover({ jah: 3, from: 128, to: PARTITIONS }, 20);
  for (const jah of [2, 3]) dispatch.joined(jah);
  dispatch.logged(30);
  // Its receiver has to apply the frames up to there without it: they are in what moves.
  assert.is(dispatch.move([{ from: 128, to: PARTITIONS, donor: 3, receiver: 2 }]).start, 20);
  const early = dispatch.handOut().filter(({ frames }) => frames.some((frame) => frame < 20));
  assert.ok(early.length && early.every(({ routing }) => routing !== dispatch.routing.id));
});

test("a frame is set aside for the partitions in which it was applied, not for those that are left to its Jah", () => {
  const dispatch = new Dispatch([{ jah: 1, from: 0, to: PARTITIONS }], 0, () => 1000);
  dispatch.joined(1);
  dispatch.joined(2);
  dispatch.logged(4);
  dispatch.handOut();
  dispatch.move([{ from: 128, to: PARTITIONS, donor: 1, receiver: 2 }]);
  dispatch.logged(8);
  const partitions = (jah: number, frame: number) => {
    const own = dispatch.partitionsOf(jah, frame);
    return own && [own.from, own.to];
  };
  assert.equal(partitions(1, 3), [0, PARTITIONS]);
  assert.equal(partitions(1, 4), [0, 128]);
  assert.is(partitions(2, 3), undefined);
});

test("parking goes on when a shard is lost while a Jah is leaving", async () => {
  const dispatch = new Dispatch([{ jah: 1, from: 0, to: PARTITIONS }], 0, () => 1_000_000);
  const jahs = new Map([1, 2, 3].map((id) => [id, { id, state: "working" } as Jah]));
  for (const id of jahs.keys()) dispatch.joined(id);
  dispatch.move([{ from: 128, to: PARTITIONS, donor: 1, receiver: 2 }]);
  dispatch.logged(30);
  dispatch.handOut(); // some of it to Jah 3, which only maps
  const scaler = new Scaler({ dispatch, jahs } as unknown as Scaled);
  let isSingle = false;
  const single = scaler.single().then(() => {
    isSingle = true;
  });
  await Promise.resolve();
  assert.not.ok(isSingle, "Jah 3 has frames that are not applied");
  const lost = jahs.get(2)!;
  jahs.delete(2);
  dispatch.lost(2);
  scaler.lost(lost);
  await single;
});

test.run();
