/** Visits as the Hallelu leads them, with Jahs that say what a test has them say: who waits for them, and what is done where rows are dropped. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { VISIT_GRACE_MS, VISIT_HELD_BYTES, VISIT_HELD_ENTRIES } from "../../host/core/limits.ts";
import { giveUp } from "../../host/hallelu/give-up.ts";
import type { Jah } from "../../host/hallelu/jahs.ts";
import { Course, planVisit, type VisitPlan } from "../../host/hallelu/visit.ts";
import { Visits } from "../../host/hallelu/visits.ts";
import { VISITS_VERSION } from "../../host/compiler/descriptor.ts";
import { Visits as VisitsOfJah } from "../../host/jah/visits.ts";
import { VISITING } from "../../host/wire/live.ts";
import type { Visited, VisitStart, VisitStep } from "../../host/wire/visit.ts";

const test = suite("host/hallelu/visits.ts: visits, their Jahs played by the test");

const DATASET: VisitStart["over"] = { dataset: { number: 0, name: "rows", fields: [] } };
const TABLE: VisitStart["over"] = { table: { number: 0, name: "kept", key: ["Text"], fields: [] } };

function planOf(over: VisitStart["over"], changes: Partial<VisitPlan> = {}): VisitPlan {
  const start = { version: 1, wasm: new Uint8Array(), over, fields: [], bounds: [], format: 0 };
  return {
    start,
    tables: [],
    timeoutMs: 60_000,
    rowsMax: Infinity,
    hold: false,
    signal: undefined,
    ...changes,
  };
}

interface Played {
  rows: number;
  /** What steps answer: for each visit that is begun, its steps; the last ones are repeated. Of a `never` there is no answer. */
  steps: (Partial<VisitStep> | "never")[][];
  /** Whether the kernel comes back when the visit begins. */
  begins?: "never";
}

/** A stream of two Jahs, of which the first answers as `played`; and all that they are asked, in order. */
function streamOf({ rows, steps, begins }: Played) {
  const asked: string[] = [];
  let begun = -1;
  let at = 0;
  const over = { over: true, dropped: 0, rows: 0, emitted: [], visited: [] };
  const jahOf = (first: boolean) => ({
    call: async (method: string) => {
      if (first) asked.push(method);
      if (method === "hold") return { next: 7 };
      if (method === "visit") {
        if (first) begun++;
        at = 0;
        if (first && begins === "never") return new Promise(() => {});
        return { rows: first ? rows : 0 };
      }
      if (method === "visitStep") {
        const step = first ? steps[Math.min(begun, steps.length - 1)][at++] : {};
        return step === "never" ? new Promise(() => {}) : { ...over, ...step };
      }
      return { emitted: [] };
    },
  });
  const jahs = [jahOf(true), jahOf(false)] as unknown as Jah[];
  const visits = new Visits({
    name: "s",
    frameTimeoutMs: 1000,
    stuckFile: () => join(tmpdir(), "hallelujah-no-such-folder", "stuck"),
    lowest: () => 7,
    refuse: () => {},
    turn: async () => ({ jahs, least: 0, release: () => void asked.push("turn over") }),
    answered: () => {},
    worked: () => {},
  });
  const begin = (plan: VisitPlan) => visits.visit({ plan: () => plan, placeOf: () => undefined });
  const visit = async (plan: VisitPlan) => {
    const answer = await begin(plan);
    const chunks: Uint8Array[] = [];
    for await (const chunk of answer.rows) chunks.push(chunk);
    return { frame: answer.frame, text: Buffer.concat(chunks).toString() };
  };
  /** Whether the stream went on before all was met. */
  const wentOn = () => asked.indexOf("release") < asked.lastIndexOf("visitStep");
  return { asked, begin, visit, wentOn };
}

const emitted = (text: string) => [Buffer.from(text)];

