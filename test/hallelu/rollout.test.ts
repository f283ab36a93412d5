/** Versions of a kernel that take over, are on trial, confirmed and rolled back; the Jahs are in this process, and so is the registry. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { OUTPUT_BYTES_WAITING, TRIAL_FRAMES, TRIAL_MS } from "../../host/core/limits.ts";
import type { DeadLetter } from "../../host/hallelu/dead-letters.ts";
import { type Jah, Jahs } from "../../host/hallelu/jahs.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { Stream } from "../../host/hallelu/stream.ts";
import type { StreamParts } from "../../host/hallelu/stream-parts.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import type { LiveVersion, ToLiveJah } from "../../host/wire/live.ts";
import {
  HOME,
  attached,
  did,
  framesOf,
  KERNEL,
  logOf,
  ready,
  recordOf,
  type Routed,
  turns,
} from "./in-process.ts";

const test = suite("host/hallelu/rollout.ts: versions take over, and go back");

const TRAP = { kind: "trap" as const, code: "kernel-trapped", message: "no 77", stack: "" };

/** A Jah that has all partitions. Nothing of it is ever saved; each frame emits a row, which says what version it is of. */
class Worker {
  readonly jah: Jah;
  readonly tasks: Routed[] = [];
  versions: LiveVersion[] = [];
  /** The last one that it was told to be confirmed. */
  confirmed = 0;
  /** Bytes that follow its rows, behind a line feed. */
  padding = 0;
  /** What it was asked. */
  readonly asked: string[] = [];
  private next = 0;

  constructor(jah: Jah, jahs: Jahs) {
    this.jah = jah;
    const start = attached(jah, jahs, (message) => this.hear(message));
    ready(jah, start, 0, this.versions[0].version);
    this.switch();
  }

  private hear(message: ToLiveJah): void {
    switch (message.type) {
      case "start":
        this.versions = [...message.versions];
        this.confirmed = message.confirmed;
        break;
      case "version":
        this.versions.push(message.version);
        setImmediate(() => this.switch());
        break;
      case "confirmed":
        this.confirmed = message.version;
        break;
      case "map":
        this.tasks.push(...message.frames.map((task) => ({ ...task, routing: message.routing })));
        break;
      case "call":
        this.asked.push(message.method);
        this.jah.receive({ type: "answer", id: message.id, value: { next: this.next, frame: this.next } });
        break;
    }
  }

  /** The state becomes that of whose turn it is. */
  private switch(): void {
    const due = this.versions.findLast(({ from }) => from <= this.next);
    if (due && due.version > this.jah.version)
      this.jah.receive({ type: "switched", version: due.version, idleMs: 0 });
  }

  /** Maps and applies what it has and gets, below frame `below`. */
  work(below = Infinity): void {
    while (this.tasks.length && this.tasks[0].task.frame < below) {
      const task = this.tasks.shift()!;
      const { frame } = task.task;
      const by = this.versions.findLast(({ from }) => from <= frame)!.version;
      this.next = frame + 1;
      this.switch();
      const emitted = Buffer.concat([Buffer.from(`${by}:${frame}\n`), Buffer.alloc(this.padding)]);
      did(this.jah, task, { emitted, emittedRows: 1 });
    }
  }

  /** The kernel stops while the next frame is mapped. */
  trap(): void {
    const [{ task, routing }] = this.tasks.splice(0);
    this.jah.receive({ type: "trapped", routing, frame: task.frame, failure: TRAP });
  }
}

/**
 * A stream that is at work, and its registry: what was written, and what a write waits for. A process before may have put out rows up to those
 * of `lastFrame`, and set frames aside. Frames are of source 0, but for those whose `kinds` are given.
 */
function host({ lastFrame = -1, dead = [] as DeadLetter[], kinds = [] as number[] } = {}) {
  const jahs = new Jahs(() => {}, "secret", 1);
  const log = logOf();
  const { place } = log;
  log.place = (frame) => ({ ...place(frame), kind: kinds[frame] ?? 0 });
  const rows: string[] = [];
  const outputs = {
    next: 0,
    lastFrame,
    append: async (bytes: Buffer) => void rows.push(bytes.toString("latin1", 0, bytes.indexOf("\n"))),
    sync: async () => {},
    close: async () => {},
  };
  const registry = { written: [] as StreamRecord[], before: async () => {} };
  const record = recordOf({ max: 1, dead });
  const stream = new Stream(record, {
    jahs,
    log,
    tally: new Tally(),
    outputs,
    lateOutputs: outputs,
    kernel: KERNEL,
    readModule: () => KERNEL,
    folder: "",
    home: HOME,
    cpus: 1,
    freeCpus: () => 0,
    save: async (changed: StreamRecord) => {
      const kept = structuredClone(changed);
      await registry.before();
      registry.written.push(kept);
    },
    note: () => {},
  } as unknown as StreamParts);
  const push = (count: number) => stream.frames.append(framesOf(count));
  /** Starts the Jah that the stream has claimed. */
  const worker = () => {
    const [jah] = [...stream.jahs.values()].filter(({ state }) => state === "claimed");
    return new Worker(jah, jahs);
  };
  const swap = (file: string) => {
    const version = { module: `kernel-${stream.versions.next}.wasm`, file, how: "swapped" as const };
    return stream.rollout.swap(version, KERNEL);
  };
  const history = () =>
    stream.versions.all.map(({ version, from, how, sameAs }) => [version, from, how, sameAs]);
  stream.wake();
  return { stream, record, registry, rows, push, worker, swap, history };
}

