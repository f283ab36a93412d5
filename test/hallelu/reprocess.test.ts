import { suite } from "uvu";
import * as assert from "uvu/assert";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HallelujahError } from "../../host/core/errors.ts";
import { type Jah, Jahs } from "../../host/hallelu/jahs.ts";
import { NEVER, type StreamRecord, type VersionRecord } from "../../host/hallelu/record.ts";
import {
  decideReprocess,
  Reprocess,
  type ReprocessFacts,
  reprocessOf,
  succeeded,
} from "../../host/hallelu/reprocess.ts";
import { Reprocesses } from "../../host/hallelu/reprocesses.ts";
import type { Running } from "../../host/hallelu/running.ts";
import type { Journal } from "../../host/store/journal.ts";
import { MemoryRegistry } from "../../host/store/registry.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import type { StreamParts } from "../../host/hallelu/stream-parts.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import { Versions } from "../../host/hallelu/versions.ts";
import type { ToLiveJah } from "../../host/wire/live.ts";
import { LocalHome } from "../../host/hallelu/home.ts";
import {
  HOME,
  attached,
  did,
  framesOf,
  KERNEL,
  logOf,
  PUSHED,
  ready,
  recordOf,
  type Routed,
  turns,
} from "./in-process.ts";

const test = suite("host/hallelu/reprocess.ts: blue and green, their Jahs in this process");

/** A Jah that does what it is told to, frame by frame. */
class Worker {
  readonly tasks: Routed[] = [];
  readonly jah: Jah;
  /** The lowest frame that it has not applied. */
  next: number;
  private readonly by: string;
  private heldAt = Infinity;

  constructor(jah: Jah, jahs: Jahs, by: string) {
    this.jah = jah;
    this.by = by;
    const start = attached(jah, jahs, (message) => this.hear(message));
    this.next = start.begin ?? 0;
    ready(jah, start, this.next, start.versions[0].version);
  }

  private hear(message: ToLiveJah): void {
    if (message.type === "map")
      this.tasks.push(...message.frames.map((task) => ({ ...task, routing: message.routing })));
    if (message.type !== "call") return;
    const { at = -1 } = (message.argument ?? {}) as { at?: number };
    if (message.method === "hold") this.heldAt = Math.max(at, this.next);
    if (message.method === "release") this.heldAt = Infinity;
    const value = message.method === "hold" ? { next: this.next } : { frame: this.next };
    this.jah.receive({ type: "answer", id: message.id, value });
  }

  /** Maps and applies all it has, below frame `below`; each frame emits a row. */
  work(below = Infinity): void {
    const due = this.tasks.filter(({ task }) => task.frame < Math.min(below, this.heldAt));
    this.tasks.splice(0, due.length);
    for (const task of due) {
      const { frame } = task.task;
      this.next = frame + 1;
      const emitted = { emitted: Buffer.from(`${this.by}${frame}`), emittedRows: 1 };
      did(this.jah, task, task.skip ? { rows: 0 } : emitted);
    }
  }

  get frames(): number[] {
    return this.tasks.map(({ task }) => task.frame);
  }
}

/** A host that has a stream. */
function hostOf(blueRecord = recordOf(), folder = "") {
  const jahs = new Jahs(() => {}, "secret", 1);
  const log = logOf();
  const rows: string[] = [];
  const outputs = {
    next: 0,
    lastFrame: -1,
    append: async (bytes: Buffer, _count: number, frame: number) => {
      if (frame <= outputs.lastFrame) return;
      rows.push(bytes.toString());
      outputs.lastFrame = frame;
    },
    sync: async () => {},
    close: async () => {},
    end: () => {},
  };
  const parts = { jahs, cpus: 2, freeCpus: () => 0, save: async () => {}, note: () => {} };
  const open = (record: StreamRecord, more: Partial<StreamParts> = {}) =>
    new Stream(record, {
      ...parts,
      log,
      tally: new Tally(),
      outputs,
      lateOutputs: { ...outputs, lastFrame: -1 },
      kernel: KERNEL,
      folder,
      home: HOME,
      ...more,
    } as unknown as StreamParts);
  const blue = open(blueRecord);
  const push = (count: number, to = blue) => to.frames.append(framesOf(count));
  /** Starts the only Jah that a stream has claimed. */
  const worker = (stream: Stream, by: string) => {
    const claimed = [...stream.jahs.values()].filter(({ state }) => state === "claimed");
    assert.is(claimed.length, 1);
    return new Worker(claimed[0], jahs, by);
  };
  /** Begins a reprocess; `write` is the registry's. */
  const begin = (write: () => Promise<void> = async () => {}, max = 1) => {
    const record = reprocessOf(
      blue.record,
      { version: 2, path: "kernel-2.wasm", sum: 0, file: "b.ts" },
      { begin: 0, open: [], max, isSameTime: true },
    );
    const cuts: number[] = [];
    const gaveUp: string[] = [];
    const reprocess: Reprocess = new Reprocess(
      {
        blue,
        commit: async (cut) => {
          cuts.push(cut);
          await write();
          const { green } = reprocess;
          green.succeed(blue, succeeded(blue.record, green.record, cut));
        },
        giveUp: (reason) => void gaveUp.push(reason),
        isBusy: () => false,
      },
      (until) => open(record, { owner: blue, until, log: log as never }),
    );
    const { green } = reprocess;
    green.recall();
    return { reprocess, green, cuts, gaveUp };
  };
  return { blue, push, worker, begin, open, rows, log, jahs, parts };
}

