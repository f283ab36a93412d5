/** `fold`, windows, sessions and late records on a real host: pushes, moves of partitions, deaths, parking, time that passes. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { drained, startHost, type TestHost, until } from "./host.ts";

const MINUTE = 60_000;
const BASE = Date.parse("2024-05-01T00:00:00Z");
const iso = (ms: number) => new Date(ms).toISOString();

let host: TestHost;
test.before(async () => {
  host = await startHost({
    cpus: 3,
    env: { HALLELUJAH_PARK_AFTER_MS: "700", HALLELUJAH_FRAME_TIMEOUT_MS: "1500" },
  });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

const VISITS = (gap: number, late: number) => `
import { Count, Last, Sessions, Text, Time, Window, out } from "hallelujah";
@record class Event { user: Text; @time(${late}) at: Time; page: Text }
@record class Visit { user: Text; start: Time; events: u64; exit: Text }
@record class Late { user: Text; at: Time }
@state class Open { events: Count; exit: Last<Text> }
const open = new Sessions<Text, Open>("open", ${gap});
export function key(event: Event): Text { return event.user; }
export function fold(event: Event, visit: Open): void {
  if (event.page.is("trap")) throw new Error("no such page");
  let i: u32 = 0;
  while (event.page.is("loop")) i++;
  visit.events.add();
  visit.exit.add(event.page);
}
export function close(window: Window, user: Text, visit: Open): void {
  if (visit.exit.value.is("bomb")) throw new Error("it went off");
  const row = new Visit();
  row.user = user;
  row.start = window.start;
  row.events = visit.events.value;
  row.exit = visit.exit.value;
  out.emit(row);
}
export function late(event: Event): void {
  const row = new Late();
  row.user = event.user;
  row.at = event.at;
  out.emit(row);
}`;

interface Visit {
  user: string;
  start: string;
  events: number;
  exit: string;
}

/** The first rows of an output. */
async function take(stream: string, count: number, late = false): Promise<unknown[]> {
  const rows: unknown[] = [];
  for await (const { row } of host.client.output(stream, {
    from: 0,
    late,
    signal: AbortSignal.timeout(30_000),
  })) {
    rows.push(row);
    if (rows.length === count) break;
  }
  return rows;
}

const visitsOf = (rows: unknown[]) =>
  (rows as Visit[]).map(({ user, start, events, exit }) => `${user} ${start} ${events} ${exit}`).toSorted();

