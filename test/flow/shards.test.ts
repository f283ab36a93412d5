/** Shards on disk of which one cannot be had, or that are more than the host has CPUs. */
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TableRow } from "../../host/client/rows.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import { partitionOf } from "../../host/kernel/partitions.ts";
import { cli } from "../run.ts";
import { BODIES, body, env as rarely, filesOf, flip, kernel, killed, rowsOf } from "./damage.ts";
import { drained, startHost, type TestHost, until } from "./host.ts";

const test = suite("flow/shards");
/** Each frame is saved. */
const env = { ...rarely, HALLELUJAH_CHECKPOINT_BYTES: "1000" };

/** A stream that two shards share, as a host left it that was killed; and the rows that it had. */
async function makeSplit(
  source = kernel,
  table = "stations",
  bodyOf = body,
): Promise<{ data: string; rows: TableRow[] }> {
  const data = mkdtempSync(join(tmpdir(), "hallelujah-damage-"));
  const host = await startHost({ cpus: 2, data, env });
  await host.client.deploy("split", { kernel: source, max: 2 });
  await host.client.push("split", bodyOf(0));
  await host.client.change("split", { shards: 2 });
  await until(host.client, "split", ({ shards }) => shards.length === 2);
  for (let i = 1; i < BODIES; i++) {
    await host.client.push("split", bodyOf(i));
    await until(host.client, "split", drained);
  }
  // What both shards have is on disk.
  await until(host.client, "split", ({ checkpoints, frames }) => checkpoints.frame === frames);
  const rows = await rowsOfTable(host, table);
  await killed(host);
  return { data, rows };
}

const storedOf = (data: string, name: string) =>
  (
    JSON.parse(readFileSync(join(data, "registry.json"), "utf8")) as {
      entries: [string, { value: StreamRecord }][];
    }
  ).entries.find(([key]) => key === `streams/${name}`)![1].value.stored;

/** A frame that all shards have on disk cannot be read from the log any more. */
function breakHistory(data: string): void {
  const [segment] = filesOf(join(data, "streams", "split", "log"), ".seg");
  flip(segment, statSync(segment).size >> 2);
}

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => {
      throw new Error("it was answered");
    },
    (error: { code: string; message: string }) => error,
  );

test("a shard that is beyond repair is unavailable, and the other one goes on", async () => {
  const { data, rows } = await makeSplit();
  const [lost, healthy] = storedOf(data, "split");
  assert.equal([lost.from, healthy.to], [0, 256]);
  const folder = join(data, "streams", "split", lost.folder);
  cpSync(folder, `${data}-kept`, { recursive: true });
  rmSync(folder, { recursive: true });
  breakHistory(data);
  const doctor = await cli(["doctor", "--data", data]);
  assert.match(
    doctor.stdout,
    /shard-\d+ is missing; .* these partitions will be unavailable, the others go on/,
  );
  assert.is(doctor.code, 1);

  const isLost = (key: string) => partitionOf(["Text"], Buffer.from(key), false) < lost.to;
  const keyed = async ({ client }: TestHost, key: string) =>
    (await client.query<TableRow>("split", "stations", { key })).all();
  const sample = rows.filter((_, i) => i % 97 === 0);
  assert.ok(
    sample.some(({ key }) => isLost(key as string)) && sample.some(({ key }) => !isLost(key as string)),
  );
  /** The healthy shard answers `count` times what it had; the other one is refused, and said to be unavailable. */
  const check = async (host: TestHost) => {
    const { client } = host;
    const words = new RegExp(
      `^partitions 0 to ${lost.to - 1} of split are unavailable: .*log-damaged: .*seg is damaged`,
    );
    // That is found when its state is needed.
    const refused = await refusal(rowsOf(host, "split"));
    const { shards, state } = await until(client, "split", drained);
    assert.is(state, "running");
    assert.equal([shards[0].from, shards[0].to, shards[0].jah], [0, lost.to, null]);
    assert.ok(shards.slice(1).every((shard) => shard.jah !== null && !shard.unavailable));
    assert.match(shards[0].unavailable!.folder, new RegExp(`${lost.folder}$`));
    assert.match(shards[0].unavailable!.reason, /(^|: )log-damaged: .*seg is damaged at byte \d+/);
    assert.match(shards[0].unavailable!.next, /backup.*remove split and push again/);
    assert.is(refused.code, "shard-unavailable");
    assert.match(refused.message, words);
    for (const row of sample) {
      const key = row.key as string;
      if (!isLost(key)) assert.equal(await keyed(host, key), [row]);
      else assert.is((await refusal(keyed(host, key))).code, "shard-unavailable");
    }
    const ps = await cli(["ps", "split", "--format", "table"], { env: { HALLELUJAH_URL: host.url } });
    assert.match(ps.stdout, /\d, 1 unavailable/);
    assert.match(ps.stderr, /partitions 0 to \d+ are unavailable: .*; restore a backup/);
  };

  let host = await startHost({ cpus: 2, data, env });
  try {
    await check(host);
    const { frame } = await host.client.push("split", body(BODIES));
    await until(host.client, "split", drained);
    const fresh = Array.from({ length: 100 }, (_, j) => `s${BODIES}-${j}`);
    for (const key of fresh)
      if (!isLost(key)) assert.is((await keyed(host, key)).length, 1, key);
      else assert.is((await refusal(keyed(host, key))).code, "shard-unavailable");
    // Nothing moves to or from what is lost.
    await host.client.change("split", { shards: 1, max: 1 });
    await until(host.client, "split", ({ shards, jahs }) => shards.length === 2 && jahs === 1);
    await check(host);
    const answer = await fetch(`${host.url}/v1/streams/split/tables/stations`);
    const problem = (await answer.json()) as { status: number; code: string };
    assert.equal([answer.status, problem.status, problem.code], [503, 503, "shard-unavailable"]);
    assert.is(answer.headers.get("retry-after"), null);
    // What is healthy is saved in the end, as ever.
    assert.is(await host.stop(), 0);
    host = await startHost({ cpus: 1, data, env });
    assert.is((await host.client.stream("split")).checkpoints.frame, frame + 1);
    await host.client.push("split", body(BODIES + 1));
    await check(host);

    // The folder comes back from a backup: the log brings the rest.
    await killed(host);
    rmSync(folder, { recursive: true, force: true });
    cpSync(`${data}-kept`, folder, { recursive: true });
    host = await startHost({ cpus: 2, data, env });
    await until(host.client, "split", ({ state }) => state === "running");
    const now = await rowsOf(host, "split");
    assert.is(now.length, rows.length + 2000);
    const known = new Set(rows.map(({ key }) => key));
    assert.equal(
      now.filter(({ key }) => known.has(key)),
      rows,
    );
    assert.ok((await host.client.stream("split")).shards.every(({ unavailable }) => !unavailable));
  } finally {
    await host.stop();
    for (const path of [data, `${data}-kept`]) rmSync(path, { recursive: true, force: true });
  }
});

