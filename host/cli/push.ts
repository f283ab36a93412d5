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

/** An input in work: how many of its bytes are stored, and the inputs behind it. */
interface OpenInput {
  file: string;
  format: Format;
  bytes: number;
  behind: string[];
}

/** Records of a pipe without more to come wait for so long at most; those of a push that has a name, until a body is full. */
const FLUSH_MS = 200;
/** Errors after which the same push may go on. */
const INTERRUPTIONS = new Set(["interrupted", "host-unreachable", "connection-lost"]);
/** Errors of what is pushed. Mended it has other bodies, so no push of it may go on under the same producer. */
const WRONG_INPUT = new Set(["body-invalid", "record-too-large"]);

export async function pushCommand(name: string, files: string[], flags: PushFlags): Promise<void> {
  const host = hostOf(flags);
  const signal = untilInterrupted();
  const sizes = files.map((file) => (file === "-" ? 0 : sizeOf(file)));
  const bytesTotal = sizes.every((size) => size > 0) ? sizes.reduce((sum, size) => sum + size, 0) : 0;
  // Nothing is read for a stream or a host that is not there.
  await host.stream(name, { signal });
  const { producer = randomUUID(), delimiter, columns } = flags;
  if (process.stdin.isTTY && files.includes("-"))
    process.stderr.write("hallelujah: reading standard input; Ctrl-D ends it\n");
  const bar = process.stderr.isTTY ? new ProgressLine("stored") : undefined;
  const refusals = new Refusals(() => bar?.clear());
  let done: PushProgress = { producer, sequence: 0, repeatable: true, bytes: 0, bodies: 0, frame: -1 };
  let open: OpenInput = { file: "", format: "ndjson", bytes: 0, behind: [] };
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
        open.bytes = now.bytes;
        refusals.over();
        bar?.update({ bytes: done.bytes, bytesTotal, rows: 0 });
      };
      const { chunks, format } = await openInput(file, flags, signal);
      open = { file, format, bytes: 0, behind: files.slice(i + 1) };
      const last = await host
        .push(name, chunks, {
          format,
          ...(delimiter === undefined ? {} : { delimiter }),
          ...(columns === undefined ? {} : { columns }),
          producer,
          sequence,
          ...(file === "-" && flags.producer === undefined ? { flushMs: FLUSH_MS } : {}),
          end: (flags.end ?? false) && i === files.length - 1,
          signal,
          onProgress,
          onRefused: (refusal) => refusals.tell(refusal),
        })
        .catch((error: unknown) => {
          throw naming(file, error);
        });
      onProgress(last);
    }
  } catch (error) {
    bar?.clear();
    refusals.repeat();
    if (done.bytes) {
      const { code = "" } = error as { code?: string };
      const goOn = WRONG_INPUT.has(code)
        ? restOf(name, open, flags)
        : done.repeatable && INTERRUPTIONS.has(code)
          ? ` To go on with the same input: ${again(name, files, { ...flags, producer })}`
          : "";
      process.stderr.write(`${inBytes(done.bytes)} were stored.${goOn}\n`);
    }
    throw error;
  } finally {
    process.stdin.destroy(); // it may be waited for
  }
  bar?.clear();
  const upTo = done.frame >= 0 ? ` (up to frame ${done.frame})` : "";
  await print(`pushed ${inBytes(done.bytes)} to ${name}${upTo}\n`);
}

/** What the host refuses for now: said once, and again at the end if that is how it ended. */
class Refusals {
  private readonly told = new Set<string>();
  private readonly clear: () => void;
  private last: HallelujahError | undefined;

  /** `clear` makes room on the terminal. */
  constructor(clear: () => void) {
    this.clear = clear;
  }

  tell(refusal: HallelujahError): void {
    this.last = refusal;
    if (this.told.has(refusal.code)) return;
    this.told.add(refusal.code);
    this.clear();
    process.stderr.write(`hallelujah: ${refusal.message}; it is tried again until there is room\n`);
  }

  over(): void {
    this.last = undefined;
  }

  repeat(): void {
    if (this.last) process.stderr.write(`hallelujah: the host still refused: ${this.last.message}\n`);
  }
}

/** An error about a body says of which input it is. */
function naming(file: string, error: unknown): unknown {
  if (!(error instanceof HallelujahError) || !WRONG_INPUT.has(error.code)) return error;
  const shown = shownName(file);
  const message = /^the body\b/.test(error.message)
    ? error.message.replace(/^the body\b/, shown)
    : `${shown}: ${error.message}`;
  return new HallelujahError(error.code, message, { cause: error });
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
  return words.map(quoted).join(" ");
}

/** How to push what is not stored of an input, where that can be said in a line: it has no header line, and is a file as it is. */
function restOf(name: string, { file, format, bytes, behind }: OpenInput, flags: PushFlags): string {
  if (file === "-" || file.endsWith(".gz") || (format === "csv" && !flags.columns)) return "";
  const { producer: _, ...rest } = flags;
  const push = again(name, ["-", ...behind], { ...rest, inputFormat: format });
  return ` When it is mended, push the rest: tail -c +${bytes + 1} ${quoted(file)} | ${push}`;
}

/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w./:=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
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
