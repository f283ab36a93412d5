/**
 * A host on virtual time, from a seed (test/simulation/host.ts): `npm run simulate -- --seed 7` replays one run and prints what
 * happened; `--hosts N` runs the seeds that follow as well, each a host of its own.
 */
import { parseArgs } from "node:util";
import { HostSimulation } from "../test/simulation/host.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    cpus: { type: "string" },
    streams: { type: "string" },
    seconds: { type: "string", default: "30" },
    hosts: { type: "string", default: "1" },
    quiet: { type: "boolean", default: false },
  },
});
const first = Number(values.seed);
const hosts = Number(values.hosts);
const startedAt = performance.now();
const wall = performance.now.bind(performance);
let events = 0;
let broken = 0;
const decisions: number[] = [];
for (let seed = first; seed < first + hosts; seed++) {
  const cpus = Number(values.cpus ?? 1 + (seed % 4));
  const streams = Number(values.streams ?? 1 + (seed % 5));
  const simulation = new HostSimulation({ seed, cpus, streams, ms: Number(values.seconds) * 1000, wall });
  try {
    await simulation.run();
  } catch (error) {
    broken++;
    process.exitCode = 1;
    process.stdout.write(`seed ${seed}: ${(error as Error).message}\n`);
  }
  if (hosts === 1 && !values.quiet) process.stdout.write(`${simulation.story.join("\n")}\n`);
  events += simulation.counts.events;
  decisions.push(...simulation.decisions);
  const { frames, steps, deaths } = simulation.counts;
  if (hosts === 1)
    process.stdout.write(
      `seed ${seed}: ${cpus} CPUs, ${streams} streams, ${(simulation.now / 1000).toFixed(1)} s, ${simulation.counts.events} events, ${frames} frames, ${steps} Jahs started, ${deaths} died\n`,
    );
}
decisions.sort((a, b) => a - b);
const at = (share: number) => (decisions[Math.floor(decisions.length * share)] ?? 0).toFixed(3);
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
process.stdout.write(
  `${hosts} hosts, ${broken} broken, ${events} events in ${seconds} s; one decision of a ledger: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`,
);
