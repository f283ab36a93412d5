/** Where new streams go, and those of hosts that are gone. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  hostOfNew,
  type KnownHost,
  type PlacedStream,
  type PlacementHost,
  takeovers,
} from "../../host/substrate/placement.ts";
import { seeded } from "../run.ts";

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

test("streams spread: no host would have less for each CPU if one of its streams were with another", () => {
  const cpus = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(cpus, fc.integer({ min: 0, max: 300 }), fc.nat(), (counts, streams, asked) => {
      const all = counts.map((count, i) => ({ name: `h${i}`, cpus: count }));
      const total = counts.reduce((sum, count) => sum + count, 0);
      const placed: string[] = [];
      for (let i = 0; i < streams; i++)
        placed.push(hostOfNew(all, placed, `h${(asked + i) % counts.length}`));
      const has = all.map(({ name }) => placed.filter((each) => each === name).length);
      const least = Math.min(...all.map((other, i) => (has[i] + 1) / other.cpus));
      for (const [i, { name, cpus: own }] of all.entries()) {
        assert.ok(has[i] / own <= least, `${name} has ${has[i]} of ${streams}`);
        // By what all hosts have together: its share of them, and of one for each other host.
        assert.ok(
          has[i] <= ((streams + all.length - 1) * own) / total + 1e-9,
          `${name} has ${has[i]} of ${streams}`,
        );
        assert.ok(
          has[i] >= Math.floor((streams * own) / total - 1e-9),
          `${name} has ${has[i]} of ${streams}`,
        );
      }
    }),
    seeded(300),
  );
});

/** `a` and `b` are there, `c` is lost, `d` has left. */
const known: KnownHost[] = [
  { name: "a", folder: "A", cpus: 2, state: "up" },
  { name: "b", folder: "B", cpus: 4, state: "up" },
  { name: "c", folder: "C", cpus: 8, state: "lost" },
];

function streamsOf(
  given: Record<string, Partial<PlacedStream> | { identity: undefined }>,
): Map<string, PlacedStream> {
  return new Map(
    Object.entries(given).map(([name, each]) => [
      name,
      { folder: "C", identity: name, ...each } as PlacedStream,
    ]),
  );
}

/** What each host takes. */
function planOf(
  hosts: readonly KnownHost[],
  streams: ReadonlyMap<string, PlacedStream>,
): Record<string, string[]> {
  const parts = hosts.map(({ name }) => [name, takeovers(hosts, streams, name)] as const);
  return Object.fromEntries(parts.filter(([, part]) => part.length));
}

test("streams of a host that is lost or has left go where the fewest are for each CPU, those of others stay", () => {
  const streams = streamsOf({
    one: {},
    two: { folder: "D" },
    three: {},
    own: { folder: "A" },
    other: { folder: "B" },
  });
  assert.equal(planOf(known, streams), { b: ["one", "three"], a: ["two"] });
  assert.equal(
    takeovers([...known, { ...known[2], name: "c2", state: "up" }], streams, "a"),
    [],
    "c is there as c2",
  );
});

test("a host of another data folder has not what the one of that name had", () => {
  const again = known.map((host) => (host.name === "c" ? { ...host, folder: "C2", state: "up" } : host));
  assert.equal(planOf(again, streamsOf({ one: {} })), { c: ["one"] });
});

test("streams that take in others go with them, each after the one that it takes in", () => {
  const streams = streamsOf({
    a3: { from: "z" },
    b: { from: "a3" },
    one: {},
    two: {},
    z: {},
    y: { from: "z" },
    w: { from: "was removed" },
  });
  assert.equal(planOf(known, streams), { b: ["z", "a3", "y", "b", "w"], a: ["one", "two"] });
});

test("a group stays that has one stream which cannot move", () => {
  assert.equal(
    planOf(
      known,
      streamsOf({ one: { isBound: true }, two: { from: "one" }, three: { identity: undefined } }),
    ),
    {},
  );
  assert.equal(planOf(known, streamsOf({ one: {}, two: { from: "one", isBound: true, folder: "A" } })), {});
});

test("what is left of a group goes to the host that has the first of its streams", () => {
  const half = { one: {}, two: { from: "one" }, three: { from: "two" } };
  assert.equal(planOf(known, streamsOf({ ...half, one: { folder: "A" } })), { a: ["two", "three"] });
  const two = { from: "one", folder: "A" };
  assert.equal(planOf(known, streamsOf({ ...half, two })), { a: ["one", "three"] });
  assert.equal(planOf(known, streamsOf({ ...half, one: { folder: "B" }, two })), { b: ["two", "three"] });
});

