import { suite } from "uvu";
import * as assert from "uvu/assert";
import { DECODED_VERSION, type KernelDescriptor } from "../../host/compiler/descriptor.ts";
import type { DeadLetters } from "../../host/hallelu/dead-letters.ts";
import { DecodedFrames } from "../../host/hallelu/decoded.ts";
import { Frames, type FramesParts } from "../../host/hallelu/frames.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import type { FrameDone } from "../../host/wire/jah.ts";
import type { Log } from "../../host/store/log.ts";
import { logOf, PUSHED } from "./in-process.ts";

const test = suite("host/hallelu/frames.ts: a log that several streams share");

/** A log whose frames are a byte and a segment each, its frames, and those of a stream that shares it. */
function sharedBy(
  retain: string,
  count = 1,
  {
    kernel = { input: { fields: [] } } as unknown as KernelDescriptor,
    bytes = 1,
    decoded,
    at,
    clocks,
  }: Partial<Pick<FramesParts, "decoded" | "at">> &
    Pick<StreamRecord, "clocks"> & { kernel?: KernelDescriptor; bytes?: number } = {},
) {
  const trimmed: number[] = [];
  const log = Object.assign(logOf(bytes), { trim: async (below: number) => void trimmed.push(below) });
  const kernels: KernelDescriptor[] = [];
  const saves: number[] = [];
  const heard: number[][] = Array.from({ length: count + 1 }, () => []);
  const ready = heard.map((): number[] => []);
  const partsOf = (i: number): FramesParts => ({
    log: log as unknown as Log,
    tally: new Tally(),
    kernel: () => kernel,
    kernelOf: (frame) => kernels[frame] ?? kernel,
    dead: { isSkipped: () => false, voidsOf: () => [] } as unknown as DeadLetters,
    save: async () => void saves.push(i),
    onSource: () => {},
    onMisfit: () => {},
    onLogged: () => {
      heard[i].push(log.next);
      ready[i].push(all[i].ready);
    },
    ...(decoded && !i ? { decoded } : {}),
    ...(at ? { at } : {}),
  });
  const record = { retain, sources: [], ...(clocks ? { clocks } : {}) } as unknown as StreamRecord;
  const owner = new Frames(record, partsOf(0));
  const sharers = Array.from(
    { length: count },
    (_, i) => new Frames({ ...record, reader: `sharer ${i}` }, { ...partsOf(i + 1), owner }),
  );
  const all = [owner, ...sharers];
  return { owner, sharer: sharers[0], sharers, heard, ready, trimmed, kernels, saves };
}

test("the log is trimmed below what all that share it need, and by nobody alone", async () => {
  const { owner, sharer, trimmed } = sharedBy("applied");
  await owner.trimTo(9, false);
  await sharer.trimTo(5, false);
  await owner.trimTo(12, false);
  await sharer.trimTo(20, false);
  assert.equal(trimmed, [0, 5, 5, 12]);
  sharer.leave();
  await owner.trimTo(30, false);
  assert.is(trimmed.at(-1), 30);
});

test("nothing is trimmed while somebody holds the log, or lacks a shard", async () => {
  const { owner, sharer, trimmed } = sharedBy("applied");
  const [first, second] = [owner.hold(), owner.hold()];
  await owner.trimTo(9, false);
  first();
  await sharer.trimTo(9, false);
  assert.equal(trimmed, []);
  second();
  await sharer.trimTo(9, true);
  await owner.trimTo(9, false);
  assert.equal(trimmed, []);
  await sharer.trimTo(9, false);
  assert.equal(trimmed, [9]);
});

