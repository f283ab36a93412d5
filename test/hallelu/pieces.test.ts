import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { admit } from "../../host/hallelu/admission.ts";
import { groupsOf } from "../../host/hallelu/groups.ts";
import type { StoredShard } from "../../host/hallelu/record.ts";
import { Assembler } from "../../host/shuffle/assembler.ts";
import { Chains } from "../../host/hallelu/chains.ts";
import { HallelujahError } from "../../host/core/errors.ts";
import { cutBody, Intake, type IntakeFrame } from "../../host/hallelu/intake.ts";
import { Tally } from "../../host/hallelu/tally.ts";
import { seeded } from "../run.ts";

const test = suite("host/hallelu: what streams are made of");
const FRAME = 512 << 10;

test("a body is cut into pieces of whole records, whatever its chunks", () => {
  const line = fc.integer({ min: 0, max: 100_000 });
  fc.assert(
    fc.property(
      fc.array(line, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1000, max: 300_000 }),
      (lengths, size) => {
        const text = Buffer.from(lengths.map((length, i) => `${i % 10}`.repeat(length)).join("\n"));
        const chunks: Buffer[] = [];
        for (let at = 0; at < text.length; at += size) chunks.push(text.subarray(at, at + size));
        if (!chunks.length) chunks.push(Buffer.from("\n"));
        const pieces = cutBody({ source: 0, quotes: false, delimiter: 0, chunks });
        for (const { body, bytes } of pieces) {
          assert.ok(bytes <= FRAME);
          assert.is(body.at(-1)!.at(-1), 0x0a, "a piece ends with a record");
        }
        const joined = Buffer.concat(pieces.flatMap(({ body }) => body));
        assert.ok(
          joined.equals(
            Buffer.concat([
              text.length ? text : Buffer.from(""),
              Buffer.from(text.at(-1) === 0x0a || !text.length ? (text.length ? "" : "\n") : "\n"),
            ]),
          ),
        );
      },
    ),
    seeded(60),
  );
});

test("quoted line feeds do not end a record", () => {
  const record = `"${"x\n".repeat(1000)}",1\n`;
  const chunks = [Buffer.from(record.repeat(400))];
  const pieces = cutBody({ source: 0, quotes: true, delimiter: 0x2c, chunks });
  assert.ok(pieces.length > 1);
  for (const { bytes } of pieces) assert.is(bytes % record.length, 0);
});

/** An intake whose frames are tallied as a log does it; the log can be made to refuse. */
function logging(onFrame: (frame: IntakeFrame) => void) {
  const tally = new Tally();
  const state = { frames: 0, refuses: false };
  const intake = new Intake(async (list) => {
    await new Promise((done) => setTimeout(done, 2));
    if (state.refuses) throw new HallelujahError("disk-full", "no room");
    for (const frame of list) {
      onFrame(frame);
      tally.add(state.frames++, 0, Buffer.from(JSON.stringify({ producers: frame.producers })));
    }
    return state.frames - 1;
  }, tally);
  return { intake, tally, state };
}

test("where a producer's body cannot be stored, none behind it is, and the same may come again", async () => {
  const stored: string[] = [];
  const { intake, state } = logging(({ producers }) => stored.push(...producers.map(([, n]) => String(n))));
  const body = { source: 0, quotes: false, delimiter: 0, chunks: [Buffer.from("a\n")], producer: "p" };
  const codeOf = (sequence: number) =>
    intake.take({ ...body, sequence }).then(
      () => "stored",
      ({ code }: HallelujahError) => code,
    );
  assert.is(await codeOf(1), "stored");
  state.refuses = true;
  const refused = codeOf(2);
  await new Promise((done) => setImmediate(done)); // it is being written
  const behind = [codeOf(3), codeOf(4)];
  assert.equal(await Promise.all([refused, ...behind]), ["disk-full", "disk-full", "disk-full"]);
  state.refuses = false;
  assert.is(await codeOf(3), "sequence-gap");
  assert.equal(await Promise.all([codeOf(2), codeOf(3), codeOf(3), codeOf(1)]), Array(4).fill("stored"));
  assert.equal(stored, ["1", "2", "3"]);
});