test("where the lost shard's rows would be missing, the output ends, and says so, for good", async () => {
  const { data, rows } = await makeSplit(CHAINS, "lines", steps);
  const [lost] = storedOf(data, "split");
  rmSync(join(data, "streams", "split", lost.folder), { recursive: true });
  breakHistory(data);
  let host = await startHost({ cpus: 2, data, env });
  try {
    const before = BODIES * LINES;
    for (let i = 0; i < 2; i++) {
      assert.is((await refusal(rowsOfTable(host, "lines"))).code, "shard-unavailable");
      await host.client.push("split", steps(BODIES + i));
      const { outputs, frames } = await until(host.client, "split", drained);
      assert.is(outputs, before);
      // What is healthy is saved all the same.
      await until(host.client, "split", ({ checkpoints }) => checkpoints.frame === frames);
      assert.is((await take(host, before)).length, before);
      assert.is((await refusal(take(host, before + 1))).code, "shard-unavailable");
      const answer = await fetch(`${host.url}/v1/streams/split/output?from=${before}`);
      assert.equal(
        [answer.status, ((await answer.json()) as { code: string }).code],
        [503, "shard-unavailable"],
      );
      const healthy = rows.find(
        ({ key }) => partitionOf(["Text"], Buffer.from(key as string), false) >= lost.to,
      )!;
      const [row] = await (
        await host.client.query<TableRow>("split", "lines", { key: healthy.key as string })
      ).all();
      assert.is(row.last, BODIES + i + 1);
      await host.stop();
      host = await startHost({ cpus: 2, data, env });
    }
  } finally {
    await host.stop();
    rmSync(data, { recursive: true, force: true });
  }
});

/** Folded in order by key, each record sent on with what came before. */
const CHAINS = `import { Table, Text, out } from "hallelujah";
@record class Step { line: Text; n: i64 }
@record class Link { line: Text; n: i64; before: i64 }
@state class Line { last: i64; sum: i64 }
const lines = new Table<Text, Line>("lines");
export function key(step: Step): Text { return step.line; }
export function fold(step: Step, line: Line): void {
  const link = new Link();
  link.line = step.line;
  link.n = step.n;
  link.before = line.last;
  line.last = step.n;
  line.sum += step.n;
  out.emit(link);
}`;
const LINES = 50;
/** The steps of a body: each line gets the number of the body. */
const steps = (i: number) =>
  Array.from({ length: LINES }, (_, line) => `{"line":"line ${line}","n":${i + 1}}\n`).join("");
