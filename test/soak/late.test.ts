/** What a kernel that stops after some frames leaves is told from the history (late.ts). */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { VersionInfo } from "../../host/client/live.ts";
import { fileOf, History, type Piece } from "./handled.ts";
import { LATE } from "./kernels.ts";
import { checkDead, framesThatStop, rolledBackLate } from "./late.ts";

const historyOf = (...versions: Partial<VersionInfo>[]) => {
  const history = new History();
  history.learn(
    versions.map((each, i) => ({
      version: i + 1,
      from: 0,
      file: fileOf(1),
      at: "2024-05-01T10:00:00Z",
      how: "swapped" as const,
      trial: false,
      ...each,
    })),
  );
  return history;
};
/** Ten records in each frame; the kernel stops at each 25th. */
const pieces: Piece[] = Array.from({ length: 10 }, (_, frame) => ({ frame, first: frame * 10, count: 10 }));
const stops = (n: number) => n % 25 === 24;

test("frames of the late kernel that it stops at are dead letters, and none of others", () => {
  const history = historyOf({}, { from: 3, file: fileOf(LATE) }, { from: 8 });
  const due = framesThatStop(pieces, history, stops);
  assert.equal([...due], [4, 7]);
  checkDead([4, 7], due);
  assert.throws(() => checkDead([4], due), /frame 7 stops the kernel, and is no dead letter/);
  assert.throws(() => checkDead([4, 5, 7], due), /frame 5 is a dead letter, and stops no kernel/);
});

test("one that was rolled back leaves no dead letters, and what it had handled is counted", () => {
  const late = { from: 5, file: fileOf(LATE), error: "it stopped" };
  const history = historyOf({}, late, { from: 5, how: "rolled back" });
  assert.equal([...framesThatStop(pieces, history, stops)], []);
  assert.equal(rolledBackLate(pieces, history, stops), { kernels: 1, frames: 2 });
  const atOnce = historyOf({}, { ...late, from: 4 }, { from: 4, how: "rolled back" });
  assert.equal(rolledBackLate(pieces, atOnce, stops), { kernels: 0, frames: 0 });
});

test.run();