test("a host that is not up takes nothing, and streams that take in each other are one group", () => {
  const ring = streamsOf({ one: { from: "two" }, two: { from: "one" }, three: { from: "two" } });
  assert.equal(planOf(known, ring), { b: ["one", "two", "three"] });
  assert.equal(takeovers(known.slice(2), ring, "c"), []);
  assert.equal(takeovers(known, ring, "d"), []);
});

/** Hosts of which some are lost, and streams of them, some of which take in one before. */
const clusters = fc
  .record({
    hosts: fc.array(fc.record({ cpus: fc.constantFrom(0, 1, 2, 64), isLost: fc.boolean() }), {
      minLength: 1,
      maxLength: 9,
    }),
    streams: fc.array(
      fc.record({ host: fc.nat(9), from: fc.option(fc.nat(30)), isBound: fc.nat(19), hasLeft: fc.nat(9) }),
      { maxLength: 30 },
    ),
  })
  .map(({ hosts, streams }) => {
    const placed = new Map<string, PlacedStream>();
    streams.forEach(({ host, from, isBound, hasLeft }, i) => {
      const parent = from !== null && i ? `s${from % i}` : undefined;
      const folder = parent ? placed.get(parent)!.folder : hasLeft ? `F${host % hosts.length}` : "left";
      placed.set(`s${i}`, {
        folder,
        identity: `${i}`,
        isBound: !isBound,
        ...(parent ? { from: parent } : {}),
      });
    });
    const all = hosts.map(({ cpus, isLost }, i) => ({
      name: `h${i}`,
      folder: `F${i}`,
      cpus,
      state: isLost ? "lost" : "up",
    }));
    return { hosts: all as KnownHost[], streams: placed };
  });

function groupOf(streams: ReadonlyMap<string, PlacedStream>, name: string): string {
  const from = streams.get(name)?.from;
  return from === undefined ? name : groupOf(streams, from);
}

test("all hosts have one plan: what each does is no one else's, groups stay whole, and nothing moves that need not", () => {
  fc.assert(
    fc.property(clusters, fc.infiniteStream(fc.nat()), ({ hosts, streams }, order) => {
      const plan = planOf(hosts, streams);
      const taker = new Map(Object.entries(plan).flatMap(([host, part]) => part.map((name) => [name, host])));
      assert.is(taker.size, Object.values(plan).flat().length, "nothing is taken twice");
      const up = new Set(hosts.filter(({ state }) => state === "up").map(({ folder }) => folder));
      const stuck = new Set(
        [...streams].filter(([, each]) => each.isBound).map(([name]) => groupOf(streams, name)),
      );
      for (const [name, { folder, from }] of streams) {
        const group = groupOf(streams, name);
        assert.is(taker.has(name), up.size > 0 && !up.has(folder) && !stuck.has(group), name);
        assert.is(taker.get(name), taker.get(group));
        const part = plan[taker.get(name)!];
        if (from && part)
          assert.ok(part.indexOf(from) < part.indexOf(name), "each after the one that it takes in");
      }
      const key = () => order.next().value;
      const shuffle = <T>(all: Iterable<T>) =>
        [...all]
          .map((each) => [key(), each] as const)
          .sort(([a], [b]) => a - b)
          .map(([, each]) => each);
      const shuffled = planOf(shuffle(hosts), new Map(shuffle(streams)));
      for (const [host, part] of Object.entries(plan))
        assert.equal(shuffled[host]?.toSorted(), part.toSorted());
    }),
    seeded(300),
  );
});

test("groups go where the fewest are for each CPU, as trying all hosts for each would have it", () => {
  fc.assert(
    fc.property(clusters, ({ hosts, streams }) => {
      const up = hosts.filter(({ state }) => state === "up");
      if (!up.length) return;
      const counts = new Map(
        up.map(({ name, folder }) => [
          name,
          [...streams.values()].filter((each) => each.folder === folder).length,
        ]),
      );
      const groups = new Map<string, string[]>();
      for (const host of up)
        for (const name of takeovers(hosts, streams, host.name)) {
          const first = groupOf(streams, name);
          groups.set(first, [...(groups.get(first) ?? []), host.name]);
        }
      const order = [...groups].sort(([a, one], [b, two]) => two.length - one.length || (a < b ? -1 : 1));
      for (const [first, takers] of order) {
        const load = ({ name, cpus }: KnownHost) => (counts.get(name)! + takers.length) / Math.max(1, cpus);
        const [best] = up.toSorted((a, b) => load(a) - load(b) || (a.name < b.name ? -1 : 1));
        assert.is(takers[0], best.name, first);
        counts.set(best.name, counts.get(best.name)! + takers.length);
      }
    }),
    seeded(300),
  );
});

test.run();
