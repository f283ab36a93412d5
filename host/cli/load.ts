/** `hallelujah load`: files become rows that a stream keeps, for queries and visits. */
import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { StreamInfo } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { planKeep } from "../run/keep.ts";
import { ProgressLine } from "./progress.ts";
import { hostOf, print, type RemoteFlags, untilInterrupted } from "./remote.ts";

export interface LoadFlags extends RemoteFlags {
  types?: Record<string, string>;
  max?: number;
  retain?: string;
  explain?: boolean;
}

/** How often it is looked how far the stream is, ms. */
const LOOK_MS = 100;

export async function loadCommand(name: string, inputs: string[], flags: LoadFlags): Promise<void> {
  if (inputs.includes("-"))
    throw new HallelujahError("usage", `load reads files; pipe records to: hallelujah push ${name}`);
  const { files, kernel, columns, left } = await planKeep(name, inputs, flags.types);
  for (const { name: column, why } of left)
    process.stderr.write(`the column ${column} is left out: ${why}\n`);
  if (flags.explain) return print(kernel);
  const signal = untilInterrupted();
  const host = hostOf(flags);
  const { max, retain } = flags;
  await host.deploy(name, {
    kernel,
    file: `${name}.ts`,
    // The host reads them.
    source: files.map(({ path }) => resolve(path)),
    ...(max === undefined ? {} : { max }),
    ...(retain === undefined ? {} : { retain }),
  });
  const bytesTotal = files.reduce((sum, { size }) => sum + size, 0);
  const bar = process.stderr.isTTY ? new ProgressLine("loaded") : undefined;
  try {
    for (;;) {
      const stream = await host.stream(name, { signal });
      if (stream.error !== undefined) throw new HallelujahError("stream-failed", `${name}: ${stream.error}`);
      const { inputsRead = 0, frame, frames, backlog } = stream;
      const isRead = inputsRead === files.length;
      if (isRead && frame === frames) return await tell(stream, columns);
      const read = (bytesTotal * inputsRead) / files.length;
      bar?.update({ bytes: Math.max(0, read - backlog.bytes), bytesTotal, rows: stream.records });
      await sleep(LOOK_MS, undefined, { signal });
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    bar?.clear();
  }
}

/** What is there, and what can be asked of it. */
async function tell(stream: StreamInfo, columns: number): Promise<void> {
  const { name, records, badRecords, problems = [] } = stream;
  const count = (n: number, what: string) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  if (badRecords) {
    const [first] = problems;
    const why = first ? `, such as ${first.source}: ${first.reason}, in ${first.record}` : "";
    process.stderr.write(
      `${count(badRecords, "record")} did not fit${why}\nTypes are found in the first 256 KiB; to give others: --types COLUMN=text\n`,
    );
  }
  await print(
    `${name} keeps ${count(records, "row")} of ${count(columns, "column")}; ask for them: hallelujah query ${name} 'SELECT count(*) FROM "${name}"'\n`,
  );
}
