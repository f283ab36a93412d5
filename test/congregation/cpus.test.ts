import { suite } from "uvu";
import * as assert from "uvu/assert";
import { chooseCpus, parseList } from "../../host/congregation/cpus.ts";

const test = suite("congregation/cpus: what --cpus takes");

test("a number is how many, a list is which", () => {
  assert.is(chooseCpus("1").cpus.length, 1);
  assert.is(chooseCpus("01").cpus.length, 1);
  const { cpus, warning } = chooseCpus("3000");
  assert.is(new Set(cpus).size, 3000);
  assert.match(warning!, /more than the \d+ CPUs here/);
  assert.equal(parseList("0,2-3, 2"), [0, 2, 3]);
  const [first] = chooseCpus(undefined).cpus;
  assert.equal(chooseCpus(`${first}-${first}`).cpus, [first]);
});

test("what is neither is refused in one sentence", () => {
  for (const wanted of [
    "0",
    "00",
    "-1",
    "1.5",
    "1e1",
    "",
    " ",
    "all",
    "3-1",
    "0,",
    "0-1-2",
    "4097",
    "99999",
  ]) {
    try {
      chooseCpus(wanted);
      assert.unreachable(wanted);
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      assert.is(code, "cpus-invalid", wanted);
      assert.match(message, /^--cpus takes .* not "[^\n]*"$/);
    }
  }
});

test.run();
