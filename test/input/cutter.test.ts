import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { RECORD_BYTES_MAX } from "../../host/core/limits.ts";
import { type CutFrame, Cutter } from "../../host/input/cutter.ts";
import { seeded } from "../run.ts";

const test = suite("host/input/cutter");

interface Shape {
  start: number;
  quotes: boolean;
  frameBytes: number;
}

function cut(bytes: Buffer, chunks: number[], { start, quotes, frameBytes }: Shape): CutFrame[] {
  const cutter = new Cutter(start, quotes, 0x2c, frameBytes);
  const frames: CutFrame[] = [];
  const drain = () => {
    for (let frame = cutter.next(); frame; frame = cutter.next()) frames.push(frame);
  };
  let at = start;
  for (let i = 0; at < bytes.length; i++) {
    const size = chunks[i % chunks.length];
    cutter.push(bytes.subarray(at, at + size));
    at += size;
    drain();
  }
  cutter.end();
  drain();
  return frames;
}

/** Starts of all records, byte by byte; an unclosed record costs its first line. */
function recordStarts(text: string, start: number, quotes: boolean): number[] {
  const starts: number[] = [];
  for (let at = start; at < text.length; ) {
    starts.push(at);
    let p = at;
    let closed = true;
    while (p < text.length) {
      if (quotes && text[p] === '"') {
        p++;
        while (p < text.length && (text[p] !== '"' || text[p + 1] === '"')) p += text[p] === '"' ? 2 : 1;
        closed = p < text.length;
        p++;
      }
      while (p < text.length && text[p] !== "," && text[p] !== "\n") p++;
      if (p >= text.length || text[p] === "\n") break;
      p++;
    }
    if (!closed) {
      const lf = text.indexOf("\n", at);
      p = lf < 0 ? text.length : lf;
    }
    at = p + 1;
  }
  return starts;
}

/** The frames by their definition. */
function reference(text: string, { start, quotes, frameBytes }: Shape): string[] {
  const starts = recordStarts(text, start, quotes);
  const frames: string[] = [];
  let from = start;
  for (let index = Math.floor(start / frameBytes); from < text.length; index++) {
    const to = starts.find((at) => at >= (index + 1) * frameBytes) ?? text.length;
    frames.push(text.slice(from, to));
    from = to;
  }
  return frames;
}

const text = fc.string({ unit: fc.constantFrom('"', '"', ",", "\n", "\n", "x", "yy"), maxLength: 200 });
const chunks = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 });

for (const quotes of [true, false]) {
  test(`frames hold the records that start in them, ${quotes ? "also over several lines" : "which are lines"}`, () => {
    fc.assert(
      fc.property(
        text,
        chunks,
        fc.integer({ min: 1, max: 60 }),
        fc.nat({ max: 9 }),
        (csv, sizes, frameBytes, head) => {
          const start = Math.min(head, csv.length);
          const shape = { start, quotes, frameBytes };
          const frames = cut(Buffer.from(csv), sizes, shape);
          assert.equal(
            frames.map(({ bytes }) => bytes.toString()),
            reference(csv, shape),
            JSON.stringify(csv),
          );
        },
      ),
      seeded(20_000),
    );
  });
}

test("each frame starts where the one before ended", () => {
  fc.assert(
    fc.property(text, chunks, fc.integer({ min: 1, max: 60 }), (csv, sizes, frameBytes) => {
      let end = 0;
      for (const { offset, bytes } of cut(Buffer.from(csv), sizes, { start: 0, quotes: true, frameBytes })) {
        assert.is(offset, end);
        end += bytes.length;
      }
      assert.is(end, csv.length);
    }),
    seeded(2000),
  );
});

for (const quotes of [true, false]) {
  test(`a line that is too long is dropped, and nothing else${quotes ? ", in CSV" : ""}`, () => {
    const long = Buffer.alloc(RECORD_BYTES_MAX + 1, "x");
    for (const [before, behind] of [
      ["a\nb\n", "c\nd\n"],
      ["", "c"],
      ['"q\n"\n', ""],
    ]) {
      const bytes = Buffer.concat([Buffer.from(before), long, Buffer.from("\n"), Buffer.from(behind)]);
      const frames = cut(bytes, [1 << 18], { start: 0, quotes, frameBytes: 1 << 19 });
      assert.ok(frames.map((frame) => frame.bytes.toString()).join("") === before + behind);
      assert.is(
        frames.reduce((sum, { dropped }) => sum + dropped, 0),
        1,
      );
      assert.is(frames.at(-1)!.offset + frames.at(-1)!.bytes.length, before.length + behind.length);
    }
  });
}

test("a line of the greatest length is kept", () => {
  const long = Buffer.alloc(RECORD_BYTES_MAX, "x");
  long[long.length - 1] = 0x0a;
  const bytes = Buffer.concat([Buffer.from("a\n"), long, Buffer.from("b\n")]);
  const frames = cut(bytes, [1 << 18], { start: 0, quotes: true, frameBytes: 1 << 19 });
  assert.ok(Buffer.concat(frames.map((frame) => frame.bytes)).equals(bytes));
});

test("an unclosed quote drops nothing, and frames go on behind its first line", () => {
  const lines = Buffer.from("a,b\n".repeat(6 << 20));
  const bytes = Buffer.concat([Buffer.from('a,"b\n'), lines]);
  const frames = cut(bytes, [1 << 20], { start: 0, quotes: true, frameBytes: 1 << 19 });
  assert.is(frames.length, Math.ceil(bytes.length / (1 << 19)));
  assert.ok(Buffer.concat(frames.map((frame) => frame.bytes)).equals(bytes));
});

test.run();
