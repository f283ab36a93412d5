/** Which records are in which frame of a log, where no push tells it: read from a copy of the log of a stream that is at rest. */
import { closeSync, cpSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Log } from "../../host/store/log.ts";
import type { Piece } from "./handled.ts";

/** Rejects with `log-damaged`. */
export async function piecesOfLog(
  folder: string,
  recordsOf: (body: string) => Iterable<{ producer: string; n: number }>,
): Promise<(Piece & { producer: string })[]> {
  const copy = mkdtempSync(join(tmpdir(), "hallelujah-soak-log-"));
  try {
    cpSync(folder, copy, { recursive: true });
    const log = await Log.open(copy);
    const pieces: (Piece & { producer: string })[] = [];
    for (let frame = log.first; frame < log.next; frame++) {
      const numbers = new Map<string, number[]>();
      for (const { producer, n } of recordsOf(bodyOf(log, frame))) {
        const own = numbers.get(producer);
        if (own) own.push(n);
        else numbers.set(producer, [n]);
      }
      for (const [producer, own] of numbers)
        for (const run of runsOf(own)) pieces.push({ producer, frame, ...run });
    }
    await log.close();
    return pieces;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

function bodyOf(log: Log, frame: number): string {
  const { path, offset, bytes } = log.place(frame);
  const body = Buffer.alloc(bytes);
  const file = openSync(path, "r");
  try {
    readSync(file, body, 0, bytes, offset);
  } finally {
    closeSync(file);
  }
  return body.toString();
}

/** Numbers that follow on each other, whatever their order; one that is there twice is in two of them. */
function runsOf(numbers: number[]): { first: number; count: number }[] {
  const runs: { first: number; count: number }[] = [];
  for (const n of numbers.sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && last.first + last.count === n) last.count++;
    else runs.push({ first: n, count: 1 });
  }
  return runs;
}
