/** Brings a host to rest and compares everything that it holds with what was acknowledged. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah, StreamInfo } from "../../host/client/live.ts";
import { linesOf } from "../../host/client/lines.ts";
import { drained } from "../flow/host.ts";
import { patiently } from "./loader.ts";
import { checkHandled, type Counts, type Taken } from "./handled.ts";
import { rowsOf, type OutputCheck, type StreamSpec, STREAMS } from "./streams.ts";

/** Time in which a host must have applied all that it has, and a sink have all rows, ms. */
const SETTLE_MS = 180_000;
const SINK_MS = 30_000;
const PAUSE_MS = 50;

export interface Verified {
  records: number;
  outputs: number;
}

/** Gives all streams what they need, says that no more records come, and waits until everything is applied. */
export async function settle(client: Hallelujah, abandoned: AbortSignal): Promise<void> {
  for (const { name, ends } of STREAMS) {
    await patiently(() => client.change(name, { min: 0, max: 2, shards: 0, paused: false }), abandoned);
    if (ends) await patiently(() => client.push(name, "", { end: true }), abandoned);
  }
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const streams = await patiently(() => client.streams(), abandoned);
    const byName = new Map(streams.map((stream) => [stream.name, stream]));
    const failed = streams.find(({ state }) => state === "failed");
    if (failed) throw new Error(`${failed.name} failed: ${failed.error}`);
    const settled = STREAMS.every(({ name, from }) => {
      const stream = byName.get(name);
      const upstream = from === undefined ? undefined : byName.get(from);
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
  { outputs = true } = {},
): Promise<Verified> {
  const { counts, histories } = taken;
  const verified = { records: 0, outputs: 0 };
  for (const spec of STREAMS) {
    const stream = await client.stream(spec.name);
    const due = recordsOf(spec, counts);
    try {
      checkCounts(stream, due);
      const history = histories.get(spec.name);
      history?.learn(await client.versions(spec.name));
      for (const table of spec.tables) {
        const rows = await (await rowsOf(client, spec.name, table)).all();
        const held = table.countsOf(rows);
        for (const [producer, count] of producersOf(spec, counts))
          if ((held.get(producer) ?? 0) !== count)
            throw new Error(
              `its table ${table.name} holds ${held.get(producer) ?? 0} records of ${producer}, not ${count}`,
            );
      }
      if (typeof spec.makes === "object") {
        const rows = await (await rowsOf(client, spec.name, spec.makes)).all();
        checkHandled(rows, [...piecesOfStream(spec, taken).values()].flat(), history!);
      }
      if (spec.output && outputs) await checkOutput(client, spec, stream.outputs, folder, taken);
    } catch (error) {
      throw new Error(`${spec.name}: ${(error as Error).message} (${describe(stream)})`, { cause: error });
    }
    verified.records += due;
    verified.outputs += stream.outputs;
  }
  return verified;
}

function checkCounts(stream: StreamInfo, due: number): void {
  const { records, badRecords, lateRecords, lateOutputs, deadLetters } = stream;
  if (records !== due) throw new Error(`it counts ${records} records, and ${due} were acknowledged`);
  for (const [what, count] of Object.entries({ badRecords, lateRecords, lateOutputs, deadLetters }))
    if (count) throw new Error(`it has ${count} ${what}, and none can be`);
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
  if (spec.makes === "output") check.endMakes!(piecesOfStream(spec, taken), taken.histories.get(spec.name)!);
}

/** Rows as they come, from the first on, without end. */
async function* outputLines(url: string, stream: string): AsyncGenerator<string> {
  const stop = new AbortController();
  const response = await fetch(`${url}/v1/streams/${stream}/output?from=0`, {
    headers: { accept: "application/x-ndjson" },
    signal: stop.signal,
  });
  if (!response.ok) throw new Error(`its output cannot be read: ${await response.text()}`);
  try {
    yield* linesOf(response.body!);
  } finally {
    stop.abort();
  }
}

/** Producers whose records come to a stream, by themselves or through another one. */
export function producersOf({ producers, from }: StreamSpec, counts: Counts): Counts {
  const source = from === undefined ? producers : STREAMS.find(({ name }) => name === from)!.producers;
  return new Map(source.map(({ id }) => [id, counts.get(id) ?? 0]));
}

function piecesOfStream({ producers }: StreamSpec, { pieces }: Taken): Taken["pieces"] {
  return new Map(producers.map(({ id }) => [id, pieces.get(id)!]));
}

function recordsOf(spec: StreamSpec, counts: Counts): number {
  return [...producersOf(spec, counts).values()].reduce((sum, count) => sum + count, 0);
}

function describe({ name, state, frame, frames, records, outputs, jahs, error }: StreamInfo): string {
  return `${name} is ${state} at frame ${frame} of ${frames}, with ${records} records, ${outputs} rows sent out, ${jahs} Jahs${error ? `, ${error}` : ""}`;
}
