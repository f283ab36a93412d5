/** One suite for a stream's log in each of its homes. */
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Tally } from "../../host/hallelu/tally.ts";
import { Log } from "../../host/store/log.ts";
import { type StreamLog, VOID_KIND } from "../../host/store/stream-log.ts";
import { joinCluster } from "../../host/substrate/cluster.ts";
import { ClusterLog } from "../../host/substrate/cluster-log.ts";
import { hasNatsServer, startNats } from "../nats.ts";
import { scratch, seeded } from "../run.ts";

const test = suite("a stream's log, in each of its homes");

/** Opens one and the same log again and again. */
type Home = () => (digest?: Tally) => Promise<StreamLog>;

const server = hasNatsServer ? await startNats() : undefined;
const connection = server && (await joinCluster({ url: server.url, name: "test" }));
const newFolder = () => mkdtempSync(join(scratch(), "stream-log-"));
const SEGMENT_BYTES = 2_000;

const homes: [string, Home][] = [
  [
    "files",
    () => {
      const folder = newFolder();
      return (digest = new Tally()) => Log.open(folder, { segmentBytes: SEGMENT_BYTES, digest });
    },
  ],
];
let logs = 0;
if (connection) {
  const onCluster =
    (folderOf: () => () => string): Home =>
    () => {
      const names = { cluster: "test", stream: "s", identity: `homes-${++logs}` };
      const folder = folderOf();
      let epoch = 0;
      return (digest = new Tally()) =>
        ClusterLog.open({
          ...names,
          connection,
          folder: folder(),
          host: "one",
          epoch: ++epoch,
          digest,
          trimBytes: SEGMENT_BYTES,
          options: { segmentBytes: SEGMENT_BYTES },
        });
    };
  homes.push([
    "JetStream, on one host",
    onCluster(() => {
      const folder = newFolder();
      return () => folder;
    }),
  ]);
  homes.push(["JetStream, each time on a new host", onCluster(() => newFolder)]);
}

const entry = (text: string, head?: object) => ({
  kind: text.length % 7,
  head: head && Buffer.from(JSON.stringify(head)),
  body: [Buffer.from(text.slice(0, 3)), Buffer.from(text.slice(3))],
  records: 0,
});

/** Numbers and texts of the entries that are not void. */
async function all(log: StreamLog): Promise<[number, string][]> {
  const found: [number, string][] = [];
  for (let number = log.first; number < log.next; number++)
    if (log.place(number).kind !== VOID_KIND) found.push([number, (await log.read(number)).body.toString()]);
  return found;
}

/** Closes a log, and opens it again. */
async function again(log: StreamLog, open: (digest?: Tally) => Promise<StreamLog>, digest?: Tally) {
  await log.close();
  return open(digest);
}

const filled = (text: string) => text.padEnd(300, ".");

