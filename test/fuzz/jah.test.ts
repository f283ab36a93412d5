/**
 * Entries and records that Jahs send each other, in the memory of the one that takes them in: whatever the bytes, they are merged or
 * the kernel stops, and nothing is written where it does not belong.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { Answers } from "../../host/jah/answers.ts";
import { Handover } from "../../host/jah/handover.ts";
import { Inbox } from "../../host/jah/inbox.ts";
import { Mapper } from "../../host/jah/mapper.ts";
import { createMemory, KernelAbort, KernelInstance } from "../../host/kernel/instance.ts";
import * as map from "../../host/kernel/memory-map.ts";
import { clearDirty, dirtyPages, FIRST_PAGE, PAGE_BYTES } from "../../host/kernel/pages.ts";
import type { HttpPeers } from "../../host/shuffle/http-peers.ts";
import { decodeBatches, encodeBatch, TRANSFER } from "../../host/wire/batch.ts";
import { kernelFile, kernelOf } from "../run.ts";
import { cases, damage, noise } from "./mutate.ts";

const test = suite("fuzz: routed entries");
const STATE_BYTES = 64 << 20;
const SOURCE = { format: "ndjson" as const, size: 0, dataStart: 0, delimiter: 0, plan: [] };
/** What a kernel may write of the control block: its status, and problems of records. */
const STATUS_END = map.OWNERS;

const at = (minute: number) => new Date(Date.parse("2024-05-01T10:00:00Z") + minute * 60_000).toISOString();
const long = "a key that is longer than what lies in an entry, ";
const lines = (count: number, line: (i: number) => object) =>
  Array.from({ length: count }, (_, i) => `${JSON.stringify(line(i))}\n`).join("");

/** Kernels of all kinds of tables, and records for two frames. */
const KERNELS: [path: string, record: (i: number) => object][] = [
  [kernelFile("everything"), (i) => ({ key: `${i % 3 ? "" : long}${i % 40}`, n: i, x: i / 4 - 20 })],
  [
    join(packageRoot, "examples", "sessions.ts"),
    (i) => ({ user: `u${i % 7}`, at: at(i), page: `/${i % 9}` }),
  ],
  [
    join(packageRoot, "examples", "trending.ts"),
    (i) => ({ tag: `t${i % 5}`, at: at(i), user: `${long}${i}` }),
  ],
  [
    join(packageRoot, "examples", "funnel.ts"),
    (i) => ({ user: `u${i % 5}`, at: at(i), action: i % 2 ? "view" : "cart" }),
  ],
  [
    join(packageRoot, "examples", "kept-flights.ts"),
    (i) => ({
      date: at(i),
      distance: i,
      origin: `${long}${i % 7}`,
      destination: `A${i % 5}`,
      delay: i % 3 ? i : null,
    }),
  ],
  [
    kernelOf(
      "rows-alone",
      `import { Dataset, Text } from "hallelujah";
@record class Row { n: u8; text: Text }
const rows = new Dataset<Row>("rows", 50);
export function each(row: Row): void { rows.add(row); }`,
    ),
    (i) => ({ n: i, text: `${i % 2 ? long : ""}${i % 9}` }),
  ],
];

/** What stops a kernel, or is refused before it comes to one. */
function isStop(error: unknown): boolean {
  return (
    error instanceof WebAssembly.RuntimeError ||
    error instanceof KernelAbort ||
    error instanceof HallelujahError
  );
}

/** A kernel with the state of one frame, to which it can be brought back; and the sections of another frame. */
class Target {
  kernel: KernelInstance;
  readonly part: Buffer;
  private readonly module: WebAssembly.Module;
  private readonly memory = createMemory(STATE_BYTES);
  private readonly arena: Buffer;
  private before = Buffer.alloc(0);

  private constructor(
    module: WebAssembly.Module,
    kernel: KernelInstance,
    memory: WebAssembly.Memory,
    part: Buffer,
  ) {
    this.module = module;
    this.kernel = kernel;
    this.memory = memory;
    this.part = part;
    this.arena = Buffer.from(kernel.bytes.slice(map.ARENA, kernel.arenaEnd));
  }

