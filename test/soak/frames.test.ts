/** What is read of a log of which no push tells the frames (frames.ts). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Log } from "../../host/store/log.ts";
import { piecesOfLog } from "./frames.ts";
import { STREAMS } from "./streams.ts";

const { recordsOf } = STREAMS.find(({ name }) => name === "totals")!;
const link = (producer: string, n: number) =>
  `{"line":"${producer}-${n % 100}","n":${n},"before":0,"sum":${n},"make":1}\n`;

test("numbers that follow on each other are one piece, whatever their order; one that is there twice is not lost", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-frames-"));
  try {
    const log = await Log.open(folder);
    const append = (body: string) => log.append({ kind: 0, records: 1, body: [Buffer.from(body)] });
    await append(link("c0", 2) + link("c1", 7) + link("c0", 0) + link("c0", 1));
    await append("");
    await append(link("c0", 3) + link("c0", 3) + link("c0", 5));
    const pieces = await piecesOfLog(folder, recordsOf!); // which has it open
    await log.close();
    assert.equal(pieces, [
      { producer: "c0", frame: 0, first: 0, count: 3 },
      { producer: "c1", frame: 0, first: 7, count: 1 },
      { producer: "c0", frame: 2, first: 3, count: 1 },
      { producer: "c0", frame: 2, first: 3, count: 1 },
      { producer: "c0", frame: 2, first: 5, count: 1 },
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
