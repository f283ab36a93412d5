/** The check of a soak that each record was handled by the kernel that the history says (handled.ts) sees what is wrong. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { VersionInfo } from "../../host/client/live.ts";
import { FRAME_BYTES } from "../../host/core/limits.ts";
import { cutBody } from "../../host/hallelu/intake.ts";
import { checkHandled, fileOf, type HandledRow, History, Makes, type Piece, piecesOf } from "./handled.ts";

const version = (
  version: number,
  from: number,
  make: number,
  more: Partial<VersionInfo> = {},
): VersionInfo => ({
  version,
  from,
  file: fileOf(make),
  at: "2024-05-01T10:00:00Z",
  how: "swapped",
  trial: false,
  ...more,
});
const historyOf = (...versions: VersionInfo[]) => {
  const history = new History();
  history.learn(versions);
  return history;
};
/** Two producers with ten records in each of the first frames, by turns. */
const pieces = new Map<string, Piece[]>(["a", "b"].map((id) => [id, []]));
const FRAMES = 8;
for (let frame = 0; frame < FRAMES; frame++)
  for (const own of pieces.values()) own.push({ frame, first: frame * 10, count: 10 });
const all = [...pieces.values()].flat();

/** What came out, where the make of a record follows from its frame, or the record. */
const makesOf = (makeOf: (frame: number, n: number) => number) => {
  const makes = new Makes();
  for (const id of pieces.keys())
    for (let n = 0; n < FRAMES * 10; n++) makes.set(id, n, makeOf(Math.floor(n / 10), n));
  return makes;
};
/** What a table holds, likewise. */
const rowsOf = (makeOf: (frame: number, n: number) => number) => {
  const rows = new Map<number, HandledRow>();
  for (const { frame, first, count } of all)
    for (let n = first; n < first + count; n++) {
      const key = makeOf(frame, n);
      const none = { key, n: { count: 0, sum: 0, min: Infinity, max: -Infinity }, mix: 0 };
      const row = rows.get(key) ?? none;
      rows.set(key, row);
      row.mix += (n * n) % 65_521;
      const { count, sum, min, max } = row.n;
      row.n = { count: count + 1, sum: sum + n, min: Math.min(min, n), max: Math.max(max, n) };
    }
  return [...rows.values()];
};

const swapped = historyOf(version(1, 0, 1, { how: "deployed" }), version(2, 3, 2), version(3, 5, 1));
const due = (frame: number) => (frame >= 3 && frame < 5 ? 2 : 1);

test("each frame of the version of the history passes", () => {
  makesOf(due).check(pieces, swapped);
  checkHandled(rowsOf(due), all, swapped);
});

test("a version that takes over a frame late, or early, is seen", () => {
  for (const late of [-1, 1]) {
    const shifted = (frame: number) => due(frame - late);
    assert.throws(() => makesOf(shifted).check(pieces, swapped), /frame 2 |frame 3 /);
    assert.throws(() => checkHandled(rowsOf(shifted), all, swapped), /make 2 has handled/);
  }
});

test("two kernels within one frame are seen", () => {
  const mixed = (frame: number, n: number) => (n === 34 ? 1 : due(frame));
  assert.throws(
    () => makesOf(mixed).check(pieces, swapped),
    /frame 3 has records of make 2, and 34 of a of make 1/,
  );
  assert.throws(() => checkHandled(rowsOf(mixed), all, swapped), /make 2 has handled 38 records/);
});

test("two producers whose records of one frame are of different kernels are seen", () => {
  const makes = makesOf(due);
  for (let n = 30; n < 40; n++) makes.set("b", n, 1);
  assert.throws(() => makes.check(pieces, swapped), /frame 3 has records of make 2, and 30 of b of make 1/);
});

