/** Frames that stop the kernel: what is kept of them, and what their user can do. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { FRAME_BYTES } from "../../host/core/limits.ts";
import type { TableRow } from "../../host/client/rows.ts";
import { prints, refuses } from "./commands.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/dead-letters");

/** Stops at the word "trap". */
const kernel = `import { Text, Table, Count } from "hallelujah";
@record class Line { word: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function each(line: Line): void {
  if (line.word.is("trap")) throw new Error("no such word");
  seen.at(line.word).count.add();
}`;
const fold = `import { Text, Table, Count } from "hallelujah";
@record class Line { word: Text; user: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function key(line: Line): Text { return line.user; }
export function fold(line: Line, state: Seen): void {
  if (line.word.is("trap")) throw new Error("no such word");
  state.count.add();
}`;

/** Sends all on; stops at "trap" where it is the user's first word. */
const hesitant = `import { Text, Table, Count, out } from "hallelujah";
@record class Line { word: Text; user: Text }
@state class Seen { count: Count }
const seen = new Table<Text, Seen>("seen");
export function key(line: Line): Text { return line.user; }
export function fold(line: Line, state: Seen): void {
  if (line.word.is("trap") && state.count.value == 0) throw new Error("not yet");
  state.count.add();
  out.emit(line);
}`;

interface Line {
  word: string;
  user: string;
}

interface Registry {
  entries: [string, { value: { stored: unknown[] } }][];
}

let host: TestHost;
test.before(async () => {
  host = await startHost({ cpus: 2 });
});
test.after(async () => {
  assert.is(await host.stop(), 0);
});

async function counts({ client }: TestHost, name: string): Promise<[unknown, unknown][]> {
  const rows = await (await client.query<TableRow>(name, "seen")).all();
  return rows.map(({ key, count }) => [key, count]);
}

async function code(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "none",
    (error: { code: string }) => error.code,
  );
}

test("what was set aside is listed with its bytes, also after a restart, and can be retried once and dropped", async () => {
  const data = `${host.data}/letters`;
  let own = await startHost({ cpus: 2, data });
  const words = [["good"], ["trap", "fine"], ["good"], ["trap"], ["good"]];
  await own.client.deploy("words", { kernel });
  for (const body of words) {
    await own.client.push(
      "words",
      body.map((word) => ({ word })),
    );
    await until(own.client, "words", drained);
  }
  // In no time, before anything else has a reason to write the registry.
  own.process.kill("SIGKILL");
  await own.stop();
  own = await startHost({ cpus: 2, data });
  try {
    const { client } = own;
    const stream = await until(client, "words", (each) => drained(each) && each.deadLetters === 2);
    assert.is(stream.state, "running");
    const letters = await client.deadLetters("words");
    assert.equal(
      letters.map(({ frame, stage, partitions, version, bytes }) => ({
        frame,
        stage,
        partitions,
        version,
        bytes,
      })),
      [
        { frame: 1, stage: "map", partitions: [{ from: 0, to: 256 }], version: 1, bytes: 32 },
        { frame: 3, stage: "map", partitions: [{ from: 0, to: 256 }], version: 1, bytes: 16 },
      ],
    );
    assert.match(letters[0].error, "no such word");
    const bytes = '{"word":"trap"}\n{"word":"fine"}\n';
    assert.is(Buffer.from(await client.deadLetter("words", 1)).toString(), bytes);
    assert.is(await prints(own.url, ["dead", "words", "1"]), bytes);
    assert.match(await prints(own.url, ["dead", "words"]), /"frame":1,.*\n.*"frame":3,/);

    // The kernel is the same, so they come back, as other frames.
    assert.equal(
      await Promise.all([client.retryDeadLetter("words", 1), code(client.retryDeadLetter("words", 1))]),
      [5, "dead-letter-unknown"],
    );
    await until(client, "words", (each) => drained(each) && each.deadLetters === 2);
    assert.equal(
      (await client.deadLetters("words")).map(({ frame }) => frame),
      [3, 5],
    );
    await client.dropDeadLetter("words", 3);
    await refuses(own.url, ["dead", "words", "3"], /no dead letter 3/, 1);
    await refuses(own.url, ["dead", "words", "--drop"], /say which frame/, 2);
    assert.is(await prints(own.url, ["dead", "words", "all", "--drop"]), "frame 5 is dropped\n");
    assert.equal(await client.deadLetters("words"), []);
    assert.is((await client.stream("words")).deadLetters, 0);
  } finally {
    await own.stop();
  }
});