test("it gives up for a reason, takes over when it is near, and not while that cannot be", () => {
  const near: ReprocessFacts = {
    error: undefined,
    isBlueOver: false,
    isReady: true,
    backlogBytes: 0,
    backlogSeconds: 0,
    isBusy: false,
  };
  const cases: [Partial<ReprocessFacts>, string][] = [
    [{}, "cut"],
    [{ backlogBytes: 1 << 30 }, "go-on"],
    [{ backlogBytes: 1 << 20, backlogSeconds: 0.2 }, "cut"],
    [{ backlogBytes: 1 << 20, backlogSeconds: 5 }, "go-on"],
    [{ isBusy: true }, "go-on"],
    [{ isReady: false }, "go-on"],
    [{ isBlueOver: true }, "go-on"],
    [{ error: "it stops" }, "give-up"],
    [{ error: "it stops", isBusy: true, isReady: false }, "give-up"],
  ];
  for (const [facts, next] of cases)
    assert.is(decideReprocess({ ...near, ...facts }), next, JSON.stringify(facts));
});

test("what is kept and done is green's then, what its user wants is blue's", () => {
  const letter = {
    frame: 7,
    from: 0,
    to: 256,
    stage: "map" as const,
    message: "",
    version: 1,
    bytes: 1,
    sum: 0,
    source: 0,
  };
  const versions: VersionRecord[] = [
    { version: 1, from: 0, module: "kernel-1.wasm", file: "a.ts", at: "", how: "deployed" },
  ];
  const blue = recordOf({
    clocks: [[0, 5, 9, false]],
    nextClose: 7,
    open: [2],
    strict: false,
    min: 2,
    shards: 2,
    versions,
    dead: [letter],
    sink: ["f"],
    frame: 90,
    trial: undefined as never,
  });
  const kernel = { version: 2, path: "d/kernel-2.wasm", sum: 5, file: "b.ts" };
  const green = reprocessOf(blue, kernel, { begin: 3, open: [4], max: 1, isSameTime: false });
  assert.is(green.cut, NEVER);
  assert.not.match(green.name, /^[a-z0-9-]{1,63}$/);
  assert.equal([green.min, green.max, green.shards], [0, 1, 2]);
  green.frame = 80;
  green.clocks = [[0, 6, 9, false]];
  green.counts = { records: 4, bad: 0, late: 0 };
  const record = succeeded({ ...blue, reprocess: green }, green, 100);
  const { name, min, max, shards, strict, sink, shares, from, reprocess } = record;
  assert.equal(
    { name, min, max, shards, strict, sink, shares, from, reprocess },
    {
      name: "s",
      min: 2,
      max: 2,
      shards: 2,
      strict: false,
      sink: ["f"],
      shares: undefined,
      from: undefined,
      reprocess: undefined,
    },
  );
  assert.equal(
    [record.version, record.kernel, record.frame, record.begin, record.cut],
    [2, "d/kernel-2.wasm", 80, 3, 100],
  );
  assert.equal([record.stored, record.counts, record.dead], [green.stored, green.counts, []]);
  assert.equal([record.open, record.clocks, record.nextClose], [[4], green.clocks, undefined]);
  assert.is(record.unnamedTime, false, "what older versions logged was of the kernel before");
  const again = (isSameTime: boolean) =>
    reprocessOf(record, kernel, { begin: 3, open: [], max: 1, isSameTime }).unnamedTime;
  assert.equal([again(true), again(false)], [false, false], "nor is it for who comes after");
  assert.is(
    reprocessOf(blue, kernel, { begin: 3, open: [], max: 1, isSameTime: true }).unnamedTime,
    undefined,
  );
  assert.equal(record.dropped, ["shard-0", "dead/7"]);
  assert.equal(
    record.versions?.map(({ version, how }) => [version, how]),
    [
      [1, "deployed"],
      [2, "reprocessed"],
    ],
  );
});

