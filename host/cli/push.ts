/** `hallelujah push`: files or standard input into a stream. */
import { createReadStream, statSync } from "node:fs";
import { createGunzip } from "node:zlib";
import type { PushProgress } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { hostOf, inBytes, print, type RemoteFlags, untilInterrupted } from "./remote.ts";
import { ProgressLine } from "./progress.ts";

export interface PushFlags extends RemoteFlags {
  inputFormat?: "csv" | "ndjson" | "lines";
  delimiter?: string;
  columns?: string[];
  producer?: string;
  sequence?: number;
}

export async function pushCommand(name: string, files: string[], flags: PushFlags): Promise<void> {
  const host = hostOf(flags);
  const signal = untilInterrupted();
  const bar = process.stderr.isTTY ? new ProgressLine("stored") : undefined;
  const sizes = files.map((file) => (file === "-" ? 0 : sizeOf(file)));
  const bytesTotal = sizes.every((size) => size > 0) ? sizes.reduce((sum, size) => sum + size, 0) : 0;
  let total = 0;
  let last: PushProgress | undefined;
  let producer = flags.producer;
  let sequence = flags.sequence ?? 0;
  try {
    for (const file of files) {
      const before = total;
      last = await host.push(name, readFile(file), {
        format: flags.inputFormat ?? formatOf(file),
        ...(flags.delimiter === undefined ? {} : { delimiter: flags.delimiter }),
        ...(flags.columns === undefined ? {} : { columns: flags.columns }),
        ...(producer === undefined ? {} : { producer }),
        sequence,
        signal,
        onProgress: (progress) => {
          last = progress;
          total = before + progress.bytes;
          bar?.update({ bytes: total, bytesTotal, rows: 0 });
        },
      });
      ({ producer, sequence } = last);
    }
    bar?.clear();
    await print(
      `pushed ${inBytes(total)} to ${name}${last && last.frame >= 0 ? ` (up to frame ${last.frame})` : ""}\n`,
    );
  } catch (error) {
    bar?.clear();
    if (last) {
      process.stderr.write(
        `${inBytes(total)} were stored. To go on with the same input: hallelujah push ${name} ${files.join(" ")} --producer ${last.producer}\n`,
      );
    }
    if (!signal.aborted) throw error;
    process.exitCode = 130;
  }
}

function sizeOf(file: string): number {
  const size = statSync(file, { throwIfNoEntry: false });
  if (!size) throw new HallelujahError("input-missing", `there is no file ${file}`);
  if (size.isDirectory()) throw new HallelujahError("input-missing", `${file} is a folder; name its files`);
  return file.endsWith(".gz") ? 0 : size.size;
}

function readFile(file: string): AsyncIterable<Uint8Array> {
  const stream = file === "-" ? process.stdin : createReadStream(file, { highWaterMark: 1 << 20 });
  return file.endsWith(".gz") ? stream.pipe(createGunzip()) : stream;
}

function formatOf(file: string): "csv" | "ndjson" | "lines" {
  const name = file.replace(/\.gz$/, "");
  if (/\.(csv|tsv)$/i.test(name)) return "csv";
  return /\.(log|txt)$/i.test(name) ? "lines" : "ndjson";
}
