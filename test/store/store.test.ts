import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Log } from "../../host/store/log.ts";
import { Outputs } from "../../host/store/outputs.ts";
import { FileRegistry, MemoryRegistry, type Registry } from "../../host/store/registry.ts";
import { scratch, seeded } from "../run.ts";

const test = suite("host/store");
const folder = () => mkdtempSync(join(scratch(), "store-"));
const entry = (text: string, head?: string) => ({
  kind: text.length % 7,
  head: head === undefined ? undefined : Buffer.from(head),
  body: [Buffer.from(text.slice(0, 3)), Buffer.from(text.slice(3))],
  records: text.length,
});

async function texts(log: Log): Promise<string[]> {
  const all: string[] = [];
  for (let number = log.first; number < log.next; number++)
    all.push((await log.read(number)).body.toString());
  return all;
}

async function code(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "none";
}

test("a log gives back what was appended, also when it is opened again", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 60 }), { minLength: 1, maxLength: 40 }),
      async (bodies) => {
        const path = folder();
        const log = await Log.open(path, { segmentBytes: 300 });
        const numbers = await Promise.all(
          bodies.map((body, i) => log.append(entry(body, i % 3 ? undefined : `{"i":${i}}`))),
        );
        assert.equal(
          numbers.map(({ number }) => number),
          bodies.map((_, i) => i),
        );
        assert.equal(await texts(log), bodies);
        await log.close();
        const again = await Log.open(path, { segmentBytes: 300 });
        assert.equal(await texts(again), bodies);
        const place = again.place(bodies.length - 1);
        const bytes = readFileSync(place.path).subarray(place.offset, place.offset + place.bytes);
        assert.is(bytes.toString(), bodies.at(-1));
        assert.is(
          again.bytesFrom(0),
          bodies.reduce((sum, body) => sum + Buffer.byteLength(body), 0),
        );
        assert.is((await again.append(entry("more"))).number, bodies.length);
        await again.close();
      },
    ),
    seeded(30),
  );
});

test("a torn tail is cut off, wherever it is torn; what is before it stays", async () => {
  const path = folder();
  const log = await Log.open(path);
  await log.append(entry("first"));
  const [file] = readdirSync(path).map((name) => join(path, name));
  const kept = readFileSync(file).length;
  await log.append(entry("second", "{}"));
  await log.close();
  const whole = readFileSync(file);
  for (let size = kept; size < whole.length; size++) {
    writeFileSync(file, whole.subarray(0, size));
    const torn = await Log.open(path);
    assert.equal(await texts(torn), ["first"], `torn at ${size}`);
    await torn.append(entry("new"));
    assert.equal(await texts(torn), ["first", "new"]);
    await torn.close();
  }
  writeFileSync(file, whole);
  appendFileSync(file, "rubbish behind it");
  assert.equal(await texts(await Log.open(path)), ["first", "second"]);
});

test("entries that are appended together are kept together, wherever the log is torn", async () => {
  const path = folder();
  const log = await Log.open(path);
  await log.append(entry("before"));
  const [file] = readdirSync(path).map((name) => join(path, name));
  const kept = readFileSync(file).length;
  assert.is((await log.appendGroup(["one", "two", "three"].map((text) => entry(text)))).number, 1);
  await log.close();
  const whole = readFileSync(file);
  for (let size = kept; size < whole.length; size++) {
    writeFileSync(file, whole.subarray(0, size));
    const torn = await Log.open(path);
    assert.equal(await texts(torn), ["before"], `torn at ${size}`);
    assert.is((await torn.append(entry("new"))).number, 1);
    await torn.close();
    assert.equal(await texts(await Log.open(path)), ["before", "new"]);
  }
  writeFileSync(file, whole);
  assert.equal(await texts(await Log.open(path)), ["before", "one", "two", "three"]);
});

test("a changed byte loses nothing in silence: the log is the same, is refused, or ends with its last group", async () => {
  const bodies = ["first", "second", "third", "fourth"];
  const path = folder();
  const log = await Log.open(path);
  const places: number[] = [];
  for (const body of bodies) places.push(log.place((await log.append(entry(body, "{}"))).number).offset);
  await log.close();
  const [file] = readdirSync(path).map((name) => join(path, name));
  const whole = readFileSync(file);
  for (let at = 16; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at] ^= 1 << (at % 8);
    writeFileSync(file, changed);
    let opened: Log;
    try {
      opened = await Log.open(path);
    } catch (error) {
      assert.is((error as { code: string }).code, "log-damaged");
      assert.ok(at < places[3] + 2, `byte ${at} is of the last entry, which is a torn one`);
      continue;
    }
    const expected = at < places[2] + 5 ? bodies : bodies.slice(0, 3);
    assert.equal(await texts(opened), expected, `byte ${at}`);
    await opened.close();
  }
});

