/** The versions of a stream's kernel: what is said of those that are rolled back. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { Versions } from "../../host/hallelu/versions.ts";

const test = suite("host/hallelu/versions.ts: the versions of a kernel");

/** Version 1, and two on trial: version 2 from frame 10 on, 3 from frame 12. */
function versionsOf(): Versions {
  const record = { name: "s", version: 1, kernel: "kernel-1.wasm", file: "a.ts" } as StreamRecord;
  const versions = new Versions(record, "", {} as KernelDescriptor);
  for (const from of [10, 12]) {
    const module = `kernel-${versions.next}.wasm`;
    versions.add({ from, module, file: "b.ts", how: "swapped" });
  }
  return versions;
}
const errors = ({ all }: Versions) => all.map(({ version, error }) => [version, error]);

test("one that is rolled back as a later one stopped says so, and not with the error of that", () => {
  const versions = versionsOf();
  assert.is(versions.rollBack(3, "no 77").version, 1);
  const [one, two, three, four] = errors(versions);
  assert.equal(
    [one, three, four],
    [
      [1, undefined],
      [3, "no 77"],
      [4, undefined],
    ],
  );
  assert.match(String(two[1]), /^together with version 3, which stopped while this one was still on trial$/);
  assert.equal([versions.current.version, versions.current.sameAs, versions.current.from], [4, 1, 10]);
});

test("one that is rolled back with the one before it says why that stopped", () => {
  const versions = versionsOf();
  versions.rollBack(2, "no 77");
  const [, two, three] = errors(versions);
  assert.is(two[1], "no 77");
  assert.match(String(three[1]), /^together with version 2, which it came after: no 77$/);
  assert.is(versions.current.sameAs, 1);
});

test("one that goes alone leaves those before it on trial; and what goes on for it goes with them", () => {
  const versions = versionsOf();
  assert.is(versions.rollBack(3, "untold", versions.find(3)).version, 2);
  assert.equal([versions.current.version, versions.current.sameAs, versions.current.from], [4, 2, 12]);
  assert.equal([versions.trial?.version, versions.confirmed], [2, 1]);
  assert.equal(
    [9, 10, 12].map((frame) => versions.of(frame).version),
    [1, 2, 4],
  );
  assert.is(versions.rollBack(4, "no 77").version, 1);
  const [, two, three, four] = errors(versions);
  assert.match(String(two[1]), /^together with version 4/);
  assert.equal(
    [three, four],
    [
      [3, "untold"],
      [4, "no 77"],
    ],
  );
  assert.equal([versions.current.sameAs, versions.current.from], [1, 10]);
  assert.is(versions.trial, undefined);
});

test.run();