test("small bodies that come together share a frame; a producer's body is taken once", async () => {
  const written: number[] = [];
  const { intake } = logging(({ bytes }) => written.push(bytes));
  const body = (text: string, more = {}) => ({
    source: 0,
    quotes: false,
    delimiter: 0,
    chunks: [Buffer.from(text)],
    ...more,
  });
  const answers = await Promise.all(Array.from({ length: 20 }, () => intake.take(body("a\n"))));
  assert.ok(Math.max(...answers) <= 1);
  assert.is(
    written.reduce((sum, bytes) => sum + bytes, 0),
    40,
  );
  const numbered = (sequence: number) => intake.take(body("b\n", { producer: "p", sequence }));
  const first = await numbered(1);
  assert.is(await numbered(1), first);
  try {
    await numbered(3);
    assert.unreachable();
  } catch (error) {
    assert.is((error as { code: string }).code, "sequence-gap");
  }
  assert.ok((await numbered(2)) > first);
});

test("the output of frames comes out once, in order, whatever the number of owners", () => {
  const split = fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: 3 });
  fc.assert(
    fc.property(
      fc.array(split, { minLength: 1, maxLength: 8 }),
      fc.infiniteStream(fc.nat()),
      (cuts, choices) => {
        const assembler = new Assembler(0, () => true);
        const words: (() => string[])[] = [];
        const text = (frames: { bytes: Uint8Array[] }[]) =>
          frames.map(({ bytes }) => Buffer.concat(bytes).toString());
        cuts.forEach((cut, frame) => {
          const borders = [0, ...new Set(cut.toSorted((a, b) => a - b)), 256];
          words.push(() => text(assembler.mapped(frame, Buffer.from(`m${frame} `), 1)));
          for (let i = 0; i + 1 < borders.length; i++) {
            const [from, to] = [borders[i], borders[i + 1]];
            const stage = (name: string) =>
              Buffer.from(Array.from({ length: to - from }, (_, p) => `${name}${from + p} `).join(""));
            const late = { late: 0, lateEmitted: [], lateRows: 0 };
            const output = { frame, from, to, emitted: [stage("f"), stage("c")], emittedRows: 1, ...late };
            words.push(
              () => text(assembler.applied(output)),
              () => text(assembler.applied(output)),
            );
          }
        });
        const all: string[] = [];
        while (words.length) all.push(...words.splice(choices.next().value! % words.length, 1)[0]());
        const row = (name: string) => Array.from({ length: 256 }, (_, p) => `${name}${p} `).join("");
        assert.equal(
          all,
          cuts.map((_, frame) => `m${frame} ${row("f")}${row("c")}`),
        );
      },
    ),
    seeded(60),
  );
});

test("a frame comes out once when its owners are lost half way, and others tell the same of other partitions", () => {
  const borders = fc
    .array(fc.integer({ min: 1, max: 255 }), { maxLength: 3 })
    .map((cut) => [0, ...new Set(cut.toSorted((a, b) => a - b)), 256]);
  const rows = (from: number, to: number) =>
    Buffer.from(Array.from({ length: to - from }, (_, p) => `${from + p} `).join(""));
  fc.assert(
    fc.property(borders, borders, fc.nat(3), fc.infiniteStream(fc.nat()), (before, after, told, choices) => {
      const assembler = new Assembler(0, () => true);
      const wordsOf = (of: number[]) =>
        of.slice(1).map((to, i) => {
          const late = { late: 0, lateEmitted: [], lateRows: 0 };
          return { frame: 0, from: of[i], to, emitted: [rows(of[i], to)], emittedRows: to - of[i], ...late };
        });
      const out = assembler.mapped(0, undefined, 0);
      const first = wordsOf(before).slice(0, told);
      for (const each of first) out.push(...assembler.applied(each));
      const again = wordsOf(after);
      while (again.length)
        out.push(...assembler.applied(again.splice(choices.next().value! % again.length, 1)[0]));
      assert.equal(
        out.map(({ bytes }) => Buffer.concat(bytes).toString()),
        [rows(0, 256).toString()],
      );
      assert.is(out[0].rows, 256);
    }),
    seeded(200),
  );
});

