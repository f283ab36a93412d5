/** `fold`, windows, sessions and late records: whole runs against the plain model beside this file. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { kernelOf, runRows, write } from "../run.ts";
import { type Event, framesOf, iso, type Result, sessions, windows } from "./model.ts";

const MINUTE = 60_000;
const BASE = Date.parse("2024-05-01T00:00:00Z");

const HEAD = (late: number) => `
import { Count, Distinct, First, Last, Sessions, Table, Text, Time, Window, Windows, out } from "hallelujah";
@record class Event { user: Text; @time(${late}) at: Time; page: Text }
@record class Late { user: Text; late: Time }
`;

const WINDOWS = (size: number, step: number, late: number) => `${HEAD(late)}
@record class Closed { page: Text; start: Time; end: Time; events: u64; users: u64 }
@state class Seen { events: Count; users: Distinct }
const seen = new Windows<Text, Seen>("seen", ${size}, ${step});
export function each(event: Event): void {
  const state = seen.at(event.page, event.at);
  state.events.add();
  state.users.add(event.user);
}
${CLOSE}`;

const CLOSE = `export function close(window: Window, page: Text, state: Seen): void {
  const closed = new Closed();
  closed.page = page;
  closed.start = window.start;
  closed.end = window.end;
  closed.events = state.events.value;
  closed.users = state.users.value;
  out.emit(closed);
}`;

const FOLDED = (size: number, step: number, late: number) => `${HEAD(late)}
@record class Closed { page: Text; start: Time; end: Time; events: u64; users: u64 }
@state class Seen { events: Count; users: Distinct }
const seen = new Windows<Text, Seen>("seen", ${size}, ${step});
export function key(event: Event): Text { return event.page; }
export function fold(event: Event, state: Seen): void {
  state.events.add();
  state.users.add(event.user);
}
${CLOSE}`;

const SESSIONS = (gap: number, late: number) => `${HEAD(late)}
@record class Visit { user: Text; start: Time; minutes: i64; events: u64; pages: u64; first: Text; last: Text }
@state class Open { events: Count; pages: Distinct; first: First<Text>; last: Last<Text> }
const open = new Sessions<Text, Open>("open", ${gap});
export function key(event: Event): Text { return event.user; }
export function fold(event: Event, state: Open): void {
  state.events.add();
  state.pages.add(event.page);
  state.first.add(event.page);
  state.last.add(event.page);
}
export function close(window: Window, user: Text, state: Open): void {
  const visit = new Visit();
  visit.user = user;
  visit.start = window.start;
  visit.minutes = (window.end.ms - window.start.ms) / 60_000;
  visit.events = state.events.value;
  visit.pages = state.pages.value;
  visit.first = state.first.value;
  visit.last = state.last.value;
  out.emit(visit);
}
export function late(event: Event): void {
  const row = new Late();
  row.user = event.user;
  row.late = event.at;
  out.emit(row);
}`;

/** Records whose times go on, but for some that come up to `back` ms too late. */
function events(count: number, seed: number, step: number, back: number): Event[] {
  let state = seed;
  const random = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
  let now = BASE;
  return Array.from({ length: count }, () => {
    now += random(step);
    const at = random(5) ? now : now - random(back + 1);
    return { user: `u${random(random(3) ? 9 : 400)}`, at, page: `/p${random(17)}${"x".repeat(random(60))}` };
  });
}

/** Runs with 1, 2 and 3 Jahs: the same bytes, and what the model says. */
async function same(
  kernel: string,
  all: Event[],
  frameBytes: number,
  model: (frames: ReturnType<typeof framesOf>["frames"]) => Result,
) {
  const { text, frames } = framesOf(all, frameBytes);
  const input = write(`events-${frameBytes}-${all.length}.ndjson`, text);
  const expected = model(frames);
  let bytes: string | undefined;
  for (const jahs of [1, 2, 3]) {
    const ran = await runRows(kernel, input, { jahs, frameBytes });
    bytes ??= ran.text;
    assert.is(ran.text, bytes, `${jahs} Jahs`);
    assert.is(ran.summary.late, expected.late.length, "late records");
    const lines = ran.text.split("\n").slice(0, -1);
    let at = 0;
    for (const [frame, rows] of expected.frames.entries()) {
      const got = lines.slice(at, at + rows.length).toSorted();
      assert.equal(got, rows.toSorted(), `frame ${frame}`);
      at += rows.length;
    }
    assert.is(lines.length, at);
  }
  return expected;
}