/** The same with a frame of version 1, and two that a Jah has yet to map, of version 2. */
async function onTrial() {
  const all = host();
  const jah = all.worker();
  await all.push(1);
  jah.work();
  await all.swap("b.ts");
  await all.push(2);
  return { ...all, jah };
}

const unwritable = async () => {
  throw new Error("no space left");
};
const messageOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    ({ message }: Error) => message,
  );

test("a version takes over behind what the process before has put out, and behind what it has set aside", async () => {
  const aside = {
    frame: 6,
    from: 0,
    to: 256,
    stage: "map",
    message: "",
    version: 1,
    bytes: 0,
    sum: 0,
    source: 0,
  };
  for (const [before, from] of [
    [{}, 0],
    [{ lastFrame: 4 }, 5],
    [{ lastFrame: 4, dead: [aside as DeadLetter] }, 7],
  ] as const) {
    const { push, worker, swap, history } = host(before as Parameters<typeof host>[0]);
    const jah = worker();
    const swapped = swap("b.ts");
    await turns();
    assert.equal(history()[1], [2, from, "swapped", undefined]);
    await push(8);
    jah.work();
    await swapped;
  }
});

test("a version that the registry cannot be told of goes alone: the one before stays on trial, with its output", async () => {
  const { stream, record, registry, rows, push, worker, swap, history } = host();
  let jah = worker();
  await push(3);
  jah.work();
  await swap("b.ts");
  await push(2);
  jah.work();
  registry.before = unwritable;
  assert.is(await messageOf(swap("c.ts")), "no space left");
  assert.equal(history(), [
    [1, 0, "deployed", undefined],
    [2, 3, "swapped", undefined],
    [3, 5, "swapped", undefined],
    [4, 5, "rolled back", 2],
  ]);
  assert.is(stream.versions.find(2).error, undefined);
  assert.match(stream.versions.find(3).error!, "no space left");
  assert.is(record.trial, 2, "it is on trial as before");
  assert.is(stream.versions.confirmed, 1);
  registry.before = async () => {};
  jah = worker(); // the one before has heard of the version that is gone
  assert.equal(
    jah.versions.map(({ version, from }) => [version, from]),
    [
      [1, 0],
      [2, 3],
      [4, 5],
    ],
  );
  assert.is(jah.confirmed, 1);
  await push(TRIAL_FRAMES);
  jah.work(5 + TRIAL_FRAMES - 1);
  await turns();
  assert.equal(rows, ["1:0", "1:1", "1:2"], "the trial's is kept back");
  jah.work();
  stream.tick(performance.now());
  await turns();
  assert.is(stream.versions.trial, undefined);
  assert.is(jah.confirmed, 4);
  assert.equal(rows.slice(0, 7), ["1:0", "1:1", "1:2", "2:3", "2:4", "4:5", "4:6"]);
  assert.is(rows.length, 5 + TRIAL_FRAMES);
  await stream.remove();
});

test("the one before, which stays on trial, is rolled back as a whole when it stops", async () => {
  const { stream, registry, rows, push, worker, swap, history } = host();
  let jah = worker();
  await push(1);
  jah.work();
  await swap("b.ts");
  registry.before = unwritable;
  assert.is(await messageOf(swap("c.ts")), "no space left"); // both take over at one frame
  registry.before = async () => {};
  jah = worker();
  await push(2);
  jah.work(2);
  await turns();
  assert.equal(rows, ["1:0"]);
  jah.trap();
  assert.equal(history().slice(3), [
    [4, 1, "rolled back", 2],
    [5, 1, "rolled back", 1],
  ]);
  assert.match(stream.versions.find(2).error!, "together with version 4");
  assert.match(stream.versions.find(3).error!, "no space left");
  assert.is(stream.versions.find(4).error, "no 77");
  jah = worker();
  jah.work();
  await turns();
  assert.equal(rows, ["1:0", "5:1", "5:2"]);
  await stream.remove();
});