test("the stream waits for visits of small tables, and for those that say so; it goes on beside others", async () => {
  const steps = [
    [
      { over: false, emitted: emitted("a\n") },
      { over: true, emitted: emitted("b\n") },
    ],
  ];
  const cases: [VisitStart["over"], number, boolean, waits: boolean][] = [
    [DATASET, 10, false, false],
    [DATASET, 10, true, true],
    [TABLE, VISIT_HELD_ENTRIES, false, true],
    [TABLE, VISIT_HELD_ENTRIES + 1, false, false],
    [TABLE, VISIT_HELD_ENTRIES + 1, true, true],
  ];
  for (const [over, rows, hold, waits] of cases) {
    const { asked, visit, wentOn } = streamOf({ rows, steps });
    assert.equal(await visit(planOf(over, { hold })), { frame: 7, text: "a\nb\n" });
    assert.is(wentOn(), !waits, `${rows} rows, hold: ${hold}`);
    for (const each of ["release", "turn over", "visitEnd"])
      assert.is(asked.filter((method) => method === each).length, 1, each);
  }
});

test("a stream that waits goes on when the visit fails, and when its client leaves", async () => {
  const failing = streamOf({ rows: 5, steps: [[{ over: false }]] });
  const left = AbortSignal.abort();
  for (const plan of [planOf(TABLE, { timeoutMs: -1 }), planOf(TABLE, { signal: left })]) {
    const error = await failing.visit(plan).then(
      () => undefined,
      (why: Error) => why,
    );
    assert.ok(error);
    assert.is(failing.asked.filter((method) => method === "release").length, 1);
    assert.is(failing.asked.filter((method) => method === "turn over").length, 1);
    failing.asked.splice(0);
  }
});

test("a visit of more rows than it may meet is refused with the option that allows more", async () => {
  const { visit } = streamOf({ rows: 11, steps: [[{}]] });
  const error = await visit(planOf(DATASET, { rowsMax: 10 })).then(
    () => assert.unreachable("it was answered"),
    (why: { code: string; message: string }) => why,
  );
  assert.is(error!.code, "visit-too-large");
  assert.match(error!.message, /there are 11 rows, and the visit may meet 10; .*--rows/);
});

test("a visit whose kernel does not come back ends when its time is over", async () => {
  const { asked, visit } = streamOf({ rows: 5, steps: [["never"]] });
  const error = await visit(planOf(DATASET, { timeoutMs: 20 })).then(
    () => assert.unreachable("it was answered"),
    (why: { code: string; message: string }) => why,
  );
  assert.is(error!.code, "visit-timeout");
  assert.match(error!.message, /not over after 0\.02 s.*a loop that never ends/);
  assert.is(asked.filter((method) => method === "visitStep").length, 2, "the first, and one ahead");
  assert.is(asked.at(-1), "visitEnd");
});

test("a visit whose client leaves ends at once, also while its kernel does not come back", async () => {
  const { asked, visit } = streamOf({ rows: 5, steps: [["never"]] });
  const client = new AbortController();
  const answer = visit(planOf(DATASET, { signal: client.signal })).catch((why: unknown) => why);
  while (!asked.includes("visitStep")) await sleep(1);
  const left = new Error("left");
  client.abort(left);
  assert.is(await answer, left);
  assert.is(asked.at(-1), "visitEnd");
});

test("a visit whose kernel does not come back from its start ends as one that does not from a step", async () => {
  for (const leaves of [true, false]) {
    const { asked, visit } = streamOf({ rows: 5, steps: [[{}]], begins: "never" });
    const client = new AbortController();
    const plan = planOf(DATASET, { signal: client.signal, ...(leaves ? {} : { timeoutMs: 20 }) });
    const answer = visit(plan).catch((why: unknown) => why);
    while (!asked.includes("visit")) await sleep(1);
    const left = new Error("left");
    if (leaves) client.abort(left);
    const why = await answer;
    if (leaves) assert.is(why, left);
    else assert.is((why as { code: string }).code, "visit-timeout");
    // The stream goes on, and nobody is asked for a step.
    assert.equal(asked.slice(asked.indexOf("visit")), ["visit", "release", "turn over", "visitEnd"]);
  }
});