test("no frame is of a version from before a reprocess; one that was given up leaves all as it was", () => {
  const version = (
    number: number,
    from: number,
    how: VersionRecord["how"],
    error?: string,
  ): VersionRecord => ({
    version: number,
    from,
    module: `kernel-${number}.wasm`,
    file: "",
    at: "",
    how,
    ...(error === undefined ? {} : { error }),
  });
  const versions = [version(1, 0, "deployed"), version(2, 50, "swapped"), version(3, 0, "reprocessed", "no")];
  const of = () => {
    const known = new Versions(
      recordOf({ versions, kernel: `kernel-${versions.at(-1)!.version}.wasm` }),
      "",
      KERNEL,
    );
    return [10, 60, 90].map((frame) => known.of(frame).version);
  };
  assert.equal(of(), [1, 2, 2]);
  versions.push(version(4, 5, "reprocessed"));
  assert.equal(of(), [4, 4, 4]);
  versions.push(version(5, 80, "swapped"));
  assert.equal(of(), [4, 4, 5]);
});

test("green gets what blue has applied; it takes over at a frame that nobody was given, and output goes on there", async () => {
  const { blue, push, worker, begin, rows } = hostOf();
  blue.wake();
  const a = worker(blue, "a");
  await push(3);
  a.work(2);
  const { reprocess, green, cuts } = begin();
  reprocess.tick(0);
  const b = worker(green, "b");
  assert.equal(b.frames, [0, 1]);
  b.work();
  await push(1);
  assert.equal(b.frames, []);
  reprocess.tick(0); // both are asked to come to one frame; blue has frames 2 and 3 yet
  await turns();
  await push(2);
  assert.equal(a.frames, [2, 3], "it gets nothing fresh");
  a.work();
  await turns();
  assert.equal(b.frames, [2, 3]);
  assert.equal(cuts, []);
  b.work();
  await reprocess.settled;
  assert.equal(cuts, [4]);
  assert.is(blue.jahs.size, 0);
  assert.is(green.name, "s");
  await push(1); // what is begun with the former stream comes to the one that is there now
  assert.equal(b.frames, [4, 5, 6]);
  b.work();
  await turns();
  assert.equal(rows, ["a0", "a1", "a2", "a3", "b4", "b5", "b6"]);
  assert.is(green.record.cut, 4);
  assert.is(green.info().records, 7);
});

test("green does not take over while output of blue is kept back", async () => {
  const { blue, push, worker, begin, rows } = hostOf();
  blue.wake();
  const a = worker(blue, "a");
  await push(1);
  a.work();
  blue.progress.keepOutput(1);
  await push(1);
  a.work();
  const { reprocess, green, cuts } = begin();
  reprocess.tick(0);
  const b = worker(green, "b");
  b.work();
  reprocess.tick(0);
  await reprocess.settled;
  assert.equal([cuts, rows], [[], ["a0"]]);
  blue.progress.letOutputGo();
  reprocess.tick(performance.now() + 1_000);
  await reprocess.settled;
  assert.equal([cuts, rows], [[2], ["a0", "a1"]]);
});

test("where the registry cannot be written blue goes on, and green with it", async () => {
  const { blue, push, worker, begin, rows } = hostOf();
  blue.wake();
  const a = worker(blue, "a");
  await push(2);
  a.work();
  let full = true;
  const { reprocess, green, cuts } = begin(async () => {
    if (full) throw new Error("the disk is full");
  });
  reprocess.tick(0);
  const b = worker(green, "b");
  b.work();
  reprocess.tick(0);
  await reprocess.settled;
  assert.equal(cuts, [2]);
  await push(1);
  a.work();
  assert.is(blue.info().frame, 3);
  full = false;
  reprocess.tick(performance.now() + 6_000);
  b.work();
  reprocess.tick(performance.now() + 6_000);
  await turns();
  b.work();
  await reprocess.settled;
  assert.equal(cuts, [2, 3]);
  await push(1);
  b.work();
  await turns();
  assert.equal(rows, ["a0", "a1", "a2", "b3"]);
});

