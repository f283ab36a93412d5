/** The results of a visit that stays, a line each; what ends it is the last line. */
import type { VisitResult } from "../host.ts";
import { problemOf } from "./problem.ts";

const LF = 0x0a;
const COMMA = 0x2c;

/** Lines `{"frame":12,"rows":[...]}`, with rows as they are in NDJSON, and `{"problem":{...}}`. `report` hears of errors that nobody foresaw. */
export async function* resultLines(
  results: AsyncIterable<VisitResult>,
  report: (id: string, error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const { frame, chunks } of results) {
      const rows = Buffer.concat(chunks);
      // A row is a line of its own, and its texts have no line's end in them.
      for (let at = rows.indexOf(LF); at >= 0; at = rows.indexOf(LF, at)) rows[at] = COMMA;
      yield Buffer.concat([
        Buffer.from(`{"frame":${frame},"rows":[`),
        rows.subarray(0, Math.max(0, rows.length - 1)),
        Buffer.from("]}\n"),
      ]);
    }
  } catch (error) {
    yield Buffer.from(`{"problem":${problemOf(error, report).body.trimEnd()}}\n`);
  }
}