/** A trial that is over as soon as the registry has heard of that, which `settle` ends one way or the other. */
async function confirming() {
  const all = host();
  const { stream, registry, push, worker, swap } = all;
  const jah = worker();
  await push(1);
  jah.work();
  await swap("b.ts");
  await push(TRIAL_FRAMES + 1);
  jah.work(1 + TRIAL_FRAMES);
  let settle: (error?: Error) => void = () => {};
  registry.before = () =>
    new Promise((done, fail) => {
      settle = (error) => (error ? fail(error) : done());
      registry.before = async () => {};
    });
  stream.tick(performance.now());
  await turns();
  return { ...all, jah, settle: (error?: Error) => settle(error) };
}

for (const error of [new Error("no space left"), undefined])
  test(`a kernel that stops while ${error ? "its trial fails to end" : "the registry is told that it works"} is rolled back`, async () => {
    const { stream, record, registry, rows, jah, worker, settle, history } = await confirming();
    assert.is(stream.versions.trial?.version, 2, "it is on trial until the registry knows");
    assert.is(stream.rollout.unsavedFrom, 1);
    assert.is(record.trial, undefined, "whatever is written says that it is over");
    assert.is(jah.confirmed, 1);
    assert.equal(rows, ["1:0"]);
    jah.trap();
    assert.equal(history().slice(2), [[3, 1, "rolled back", 1]]);
    assert.is(stream.dead.count, 0);
    settle(error);
    await turns();
    assert.is(stream.versions.trial, undefined);
    assert.is(registry.written.at(-1)?.version, 3);
    assert.is(registry.written.at(-1)?.trial, undefined);
    assert.not.ok(jah.confirmed === 2);
    worker().work();
    await turns();
    assert.equal(rows.slice(0, 3), ["1:0", "3:1", "3:2"]);
    assert.is(rows.length, 2 + TRIAL_FRAMES);
    await stream.remove();
  });

test("a trial ends when the registry knows, and its output is let go then", async () => {
  const { stream, registry, rows, jah, settle } = await confirming();
  settle();
  await turns();
  assert.is(registry.written.at(-1)?.trial, undefined);
  assert.is(stream.versions.trial, undefined);
  assert.is(stream.rollout.unsavedFrom, Infinity);
  assert.is(jah.confirmed, 2);
  assert.is(rows.length, 1 + TRIAL_FRAMES);
  await stream.remove();
});

test("a trial that begins behind a backlog lasts as long as any other, from its first frame on", async () => {
  const { stream, rows, push, worker, swap } = host();
  const jah = worker();
  await push(3);
  const swapped = swap("b.ts");
  await turns();
  const at = performance.now();
  stream.tick(at + 2 * TRIAL_MS);
  await push(2);
  jah.work();
  await swapped;
  stream.tick(at + 2 * TRIAL_MS + 100);
  await turns();
  assert.is(stream.versions.trial?.version, 2);
  assert.equal(rows, ["1:0", "1:1", "1:2"]);
  stream.tick(at + 3 * TRIAL_MS + 100);
  await turns();
  assert.is(stream.versions.trial, undefined);
  assert.equal(rows.slice(3), ["2:3", "2:4"]);
  await stream.remove();
});

/** A version on trial whose output is kept back, as much of it as may be, and three frames that wait for that. */
async function full() {
  const all = host();
  const { push, worker, swap } = all;
  const jah = worker();
  await push(1);
  jah.work();
  await swap("b.ts");
  jah.padding = OUTPUT_BYTES_WAITING / 4;
  for (let i = 0; i < 7; i++) {
    await push(1);
    jah.work();
  }
  await turns();
  assert.equal(all.rows, ["1:0"]);
  return { ...all, jah };
}

test("a version that was replaced stays when its frames went well, though the one behind it takes in nothing", async () => {
  const { stream, rows, push, worker, swap } = host();
  const jah = worker();
  await push(1);
  jah.work();
  await swap("b.ts");
  await push(2);
  const swapped = swap("c.ts");
  await turns();
  stream.tick(performance.now());
  await turns();
  assert.equal([stream.versions.trial?.version, rows], [2, ["1:0"]], "its frames are still to come");
  jah.work();
  await swapped;
  stream.tick(performance.now());
  await turns();
  assert.equal([stream.versions.trial?.version, stream.versions.confirmed], [3, 2]);
  assert.equal(rows, ["1:0", "2:1", "2:2"]);
  await stream.remove();
});

test("no frame is begun while too much output is kept back, and they go on when it is let go", async () => {
  const { stream, rows, jah } = await full();
  assert.is(stream.lowest, 5);
  assert.equal(jah.tasks, []);
  stream.tick(performance.now() + 2 * TRIAL_MS);
  await turns();
  assert.is(stream.versions.trial, undefined);
  jah.work();
  await turns();
  assert.equal(rows, ["1:0", "2:1", "2:2", "2:3", "2:4", "2:5", "2:6", "2:7"]);
  await stream.remove();
});