  static async of([path, record]: (typeof KERNELS)[number]): Promise<Target> {
    const built = await buildKernel(path);
    const module = new WebAssembly.Module(readFileSync(built.path));
    const memory = createMemory(STATE_BYTES);
    const kernel = new KernelInstance(module, memory);
    kernel.exports.start(map.NDJSON, 0x2c);
    const mapper = new Mapper(kernel, [SOURCE], 1, [], 0);
    mapper.route(new Uint8Array(256), 1);
    const partsOf = async (from: number) => {
      const bytes = Buffer.from(lines(60, (i) => record(from + i)));
      const { parts } = await mapper.map(
        { kind: "bytes", frame: from, source: 0, offset: 0, bytes },
        undefined,
      );
      return parts[0];
    };
    const [first] = await partsOf(0);
    const [second] = await partsOf(30);
    kernel.exports.beginApply();
    kernel.exports.apply(map.INPUT, kernel.place(first));
    return new Target(module, kernel, memory, Buffer.from(second));
  }

  /** The state as it was, whatever came of it. */
  reset(): void {
    const { bytes } = this.kernel;
    bytes.fill(0, map.ARENA);
    bytes.set(this.arena, map.ARENA);
    this.kernel = new KernelInstance(this.module, this.memory);
    this.kernel.exports.start(map.NDJSON, 0x2c);
    this.kernel.exports.beginFrame(0);
    clearDirty(this.memory);
    bytes.fill(0xa5, map.INPUT, map.DIRTY);
    this.before = Buffer.from(bytes.slice(map.ARENA));
  }

  /** Does something with bytes that came; afterwards nothing may have been written but where it belongs. Whether it went well. */
  check(length: number, work: () => void): boolean {
    const { bytes } = this.kernel;
    const control = Buffer.from(bytes.slice(STATUS_END, map.OUTPUT));
    let went = true;
    try {
      work();
    } catch (error) {
      if (!isStop(error)) throw error;
      went = false;
    }
    const { bytes: now } = this.kernel;
    assert.ok(isAll(now.subarray(0, map.KERNEL_BASE), 0), "the null page");
    assert.ok(isAll(now.subarray(map.INPUT + length, map.DIRTY), 0xa5), "the input window behind the bytes");
    assert.is(Buffer.compare(control, now.subarray(STATUS_END, map.OUTPUT)), 0, "the control block");
    const end = Math.min(this.kernel.u32(map.ARENA + 8), now.length);
    assert.ok(end >= map.ARENA, "the arena's end");
    assert.ok(isAll(now.subarray(end), 0), "behind the arena");
    const dirty = new Set(dirtyPages(this.memory, now.length));
    for (let page = FIRST_PAGE; page < end / PAGE_BYTES; page++) {
      const is = now.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
      const was = this.before.subarray(
        (page - FIRST_PAGE) * PAGE_BYTES,
        (page - FIRST_PAGE + 1) * PAGE_BYTES,
      );
      const changed = was.length ? Buffer.compare(is, was) !== 0 : !isAll(is, 0);
      assert.ok(!changed || dirty.has(page), `page ${page} of the arena`);
    }
    return went;
  }

  /** Reads all of the first table; with entries of another Jah, if they are given. */
  render(others: Uint8Array[]): void {
    if (!this.kernel.exports.tableCount()) return;
    const answers = new Answers(() => this.kernel);
    answers.perform("split", { table: 0, column: -1, descending: false, splitters: [] });
    answers.perform("render", { table: 0, range: 0, limit: 1e9, format: map.NDJSON, others });
    answers.perform("finish", { table: 0 });
  }
}

const ZEROS = Buffer.alloc(1 << 20);
const FILLED = Buffer.alloc(1 << 20, 0xa5);

