/** What a host does when its processes are killed, when it is asked to end, and when it cannot start. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { drained, startHost, type TestHost, until } from "./host.ts";

const stations = readFileSync("examples/stations.ts", "utf8");
const LOOPS = `import { Text, Table, Count } from "hallelujah";
@record class Line { word: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(line: Line): void {
  let i: u32 = 0;
  while (line.word.is("loop")) i++;
  seen.at(line.word).count.add();
}`;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // One that has ended and was not waited for yet counts as gone.
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function allGone(pids: number[]): Promise<void> {
  for (let i = 0; i < 500 && pids.some(isAlive); i++) await sleep(20);
  assert.equal(pids.filter(isAlive), []);
}

async function countOf(host: TestHost, stream: string): Promise<number> {
  const rows = await (await host.client.query<{ temperature: { count: number } }>(stream, "stations")).all();
  return rows.reduce((sum, { temperature }) => sum + temperature.count, 0);
}

const readings = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ station: `s${i % 7}`, temperature: i % 40 }));

test("a Hallelu that is killed is started again, and every acknowledged record counts once", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    for (const name of ["one", "two"]) await host.client.deploy(name, { kernel: stations });
    const pids = new Set<number>();
    for (let round = 0; round < 6; round++) {
      if (round === 2 || round === 4) {
        const { pid } = await host.client.host();
        pids.add(pid);
        process.kill(pid, "SIGKILL");
      }
      for (const name of ["one", "two"])
        await host.client.push(name, readings(1000), { producer: "p", sequence: round });
    }
    assert.is(pids.size, 2, "each time it was another process");
    for (const name of ["one", "two"]) {
      await until(host.client, name, drained);
      assert.is(await countOf(host, name), 6000);
    }
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("when the Congregation is killed, all its processes end, also inside a kernel that loops; the next one goes on", async () => {
  const first = await startHost({ cpus: 2 });
  await first.client.deploy("words", { kernel: LOOPS });
  await first.client.push("words", [{ word: "good" }]);
  await until(first.client, "words", drained);
  await first.client.push("words", [{ word: "loop" }]);
  await until(first.client, "words", (stream) => stream.frames === 2);
  const pids = [(await first.client.host()).pid, ...(await first.client.jahs()).map(({ pid }) => pid)];
  assert.is(pids.length, 2);
  first.process.kill("SIGKILL");
  const second = await startHost({
    cpus: 2,
    data: first.data,
    args: ["--listen", new URL(first.url).host],
    env: { HALLELUJAH_FRAME_TIMEOUT_MS: "700" },
  });
  try {
    await allGone(pids);
    const stream = await until(second.client, "words", (each) => drained(each) && each.deadLetters === 1);
    assert.is(stream.frames, 2);
    const rows = await (await second.client.query<{ key: string; count: number }>("words", "seen")).all();
    assert.equal(
      rows.map(({ key, count }) => [key, count]),
      [["good", 1]],
    );
  } finally {
    assert.is(await second.stop(), 0);
  }
});

test("what a killed Congregation left, and is too slow to end by itself, is ended before the next host begins", async () => {
  const first = await startHost({ cpus: 2 });
  await first.client.deploy("slow", { kernel: stations });
  await first.client.push("slow", readings(100), { producer: "p" });
  await until(first.client, "slow", drained);
  const pids = [(await first.client.host()).pid, ...(await first.client.jahs()).map(({ pid }) => pid)];
  assert.is(pids.length, 2);
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  first.process.kill("SIGKILL");
  const second = await startHost({
    cpus: 2,
    data: first.data,
    args: ["--listen", new URL(first.url).host],
  });
  try {
    assert.equal(pids.filter(isAlive), []);
    await second.client.push("slow", readings(100), { producer: "p", sequence: 1 });
    await until(second.client, "slow", drained);
    assert.is(await countOf(second, "slow"), 200);
  } finally {
    assert.is(await second.stop(), 0);
  }
});

test("a host that is asked to end does so, whatever its streams are at", async () => {
  const host = await startHost({ cpus: 2 });
  await host.client.deploy("words", { kernel: LOOPS });
  await host.client.push("words", [{ word: "loop" }]);
  await host.client.deploy("calm", { kernel: stations });
  await host.client.push("calm", readings(10));
  const signal = AbortSignal.timeout(60_000);
  const subscriber = host.client.output("calm", { from: 0, signal })[Symbol.asyncIterator]().next();
  subscriber.catch(() => {});
  const pushing = host.client.push("calm", readings(200_000)).catch(() => {});
  await until(host.client, "words", (stream) => stream.jahs === 1);
  const pids = [(await host.client.host()).pid, ...(await host.client.jahs()).map(({ pid }) => pid)];
  const stopped = host.stop();
  assert.is(await stopped, 0);
  await allGone(pids);
  await pushing;
});

/** What `up` says and how it ends when it cannot start. */
async function upFails(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, ["dist/cli/main.js", "up", ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  let said = "";
  child.stderr.on("data", (chunk) => (said += chunk));
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const code = await new Promise<number | null>((done) => child.once("exit", done));
  clearTimeout(timer);
  return { code, said };
}

test("what cannot be served is refused in one sentence, and disturbs nobody", async () => {
  const host = await startHost({ cpus: 2 });
  try {
    const other = join(host.data, "other");
    const sameData = await upFails(["--listen", "127.0.0.1:0", "--data", host.data]);
    assert.is(sameData.code, 1);
    assert.match(sameData.said, /another host uses .*--data/);
    const samePort = await upFails(["--listen", new URL(host.url).host, "--data", other]);
    assert.is(samePort.code, 1);
    assert.match(samePort.said, /--listen/);
    const open = await upFails(["--listen", "0.0.0.0:0", "--data", other], { HALLELUJAH_TOKEN: "" });
    assert.match(open.said, /needs? a token[^]*HALLELUJAH_TOKEN/);
    for (const [args, said] of [
      [["--cpus", "none"], /--cpus takes/],
      [["--cpus", "4095,4096"], /CPU 4095, 4096 is not one/],
      [["--listen", "nowhere"], /--listen takes host:port/],
      [["--data", "/dev/null/x"], /--data/],
    ] as const) {
      const { code, said: sentence } = await upFails(["--data", other, ...args]);
      assert.ok(code === 1 || code === 2, args.join(" "));
      assert.match(sentence, said);
      assert.ok(sentence.trim().split("\n").length <= 2, sentence);
    }
    assert.is((await host.client.host()).streams, 0);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test("fifty streams on two CPUs take turns, and all get on", async () => {
  const host = await startHost({ cpus: 2, env: { HALLELUJAH_PARK_AFTER_MS: "500" } });
  try {
    const names = Array.from({ length: 50 }, (_, i) => `s${i}`);
    await Promise.all(names.map((name) => host.client.deploy(name, { kernel: stations, min: 0 })));
    for (let round = 0; round < 2; round++)
      await Promise.all(names.map((name, i) => host.client.push(name, readings(100 * (i + 1)))));
    for (const [i, name] of names.entries()) {
      const { records } = await until(host.client, name, drained, 240_000);
      assert.is(records, 200 * (i + 1), name);
    }
    assert.ok((await host.client.jahs()).length <= 2);
    assert.is(await countOf(host, "s7"), 1600);
  } finally {
    assert.is(await host.stop(), 0);
  }
});

test.run();
