import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Rates } from "../../host/hallelu/rates.ts";

const test = suite("host/hallelu/rates");

/** The rates after 6 s in which so many bytes a second were mapped and applied, the first half and the second. */
function ratesOf(...halves: { mapped: number; applied: number }[]): Rates {
  const rates = new Rates();
  for (let now = 0; now <= 6000; now += 100) {
    const { mapped, applied } = halves[now < 3000 ? 0 : 1];
    rates.mapped(1, mapped / 10);
    rates.applied(applied / 10);
    rates.sample(now);
  }
  return rates;
}

test("applying what was mapped before counts as progress, and not as throughput", () => {
  const rates = ratesOf({ mapped: 300, applied: 100 }, { mapped: 100, applied: 300 });
  assert.ok(Math.abs(rates.bytesPerSecond - 300) < 10, String(rates.bytesPerSecond));
  assert.ok(Math.abs(rates.throughput - 100) < 10, String(rates.throughput));
});

test("nor does mapping that runs ahead", () => {
  const rates = ratesOf({ mapped: 100, applied: 100 }, { mapped: 300, applied: 100 });
  assert.ok(Math.abs(rates.throughput - 100) < 1e-6, String(rates.throughput));
});

test.run();
