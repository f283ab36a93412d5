import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { type Jah, Jahs } from "../../host/hallelu/jahs.ts";
import type { StreamRecord, VersionRecord } from "../../host/hallelu/record.ts";
import { VISITS_MAX } from "../../host/core/limits.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import type { StreamParts } from "../../host/hallelu/stream-parts.ts";
import type { VisitPlan } from "../../host/hallelu/visit.ts";
import type { LiveStart, ToLiveJah } from "../../host/wire/live.ts";
import { HOME, attached, framesOf, KERNEL, logOf, ready, recordOf } from "./in-process.ts";

const test = suite("host/hallelu/stream.ts: one stream, its Jahs in this process");

/** A stream, and what its host does. */
function streamOf(
  changes: Partial<StreamRecord> = {},
  save = async (_record: StreamRecord) => {},
  parts: Partial<StreamParts> = {},
) {
  const jahs = new Jahs(() => {}, "secret", 1);
  const log = logOf();
  const outputs = { next: 0, append: async () => {}, close: async () => {} };
  const record = recordOf({ kernel: "", file: "", retain: "applied", ...changes });
  const stream = new Stream(record, {
    jahs,
    log,
    outputs,
    lateOutputs: outputs,
    kernel: KERNEL,
    folder: "",
    home: HOME,
    cpus: 2,
    freeCpus: () => 0,
    save,
    note: () => {},
    ...parts,
  } as unknown as StreamParts);
  /** Starts a Jah; all it is told. */
  const start = (jah: Jah): ToLiveJah[] => {
    const told: ToLiveJah[] = [];
    const message = attached(jah, jahs, (each) => told.push(each));
    ready(jah, message, 0, 1);
    return told;
  };
  return { stream, start, jahs, record };
}

/** Settles with `promise`, or rejects if it hangs. */
async function soon(promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error("it hangs")), 5000);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const ENDS: [string, (stream: Stream) => unknown][] = [
  ["fails", (stream) => stream.fail("enough")],
  ["is removed", (stream) => stream.remove()],
];
for (const [name, end] of ENDS)
  test(`a stream that ${name} while it parks keeps nobody waiting`, async () => {
    const { stream, start } = streamOf();
    stream.wake();
    const [owner] = stream.jahs.values();
    start(owner);
    assert.is(stream.info().state, "running");
    // A Jah that only maps has frames, so parking waits until they are applied, which they never are.
    const told = start(stream.claim("transient", false));
    await stream.frames.append(framesOf(40));
    assert.ok(told.some(({ type }) => type === "map"));
    const parked = stream.park();
    let isParked = false;
    void parked.then(() => {
      isParked = true;
    });
    await new Promise((done) => setImmediate(done));
    assert.not.ok(isParked);
    await end(stream);
    await soon(parked);
    await soon(stream.turn().then((release) => release()));
    assert.is(stream.jahs.size, 0);
    assert.is(stream.info().state, name === "fails" ? "failed" : "running");
    stream.busy();
    assert.is(stream.jahs.size, 0, "it never works again");
  });

test("a frame that stops the kernel of every Jah that gives state away counts as one that stops the kernel", async () => {
  const { stream, start } = streamOf({ strict: true });
  stream.wake();
  await stream.frames.append([{ source: 0, body: [], producers: [] }]);
  const failure = { kind: "trap" as const, code: "kernel-trapped", message: "no 77", stack: "" };
  for (const isLast of [false, true]) {
    const [donor] = stream.jahs.values();
    const given = start(donor).find((message) => message.type === "map")!;
    const [{ task }] = given.frames;
    donor.receive({ type: "failed", failure, mapping: { routing: given.routing, frame: task.frame } });
    assert.not.ok(stream.jahs.has(donor.id), "half of its state is given away");
    assert.is(stream.error, isLast ? "frame 0 stops its kernel, and it is strict: no 77" : undefined);
  }
});

test("who asks while a stream is about to park finds it awake again", async () => {
  const { stream, start } = streamOf();
  stream.wake();
  const [owner] = stream.jahs.values();
  const told = start(owner);
  const parked = stream.park();
  while (!told.some(({ type }) => type === "call")) await new Promise((done) => setImmediate(done));
  const asked = stream.query({ table: "t", format: "ndjson" });
  asked.catch(() => {}); // it ends with the test
  // The owner saves its state, as it is told to.
  const answered = new Set<number>();
  let over = false;
  void parked.then(() => {
    over = true;
  });
  for (let turns = 0; !over; turns++) {
    assert.ok(turns < 1000, "it never parks");
    for (const message of told) {
      if (message.type !== "call" || answered.has(message.id)) continue;
      answered.add(message.id);
      const value = message.method === "hold" ? { next: 0 } : { frame: 0 };
      owner.receive({ type: "answer", id: message.id, value });
    }
    await new Promise((done) => setImmediate(done));
  }
  await new Promise((done) => setImmediate(done));
  assert.is(stream.jahs.size, 1, "a Jah is claimed for whoever asked");
  stream.fail("enough");
});

