/**
 * What `deploy --source` reads: files, folders, globs and URLs, as frames in one order. Plain files become references,
 * which Jahs follow themselves; compressed ones and URLs (http, https, s3) are read here and cut as a file would be.
 */
import { resolve } from "node:path";
import { Readable } from "node:stream";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import { FRAME_BYTES, SOURCES_MAX } from "../core/limits.ts";
import { findFiles, isRemote } from "../input/discover.ts";
import { framesOf } from "../input/frames.ts";
import { planSource, planSources, type Source } from "../input/plan.ts";
import type { SourceFormat } from "../wire/jah.ts";
import type { StreamSource } from "./shapes.ts";

/** `input` is the number of an input, from 0, in the order of reading. */
export type SourceEvent =
  /** All inputs are known: each of them is waited for, as to its event time. */
  | { type: "inputs"; count: number }
  | { type: "begins"; input: number; source: StreamSource }
  /** A reference, the number of a range or row group; or the records themselves. */
  | { type: "frame"; input: number; index: number }
  | { type: "frame"; input: number; bytes: Uint8Array }
  | { type: "ended"; input: number };

const OF_SERVERS = new Set(["input-unreadable", "input-changed", "input-too-many", "s3-config", "usage"]);
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** What of one pattern is read; a URL is fetched when its turn comes. */
type Group = { url: string } | { sources: Source[] };

/** What is read, and its format, if its user says so. */
interface Inputs {
  source: string[];
  inputFormat?: SourceFormat;
}

/**
 * Frames of all inputs from number `first` on, in order. Rejects with a HallelujahError that names the input.
 */
export async function* readSources(
  { source: patterns, inputFormat }: Inputs,
  kernel: KernelDescriptor,
  first: number,
  signal: AbortSignal,
): AsyncGenerator<SourceEvent> {
  const as = inputFormat === undefined ? {} : { inputFormat };
  const groups: Group[] = [];
  for (const pattern of patterns) groups.push(...(await groupsOf(pattern, kernel, as, signal)));
  const count = groups.reduce((sum, group) => sum + ("url" in group ? 1 : group.sources.length), 0);
  if (count > SOURCES_MAX) {
    const message = `--source comes to ${count} files; a stream reads ${SOURCES_MAX} at most: join them, or use several streams`;
    throw new HallelujahError("too-many-sources", message);
  }
  yield { type: "inputs", count };
  let input = 0;
  for (const group of groups) {
    if ("url" in group) {
      if (input >= first) {
        const source = await openUrl(group.url, kernel, as, signal);
        yield* readOne(source, source.name, input, signal);
      }
      input++;
      continue;
    }
    for (const source of group.sources) {
      if (input >= first) yield* readOne(source, source.name, input, signal);
      else source.stream?.close();
      input++;
    }
  }
}

async function groupsOf(
  pattern: string,
  kernel: KernelDescriptor,
  as: Pick<Inputs, "inputFormat">,
  signal: AbortSignal,
): Promise<Group[]> {
  if (isRemote(pattern)) {
    const files = await ofSource(() => findFiles([pattern], signal));
    return files.map(({ path }) => ({ url: path }));
  }
  if (SCHEME.test(pattern)) {
    const message = `${pattern} cannot be read: a source is a file, folder or glob of the host, or an http(s) or s3 URL`;
    throw new HallelujahError("source-unreadable", message);
  }
  return [{ sources: await planSources(kernel, { inputs: [pattern], stdin: Readable.from([]), ...as }) }];
}

async function* readOne(
  source: Source,
  name: string,
  input: number,
  signal: AbortSignal,
): AsyncGenerator<SourceEvent> {
  yield { type: "begins", input, source: specOf(source, name) };
  for await (const run of framesOf([source], 1, FRAME_BYTES, false, () => {})) {
    for (const task of run) {
      if (signal.aborted) return;
      if (task.kind === "bytes") yield { type: "frame", input, bytes: task.bytes };
      else if (task.kind !== "slice" && task.kind !== "time")
        yield { type: "frame", input, index: task.index };
    }
  }
  yield { type: "ended", input };
}

function specOf(source: Source, name: string): StreamSource {
  const { path, format, size, dataStart, delimiter, plan, columns, kind } = source;
  return {
    // The host may start again in another folder.
    ...(path === undefined ? {} : { path: resolve(path) }),
    format,
    size,
    dataStart,
    delimiter,
    plan,
    ...(columns ? { columns } : {}),
    origin: "source",
    kind: kind === "bytes" ? "slice" : kind,
    name,
  };
}

async function openUrl(
  url: string,
  kernel: KernelDescriptor,
  as: Pick<Inputs, "inputFormat">,
  signal: AbortSignal,
): Promise<Source> {
  const options = { stdin: Readable.from([]), signal, ...as };
  return ofSource(() => planSource(kernel, { path: url, size: 0 }, options));
}

/** What cannot be read is the stream's source. */
async function ofSource<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof HallelujahError) || !OF_SERVERS.has(cause.code)) throw cause;
    throw new HallelujahError("source-unreadable", cause.message, { cause });
  }
}
