/** Where new streams go. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { hostOfNew, type PlacementHost } from "../../host/substrate/placement.ts";

const hosts: PlacementHost[] = [
  { name: "a", cpus: 2 },
  { name: "b", cpus: 4 },
  { name: "c", cpus: 2 },
];

test("a new stream goes where the most of a CPU is left for it, and stays where it is asked for if that is as good", () => {
  assert.is(hostOfNew(hosts, [], "a"), "b");
  assert.is(hostOfNew(hosts, ["b"], "c"), "c", "a half of a CPU is left everywhere");
  assert.is(hostOfNew(hosts, ["b", "c"], "c"), "a");
  assert.is(hostOfNew(hosts, ["b", "x", "x"], "x"), "a", "what is not there has no say");
  assert.is(hostOfNew([], ["b"], "x"), "x");
  assert.is(hostOfNew([{ name: "a", cpus: 0 }], [], "a"), "a");
});

test("streams spread: no host has more than its share and one", () => {
  const cpus = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(cpus, fc.integer({ min: 0, max: 300 }), fc.nat(), (counts, streams, asked) => {
      const all = counts.map((count, i) => ({ name: `h${i}`, cpus: count }));
      const total = counts.reduce((sum, count) => sum + count, 0);
      const placed: string[] = [];
      for (let i = 0; i < streams; i++)
        placed.push(hostOfNew(all, placed, `h${(asked + i) % counts.length}`));
      for (const { name, cpus: own } of all) {
        const has = placed.filter((each) => each === name).length;
        assert.ok(has <= Math.ceil((streams * own) / total) + 1, `${name} has ${has} of ${streams}`);
      }
    }),
  );
});

test.run();
