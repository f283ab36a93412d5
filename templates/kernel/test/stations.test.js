import { test } from "uvu";
import * as assert from "uvu/assert";
import { check } from "hallelujah/testing";

test("each station has the statistics of its readings", async () => {
  const { tables, problems } = await check(
    "kernels/stations.ts",
    ["station,temperature", "Bergen,-1.5", "Abha,20", "Abha,30", ""].join("\n"),
  );
  assert.equal(tables.stations, [
    { key: "Abha", temperature: { count: 2, sum: 50, min: 20, max: 30, mean: 25 } },
    { key: "Bergen", temperature: { count: 1, sum: -1.5, min: -1.5, max: -1.5, mean: -1.5 } },
  ]);
  assert.equal(problems, []);
});

test("a reading without a number is left out and reported", async () => {
  const { tables, problems } = await check(
    "kernels/stations.ts",
    ["station,temperature", "Abha,20", "Abha,warm", ""].join("\n"),
  );
  assert.is(tables.stations[0].temperature.count, 1);
  assert.is(problems[0].line, 3);
});

test.run();
