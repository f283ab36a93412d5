import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Effect, type Event, Lifecycle, type State, transition } from "../../host/hallelu/lifecycle.ts";
import { StreamState } from "../../host/wire/http.ts";
import { seeded } from "../run.ts";

const test = suite("host/hallelu/lifecycle.ts: the life of a stream");

/** What each event (column) makes of each state (row): `.` the state stays and nothing is done, `!` it cannot happen. */
const EXPECTED = `
            start     wake    ready    lose        park     parked  paused  fail    close    remove
starting    starting  waking  running  recovering  parking  !       !       failed  closing  removed
waking      starting  waking  running  recovering  parking  !       !       failed  closing  removed
recovering  starting  waking  running  recovering  parking  !       !       failed  closing  removed
running     starting  waking  running  recovering  parking  !       !       failed  closing  removed
parking     .         .       !        .           .        parked  paused  failed  closing  removed
parked      starting  waking  !        !           parking  !       !       failed  closing  removed
paused      starting  waking  !        !           parking  !       !       failed  closing  removed
closing     .         .       !        .           .        closed  closed  failed  .        removed
closed      .         .       !        .           .        !       !       failed  .        removed
failed      .         .       !        .           .        .       .       .       .        removed
removed     .         .       !        .           .        .       .       .       .        .
`;

/** What is done when an event leads anywhere, but for the two below. */
const EFFECTS: Record<Event, Effect[]> = {
  start: ["claim"],
  wake: ["claim"],
  ready: [],
  lose: ["claim"],
  park: ["save"],
  parked: ["resume"],
  paused: [],
  fail: ["drop"],
  close: ["save"],
  remove: ["drop"],
};
const OTHER_EFFECTS: Record<string, Effect[]> = {
  // Its state is being written already; and it does not wake again.
  "parking close": [],
  "closing parked": [],
};

const [head, ...rows] = EXPECTED.trim()
  .split("\n")
  .map((line) => line.trim().split(/\s+/));
const EVENTS = head as Event[];
const STATES = rows.map(([state]) => state as State);

/** Where an event leads; undefined if it cannot happen. */
function leads(state: State, event: Event): State | undefined {
  try {
    return transition(state, event).to;
  } catch {
    return undefined;
  }
}

/** All states that events lead to. */
function reachable(from: State): Set<State> {
  const found = new Set<State>([from]);
  for (const state of found)
    for (const event of EVENTS) {
      const next = leads(state, event);
      if (next) found.add(next);
    }
  return found;
}

for (const [state, ...cells] of rows)
  test(`${state}: every event leads where it should`, () => {
    assert.is(cells.length, EVENTS.length);
    cells.forEach((cell, i) => {
      const pair = `${state} ${EVENTS[i]}`;
      if (cell === "!") {
        const isClear = (error: Error) =>
          error instanceof TypeError && error.message.includes(state) && error.message.includes(EVENTS[i]);
        assert.throws(() => transition(state as State, EVENTS[i]), isClear, pair);
        return;
      }
      const effects = cell === "." ? [] : (OTHER_EFFECTS[pair] ?? EFFECTS[EVENTS[i]]);
      const expected = { to: cell === "." ? state : cell, effects };
      assert.equal(transition(state as State, EVENTS[i]), expected, pair);
    });
  });

test("every state is reached, from every one there is a way to be removed, and from there to nowhere", () => {
  assert.equal([...reachable("starting")].toSorted(), [...STATES].toSorted());
  for (const state of STATES) assert.ok(reachable(state).has("removed"), state);
  assert.equal([...reachable("removed")], ["removed"]);
});

test("what has failed or closed never works again, and what rests may", () => {
  const works: State[] = ["starting", "waking", "recovering", "running"];
  for (const state of STATES) {
    const isOver = !works.some((each) => reachable(state).has(each));
    assert.is(isOver, ["failed", "closing", "closed", "removed"].includes(state), state);
  }
});

test("all that users see has a name, and what a state of theirs is called is what they see", () => {
  assert.equal(
    STATES.filter((state) => StreamState.options.includes(state as StreamState)).toSorted(),
    [...StreamState.options].toSorted(),
  );
  const stream = new Lifecycle();
  const seen = (event: Event) => {
    stream.take(event);
    return `${stream.state} as ${stream.shown}`;
  };
  const told: Event[] = ["ready", "park", "parked", "wake", "lose", "park", "paused", "close", "paused"];
  assert.equal(told.map(seen), [
    "running as running",
    "parking as running",
    "parked as parked",
    "waking as waking",
    "recovering as recovering",
    "parking as recovering",
    "paused as paused",
    "closing as paused",
    "closed as parked",
  ]);
  assert.is(seen("fail"), "failed as failed");
  assert.is(seen("remove"), "removed as failed");
});

test("whatever happens: one save at a time, and no Jah is claimed while one is under way or all is over", () => {
  const happens = fc.array(fc.constantFrom(...EVENTS), { maxLength: 60 });
  fc.assert(
    fc.property(happens, (events) => {
      const stream = new Lifecycle();
      let isSaving = false;
      for (const event of events) {
        const isSaved = event === "parked" || event === "paused";
        // That is told when a save is over, and then only.
        if (isSaved && !isSaving) continue;
        const before = stream.state;
        if (!leads(before, event)) {
          assert.throws(() => stream.take(event));
          assert.is(stream.state, before, "an error changes nothing");
          continue;
        }
        const { isOver, isParking } = stream;
        const effects = stream.take(event);
        if (isSaved) isSaving = false;
        for (const effect of effects) {
          if (effect === "claim") assert.not.ok(isOver || isParking || isSaving, `${before} ${event}`);
          if (effect === "save") assert.not.ok(isSaving, `${before} ${event}`);
          if (effect === "save") isSaving = true;
        }
        if (isOver) assert.ok(stream.isOver, `${before} ${event}`);
        if (stream.isParking) assert.ok(isSaving, `${before} ${event}`);
        assert.ok(StreamState.options.includes(stream.shown));
      }
    }),
    seeded(500),
  );
});

test.run();