for (const [home, make] of homes) {
  test(`${home}: it gives back what was appended, in order, also when it is opened again`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(fc.string({ maxLength: 200 }), { minLength: 1, maxLength: 4 }), { maxLength: 30 }),
        async (groups) => {
          const open = make();
          let log = await open();
          const before = groups.slice(0, groups.length >> 1);
          const after = groups.slice(before.length);
          const expected: [number, string][] = [];
          for (const part of [before, after]) {
            const placed = await Promise.all(
              part.map((texts) => log.appendGroup(texts.map((text, i) => entry(text, { i })))),
            );
            part.forEach((texts, i) =>
              texts.forEach((text, j) => expected.push([placed[i].number + j, text])),
            );
            assert.equal(await all(log), expected);
            log = await again(log, open);
          }
          assert.equal(await all(log), expected);
          const bytes = expected.reduce((sum, [, text]) => sum + Buffer.byteLength(text), 0);
          assert.is(log.bytesFrom(log.first), bytes);
          assert.is(log.damageFrom(log.first), undefined);
          assert.ok(expected.every(([number], i) => !i || number > expected[i - 1][0]));
          await log.close();
        },
      ),
      seeded(10),
    );
  });

  test(`${home}: what was appended lies in files, with heads that can be asked for`, async () => {
    const log = await make()();
    const { number } = await log.appendGroup([
      entry("first", { a: 1 }),
      entry("second"),
      entry("x", { b: 2 }),
    ]);
    const { path, offset, bytes, kind, records } = log.place(number + 1);
    assert.is(readFileSync(path).toString("utf8", offset, offset + bytes), "second");
    assert.equal([kind, records], ["second".length % 7, 0]);
    const { head, body } = await log.read(number);
    assert.equal([String(head), String(body)], ['{"a":1}', "first"]);
    const heads = (from: number, wanted: (kind: number) => boolean) =>
      [...log.heads(from, wanted)].map((each) => [each.number - number, each.head && String(each.head)]);
    assert.equal(
      heads(0, () => true),
      [
        [0, '{"a":1}'],
        [1, undefined],
        [2, '{"b":2}'],
      ],
    );
    assert.equal(
      heads(number + 1, (kind) => kind === 1),
      [[2, '{"b":2}']],
    );
    assert.throws(() => log.place(log.next), RangeError);
    await log.sync();
    await log.close();
    const refused = await log.append(entry("late")).catch((error: { code: string }) => error.code);
    assert.is(refused, "log-closed");
  });

  test(`${home}: groups of any size go in, an empty one, too`, async () => {
    const log = await make()();
    const large = Array.from({ length: 3_000 }, (_, i) => entry(`${i}`));
    const [empty, { number }] = await Promise.all([log.appendGroup([]), log.appendGroup(large)]);
    assert.is(empty.number, number);
    assert.equal(
      (await all(log)).map(([at, text]) => [at - number, text]),
      large.map((_, i) => [i, `${i}`]),
    );
    await log.close();
  });

  test(`${home}: bodies of a frame's size go in while others are on their way`, async () => {
    const log = await make()();
    const bodies = Array.from({ length: 80 }, (_, i) => Buffer.alloc(512 << 10, i));
    const placed = await Promise.all(
      bodies.map((body) => log.append({ kind: 1, head: undefined, body: [body], records: 1 })),
    );
    for (const [i, { number }] of placed.entries()) {
      assert.ok(!i || number > placed[i - 1].number);
      assert.ok((await log.read(number)).body.equals(bodies[i]));
    }
    await log.close();
  });

  test(`${home}: what is known of all entries outlives that they are trimmed`, async () => {
    const open = make();
    let digest = new Tally();
    let log = await open(digest);
    const appended: number[] = [];
    for (let i = 1; i <= 60; i++) {
      const head = { producers: [[`p${i % 7}`, i]], ...(i === 3 ? { rows: 77 } : {}) };
      appended.push((await log.append(entry(filled(`${i}`), head))).number);
      if (i % 20 === 0) {
        await log.trim(appended.at(-5)!);
        assert.ok(log.first <= appended.at(-5)!);
        log = await again(log, open, (digest = new Tally()));
      }
    }
    assert.ok(log.first > appended[30], "it was trimmed");
    for (let i = 54; i <= 60; i++)
      assert.equal(digest.lastOf(`p${i % 7}`), { sequence: i, frame: appended[i - 1] });
    const kind = filled("1").length % 7;
    assert.is(digest.framesOf(kind), 60);
    assert.is(digest.framesOf(VOID_KIND), 0);
    assert.is(digest.nextRowOf(kind), 77);
    const left = appended.filter((number) => number >= log.first);
    assert.equal(
      (await all(log)).map(([number, text]) => [number, text.trim()]),
      left.map((number) => [number, filled(`${appended.indexOf(number) + 1}`)]),
    );
    const { number } = await log.append(entry("more"));
    assert.ok(number > appended.at(-1)!);
    assert.equal(
      log.extents.map(({ next }, i, all) => next === (all[i + 1]?.first ?? log.next)),
      log.extents.map(() => true),
    );
    await log.close();
  });
}

test.after(async () => {
  await connection?.close();
  await server?.kill();
});

test.run();