test("sessions come out whole through moves of partitions and deaths of Jahs", async () => {
  const { client } = host;
  await client.deploy("visits", { kernel: VISITS(30 * MINUTE, MINUTE) });
  const expected: string[] = [];
  const open = new Map<string, { start: number; end: number; events: number; exit: string }>();
  let now = BASE;
  let state = 7;
  const random = (n: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n;
  for (let round = 0; round < 12; round++) {
    const events = Array.from({ length: 6000 }, () => {
      now += random(3000);
      return { user: `u${random(900)}`, at: now, page: `/p${random(50)}` };
    });
    for (const { user, at, page } of events) {
      const session = open.get(user);
      if (session && at < session.end + 30 * MINUTE) {
        session.end = at;
        session.events++;
        session.exit = page;
      } else {
        if (session) expected.push(`${user} ${iso(session.start)} ${session.events} ${session.exit}`);
        open.set(user, { start: at, end: at, events: 1, exit: page });
      }
    }
    await client.push(
      "visits",
      events.map((event) => ({ ...event, at: iso(event.at) })),
    );
    if (round === 2) await client.change("visits", { shards: 3 });
    if (round === 6) await client.change("visits", { shards: 1 });
    if (round === 9) await client.change("visits", { shards: 2 });
    if (round === 4 || round === 8 || round === 10) {
      const [jah] = (await client.jahs()).filter(({ stream }) => stream === "visits");
      if (jah) process.kill(jah.pid, "SIGKILL");
    }
  }
  // Sessions that the last records closed, as their time passed.
  for (const [user, { start, end, events, exit }] of open)
    if (end + 30 * MINUTE <= now - MINUTE) expected.push(`${user} ${iso(start)} ${events} ${exit}`);
  assert.ok(expected.length > 1000);
  const whole = ({ outputs }: { outputs: number }) => outputs >= expected.length;
  const { outputs } = await until(client, "visits", (stream) => drained(stream) && whole(stream));
  assert.is(outputs, expected.length);
  assert.equal(visitsOf(await take("visits", outputs)), expected.toSorted());
  assert.is((await client.stream("visits")).lateRecords, 0);
  await client.remove("visits");
});

test("late records have an output of their own", async () => {
  const { client } = host;
  await client.deploy("late", { kernel: VISITS(10 * MINUTE, MINUTE) });
  await client.push("late", [{ user: "ann", at: iso(BASE + 60 * MINUTE), page: "/a" }]);
  await until(client, "late", drained);
  await client.push("late", [
    { user: "bob", at: iso(BASE), page: "/b" },
    { user: "ann", at: iso(BASE + 61 * MINUTE), page: "/c" },
  ]);
  const stream = await until(client, "late", (each) => drained(each) && each.lateOutputs === 1);
  assert.equal([stream.lateRecords, stream.outputs], [1, 0]);
  assert.equal(await take("late", 1, true), [{ user: "bob", at: iso(BASE) }]);
  await client.remove("late");
});

test("when no records come, windows close by the wall clock, also of a parked stream", async () => {
  const { client } = host;
  await client.deploy("quiet", { kernel: VISITS(2500, 0) });
  await client.push("quiet", [{ user: "ann", at: iso(BASE), page: "/a" }]);
  await until(client, "quiet", (stream) => stream.state === "parked");
  const { frames } = await client.stream("quiet");
  assert.is(frames, 1);
  assert.equal(await take("quiet", 1), [{ user: "ann", start: iso(BASE), events: 1, exit: "/a" }]);
  // One frame said so, and no more come.
  const parked = await until(client, "quiet", (stream) => stream.state === "parked");
  assert.is(parked.frames, 2);
  await client.remove("quiet");
});

test("files are waited for, each with its own clock; their end closes what is open", async () => {
  const { client } = host;
  const text = (user: string, from: number) =>
    Array.from(
      { length: 40 },
      (_, i) => `{"user":"${user}","at":"${iso(from + i * MINUTE)}","page":"/${i}"}\n`,
    ).join("");
  const files = ["ann", "bob", "cid"].map((user, i) => {
    const path = join(host.data, `${user}.ndjson`);
    writeFileSync(path, text(user, BASE - i * 600 * MINUTE));
    return path;
  });
  await client.deploy("files", { kernel: VISITS(10 * MINUTE, 0), source: files });
  assert.equal(
    visitsOf(await take("files", 3)),
    ["ann", "bob", "cid"].map((user, i) => `${user} ${iso(BASE - i * 600 * MINUTE)} 40 /39`),
  );
  assert.is((await client.stream("files")).lateRecords, 0);
  await client.remove("files");
});

test("a frame that stops fold or close is set aside for its shard, and the stream goes on", async () => {
  const { client } = host;
  await client.deploy("poison", { kernel: VISITS(10 * MINUTE, 0) });
  let at = BASE;
  for (const page of ["/a", "trap", "/b", "loop", "/c"]) {
    at += 1000;
    await client.push("poison", [{ user: page.length > 2 ? "eve" : "ann", at: iso(at), page }]);
    await until(client, "poison", drained);
  }
  assert.is((await client.stream("poison")).deadLetters, 2);
  await client.push("poison", [{ user: "joe", at: iso(at + 1000), page: "bomb" }]);
  await until(client, "poison", drained);
  // Time passes the end of all of them in a frame that is then set aside: its record and its closings count for nothing.
  await client.push("poison", [{ user: "zoe", at: iso(at + 60 * MINUTE), page: "/x" }]);
  await until(client, "poison", (stream) => drained(stream) && stream.deadLetters === 3);
  await client.push("poison", [{ user: "zoe", at: iso(at + 120 * MINUTE), page: "/y" }]);
  await client.push("poison", [{ user: "zoe", at: iso(at + 180 * MINUTE), page: "/z" }]);
  const end = await until(client, "poison", (stream) => drained(stream) && stream.outputs > 0);
  assert.equal([end.deadLetters, end.outputs, end.state], [3, 1, "running"]);
  assert.equal(visitsOf(await take("poison", 1)), [`zoe ${iso(at + 120 * MINUTE)} 1 /y`]);
  await client.remove("poison");
});

test("open sessions are there after a restart of the host, and close once", async () => {
  const data = join(host.data, "again");
  const first = await startHost({ cpus: 2, data });
  await first.client.deploy("kept", { kernel: VISITS(10 * MINUTE, 0) });
  await first.client.push("kept", [
    { user: "ann", at: iso(BASE), page: "/a" },
    { user: "bob", at: iso(BASE + 20 * MINUTE), page: "/b" },
  ]);
  await until(first.client, "kept", (stream) => drained(stream) && stream.outputs === 1);
  await first.stop();
  const second = await startHost({ cpus: 2, data });
  await second.client.push("kept", [{ user: "ann", at: iso(BASE + 60 * MINUTE), page: "/c" }]);
  const { outputs } = await until(second.client, "kept", (stream) => drained(stream) && stream.outputs > 1);
  assert.is(outputs, 2);
  assert.is(await second.stop(), 0);
});

test.run();
