import { readFileSync } from "node:fs";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/streams: parking, turns, capacity, outputs, bad input");
const stations = readFileSync("examples/stations.ts", "utf8");
const alarms = `import { Text, out, Table, Count } from "hallelujah";
@record class Reading { station: Text; temperature: f64 }
@record class Alarm { station: Text; temperature: f64 }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(reading: Reading): void {
  seen.at(reading.station).count.add();
  if (reading.temperature < 30) return;
  const alarm = new Alarm();
  alarm.station = reading.station;
  alarm.temperature = reading.temperature;
  out.emit(alarm);
}`;

let host: TestHost;
test.before(async () => {
  host = await startHost({
    cpus: 2,
    env: { HALLELUJAH_PARK_AFTER_MS: "400", HALLELUJAH_FRAME_TIMEOUT_MS: "1500" },
  });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

async function rowsOf(name: string, table = "stations"): Promise<TableRow[]> {
  return (await host.client.query<TableRow>(name, table)).all();
}

async function code(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "none";
}

const readings = (count: number, temperature: number) =>
  Array.from({ length: count }, (_, i) => ({ station: `s${i % 10}`, temperature }));

test("an idle stream is parked, and a query or a push wakes it with its state", async () => {
  await host.client.deploy("sleepy", { kernel: stations });
  await host.client.push("sleepy", readings(100, 3));
  await until(host.client, "sleepy", ({ state }) => state === "parked");
  assert.is((await host.client.jahs()).filter(({ stream }) => stream === "sleepy").length, 0);
  assert.is((await rowsOf("sleepy")).length, 10);
  await until(host.client, "sleepy", ({ state }) => state === "parked");
  await host.client.push("sleepy", readings(100, 5));
  await until(host.client, "sleepy", drained);
  const [row] = await rowsOf("sleepy");
  assert.equal(row.temperature, { count: 20, sum: 80, min: 3, max: 5, mean: 4 });
  await host.client.remove("sleepy");
});

test("a paused stream keeps what is pushed for later", async () => {
  await host.client.deploy("paused", { kernel: stations });
  await host.client.change("paused", { paused: true });
  await host.client.push("paused", readings(50, 1));
  const { state, backlog } = await host.client.stream("paused");
  assert.is(state, "paused");
  assert.ok(backlog.bytes > 0);
  await host.client.change("paused", { paused: false });
  await until(host.client, "paused", drained);
  assert.is((await rowsOf("paused")).length, 10);
  await host.client.remove("paused");
});

test("more streams than CPUs take turns, and all get done", async () => {
  const names = Array.from({ length: 8 }, (_, i) => `turn-${i}`);
  for (const name of names) await host.client.deploy(name, { kernel: stations, min: 0 });
  for (const name of names) await host.client.push(name, readings(1000, 2));
  for (const name of names) {
    await until(host.client, name, drained);
    assert.ok((await host.client.jahs()).length <= 2);
  }
  for (const name of names) {
    const total = (await rowsOf(name)).reduce(
      (sum, row) => sum + (row.temperature as { count: number }).count,
      0,
    );
    assert.is(total, 1000, name);
    await host.client.remove(name);
  }
});

test("a stream without a CPU is refused with what could be given, and leaves nothing behind", async () => {
  await host.client.deploy("one", { kernel: stations });
  await host.client.deploy("two", { kernel: stations });
  let feeding = true;
  const feed = async (name: string) => {
    while (feeding) await host.client.push(name, readings(20, 1));
  };
  const feeds = [feed("one"), feed("two")];
  try {
    try {
      await host.client.deploy("three", { kernel: stations });
      assert.unreachable();
    } catch (error) {
      const { code: found, offers } = error as { code: string; offers: { stream: string }[] };
      assert.is(found, "no-capacity");
      assert.equal(offers.map(({ stream }) => stream).toSorted(), ["one", "two"]);
    }
    assert.is(await code(host.client.stream("three")), "stream-unknown");
    await host.client.change("one", { max: 0 });
    await host.client.deploy("three", { kernel: stations });
    await host.client.push("three", readings(10, 1));
    await until(host.client, "three", drained);
  } finally {
    feeding = false;
    await Promise.all(feeds);
  }
  for (const name of ["one", "two", "three"]) await host.client.remove(name);
});

test("output comes in order to whoever asks, from any row on, and to streams downstream", async () => {
  await host.client.deploy("alarms", { kernel: alarms });
  await host.client.deploy("after", { kernel: stations, from: "alarms" });
  await host.client.push("alarms", readings(500, 31));
  await host.client.push("alarms", readings(500, 3));
  await host.client.push("alarms", readings(500, 32));
  const sequences: number[] = [];
  for await (const { sequence, row } of host.client.output<{ temperature: number }>("alarms", {
    from: 490,
  })) {
    sequences.push(sequence);
    assert.is(row.temperature, sequence < 500 ? 31 : 32);
    if (sequence === 999) break;
  }
  assert.equal(
    sequences,
    Array.from({ length: 510 }, (_, i) => 490 + i),
  );
  await until(host.client, "after", (stream) => stream.records === 1000 && drained(stream));
  const [row] = await rowsOf("after");
  assert.equal(row.temperature, { count: 100, sum: 3150, min: 31, max: 32, mean: 31.5 });
  assert.is(await code(host.client.remove("alarms")), "stream-needed");
  await host.client.remove("after");
  await host.client.remove("alarms");
});

test("a producer's bodies are taken once, and gaps are refused", async () => {
  await host.client.deploy("numbered", { kernel: stations });
  const push = (sequence: number) =>
    host.client.push("numbered", readings(10, 1), { producer: "p", sequence });
  await push(0);
  await push(1);
  await push(1);
  assert.is(await code(push(3)), "sequence-gap");
  await push(2);
  await until(host.client, "numbered", drained);
  assert.is((await host.client.stream("numbered")).records, 30);
  await host.client.remove("numbered");
});

test("a frame that stops the kernel, or never ends, is set aside, and the stream goes on", async () => {
  const kernel = `import { Text, Table, Count } from "hallelujah";
@record class Line { word: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(line: Line): void {
  if (line.word.is("trap")) throw new Error("no such word");
  let i: u32 = 0;
  while (line.word.is("loop")) i++;
  seen.at(line.word).count.add();
}`;
  await host.client.deploy("poisoned", { kernel });
  for (const word of ["good", "trap", "good", "loop", "good"]) {
    await host.client.push("poisoned", [{ word }]);
    await until(host.client, "poisoned", drained);
  }
  const stream = await host.client.stream("poisoned");
  assert.is(stream.deadLetters, 2);
  assert.is(stream.state, "running");
  assert.match(host.log(), /frame 1 was set aside: no such word in each \(kernel\.ts:6:\d+\)/);
  const [row] = await rowsOf("poisoned", "seen");
  assert.is(row.count, 3);
  await host.client.remove("poisoned");
});

test("what is wrong is refused with a code, and disturbs nothing", async () => {
  const { client } = host;
  await client.deploy("calm", { kernel: stations });
  assert.is(await code(client.deploy("Not a name", { kernel: stations })), "stream-name-invalid");
  assert.is(await code(client.deploy("calm", { kernel: stations })), "stream-exists");
  assert.is(
    await code(client.deploy("broken", { kernel: "export function each(): void {}" })),
    "kernel-invalid",
  );
  assert.is(await code(client.deploy("broken", { kernel: Buffer.from("no module") })), "kernel-invalid");
  assert.is(await code(client.push("nobody", readings(1, 1))), "stream-unknown");
  assert.is(await code(client.push("calm", '"text"\n')), "body-invalid");
  assert.is(await code(client.push("calm", "a,b\n1,2\n", { format: "csv" })), "body-invalid");
  assert.is(await code(client.push("calm", `{"station":"${"x".repeat(600_000)}"}\n`)), "record-too-large");
  assert.is(await code(client.query("calm", "station")), "table-unknown");
  assert.is(await code(client.query("calm", "stations", { order: "size" })), "order-unknown");
  await client.push("calm", '{"station":1}\nnonsense\n{"station":"a","temperature":1}\n');
  await until(client, "calm", drained);
  const { records, badRecords } = await client.stream("calm");
  assert.equal([records, badRecords], [1, 2]);
  await client.remove("calm");
});

test("a host that starts again goes on with its streams", async () => {
  const first = await startHost({ cpus: 2, data: `${host.data}/second` });
  await first.client.deploy("kept", { kernel: stations });
  await first.client.push("kept", readings(100, 1), { producer: "p" });
  await until(first.client, "kept", drained);
  await first.stop();
  const second = await startHost({ cpus: 2, data: `${host.data}/second` });
  await second.client.push("kept", readings(100, 1), { producer: "p" }); // is there already
  await second.client.push("kept", readings(100, 1), { producer: "p", sequence: 1 });
  await until(second.client, "kept", drained);
  const rows = await (await second.client.query<TableRow>("kept", "stations")).all();
  assert.is(rows.length, 10);
  assert.is((rows[0].temperature as { count: number }).count, 20);
  assert.is(await second.stop(), 0);
});

test.run();
