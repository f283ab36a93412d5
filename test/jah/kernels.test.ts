/** The versions of a kernel in one Jah: what is kept of them, and for how long. */
import { closeSync, openSync } from "node:fs";
import { crc32 } from "node:zlib";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { buildKernel } from "../../host/compiler/cache.ts";
import { fitState } from "../../host/compiler/fit.ts";
import { Kernels } from "../../host/jah/kernels.ts";
import { createMemory } from "../../host/kernel/instance.ts";
import { kernelFile, write } from "../run.ts";

const test = suite("host/jah/kernels.ts: the versions of a kernel");

test("files that versions of before have read are not kept open", async () => {
  const { path: kernel, descriptor } = await buildKernel(kernelFile("one"));
  const source = { format: "ndjson" as const, size: 0, dataStart: 0, delimiter: 0, plan: [] };
  const fit = fitState(descriptor, descriptor);
  const versionOf = (version: number) => ({
    version,
    from: version - 1,
    kernel,
    fit,
    sources: [source],
    columns: [],
  });
  const kernels = new Kernels(createMemory(64 << 20), [versionOf(1)], 1);
  const bytes = Buffer.from('{"a":"x"}\n');
  const path = write("log", bytes);
  // A system gives out the lowest descriptor that is free.
  const lowestFree = () => {
    const fd = openSync(path, "r");
    closeSync(fd);
    return fd;
  };
  const before = lowestFree();
  for (let version = 1; version <= 8; version++) {
    if (version > 1) {
      kernels.add(versionOf(version));
      kernels.advance();
    }
    const frame = version - 1;
    const task = { kind: "slice" as const, frame, source: 0, path, offset: 0, bytes: bytes.length };
    const { done } = kernels.mapperOf(frame).mapRead({ ...task, sum: crc32(bytes) }, undefined, undefined);
    assert.is(done.rows, 1);
    assert.ok(
      lowestFree() <= before + 2,
      "that of the version, and of the one before, whose frames may come again",
    );
  }
  assert.is(lowestFree(), before + 2);
  kernels.close();
  assert.is(lowestFree(), before);
});

test.run();
