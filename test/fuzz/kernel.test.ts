/** Modules that anybody may send: their sections, what they say of themselves, and their source maps. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel, descriptorOf } from "../../host/compiler/cache.ts";
import {
  type KernelDescriptor,
  sectionNames,
  sectionText,
  withSections,
} from "../../host/compiler/descriptor.ts";
import { KernelPlaces } from "../../host/compiler/places.ts";
import { packageRoot } from "../../host/core/package-root.ts";
import { checkModule, readModule } from "../../host/hallelu/module.ts";
import { parseKey } from "../../host/kernel/keys.ts";
import { orderColumns, parseOrder } from "../../host/kernel/order.ts";
import { scratch } from "../run.ts";
import { cases, damage, noise, outcomeNow, outcomeOf } from "./mutate.ts";

const test = suite("fuzz: modules of kernels");
const root = mkdtempSync(join(scratch(), "fuzz-kernel-"));
const built = await buildKernel(join(packageRoot, "examples", "stations.ts"));
const wasm = readFileSync(built.path);
const { descriptor } = built;

/** An empty module, with these sections. */
const EMPTY = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const moduleOf = (text: string) => Buffer.from(withSections(EMPTY, { [sectionNames.descriptor]: text }));

/** All that the host makes of a descriptor without asking the module works, or is refused in words. */
function useDescriptor({ tables, input, outputs }: KernelDescriptor): void {
  for (const table of tables) {
    for (const text of ["1", "[1,2]", '"a"', "true", "x"]) outcomeNow(() => parseKey(table.key, text));
    for (const column of orderColumns(table)) parseOrder(column, table);
    outcomeNow(() => parseOrder("-nothing", table));
  }
  for (const { fields } of [input, ...outputs])
    for (const { name, source, type } of fields) assert.ok(name && source && type);
}

test("sections are read as they were written, and any bytes are a module's or no module's", () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1 }),
      fc.string(),
      fc.string(),
      damage,
      noise,
      (name, text, other, change, odd) => {
        const bytes = Buffer.from(withSections(EMPTY, { [`${name}-`]: other, [name]: text }));
        const utf8 = (string: string) => Buffer.from(string).toString();
        assert.is(sectionText(bytes, utf8(name)), utf8(text));
        for (const changed of [change(bytes), odd, Buffer.concat([EMPTY, odd])]) {
          const found = sectionText(changed, utf8(name));
          assert.ok(found === undefined || found.length <= changed.length);
        }
      },
    ),
    cases(1000),
  );
});

test("a section that claims more bytes than there are is none", () => {
  const name = sectionNames.descriptor;
  const body = Buffer.from(`${String.fromCharCode(name.length)}${name}${JSON.stringify(descriptor)}`);
  const sized = (...size: number[]) => Buffer.concat([EMPTY, Buffer.from([0, ...size]), body]);
  const [low, high] = [(body.length & 0x7f) | 0x80, body.length >> 7];
  assert.equal(descriptorOf(sized(low, high), "it"), descriptor);
  for (const wrong of [
    sized(low + 1, high),
    sized(low, high + 1),
    sized(0xff, 0xff, 0xff, 0xff, 0x0f),
    sized(0xff, 0xff, 0xff, 0xff, 0x7f),
    sized(low, high | 0x80, 0x80, 0x80, 0x80, 0),
    sized(...(Array(400).fill(0x80) as number[]), 0),
  ]) {
    assert.is(sectionText(wrong, name), undefined);
    assert.is(outcomeNow(() => descriptorOf(wrong, "it")).error?.code, "kernel-invalid");
  }
});

