/** What a Hallelu reads: bodies as they come, bodies of dead letters, and which frame a Jah was stuck in. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import { parseRetain } from "../../host/core/retain.ts";
import { DeadBodies } from "../../host/hallelu/dead-bodies.ts";
import { DeadLetters } from "../../host/hallelu/dead-letters.ts";
import { Failures, type FailuresParts } from "../../host/hallelu/failures.ts";
import { LocalHome } from "../../host/hallelu/home.ts";
import { cutBody } from "../../host/hallelu/intake.ts";
import type { Jah } from "../../host/hallelu/jahs.ts";
import type { Frames } from "../../host/hallelu/frames.ts";
import { isRecordOf, located, type StreamRecord } from "../../host/hallelu/record.ts";
import { Shapes } from "../../host/hallelu/shapes.ts";
import { Log } from "../../host/store/log.ts";
import { MemoryRegistry } from "../../host/store/registry.ts";
import { scratch } from "../run.ts";
import { cases, damage, noise, outcomeNow, outcomeOf } from "./mutate.ts";

const test = suite("fuzz: host/hallelu");
const root = mkdtempSync(join(scratch(), "fuzz-hallelu-"));
let folders = 0;
function folder(): string {
  const path = join(root, String(folders++));
  mkdirSync(path);
  return path;
}

// --- the registry's records --------------------------------------------------------------------------------------------

test("any value of the registry is a record whose files lie below the streams' folder, or none", () => {
  const data = folder();
  const streams = join(data, "streams");
  const names = fc.oneof(fc.constantFrom("s", "a-1", "..", "../s", "a/b", "", "S"), fc.string());
  const kernels = fc.oneof(
    fc.constantFrom("kernel-1.wasm", "../../kernel-1.wasm", "/etc/passwd"),
    fc.string(),
  );
  const value = fc.oneof(
    fc.jsonValue(),
    fc.record({ name: names, kernel: fc.oneof(kernels, fc.jsonValue()) }),
  );
  let found = 0;
  fc.assert(
    fc.property(names, value, (name, any) => {
      if (!isRecordOf(name, any)) return;
      found++;
      assert.is(any.name, name);
      const { kernel } = located(any, data);
      assert.ok(
        kernel === join(streams, name) || dirname(kernel) === join(streams, name) || kernel === streams,
        kernel,
      );
    }),
    cases(1000),
  );
  for (const none of [
    null,
    undefined,
    7,
    "s",
    [],
    {},
    { name: "s" },
    { kernel: "k" },
    { name: "t", kernel: "k" },
  ])
    assert.not(isRecordOf("s", none), JSON.stringify(none));
  assert.not(isRecordOf("../s", { name: "../s", kernel: "k" }));
  assert.ok(isRecordOf("s", { name: "s", kernel: "k" }));
  assert.ok(found, "none was a record");
});

// --- bodies of records ---------------------------------------------------------------------------------------------

const field = (name: string) => ({ name, source: name, type: "Text", optional: false, offset: 0 });
const kernel = {
  input: { name: "Row", fields: [field("a"), field("b")], size: 16 },
} as unknown as KernelDescriptor;

function chunksOf(bytes: Buffer, sizes: number[]): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length];
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
}

/** What is logged of a body that comes in these chunks: the shape of its source, and its records. */
function taken(bytes: Buffer, sizes: number[], format: "csv" | "ndjson" | "lines") {
  const shapes = new Shapes([], kernel, () => {});
  const body = shapes.read({ format, chunks: chunksOf(bytes, sizes), bytes: bytes.length });
  const pieces = body.chunks.length ? cutBody(body) : [];
  const { delimiter, plan } = shapes.sources[body.source];
  return {
    delimiter,
    plan,
    records: Buffer.concat(pieces.flatMap((piece) => piece.body)).toString("latin1"),
  };
}

const piece = fc.oneof(
  fc.constantFrom("a,b\n", "b;a\r\n", "1,2\n", '"x\ny",3\n', '{"a":1}\n', "\n", "\ufeff", '"'),
  fc.string(),
);
const bodies = fc.array(piece, { maxLength: 12 }).map((pieces) => Buffer.from(pieces.join("")));

test("a body is the same records in whatever chunks it comes, or is refused in all of them", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 });
  const format = fc.constantFrom("csv" as const, "ndjson" as const, "lines" as const);
  fc.assert(
    fc.property(
      fc.oneof(
        bodies,
        bodies.map((body) => Buffer.concat([Buffer.from("a,b\n"), body])),
        noise,
      ),
      sizes,
      format,
      (bytes, cut, of) => {
        const whole = outcomeNow(() => taken(bytes, [1 << 20], of));
        const parts = outcomeNow(() => taken(bytes, cut, of));
        assert.equal(parts.value, whole.value);
        assert.is(parts.error?.code, whole.error?.code);
        if (whole.error)
          assert.ok(["body-invalid", "record-too-large"].includes(whole.error.code), whole.error.code);
      },
    ),
    cases(1500),
  );
});

