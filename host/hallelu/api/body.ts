/** Chunks as the body of an answer, made as the client takes them. */
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { READ_BYTES_PER_SECOND_MIN, READ_PATIENCE_MS } from "../../core/limits.ts";

type Report = (id: string, error: unknown) => void;

/**
 * Rows, once the first chunk is there, so that what goes wrong before it is said as a problem. Others wait until they are
 * read, so a client that does not take them, or too slowly, is cut off.
 */
export async function begun(
  chunks: AsyncIterable<Uint8Array>,
  client: ServerResponse,
  report: Report,
): Promise<ReadableStream<Uint8Array>> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first = await iterator.next();
  return streamOf(iterator, client, report, { first, patience: new Patience() });
}

/** Chunks as they come; a client that leaves ends the work. */
export function bodyOfChunks(
  chunks: AsyncIterable<Uint8Array>,
  client: ServerResponse,
  report: Report,
): ReadableStream<Uint8Array> {
  return streamOf(chunks[Symbol.asyncIterator](), client, report);
}

/** How long a client may still take, by what it took and how long that lasted. */
class Patience {
  private budgetMs = READ_PATIENCE_MS;
  private since = 0;

  /** It is given so many bytes; the time that it may take for them, ms. */
  gives(bytes: number): number {
    this.budgetMs += (bytes * 1000) / READ_BYTES_PER_SECOND_MIN;
    this.since = performance.now();
    return Math.min(READ_PATIENCE_MS, this.budgetMs);
  }

  /** It took them. */
  taken(): void {
    if (this.since) this.budgetMs -= performance.now() - this.since;
  }
}

function streamOf(
  iterator: AsyncIterator<Uint8Array>,
  client: ServerResponse,
  report: Report,
  { first, patience }: { first?: IteratorResult<Uint8Array>; patience?: Patience } = {},
): ReadableStream<Uint8Array> {
  let next = first;
  let timer: NodeJS.Timeout | undefined;
  let left = false;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      clearTimeout(timer);
      patience?.taken();
      try {
        const { value, done } = next ?? (await iterator.next());
        if (left) return;
        next = undefined;
        if (done) return controller.close();
        controller.enqueue(new Uint8Array(value));
        if (patience) timer = setTimeout(() => client.destroy(), patience.gives(value.length));
      } catch (error) {
        if (left) return;
        // Too late for a problem: an answer that breaks off must not look whole.
        report(randomUUID(), error);
        client.destroy();
        controller.close();
      }
    },
    async cancel() {
      left = true;
      clearTimeout(timer);
      await iterator.return?.();
    },
  });
}