test("no frame is begun while too much output is kept back, but for those that prove a kernel which has taken in nothing", async () => {
  const { stream, rows, jah, push, swap } = await full();
  await swap("c.ts");
  assert.is(stream.rollout.isUnproven, true);
  jah.padding = 0;
  jah.work();
  await push(3);
  assert.equal(jah.tasks, []);
  const now = performance.now();
  stream.tick(now);
  stream.tick(now + 2 * TRIAL_MS);
  await turns();
  jah.work();
  await turns();
  assert.is(stream.versions.trial, undefined);
  assert.equal(rows.slice(5), ["3:5", "3:6", "3:7", "3:8", "3:9", "3:10"]);
  await stream.remove();
});

test("output of a version that is rolled back is not waited for", async () => {
  const { stream, rows, push, worker, swap } = host();
  const jah = worker();
  await push(1);
  jah.work();
  await swap("b.ts");
  await push(6);
  jah.padding = OUTPUT_BYTES_WAITING / 4;
  jah.work(6);
  jah.trap();
  const next = worker();
  next.work();
  await turns();
  await push(1);
  next.work();
  await turns();
  assert.equal(rows, ["1:0", "3:1", "3:2", "3:3", "3:4", "3:5", "3:6", "3:7"]);
  await stream.remove();
});

/** No source has it: of frames that say how time passes (frames.ts). */
const TIME_KIND = 0xffff;

for (const [what, kinds] of [
  ["records that wait", [1]],
  ["records that wait behind frames without any", [TIME_KIND, 0, 1]],
] as const)
  test(`${what} have to fit a kernel that would take over before them`, async () => {
    const { stream, record, push, worker, swap } = host({ kinds: [...kinds] });
    record.sources.push({ ...record.sources[0], format: "lines", name: "pushed lines" });
    worker();
    const goOn = stream.drain.holdFresh();
    assert.equal(stream.rollout.fitOf(KERNEL).misfits, []);
    await push(kinds.length);
    const { misfits } = stream.rollout.fitOf(KERNEL);
    assert.is(misfits.length, 1);
    assert.match(misfits[0], "pushed lines");
    assert.match(await messageOf(swap("b.ts")), "pushed lines");
    goOn();
    await stream.remove();
  });

test("a stream that parks does not have a version confirmed that the registry cannot be told of", async () => {
  const { stream, record, registry, rows, push, worker, swap, history } = host();
  const jah = worker();
  await push(1);
  jah.work();
  let fail = (_error: Error) => {};
  registry.before = () =>
    new Promise((_, failed) => {
      fail = failed;
      registry.before = async () => {};
    });
  const swapped = messageOf(swap("b.ts"));
  await turns();
  await push(1);
  jah.work();
  void stream.park();
  await turns();
  assert.equal([jah.confirmed, rows], [1, ["1:0"]]);
  fail(new Error("no space left"));
  assert.is(await swapped, "no space left");
  assert.equal(history().slice(2), [[3, 1, "rolled back", 1]]);
  await turns();
  assert.is(record.version, 3);
  assert.is(registry.written.at(-1)?.version, 3);
  await stream.remove();
});

test("what goes on after a roll-back is put out when the registry knows of that", async () => {
  const { stream, registry, rows, worker, jah } = await onTrial();
  let settle = () => {};
  registry.before = () => new Promise((done) => (settle = done));
  jah.trap();
  await turns();
  const next = worker();
  next.work();
  await turns();
  assert.equal(rows, ["1:0"]);
  registry.before = async () => {};
  settle();
  await turns();
  assert.equal(rows, ["1:0", "3:1", "3:2"]);
  await stream.remove();
});

test("what goes on after a roll-back is put out before the next trial is over, but not what that takes in", async () => {
  const { stream, registry, rows, push, worker, swap, jah } = await onTrial();
  let settle = () => {};
  registry.before = () =>
    new Promise((done) => {
      settle = done;
      registry.before = async () => {};
    });
  jah.trap();
  await turns();
  const next = worker();
  next.work();
  await swap("c.ts");
  await push(1);
  next.work();
  settle();
  await turns();
  assert.equal(rows, ["1:0", "3:1", "3:2"]);
  assert.is(stream.versions.trial?.version, 4);
  await stream.remove();
});

test("a stream that closes while the registry cannot be told of a roll-back saves nothing of it", async () => {
  const { stream, registry, rows, worker, jah } = await onTrial();
  registry.before = unwritable;
  jah.trap();
  const next = worker();
  next.work();
  await stream.close();
  assert.not.ok(next.asked.includes("save"), "the next process would not know whose the state is");
  assert.equal(rows, ["1:0"]);
});

test.run();
