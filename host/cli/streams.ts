/** The short commands about streams: ps, query, capacity, pause, resume, stop, rm, logs. */
import { once } from "node:events";
import { createInterface } from "node:readline/promises";
import { printable } from "../input/reasons.ts";
import type { ClusterHostInfo, StreamInfo } from "../client/live.ts";
import {
  hostOf,
  inBytes,
  inCount,
  print,
  printRecords,
  printRows,
  type RemoteFlags,
  untilInterrupted,
} from "./remote.ts";

export async function psCommand(name: string | undefined, flags: RemoteFlags): Promise<void> {
  const host = hostOf(flags);
  const streams = name === undefined ? await host.streams() : [await host.stream(name)];
  const format = flags.format ?? (process.stdout.isTTY ? "table" : "ndjson");
  const records = format === "table" ? streams.map(brief) : streams;
  await printRecords(
    records as Record<string, unknown>[],
    { ...flags, format },
    "streams; deploy one: hallelujah deploy NAME KERNEL",
  );
  if (name === undefined) return tellOfLost(await host.hosts());
  const { problems = [] } = streams[0];
  if (format === "table")
    for (const { source, frame, reason, record } of problems)
      process.stderr.write(`${source}, frame ${frame}: ${reason}${record ? `: ${printable(record)}` : ""}\n`);
  for (const trouble of troublesOf(streams[0])) process.stderr.write(`${trouble}\n`);
}

export async function hostsCommand(flags: RemoteFlags): Promise<void> {
  await printRecords((await hostOf(flags).hosts()) as Record<string, unknown>[], flags, "hosts");
}

/** Which hosts are not there, whose streams are not listed. */
function tellOfLost(hosts: ClusterHostInfo[]): void {
  for (const { name, state } of hosts)
    if (state === "lost") process.stderr.write(`host ${name} is lost, so its streams are not listed\n`);
}

/** What is wrong with a stream, a sentence each. */
function troublesOf(stream: StreamInfo): string[] {
  const { error, waits, sinks = [] } = stream;
  const sinkErrors = sinks.map((sink) => sink.error);
  return [error, ...unavailable(stream), waits, ...sinkErrors].filter((each) => each !== undefined);
}

/** Its state in a few words. */
function standing({ state, max, waits, reprocess, sinks = [] }: StreamInfo): string {
  if (state === "failed") return state;
  const also = [
    ...(reprocess ? [`reprocess at ${reprocess.frame} of ${reprocess.frames}`] : []),
    ...(waits === undefined ? [] : ["disk full"]),
    ...(sinks.some(({ error }) => error !== undefined) ? ["sink waits"] : []),
  ];
  return [max === 0 ? "stopped" : state, ...also].join(", ");
}

/** Shards that are unavailable, a sentence for each. */
function unavailable({ shards }: StreamInfo): string[] {
  return shards.flatMap(({ from, to, unavailable }) =>
    unavailable
      ? [`partitions ${from} to ${to - 1} are unavailable: ${unavailable.reason}; ${unavailable.next}`]
      : [],
  );
}

/** A stream in a line. */
export function brief(stream: StreamInfo): Record<string, unknown> {
  const { name, host, kernel, version, jahs, min, max, backlog, records, recordsPerSecond } = stream;
  const seconds = backlog.seconds === null ? "" : ` ${backlog.seconds.toFixed(1)} s`;
  return {
    name,
    ...(host === undefined ? {} : { host }),
    state: standing(stream),
    kernel: `${kernel} v${version}`,
    jahs: `${jahs} (${min}-${max})`,
    shards: shardsOf(stream),
    backlog: backlog.bytes ? `${inBytes(backlog.bytes)}${seconds}` : "-",
    records: inCount(records),
    "per second": inCount(recordsPerSecond),
    bad: stream.badRecords,
    late: stream.lateRecords,
    dead: stream.deadLetters,
  };
}

function shardsOf({ shards }: StreamInfo): string {
  const lost = shards.filter(({ unavailable }) => unavailable).length;
  return lost ? `${shards.length}, ${lost} unavailable` : String(shards.length);
}

