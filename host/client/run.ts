/** A run as an async iterable of rows. */
import { NDJSON } from "../kernel/memory-map.ts";
import { type JobOptions, runJob, type Summary } from "../run/job.ts";
import type { Row } from "./rows.ts";

export interface RunOptions extends Omit<JobOptions, "delimiter" | "freshInstances"> {
  /** CSV: the byte between fields, as a character; found out if not given. */
  delimiter?: string;
}

/** Rows in order: what the kernel emitted, then its tables; and a summary when all is done. */
export interface Run extends AsyncIterable<Row> {
  /** Settles when the run has ended; rejects with a HallelujahError. Rows that are not read hold the run back. */
  readonly summary: Promise<Summary>;
}

/** Bytes of rows that wait to be read before the run is held back. */
const AHEAD_BYTES = 4 << 20;

/**
 * Runs a kernel over files, in as many processes as there are CPUs. Nothing but the caller's iteration pulls rows, so a
 * slow reader slows the run and memory stays bounded.
 *
 *   for await (const row of run({ kernel: "stations.ts", inputs: ["data/*.csv"] })) console.log(row);
 */
export function run(options: RunOptions): Run {
  const { delimiter, ...rest } = options;
  if (delimiter !== undefined && Buffer.byteLength(delimiter) !== 1) {
    throw new TypeError("delimiter is one byte");
  }
  const chunks: Uint8Array[] = [];
  let waiting = 0;
  let ended = false;
  let failure: unknown;
  let readerWakes = () => {};
  let writerWakes = () => {};
  const cancel = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, cancel.signal]) : cancel.signal;
  const summary = runJob(
    { ...rest, signal, ...(delimiter === undefined ? {} : { delimiter: delimiter.charCodeAt(0) }) },
    {
      format: NDJSON,
      delimiter: 0x2c,
      shared: false,
      write: async (bytes) => {
        chunks.push(bytes);
        waiting += bytes.length;
        readerWakes();
        while (waiting > AHEAD_BYTES) await new Promise<void>((wake) => (writerWakes = wake));
      },
    },
  );
  summary
    .catch((error: unknown) => {
      failure = error;
    })
    .finally(() => {
      ended = true;
      readerWakes();
    });

  async function* rows(): AsyncGenerator<Row> {
    let rest = "";
    const decoder = new TextDecoder();
    try {
      while (true) {
        const chunk = chunks.shift();
        if (chunk) {
          waiting -= chunk.length;
          writerWakes();
          const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
          rest = lines.pop()!;
          for (const line of lines) yield JSON.parse(line) as Row;
        } else if (ended) {
          if (failure) throw failure;
          return;
        } else await new Promise<void>((wake) => (readerWakes = wake));
      }
    } finally {
      if (!ended) cancel.abort();
    }
  }
  return { summary, [Symbol.asyncIterator]: rows };
}
