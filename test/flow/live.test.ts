import { readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/live: pushes, scaling, deaths");
const kernel = readFileSync("examples/stations.ts", "utf8");

let host: TestHost;
test.before(async () => {
  host = await startHost({ env: { HALLELUJAH_PARK_AFTER_MS: "600000" } });
});
test.after(async () => void (await host.stop()));

/** Records of many stations, and what must come of them. */
class Load {
  readonly counts = new Map<string, { count: number; sum: number }>();
  private seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  lines(count: number): string {
    let text = "";
    for (let i = 0; i < count; i++) {
      this.seed = (Math.imul(this.seed, 1103515245) + 12345) & 0x7fffffff;
      const station = `station-${this.seed % 5000}`;
      const temperature = (this.seed >> 8) % 100;
      const known = this.counts.get(station) ?? { count: 0, sum: 0 };
      known.count++;
      known.sum += temperature;
      this.counts.set(station, known);
      text += `{"station":"${station}","temperature":${temperature}}\n`;
    }
    return text;
  }

  check(rows: TableRow[]): void {
    assert.is(rows.length, this.counts.size);
    for (const row of rows) {
      const { count, sum } = row.temperature as { count: number; sum: number };
      assert.equal({ count, sum }, this.counts.get(row.key as string), String(row.key));
    }
  }
}

async function rowsOf(name: string): Promise<TableRow[]> {
  return (await host.client.query<TableRow>(name, "stations")).all();
}

test("records are in the answer once they are applied", async () => {
  const load = new Load(1);
  await host.client.deploy("plain", { kernel });
  await host.client.push("plain", load.lines(20_000));
  await host.client.push("plain", "station,temperature\nstation-1,5\n", { format: "csv" });
  const known = load.counts.get("station-1")!;
  known.count++;
  known.sum += 5;
  await until(host.client, "plain", drained);
  load.check(await rowsOf("plain"));
  await host.client.remove("plain");
});

test("the answer is right while a Jah is added, a shard split and joined again, and Jahs are killed", async () => {
  const load = new Load(2);
  await host.client.deploy("moved", { kernel, max: 3 });
  await until(host.client, "moved", ({ state }) => state === "running");
  let sent = 0;
  const send = async () => {
    await host.client.push("moved", load.lines(40_000));
    sent += 40_000;
  };
  await send();
  const steps = [
    { min: 3 },
    "kill",
    { min: 1, max: 1 },
    "kill",
    { max: 3, shards: 3 },
    "kill",
    { shards: 2 },
    { shards: 1 },
    { shards: 2 },
    "kill",
    { shards: 0, max: 1 },
  ] as const;
  for (const step of steps) {
    if (step === "kill") {
      const jahs = (await host.client.jahs()).filter(({ stream }) => stream === "moved");
      process.kill(jahs[sent % jahs.length].pid, "SIGKILL");
    } else await host.client.change("moved", step);
    await send();
    await send();
    const {
      min = 1,
      max = 3,
      shards = 0,
    } = step === "kill" ? {} : { ...(step as { min?: number; max?: number; shards?: number }) };
    await until(host.client, "moved", (stream) => {
      if (!drained(stream) || stream.state !== "running") return false;
      return stream.jahs >= min && stream.jahs <= max && (!shards || stream.shards.length === shards);
    });
    load.check(await rowsOf("moved"));
  }
  assert.is((await host.client.stream("moved")).records >= sent, true);
  await host.client.remove("moved");
});

test.run();
