/** What is decided of a frame that stops the kernel, and for which partitions it comes again. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { type DeadLetter, DeadLetters, lacking } from "../../host/hallelu/dead-letters.ts";
import { Dispatch, PARTITIONS } from "../../host/hallelu/dispatch.ts";
import { EventTime } from "../../host/hallelu/event-time.ts";
import { Shapes, type StreamSource } from "../../host/hallelu/shapes.ts";

const test = suite("host/hallelu/dead-letters.ts");

const letterOf = (from: number, to: number, stage: "map" | "apply" = "apply"): DeadLetter => ({
  frame: 7,
  from,
  to,
  stage,
  message: "",
  version: 1,
  bytes: 0,
  sum: 0,
  source: 0,
});

test("a frame holds as set aside only when the registry has it", () => {
  const dead = new DeadLetters([], () => 1);
  const letter = dead.setAside(letterOf(0, PARTITIONS, "map"), 10);
  assert.equal([dead.isPending(7), dead.isSkipped(7), dead.count, dead.all.length], [true, false, 0, 0]);
  dead.tell(letter, { sum: 1, source: 0 });
  assert.equal([dead.isPending(7), dead.isSkipped(7), dead.count, dead.all.length], [true, false, 0, 1]);
  dead.kept(letter);
  assert.equal([dead.isPending(7), dead.isSkipped(7), dead.count, dead.all.length], [false, true, 1, 1]);
});

test("a frame is tried again once; five times where it went well before, and then it is hopeless", () => {
  const dead = new DeadLetters([], () => 1);
  const failed = (from: number, before: boolean) => dead.failed({ frame: 7, stage: "apply" }, from, before);
  assert.equal([failed(0, false), failed(128, false), failed(0, false)], ["again", "again", "aside"]);
  const tries = Array.from({ length: 5 }, () => failed(64, true));
  assert.equal(tries, [...Array<string>(4).fill("again"), "hopeless"]);
});

test("what comes again counts for the partitions that lack it, and no others, however often it is set aside", () => {
  assert.is(lacking([letterOf(0, PARTITIONS, "map")], undefined), undefined);
  assert.equal(lacking([letterOf(64, 128), letterOf(200, 256)], undefined), [
    [64, 128],
    [200, 256],
  ]);
  const counted: [number, number][] = [[64, 128]];
  assert.equal(lacking([letterOf(0, 100)], counted), [[64, 100]]);
  assert.equal(lacking([letterOf(0, PARTITIONS, "map")], counted), counted);
});

test("frames that come again have a source of their own, and the clock of the one that they were of", () => {
  const file = (name: string): StreamSource => ({
    origin: "source",
    kind: "slice",
    name,
    format: "ndjson",
    size: 0,
    dataStart: 0,
    delimiter: 0,
    plan: [],
  });
  const sources = [file("a"), file("b")];
  const added: number[] = [];
  const shapes = new Shapes(sources, {} as KernelDescriptor, (source) => added.push(source));
  const again = shapes.again(1, [[0, 128]]);
  assert.equal([again, shapes.again(1, [[0, 128]])], [2, 2]);
  // What was set aside a second time is still of the first source.
  assert.is(shapes.again(again, [[0, 64]]), 3);
  assert.equal(sources[3].again, { of: 1, only: [[0, 64]] });
  assert.is(shapes.again(0, undefined), 4);
  shapes.add(file("c"));
  assert.equal(added, [2, 3, 4, 5]);
  const time = new EventTime();
  const clocks = sources.map((_, source) => time.clockOf(sources, source));
  assert.equal(clocks, [2, 3, 3, 3, 2, 4], "and no file's clock is another one for it");
});

test("a frame is not given away while it is withheld, under no routing, and is when it is released", () => {
  const dispatch = new Dispatch([{ jah: 1, from: 0, to: PARTITIONS }], 0, () => 1000);
  dispatch.joined(1);
  dispatch.logged(4);
  dispatch.withhold(2);
  const frames = () => dispatch.handOut().flatMap((handout) => handout.frames);
  assert.equal(frames(), [0, 1, 3]);
  dispatch.lost(1);
  dispatch.joined(5);
  dispatch.recover({ jah: 5, from: 0, to: PARTITIONS }, 0);
  assert.equal(frames(), [0, 1, 3]);
  dispatch.release(2);
  assert.equal(frames(), [2]);
});

test("a frame that came back unmapped is not given away again while somebody has it", () => {
  const dispatch = new Dispatch([{ jah: 1, from: 0, to: PARTITIONS }], 0, () => 1000);
  dispatch.joined(1);
  dispatch.logged(1);
  dispatch.move([{ from: 128, to: PARTITIONS, donor: 1, receiver: 2 }]);
  dispatch.joined(2);
  dispatch.handOut();
  dispatch.lost(2);
  dispatch.recover({ jah: 3, from: 128, to: PARTITIONS }, 0);
  dispatch.joined(3);
  const [replayed] = dispatch.handOut();
  assert.equal(replayed.frames, [0]);
  const { id } = dispatch.routings.find((routing) => routing.id !== replayed.routing && routing.start === 0)!;
  dispatch.again(id, 0);
  assert.ok(dispatch.isOut(0));
  dispatch.awaitOthers(0);
  assert.equal(dispatch.handOut(), []);
  dispatch.again(replayed.routing, 0);
  assert.not.ok(dispatch.isOut(0));
  assert.is(dispatch.handOut().length, 2);
});

test.run();
