/**
 * What `deploy --source` reads: files, folders, globs and URLs, as frames in one order. Plain files become references,
 * which Jahs follow themselves; compressed ones and URLs are read here and cut as a file would be.
 */
import { resolve } from "node:path";
import { Readable } from "node:stream";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { FRAME_BYTES, SOURCES_MAX } from "../core/limits.ts";
import { framesOf } from "../input/frames.ts";
import { planSources, type Source } from "../input/plan.ts";
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

const URL_PATTERN = /^https?:\/\//;
const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;

/** Whether a source is the same on every host. */
export function isUrl(source: string): boolean {
  return URL_PATTERN.test(source);
}

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
  for (const pattern of patterns) groups.push(await groupOf(pattern, kernel, as));
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
        const stdin = await fetchBody(group.url, signal);
        const [source] = await planSources(kernel, {
          inputs: ["-"],
          stdin,
          stdinName: group.url,
          ...as,
        });
        yield* readOne(source, group.url, input, signal);
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

async function groupOf(
  pattern: string,
  kernel: KernelDescriptor,
  as: Pick<Inputs, "inputFormat">,
): Promise<Group> {
  if (URL_PATTERN.test(pattern)) return { url: pattern };
  if (SCHEME.test(pattern)) {
    const message = `${pattern} cannot be read: a source is a file, folder or glob of the host, or an http(s) URL`;
    throw new HallelujahError("source-unreadable", message);
  }
  return { sources: await planSources(kernel, { inputs: [pattern], stdin: Readable.from([]), ...as }) };
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

async function fetchBody(url: string, signal: AbortSignal): Promise<Readable> {
  try {
    const response = await fetch(url, { signal });
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status}`);
    return Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
  } catch (cause) {
    const message = `${url} cannot be read: ${messageOf((cause as Error).cause ?? cause)}`;
    throw new HallelujahError("source-unreadable", message, { cause });
  }
}