test("tumbling windows close when event time passes their end; late records are counted", async () => {
  const kernel = kernelOf("tumbling", WINDOWS(10 * MINUTE, 10 * MINUTE, 2 * MINUTE));
  const all = events(3000, 1, 20_000, 15 * MINUTE);
  const { late } = await same(kernel, all, 4096, (frames) =>
    windows(frames, 10 * MINUTE, 10 * MINUTE, 2 * MINUTE, false),
  );
  assert.ok(late.length > 10);
});

test("sliding windows are put together from panes", async () => {
  const kernel = kernelOf("sliding", WINDOWS(60 * MINUTE, 10 * MINUTE, 5 * MINUTE));
  const all = events(3000, 2, 40_000, 90 * MINUTE);
  const { late } = await same(kernel, all, 4096, (frames) =>
    windows(frames, 60 * MINUTE, 10 * MINUTE, 5 * MINUTE, false),
  );
  assert.ok(late.length > 10);
});

test("windows of fold take each record once for each window that it lies in", async () => {
  for (const [size, step] of [
    [10, 10],
    [30, 10],
  ]) {
    const kernel = kernelOf("folded", FOLDED(size * MINUTE, step * MINUTE, MINUTE));
    await same(kernel, events(2000, 3, 30_000, 60 * MINUTE), 4096, (frames) =>
      windows(frames, size * MINUTE, step * MINUTE, MINUTE, true),
    );
  }
});

test("sessions end with a gap, whether a record shows it or event time passes", async () => {
  const kernel = kernelOf("sessions", SESSIONS(30 * MINUTE, 5 * MINUTE));
  const { late } = await same(kernel, events(4000, 4, 60_000, 120 * MINUTE), 4096, (frames) =>
    sessions(frames, 30 * MINUTE, 5 * MINUTE),
  );
  assert.ok(late.length > 10);
});

/** A run of 600 records, from few numbers. */
interface Case {
  seed: number;
  /** ms: of windows, the gap of sessions. */
  step: number;
  /** Windows that a record lies in. */
  overlap: number;
  /** ms: how late records may be, how late some are, and how fast event time passes between two. */
  late: number;
  back: number;
  pace: number;
  frameBytes: number;
  kind: string;
}

async function asTheModel({ seed, step, overlap, late, back, pace, frameBytes, kind }: Case): Promise<void> {
  const size = step * overlap;
  const source =
    kind === "sessions" ? SESSIONS(step, late) : (kind === "each" ? WINDOWS : FOLDED)(size, step, late);
  await same(kernelOf(kind, source), events(600, seed, pace, back), frameBytes, (frames) =>
    kind === "sessions" ? sessions(frames, step, late) : windows(frames, size, step, late, kind === "fold"),
  );
}

test("a session that starts anew keeps its timer: what was found at random", async () => {
  const found: Partial<Case>[] = [
    // Rows came out of order.
    { seed: 1374215584, step: 5 * MINUTE, late: 338_899, back: 18, pace: 245_992, frameBytes: 200 },
    // A record was not late.
    { seed: 8, step: 3 * MINUTE, late: 1_799_981, back: 10_013_900, pace: 86_825, frameBytes: 200 },
    // Two Jahs said something else than one.
    { seed: 2002348168, step: 14 * MINUTE, late: 946_061, back: 7_727_893, pace: 441_502, frameBytes: 329 },
    // The search for the slot of an entry never ended.
    { seed: 430432160, step: 14 * MINUTE, late: 994_060, back: 19, pace: 210_615, frameBytes: 10_769 },
    { seed: 29, step: 2 * MINUTE, late: 567_116, back: 4_094_292, pace: 90_222, frameBytes: 206 },
  ];
  for (const each of found) await asTheModel({ kind: "sessions", overlap: 1, ...each } as Case);
});