test("one that takes the owner's place logs for all, and they trim with it; what is under way comes to it", async () => {
  const { owner, sharers, heard, trimmed, saves } = sharedBy("applied", 2);
  const [heir, other] = sharers;
  const frame = { source: 0, body: [], producers: [] };
  const letGo = owner.hold();
  const body = { format: "ndjson" as const, chunks: [Buffer.from("{}\n")], bytes: 3 };
  const pushed = owner.push(body);
  const appended = owner.append([frame]);
  heir.inherit();
  assert.is(await appended, 0);
  assert.is(await pushed, 1);
  assert.is(await heir.push({ ...body }), 2);
  const csv = { format: "csv" as const, chunks: [Buffer.from("a\n1\n")], bytes: 4 };
  saves.length = 0;
  await heir.push(csv);
  assert.equal(saves, [1], "another kind of bodies is known before its first one is logged");
  assert.is(heir.shapes.sources.length, 2, "it knows what bodies look like that came before");
  assert.equal(heard, [[], [1, 2, 3, 4], [1, 2, 3, 4]]);
  await other.trimTo(7, false);
  await heir.trimTo(9, false);
  assert.equal(trimmed, [], "somebody held the log of the one before");
  letGo();
  await owner.trimTo(20, false);
  await other.trimTo(8, false);
  assert.equal(trimmed, [7, 8], "the one before has no say");
});

test("all hear of what is logged, and only the owner maps what it takes once more", async () => {
  const { owner, sharer, heard } = sharedBy("all");
  owner.shapes.add({ ...PUSHED });
  await owner.append([{ source: 0, body: [], producers: [] }]);
  assert.equal(heard, [[1], [1]]);
  assert.not(sharer.taskOf(0, []).skip);
  owner.shapes.sources[0].origin = "dead";
  assert.is(sharer.taskOf(0, []).skip, true);
  assert.not(owner.taskOf(0, []).skip);
});

test("a frame is read, or passed over, by what the kernel reads that it belongs to", async () => {
  const { owner, sharer, kernels } = sharedBy("all");
  owner.shapes.add({ ...PUSHED, format: "csv", delimiter: 44, columns: ["a"] });
  const kernelOf = (name: string) =>
    ({ input: { fields: [{ name, source: name, type: "Text" }] } }) as unknown as KernelDescriptor;
  kernels.push(kernelOf("a"), kernelOf("b"));
  const frame = { source: 0, body: [], producers: [] };
  await owner.append([frame, frame]);
  assert.not(sharer.taskOf(0, []).skip);
  assert.is(sharer.taskOf(1, []).skip, true);
  assert.not(owner.taskOf(1, []).skip);
});

test("what the owner's Jah is told to decode for others is waited for, and theirs are told to read it", async () => {
  const field = { name: "a", source: "a", type: "i64", optional: false, offset: 0 };
  const kernel = { decoded: DECODED_VERSION, input: { fields: [field] } } as unknown as KernelDescriptor;
  const decoded = new DecodedFrames({ path: "f", make: () => {}, remove: () => {} }, () => 0);
  const { owner, sharer, heard } = sharedBy("all", 1, { kernel, bytes: 1 << 17, decoded, at: () => 0 });
  owner.shapes.add({ ...PUSHED });
  const frame = { source: 0, body: [], producers: [] };
  await owner.append([frame, frame]);
  const done = { source: 0, start: 0, end: 0, time: 0 } as FrameDone;
  const { keep } = owner.taskOf(0, []);
  assert.equal(keep!.words, [0]);
  assert.is(sharer.ready, 0);
  assert.is(owner.ready, 2, "it waits for nobody");
  owner.tellSharers();
  assert.is(heard[1].length, 1, "there is nothing new");
  owner.mapped({ ...done, frame: 0 }, { kept: { id: keep!.id, bytes: 9 } });
  owner.tellSharers();
  assert.is(heard[1].length, 2);
  assert.is(sharer.ready, 2);
  assert.is(sharer.taskOf(0, []).decoded!.path, keep!.path);
  assert.not(sharer.taskOf(1, []).decoded, "nobody has decoded it");
  sharer.mapped({ ...done, frame: 0 }, { cameDecoded: true });
  assert.is(sharer.decodedCount, 1);
  assert.not(sharer.taskOf(0, []).decoded, "it has been there");
  owner.taskOf(1, []);
  assert.is(sharer.ready, 1);
  sharer.leave();
  assert.is(sharer.ready, 2);
  assert.not(owner.taskOf(1, []).keep, "nobody wants it");
});

