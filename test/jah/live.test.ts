/** Jahs of a live stream in this process, with kernels, stores and sockets of their own; what they are told and tell goes through the test. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type BuiltKernel, buildKernel } from "../../host/compiler/cache.ts";
import { fitState } from "../../host/compiler/fit.ts";
import type { Watchdog } from "../../host/core/watchdog.ts";
import { LiveJah } from "../../host/jah/live.ts";
import { NDJSON } from "../../host/kernel/memory-map.ts";
import type { Channel } from "../../host/wire/channel.ts";
import type {
  FromLiveJah,
  LiveMethods,
  LiveRouting,
  LiveStart,
  LiveTask,
  LiveVersion,
  ToLiveJah,
} from "../../host/wire/live.ts";
import { kernelOf, scratch, write } from "../run.ts";

const test = suite("host/jah/live.ts: Jahs of a live stream");

const PATIENCE_MS = 60_000;
const SOURCE = { format: "ndjson" as const, size: 0, dataStart: 0, delimiter: 0, plan: [] };
const WATCHDOG = { guard: () => {}, enter: () => {}, leave: () => {} } as unknown as Watchdog;

/** Counts records by their key; `fields` are added to what it keeps. It stops at a negative number. */
const kernel = (fields = "", add = "") =>
  buildKernel(
    kernelOf(
      "counting",
      `import { Count, Sum, Table, Text } from "hallelujah";
@record class Row { key: Text; n: i64 }
@state class Kept { ${fields} count: Count }
const kept = new Table<Text, Kept>("kept");
export function each(row: Row): void {
  if (row.n < 0) throw new Error("a negative number");
  const entry = kept.at(row.key);
  ${add}
  entry.count.add();
}`,
    ),
  );

let counting: BuiltKernel;
let summing: BuiltKernel;
test.before(async () => {
  counting = await kernel();
  summing = await kernel("sum: Sum<i64>;", "entry.sum.add(row.n);");
});

const versionOf = (version: number, from: number, built: BuiltKernel, before = built): LiveVersion => ({
  version,
  from,
  kernel: built.path,
  fit: fitState(before.descriptor, built.descriptor),
  sources: [SOURCE],
  columns: [],
});

type Of<T extends FromLiveJah["type"]> = Extract<FromLiveJah, { type: T }>;

let asked = 0;
const jahs: Played[] = [];
test.after.each(async () => {
  await Promise.all(jahs.splice(0).map((jah) => jah.end()));
});

/** A Jah, and what it tells. */
class Played {
  readonly id = jahs.push(this);
  readonly told: FromLiveJah[] = [];
  private readonly waiters = new Set<() => void>();
  private jah: LiveJah | undefined;

  /** One that has all partitions, or none yet. */
  static async start(owns: boolean, more: Partial<LiveStart> = {}): Promise<Played> {
    const played = new Played();
    const folder = mkdtempSync(join(scratch(), "jah-"));
    const start: LiveStart = {
      type: "start",
      jah: played.id,
      stream: "s",
      versions: [versionOf(1, 0, counting)],
      confirmed: 1,
      stateBytesMax: 256 << 20,
      frameTimeoutMs: PATIENCE_MS,
      stuckFile: "",
      ...(owns ? { shards: [{ store: folder, from: 0, to: 256 }] } : { store: folder }),
      ...more,
    };
    const send = (message: FromLiveJah) => {
      played.told.push(message);
      for (const look of played.waiters) look();
    };
    const channel = { send, end: () => {} } as unknown as Channel<FromLiveJah, ToLiveJah>;
    played.jah = await LiveJah.start(start, "secret", channel, WATCHDOG);
    await played.jah.open();
    return played;
  }

  get port(): number {
    return this.all("ready")[0].port;
  }

  all<T extends FromLiveJah["type"]>(type: T): Of<T>[] {
    return this.told.filter((message): message is Of<T> => message.type === type);
  }

  /** Resolves when it has told what `is` looks for. Rejects if it stops instead. */
  async hears(what: string, is: (message: FromLiveJah) => boolean): Promise<void> {
    let look = () => {};
    let timer: NodeJS.Timeout | undefined;
    const heard = new Promise<void>((done, fail) => {
      const refuse = (why: string) => fail(new Error(`Jah ${this.id}: ${what}: ${why}`));
      timer = setTimeout(() => refuse("it hangs"), PATIENCE_MS);
      look = () => {
        if (this.told.some(is)) return done();
        const [stopped] = this.all("failed");
        if (stopped) refuse(stopped.failure.stack);
      };
    });
    this.waiters.add(look);
    look();
    await heard.finally(() => {
      clearTimeout(timer);
      this.waiters.delete(look);
    });
  }

