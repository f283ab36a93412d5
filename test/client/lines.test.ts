import { suite } from "uvu";
import * as assert from "uvu/assert";
import { bodiesOf, until } from "../../host/client/lines.ts";
import { random, seedOf } from "../run.ts";

const test = suite("client/lines: bodies of a push");

async function* inChunks(bytes: Buffer, next: () => number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + Math.floor(next() * next() * 400);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function bodies(bytes: Buffer, room: number, header: boolean, next: () => number): Promise<string[]> {
  const all: string[] = [];
  for await (const body of bodiesOf(inChunks(bytes, next), room, header))
    all.push(Buffer.from(body).toString());
  return all;
}

test("bodies are whole lines that fit, and depend on the bytes alone", async () => {
  const next = random(seedOf("bodies"));
  for (let round = 0; round < 200; round++) {
    const lines = Array.from(
      { length: Math.floor(next() * 60) },
      (_, i) => `${i}${"x".repeat(Math.floor(next() ** 8 * 300))}\n`,
    );
    const text = lines.join("") + (next() < 0.5 ? "" : "the last, without an end");
    const header = next() < 0.5;
    const one = await bodies(Buffer.from(text), 100, header, next);
    assert.equal(await bodies(Buffer.from(text), 100, header, next), one);
    const head = header ? (lines[0] ?? "") : "";
    const parts = one.map((body, i) => (i && head ? body.slice(head.length) : body));
    for (const body of one) assert.ok(body.startsWith(head));
    // A header line alone is nothing to push.
    assert.is(parts.join(""), text === head ? "" : text);
    for (const body of one.slice(0, -1)) {
      assert.ok(body.endsWith("\n"));
      const rows = body.slice(head.length).split("\n").length - 1;
      assert.ok(body.length <= 100 || rows <= 1, `${body.length} bytes, ${rows} lines`);
    }
  }
});

test("no body of CSV ends within quotes", async () => {
  const next = random(seedOf("quotes"));
  const rows = Array.from(
    { length: 300 },
    (_, i) => `${i},"${"a\n".repeat(Math.floor(next() * 6))}""q"" ${"y".repeat(Math.floor(next() * 20))}"\n`,
  );
  const text = `n,text\n${rows.join("")}`;
  const all = await bodies(Buffer.from(text), 150, true, next);
  assert.ok(all.length > 20);
  for (const body of all) {
    assert.is((body.match(/"/g) ?? []).length % 2, 0, body);
    assert.match(body.slice("n,text\n".length), /^\d+,/);
  }
  assert.is(`n,text\n${all.map((body) => body.slice(7)).join("")}`, text);
});

test("lines that wait are given after a while, and what is no line yet waits on", async () => {
  const later = () => new Promise((done) => setTimeout(done, 30));
  let flushed = 0;
  const next: (() => void)[] = [];
  async function* slow(): AsyncGenerator<Uint8Array> {
    for (const text of ["n,text\n", "1,a\n2", ',"b\nc"\n3,d', "\n"]) {
      yield Buffer.from(text);
      await new Promise<void>((done) => next.push(done));
    }
  }
  const bodies = bodiesOf(slow(), 100, true, 1, () => flushed++);
  const given: string[] = [];
  const reading = (async () => {
    for await (const body of bodies) given.push(Buffer.from(body).toString());
  })();
  for (const expected of [0, 1, 2, 3]) {
    while (given.length < expected || !next.length) await later();
    next.shift()!();
  }
  await reading;
  assert.equal(given, ["n,text\n1,a\n", 'n,text\n2,"b\nc"\n', "n,text\n3,d\n"]);
  assert.is(flushed, 3);
});

test("quotes that never close stop nothing", async () => {
  const text = `a\n${'5" pipe\n'.repeat(3)}${"x\n".repeat(500)}`;
  const all = await bodies(Buffer.from(text), 60, true, random(1));
  assert.is(`a\n${all.map((body) => body.slice(2)).join("")}`, text);
  for (const body of all) assert.ok(body.length <= 60);
});

test("a line without an end is refused before it fills the memory", async () => {
  let taken = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (; taken < 1000; taken++) yield new Uint8Array(1 << 20).fill(0x61);
  }
  try {
    for await (const _ of bodiesOf(endless(), 1 << 20, false)) assert.unreachable();
    assert.unreachable();
  } catch (error) {
    assert.is((error as { code: string }).code, "record-too-large");
  }
  assert.ok(taken < 20);
});

test("waiting for an item ends with the signal, and what is read is let go", async () => {
  const stop = new AbortController();
  let left = false;
  const items = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<number>>(() => {}),
      return: async () => {
        left = true;
        return { done: true as const, value: undefined };
      },
    }),
  };
  const waiting = until(items, stop.signal).next();
  stop.abort(new Error("enough"));
  await waiting.then(
    () => assert.unreachable(),
    ({ message }) => assert.is(message, "enough"),
  );
  assert.ok(left);
});

test.run();
