/**
 * Whole hosts on virtual time (test/simulation/): `npm run simulate -- --seed 7` replays one and prints what happened;
 * with `--hosts N` the seeds that follow are run as well, each a host of its own, and what they took is printed. With `--cluster` a cluster of several
 * hosts is replayed.
 */
import { Option, program } from "commander";
import { HostSimulation, type Stopwatch } from "../test/simulation/host.ts";
import { commandOf, type Scenario, scenarioOf } from "../test/simulation/scenario.ts";
import { ClusterSimulation } from "../test/simulation/cluster/cluster.ts";
import { type ClusterScenario, clusterScenarioOf } from "../test/simulation/cluster/scenario.ts";

program
  .name("npm run simulate --")
  .description("Runs a simulated host from a seed, and prints what happened.")
  .option("--seed <n>", "seed of the (first) host", Number, 1)
  .option("--hosts <n>", "hosts, each from the seed that follows", Number, 1)
  .option("--cpus <n>", "CPUs of each", Number)
  .option("--streams <n>", "streams of each at the start", Number)
  .option("--seconds <n>", "virtual time in which things happen", Number)
  .option("--steps <n>", "so many events at most", Number)
  .option("--cluster", "the cluster of that seed, with its hosts")
  .addOption(
    new Option("--kind <kind>", "what it goes through").choices([
      "storm",
      "moves",
      "waves",
      "vain",
      "crowd",
      "clocks",
      "groups",
      "outage",
    ]),
  )
  .parse();
const {
  seed: first,
  hosts,
  seconds,
  cluster,
  ...rest
} = program.opts<{ seed: number; hosts: number; seconds?: number; cluster?: true } & Partial<Scenario>>();
if (cluster) await replayCluster(first, rest as unknown as Partial<ClusterScenario>);
const given: Partial<Scenario> = { ...rest, ...(seconds === undefined ? {} : { ms: seconds * 1000 }) };

/** The real clock: while a simulation runs, performance.now is its own. */
const wall = (): number => Number(process.hrtime.bigint()) / 1e6;

/** How long decisions of a kind took: how many of each duration, in steps of a sixteenth of an octave. */
class Durations {
  count = 0;
  longestMs = 0;
  private readonly steps: number[] = [];

  add(ms: number): void {
    const step = Math.max(0, Math.round(Math.log2(ms * 1e6) * 16));
    this.steps[step] = (this.steps[step] ?? 0) + 1;
    this.longestMs = Math.max(this.longestMs, ms);
    this.count++;
  }

  /** The duration that the given share of them did not pass, ms. */
  at(share: number): number {
    let left = share * this.count;
    const step = this.steps.findIndex((count = 0) => (left -= count) <= 0);
    return 2 ** (step / 16) / 1e6;
  }
}

const durations = new Map<string, Durations>();
const stopwatch: Stopwatch = (kind, decide) => {
  const startedAt = wall();
  const decision = decide();
  if (!durations.has(kind)) durations.set(kind, new Durations());
  durations.get(kind)!.add(wall() - startedAt);
  return decision;
};

const startedAt = wall();
let broken = 0;
let events = 0;
let virtualMs = 0;
for (let seed = first; seed < first + hosts; seed++) {
  const scenario = scenarioOf(seed, given);
  const simulation = new HostSimulation(scenario, stopwatch);
  let failure: Error | undefined;
  try {
    await simulation.run();
  } catch (error) {
    failure = error as Error;
    broken++;
  }
  events += simulation.counts.events;
  virtualMs += simulation.now;
  if (hosts === 1) print(`${simulation.story.join("\n")}\n${describe(scenario)}: ${counted(simulation)}`);
  if (failure) print(`BROKEN: ${failure.message}\nReplay it: ${commandOf(scenario)}`);
}
const took = ((wall() - startedAt) / 1000).toFixed(1);
print(
  `${hosts} hosts, ${broken} broken: ${events} events, ${secondsOf(virtualMs)} of virtual time in ${took} s`,
);
for (const [kind, taken] of durations) {
  const [p50, p99, longest] = [taken.at(0.5), taken.at(0.99), taken.longestMs].map((ms) => ms.toFixed(3));
  print(`  one decision of ${kind}: p50 ${p50} ms, p99 ${p99} ms, longest ${longest} ms (${taken.count})`);
}
process.exit(broken ? 1 : 0);

/** Prints what happened to a cluster, and ends. */
async function replayCluster(seed: number, { kind }: Partial<ClusterScenario>): Promise<never> {
  const scenario = clusterScenarioOf(seed, kind ? { kind } : {});
  const simulation = new ClusterSimulation(scenario);
  const failure = await simulation.run().then(
    () => undefined,
    (error: Error) => error,
  );
  const { kind: of, hosts, streams } = scenario;
  const parts = Object.entries(simulation.rules.counts).map(([what, count]) => `${count} ${what}`);
  print(`${simulation.story.join("\n")}\n${of}, ${hosts} hosts, ${streams} streams: ${parts.join(", ")}`);
  if (failure) print(`BROKEN: ${failure.message}`);
  process.exit(failure ? 1 : 0);
}

function describe({ kind, cpus, streams }: Scenario): string {
  return `${kind}, ${cpus} CPUs, ${streams} streams at the start`;
}

function counted({ counts, now }: HostSimulation): string {
  const parts = Object.entries(counts).map(([what, count]) => `${count} ${what}`);
  return [secondsOf(now), ...parts].join(", ");
}

function secondsOf(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
