import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Lease, observedBy, Observer, timesOf } from "../../host/substrate/liveness.ts";
import { seeded } from "../run.ts";

const test = suite("host/substrate/liveness");

const times = timesOf(2_000);

test("each member is observed by two others, and each observes as few, however many there are", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 40 }), (members) => {
      const observers = new Map(members.map((member) => [member, 0]));
      for (const me of members) {
        const observed = observedBy(me, members);
        assert.is(observed.length, Math.min(2, members.length - 1));
        assert.not.ok(observed.includes(me));
        for (const each of observed) observers.set(each, observers.get(each)! + 1);
      }
      const expected = Math.min(2, members.length - 1);
      assert.ok([...observers.values()].every((count) => count === expected));
    }),
    seeded(200),
  );
});

test("one that is not known as a member yet observes those before it", () => {
  assert.equal(observedBy("b", ["a", "c", "d"]), ["a", "d"]);
  assert.equal(observedBy("b", []), []);
});

test("a member is lost when its beat has been the same for long enough, and only to an observer that was there", () => {
  const observer = new Observer(times);
  const read = (beat: number, now: number) => observer.read(new Map([["a", beat]]), now);
  for (let now = 0; now < 2_000; now += 400) assert.equal(read(7, now), []);
  assert.equal(read(7, 2_000), [{ member: "a", beat: 7 }]);
  assert.equal(read(8, 2_400), [], "it beats again");
  assert.equal(read(8, 9_000), [], "the observer was away, so that it cannot tell");
  for (let now = 9_400; now < 11_000; now += 400) assert.equal(read(8, now), []);
  assert.equal(read(8, 11_000), [{ member: "a", beat: 8 }]);
});

test("beats that took long to be read are as old as the question", () => {
  const observer = new Observer(times);
  const read = (beat: number, now: number, askedAt = now) =>
    observer.read(new Map([["a", beat]]), now, askedAt);
  for (let now = 0; now <= 1_600; now += 400) assert.equal(read(7, now), []);
  assert.equal(read(7, 2_100, 1_950), [], "it may have been sent another since");
  assert.equal(read(7, 2_500, 2_000), [{ member: "a", beat: 7 }]);
  assert.equal(read(8, 2_900, 2_600), []);
  for (let now = 3_300; now < 4_900; now += 400) assert.equal(read(8, now), []);
  assert.equal(
    read(8, 4_900),
    [{ member: "a", beat: 8 }],
    "it was there when it was read, not when it was asked for",
  );
});

test("whoever is lost to an observer does not hold its lease any more, whatever its clock, pauses and the network", () => {
  // The holder's clock runs at its own speed; a beat is written some time after it was sent, or never, and its answer may come late.
  const step = fc.record({
    pause: fc.integer({ min: 0, max: 3_000 }),
    way: fc.integer({ min: 0, max: 800 }),
    fails: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 30 }),
      fc.double({ min: 0.8, max: 1.2, noNaN: true }),
      (steps, speed) => {
        const lease = new Lease(times);
        const written: { at: number; beat: number }[] = [];
        const renewals: { at: number; sent: number }[] = [];
        let now = 0;
        for (const [i, { pause, way, fails }] of steps.entries()) {
          const sent = now;
          if (!fails) {
            written.push({ at: now + way, beat: i + 1 });
            renewals.push({ at: now + 2 * way, sent: sent * speed });
          }
          now += way * 2 + times.beatMs / speed + pause;
        }
        const observer = new Observer(times);
        for (let at = 0; at < now + 5_000; at += times.beatMs) {
          for (const { sent } of renewals.filter((each) => each.at <= at)) lease.renewed(sent);
          const beat = written.findLast((each) => each.at <= at)?.beat ?? 0;
          const lost = observer.read(new Map([["a", beat]]), at);
          if (lost.length) assert.not.ok(lease.isHeld(at * speed), `at ${at}`);
        }
      },
    ),
    seeded(300),
  );
});

test.run();
