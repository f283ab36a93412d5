import { mkdirSync, mkdtempSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Outputs } from "../../host/store/outputs.ts";
import { FileRegistry, MemoryRegistry, type Registry } from "../../host/store/registry.ts";
import { scratch } from "../run.ts";

const test = suite("host/store");
const folder = () => mkdtempSync(join(scratch(), "store-"));
async function code(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "none";
}

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

test("output that is trimmed while it is read is said to be; what is kept can be read from any row, also when it is opened again", async () => {
  const path = folder();
  const open = () => Outputs.open(path, 6000, 1000);
  let outputs = await open();
  const row = (number: number) => `row ${number}`.padEnd(40, "-");
  const stop = new AbortController();
  let rows = 0;
  for (let frame = 0; frame < 100; frame++) {
    const count = 1 + (frame % 4);
    const lines = Array.from({ length: count }, (_, i) => `${row(rows + i)}\n`);
    await outputs.append(Buffer.from(lines.join("")), count, frame);
    rows += count;
    if (frame % 20 !== 19) continue;
    await outputs.sync();
    await outputs.close();
    outputs = await open();
    assert.equal([outputs.next, outputs.lastFrame], [rows, frame]);
    for (let from = outputs.first; from < rows; from += 7) {
      let next = from;
      for await (const { from: at, count: some, bytes } of outputs.read(from, stop.signal)) {
        assert.is(at, next);
        const texts = bytes.toString().trim().split("\n");
        assert.equal(
          texts,
          Array.from({ length: some }, (_, i) => row(at + i)),
        );
        next += some;
        if (next >= rows) break;
      }
    }
  }
  assert.ok(outputs.first > 0);
  const slow = outputs.read(outputs.first, stop.signal);
  await slow.next();
  for (let frame = 100; frame < 200; frame++) await outputs.append(Buffer.from(`${row(0)}\n`), 1, frame);
  assert.is(await code(() => slow.next()), "output-trimmed");
  assert.throws(
    () => outputs.read(outputs.first - 1, stop.signal),
    (error: { code: string }) => error.code === "output-trimmed",
  );
  await outputs.close();
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