  /** Resolves when the frames below `next` are applied. */
  applies(next: number): Promise<void> {
    return this.hears(
      `the frames below ${next}`,
      (message) => message.type === "did" && message.next >= next,
    );
  }

  handle(...messages: ToLiveJah[]): void {
    for (const message of messages) this.jah!.handle(message);
  }

  async call<M extends keyof LiveMethods>(
    method: M,
    argument: LiveMethods[M]["argument"],
  ): Promise<LiveMethods[M]["answer"]> {
    const id = ++asked;
    const isAnswer = (message: FromLiveJah): message is Of<"answer"> =>
      message.type === "answer" && message.id === id;
    this.handle({ type: "call", id, method, argument });
    await this.hears(method, isAnswer);
    const { value, error } = this.told.find(isAnswer)!;
    if (error) throw new Error(error.message);
    return value as LiveMethods[M]["answer"];
  }

  /** The rows of its table. */
  async rows(): Promise<{ key: string; count: number; sum?: number }[]> {
    await this.call("split", { table: 0, column: -1, descending: false, splitters: [] });
    const render = { table: 0, range: 0, limit: 1e9, format: NDJSON, others: [] };
    const { chunks } = await this.call("render", render);
    await this.call("finish", { table: 0 });
    const lines = Buffer.concat(chunks).toString().split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as { key: string; count: number; sum?: number });
  }

  async end(): Promise<void> {
    await this.jah?.close();
  }
}

const task = (frame: number, rows: { key: string; n: number | string }[], clock = 0): LiveTask => {
  const bytes = Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const path = write(`frame-${frame}`, bytes);
  return {
    task: { kind: "slice", frame, source: 0, path, offset: 0, bytes: bytes.length, sum: crc32(bytes) },
    clock,
  };
};

const target = ({ id: jah, port }: Played, from: number, to: number) => ({ jah, from, to, port });
const map = (routing: LiveRouting, ...frames: LiveTask[]): ToLiveJah => ({
  type: "map",
  routing: routing.id,
  frames,
});

test("of two versions that take over at one frame, the last one has it, though the frame was there first", async () => {
  const owner = await Played.start(true);
  const routing: LiveRouting = { id: 1, start: 0, targets: [target(owner, 0, 256)], moves: [] };
  owner.handle({ type: "routing", routing }, map(routing, task(0, [{ key: "a", n: 5 }])));
  await owner.applies(1);
  await owner.call("hold", { at: -1 });
  owner.handle(
    { type: "version", version: versionOf(2, 1, counting) },
    { type: "version", version: versionOf(3, 1, summing, counting) },
    map(routing, task(1, [{ key: "a", n: 7 }])),
  );
  await owner.hears(
    "frame 1 is mapped",
    (message) => message.type === "did" && message.mapped.some(({ done }) => done.frame === 1),
  );
  assert.equal(owner.all("switched"), [], "it holds");
  await owner.call("release", undefined);
  await owner.applies(2);
  assert.equal(
    owner.all("switched").map(({ version }) => version),
    [2, 3],
  );
  const [{ count, sum }] = await owner.rows();
  assert.equal([count, sum], [2, 7]);
});

test("whoever holds it at a frame has been told before that what comes before is applied", async () => {
  const owner = await Played.start(true);
  const routing: LiveRouting = { id: 1, start: 0, targets: [target(owner, 0, 256)], moves: [] };
  // Fewer than it tells of by itself while others wait.
  const frames = Array.from({ length: 20 }, (_, frame) => task(frame, [{ key: "a", n: 1 }]));
  owner.handle({ type: "routing", routing }, map(routing, ...frames));
  for (const at of [10, -1]) {
    const { next } = await owner.call("hold", { at });
    const before = owner.told.slice(
      0,
      owner.told.findLastIndex(({ type }) => type === "answer"),
    );
    const told = before.flatMap((message) => (message.type === "did" ? [message.next] : []));
    assert.ok(next >= 10);
    assert.is(Math.max(0, ...told), next);
  }
  await owner.call("release", undefined);
  await owner.applies(20);
});

/** More keys than are given away in two steps. */
const KEYS = Array.from({ length: 100_000 }, (_, i) => ({ key: `key ${i}`, n: 1 }));
const HALF = 128;

/** A Jah that has all keys, and one to which half of the partitions is to go before frame 1: the routing that says so. */
async function move() {
  const [donor, receiver] = [await Played.start(true), await Played.start(false)];
  const alone: LiveRouting = { id: 1, start: 0, targets: [target(donor, 0, 256)], moves: [] };
  donor.handle({ type: "routing", routing: alone }, map(alone, task(0, KEYS)));
  await donor.applies(1);
  const routing: LiveRouting = {
    id: 2,
    start: 1,
    targets: [target(donor, 0, HALF), target(receiver, HALF, 256)],
    moves: [{ from: HALF, to: 256, donor: donor.id, receiver: receiver.id }],
  };
  receiver.handle({ type: "routing", routing });
  return { donor, receiver, routing };
}

