/** assembly/abi.ts and host/kernel/memory-map.ts state the same numbers. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as map from "../../host/kernel/memory-map.ts";

/** Constants of the AssemblyScript side: integer literals, shifts, sums and names stated before. */
function readAbi(): Map<string, number> {
  const known = new Map<string, number>();
  const text = readFileSync("assembly/abi.ts", "utf8");
  for (const [, name, expression] of text.matchAll(/^export const (\w+): \w+ = ([^;]+);/gm)) {
    const names = [...known.keys()];
    known.set(
      name,
      Function(...names, `return ${expression}`)(...names.map((each) => known.get(each))) as number,
    );
  }
  return known;
}

test("every number that the host states is the one of the SDK", () => {
  const abi = readAbi();
  assert.ok(abi.size > 40);
  for (const [name, value] of Object.entries(map)) assert.is(value, abi.get(name), name);
});

test("the regions follow one another and the windows hold what they must", () => {
  assert.ok(map.INPUT < map.DIRTY && map.CONTROL < map.OUTPUT && map.OUTPUT < map.ENTRIES);
  assert.is(map.DIRTY + 65536, map.CONTROL); // a byte for each page of 4 GiB
  assert.ok(map.ENTRIES < map.ARENA);
  const datasetsEnd = map.DATASETS + map.MAX_DATASETS * map.DATASET_BYTES;
  assert.ok(map.CLOCKS_END <= map.DATASETS && datasetsEnd <= map.ARENA + 65536); // the directory is one page: assembly/heap.ts marks it as a whole
  assert.ok(map.PROBLEMS + map.PROBLEMS_MAX * 16 <= map.PLAN);
  for (const address of [map.INPUT, map.DIRTY, map.CONTROL, map.OUTPUT, map.ARENA])
    assert.is(address % 65536, 0);
});

test.run();
