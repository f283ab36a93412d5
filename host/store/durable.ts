/**
 * Files and folders that survive a loss of power. A new file's name lies in its folder, so the folder has to be synced as
 * well (fsync(2)).
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** Makes the names in a folder survive. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes a folder and those above it, where they are not there, so that they survive. Not by `recursive`: where a system refuses
 * folders with ENOENT, as /proc does, Node 20 makes the one above again and again and never returns.
 */
export function makeFolder(path: string): void {
  if (existsSync(path)) return;
  const above = dirname(path);
  makeFolder(above);
  try {
    mkdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error; // else another process was quicker
  }
  const fd = openSync(above, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes a file anew: after a crash there is the old one or the new one, whole. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const unfinished = `${path}.new`;
  const handle = await open(unfinished, "w");
  try {
    await handle.writeFile(content);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(unfinished, path);
  await syncFolder(dirname(path));
}