export interface QueryFlags extends RemoteFlags {
  key?: string;
  order?: string;
  limit?: number;
}

export async function queryCommand(name: string, table: string, flags: QueryFlags): Promise<void> {
  const { key, order, limit } = flags;
  const signal = untilInterrupted();
  const search = new URLSearchParams();
  for (const [option, value] of Object.entries({ key, order, limit }))
    if (value !== undefined) search.set(option, String(value));
  await printRows(flags, (accept) => hostOf(flags).tableBytes(name, table, search, accept, signal));
}

export async function capacityCommand(
  name: string,
  max: number,
  flags: RemoteFlags & { min?: number },
): Promise<void> {
  const min = flags.min === undefined ? {} : { min: flags.min };
  const host = hostOf(flags);
  const stream = await host.change(name, { max, ...min });
  if (stream.max === 0) return print(stopped(name));
  const { total } = (await host.host()).cpus;
  if (max > total) {
    const cpus = `${total} ${total === 1 ? "CPU" : "CPUs"}`;
    process.stderr.write(`hallelujah: this host has ${cpus}, so ${name} never has more Jahs than that\n`);
  }
  await print(`${name} may have ${stream.min} to ${stream.max} Jahs\n`);
}

export async function pauseCommand(name: string, paused: boolean, flags: RemoteFlags): Promise<void> {
  const stream = await hostOf(flags).change(name, { paused });
  await print(!paused && stream.max === 0 ? stopped(name) : `${name} is ${stream.state}\n`);
}

export async function stopCommand(name: string, flags: RemoteFlags): Promise<void> {
  await hostOf(flags).change(name, { max: 0 });
  await print(stopped(name));
}

function stopped(name: string): string {
  return `${name} is stopped: what is pushed is kept; hallelujah capacity ${name} 1 lets it go on\n`;
}

export async function rmCommand(
  name: string,
  flags: RemoteFlags & { keepData?: boolean; yes?: boolean },
): Promise<void> {
  const host = hostOf(flags);
  const { records } = await host.stream(name);
  // A script has said what it wants.
  if (!flags.yes && process.stdin.isTTY) {
    const taken = `Remove ${name}, which has taken ${inCount(records)} records? [y/N] `;
    if (!(await confirmed(taken))) return;
  }
  await host.remove(name, { keepData: flags.keepData ?? false });
  await print(`${name} is removed${flags.keepData ? "; its data is kept" : ""}\n`);
}

/** Asks at the terminal; its end is no. */
async function confirmed(question: string): Promise<boolean> {
  const signal = untilInterrupted();
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  terminal.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  try {
    const ended = once(terminal, "close").then(() => "");
    const answer = await Promise.race([terminal.question(question, { signal }), ended]);
    return /^y(es)?$/i.test(answer.trim());
  } catch {
    signal.throwIfAborted();
    return false; // Ctrl-D, where Node rejects
  } finally {
    terminal.close();
  }
}

export interface LogsFlags extends RemoteFlags {
  follow?: boolean;
  lines: number;
}

export async function logsCommand(stream: string | undefined, flags: LogsFlags): Promise<void> {
  const signal = untilInterrupted();
  const { follow = false, lines } = flags;
  const raw =
    flags.format === "ndjson" || flags.format === "json" || (!flags.format && !process.stdout.isTTY);
  for await (const line of hostOf(flags).logs({
    follow,
    lines,
    signal,
    ...(stream === undefined ? {} : { stream }),
  }))
    await print(`${raw ? JSON.stringify(line) : readable(line)}\n`);
}

function readable({
  time,
  level,
  process: from,
  stream,
  jah,
  msg,
  ...rest
}: Record<string, unknown>): string {
  const who =
    [stream, jah === undefined ? undefined : `jah ${String(jah)}`].filter(Boolean).join(" ") || from;
  const more = Object.entries(rest).map(([name, value]) => ` ${name}=${JSON.stringify(value)}`);
  return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${String(who)}: ${String(msg)}${more.join("")}`;
}