test("random sizes, gaps, delays and frames", async () => {
  const minutes = (max: number) => fc.integer({ min: 1, max }).map((n) => n * MINUTE);
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        seed: fc.nat(),
        step: minutes(20),
        overlap: fc.integer({ min: 1, max: 7 }),
        late: fc.integer({ min: 0, max: 30 * MINUTE }),
        back: fc.integer({ min: 0, max: 200 * MINUTE }),
        pace: fc.integer({ min: 1, max: 10 * MINUTE }),
        frameBytes: fc.integer({ min: 200, max: 20_000 }),
        kind: fc.constantFrom("each", "fold", "sessions"),
      }),
      asTheModel,
    ),
    // A smaller case would be found by whole runs; the first one is small enough.
    { numRuns: 24, verbose: 1, endOnFailure: true },
  );
});

test("several files are as many clocks: none of their records is late because of another file", async () => {
  const kernel = kernelOf("sessions", SESSIONS(30 * MINUTE, 0));
  const text = (from: number) =>
    Array.from({ length: 50 }, (_, i) => `{"user":"u","at":"${iso(from + i * MINUTE)}","page":"/"}\n`).join(
      "",
    );
  const files = [BASE + 600 * MINUTE, BASE + 300 * MINUTE, BASE].map((from, i) =>
    write(`part${i}.ndjson`, text(from)),
  );
  const { rows, summary } = await runRows(kernel, files, { frameBytes: 500 });
  // Of one key, in the order of the input: the later files come before its open session.
  assert.is(summary.late, 100);
  const windows = await runRows(kernelOf("tumbling", WINDOWS(10 * MINUTE, 10 * MINUTE, 0)), files, {
    frameBytes: 500,
  });
  assert.is(windows.summary.late, 0);
  assert.is(windows.rows.length, 15);
  assert.is(rows.length, 1);
});

test("fold sees the records of a key in the order of the input, whatever the frames", async () => {
  const kernel = kernelOf(
    "ordered",
    `import { Table, Text, out } from "hallelujah";
@record class Event { user: Text; n: i64; note: Text }
@record class Wrong { user: Text; n: i64; expected: i64; note: Text }
@state class Next { n: i64; skipped: u8; half: f64; yes: bool }
const next = new Table<Text, Next>("next");
export function key(event: Event): Text { return event.user; }
export function fold(event: Event, state: Next): void {
  if (event.n != state.n) {
    const wrong = new Wrong();
    wrong.user = event.user;
    wrong.n = event.n;
    wrong.expected = state.n;
    wrong.note = event.note;
    out.emit(wrong);
    state.skipped++;
  }
  state.n = event.n + 1;
  state.half = <f64>state.n / 2;
  state.yes = true;
}`,
  );
  const counts = new Map<string, number>();
  const lines = Array.from({ length: 5000 }, (_, i) => {
    const user = `user-${(i * 7919) % 61}`;
    let n = counts.get(user) ?? 0;
    if (i === 2500) n += 5;
    counts.set(user, n + 1);
    return JSON.stringify({ user, n, note: `n${i}`.padEnd(i % 50, "-") });
  });
  const input = write("ordered.ndjson", `${lines.join("\n")}\n`);
  let text: string | undefined;
  for (const [jahs, frameBytes] of [
    [1, 1024],
    [2, 1024],
    [3, 10_000],
    [2, 524_288],
  ]) {
    const ran = await runRows(kernel, input, { jahs, frameBytes });
    text ??= ran.text;
    assert.is(ran.text, text);
    const [wrong, ...rows] = ran.rows;
    assert.equal([wrong.n - wrong.expected, wrong.note.startsWith("n2500")], [5, true]);
    assert.is(rows.length, 61);
    for (const { key, n, half, yes, skipped } of rows)
      assert.equal(
        [n, half, yes, skipped],
        [counts.get(key), counts.get(key)! / 2, true, Number(key === wrong.user)],
      );
  }
});