test("a stream without a Jah is taken over where its state and its output end", async () => {
  const { blue, push, begin, worker, rows } = hostOf(recordOf({ max: 0 }));
  await push(3);
  const { reprocess, green, cuts } = begin();
  await green.change({ paused: false }); // a stopped stream's rests
  reprocess.tick(0);
  const b = worker(green, "b");
  assert.equal(b.frames, [], "nothing is applied yet");
  reprocess.tick(0);
  await reprocess.settled;
  assert.equal(cuts, [0]);
  await green.change({ max: 1 });
  b.work();
  await turns();
  assert.equal(rows, ["b0", "b1", "b2"]);
  assert.is(blue.jahs.size, 0);
});

test("green that cannot go on is given up, and blue knows nothing of it", async () => {
  const { blue, push, worker, begin } = hostOf();
  blue.wake();
  const a = worker(blue, "a");
  await push(2);
  a.work();
  const { reprocess, green, gaveUp } = begin();
  reprocess.tick(0);
  const b = worker(green, "b");
  const failure = { kind: "trap" as const, code: "kernel-trapped", message: "no such town", stack: "" };
  for (let tries = 2; tries && b.tasks.length; tries--) {
    const { routing } = b.tasks[0];
    b.tasks.length = 0;
    b.jah.receive({ type: "trapped", routing, frame: 0, failure });
  }
  reprocess.tick(0);
  assert.is(gaveUp.length, 1);
  assert.match(gaveUp[0], /frame 0 stops its kernel.*no such town/);
  assert.is(await reprocess.remove(), false);
  await push(1);
  assert.equal(a.frames, [2]);
  assert.is(blue.error, undefined);
});

test("after a crash behind the cut nothing of the frames below it is put out again", async () => {
  const { open, push, worker, rows } = hostOf();
  const record = recordOf({
    cut: 2,
    sources: [{ ...PUSHED }, { ...PUSHED, origin: "dead", again: { of: 0 } }],
  });
  const stream = open(record);
  await push(3, stream);
  const b = worker(stream, "b");
  b.work();
  await turns();
  assert.equal(rows, ["b2"]);
  record.sources[0] = record.sources[1];
  assert.is(stream.frames.taskOf(1, []).skip, true, "it counted where it came first");
  assert.not(stream.frames.taskOf(2, []).skip);
});

test("who asks blue while it is replaced is told so at once", async () => {
  const { blue, push, worker, begin } = hostOf();
  blue.wake();
  const a = worker(blue, "a");
  await push(1);
  a.work();
  const { reprocess, green } = begin();
  reprocess.tick(0);
  const b = worker(green, "b");
  b.work();
  reprocess.tick(0);
  const asked = blue
    .query({ table: "t", limit: 0, format: "ndjson" })
    .catch(({ code }: { code: string }) => code);
  await reprocess.settled;
  const late = new Promise((done) => setTimeout(done, 5000, "late").unref());
  assert.is(await Promise.race([asked, late]), "shard-lost");
  assert.is((await green.query({ table: "t", limit: 0, format: "ndjson" })).frame, 1);
});

test("a stream without work gives its CPU to its reprocess, and keeps it longer each time that it was needed again", async () => {
  const { blue, push, worker, begin } = hostOf();
  const usual = blue.parkAfterMs;
  await push(30); // 12 MB, and no rate is known yet: that may take long
  const { reprocess, green, cuts } = begin(undefined, 2);
  blue.wake();
  worker(blue, "a").work();
  reprocess.tick(performance.now());
  worker(green, "b");
  const patience = () => {
    reprocess.tick(performance.now());
    return blue.parkAfterMs;
  };
  assert.is(patience(), 250);
  let free = 1;
  let isParked = false;
  Object.defineProperty(green, "freeCpus", { get: () => free });
  Object.defineProperty(blue, "isResting", { get: () => isParked });
  assert.is(patience(), usual, "there is a CPU that nobody has");
  free = 0;
  for (const expected of [500, 1000]) {
    isParked = true;
    patience();
    isParked = false;
    assert.is(patience(), expected);
  }
  assert.equal(cuts, []);
  await reprocess.remove();
  assert.is(blue.parkAfterMs, usual);
});

