/** A stream's output to subscribers: as server-sent events, a row each with its number as `id`, or as NDJSON lines. */
import { HEARTBEAT_MS } from "../../core/limits.ts";
import type { OutputRows } from "../host.ts";

const LF = 0x0a;
const HEARTBEAT = Buffer.from(": still here\n\n");

/** Chunks of `text/event-stream`. */
export function eventStream(
  rows: AsyncIterable<OutputRows>,
  signal: AbortSignal,
): ReadableStream<Uint8Array> {
  return streamOf(rows, signal, (controller, { from, bytes }) => {
    const parts: Buffer[] = [];
    let number = from;
    for (let at = 0; at < bytes.length; ) {
      const end = bytes.indexOf(LF, at);
      parts.push(Buffer.from(`id: ${number++}\ndata: `), bytes.subarray(at, end + 1), Buffer.from("\n"));
      at = end + 1;
    }
    controller.enqueue(new Uint8Array(Buffer.concat(parts)));
  });
}

/** Chunks of NDJSON. */
export function lineStream(rows: AsyncIterable<OutputRows>, signal: AbortSignal): ReadableStream<Uint8Array> {
  return streamOf(rows, signal, (controller, { bytes }) => controller.enqueue(new Uint8Array(bytes)), false);
}

function streamOf(
  rows: AsyncIterable<OutputRows>,
  signal: AbortSignal,
  send: (controller: ReadableStreamDefaultController<Uint8Array>, rows: OutputRows) => void,
  beats = true,
): ReadableStream<Uint8Array> {
  const iterator = rows[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if (!beats) return;
        // Headers leave with the first bytes, and whoever stands between learns that the line is alive.
        controller.enqueue(new Uint8Array(HEARTBEAT));
        timer = setInterval(() => {
          if ((controller.desiredSize ?? 0) > 0) controller.enqueue(new Uint8Array(HEARTBEAT));
        }, HEARTBEAT_MS);
      },
      async pull(controller) {
        const { value, done } = await iterator.next();
        if (!done) send(controller, value);
        else {
          clearInterval(timer);
          controller.close();
        }
      },
      async cancel() {
        clearInterval(timer);
        if (!signal.aborted) await iterator.return?.();
      },
    },
    { highWaterMark: 2 },
  );
}