test("so many visits at a time, and one more when one has ended", async () => {
  const { stream, start } = streamOf();
  stream.wake();
  const [owner] = stream.jahs.values();
  const told = start(owner);
  const plan = { start: {}, tables: [], timeoutMs: 60_000, rowsMax: Infinity } as unknown as VisitPlan;
  const kernel = { plan: () => plan, placeOf: () => undefined };
  const visit = () => stream.visits.visit(kernel).catch(({ code }: { code: string }) => code);
  /** The owner refuses whatever it is asked. */
  const refused = async (codes: Promise<unknown>) => {
    let over = false;
    const ended = codes.finally(() => {
      over = true;
    });
    for (let turns = 0; !over; turns++) {
      assert.ok(turns < 1000, "it hangs");
      for (const message of told.splice(0))
        if (message.type === "call")
          owner.receive({ type: "answer", id: message.id, error: { code: "odd", message: "no" } });
      await new Promise((done) => setImmediate(done));
    }
    return ended;
  };
  const waiting = Array.from({ length: VISITS_MAX }, visit);
  assert.is(await visit(), "busy");
  assert.equal(await refused(Promise.all(waiting)), Array(VISITS_MAX).fill("odd"));
  assert.is(await refused(visit()), "odd", "their places are free");
  stream.fail("enough");
});

test("shards on disk that are more than its user lets it have Jahs are taken up by one", () => {
  const stored = [0, 64, 192].map((from, i, all) => ({
    folder: `shard-${i}`,
    from,
    to: all[i + 1] ?? 256,
    start: 0,
  }));
  for (const [max, counts] of [
    [1, [3]],
    [2, [2, 1]],
  ] as [number, number[]][]) {
    const { stream, start } = streamOf({ stored, max });
    stream.wake();
    const shards = [...stream.jahs.values()].map((jah) => (start(jah)[0] as LiveStart).shards);
    assert.equal(
      shards.map((each) => each?.length),
      counts,
    );
    assert.equal(
      shards.flat().map((each) => each?.from),
      [0, 64, 192],
    );
  }
});

test("a kernel that has taken in nothing is on trial, and the refusal says how the one before comes back", async () => {
  const version = (number: number, how: "deployed" | "swapped") => ({
    version: number,
    from: 0,
    module: number === 3 ? "" : `kernel-${number}.wasm`,
    file: "k.ts",
    at: "",
    how,
  });
  const versions = [version(1, "deployed"), version(2, "swapped"), version(3, "swapped")];
  const { stream } = streamOf({ version: 3, versions, trial: 2 });
  const error = await stream.rollout.untrialled().then(
    () => assert.unreachable("its trial is over"),
    (why: { code: string; message: string }) => why,
  );
  assert.is(error!.code, "stream-on-trial");
  assert.match(error!.message, /version 3 of s .*push records first.*hallelujah swap s --to 1;/);
});

test("a version whose trial the registry cannot be told to be over stays on trial, and nothing of it is saved", async () => {
  let isFull = true;
  const saved: (number | undefined)[] = [];
  const version = (number: number) => ({
    version: number,
    from: 0,
    module: "",
    file: "k.ts",
    at: "",
    how: "swapped" as const,
  });
  const { stream, start, record } = streamOf(
    { version: 2, versions: [version(1), version(2)], trial: 2 },
    async ({ trial }) => {
      if (isFull) throw new Error("no space left");
      saved.push(trial);
    },
  );
  stream.wake();
  const [owner] = stream.jahs.values();
  const told = start(owner);
  const isTold = () => told.some(({ type }) => type === "confirmed");
  await stream.frames.append(framesOf(40));
  owner.receive({ type: "did", mapped: [], outputs: [], next: 40, nextClose: null });
  stream.tick(performance.now());
  await new Promise((done) => setImmediate(done));
  assert.is(record.trial, 2);
  assert.not.ok(isTold());
  isFull = false;
  while (!isTold()) {
    stream.tick(performance.now());
    await new Promise((done) => setTimeout(done, 20));
  }
  assert.is(record.trial, undefined);
  assert.is(saved[0], undefined);
  await stream.remove();
});

const swapped = (version: number, from: number): VersionRecord => ({
  version,
  from,
  file: "k.ts",
  at: "",
  how: "swapped",
  module: version === 2 ? "" : `kernel-${version}.wasm`,
});