test("a header line that comes a byte at a time is read as a whole", () => {
  const bytes = Buffer.from('b,something else,"a"\n1,2,3\n');
  assert.equal(taken(bytes, [1], "csv"), taken(bytes, [100], "csv"));
  assert.is(taken(bytes, [1], "csv").records, "1,2,3\n");
  const wide = Buffer.from(`${"x".repeat(100_000)},b,a\n1,2,3\n`);
  assert.is(taken(wide, [1000], "csv").records, "1,2,3\n");
});

test("any text says what a log retains, or nothing", () => {
  const part = fc.oneof(
    fc.nat().map(String),
    fc.constantFrom("gb", "d", "all", "applied", " ", ".", "-", "e9", "Infinity"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 4 }), (parts) => {
      const { value, error } = outcomeNow(() => parseRetain(parts.join("")));
      if (error) return assert.is(error.code, "retain-invalid");
      if (value!.kind === "bytes") assert.ok(Number.isSafeInteger(value!.bytes) && value!.bytes >= 0);
      if (value!.kind === "age") assert.ok(Number.isSafeInteger(value!.ms) && value!.ms >= 0);
    }),
    cases(1000),
  );
});

// --- what was set aside --------------------------------------------------------------------------------------------

test("the records of a dead letter are what was written, or are said to be damaged", async () => {
  const path = folder();
  const log = await Log.open(join(path, "log"));
  const body = Buffer.from('{"a":1}\n{"a":2}\n');
  await log.append({ kind: 3, body: [body], records: 2 });
  const dead = new DeadLetters([], () => 1);
  const record = { name: "s", dead: [] } as unknown as StreamRecord;
  const home = new LocalHome("s", path, new MemoryRegistry());
  const parts = { folder: path, home, log, dead, save: async () => {}, isOver: () => false, note: () => {} };
  const frames = { retry: async () => 0 } as unknown as Frames;
  const letters = new DeadBodies(record, { ...parts, frames, onKept: () => {}, fail: () => {} });
  letters.setAside({ frame: 0, from: 0, to: 256, stage: "map", message: "it stops" });
  await letters.settled;
  assert.ok((await letters.read(0)).equals(body));
  const file = join(path, "dead", "0");
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        damage.map((change) => change(body)),
        noise,
      ),
      async (bytes) => {
        writeFileSync(file, bytes);
        const { value, error } = await outcomeOf(() => letters.read(0));
        if (error) assert.is(error.code, "dead-letter-damaged");
        else assert.ok(value!.equals(body));
        assert.is(error === undefined, bytes.equals(body));
      },
    ),
    cases(200),
  );
  await log.close();
});

test("the file of a Jah that was stuck names a frame, or says nothing", () => {
  const path = folder();
  const stopped: number[] = [];
  const setAside = ({ frame }: { frame: number }) => void stopped.push(frame);
  const parts = {
    folder: path,
    placesOf: () => ({ of: () => undefined }),
    rollBack: () => false,
    frameTimeoutMs: 1000,
    dead: { failed: () => "aside", isDecided: () => false },
    bodies: { setAside },
    shards: {
      dispatch: {
        partitionsOf: () => ({ from: 0, to: 256 }),
        hadFrame: () => false,
        isOut: () => false,
        wasMapped: () => false,
        withhold: () => {},
      },
    },
    fail: () => {},
    note: () => {},
  } as unknown as FailuresParts;
  const failures = new Failures({ kernel: join(path, "k.wasm") } as StreamRecord, parts);
  const jah = { id: 7 } as Jah;
  const file = failures.stuckFile(jah);
  const told = (content: string | Buffer) => {
    stopped.length = 0;
    writeFileSync(file, content);
    return failures.stuckIn(jah);
  };
  assert.match(told('{"work":12,"kind":1}')!, "frame 12");
  assert.equal(stopped, [12]);
  for (const content of [
    "null",
    "7",
    "{}",
    '{"work":-1,"kind":0}',
    '{"work":"1","kind":0}',
    '{"work":1.5,"kind":0}',
    '{"work":1,"kind":9}',
    '{"work":1}',
    "",
  ]) {
    assert.is(told(content), undefined, content);
    assert.equal(stopped, [], content);
  }
  const text = Buffer.from('{"work":1234567,"kind":0}');
  fc.assert(
    fc.property(
      fc.oneof(
        damage.map((change) => change(text)),
        noise,
      ),
      (bytes) => {
        told(bytes);
        for (const frame of stopped) assert.ok(Number.isSafeInteger(frame) && frame >= 0);
      },
    ),
    cases(400),
  );
});

test.run();