test("a frame of another version waits until all is given away that is on its way", async () => {
  const { donor, receiver, routing } = await move();
  const version: ToLiveJah = { type: "version", version: versionOf(2, 2, summing, counting) };
  receiver.handle(version);
  // Frame 2 comes when the first part of the state has left.
  const [own, others] = [task(1, [{ key: "key 1", n: 1 }]), task(2, [{ key: "key 2", n: 9 }])];
  donor.handle({ type: "routing", routing }, version, map(routing, others, own));
  await Promise.all([donor.applies(3), receiver.applies(3)]);
  assert.is(receiver.all("imported").length, 1);
  const [here, there] = [await donor.rows(), await receiver.rows()];
  assert.ok(here.length > KEYS.length / 3 && there.length > KEYS.length / 3);
  const all = new Map([...here, ...there].map(({ key, count, sum }) => [key, [count, sum]]));
  assert.is(here.length + there.length, KEYS.length);
  assert.is(all.size, KEYS.length);
  assert.equal(
    ["key 0", "key 1", "key 2"].map((key) => all.get(key)),
    [
      [1, 0],
      [2, 0],
      [2, 9],
    ],
  );
});

test("a kernel that stops while state is given away ends its Jah, and nobody takes a part for all of it", async () => {
  const { donor, receiver, routing } = await move();
  donor.handle({ type: "routing", routing }, map(routing, task(1, [{ key: "key 1", n: -1 }])));
  await donor.hears("it stops", ({ type }) => type === "failed" || type === "trapped");
  assert.equal(donor.all("trapped"), []);
  const [{ failure, frame, mapping }] = donor.all("failed");
  assert.is(failure.code, "kernel-trapped");
  assert.is(frame, undefined, "the frame may be fine for whoever has it next");
  assert.equal(
    mapping,
    { routing: routing.id, frame: 1 },
    "if it is not, it has to count that it was not here",
  );
  assert.equal(receiver.all("imported"), []);
});

test("a kernel that stops while nothing is given away does not end its Jah", async () => {
  const owner = await Played.start(true);
  const routing: LiveRouting = { id: 1, start: 0, targets: [target(owner, 0, 256)], moves: [] };
  owner.handle({ type: "routing", routing }, map(routing, task(0, [{ key: "a", n: -1 }])));
  await owner.hears("it stops", ({ type }) => type === "trapped");
  owner.handle(map(routing, task(0, [{ key: "a", n: 1 }])));
  await owner.applies(1);
  assert.equal(await owner.rows(), [{ table: "kept", key: "a", count: 1 }]);
});

test("a shard that begins in the middle of a log waits for clocks of which the log says nothing any more", async () => {
  const windows = await buildKernel(
    kernelOf(
      "windows",
      `import { Count, Text, Time, Window, Windows, out } from "hallelujah";
@record class Row { key: Text; @time(0) n: Time }
@record class Closed { start: Time; count: u64 }
@state class Kept { count: Count }
const kept = new Windows<Text, Kept>("kept", 1000);
export function each(row: Row): void { kept.at(row.key, row.n).count.add(); }
export function close(window: Window, key: Text, state: Kept): void {
  const closed = new Closed();
  closed.start = window.start;
  closed.count = state.count.value;
  out.emit(closed);
}`,
    ),
  );
  const at = (ms: number) => ({ key: "a", n: new Date(ms).toISOString() });
  const emittedBy = async (open: number[]) => {
    const owner = await Played.start(true, { versions: [versionOf(1, 0, windows)], begin: 7, open });
    const routing: LiveRouting = { id: 1, start: 7, targets: [target(owner, 0, 256)], moves: [] };
    const far = [10, 20, 5_000].map(at);
    owner.handle({ type: "routing", routing }, map(routing, task(7, far, 2)));
    await owner.applies(8);
    // Of a file that comes behind it in the log.
    owner.handle(map(routing, task(8, [at(30)], 3)));
    owner.handle(map(routing, task(9, [at(6_000)], 3)));
    await owner.applies(10);
    const outputs = owner.all("did").flatMap((message) => message.outputs);
    const late = outputs.reduce((sum, output) => sum + output.late, 0);
    return [late, ...outputs.flatMap(({ frame, emittedRows }) => (emittedRows ? [frame] : []))];
  };
  assert.equal(await emittedBy([2, 3]), [0, 9], "it is counted, and closed when both have passed it");
  assert.equal(await emittedBy([]), [1, 7], "it is late");
});

test.run();
