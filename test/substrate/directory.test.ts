/** Which host has which stream. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MemoryRegistry } from "../../host/store/registry.ts";
import { Directory } from "../../host/substrate/directory.ts";

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "none",
    ({ code }: { code: string }) => code,
  );

const registry = new MemoryRegistry();
const a = new Directory(registry, { host: "a", folder: "folder a" });
const b = new Directory(registry, { host: "b", folder: "folder b" });
test.before.each(async () => {
  for (const key of registry.list("")) await registry.delete(key);
});

test("a name is one host's, until that gives it back", async () => {
  await a.claim("s");
  await a.claim("s");
  assert.is(await codeOf(b.claim("s")), "stream-exists");
  assert.equal([a.elsewhere("s"), b.elsewhere("s"), b.elsewhere("t")], [undefined, "a", undefined]);
  assert.equal([a.others.size, [...b.others]], [0, [["s", "a"]]]);
  await b.release("s");
  assert.is(b.elsewhere("s"), "a", "it is not its own");
  await a.release("s");
  await b.claim("s");
  assert.is(a.elsewhere("s"), "b");
});

test("of two that claim a name at once one has it", async () => {
  const codes = await Promise.all([a, b].map((each) => codeOf(each.claim("s"))));
  assert.equal(codes.toSorted(), ["none", "stream-exists"]);
});

test("a claim that meets another change is made again, and finds who was first", async () => {
  let isFirst = true;
  const late = Object.assign(Object.create(registry) as MemoryRegistry, {
    get: (key: string) => (isFirst ? ((isFirst = false), undefined) : registry.get(key)),
  });
  await a.claim("s");
  assert.is(await codeOf(new Directory(late, { host: "b", folder: "folder b" }).claim("s")), "stream-exists");
});

test("a host is known by its data folder, whatever it is called", async () => {
  await a.claim("s");
  const renamed = new Directory(registry, { host: "z", folder: "folder a" });
  assert.is(renamed.elsewhere("s"), undefined);
  await renamed.claim("s");
  assert.is(b.elsewhere("s"), "z");
});

test("what was edited by hand is nobody's, and can be claimed", async () => {
  for (const value of [7, null, {}, { host: "a" }, { host: 1, folder: "f" }]) {
    await registry.put("streams/s", value);
    assert.is(a.elsewhere("s"), undefined);
    assert.is(a.others.size, 0);
    await b.claim("s");
    assert.is(a.elsewhere("s"), "b");
    await b.release("s");
  }
});

test("what is to be taken over is what a plan says, by entries and hosts of one moment, and is taken as it was planned", async () => {
  const host = { url: "", cpus: 1, memoryBytes: 1, version: "1", process: "p", epoch: 1 };
  for (const name of ["a", "b", "c"])
    await registry.put(`hosts/${name}`, {
      ...host,
      name,
      folder: `folder ${name}`,
      state: name === "c" ? "lost" : "up",
    });
  const c = new Directory(registry, { host: "c", folder: "folder c" });
  const [first, second] = [await c.create("s1", {}), await c.create("s2", {})];
  await c.claim("alone");
  assert.equal([[...a.orphans], [...b.orphans], [...c.orphans]], [[["s1", first]], [["s2", second]], []]);
  const late = Object.assign(Object.create(registry) as MemoryRegistry, { isWhole: false });
  assert.is(new Directory(late, { host: "a", folder: "folder a" }).orphans.size, 0);

  assert.is(
    new Directory(registry, { host: "a", folder: "folder z" }).orphans.size,
    0,
    "its name is another's",
  );

  assert.ok(await a.take("s1", first));
  assert.equal(a.get("s1"), { ...first, host: "a", folder: "folder a", epoch: 2 });
  assert.not.ok(await b.take("s1", first), "it is led by another one by now");
  assert.equal([a.orphans.size, b.orphans.size], [0, 1]);
});

test.run();
