/** Answers of a host that come as lines, each with a row. */
import { HallelujahError } from "../core/errors.ts";
import type { Rows } from "./contract.ts";

/** Characters of a line that cannot be read that are shown. */
const LINE_SHOWN = 60;

/** The rows in the lines of an answer. */
export function rowsWith<R>(lines: AsyncIterable<string>, response: Response, url: string): Rows<R> {
  const rows = rowsOf<R>(lines, url);
  return {
    frame: Number(response.headers.get("hallelujah-frame")),
    [Symbol.asyncIterator]: () => rows,
    async all() {
      const all: R[] = [];
      for await (const row of rows) all.push(row);
      return all;
    },
  };
}

async function* rowsOf<R>(lines: AsyncIterable<string>, url: string): AsyncGenerator<R> {
  for await (const line of lines) yield rowOf(line, url);
}

/** The row in a line of an answer. Throws `answer-invalid`. */
export function rowOf<R>(line: string, url: string): R {
  try {
    const row: unknown = JSON.parse(line);
    if (typeof row === "object" && row !== null) return row as R;
  } catch {
    // Said below.
  }
  throw notExpected(line, url, "JSON object");
}

/** `answer-invalid`; `what` is what the line should be. */
export function notExpected(line: string, url: string, what: string): HallelujahError {
  const shown = line.length > LINE_SHOWN ? `${line.slice(0, LINE_SHOWN)}...` : line;
  const message = `${url} sent a line that is no ${what}, ${JSON.stringify(shown)}; is the address a host's?`;
  return new HallelujahError("answer-invalid", message);
}
