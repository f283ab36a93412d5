/** `hallelujah watch` and `top`: what changes, as it changes. */
import { setTimeout as sleep } from "node:timers/promises";
import { colors } from "./colors.ts";
import type { Hallelujah, JahInfo, StreamInfo } from "../client/live.ts";
import { HallelujahError } from "../core/errors.ts";
import { hostOf, inBytes, print, type RemoteFlags, untilInterrupted } from "./remote.ts";
import { brief } from "./streams.ts";
import { drawTable, renderTables } from "./table.ts";

const INTERVAL_MS = 1000;
const HOME = "\u001b[H";
const CLEAR_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
const ALTERNATE = "\u001b[?1049h\u001b[?25l";
const NORMAL = "\u001b[?25h\u001b[?1049l";

export interface WatchFlags extends RemoteFlags {
  from?: number;
  late?: boolean;
  table?: string;
  order?: string;
  limit?: number;
}

export async function watchCommand(name: string, flags: WatchFlags): Promise<void> {
  const host = hostOf(flags);
  const signal = untilInterrupted();
  if (flags.table !== undefined) return watchTable(host, name, flags.table, flags, signal);
  const info = await host.stream(name, { signal });
  if ((flags.late ? info.hasLateOutput : info.hasOutput) === false) {
    const why = flags.late ? "its kernel has no function late" : "its kernel never calls out.emit";
    const message = `${name} has no ${flags.late ? "late " : ""}output, as ${why}; watch a table: hallelujah watch ${name} --table TABLE`;
    throw new HallelujahError("output-none", message);
  }
  if (process.stderr.isTTY)
    process.stderr.write(
      colors.dim(`${flags.late ? info.lateOutputs : info.outputs} rows so far; waiting for more\n`),
    );
  for await (const { row } of host.output(name, {
    signal,
    late: flags.late ?? false,
    ...(flags.from === undefined ? {} : { from: flags.from }),
  }))
    await print(`${JSON.stringify(row)}\n`);
}

async function watchTable(
  host: Hallelujah,
  name: string,
  table: string,
  { order, limit }: WatchFlags,
  signal: AbortSignal,
): Promise<void> {
  const rowsMax = Math.max(1, (process.stdout.rows ?? 30) - 6);
  const search = new URLSearchParams({
    limit: String(limit ?? rowsMax),
    ...(order === undefined ? {} : { order }),
  });
  await redraw(signal, async () => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of host.tableBytes(name, table, search, "application/x-ndjson", signal))
      chunks.push(chunk);
    const stream = await host.stream(name, { signal });
    return `${line(stream)}\n${chunks.length ? renderTables(Buffer.concat(chunks), process.stdout.columns) : "no rows yet\n"}`;
  });
}

function line(stream: StreamInfo): string {
  const { name, state, backlog, jahs } = brief(stream) as Record<string, string>;
  return `${colors.bold(name)} ${state}, ${jahs} Jahs, backlog ${backlog}, ${stream.records.toLocaleString("en")} records`;
}

export async function topCommand(flags: RemoteFlags): Promise<void> {
  const host = hostOf(flags);
  const signal = untilInterrupted();
  await redraw(signal, () => drawTop(host, signal));
}

async function drawTop(host: Hallelujah, signal: AbortSignal): Promise<string> {
  const [info, streams, jahs] = await Promise.all([
    host.host({ signal }),
    host.streams({ signal }),
    host.jahs({ signal }),
  ]);
  const { total, free } = info.cpus;
  const memory = info.memoryBytes + jahs.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
  const head = `${colors.bold("Hallelujah")} ${info.version} at ${host.url}   CPUs ${total - free} of ${total}   streams ${streams.length}   memory ${inBytes(memory)}`;
  const ofJahs = jahs.map((jah) => [
    jah.cpu,
    jah.stream,
    jah.kind,
    jah.state,
    bar(jah),
    `${inBytes(jah.bytesPerSecond)}/s`,
    inBytes(jah.memoryBytes),
  ]);
  const names = ["name", "state", "jahs", "backlog", "records", "per second", "dead"];
  const busiest = streams.toSorted((a, b) => b.backlog.bytes - a.backlog.bytes).map(brief);
  return [
    head,
    jahs.length
      ? drawTable(["CPU", "stream", "kind", "state", "busy", "input", "memory"], ofJahs)
      : "no Jahs: nothing to do",
    streams.length
      ? drawTable(
          names,
          busiest.map((stream) => names.map((name) => stream[name])),
        )
      : "no streams; deploy one: hallelujah deploy NAME KERNEL",
    "",
  ].join("\n");
}

function bar({ busy }: JahInfo): string {
  const full = Math.round(busy * 10);
  return `${"█".repeat(full)}${"░".repeat(10 - full)} ${String(Math.round(busy * 100)).padStart(3)} %`;
}

/** Draws once a second until q, or `signal`, with whose reason it rejects; once where there is no terminal. */
async function redraw(signal: AbortSignal, draw: () => Promise<string>): Promise<void> {
  if (!process.stdout.isTTY) return print(await draw());
  await show(signal, async function* (stop) {
    while (!stop.aborted) {
      yield await draw();
      await sleep(INTERVAL_MS, undefined, { signal: stop }).catch(() => {});
    }
  });
}

/**
 * Shows one text after the other on the terminal until q, or `signal`, with whose reason it rejects, or until there are no more. Lines are
 * written over, so nothing flickers.
 */
export async function show(
  signal: AbortSignal,
  texts: (stop: AbortSignal) => AsyncIterable<string>,
): Promise<void> {
  const left = new AbortController();
  const stop = AbortSignal.any([signal, left.signal]);
  const onKey = (key: Buffer) => {
    if (key[0] === 0x71) left.abort();
    if (key[0] === 0x03) process.kill(process.pid, "SIGINT");
  };
  if (process.stdin.isTTY) {
    process.stdin.setRawMode(true);
    process.stdin.on("data", onKey);
  }
  await print(ALTERNATE);
  try {
    for await (const text of texts(stop)) {
      const lines = text.split("\n").slice(0, (process.stdout.rows ?? 30) - 1);
      await print(`${HOME}${lines.map((each) => `${each}${CLEAR_LINE}`).join("\n")}${CLEAR_BELOW}`);
    }
    signal.throwIfAborted();
  } catch (error) {
    if (!left.signal.aborted) throw error;
  } finally {
    await print(NORMAL);
    if (process.stdin.isTTY) process.stdin.setRawMode(false);
    process.stdin.off("data", onKey);
    process.stdin.pause();
  }
}
