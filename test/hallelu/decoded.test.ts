import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { DECODED_VERSION, type KernelDescriptor } from "../../host/compiler/descriptor.ts";
import {
  DECODED_FILES_MAX,
  DECODED_FRAME_BYTES_MIN,
  DECODED_PATIENCE_MS,
  DECODED_REST_MS,
  DECODED_WINDOW_FRAMES,
} from "../../host/core/limits.ts";
import { DecodedFrames } from "../../host/hallelu/decoded.ts";

const test = suite("host/hallelu/decoded.ts: which frames are decoded once");

type Field = string | [source: string, type: string, optional?: boolean];

function kernelOf(fields: Field[], decoded: number | undefined = DECODED_VERSION): KernelDescriptor {
  let offset = 0;
  const all = fields.map((field) => {
    const [source, type, optional = false] = typeof field === "string" ? [field, "i64"] : field;
    const at = offset;
    offset += optional ? 16 : 8;
    return { name: source, source, type, optional, offset: at };
  });
  return { decoded, input: { fields: all, size: offset } } as unknown as KernelDescriptor;
}

const FIRST = kernelOf(["a", ["b", "Text"], ["c", "f64", true], "d"]);

function setUp(...kernels: KernelDescriptor[]) {
  const removed: string[] = [];
  const clock = { now: 0 };
  const decoded = new DecodedFrames(
    { path: "f", make: () => {}, remove: (path) => removed.push(path) },
    () => clock.now,
  );
  const readers = kernels.map((kernel) => ({ at: 0 as number | undefined, kernel, kernelOf: () => kernel }));
  const keep = (frame: number, more: object = {}, kernel = FIRST) =>
    decoded.keep(
      { frame, bytes: DECODED_FRAME_BYTES_MIN, format: "ndjson" as const, ...more },
      kernel,
      readers,
    );
  const done = (frame: number, id: number) => decoded.mapped(frame, { id, bytes: 100 });
  return { decoded, readers, keep, done, clock, removed };
}

test("the words are those that somebody takes, and each is told where its own lie", () => {
  const { decoded, readers, keep, done } = setUp(
    kernelOf(["d"]),
    kernelOf([
      ["c", "f64", true],
      ["b", "Text"],
    ]),
  );
  const kept = keep(7)!;
  assert.equal(kept.words, [8, 16, 24, 32]);
  assert.is(decoded.of(7, readers[0]), undefined, "it is not there yet");
  done(7, kept.id);
  const { id, path } = kept;
  assert.equal(decoded.of(7, readers[0]), { id, path, words: 4, places: [24], texts: false });
  assert.equal(decoded.of(7, readers[1]), { id, path, words: 4, places: [8, 0], texts: true });
  assert.is(decoded.of(8, readers[0]), undefined);
});

test("nothing is kept for who is not at work, has been there or is far behind, nor of what is not worth it", () => {
  const { readers, keep } = setUp(kernelOf(["a"]));
  assert.is(keep(0, { bytes: DECODED_FRAME_BYTES_MIN - 1 }), undefined);
  for (const format of ["csv", "lines", "parquet", "arrow"]) assert.is(keep(0, { format }), undefined);
  readers[0].at = undefined;
  assert.is(keep(500), undefined);
  readers[0].at = 501;
  assert.is(keep(500), undefined);
  readers[0].at = 500;
  assert.ok(keep(500));
  assert.ok(keep(500 + DECODED_WINDOW_FRAMES - 1));
  assert.is(keep(500 + DECODED_WINDOW_FRAMES), undefined);
});

test("a field of another type, or that may be absent for one alone, does not fit, nor a kernel that was built before", () => {
  const fits = (fields: Field[], first: Field[] = ["a", ["c", "f64", true]]) =>
    setUp(kernelOf(fields)).keep(0, {}, kernelOf(first)) !== undefined;
  assert.ok(fits(["a"]));
  assert.ok(fits([["c", "f64", true], "a"]));
  assert.not(fits(["b"]));
  assert.not(fits(["a", "b"]));
  assert.not(fits([["a", "i32"]]));
  assert.not(fits([["a", "i64", true]]));
  assert.not(fits([["c", "f64"]]));
  // Which of two that have one name is filled, or the one within another, depends on what else is wanted.
  assert.not(fits(["a"], ["a", "b", "b"]));
  assert.not(fits(["a.b"], ["a", "a.b"]));
  assert.ok(fits(["a.b"], ["ab", "a.b", "a.c"]));
  assert.is(setUp(kernelOf(["a"], 0)).keep(0), undefined);
  assert.is(setUp(kernelOf(["a"])).keep(0, {}, kernelOf(["a"], 0)), undefined);
});

