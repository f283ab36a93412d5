/** Records of a program become numbered bodies, each of which is sent until the host has it. */
import type { Pushed } from "../wire/http.ts";
import { type Connection, streamPath } from "./connection.ts";
import type { PushOptions, PushProgress, Records } from "./contract.ts";
import { bodiesOf, chunksOf, until } from "./lines.ts";

/** Bytes of a body of records. */
const BODY_BYTES = 1 << 20;

/** See Hallelujah.push (live.ts). */
export async function push(
  connection: Connection,
  name: string,
  records: Records,
  options: PushOptions,
): Promise<PushProgress> {
  const { format = "ndjson", delimiter, columns, end = false, flushMs } = options;
  const { signal, onProgress, onRefused } = options;
  const search = new URLSearchParams();
  if (delimiter !== undefined) search.set("delimiter", delimiter);
  if (columns) search.set("columns", columns.join(","));
  const type = format === "csv" ? "text/csv" : format === "lines" ? "text/plain" : "application/x-ndjson";
  const progress: PushProgress = {
    bytes: 0,
    bodies: 0,
    producer: options.producer ?? randomName(),
    sequence: options.sequence ?? 0,
    repeatable: true,
    frame: -1,
  };
  const path = `${streamPath(name)}/records?${search}`;
  const headers = { "content-type": columns ? `${type}; header=absent` : type };
  const chunks = until(bytesOf(records), signal);
  const onFlush = () => {
    progress.repeatable = false;
    onProgress?.({ ...progress });
  };
  const header = format === "csv" && !columns;
  for await (const body of bodiesOf(chunks, BODY_BYTES, header, flushMs, onFlush)) {
    const numbered = {
      ...headers,
      "hallelujah-producer": progress.producer,
      "hallelujah-sequence": String(progress.sequence),
    };
    const request = { body, headers: numbered, signal };
    const { frame } = await connection.patiently<Pushed>("POST", path, request, onRefused);
    progress.bytes += body.length;
    progress.bodies++;
    progress.sequence++;
    progress.frame = frame;
    onProgress?.({ ...progress });
  }
  if (end) {
    search.set("end", "true");
    const ended = `${streamPath(name)}/records?${search}`;
    const { frame } = await connection.patiently<Pushed>(
      "POST",
      ended,
      { body: "", headers, signal },
      onRefused,
    );
    progress.frame = frame;
  }
  return progress;
}

async function* bytesOf(records: Records): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  if (typeof records === "string") return yield encoder.encode(records);
  if (isBytes(records)) return yield records;
  if ("getReader" in records) return yield* chunksOf(records);
  for await (const record of records) {
    if (isBytes(record)) yield record;
    else if (typeof record === "string") yield encoder.encode(record);
    else yield encoder.encode(`${JSON.stringify(record)}\n`);
  }
}

/** Also those of another realm: of a frame of a page, or a test runner's. */
function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value);
}

/** 128 random bits; browsers have `randomUUID` for pages that came by https only. */
function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