function isAll(bytes: Uint8Array, value: 0 | 0xa5): boolean {
  const filler = value ? FILLED : ZEROS;
  for (let from = 0; from < bytes.length; from += filler.length) {
    const part = bytes.subarray(from, from + filler.length);
    if (Buffer.compare(part, filler.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}

const targets: [string, Target][] = [];
for (const kernel of KERNELS) targets.push([kernel[0].split("/").at(-1)!, await Target.of(kernel)]);

/** Sections that claim more than there is, by hand. */
function crafted(part: Buffer): Buffer[] {
  const withWord = (place: number, value: number) => {
    const bytes = Buffer.from(part);
    bytes.writeUInt32LE(value, place);
    return bytes;
  };
  return [
    ...[0xffffffff, 0x80000000, 0x40000000, 0x20000001, 1 << 20].map((count) => withWord(4, count)),
    ...[1, 63, 64, 0xfffffffe].map((table) => withWord(0, table)),
    Buffer.alloc(8, 0xff),
    Buffer.alloc(1 << 20, 0xff),
    Buffer.alloc(1 << 20),
    part.subarray(0, 4),
    part.subarray(0, 9),
    Buffer.alloc(0),
  ];
}

for (const [name, target] of targets) {
  test(`${name}: sections that were changed are merged, or stop the kernel`, () => {
    const apply = (bytes: Buffer) => {
      target.reset();
      const end = target.kernel.place(bytes);
      const went = target.check(bytes.length, () => {
        target.kernel.exports.beginApply();
        for (let p = map.INPUT; p < end; ) {
          const next = target.kernel.exports.apply(p, end);
          assert.ok(next > p && next <= end, "it goes on");
          p = next;
        }
        target.kernel.exports.advanceClock(0, Date.parse("2024-05-02T00:00:00Z"));
      });
      // What was taken in can be read.
      if (went) target.render([]);
    };
    target.reset();
    assert.ok(
      target.check(target.part.length, () => {
        target.kernel.exports.apply(map.INPUT, target.kernel.place(target.part));
      }),
    );
    for (const bytes of crafted(target.part)) apply(bytes);
    fc.assert(
      fc.property(
        fc.oneof({ arbitrary: damage.map((change) => change(target.part)), weight: 9 }, noise),
        apply,
      ),
      cases(60),
    );
  });

  test(`${name}: another Jah's part of a result that was changed is rendered, or stops the kernel`, () => {
    const render = (bytes: Buffer) => {
      target.reset();
      // The window is used for splitters and others: what is behind all of it is looked at.
      target.check(Math.max(bytes.length, 64), () => target.render([bytes]));
    };
    for (const bytes of crafted(target.part)) render(bytes);
    fc.assert(
      fc.property(
        fc.oneof({ arbitrary: damage.map((change) => change(target.part)), weight: 9 }, noise),
        render,
      ),
      cases(25),
    );
  });
}

/** Values of one aggregate that nobody wrote, as their bytes follow a key. */
const WRONG: [aggregate: string, add: string, values: number[][]][] = [
  [
    "Top<Text>",
    "line.word",
    // Counters: 2^31 + 1, and 2^26, for which 32 bits have no room; more than there can be; a text of 4 GiB.
    [
      [0x81, 0x80, 0x80, 0x80, 0x08],
      [0x80, 0x80, 0x80, 0x20],
      [0x81, 0x04],
      [1, 0xff, 0xff, 0xff, 0xff, 0x0f],
    ],
  ],
  [
    "Quantiles",
    "line.n",
    [
      [200, 0, 1],
      [45, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
      [45, 0, 0x81, 0x18],
      [45, 0, 1, 0, 0x40, 0],
    ],
  ],
  [
    "Distinct",
    "line.word",
    [
      [0x81, 0x01],
      [0xfd, 0xff],
    ],
  ],
  [
    "First<Text>",
    "line.word",
    [
      [0xff, 0xff, 0xff, 0xff, 0x1f],
      [0x80, 0x80, 0x80, 0x80, 0x08],
    ],
  ],
];

for (const [aggregate, added, values] of WRONG)
  test(`a ${aggregate} that claims what it cannot hold stops the kernel before it is made room for`, async () => {
    const path = kernelOf(
      "claims",
      `import { ${aggregate.replace(/<.*/, "")}, Table, Text } from "hallelujah";
@record class Line { word: Text; n: i64 }
@state class Kept { held: ${aggregate} }
const kept = new Table<i64, Kept>("kept");
export function each(line: Line): void { kept.at(1).held.add(${added}); }`,
    );
    const target = await Target.of([path, (i) => ({ word: `w${i}`, n: i })]);
    // { table, one entry } hash, key; then the value.
    const key = target.part.subarray(0, 20);
    const fresh = Buffer.from(key);
    fresh.writeUInt32LE(0x0100_0000, 8);
    fresh.writeBigUInt64LE(99n, 12);
    for (const value of values)
      for (const start of [key, fresh]) {
        const bytes = Buffer.concat([start, Buffer.from(value), Buffer.alloc(64)]);
        target.reset();
        const end = target.kernel.place(bytes);
        assert.not(
          target.check(bytes.length, () => target.kernel.exports.apply(map.INPUT, end)),
          `${value}`,
        );
      }
  });

test("a window's key without its time stops the kernel", () => {
  const [, target] = targets[2];
  const bytes = Buffer.from(target.part);
  const entries = bytes.readUInt32LE(4);
  bytes.writeUInt32LE(7, 8 + entries * 4);
  target.reset();
  const end = target.kernel.place(bytes);
  assert.not(target.check(bytes.length, () => target.kernel.exports.apply(map.INPUT, end)));
});

test("what does not fit the input window is refused before a byte of it is written", () => {
  const [, target] = targets[0];
  target.reset();
  const tooLong = new Uint8Array(map.DIRTY - map.INPUT + 1);
  assert.not(target.check(map.DIRTY - map.INPUT, () => void target.kernel.place(tooLong)));
  const splitters = Array.from({ length: 64 }, () => new Uint8Array(1 << 20));
  assert.not(target.check(map.DIRTY - map.INPUT, () => target.kernel.placeSplitters(splitters)));
});

test("state that changes its owner and was changed on its way is taken in, or refused; the rest of the memory stays", () => {
  const [, target] = targets[2];
  const head = { kind: TRANSFER, frame: 1, start: 0, end: 0, time: -Infinity, clock: 0 };
  const sent = [
    encodeBatch({ ...head, source: 2 }, [new Uint8Array(map.CLOCKS_END - map.CLOCKS)]),
    encodeBatch({ ...head, source: 0 }, [target.part]),
    encodeBatch({ ...head, source: 1 }, [Buffer.from("[[0,60],[1,7]]")]),
  ];
  const move = { from: 0, to: 256, donor: 0, receiver: 1 };
  const take = (batches: Buffer[]) => {
    target.reset();
    const inbox = new Inbox(1);
    const handover = new Handover(() => target.kernel, inbox, { full: false } as unknown as HttpPeers);
    handover.expect({ id: 1, start: 1, targets: [], moves: [move] }, move, 1);
    // At most the bytes of a part are in the window.
    const most = Math.max(...batches.map(({ length }) => length));
    const went = target.check(most, () => {
      for (const batch of decodeBatches(Buffer.concat(batches))) handover.receive(batch);
      while (handover.step() === "progress");
    });
    for (const [source, end] of inbox.places) assert.ok(Number.isFinite(source) && Number.isFinite(end));
    return went;
  };
  assert.ok(take(sent));
  for (const clocks of [0, 1, 0x7f8, 0x801, 70_000]) {
    const wrong = encodeBatch({ ...head, source: 2 }, clocks ? [new Uint8Array(clocks)] : []);
    assert.not(take([wrong]), `${clocks} bytes of clocks`);
  }
  for (const places of ["", "null", "{}", "[1]", "[[1]]", '[["a",1]]', "[[0,null]]", "[[0,1,2]]"])
    assert.not(take([encodeBatch({ ...head, source: 1 }, [Buffer.from(places)])]), places);
  fc.assert(
    fc.property(fc.nat(2), damage, (which, change) => {
      take(sent.map((batch, i) => (i === which ? change(batch) : batch)));
    }),
    cases(60),
  );
});

test.run();
