/** A job as an async iterable of its rows. */
import { NDJSON } from "../kernel/memory-map.ts";
import { type JobOptions, runJob, type Summary } from "./job.ts";

/** Bytes of rows that wait to be read before the run is held back. */
const AHEAD_BYTES = 4 << 20;

export interface Iteration {
  /** The rows; to be asked for once. */
  rows(): AsyncGenerator<Record<string, unknown>>;
  /** Ends the job, as a reader does that leaves before the end. */
  leave(): void;
  /** Settles when the job has ended. */
  summary: Promise<Summary>;
}

/**
 * Runs a job whose rows are pulled by iterating: a slow reader slows the run, and memory stays bounded. A reader that leaves
 * ends the job: with `aborted`, or with the summary as of then if `mayLeave`.
 */
export function iterateJob(options: JobOptions, mayLeave = false): Iteration {
  const chunks: Uint8Array[] = [];
  let waiting = 0;
  let ended = false;
  let failure: unknown;
  let readerWakes = () => {};
  let writerWakes = () => {};
  const cancel = new AbortController();
  const enough = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, cancel.signal]) : cancel.signal;
  const summary = runJob(
    { ...options, signal, enough: enough.signal },
    {
      format: NDJSON,
      delimiter: 0x2c,
      shared: false,
      write: async (bytes) => {
        chunks.push(bytes);
        waiting += bytes.length;
        readerWakes();
        while (waiting > AHEAD_BYTES && !ended) await new Promise<void>((wake) => (writerWakes = wake));
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
      writerWakes();
    });

  const leave = () => {
    if (!ended) (mayLeave ? enough : cancel).abort();
  };

  async function* rows(): AsyncGenerator<Record<string, unknown>> {
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
          for (const line of lines) yield JSON.parse(line) as Record<string, unknown>;
        } else if (ended) {
          if (failure) throw failure;
          return;
        } else await new Promise<void>((wake) => (readerWakes = wake));
      }
    } finally {
      leave();
    }
  }
  return { summary, rows, leave };
}
