/** One host under load whose processes are killed (test/soak/): `npm run soak -- --minutes 10 --seed 7`. */
import { program } from "commander";
import { soak } from "../test/soak/soak.ts";

program
  .name("npm run soak --")
  .description(
    "Kills the processes of a host under load, and compares what it holds with what it acknowledged.",
  )
  .option("--minutes <n>", "time in which processes are killed", Number, 10)
  .option("--seed <n>", "seed of what is killed, changed and pushed", Number, 1)
  .option("--cpus <n>", "CPUs of the host", Number, 2)
  .option("--records <n>", "records that the fastest producers push in a minute", Number, 1_500_000)
  .option("--every <s>", "mean pause between two kills, seconds", Number, 3)
  .option(
    "--power-losses <n>",
    "how often a host is started from a copy of the folder (one a minute)",
    Number,
  )
  .parse();
const { minutes, seed, cpus, records, every, powerLosses } = program.opts<{
  minutes: number;
  seed: number;
  cpus: number;
  records: number;
  every: number;
  powerLosses?: number;
}>();

const print = (text: string) => process.stdout.write(`${text}\n`);
const counted = (counts: Record<string, number>) =>
  Object.entries(counts)
    .map(([what, count]) => `${count} ${what}`)
    .join(", ") || "none";

try {
  const { kills, refusals, answers, ...rest } = await soak({
    seconds: minutes * 60,
    seed,
    cpus,
    recordsPerMinute: records,
    killEverySeconds: every,
    powerLosses: powerLosses ?? Math.floor(minutes),
    say: print,
  });
  const total = Object.values(kills).reduce((sum, count) => sum + count, 0);
  print(`seed ${seed}, ${minutes} minutes`);
  print(`kills            ${total} (${counted(kills)})`);
  print(
    `restarts         ${rest.restarts} of the whole host, ${rest.stops} after an orderly end, ${rest.powerLosses} from copies of its folder`,
  );
  print(`frozen           ${rest.freezes} processes for a while`);
  print(`records          ${rest.records} acknowledged, in ${rest.bodies} bodies`);
  print(`rows sent out    ${rest.outputs}`);
  print(`answers          ${counted(answers)}`);
  print(`not answered     ${counted(refusals)}`);
  print(`changes          ${rest.changes} of capacity and shards`);
  print(
    `swaps            ${rest.swaps}, ${rest.backs} back to an earlier version, ${rest.badKernels} to kernels that stop at once`,
  );
  print(
    `late stops       ${rest.lateKernels}; ${rest.rolledBackLate.kernels} rolled back after ${rest.rolledBackLate.frames} good frames; ${rest.deadLetters} dead letters`,
  );
  print(`reprocesses      ${rest.reprocesses}, and ${rest.cancelled} that were cancelled`);
  print("losses           0");
  process.exit(0);
} catch (error) {
  print(`LOST: ${(error as Error).message}`);
  process.exit(1);
}
