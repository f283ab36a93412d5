/** What all commands against a host share: where it is, how rows are printed, how Ctrl-C ends them. */
import { connect, type Hallelujah } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { inWriting, writeFully } from "../core/write.ts";

export interface RemoteFlags {
  url?: string;
  token?: string;
  format?: "table" | "json" | "ndjson" | "csv";
}

const STDOUT = 1;

export function hostOf({ url, token }: RemoteFlags): Hallelujah {
  return connect({ ...(url === undefined ? {} : { url }), ...(token === undefined ? {} : { token }) });
}

/**
 * Aborted by Ctrl-C or SIGTERM, with an error of the code `interrupted` that main.ts does not print. The exit code is then
 * the shell's, 130 or 143; a second signal ends the process.
 */
export function untilInterrupted(): AbortSignal {
  const stop = new AbortController();
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(code);
      process.exitCode = code;
      stop.abort(new HallelujahError("interrupted", "interrupted"));
    });
  }
  return stop.signal;
}

/** Writes text to the standard output. A reader that has gone ends the command, which is no error. */
export async function print(text: string | Uint8Array): Promise<void> {
  try {
    await writeFully(STDOUT, typeof text === "string" ? Buffer.from(text) : text);
  } catch (error) {
    const failure = inWriting("output", error);
    if (failure.code !== "output-closed") throw failure;
    process.exit(0);
  }
}

const ACCEPT = {
  table: "application/x-ndjson",
  ndjson: "application/x-ndjson",
  csv: "text/csv",
  json: "application/json",
};

/** Prints rows as the host sends them for a media type; tables are drawn here, on a terminal by default. */
export async function printRows(
  { format = process.stdout.isTTY ? "table" : "ndjson" }: RemoteFlags,
  bytesOf: (accept: string) => AsyncIterable<Uint8Array>,
): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytesOf(ACCEPT[format])) {
    if (format === "table") chunks.push(chunk);
    else await print(chunk);
  }
  if (format !== "table") return;
  const { renderTables } = await import("./table.ts");
  await print(chunks.length ? renderTables(Buffer.concat(chunks), process.stdout.columns) : "no rows\n");
}

/** Records of one kind in the wanted form; a table on a terminal, else NDJSON. */
export async function printRecords(
  records: Record<string, unknown>[],
  { format = process.stdout.isTTY ? "table" : "ndjson" }: RemoteFlags,
  title: string,
): Promise<void> {
  if (format === "json") return print(`${JSON.stringify(records, undefined, 2)}\n`);
  if (format === "ndjson") return print(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const flat = records.map(flatten);
  const names = [...new Set(flat.flatMap((record) => Object.keys(record)))];
  if (format === "csv") {
    const lines = [names, ...flat.map((record) => names.map((name) => cell(record[name])))];
    return print(lines.map((line) => `${line.join(",")}\n`).join(""));
  }
  if (!records.length) return print(`no ${title}\n`);
  const { drawTable } = await import("./table.ts");
  return print(
    `${drawTable(
      names,
      flat.map((record) => names.map((name) => record[name])),
    )}\n`,
  );
}

/** Members of members get names joined by dots; lists of anything but plain values their length. */
function flatten(record: Record<string, unknown>): Record<string, unknown> {
  const flat: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(record)) {
    if (Array.isArray(value))
      flat[name] = value.some((each) => typeof each === "object") ? value.length : value.join(" ");
    else if (typeof value === "object" && value !== null)
      for (const [inner, part] of Object.entries(value)) flat[`${name}.${inner}`] = part;
    else flat[name] = value;
  }
  return flat;
}

function cell(value: unknown): string {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** 1234567 as 1.2 MB. */
export function inBytes(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  const [unit, scale] = bytes < 1e6 ? ["kB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${(bytes / (scale as number)).toFixed(1)} ${unit}`;
}

/** 1234567 as 1.2 M. */
export function inCount(count: number): string {
  if (count < 1e3) return count.toFixed(0);
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} k` : `${(count / 1e6).toFixed(1)} M`;
}
