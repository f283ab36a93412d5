import type { ChildProcess } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { measure } from "./command.ts";
import { type DataSet, ensureData } from "./data.ts";
import * as engines from "./engines.ts";
import { compete, digest } from "./harness.ts";
import { live } from "./live.ts";
import { log } from "./log.ts";
import { cores, type Machine } from "./machine.ts";
import { flightsFile } from "./paths.ts";
import { PeakSampler } from "./processes.ts";
import { againstPeer, alone, type Context, type Result } from "./results.ts";
import { decoded } from "./decoded.ts";
import { devSave } from "./dev.ts";
import { reconfigure } from "./reconfigure.ts";
import { messages } from "./messages.ts";
import { placement } from "./placement.ts";
import { recovery } from "./recovery.ts";
import { reprocess } from "./reprocess.ts";
import { store } from "./store.ts";
import { visit } from "./visit.ts";

/** What the command line settles for all figures. */
export interface Settings {
  /** The engine under test, a CLI that Node runs. */
  cli: string;
  runs: number;
  rows: number;
  /** Leaves the engine out: the peers alone, to see that they run and agree. */
  peersOnly: boolean;
  machine: Machine;
  outFolder: string;
  log: (line: string) => void;
}

type Figure = (settings: Settings) => Promise<Result[]>;

/**
 * The loop takes ten seconds and more for the large file; its one figure is wanted for scale, not for a
 * bar.
 */
const LOOP_RUNS_CSV = 1;
/** Numbers of Jahs between which the answer must not differ in a byte. */
const ANSWER_JAHS = [1, 2, 4, 8];

export const figures: Record<string, Figure> = {
  live: (settings) => live(settings),
  store: (settings) => store(settings),
  log: (settings) => log(settings),
  recovery: (settings) => recovery(settings),
  placement: async (settings) => (settings.peersOnly ? [] : placement(settings)),
  messages: async (settings) => (settings.peersOnly ? [] : messages(settings)),
  decoded: async (settings) =>
    settings.peersOnly
      ? []
      : decoded(settings, {
          csv: generated(settings, "stationsCsv"),
          ndjson: generated(settings, "stationsNdjson"),
        }),
  visit: async (settings) => (settings.peersOnly ? [] : visit(settings, generated(settings, "stationsCsv"))),
  reconfigure: async (settings) =>
    settings.peersOnly ? [] : reconfigure(settings, generated(settings, "stationsCsv")),
  dev: async (settings) => (settings.peersOnly ? [] : devSave(settings)),
  reprocess: async (settings) =>
    settings.peersOnly ? [] : reprocess(settings, generated(settings, "stationsCsv")),
  csv: (settings) => {
    const input = generated(settings, "stationsCsv");
    const peers = [
      engines.duckdb("csv", input, settings.outFolder),
      engines.c(input, cores) ?? skipped(settings, "c: no cc on this machine"),
      { ...engines.loop("csv", input), runsMax: LOOP_RUNS_CSV },
    ];
    return againstPeers(settings, "csv", "csv", input, settings.rows, peers);
  },
  ndjson: (settings) => {
    const input = generated(settings, "stationsNdjson");
    const peers = [engines.duckdb("ndjson", input, settings.outFolder)];
    return againstPeers(settings, "ndjson", "ndjson", input, settings.rows, peers);
  },
  keys: (settings) => {
    const input = generated(settings, "keysCsv");
    const peers = [engines.duckdb("keys", input, settings.outFolder)];
    return againstPeers(settings, "keys", "keys", input, settings.rows, peers);
  },
  parquet: (settings) => {
    engines.checkFlights();
    const peers = [
      engines.duckdb("parquet", flightsFile, settings.outFolder),
      engines.loop("parquet", flightsFile),
    ];
    return againstPeers(settings, "parquet", "parquet", flightsFile, null, peers);
  },
  scaling,
  start,
  memory,
  answer,
};

async function againstPeers(
  settings: Settings,
  figure: string,
  question: engines.Question,
  input: string,
  rows: number | null,
  peersOrNone: (engines.Contender | undefined)[],
): Promise<Result[]> {
  const peers = peersOrNone.filter((peer) => peer !== undefined);
  const ours = engines.hallelujah(settings.cli, question, input, cores);
  const contenders = settings.peersOnly ? peers : [ours, ...peers];
  const rounds = await compete(contenders, { figure, ...settings });
  if (settings.peersOnly) return [];
  return peers.map((peer) => againstPeer(figure, rounds, ours.name, peer.name, context(settings, rows)));
}