/** A host that reprocesses its stream, whose folder is there; and what its registry has. */
function reprocessing(changes: Partial<StreamRecord> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-reprocess-"));
  const host = hostOf(recordOf(changes), folder);
  const registry = new MemoryRegistry();
  const running: Running = {
    home: new LocalHome("s", folder, registry),
    stream: host.blue,
    stop: new AbortController(),
    feeding: [],
    sinks: [],
    diskFull: false,
  };
  const fake = { kernel: KERNEL, isThere: true, isFull: false };
  const reprocesses = new Reprocesses({
    data: folder,
    cpus: 2,
    jahs: host.jahs,
    journal: { info: () => {}, warn: () => {}, error: () => {} } as unknown as Journal,
    isThere: () => fake.isThere,
    isBusy: () => false,
    moduleOf: async () => ({ wasm: new Uint8Array(1), descriptor: fake.kernel }),
    checkOutput: () => {},
    partsOf: () => host.parts as never,
    write: async ({ stream: { record } }) => {
      if (fake.isFull) throw new HallelujahError("registry-unwritable", "the disk is full");
      await registry.put(`streams/${record.name}`, record);
    },
  });
  const kernel = { kind: "source" as const, text: "" };
  const begin = (options: { oldest?: boolean; max?: number } = {}) =>
    reprocesses.begin(running, { kernel, file: "b.ts", ...options }).then(
      () => "none",
      ({ code }: { code: string }) => code,
    );
  const kept = () => registry.get("streams/s")?.value as StreamRecord | undefined;
  const end = () => rmSync(folder, { recursive: true });
  return { ...host, running, reprocesses, begin, kept, end, fake, folder };
}

test("a log that does not reach back is taken in when its user says so, from its first frame on", async () => {
  const { log, begin, running, push, blue, worker, kept, end } = reprocessing({ frame: 3, begin: 3 });
  Object.assign(log, { first: 3, next: 3 });
  assert.is(await begin(), "history-trimmed");
  assert.is(kept(), undefined);
  assert.is(await begin({ oldest: true }), "none");
  assert.is(kept()?.reprocess?.begin, 3);
  const { green } = running.reprocess!;
  blue.wake();
  const a = worker(blue, "a");
  await push(2);
  a.work();
  green.follow();
  const b = worker(green, "b");
  assert.is(b.next, 3);
  assert.equal(b.frames, [3, 4]);
  assert.is(await begin(), "reprocess-running");
  end();
});

test("one that is refused leaves nothing behind, nor does one whose registry is full", async () => {
  const { begin, fake, running, kept, end, blue } = reprocessing();
  assert.is(await begin({ max: 0 }), "reprocess-invalid");
  fake.isFull = true;
  assert.is(await begin(), "registry-unwritable");
  assert.is(kept(), undefined);
  assert.is(blue.record.reprocess, undefined);
  fake.isFull = false;
  fake.isThere = false;
  assert.is(await begin(), "stream-unknown");
  assert.is(running.reprocess, undefined);
  blue.fail("enough");
  assert.is(await begin(), "stream-failed");
  end();
});

test("one that is ended is a version that no frame is of, and its state is dropped", async () => {
  const { begin, running, reprocesses, kept, end, blue, folder } = reprocessing();
  assert.is(await begin(), "none");
  const { green } = running.reprocess!;
  mkdirSync(join(folder, "shard-v2"));
  await reprocesses.cancel(running);
  assert.is(running.reprocess, undefined);
  assert.is(green.jahs.size, 0);
  assert.is(kept()?.reprocess, undefined);
  assert.equal(
    blue.versions.all.map(({ version, how, error }) => [version, how, error]),
    [
      [1, "deployed", undefined],
      [2, "reprocessed", "its user gave it up"],
    ],
  );
  assert.is(blue.versions.next, 3);
  assert.is(blue.versions.of(0).version, 1);
  for (let tries = 200; existsSync(join(folder, "shard-v2")); tries--) {
    assert.ok(tries, "its state is still there");
    await new Promise((done) => setTimeout(done, 10));
  }
  assert.is(
    await reprocesses.cancel(running).catch(({ code }: { code: string }) => code),
    "reprocess-unknown",
  );
  end();
});

test("one that was under way goes on in the next process; or ends, if its kernel is gone", async () => {
  const { begin, running, reprocesses, kept, end, blue } = reprocessing();
  assert.is(await begin(), "none");
  const record = structuredClone(kept()!.reprocess!);
  assert.equal(record.sources, blue.record.sources);
  // As the registry has it, and the next process reads it.
  blue.record.reprocess = { ...record, sources: [] };
  running.reprocess = undefined;
  reprocesses.resume(running); // there is no module in the test's folder that could be read
  await turns();
  assert.is(running.reprocess, undefined);
  assert.match(blue.versions.all[1].error!, /kernel/);
  end();
});

test.run();