/** Time after which a host is killed that brings shards together, ms. */
const KILLS = [0, 200, 500];

async function rowsOfTable({ client }: TestHost, table: string): Promise<TableRow[]> {
  return (await client.query<TableRow>("split", table)).all();
}

const gathers: [name: string, kernel: string, table: string, body: (i: number) => string][] = [
  ["a group-by", kernel, "stations", body],
  ["an ordered kernel with output", CHAINS, "lines", steps],
];
for (const [name, source, table, bodyOf] of gathers)
  test(`more shards than CPUs come together, however often that is interrupted: ${name}`, async () => {
    const data = mkdtempSync(join(tmpdir(), "hallelujah-shards-"));
    let host = await startHost({ cpus: 2, data, env });
    let sent = 0;
    const push = async (count: number) => {
      for (let i = 0; i < count; i++) await host.client.push("split", bodyOf(sent++));
      await until(host.client, "split", drained);
    };
    await host.client.deploy("split", { kernel: source, max: 2 });
    await push(1);
    await host.client.change("split", { shards: 2 });
    await until(host.client, "split", ({ shards }) => shards.length === 2);
    await push(3);
    await until(host.client, "split", ({ checkpoints, frames }) => checkpoints.frame === frames);
    await killed(host);
    const stored = storedOf(data, "split");
    assert.is(stored.length, 2);
    const older = join(data, "streams", "split", stored[0].folder);
    cpSync(older, `${data}-older`, { recursive: true });
    host = await startHost({ cpus: 2, data, env });
    await push(8);
    await until(host.client, "split", ({ checkpoints, frames }) => checkpoints.frame === frames);
    const reference = await rowsOfTable(host, table);
    await killed(host);
    // One of them is behind the other.
    rmSync(older, { recursive: true });
    renameSync(`${data}-older`, older);

    let interrupted = 0;
    for (const ms of KILLS) {
      host = await startHost({ cpus: 1, data, env });
      const asked = rowsOfTable(host, table).catch(() => {});
      await until(host.client, "split", ({ jahs }) => jahs === 1);
      await new Promise((done) => setTimeout(done, ms));
      await killed(host);
      await asked;
      if (storedOf(data, "split").length === 2) interrupted++;
    }
    assert.ok(interrupted > 0);
    host = await startHost({ cpus: 1, data, env });
    assert.equal(await rowsOfTable(host, table), reference);
    await push(1);
    const { shards } = await host.client.stream("split");
    assert.equal([shards.length, shards[0].from, shards[0].to], [1, 0, 256]);
    const whole = await rowsOfTable(host, table);
    assert.is(whole.length, reference.length + (source === CHAINS ? 0 : 1000));
    if (source === CHAINS) {
      // They are applied before they are written.
      const { outputs } = await until(host.client, "split", (stream) => stream.outputs >= sent * LINES);
      assert.is(outputs, sent * LINES);
      const links = await take(host, outputs);
      for (let line = 0; line < LINES; line++)
        assert.equal(
          links.filter((link) => link.line === `line ${line}`).map(({ n, before }) => [n, before]),
          Array.from({ length: sent }, (_, i) => [i + 1, i]),
        );
    }
    // What is in one folder now stays so.
    assert.is(await host.stop(), 0);
    assert.is(storedOf(data, "split").length, 1);
    assert.match((await cli(["doctor", "--data", data])).stdout, /^ok +nothing is wrong/m);
    rmSync(data, { recursive: true, force: true });
  });

async function take(host: TestHost, count: number): Promise<Record<string, unknown>[]> {
  const links: Record<string, unknown>[] = [];
  for await (const { row } of host.client.output("split", { from: 0, signal: AbortSignal.timeout(30_000) })) {
    links.push(row);
    if (links.length === count) break;
  }
  return links;
}

test("a capacity that is less than there are shards is enough", async () => {
  const { data, rows } = await makeSplit();
  const host = await startHost({ cpus: 2, data, env });
  try {
    assert.is(storedOf(data, "split").length, 2);
    const { code } = await cli(["capacity", "split", "1"], { env: { HALLELUJAH_URL: host.url } });
    assert.is(code, 0);
    assert.equal(await rowsOf(host, "split"), rows);
    await until(host.client, "split", ({ jahs, shards }) => jahs === 1 && shards.length === 1);
  } finally {
    assert.is(await host.stop(), 0);
    rmSync(data, { recursive: true, force: true });
  }
});

test.run();