test("a frame that stops fold is retried if no partition has it", async () => {
  const { client } = host;
  await client.deploy("whole", { kernel: fold });
  await client.push("whole", [{ user: "ann", word: "trap" }]);
  await until(client, "whole", (stream) => drained(stream) && stream.deadLetters === 1);
  const [{ stage }] = await client.deadLetters("whole");
  assert.is(stage, "apply");
  assert.is(await client.retryDeadLetter("whole", 0), 1);
  await until(client, "whole", (stream) => drained(stream) && stream.deadLetters === 1);

  await client.remove("whole");
});

test("a frame that stops fold in one shard is retried in that alone, once, behind what came since, whatever ends meanwhile", async () => {
  const data = `${host.data}/partial`;
  let own = await startHost({ cpus: 2, data });
  const registry = () => {
    const { entries } = JSON.parse(readFileSync(join(data, "registry.json"), "utf8")) as Registry;
    return entries.find(([key]) => key === "streams/parts")![1].value;
  };
  /** All records that count, by user; each is sent on as well. */
  const expected = new Map<string, string[]>();
  const push = async (records: [user: string, word: string][], counted = records) => {
    for (const [user, word] of counted) expected.set(user, [...(expected.get(user) ?? []), word]);
    await own.client.push(
      "parts",
      records.map(([user, word]) => ({ user, word })),
    );
  };
  const holds = async () => {
    const total = [...expected.values()].flat().length;
    // What is applied is written out after that.
    const { outputs } = await until(own.client, "parts", (each) => drained(each) && each.outputs >= total);
    assert.equal(
      await counts(own, "parts"),
      [...expected].map(([user, words]) => [user, words.length]).toSorted(),
    );
    const sent = new Map<string, string[]>();
    const stop = new AbortController();
    let left = outputs;
    for await (const { row } of own.client.output<Line>("parts", { from: 0, signal: stop.signal })) {
      sent.set(row.user, [...(sent.get(row.user) ?? []), row.word]);
      if (--left === 0) break;
    }
    assert.equal([...sent].toSorted(), [...expected].toSorted());
    assert.is(outputs, total);
  };
  try {
    await own.client.deploy("parts", { kernel: hesitant });
    await push([["ann", "a"]]);
    await until(own.client, "parts", drained);
    await own.client.change("parts", { shards: 2 });
    await push([["ann", "b"]]);
    // The move is over when the registry knows two folders.
    for (const deadline = Date.now() + 20_000; registry().stored.length < 2; await sleep(20))
      assert.ok(Date.now() < deadline, "it is not split");
    const others = Array.from({ length: 20 }, (_, i): [string, string] => [`u${i}`, "a"]);
    // Of three users, two are in one shard.
    for (const [i, user] of ["x", "y", "z"].entries()) {
      await push([[user, "trap"], ...others], []);
      await until(own.client, "parts", (stream) => drained(stream) && stream.deadLetters === i + 1);
    }
    const letters = await own.client.deadLetters("parts");
    const [first, second] = letters.flatMap(({ frame, partitions: [{ from }] }, i) =>
      letters.filter((other) => other.frame !== frame && other.partitions[0].from === from).length
        ? [{ frame, user: "xyz"[i] }]
        : [],
    );
    // What counts of those frames is what the other shard has; the rest comes with the retry.
    const had = new Map((await counts(own, "parts")) as [string, number][]);
    for (const [user] of others)
      if (had.get(user)) expected.set(user, Array<string>(had.get(user)!).fill("a"));
    await holds();
    const retries = async (frame: number, user: string) => {
      const lacking = others.filter(([other]) => isIn(frame, other));
      for (const [other, word] of [[user, "trap"], ...lacking])
        expected.set(other, [...(expected.get(other) ?? []), word]);
      return own.client.retryDeadLetter("parts", frame);
    };
    /** Whether a user is in the shard that set a frame aside: it lacks as many records as that shard set frames aside. */
    const isIn = (frame: number, user: string) => {
      const { from } = letters.find((letter) => letter.frame === frame)!.partitions[0];
      const same = letters.filter(({ partitions }) => partitions[0].from === from).length;
      return (had.get(user) ?? 0) === 3 - same;
    };
    await push([[first.user, "ok"], ...others]);
    const { frames } = await own.client.stream("parts");
    assert.is(await retries(first.frame, first.user), frames);
    await holds();
    assert.is(await code(own.client.retryDeadLetter("parts", first.frame)), "dead-letter-unknown");

    // The records are logged, and everything ends before the registry says so: they are not logged again.
    await push([[second.user, "ok"]]);
    mkdirSync(join(data, "registry.json.new"));
    assert.is(await code(retries(second.frame, second.user)), "registry-unwritable");
    await holds();
    own.process.kill("SIGKILL");
    await own.stop();
    rmSync(join(data, "registry.json.new"), { recursive: true });
    own = await startHost({ cpus: 2, data });
    await holds();
    assert.is(await own.client.retryDeadLetter("parts", second.frame), frames + 2);
    await holds();
    assert.is((await own.client.deadLetters("parts")).length, 1);
  } finally {
    await own.stop();
  }
});