/** Two Jahs against one, and beside it what the machine itself gives: C with two processes against one. */
async function scaling(settings: Settings): Promise<Result[]> {
  const input = generated(settings, "stationsCsv");
  const jahs = (count: number, name: string) => ({
    ...engines.hallelujah(settings.cli, "csv", input, count),
    name,
  });
  const processes = (count: number, name: string) => {
    const contender = engines.c(input, count);
    return contender && { ...contender, name };
  };
  const ours = settings.peersOnly ? [] : [jahs(2, "two-jahs"), jahs(1, "one-jah")];
  const c = [processes(2, "c-two"), processes(1, "c-one")].filter((contender) => contender !== undefined);
  const rounds = await compete([...ours, ...c], { figure: "scaling", ...settings });
  const facts = context(settings, settings.rows);
  const note = cores < 2 ? "one core: two Jahs take turns" : null;
  const results = settings.peersOnly
    ? []
    : [againstPeer("scaling", rounds, "two-jahs", "one-jah", facts, note)];
  if (c.length === 2) {
    results.push(
      againstPeer("scaling-of-c", rounds, "c-two", "c-one", facts, "what the machine gives: no bar"),
    );
  }
  return results;
}

/** The whole command over ten lines. The warm-up round has built the kernel. */
async function start(settings: Settings): Promise<Result[]> {
  if (settings.peersOnly) return [];
  const ours = engines.hallelujah(settings.cli, "csv", generated(settings, "startCsv"), 1);
  const rounds = await compete([ours, engines.emptyNode], { figure: "start", ...settings });
  return [againstPeer("start", rounds, ours.name, engines.emptyNode.name, context(settings, null))];
}

/** The greatest resident size of any Jah of a run. */
async function memory(settings: Settings): Promise<Result[]> {
  if (settings.peersOnly) return [];
  if (process.platform !== "linux")
    return [skipped(settings, "memory: needs /proc")].filter((none) => none !== undefined);
  mkdirSync(settings.outFolder, { recursive: true });
  const { command } = engines.hallelujah(settings.cli, "csv", generated(settings, "stationsCsv"), cores);
  const peaksMb: number[] = [];
  let note: string | null = null;
  for (let run = 1; run <= settings.runs; run++) {
    let sampler: PeakSampler | undefined;
    const watch = (child: ChildProcess) => {
      if (child.pid !== undefined) sampler = new PeakSampler(child.pid);
    };
    await measure(command, path.join(settings.outFolder, "memory.out"), watch).finally(() => sampler?.stop());
    const seen = sampler!.stop();
    // A Jah is known by the file it runs: dist/jah/main.js.
    const jahs = seen.filter((peak) => /\bjah\b/i.test(peak.command));
    if (jahs.length === 0) note = "no process is named jah: the greatest of all processes of the run";
    const counted = jahs.length === 0 ? seen : jahs;
    if (counted.length === 0) throw new Error("memory: the run ended before it was seen; take more --rows");
    peaksMb.push(Math.max(...counted.map((peak) => peak.rssMb)));
    settings.log(
      `memory ${run}/${settings.runs}: ${counted.map((peak) => `${peak.rssMb.toFixed(0)} MB`).join(", ")}`,
    );
  }
  return [alone("memory", peaksMb, "MB", context(settings, settings.rows), note)];
}

/** How many different answers come out of different numbers of Jahs: one, down to the bytes. */
async function answer(settings: Settings): Promise<Result[]> {
  if (settings.peersOnly) return [];
  mkdirSync(settings.outFolder, { recursive: true });
  engines.checkFlights();
  const inputs: [engines.Question, string][] = [
    ["csv", generated(settings, "stationsCsv")],
    ["keys", generated(settings, "keysCsv")],
    ["parquet", flightsFile],
  ];
  const distinct: number[] = [];
  for (const [question, input] of inputs) {
    const digests = new Set<string>();
    for (const jahs of ANSWER_JAHS) {
      const outFile = path.join(settings.outFolder, `answer-${question}-${jahs}.out`);
      await measure(engines.hallelujah(settings.cli, question, input, jahs).command, outFile);
      digests.add(await digest(outFile));
    }
    settings.log(`answer ${question}: ${digests.size} distinct for --jahs ${ANSWER_JAHS.join(", ")}`);
    distinct.push(digests.size);
  }
  const result = alone("answer", [Math.max(...distinct)], "answers", context(settings, settings.rows), null);
  return [{ ...result, runs: inputs.length * ANSWER_JAHS.length }];
}

function generated(settings: Settings, name: keyof DataSet): string {
  return ensureData(settings.rows, [name], settings.log)[name];
}

function context({ machine }: Settings, rows: number | null): Context {
  return { rows, machine };
}

function skipped(settings: Settings, why: string): undefined {
  settings.log(`skipped ${why}`);
}