test("the end of a trial lets nothing out of the version after it, which is swapped in meanwhile", async () => {
  let write = () => {};
  const written = new Promise<void>((done) => {
    write = done;
  });
  /** Frames whose output is out. */
  const out: number[] = [];
  const append = async (_bytes: Buffer, _rows: number, frame: number) => void out.push(frame);
  const { stream, start, record } = streamOf(
    { version: 2, versions: [swapped(1, 0), swapped(2, 0)], trial: 2 },
    () => written,
    {
      outputs: { next: 0, append, close: async () => {} } as unknown as StreamParts["outputs"],
      readModule: () => KERNEL,
    },
  );
  stream.wake();
  const [owner] = stream.jahs.values();
  start(owner);
  const due: { routing: number; frame: number }[] = [];
  owner.send = (message) => {
    if (message.type === "call") owner.receive({ type: "answer", id: message.id });
    if (message.type === "version")
      owner.receive({ type: "switched", version: message.version.version, idleMs: 0 });
    if (message.type === "map")
      for (const { task } of message.frames) due.push({ routing: message.routing, frame: task.frame });
  };
  /** Frames are pushed, mapped and applied, and each puts something out. */
  const work = async (frames: number) => {
    await stream.frames.append(framesOf(frames));
    while (due.length) {
      const { routing, frame } = due.shift()!;
      const emitted = Buffer.from(`row of ${frame}`);
      const place = { source: 0, start: 0, end: 0, time: 0, lines: 1, quoted: false };
      const done = { frame, ...place, rows: 1, bad: 0, problems: [], emitted, emittedRows: 1 };
      const mapped = [{ routing, done }];
      owner.receive({ type: "did", mapped, outputs: [], next: frame + 1, nextClose: null });
    }
    for (let turns = 0; turns < 20; turns++) await new Promise((done) => setImmediate(done));
    for (const frame of out)
      assert.ok(stream.versions.of(frame).version <= stream.versions.confirmed, `frame ${frame} is out`);
  };
  await work(40);
  assert.equal(out, []);
  stream.tick(performance.now()); // the trial of version 2 is over, as soon as the registry knows
  const swap = stream.rollout.swap({ module: "kernel-3.wasm", file: "k.ts", how: "swapped" }, KERNEL);
  await work(1);
  write();
  await swap;
  assert.is(record.trial, 3);
  await work(1);
  assert.equal(out.slice(0, 41), [...Array(41).keys()]);
  assert.not.ok(out.includes(41));
  await stream.remove();
});

for (const [name, time, jahs] of [
  ["windows, which close by themselves, comes back", { field: "at", lateness: 0 }, 1],
  ["none waits until it is asked", undefined, 0],
] as const)
  test(`a stream whose unproven kernel is let go, and which has ${name}`, async () => {
    const kernel = { ...KERNEL, ...(time ? { time } : {}) } as KernelDescriptor;
    const versions = [swapped(1, 0), swapped(2, 5)];
    const { stream, start } = streamOf({ version: 2, versions, trial: 2 }, undefined, {
      kernel,
      readModule: () => kernel,
    });
    stream.wake();
    const [owner] = stream.jahs.values();
    start(owner);
    await stream.frames.append(framesOf(5));
    owner.receive({ type: "did", mapped: [], outputs: [], next: 5, nextClose: time ? 1000 : null });
    await soon(stream.park());
    await new Promise((done) => setImmediate(done));
    assert.is(stream.lowest, 0, "nothing of it was saved");
    assert.is(stream.hasWork, jahs > 0);
    assert.is(stream.jahs.size, jahs);
    stream.fail("enough");
  });

test("no answer goes behind one before, though its Jah has to apply the frames again", async () => {
  const { stream, start, jahs } = streamOf();
  const ask = () => stream.query({ table: "t", limit: 0, format: "ndjson" });
  /** The owner of all partitions; it answers that it holds still at the frame that it is asked for, or at `next`. */
  const owner = (next: () => number) => {
    const [jah] = stream.jahs.values();
    start(jah);
    jah.send = (message) => {
      if (message.type !== "call") return;
      const at = (message.argument as { at?: number } | undefined)?.at ?? 0;
      jah.receive({ type: "answer", id: message.id, value: { next: Math.max(at, next()) } });
    };
    return jah;
  };
  const applied = (jah: Jah, next: number) =>
    jah.receive({ type: "did", mapped: [], outputs: [], next, nextClose: null });
  stream.wake();
  const first = owner(() => 3);
  await stream.frames.append(framesOf(5));
  applied(first, 3);
  assert.is((await ask()).frame, 3);
  jahs.hear({ type: "exited", jah: first.id, code: null, signal: "SIGKILL", complaint: "" });
  let next = 0;
  const second = owner(() => next);
  assert.is(stream.info().state, "running");
  let frame = -1;
  const asked = ask().then((answer) => {
    frame = answer.frame;
  });
  applied(second, 2);
  await new Promise((done) => setImmediate(done));
  assert.is(frame, -1, "it waits");
  next = 4;
  applied(second, 4);
  await soon(asked);
  assert.is(frame, 4);
});

test.run();