test("a descriptor is what the host can trust, or is refused", () => {
  assert.equal(descriptorOf(moduleOf(JSON.stringify(descriptor)), "it"), descriptor);
  /** Values that take the place of any part of it. */
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 1 }),
    fc.constantFrom(null, -1, 1e300, "", "f64", [], {}, [null], "__proto__"),
  );
  const paths: (string | number)[][] = [];
  const walk = (node: unknown, path: (string | number)[]) => {
    paths.push(path);
    if (typeof node === "object" && node !== null)
      for (const key of Object.keys(node)) walk((node as Record<string, unknown>)[key], [...path, key]);
  };
  walk(descriptor, []);
  fc.assert(
    fc.property(fc.constantFrom(...paths), fc.option(value), (path, replacement) => {
      const changed = structuredClone(descriptor) as unknown as Record<string | number, unknown>;
      let node = changed;
      for (const key of path.slice(0, -1)) node = node[key] as typeof node;
      if (!path.length) Object.assign(node, { tables: replacement });
      else if (replacement === null) delete node[path.at(-1)!];
      else node[path.at(-1)!] = replacement;
      const { value: found, error } = outcomeNow(() => descriptorOf(moduleOf(JSON.stringify(changed)), "it"));
      if (error) assert.ok(["kernel-invalid", "kernel-version"].includes(error.code));
      else useDescriptor(found!);
    }),
    cases(3000),
  );
});

test("types that no kernel has are refused by name", () => {
  for (const [change, what] of [
    [(it: KernelDescriptor) => (it.tables[0].key = ["f64"]), "tables.0.key.0"],
    [(it: KernelDescriptor) => (it.tables[0].key = []), "tables.0.key"],
    [(it: KernelDescriptor) => (it.input.fields[0].type = "toString"), "input.fields.0.type"],
    [(it: KernelDescriptor) => (it.tables = Array(65).fill(it.tables[0]) as never), "tables"],
  ] as const) {
    const wrong = structuredClone(descriptor);
    change(wrong);
    const { error } = outcomeNow(() => descriptorOf(moduleOf(JSON.stringify(wrong)), "it"));
    assert.is(error?.code, "kernel-invalid");
    assert.ok(error!.message.includes(what), error!.message);
  }
});

test("a module that was changed is a kernel, or is refused; nothing of it is run", async () => {
  assert.equal(await checkModule(wasm), descriptor);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        damage.map((change) => change(wasm)),
        noise,
      ),
      async (bytes) => {
        const { value, error } = await outcomeOf(() => checkModule(bytes));
        if (error) assert.ok(["kernel-invalid", "kernel-version"].includes(error.code), error.code);
        else useDescriptor(value!);
      },
    ),
    cases(150),
  );
});

test("a stream's module on disk is what was deployed, or is said not to be", () => {
  const kernel = join(root, "kernel-1.wasm");
  const record = { kernel, moduleSums: { "kernel-1.wasm": crc32(wasm) } };
  fc.assert(
    fc.property(damage, (change) => {
      const changed = change(wasm);
      writeFileSync(kernel, changed);
      const { value, error } = outcomeNow(() => readModule(record));
      if (error)
        assert.ok(["kernel-damaged", "kernel-invalid", "kernel-version"].includes(error.code), error.code);
      else assert.equal(value, descriptor);
      assert.is(error === undefined, changed.equals(wasm));
    }),
    cases(200),
  );
  // Records of before there were checksums name none.
  writeFileSync(kernel, wasm);
  assert.equal(readModule({ kernel }), descriptor);
});

test("a source map that is none names no place", () => {
  const stack = "at each (wasm://wasm/1:wasm-function[3]:0x20)";
  const map = JSON.stringify({
    version: 3,
    sources: ["a/stations.ts"],
    names: [],
    mappings: "AAAA,CAAC;AACA",
  });
  const path = join(root, "map.wasm");
  fc.assert(
    fc.property(
      fc.oneof(
        damage.map((change) => change(Buffer.from(map)).toString()),
        fc.json(),
        fc.string(),
      ),
      (text) => {
        writeFileSync(path, withSections(EMPTY, { [sectionNames.sourceMap]: text }));
        const place = new KernelPlaces(path, "stations.ts").of(stack);
        assert.ok(place === undefined || place.includes("stations.ts"));
      },
    ),
    cases(400),
  );
  for (const odd of [
    { sources: [1, null] },
    { mappings: 5 },
    { sections: [null] },
    { sources: null },
    { mappings: "A" },
  ]) {
    writeFileSync(
      path,
      withSections(EMPTY, { [sectionNames.sourceMap]: JSON.stringify({ ...JSON.parse(map), ...odd }) }),
    );
    new KernelPlaces(path, "stations.ts").of(stack);
  }
});

test.run();
