import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { barOf, isMet } from "./bars.ts";
import type { Usage } from "./command.ts";
import type { Rounds } from "./harness.ts";
import type { Machine } from "./machine.ts";
import { median, rounded } from "./statistics.ts";

/**
 * One line of a results file: a value of ours, beside a peer's where there is one. Times are medians over
 * the runs.
 */
export interface Result {
  name: string;
  value: number;
  unit: string;
  peer: string | null;
  peer_value: number | null;
  /** The peer's time over ours, the median over the rounds that both ran: above 1 we are faster. */
  ratio: number | null;
  /** Rounds behind the ratio, or runs behind a value that stands alone. */
  runs: number;
  value_min: number;
  value_max: number;
  peer_min: number | null;
  peer_max: number | null;
  cpu_ms: number | null;
  peer_cpu_ms: number | null;
  rss_mb: number | null;
  peer_rss_mb: number | null;
  bar: string | null;
  met: boolean | null;
  note: string | null;
  /** Rows of the generated input; null where the input is of a fixed size. */
  rows: number | null;
  machine: Machine;
}

/** What all results of a figure share. */
export interface Context {
  rows: number | null;
  machine: Machine;
}

/** Ours against one peer, from the rounds in which both ran. */
export function againstPeer(
  name: string,
  rounds: Rounds,
  ours: string,
  peer: string,
  context: Context,
  note: string | null = null,
): Result {
  const pairs: [Usage, Usage][] = [];
  rounds.get(ours)!.forEach((usage, round) => {
    const other = rounds.get(peer)![round];
    if (usage !== undefined && other !== undefined) pairs.push([usage, other]);
  });
  // Ours over all rounds, also beside a peer that ran in the first only: one figure, one value.
  const our = summary(rounds.get(ours)!);
  const their = summary(rounds.get(peer)!);
  const ratio = rounded(median(pairs.map(([a, b]) => b.wallMs / a.wallMs)));
  const bar = barOf(name, peer);
  return {
    name,
    value: our.wallMs,
    unit: "ms",
    peer,
    peer_value: their.wallMs,
    ratio,
    runs: pairs.length,
    value_min: our.wallMsMin,
    value_max: our.wallMsMax,
    peer_min: their.wallMsMin,
    peer_max: their.wallMsMax,
    cpu_ms: our.cpuMs,
    peer_cpu_ms: their.cpuMs,
    rss_mb: our.rssMb,
    peer_rss_mb: their.rssMb,
    bar: bar?.words ?? null,
    met: bar ? isMet(bar, our.wallMs, ratio) : null,
    note,
    ...context,
  };
}

/** A value that stands alone, from several runs. */
export function alone(
  name: string,
  values: number[],
  unit: string,
  context: Context,
  note: string | null,
): Result {
  const value = rounded(median(values));
  const bar = barOf(name, null);
  return {
    name,
    value,
    unit,
    peer: null,
    peer_value: null,
    ratio: null,
    runs: values.length,
    value_min: rounded(Math.min(...values)),
    value_max: rounded(Math.max(...values)),
    peer_min: null,
    peer_max: null,
    cpu_ms: null,
    peer_cpu_ms: null,
    rss_mb: null,
    peer_rss_mb: null,
    bar: bar?.words ?? null,
    met: bar ? isMet(bar, value, null) : null,
    note,
    ...context,
  };
}

/** A rate of ours beside a peer's; the ratio is ours over theirs, round by round. */
export function beside(
  name: string,
  unit: string,
  values: number[],
  peer: { name: string; values: number[] },
  context: Context,
  note: string,
): Result {
  const ratio = rounded(median(values.map((value, i) => value / peer.values[i])));
  const result = alone(name, values, unit, context, note);
  const bar = barOf(name, null);
  return {
    ...result,
    peer: peer.name,
    peer_value: rounded(median(peer.values)),
    peer_min: rounded(Math.min(...peer.values)),
    peer_max: rounded(Math.max(...peer.values)),
    ratio,
    met: bar ? isMet(bar, result.value, ratio) : null,
  };
}

export function writeResults(folder: string, figure: string, results: Result[]): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${figure}.json`), `${JSON.stringify(results, null, 2)}\n`);
}

export function removeResults(folder: string, figure: string): void {
  rmSync(path.join(folder, `${figure}.json`), { force: true });
}

function summary(usages: (Usage | undefined)[]) {
  const ran = usages.filter((usage) => usage !== undefined);
  const walls = ran.map((usage) => usage.wallMs);
  const known = (values: (number | null)[]) => values.filter((value) => value !== null);
  const medianKnown = (values: number[]) => (values.length === 0 ? null : rounded(median(values)));
  return {
    wallMs: rounded(median(walls)),
    wallMsMin: rounded(Math.min(...walls)),
    wallMsMax: rounded(Math.max(...walls)),
    cpuMs: medianKnown(known(ran.map((usage) => usage.cpuMs))),
    rssMb: medianKnown(known(ran.map((usage) => usage.rssMb))),
  };
}
