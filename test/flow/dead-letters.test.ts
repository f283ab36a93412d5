/** Frames that stop the kernel: what is kept of them, and what their user can do. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { suite } from "uvu";
import * as assert from "uvu/assert";
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

async function counts(name: string): Promise<[unknown, unknown][]> {
  const rows = await (await host.client.query<TableRow>(name, "seen")).all();
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

  await client.change("whole", { shards: 2 });
  await client.push("whole", [{ user: "ann", word: "a" }]);
  await until(
    client,
    "whole",
    ({ shards }) => shards.length === 2 && shards.every(({ jah }) => jah !== null),
  );
  // The move is over when the registry knows two folders.
  for (const deadline = Date.now() + 20_000; ; await sleep(20)) {
    const registry = JSON.parse(readFileSync(join(host.data, "registry.json"), "utf8")) as Registry;
    const { stored } = registry.entries.find(([key]) => key === "streams/whole")![1].value;
    if (stored.length === 2) break;
    assert.ok(Date.now() < deadline, "it is not split");
  }
  await client.push("whole", [
    { user: "bob", word: "trap" },
    ...Array.from({ length: 20 }, (_, i) => ({ user: `u${i}`, word: "a" })),
  ]);
  await until(client, "whole", (stream) => drained(stream) && stream.deadLetters === 2);
  const letter = (await client.deadLetters("whole")).at(-1)!;
  assert.is(letter.partitions.length, 1);
  assert.is(await code(client.retryDeadLetter("whole", letter.frame)), "dead-letter-partial");
  assert.match(Buffer.from(await client.deadLetter("whole", letter.frame)).toString(), /^{"user":"bob"/);
  assert.ok((await counts("whole")).length > 2);
  await client.remove("whole");
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
