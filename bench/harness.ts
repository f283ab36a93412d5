import { createHash } from "node:crypto";
import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import path from "node:path";
import { type Answer, compareAnswers } from "./answers.ts";
import { measure, type Usage } from "./command.ts";
import type { Contender } from "./engines.ts";

export interface Plan {
  figure: string;
  /** Rounds that count, after one that does not. */
  runs: number;
  outFolder: string;
  log: (line: string) => void;
}

/** What each contender cost, by round; undefined where it sat the round out. */
export type Rounds = Map<string, (Usage | undefined)[]>;

/**
 * Runs the contenders in turns A, B, C, A, B, C: what slows the machine for a while then slows all of them,
 * and a ratio taken within a round cancels it. One round warms up (page cache, our compiled kernel). After
 * every round each answer is held against that of the last contender that takes part in all rounds; a wrong
 * one ends the figure.
 */
export async function compete(contenders: Contender[], plan: Plan): Promise<Rounds> {
  mkdirSync(plan.outFolder, { recursive: true });
  const rounds: Rounds = new Map(contenders.map(({ name }) => [name, []]));
  const accepted = new Set<string>();
  for (let round = 0; round <= plan.runs; round++) {
    const usages: string[] = [];
    const answers: Answer[] = [];
    for (const contender of contenders) {
      if (!takesPart(contender, round)) {
        if (round > 0) rounds.get(contender.name)!.push(undefined);
        continue;
      }
      const outFile = path.join(plan.outFolder, `${plan.figure}-${contender.name}.out`);
      const usage = await measure(contender.command, outFile);
      if (round > 0) rounds.get(contender.name)!.push(usage);
      usages.push(`${contender.name} ${usage.wallMs.toFixed(0)} ms`);
      if (contender.format === null) continue;
      answers.push({ name: contender.name, file: contender.answerFile ?? outFile, format: contender.format });
    }
    plan.log(`${plan.figure} ${round === 0 ? "warm-up" : `${round}/${plan.runs}`}: ${usages.join(", ")}`);
    await checkAnswers(contenders, answers, accepted);
  }
  return rounds;
}

function takesPart({ runsMax }: Contender, round: number): boolean {
  return runsMax === undefined || (round >= 1 && round <= runsMax);
}

/** Compares all answers with one; a pair of the same bytes as a pair accepted before is not read again. */
async function checkAnswers(
  contenders: Contender[],
  answers: Answer[],
  accepted: Set<string>,
): Promise<void> {
  const inAllRounds = contenders.filter((one) => one.runsMax === undefined).map((one) => one.name);
  const reference = answers.findLast(({ name }) => inAllRounds.includes(name));
  if (reference === undefined || answers.length < 2) return;
  const referenceDigest = await digest(reference.file);
  for (const answer of answers) {
    if (answer === reference) continue;
    const pair = `${answer.name} ${await digest(answer.file)} ${referenceDigest}`;
    if (accepted.has(pair)) continue;
    compareAnswers(answer, reference);
    accepted.add(pair);
  }
}

/** SHA-256 of a file's bytes. */
export async function digest(file: string): Promise<string> {
  const hash = createHash("sha256");
  const handle = await open(file);
  for await (const chunk of handle.createReadStream({ highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest("hex");
}