test("a frame is passed only when the registry says that it was set aside, whatever ends between the two", async () => {
  const data = `${host.data}/order`;
  let own = await startHost({ cpus: 2, data });
  /** In the way of the folder where the frame's records are to be kept. */
  const obstacle = join(data, "streams", "words", "dead");
  const complaints = () => own.log().split("frame 1 cannot be kept aside").length - 1;
  /** It tries to keep the frame, and cannot; what was pushed since waits. */
  const waits = async () => {
    const before = complaints();
    for (const deadline = Date.now() + 20_000; complaints() < before + 2; await sleep(50))
      assert.ok(Date.now() < deadline, "it does not say that it cannot");
    const { frame, deadLetters } = await own.client.stream("words");
    assert.equal([frame, deadLetters], [1, 0]);
    assert.equal(await own.client.deadLetters("words"), []);
  };
  try {
    await own.client.deploy("words", { kernel });
    await own.client.push("words", [{ word: "good" }]);
    await until(own.client, "words", drained);
    writeFileSync(obstacle, "");
    await own.client.push("words", [{ word: "trap" }, { word: "fine" }]);
    await own.client.push("words", [{ word: "good" }]);
    await waits();
    own.process.kill("SIGKILL");
    await own.stop();
    own = await startHost({ cpus: 2, data });
    await waits();
    // Nor does an end in order wait for it.
    assert.is(await own.stop(), 0);
    own = await startHost({ cpus: 2, data });
    await waits();
    rmSync(obstacle);
    const { deadLetters } = await until(own.client, "words", drained);
    assert.is(deadLetters, 1);
    assert.equal(await counts(own, "words"), [["good", 2]]);
  } finally {
    await own.stop();
  }
});

test("of a file that is read in ranges all but the frame that stops the kernel counts", async () => {
  const { client } = host;
  const TRAPS = 60_000;
  // Quoted fields with line feeds, so that where a frame ends takes counting quotes.
  const rows = Array.from({ length: 150_000 }, (_, i) => (i === TRAPS ? "trap" : `"w\n${i % 5}"`));
  const text = `word\n${rows.join("\n")}\n`;
  const path = join(host.data, "words.csv");
  writeFileSync(path, text);
  await client.deploy("file", { kernel, source: path });
  await until(client, "file", (stream) => drained(stream) && stream.frame > 1 && stream.deadLetters === 1);
  const [{ frame, bytes }] = await client.deadLetters("file");
  assert.equal([frame, bytes], [Math.floor(text.indexOf("trap") / FRAME_BYTES), 0]);
  // The records that start in the frame are missing.
  let at = "word\n".length;
  const expected = new Map<string, number>();
  for (const row of rows) {
    const word = row.slice(1, -1);
    if (Math.floor(at / FRAME_BYTES) !== frame) expected.set(word, (expected.get(word) ?? 0) + 1);
    at += row.length + 1;
  }
  assert.equal(await counts(host, "file"), [...expected].toSorted());
  await client.remove("file");
});

test("a strict stream stops at the frame, and nothing else does", async () => {
  const { client } = host;
  await client.deploy("strict", { kernel, strict: true });
  await client.push("strict", [{ word: "good" }, { word: "trap" }]);
  const { error, deadLetters } = await until(client, "strict", ({ state }) => state === "failed");
  assert.match(error!, /^frame 0 stops its kernel, and it is strict: /);
  assert.is(deadLetters, 0);
  assert.is(await code(client.push("strict", [{ word: "good" }])), "stream-failed");
  await client.remove("strict");
});

test.run();
