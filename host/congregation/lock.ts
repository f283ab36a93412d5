/**
 * One Congregation for a data folder. The lock is a row of files `lock.1`, `lock.2`, ... of which the one with the highest
 * number counts: it holds the process that has the lock and when that started, or nobody once it was given back. Whoever
 * finds nobody alive there takes the next number by a hard link, which one alone can make. Numbers never go back, so
 * someone who looked long ago and comes late finds that there is a higher one, and gives way.
 */
import { linkSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { makeFolder } from "../store/durable.ts";
import { type Identity, identityOf, isAlive, isIdentity } from "./identity.ts";

const PAUSE_MS = 50;
const NAME = /^lock\.(\d{1,15})$/;

/** The number 0: nobody. */
type Holder = Identity;

/**
 * Takes the lock; waits `patienceMs` for a holder that is ending. Resolves with what gives it back. Rejects with `data-locked`
 * or `data-unwritable`.
 */
export async function lockFolder(folder: string, patienceMs: number): Promise<() => void> {
  const mine = join(folder, `taking-${process.pid}`);
  try {
    makeFolder(folder);
    writeFileSync(mine, JSON.stringify(identityOf(process.pid) satisfies Holder));
  } catch (cause) {
    throw unwritable(folder, cause);
  }
  try {
    for (const deadline = Date.now() + patienceMs; ; await sleep(PAUSE_MS)) {
      const highest = numbersIn(folder).at(-1) ?? 0;
      const holder = highest ? readHolder(pathOf(folder, highest)) : undefined;
      if (holder && isAlive(holder)) {
        if (Date.now() < deadline) continue;
        const message = `another host uses ${folder} (process ${holder.pid}); give this one a --data folder of its own`;
        throw new HallelujahError("data-locked", message);
      }
      if (take(folder, mine, highest + 1)) return () => giveBack(folder, highest + 1);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** The process that has the lock, if there is one; changes nothing. */
export function holderOf(folder: string): number | undefined {
  const highest = numbersIn(folder).at(-1);
  const holder = highest === undefined ? undefined : readHolder(pathOf(folder, highest));
  return holder && isAlive(holder) ? holder.pid : undefined;
}

/** Whether number `own` was taken, and counts. */
function take(folder: string, mine: string, own: number): boolean {
  try {
    linkSync(mine, pathOf(folder, own));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw unwritable(folder, error);
  }
  const numbers = numbersIn(folder);
  if (numbers.at(-1) !== own) {
    rmSync(pathOf(folder, own), { force: true });
    return false;
  }
  for (const number of numbers) if (number < own) rmSync(pathOf(folder, number), { force: true });
  return true;
}

/** The file stays, as its number must not be taken again, but holds nobody. */
function giveBack(folder: string, own: number): void {
  const nobody = join(folder, `giving-${process.pid}`);
  try {
    writeFileSync(nobody, JSON.stringify({ pid: 0, started: "" } satisfies Holder));
    renameSync(nobody, pathOf(folder, own));
  } catch {
    // The process ends, which says the same.
  }
}

function pathOf(folder: string, number: number): string {
  return join(folder, `lock.${number}`);
}

function numbersIn(folder: string): number[] {
  return readdirSync(folder)
    .map((name) => Number(NAME.exec(name)?.[1] ?? 0))
    .filter((number) => number > 0)
    .toSorted((a, b) => a - b);
}

/** Undefined if the file is gone or holds nonsense: then it is nobody's. Links are made whole, so it is never half written. */
function readHolder(path: string): Holder | undefined {
  try {
    const holder: unknown = JSON.parse(readFileSync(path, "utf8"));
    return isIdentity(holder) ? holder : undefined;
  } catch {
    return undefined;
  }
}

function unwritable(folder: string, cause: unknown): HallelujahError {
  const message = `${folder} cannot be written: ${messageOf(cause)}; give a --data folder that can`;
  return new HallelujahError("data-unwritable", message, { cause });
}
