/** Brings a host to rest and compares everything that it holds with what was acknowledged. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah, StreamInfo } from "../../host/client/live.ts";
import type { HallelujahError } from "../../host/core/errors.ts";
import { linesOf } from "../../host/client/lines.ts";
import { drained } from "../flow/host.ts";
import { patiently } from "./loader.ts";
import { type Answered, ask } from "./asked.ts";
import { piecesOfLog } from "./frames.ts";
import { checkHandled, type Counts, type Piece, type Taken } from "./handled.ts";
import { checkDead, framesThatStop } from "./late.ts";
import type { OutputCheck } from "./outputs.ts";
import { type Asked, piecesOfStream, producersOf, type StreamSpec, STREAMS } from "./streams.ts";

/** Time in which a host must have applied all that it has, and a sink have all rows, ms. */
const SETTLE_MS = 180_000;
const SINK_MS = 30_000;
const PAUSE_MS = 50;

export interface Verified {
  records: number;
  outputs: number;
  deadLetters: number;
}

/** Gives all streams what they need, says that no more records come, and waits until everything is applied. */
export async function settle(
  client: Pick<Hallelujah, "change" | "push" | "streams">,
  abandoned: AbortSignal,
  specs: readonly StreamSpec[] = STREAMS,
): Promise<void> {
  for (const { name, ends } of specs) {
    await patiently(() => client.change(name, { min: 0, max: 2, shards: 0, paused: false }), abandoned);
    if (ends) await patiently(() => client.push(name, "", { end: true }), abandoned);
  }
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const streams = await patiently(() => client.streams(), abandoned);
    const byName = new Map(streams.map((stream) => [stream.name, stream]));
    const failed = streams.find(({ state }) => state === "failed");
    if (failed) throw new Error(`${failed.name} failed: ${failed.error}`);
    const settled = specs.every(({ name, from, shares }) => {
      const stream = byName.get(name);
      const upstream = from === undefined || shares ? undefined : byName.get(from);
      return (
        stream && !stream.reprocess && drained(stream) && (!upstream || stream.records >= upstream.outputs)
      );
    });
    if (settled) return;
    if (performance.now() > deadline)
      throw new Error(`it does not come to rest: ${streams.map(describe).join("; ")}`);
    abandoned.throwIfAborted();
    await sleep(PAUSE_MS);
  }
}

/** Throws with what is missing, or there twice, or otherwise not what follows from these records. */
export async function verify(
  client: Hallelujah,
  folder: string,
  taken: Taken,
  { outputs = true, streams = STREAMS as readonly StreamSpec[] } = {},
): Promise<Verified> {
  const verified = { records: 0, outputs: 0, deadLetters: 0 };
  for (const spec of streams) {
    const stream = await client.stream(spec.name);
    try {
      const history = taken.histories.get(spec.name)!;
      history.learn(await client.versions(spec.name));
      const pieces = await piecesOf(spec, folder, taken);
      const dead = spec.stops ? framesThatStop(pieces, history, spec.stops) : new Set<number>();
      const letters = await client.deadLetters(spec.name);
      checkDead(
        letters.map(({ frame }) => frame),
        dead,
      );
      const alive = pieces.filter(({ frame }) => !dead.has(frame));
      checkCounts(stream, recordsOf(spec, taken.counts), pieces, alive);
      await checkTables(client, spec, taken.counts);
      if (typeof spec.makes === "object") {
        const { rows } = await askAgain(client, spec.name, spec.makes);
        checkHandled(rows, alive, history);
      }
      if (spec.output && outputs) await checkOutput(client, spec, stream.outputs, folder, taken);
    } catch (error) {
      throw new Error(`${spec.name}: ${(error as Error).message} (${describe(stream)})`, { cause: error });
    }
    verified.records += stream.records;
    verified.outputs += stream.outputs;
    verified.deadLetters += stream.deadLetters;
  }
  return verified;
}

/** Asks until shards do not move meanwhile any more: they are brought to where they were not before. */
async function askAgain(client: Hallelujah, stream: string, asked: Asked): Promise<Answered> {
  for (;;) {
    try {
      return await ask(client, stream, asked);
    } catch (error) {
      if ((error as HallelujahError).code !== "visit-lost") throw error;
      await sleep(PAUSE_MS);
    }
  }
}

/** Where the records of a stream are: as pushes were answered, or as its log has them. */
export async function piecesOf(
  spec: StreamSpec,
  folder: string,
  { pieces }: Taken,
): Promise<(Piece & { producer: string })[]> {
  if (spec.recordsOf) return piecesOfLog(join(folder, "data", "streams", spec.name, "log"), spec.recordsOf);
  return [...piecesOfStream(spec, pieces)].flatMap(([producer, own]) =>
    own.map((piece) => ({ ...piece, producer })),
  );
}