test("what a stream takes its time to be is logged for it alone, what is a fact for all", async () => {
  const kernel = { time: { field: "at", lateness: 0 }, input: { fields: [] } } as unknown as KernelDescriptor;
  // Its last record came long ago.
  const { owner, sharers } = sharedBy("all", 2, { kernel, clocks: [[0, 100, 0, false]] });
  const [first, heir] = sharers;
  const all = [owner, first, heir];
  const closes = () =>
    all.map((each) => (each.taskOf(owner.next - 1, []).task as { time: number }).time > 200);
  for (const [i, each] of all.entries()) {
    await each.letTimePass(200);
    assert.is(owner.next, i + 1);
    assert.equal(
      closes(),
      all.map((other) => other === each),
    );
    await each.letTimePass(200);
    assert.is(owner.next, i + 1, "it was said");
  }
  await owner.push({ format: "ndjson", chunks: [], bytes: 0, end: true });
  assert.equal(closes(), [true, true, true]);
  await owner.push({ format: "ndjson", chunks: [], bytes: 0, end: true });
  assert.is(owner.next, 4, "it was said");
  heir.inherit();
  await first.letTimePass(1e15);
  assert.is(owner.next, 4, "a clock that has ended is not waited for");
});

test("of frames that were logged at once none is handed out before it is known what it says", async () => {
  const kernel = { time: { field: "at", lateness: 0 }, input: { fields: [] } } as unknown as KernelDescriptor;
  const { owner, sharer, ready } = sharedBy("all", 1, { kernel, clocks: [[0, 100, 0, false]] });
  owner.shapes.add({ ...PUSHED });
  const frame = { source: 0, body: [], producers: [] };
  await Promise.all([owner.append([frame]), sharer.letTimePass(200), owner.letTimePass(200)]);
  assert.equal(ready, [
    [1, 2, 3],
    [1, 2, 3],
  ]);
});

test("files are opened and ended for all, and whoever begins behind that knows which are waited for", async () => {
  const kernel = { time: { field: "at", lateness: 0 }, input: { fields: [] } } as unknown as KernelDescriptor;
  const { owner, sharer } = sharedBy("all", 1, { kernel });
  for (let i = 0; i < 3; i++) owner.shapes.add({ ...PUSHED, origin: "source" });
  await owner.openClocks(3);
  assert.is(owner.next, 3);
  await owner.openClocks(3);
  assert.is(owner.next, 3, "it was said");
  const frame = (source: number) => owner.append([{ source, body: [], producers: [] }]);
  await frame(0);
  await frame(0);
  await owner.endClock(0);
  await frame(1);
  await owner.beginTimed();
  assert.is(owner.next, 7, "there is nothing to say");
  assert.is((sharer.taskOf(5, []).task as { time: number }).time, Infinity);
  assert.equal(owner.openAt(4), [2, 3, 4], "records of the first one follow");
  assert.equal(owner.openAt(5), [3, 4]);
});

test("a log that no kernel with event time reads says nothing of it, but what has ended when one comes", async () => {
  const { owner } = sharedBy("all");
  for (let i = 0; i < 3; i++) owner.shapes.add({ ...PUSHED, origin: "source" });
  await owner.openClocks(3);
  const frame = (source: number) => owner.append([{ source, body: [], producers: [] }]);
  await frame(0);
  await owner.endClock(0);
  await frame(1);
  const end = { format: "ndjson" as const, chunks: [], bytes: 0, end: true };
  assert.is(await owner.push(end), 1);
  assert.is(owner.next, 2);
  assert.equal(owner.openAt(0), [2, 3, 4], "one that has no record yet, too");
  await owner.beginTimed();
  const said = (number: number) => owner.taskOf(number, []) as { clock: number; task: { time: number } };
  assert.equal(
    [2, 3].map((number) => [said(number).clock, said(number).task.time]),
    [
      [2, Infinity],
      [0, Infinity],
    ],
  );
  assert.is(owner.next, 4);
});

test.run();
