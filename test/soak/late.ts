/**
 * A kernel that works for some frames and then stops. Within its trial it is rolled back, and the frames that it had handled count again,
 * for the kernel before; after that the frame that it stops at is a dead letter. Which of both depends on when records came and what
 * was killed. The history says which it was, and what is due follows from that.
 */
import { Differences, fileOf, type History, makeOf, type Piece } from "./handled.ts";
import { LATE } from "./kernels.ts";

type Stops = (n: number) => boolean;

const stopsIn = (stops: Stops, { first, count }: Piece) => {
  for (let n = first; n < first + count; n++) if (stops(n)) return true;
  return false;
};

/** The frames of the late kernel, by the history, that have a record at which it stops. */
export function framesThatStop(pieces: Piece[], history: History, stops: Stops): Set<number> {
  const era = history.eras.at(-1)!;
  const late = pieces.filter((piece) => makeOf(era, piece.frame) === LATE && stopsIn(stops, piece));
  return new Set(late.map(({ frame }) => frame));
}

/** Throws unless the dead letters are these frames. */
export function checkDead(frames: number[], due: Set<number>): void {
  const wrong = new Differences();
  for (const frame of frames)
    if (!due.has(frame)) wrong.add(`frame ${frame} is a dead letter, and stops no kernel`);
  for (const frame of due)
    if (!frames.includes(frame)) wrong.add(`frame ${frame} stops the kernel, and is no dead letter`);
  wrong.end();
}

/** How often the late kernel was rolled back after it had handled a frame as it should, and how many such frames there were. */
export function rolledBackLate(
  pieces: Piece[],
  history: History,
  stops: Stops,
): { kernels: number; frames: number } {
  const found = { kernels: 0, frames: 0 };
  for (const { file, from, error } of history.all) {
    if (error === undefined || file !== fileOf(LATE)) continue;
    const own = pieces.filter(({ frame }) => frame >= from);
    const good = own.findIndex((piece) => stopsIn(stops, piece));
    if (good <= 0) continue;
    found.kernels++;
    found.frames += good;
  }
  return found;
}