test("damage before the tail is an error that names the place", async () => {
  const path = folder();
  const log = await Log.open(path, { segmentBytes: 100 });
  for (const text of ["one one one one", "two two two two", "three three three"])
    await log.append(entry(text.repeat(5)));
  await log.close();
  const [first] = readdirSync(path)
    .toSorted()
    .map((name) => join(path, name));
  const bytes = readFileSync(first);
  bytes[20] ^= 1;
  writeFileSync(first, bytes);
  assert.is(await code(() => Log.open(path, { segmentBytes: 100 })), "log-damaged");
  bytes[20] ^= 1;
  bytes[bytes.length - 1] ^= 1;
  writeFileSync(first, bytes);
  const opened = await Log.open(path, { segmentBytes: 100 });
  assert.is(await code(() => opened.read(0)), "log-damaged");
});

test("a full disk refuses an append, keeps nothing of it, and goes on when there is room", async () => {
  const path = folder();
  let full = false;
  const log = await Log.open(path, {
    writer: {
      async writev(handle, buffers, position) {
        const bytes = Buffer.concat(buffers);
        const written = full ? bytes.subarray(0, 10) : bytes;
        await handle.write(written, 0, written.length, position);
        if (full) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
      },
    },
  });
  await log.append(entry("before"));
  full = true;
  assert.is(await code(() => log.append(entry("lost"))), "disk-full");
  full = false;
  await log.append(entry("after"));
  assert.equal(await texts(log), ["before", "after"]);
  await log.close();
  assert.equal(await texts(await Log.open(path)), ["before", "after"]);
});

test("whole segments are forgotten below a number", async () => {
  const log = await Log.open(folder(), { segmentBytes: 100 });
  for (let i = 0; i < 20; i++) await log.append(entry(`entry ${i}`.repeat(8)));
  await log.trim(10);
  assert.ok(log.first > 5 && log.first <= 10);
  assert.is((await log.read(10)).body.toString(), "entry 10".repeat(8));
  assert.throws(() => log.place(log.first - 1));
});

test("output rows have dense numbers; readers start anywhere and follow", async () => {
  const path = folder();
  const outputs = await Outputs.open(path);
  await outputs.append(Buffer.from("a\nb\nc\n"), 3, 0);
  await outputs.append(Buffer.from("d\n"), 1, 4);
  await outputs.append(Buffer.from("again\n"), 1, 4); // of a frame that is there
  const stop = new AbortController();
  const read: string[] = [];
  const reading = (async () => {
    for await (const { from, count, bytes } of outputs.read(1, stop.signal)) {
      read.push(`${from} ${count} ${bytes.toString().trim()}`);
      if (read.length === 3) stop.abort();
    }
  })();
  setTimeout(() => void outputs.append(Buffer.from("e\n"), 1, 5), 10);
  await reading;
  assert.equal(read, ["1 2 b\nc", "3 1 d", "4 1 e"]);
  await outputs.close();
  const again = await Outputs.open(path);
  assert.equal([again.next, again.lastFrame], [5, 5]);
});

for (const [name, open] of [
  ["memory", () => new MemoryRegistry()],
  ["a file", () => new FileRegistry(join(folder(), "registry.json"))],
] as [string, () => Registry][]) {
  test(`a registry in ${name} keeps values, and writes only over what was read`, async () => {
    const registry = open();
    assert.is(registry.get("a"), undefined);
    const first = await registry.put("streams/a", { x: 1 }, 0);
    await registry.put("streams/b", 2);
    assert.is(await code(() => registry.put("streams/a", 3, 0)), "revision-conflict");
    const second = await registry.put("streams/a", { x: 2 }, first);
    assert.equal(registry.get("streams/a"), { value: { x: 2 }, revision: second });
    assert.equal(registry.list("streams/"), ["streams/a", "streams/b"]);
    await registry.delete("streams/b");
    assert.equal(registry.list("streams/"), ["streams/a"]);
  });
}

test("a registry's file holds all of many writes at once", async () => {
  const path = join(folder(), "registry.json");
  const registry = new FileRegistry(path);
  await Promise.all(Array.from({ length: 50 }, (_, i) => registry.put(`k${i}`, i)));
  assert.is(new FileRegistry(path).list("k").length, 50);
});

test("a registry that cannot be written refuses that write, and takes the next", async () => {
  const path = join(folder(), "registry.json");
  const registry = new FileRegistry(path);
  await registry.put("a", 1);
  mkdirSync(`${path}.new`); // what is written first cannot be made
  const refused = await Promise.all(
    [2, 3].map((value) => code(() => registry.put("a", value))).concat(code(() => registry.put("b", 1))),
  );
  assert.equal(refused, Array(3).fill("registry-unwritable"));
  assert.equal([registry.get("a")?.value, registry.get("b")], [1, undefined]);
  rmdirSync(`${path}.new`);
  await registry.put("a", 4);
  await registry.delete("b");
  assert.is(new FileRegistry(path).get("a")?.value, 4);
});

test.run();
