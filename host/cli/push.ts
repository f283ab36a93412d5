/** `hallelujah push`: files or standard input into a stream. */
import { randomUUID } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import type { PushProgress } from "../client/live.ts";
import { until } from "../client/lines.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { formatOf } from "../input/discover.ts";
import { hostOf, inBytes, print, type RemoteFlags, untilInterrupted } from "./remote.ts";
import { ProgressLine } from "./progress.ts";

type Format = "csv" | "ndjson" | "lines";

export interface PushFlags extends RemoteFlags {
  inputFormat?: Format;
  delimiter?: string;
  columns?: string[];
  producer?: string;
  /** Says when all is stored that no more comes. */
  end?: boolean;
}

/** Records of a pipe without more to come wait for so long at most; those of a push that has a name, until a body is full. */
const FLUSH_MS = 200;
/** Errors after which the same push may go on. */
const INTERRUPTIONS = new Set(["interrupted", "host-unreachable", "connection-lost"]);

export async function pushCommand(name: string, files: string[], flags: PushFlags): Promise<void> {
  const host = hostOf(flags);
  const signal = untilInterrupted();
  const sizes = files.map((file) => (file === "-" ? 0 : sizeOf(file)));
  const bytesTotal = sizes.every((size) => size > 0) ? sizes.reduce((sum, size) => sum + size, 0) : 0;
  // Nothing is read for a stream or a host that is not there.
  await host.stream(name, { signal });
  const { producer = randomUUID(), delimiter, columns } = flags;
  const bar = process.stderr.isTTY ? new ProgressLine("stored") : undefined;
  let done: PushProgress = { producer, sequence: 0, repeatable: true, bytes: 0, bodies: 0, frame: -1 };
  try {
    for (const [i, file] of files.entries()) {
      const { bytes, bodies, sequence, repeatable } = done;
      const onProgress = (now: PushProgress) => {
        done = {
          ...now,
          bytes: bytes + now.bytes,
          bodies: bodies + now.bodies,
          repeatable: repeatable && now.repeatable,
        };
        bar?.update({ bytes: done.bytes, bytesTotal, rows: 0 });
      };
      const { chunks, format } = await openInput(file, flags, signal);
      const last = await host.push(name, chunks, {
        format,
        ...(delimiter === undefined ? {} : { delimiter }),
        ...(columns === undefined ? {} : { columns }),
        producer,
        sequence,
        ...(file === "-" && flags.producer === undefined ? { flushMs: FLUSH_MS } : {}),
        end: (flags.end ?? false) && i === files.length - 1,
        signal,
        onProgress,
      });
      onProgress(last);
    }
  } catch (error) {
    bar?.clear();
    const goOn =
      done.repeatable && INTERRUPTIONS.has((error as { code?: string }).code!)
        ? ` To go on with the same input: ${again(name, files, { ...flags, producer })}`
        : "";
    process.stderr.write(`${inBytes(done.bytes)} were stored.${goOn}\n`);
    throw error;
  } finally {
    process.stdin.destroy(); // it may be waited for
  }
  bar?.clear();
  const upTo = done.frame >= 0 ? ` (up to frame ${done.frame})` : "";
  await print(`pushed ${inBytes(done.bytes)} to ${name}${upTo}\n`);
}

/** The command that goes on; a token is not shown. */
function again(name: string, files: string[], flags: PushFlags): string {
  const { url, inputFormat, delimiter, columns, producer, end } = flags;
  const options = Object.entries({
    url,
    "input-format": inputFormat,
    delimiter,
    columns: columns?.join(","),
    producer,
  }).flatMap(([option, value]) => (value === undefined ? [] : [`--${option}`, value]));
  const words = ["hallelujah", "push", name, ...files, ...options, ...(end ? ["--end"] : [])];
  return words
    .map((word) => (/^[\w./:=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}

function sizeOf(file: string): number {
  const size = statSync(file, { throwIfNoEntry: false });
  if (!size) throw new HallelujahError("input-missing", `there is no file ${file}`);
  if (size.isDirectory()) throw new HallelujahError("input-missing", `${file} is a folder; name its files`);
  return file.endsWith(".gz") ? 0 : size.size;
}

/** What a file or standard input holds: its records, and their format as the user says, or name and content tell. */
async function openInput(
  file: string,
  { inputFormat, columns }: PushFlags,
  signal: AbortSignal,
): Promise<{ chunks: AsyncIterable<Uint8Array>; format: Format }> {
  const chunks = until(readInput(file), signal);
  if (inputFormat || columns) return { chunks, format: inputFormat ?? "csv" };
  const first = await chunks.next();
  if (first.done) return { chunks, format: "ndjson" };
  const shown = shownName(file);
  const format = formatOf(file, first.value, undefined, /\.(log|txt)(\.gz)?$/i.test(file), shown);
  if (format === "parquet" || format === "arrow") {
    const message = `${shown} is ${format}, which a host reads by itself: hallelujah deploy NAME KERNEL --source FILE`;
    throw new HallelujahError("input-format", message);
  }
  const all = async function* () {
    yield first.value;
    yield* chunks;
  };
  return { chunks: all(), format };
}

async function* readInput(file: string): AsyncGenerator<Buffer> {
  const plain = file === "-" ? process.stdin : createReadStream(file, { highWaterMark: 1 << 20 });
  try {
    yield* file.endsWith(".gz") ? pipeline(plain, createGunzip(), () => {}) : plain;
  } catch (cause) {
    const message = `${shownName(file)} cannot be read: ${messageOf(cause)}`;
    throw new HallelujahError("input-unreadable", message, { cause });
  }
}

function shownName(file: string): string {
  return file === "-" ? "standard input" : file;
}