test("where partitions have nobody, frames come out without them, and not before all others have spoken", () => {
  const assembler = new Assembler(0, () => true);
  const word = (frame: number, from: number, to: number) => ({
    frame,
    from,
    to,
    emitted: [Buffer.from(`${from}-${to} `)],
    emittedRows: 1,
    late: 0,
    lateEmitted: [],
    lateRows: 0,
  });
  const text = (frames: { bytes: Uint8Array[] }[]) =>
    frames.map(({ bytes }) => Buffer.concat(bytes).toString());
  for (const frame of [0, 1]) assert.equal(assembler.mapped(frame, undefined, 0), []);
  assert.equal(assembler.applied(word(0, 0, 128)), []);
  assert.equal(assembler.applied(word(1, 100, 200)), []);
  assert.equal(text(assembler.abandon(0, 128)), [], "the one from 128 on has not");
  assert.equal(text(assembler.applied(word(0, 128, 256))), ["0-128 128-256 "]);
  assert.equal(text(assembler.applied(word(1, 200, 256))), ["100-200 200-256 "]);
});

test("neighbours on disk are taken up together where there are fewer Jahs than shards", () => {
  const shards = (...borders: [number, number][]) =>
    borders.map(([from, to]) => ({ folder: `shard-${from}`, from, to, start: 0 }));
  const sizes = (stored: StoredShard[], jahs: number) =>
    groupsOf(stored, jahs).map((group) => group.map(({ from }) => from));
  const four = shards([0, 64], [64, 128], [128, 192], [192, 256]);
  assert.equal(sizes(four, 4), [[0], [64], [128], [192]]);
  assert.equal(sizes(four, 3), [
    [0, 64],
    [128, 192],
  ]);
  assert.equal(sizes(four, 1), [[0, 64, 128, 192]]);
  assert.equal(sizes(four, 0), [[0, 64, 128, 192]]);
  assert.equal(sizes([], 1), []);
  // What lies between is unavailable, or somebody has it.
  assert.equal(sizes(shards([0, 64], [128, 192], [192, 256]), 1), [[0], [128, 192]]);
});

test("a frame of a file that starts in the wrong place is mapped again from the right one", () => {
  const chains = new Chains();
  for (const frame of [0, 2, 3]) chains.logged(5, frame);
  assert.is(chains.mapped(5, 2, 100, 200), undefined);
  assert.equal(chains.mapped(5, 0, 0, 110), { frame: 2, start: 110 });
  assert.is(chains.startOf(5, 2), 110);
  assert.is(chains.mapped(5, 3, 200, 300), undefined);
  assert.is(chains.mapped(5, 2, 110, 200), undefined);
  assert.is(chains.mapped(5, 3, 200, 300), undefined);
});

test("a deploy is refused when the busy streams need all CPUs, with the cheapest offer first", () => {
  const load = (stream: string, busy: boolean, min: number, seconds: number) => ({
    stream,
    min,
    max: 2,
    busy,
    backlogSeconds: seconds,
    jahs: [
      { jah: 1, kind: "persistent" as const, idleMs: 0 },
      { jah: 2, kind: "transient" as const, idleMs: 0 },
    ],
  });
  assert.is(admit([load("a", true, 1, 0), load("b", false, 1, 0)], 2, 1).admitted, true);
  const { admitted, offers } = admit([load("a", true, 1, 4), load("b", true, 1, 2)], 2, 1);
  assert.is(admitted, false);
  assert.equal(offers, [
    { stream: "b", jahs: 2, min: 1, backlogSeconds: 4 },
    { stream: "a", jahs: 2, min: 1, backlogSeconds: 8 },
  ]);
  assert.is(admit([], 2, 3).admitted, false);
});

test.run();