test("a frame on its way is waited for by those that it is for, until it is mapped, kept or not", () => {
  const { decoded, readers, keep, done } = setUp(kernelOf(["a"]), kernelOf(["x"]));
  const kept = [keep(3)!, keep(4)!, keep(5)!];
  assert.equal(
    readers.map((reader) => decoded.awaitedBy(reader)),
    [3, Infinity],
  );
  assert.not(decoded.hasNews);
  done(3, kept[0].id);
  assert.ok(decoded.hasNews);
  assert.is(decoded.awaitedBy(readers[0]), 4);
  decoded.mapped(4, { id: kept[1].id, bytes: 0 });
  assert.is(decoded.awaitedBy(readers[0]), 5);
  assert.is(decoded.of(4, readers[0]), undefined);
  decoded.mapped(5, undefined);
  assert.is(decoded.awaitedBy(readers[0]), Infinity);
});

test("of two Jahs that map a frame, the one that was told last counts, and the file of the other is nobody's", () => {
  const { decoded, readers, keep, done, removed } = setUp(kernelOf(["a"]));
  const lost = keep(1)!;
  const next = keep(1)!;
  assert.is.not(next.path, lost.path);
  assert.equal(removed, [lost.path]);
  done(1, lost.id);
  assert.is(decoded.of(1, readers[0]), undefined);
  done(1, next.id);
  assert.is(decoded.of(1, readers[0])!.id, next.id);
  assert.is(keep(1), undefined, "it is there");
});

test("what takes too long is waited for no more, and nothing is kept for a while", () => {
  const { decoded, readers, keep, done, clock } = setUp(kernelOf(["a"]));
  done(1, keep(1)!.id);
  keep(2);
  clock.now = DECODED_PATIENCE_MS;
  keep(2); // handed out once more: it is waited for since the first time
  decoded.tick();
  assert.is(decoded.awaitedBy(readers[0]), 2);
  clock.now++;
  decoded.tick();
  assert.is(decoded.awaitedBy(readers[0]), Infinity);
  assert.ok(decoded.of(1, readers[0]), "what is there stays");
  assert.is(keep(3), undefined);
  clock.now += DECODED_REST_MS;
  assert.ok(keep(3));
});

test("one whose kernel was swapped meanwhile takes what still fits", () => {
  const { decoded, readers, keep, done } = setUp(kernelOf(["a", "d"]));
  done(1, keep(1)!.id);
  const [reader] = readers;
  reader.kernelOf = () => kernelOf(["d"]);
  assert.equal(decoded.of(1, reader)!.places, [8]);
  reader.kernelOf = () => kernelOf([["b", "Text"]]);
  assert.is(decoded.of(1, reader), undefined);
});

test("no file is written that somebody writes, or that holds a frame which may be read as another; there are only so many", () => {
  const step = fc.record({
    act: fc.constantFrom("keep", "again", "done", "none", "read", "leave", "giveUp"),
    frame: fc.nat(120),
    reader: fc.nat(1),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const { decoded, readers, keep, done, removed } = setUp(kernelOf(["a"]), kernelOf(["d"]));
      /** Who may yet write a file, and what it holds. */
      const writers = new Map<string, number>();
      const asked = new Map<number, { id: number; path: string }>();
      for (const { act, frame, reader } of steps) {
        if (act === "keep" || act === "again") {
          const kept = keep(frame);
          if (!kept) continue;
          assert.not(writers.has(kept.path));
          assert.not(removed.includes(kept.path));
          writers.set(kept.path, kept.id);
          asked.set(frame, kept);
        } else if (act === "done" || act === "none") {
          const kept = asked.get(frame);
          if (!kept) continue;
          if (writers.get(kept.path) === kept.id) writers.delete(kept.path);
          if (act === "done") done(frame, kept.id);
          else decoded.mapped(frame, { id: kept.id, bytes: 0 });
        } else if (act === "read") decoded.read(frame, readers[reader]);
        else if (act === "leave") decoded.left(readers[reader]);
        else decoded.giveUp();
        const found = readers.flatMap((each) =>
          [...asked.keys()].flatMap((number) => decoded.of(number, each) ?? []),
        );
        const frames = new Map(found.map(({ id, path }) => [path, id]));
        assert.ok(found.every(({ id, path }) => frames.get(path) === id && !writers.has(path)));
        assert.ok(frames.size <= DECODED_FILES_MAX);
      }
    }),
    { numRuns: 60 },
  );
});

test("where all files are taken, those make room that nobody comes to any more; those that are written do not", () => {
  const { decoded, readers, keep, done } = setUp(kernelOf(["a"]));
  const all = Array.from({ length: DECODED_FILES_MAX }, (_, frame) => keep(frame)!);
  assert.is(keep(DECODED_FILES_MAX), undefined);
  done(5, all[5].id);
  done(4, all[4].id);
  assert.is(keep(DECODED_FILES_MAX), undefined);
  readers[0].at = 5;
  assert.is(keep(DECODED_FILES_MAX)!.path, all[4].path);
  assert.is(decoded.of(4, readers[0]), undefined);
  assert.ok(decoded.of(5, readers[0]));
});

test.run();
