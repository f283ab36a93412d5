/**
 * Three hosts of one cluster in network namespaces, under load, with one thing after the other that goes wrong (test/cluster/):
 * `npm run test:cluster -- --minutes 10 --seed 7`. Makes the namespaces, and runs itself in one of them.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { program } from "commander";
import { FAULTS, SHORT } from "../test/cluster/faults.ts";
import { Network } from "../test/cluster/namespaces.ts";
import { missing } from "../test/cluster/needs.ts";
import { ClusterRun, type Round } from "../test/cluster/run.ts";
import { streamsOf } from "../test/cluster/streams.ts";

/** Exit codes, beside 0: something was lost or wrong, the machine has not what is needed, a signal came. */
const LOST = 1;
const LACKING = 3;
const INTERRUPTED = 130;

program
  .name("npm run test:cluster --")
  .description(
    "Three hosts and three nats-servers in network namespaces, under load, with one fault after the other; compares what they hold with what they acknowledged.",
  )
  .option("--minutes <n>", "time in which faults begin; each comes once at least", Number, 0)
  .option("--seed <n>", "seed of what goes wrong, where, and of what is pushed", Number, 1)
  .option("--only <fault...>", `of ${FAULTS.map(({ name }) => name).join(", ")}`)
  .option("--records <n>", "records that the fastest producers push in a minute", Number, 120_000)
  .option("--short", "a host killed and a link cut, once, with few streams")
  .parse();
const options = program.opts<{
  minutes: number;
  seed: number;
  only?: string[];
  records: number;
  short?: boolean;
}>();

const print = (text: string) => process.stdout.write(`${text}\n`);
const counted = (counts: Record<string, number>) =>
  Object.entries(counts)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ") || "none";
const seconds = (ms: number) => (ms / 1000).toFixed(2);

const { CLUSTER_NETWORK, CLUSTER_FOLDER } = process.env;
if (CLUSTER_NETWORK && CLUSTER_FOLDER) await within(Network.of(CLUSTER_NETWORK), CLUSTER_FOLDER);
else make();

/** Makes the network, and drives the test from inside it. */
function make(): void {
  const lacks = missing();
  if (lacks.length) {
    print(`tests of clusters need what is not here: ${lacks.join("; ")}`);
    process.exit(LACKING);
  }
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-cluster-"));
  const network = Network.make();
  process.on("exit", (code) => {
    network.remove();
    if (code !== LOST) rmSync(folder, { recursive: true, force: true });
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => process.exit(INTERRUPTED));
  const [command, ...prefix] = network.within("hub");
  const env = { ...process.env, CLUSTER_NETWORK: network.name, CLUSTER_FOLDER: folder };
  const args = [...prefix, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit", "ipc"], env });
  child.once("exit", (code) => process.exit(code ?? LOST));
}

async function within(network: Network, folder: string): Promise<void> {
  // Whoever made the network was killed, and nobody else removes it.
  process.once("disconnect", () => {
    network.remove();
    process.exit(LOST);
  });
  // Of the hosts and of their clients: they serve more than loopback.
  process.env.HALLELUJAH_TOKEN = randomUUID();
  const { minutes, seed, only, records, short = false } = options;
  const faults = (short && !only ? SHORT : FAULTS).filter(({ name }) => only?.includes(name) ?? true);
  const run = new ClusterRun(
    {
      seed,
      faults,
      placed: streamsOf(short),
      seconds: minutes * 60,
      recordsPerMinute: records,
      say: print,
    },
    network,
    folder,
  );
  try {
    await run.run();
    for (const { name } of faults) report(name, run.rounds);
    summarize(run);
    print(`${run.rounds.length + 1} passed, 0 failed`);
    process.exit(0);
  } catch (error) {
    print(`LOST: seed ${seed}: ${(error as Error).message}`);
    print(`What hosts and nats-servers left is kept in ${folder}`);
    print(`${run.rounds.length} passed, 1 failed`);
    process.exit(LOST);
  }
}

/** How long streams were away by a fault. */
function report(fault: string, rounds: Round[]): void {
  const own = rounds.filter((round) => round.fault === fault);
  const gaps = own.flatMap(({ gapsMs }) => gapsMs).sort((a, b) => a - b);
  const middle = seconds(gaps[Math.floor(gaps.length / 2)]);
  print(
    `${fault.padEnd(16)} ${own.length} times: ${gaps.length} streams went on after ${middle} s (p50), ${seconds(gaps.at(-1)!)} s at most`,
  );
}

function summarize({ summary }: ClusterRun): void {
  print(`seed             ${options.seed}`);
  print(`records          ${summary.records} acknowledged, in ${summary.bodies} bodies`);
  print(`rows sent out    ${summary.rows}`);
  print(`answers          ${counted(summary.answers)}`);
  print(`not answered     ${counted(summary.refusals)}; calls of others: ${counted(summary.pushRefusals)}`);
  print("losses           0");
  print("duplicates       0");
}
