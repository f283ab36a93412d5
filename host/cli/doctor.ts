/** `hallelujah doctor`: what is wrong with this machine, or with a data folder; a line for each. */
import { resolve } from "node:path";
import { colors } from "./colors.ts";
import { checkFolder } from "../doctor/folder.ts";
import { checkMachine } from "../doctor/machine.ts";
import { print } from "./remote.ts";

export async function doctorCommand({ data }: { data?: string }): Promise<void> {
  const problems = data === undefined ? await checkHere() : await checkData(resolve(data));
  if (problems) process.exitCode = 1;
}

async function checkHere(): Promise<number> {
  const facts = await checkMachine();
  for (const { isMissing, text } of facts) await print(`${mark(isMissing)} ${text}\n`);
  return facts.filter(({ isMissing }) => isMissing).length;
}

async function checkData(data: string): Promise<number> {
  let problems = 0;
  for await (const { kind, stream, what, effect } of checkFolder(data)) {
    if (kind === "problem") problems++;
    const where = stream === undefined ? "" : `${stream}: `;
    await print(`${kind === "problem" ? mark(true) : "note"} ${where}${what}; ${effect}\n`);
  }
  if (!problems) await print(`${mark(false)} nothing is wrong with ${data}\n`);
  return problems;
}

function mark(bad: boolean): string {
  return bad ? colors.red("bad ") : colors.green("ok  ");
}
