/**
 * What `deploy --source` reads: files, folders, globs and URLs, as frames in one order. Plain files become references,
 * which Jahs follow themselves; compressed ones and URLs are read here and cut as a file would be.
 */
import { Readable } from "node:stream";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";
import { framesOf } from "../input/frames.ts";
import { planSources, type Source } from "../input/plan.ts";
import type { StreamSource } from "./shapes.ts";

export interface SourceFrame {
  /** Number of the input it comes from, from 0, in the order of reading. */
  input: number;
  source: StreamSource;
  /** A reference: number of the range or row group. */
  index?: number;
  /** Or the records themselves. */
  bytes?: Uint8Array;
}

const URL_PATTERN = /^https?:\/\//;

/** Frames of all inputs, in order. Rejects with a HallelujahError that names the input. */
export async function* readSources(
  patterns: string[],
  kernel: KernelDescriptor,
  signal: AbortSignal,
): AsyncGenerator<SourceFrame> {
  let inputs = 0;
  for (const pattern of patterns) {
    const url = URL_PATTERN.test(pattern);
    const stdin = url ? await fetchBody(pattern, signal) : Readable.from([]);
    const sources = await planSources(kernel, { inputs: [url ? "-" : pattern], stdin });
    for await (const run of framesOf(sources, 1, FRAME_BYTES, false, () => {})) {
      for (const task of run) {
        const source = sources[task.source];
        const frame = { input: inputs + task.source, source: specOf(source, url ? pattern : source.name) };
        if (task.kind === "bytes") yield { ...frame, bytes: task.bytes };
        else if (task.kind === "range" || task.kind === "rows") yield { ...frame, index: task.index };
      }
      if (signal.aborted) return;
    }
    inputs += sources.length;
  }
}

function specOf(source: Source, name: string): StreamSource {
  const { path, format, size, dataStart, delimiter, plan, kind } = source;
  return {
    ...(path === undefined ? {} : { path }),
    format,
    size,
    dataStart,
    delimiter,
    plan,
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