/** `due` records were acknowledged, of which those of `alive` are not in dead letters. */
function checkCounts(stream: StreamInfo, due: number, pieces: Piece[], alive: Piece[]): void {
  const { records, badRecords, lateRecords, lateOutputs } = stream;
  const sum = (all: Piece[]) => all.reduce((total, { count }) => total + count, 0);
  if (sum(pieces) !== due)
    throw new Error(`its log has ${sum(pieces)} records, and ${due} were acknowledged`);
  if (records !== sum(alive))
    throw new Error(
      `it counts ${records} records, and ${due} were acknowledged, of which ${due - sum(alive)} are in dead letters`,
    );
  for (const [what, count] of Object.entries({ badRecords, lateRecords, lateOutputs }))
    if (count) throw new Error(`it has ${count} ${what}, and none can be`);
}

/** Throws unless the tables hold all records that were acknowledged, once; what visits them, by themselves or by a query, too. */
export async function checkTables(client: Hallelujah, spec: StreamSpec, counts: Counts): Promise<void> {
  for (const table of spec.tables) {
    const { rows } = await askAgain(client, spec.name, table);
    const held = table.countsOf(rows);
    const keys = table.keys?.of(rows);
    for (const [producer, count] of producersOf(spec, counts)) {
      const has = held.get(producer) ?? 0;
      if (has !== count)
        throw new Error(`its table ${table.name} holds ${has} records of ${producer}, not ${count}`);
      const entries = keys?.get(producer) ?? 0;
      const due = Math.min(count, table.keys?.most ?? 0);
      if (entries !== due)
        throw new Error(`its table ${table.name} has ${entries} entries of ${producer}, not ${due}`);
    }
  }
}

/** The output from its first row on, and the file that it goes to, which is the same byte for byte. */
async function checkOutput(
  client: Hallelujah,
  spec: StreamSpec,
  total: number,
  folder: string,
  taken: Taken,
): Promise<void> {
  const check = spec.output!();
  const hash = createHash("sha256");
  let bytes = 0;
  let rows = 0;
  for await (const line of total ? outputLines(client.url, spec.name) : []) {
    check.take(JSON.parse(line));
    hash.update(line).update("\n");
    bytes += Buffer.byteLength(line) + 1;
    if (++rows === total) break;
  }
  endOutput(check, spec, taken);
  if (spec.sink === undefined) return;
  const path = join(folder, spec.sink);
  const deadline = performance.now() + SINK_MS;
  const size = () => (existsSync(path) ? statSync(path).size : 0);
  while (size() !== bytes && performance.now() < deadline) await sleep(PAUSE_MS);
  const sink = createHash("sha256");
  if (existsSync(path)) for await (const chunk of createReadStream(path)) sink.update(chunk as Buffer);
  if (sink.digest("hex") !== hash.digest("hex"))
    throw new Error(`${spec.sink} has ${size()} bytes, and not the ${bytes} of the output`);
}

/** Throws unless what was taken of an output is all, and each row of the kernel that was due. */
export function endOutput(check: OutputCheck, spec: StreamSpec, taken: Taken): void {
  check.end(producersOf(spec, taken.counts));
  if (spec.makes === "output")
    check.endMakes!(piecesOfStream(spec, taken.pieces), taken.histories.get(spec.name)!);
}

/** Rows as they come, from the first on, without end. */
async function* outputLines(url: string, stream: string): AsyncGenerator<string> {
  const stop = new AbortController();
  const token = process.env.HALLELUJAH_TOKEN;
  const response = await fetch(`${url}/v1/streams/${stream}/output?from=0`, {
    headers: {
      accept: "application/x-ndjson",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    signal: stop.signal,
  });
  if (!response.ok) throw new Error(`its output cannot be read: ${await response.text()}`);
  try {
    yield* linesOf(response.body!);
  } finally {
    stop.abort();
  }
}

function recordsOf(spec: StreamSpec, counts: Counts): number {
  return [...producersOf(spec, counts).values()].reduce((sum, count) => sum + count, 0);
}

function describe({ name, state, frame, frames, records, outputs, jahs, error }: StreamInfo): string {
  return `${name} is ${state} at frame ${frame} of ${frames}, with ${records} records, ${outputs} rows sent out, ${jahs} Jahs${error ? `, ${error}` : ""}`;
}
