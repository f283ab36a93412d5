import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Asked, Lease, observedBy, Observer, timesOf } from "../../host/substrate/liveness.ts";
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
  assert.equal(read(7, 2_000), [{ member: "a", beat: 7, why: "silent" }]);
  assert.equal(read(8, 2_400), [], "it beats again");
  assert.equal(read(8, 9_000), [], "the observer was away, so that it cannot tell");
  for (let now = 9_400; now < 11_000; now += 400) assert.equal(read(8, now), []);
  assert.equal(read(8, 11_000), [{ member: "a", beat: 8, why: "silent" }]);
});

test("beats that took long to be read are as old as the question", () => {
  const observer = new Observer(times);
  const read = (beat: number, now: number, askedAt = now) =>
    observer.read(new Map([["a", beat]]), now, { askedAt });
  for (let now = 0; now <= 1_600; now += 400) assert.equal(read(7, now), []);
  assert.equal(read(7, 2_100, 1_950), [], "it may have been sent another since");
  assert.equal(read(7, 2_500, 2_000), [{ member: "a", beat: 7, why: "silent" }]);
  assert.equal(read(8, 2_900, 2_600), []);
  for (let now = 3_300; now < 4_900; now += 400) assert.equal(read(8, now), []);
  assert.equal(
    read(8, 4_900),
    [{ member: "a", beat: 8, why: "silent" }],
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

/** Reads of the one member `a`, every `beatMs`: its beat, and what came of asking a process. */
function observing() {
  const observer = new Observer(times);
  let now = 0;
  return (beat: number, word?: Asked["word"], process = "p") => {
    now += times.beatMs;
    const asked = new Map<string, Asked>(word ? [["a", { process, word }]] : []);
    return observer.read(new Map([["a", beat]]), now, { asked }).map(({ why }) => why);
  };
}

test("a member whose server says twice that nobody listens for it, and which beats no more, is lost long before lostMs", () => {
  for (const last of [1, 2]) {
    const read = observing();
    assert.equal(read(1, "here"), []);
    assert.equal(read(last, "nobody"), [], "its last beat may be new to the observer");
    assert.equal(read(last, "nobody"), ["gone"]);
  }
});

test("twice is not enough before goneMs, which is at least what it takes to be connected again", () => {
  const short = timesOf(1_000);
  assert.is(short.goneMs, 500);
  const observer = new Observer(short);
  const read = (word: Asked["word"], now: number) =>
    observer.read(new Map([["a", 1]]), now, { asked: new Map([["a", { process: "p", word }]]) });
  assert.equal(read("here", 0), []);
  for (const now of [200, 400, 499]) assert.equal(read("nobody", now), []);
  assert.equal(read("nobody", 500), [{ member: "a", beat: 1, why: "gone" }]);
});

test("a member that is connected again in time is not lost", () => {
  const read = observing();
  for (let beat = 1; beat < 20; beat++) {
    assert.equal(read(beat, "here"), []);
    assert.equal(read(beat, "nobody"), []);
  }
});

test("no answer in time is no word, and what was said before does not count after it", () => {
  const read = observing();
  read(1, "here");
  for (let i = 0; i < 3; i++) assert.equal(read(1, "nothing"), []);
  assert.equal(read(1, "nobody"), []);
  assert.equal(read(1, "nothing"), ["silent"], "lostMs is over");
  read(2, "here");
  assert.equal(read(2, "nobody"), []);
  assert.equal(read(2), [], "it was not asked, or the observer's connection was another");
  assert.equal(read(2, "nobody"), []);
  assert.equal(read(2, "nobody"), ["gone"]);
});

test("what an observer heard before it was away does not count", () => {
  const observer = new Observer(times);
  const read = (word: Asked["word"], now: number) =>
    observer.read(new Map([["a", 1]]), now, { asked: new Map([["a", { process: "p", word }]]) });
  assert.equal(read("here", 0), []);
  assert.equal(read("nobody", 400), []);
  for (const now of [2_000, 2_400, 2_800, 3_200]) assert.equal(read("nobody", now), []);
  assert.equal(read("here", 3_600), []);
  assert.equal(read("nobody", 4_000)[0]?.why, "silent" as const);
});

test("a process that takes the name within goneMs is not lost for the one before", () => {
  const read = observing();
  read(1, "here", "p");
  assert.equal(read(1, "nobody", "p"), []);
  assert.equal(read(2, "nobody", "q"), [], "it does not listen yet");
  assert.equal(read(2, "nobody", "q"), []);
  assert.equal(read(3, "here", "q"), []);
  assert.equal(read(3, "nobody", "q"), []);
  assert.equal(read(3, "nobody", "q"), ["gone"]);
});

test("a member that never answered is lost by its beats alone: it may not be able to", () => {
  const read = observing();
  for (let i = 0; i < 5; i++) assert.equal(read(1, "nobody"), []);
  assert.equal(read(1, "nobody"), ["silent"]);
});

test("a member that goes on to beat is not lost, whatever its server says", () => {
  const read = observing();
  read(1, "here");
  for (let beat = 1; beat < 20; beat++) assert.equal(read(beat, "nobody"), []);
  assert.equal(read(19, "nobody"), [], "a late beat is no loss either");
  assert.equal(read(19, "nobody"), []);
});

test("whoever is gone to an observer was denied each time for goneMs, and did not beat in that time", () => {
  const step = fc.record({
    pause: fc.integer({ min: 50, max: 900 }),
    beats: fc.boolean(),
    word: fc.constantFrom<Asked["word"]>("here", "nobody", "nobody", "nobody", "nothing"),
  });
  let gone = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const observer = new Observer(times);
      const reads: { at: number; beat: number; word: Asked["word"] }[] = [];
      let at = 0;
      let beat = 1;
      for (const { pause, beats, word } of steps) {
        at += pause;
        if (beats) beat++;
        const before = reads.findLastIndex((each) => each.word !== "nobody");
        const denied = reads.slice(before + 1);
        const lost = observer.read(new Map([["a", beat]]), at, {
          asked: new Map([["a", { process: "p", word }]]),
        });
        reads.push({ at, beat, word });
        if (lost[0]?.why !== "gone") continue;
        gone++;
        assert.is(word, "nobody");
        assert.ok(denied.length >= 1 && before >= 0);
        assert.ok(at - reads[before].at >= times.goneMs);
        assert.ok(denied.every((each) => each.beat === beat));
      }
    }),
    seeded(500),
  );
  assert.ok(gone > 0);
});

test.run();
