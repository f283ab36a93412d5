/** Checks the store of a shard: every page of every checkpoint. RocksDB writes where it opens, so it opens a copy. */
import { copyFileSync, linkSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import type { Meta } from "../jah/checkpointer.ts";
import { openPages } from "../store/pages.ts";

export interface CheckedStore {
  /** The checkpoints that are whole, newest first: their frames. */
  whole: number[];
  /** What is wrong. */
  problems: string[];
}

export async function checkStore(folder: string): Promise<CheckedStore> {
  const copy = mkdtempSync(join(tmpdir(), "hallelujah-doctor-"));
  const checked: CheckedStore = { whole: [], problems: [] };
  try {
    for (const name of readdirSync(folder)) place(join(folder, name), join(copy, name));
    const store = await openPages(copy);
    try {
      if (store.damage) checked.problems.push(store.damage.message);
      for (const { number, meta } of store.checkpoints) {
        const { frame } = meta as Meta;
        try {
          await store.restore(number, () => {});
          checked.whole.push(frame);
        } catch (error) {
          checked.problems.push(`the checkpoint of frame ${frame}: ${messageOf(error)}`);
        }
      }
    } finally {
      await store.close();
    }
  } catch (error) {
    checked.problems.push(messageOf(error));
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  checked.problems = checked.problems.map((problem) => problem.replaceAll(copy, folder));
  return checked;
}

/** Tables are never written to once they are there, so a link does where one can be made. */
function place(from: string, to: string): void {
  if (from.endsWith(".sst")) {
    try {
      return linkSync(from, to);
    } catch {
      // Another file system.
    }
  }
  copyFileSync(from, to);
}