test("a watchdog is told of a part that does not come back in its grace, and of no other", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-left-"));
  const path = join(folder, "left");
  try {
    await giveUp(Promise.resolve(), path, 2 ** 31 - 1); // it would wait for ever
    assert.not.ok(existsSync(path));
    let end = () => {};
    const part = new Promise<void>((_, fail) => {
      end = () => fail(new Error("its Jah ended"));
    });
    const givenUp = giveUp(part, path, 0);
    while (!existsSync(path)) await sleep(1);
    end();
    await givenUp;
    assert.not.ok(existsSync(path));
    await giveUp(sleep(5), join(folder, "gone", "left"), 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("the Jah gives a visiting kernel the time that its visit has left, and a little more", async () => {
  const entered: [number, number, number | undefined][] = [];
  const visits = new VisitsOfJah({
    memory: undefined as never,
    watchdog: { enter: (...work) => void entered.push(work as never), leave: () => {} },
    version: () => 2,
    held: () => undefined,
    isFree: () => true,
    restore: () => {},
  });
  for (const leftMs of [5_000.5, -3]) {
    const start = { ...planOf(DATASET).start, visit: 4, leftMs };
    assert.is(await codeOf(visits.perform("visit", start)), "visit-lost"); // it is of another version
  }
  assert.equal(entered, [
    [4, VISITING, 5_001 + VISIT_GRACE_MS],
    [4, VISITING, VISIT_GRACE_MS],
  ]);
});

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return promise.then(
    () => undefined,
    ({ code }: { code: string }) => code,
  );
}

test("a stream that waits for a visit does not wait for its client, unless very much is emitted", async () => {
  const [small, large] = [emitted("a\n"), [new Uint8Array(VISIT_HELD_BYTES + 1)]];
  for (const [first, waits] of [
    [small, false],
    [large, true],
  ] as const) {
    const steps = [
      [
        { over: false, emitted: first },
        { over: true, emitted: emitted("b\n") },
      ],
    ];
    const { asked, begin } = streamOf({ rows: 5, steps });
    const { rows } = await begin(planOf(TABLE));
    const iterator = rows[Symbol.asyncIterator]();
    assert.equal((await iterator.next()).value, first[0]);
    assert.is(!asked.includes("release"), waits);
    await iterator.return!();
    assert.ok(asked.includes("release"));
  }
});

test("where rows are dropped before they are met, it begins again, and the stream waits", async () => {
  const { asked, visit } = streamOf({
    rows: 100,
    steps: [[{ over: false }, { over: true, dropped: 30 }], [{ over: true, emitted: emitted("all\n") }]],
  });
  assert.is((await visit(planOf(DATASET))).text, "all\n");
  assert.is(asked.filter((method) => method === "visit").length, 2);
  const second = asked.slice(asked.lastIndexOf("visit"));
  assert.ok(second.indexOf("release") > second.lastIndexOf("visitStep"));
});

test("rows that are dropped after something was sent end the answer with what to do", async () => {
  const { visit } = streamOf({
    rows: 100,
    steps: [
      [
        { over: false, emitted: emitted("some\n") },
        { over: true, dropped: 30 },
      ],
    ],
  });
  const error = await visit(planOf(DATASET)).then(
    () => assert.unreachable("it was answered"),
    (why: { code: string; message: string }) => why,
  );
  assert.is(error!.code, "visit-dropped");
  assert.match(error!.message, /rows dropped 30 rows.*hold/);
});

test("what comes after a result of a visit that stays is in the next one", async () => {
  /** Rows that the second Jah is yet to meet, and those that came together in the first. */
  const rows: string[] = [];
  const taken: string[] = [];
  const visitedOf = (row: string): Visited => ({
    partition: 200,
    index: 0,
    rows: 1,
    bad: 0,
    emitted: [],
    emittedRows: 0,
    parts: emitted(row),
  });
  const step = { over: true, dropped: 0, rows: 0, emitted: [], visited: [] };
  let stepping: Promise<unknown> = Promise.resolve();
  /** A Jah is at its steps one after the other, and meets what is there then. */
  const stepped = () => {
    const done = stepping.then(async () => {
      await turn();
      return { ...step, visited: rows.splice(0).map(visitedOf) };
    });
    stepping = done;
    return done;
  };
  const jahOf = (stepOf: () => Promise<VisitStep>) => ({
    call: async (method: string, argument: { visited: Visited[] }) => {
      if (method === "hold") return { next: 7 };
      if (method === "visitStep") return stepOf();
      if (method === "visitTake") taken.push(...argument.visited.flatMap(({ parts }) => parts.map(String)));
      return { rows: 1, emitted: [] };
    },
  });
  const jahs = [jahOf(async () => step), jahOf(stepped)] as unknown as Jah[];
  const course = new Course(planOf(DATASET), jahs, {
    frameTimeoutMs: 1000,
    stuckFile: () => "",
    worked: () => {},
    placeOf: () => undefined,
  });
  const held = { jahs, least: 0, release: () => {} };
  rows.push("a");
  await course.begin(held);
  await course.result();
  assert.equal(taken, ["a"]);
  for (const row of ["b", "c"]) {
    rows.push(row);
    await course.more(held);
    await course.result();
  }
  assert.equal(taken, ["a", "b", "c"]);
  course.end();
});

const field = { name: "n", aggregate: "Count", offset: 0, size: 8, columns: [] };
const table = (name: string) => ({ name, key: ["Text"], state: "S", fields: [field] });
const dataset = (name: string) => ({ name, record: "R", fields: [] });
const kernelOf = (tables: string[], datasets: string[] = []): KernelDescriptor => ({
  abi: 1,
  sdk: "",
  file: "k.ts",
  input: { name: "R", fields: [], size: 0 },
  outputs: [],
  tables: tables.map(table),
  datasets: datasets.map(dataset),
  visits: VISITS_VERSION,
  ordered: false,
  late: false,
  emits: false,
});
const visiting = { wasm: new Uint8Array(), descriptor: kernelOf(["groups"]) };

function planned(
  resident: KernelDescriptor,
  name?: string,
  follows = false,
): VisitPlan | { code: string; message: string } {
  try {
    const request = { format: "ndjson" as const, ...(name === undefined ? {} : { dataset: name }) };
    return planVisit("s", { version: 1, resident }, visiting, request, follows);
  } catch (error) {
    return error as { code: string; message: string };
  }
}

test("a dataset or a table is chosen by its name; the only one by none", () => {
  const chosen = (plan: ReturnType<typeof planned>) => ("start" in plan ? plan.start.over : plan.code);
  const both = kernelOf(["a", "b"], ["rows"]);
  const rows = { dataset: { number: 0, name: "rows", fields: [] } };
  assert.equal(chosen(planned(both)), rows);
  assert.equal(chosen(planned(both, "rows")), rows);
  assert.equal(chosen(planned(both, "b")), {
    table: { number: 1, name: "b", key: ["Text"], fields: [field] },
  });
  assert.equal(chosen(planned(kernelOf(["a"]))), {
    table: { number: 0, name: "a", key: ["Text"], fields: [field] },
  });
  const refusals: [KernelDescriptor, string | undefined, RegExp][] = [
    [kernelOf(["a", "b"]), undefined, /several tables; say which one.*\nit has: a, b/],
    [
      kernelOf(["a"], ["rows", "more"]),
      undefined,
      /several datasets; say which one.*\nit has: rows, more, a/,
    ],
    [both, "row", /no dataset or table row; did you mean rows\?\nit has: rows, a, b/],
    [kernelOf([]), undefined, /neither a Dataset nor a table/],
  ];
  for (const [resident, name, message] of refusals) {
    const refused = planned(resident, name) as { code: string; message: string };
    assert.is(refused.code, "dataset-missing");
    assert.match(refused.message, message);
  }
});

test("a visit of a table does not stay, and says why", () => {
  const refused = planned(kernelOf(["a"], ["rows"]), "a", true) as { code: string; message: string };
  assert.is(refused.code, "visit-format");
  assert.match(refused.message, /rows of a change in place.*hallelujah watch s --table a/);
  assert.ok("start" in planned(kernelOf(["a"], ["rows"]), "rows", true));
});

test.run();