test("records in place of each other, as many with the same sum, are seen in a table", () => {
  // 31 + 38 = 22 + 47, of which the first two are due to make 2.
  const history = historyOf(version(1, 0, 1), version(2, 3, 2), version(3, 4, 1));
  const own = (frame: number) => (frame === 3 ? 2 : 1);
  checkHandled(rowsOf(own), all, history);
  const exchanged = (frame: number, n: number) =>
    n === 31 || n === 38 ? 1 : n === 22 || n === 47 ? 2 : own(frame);
  const rows = rowsOf(exchanged);
  const sum = (key: number, of: HandledRow[]) => of.find((row) => row.key === key)!.n.sum;
  assert.is(sum(2, rows), sum(2, rowsOf(own)));
  assert.throws(() => checkHandled(rows, all, history), /make 2 has handled/);
});

test("what a kernel that was rolled back has handled is seen", () => {
  const history = historyOf(
    version(1, 0, 1),
    version(2, 3, 2, { error: "it stopped" }),
    version(3, 3, 1, { how: "rolled back", sameAs: 1 }),
  );
  makesOf(() => 1).check(pieces, history);
  checkHandled(
    rowsOf(() => 1),
    all,
    history,
  );
  const left = (frame: number) => (frame === 3 ? 2 : 1);
  assert.throws(() => makesOf(left).check(pieces, history), /frame 3 has records/);
  assert.throws(() => checkHandled(rowsOf(left), all, history), /make 2 has handled .* where nothing is due/);
});

test("a reprocess has handled all of the state, and what came out from one frame on", () => {
  const history = historyOf(
    version(1, 0, 1),
    version(2, 3, 2),
    version(3, 0, 3, { how: "reprocessed" }),
    version(4, 6, 1),
  );
  checkHandled(
    rowsOf((frame) => (frame < 6 ? 3 : 1)),
    all,
    history,
  );
  const came = (cut: number) => (frame: number) => (frame >= 6 ? 1 : frame >= cut ? 3 : frame < 3 ? 1 : 2);
  for (const cut of [3, 4, 5, 6]) makesOf(came(cut)).check(pieces, history);
  const makes = makesOf(came(4));
  for (let n = 30; n < 40; n++) makes.set("b", n, 3);
  assert.throws(() => makes.check(pieces, history), /frame 3 has records of make 2, and 30 of b of make 3/);
  // It took over before what was there, or after what came then, or went back.
  assert.throws(() => makesOf(came(2)).check(pieces, history), /frame 2 has records/);
  assert.throws(
    () => makesOf((frame) => (frame === 6 ? 3 : came(4)(frame))).check(pieces, history),
    /frame 6 has/,
  );
  assert.throws(
    () => makesOf((frame) => (frame === 5 ? 2 : came(4)(frame))).check(pieces, history),
    /frame 5 has/,
  );
  assert.throws(
    () =>
      checkHandled(
        rowsOf((frame) => (frame === 0 ? 1 : frame < 6 ? 3 : 1)),
        all,
        history,
      ),
    /make 3 has handled/,
  );
});

test("versions that the host does not remember any more are known, and those that were not to last are not", () => {
  const history = historyOf(version(1, 0, 1), version(2, 3, 2));
  const copy = history.copy();
  history.learn([version(2, 3, 2, { error: "it stopped" }), version(3, 3, 1, { how: "rolled back" })]);
  assert.equal(history.eras, [
    [
      { from: 0, make: 1 },
      { from: 3, make: 1 },
    ],
  ]);
  copy.learn([version(1, 0, 1)]); // as it was copied before version 2
  assert.equal(copy.eras, [[{ from: 0, make: 1 }]]);
});

test("a body's records are in the frames that it is cut into", () => {
  for (const record of [100, 4_000, FRAME_BYTES / 4]) {
    const sizes = Array.from({ length: Math.ceil((3.5 * FRAME_BYTES) / record) }, (_, i) => record - (i % 3));
    const body = Buffer.from(sizes.map((size) => `${"x".repeat(size - 1)}\n`).join(""));
    const cut = cutBody({ source: 0, quotes: false, delimiter: 0, chunks: [body] });
    let first = 7;
    const wanted = cut.map(({ body: chunks }, i) => {
      const count = chunks.join("").split("\n").length - 1;
      const piece = { frame: 20 - (cut.length - 1 - i), first, count };
      first += count;
      return piece;
    });
    assert.equal(piecesOf(sizes, 7, 20), wanted);
  }
});

test.run();