test("more is emitted by one frame than the output window holds", async () => {
  const kernel = kernelOf(
    "much",
    `import { Table, Text, Count, out } from "hallelujah";
@record class Event { user: Text; note: Text }
@record class Copy { n: u64; user: Text; note: Text }
@state class All { n: Count }
const all = new Table<Text, All>("all");
export function key(event: Event): Text { return event.user; }
export function fold(event: Event, state: All): void {
  for (let i = 0; i < 40; i++) {
    state.n.add();
    const copy = new Copy();
    copy.n = state.n.value;
    copy.user = event.user;
    copy.note = event.note;
    out.emit(copy);
  }
}`,
  );
  const lines = Array.from({ length: 900 }, (_, i) =>
    JSON.stringify({ user: `u${i % 7}`, note: "z".repeat(500) }),
  );
  const input = write("much.ndjson", `${lines.join("\n")}\n`);
  const [one, two] = [await runRows(kernel, input, { jahs: 1 }), await runRows(kernel, input, { jahs: 2 })];
  assert.ok(one.bytes.length > 17 << 20);
  assert.ok(one.bytes.equals(two.bytes));
  assert.is(one.summary.emitted, 36_000);
  const seen = new Map<string, number>();
  for (const { user, n } of one.rows.slice(0, 36_000)) {
    assert.is(n, (seen.get(user) ?? 0) + 1);
    seen.set(user, n);
  }
});

test("keys of every kind have windows and sessions", async () => {
  const cases: [type: string, expression: string, key: (i: number) => unknown][] = [
    ["i32", "event.n", (i) => i - 3],
    ["Time", "event.at", (i) => iso(BASE + i * 1000)],
    ["Pair<Text, i32>", "pair(event.name, event.n)", (i) => [`k${i % 2}`, i - 3]],
    ["Text", "event.name", (i) => `k${i % 2}`],
  ];
  const lines = Array.from({ length: 9 }, (_, i) =>
    JSON.stringify({ name: `k${i % 2}`, n: i - 3, at: iso(BASE + i * 1000) }),
  );
  const input = write("keys.ndjson", `${lines.join("\n")}\n`);
  for (const [type, expression, keyOf] of cases) {
    const source = (kind: string, body: string) => `
import { Count, Pair, Sessions, Text, Time, Window, Windows, out, pair } from "hallelujah";
@record class Event { name: Text; n: i32; @time at: Time }
@record class Row { events: u64; start: Time }
@state class Kept { events: Count }
const kept = new ${kind};
${body}
export function close(window: Window, key: ${type}, state: Kept): void {
  const row = new Row();
  row.events = state.events.value;
  row.start = window.start;
  out.emit(row);
}`;
    const fold = `export function key(event: Event): ${type} { return ${expression}; }
export function fold(event: Event, state: Kept): void { state.events.add(); }`;
    const each = `export function each(event: Event): void { kept.at(${expression}, event.at).events.add(); }`;
    const keys = new Set(Array.from({ length: 9 }, (_, i) => JSON.stringify(keyOf(i)))).size;
    for (const kernel of [
      source(`Windows<${type}, Kept>("kept", 3600_000)`, each),
      source(`Windows<${type}, Kept>("kept", 3600_000)`, fold),
      source(`Sessions<${type}, Kept>("kept", 3600_000)`, fold),
    ]) {
      const { rows } = await runRows(kernelOf("kinds", kernel), input, { frameBytes: 100 });
      assert.is(rows.length, keys, type);
      assert.is(
        rows.reduce((sum, { events }) => sum + events, 0),
        9,
      );
    }
  }
});

test.run();
