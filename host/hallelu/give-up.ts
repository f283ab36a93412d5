/**
 * A visit that its client has left while a Jah is at a part of it. A kernel cannot be interrupted from outside, so that part is given a little
 * time; then the watchdog of the Jah (core/watchdog.ts), which alone knows what its main thread is at, is told by a file, and ends the process
 * if it still is at that part.
 */
import { rm, writeFile } from "node:fs/promises";

/** Gives up a part of a visit: resolves when it is over, however it ends. `path` is what the watchdog looks for, `graceMs` the time before. */
export async function giveUp(part: Promise<unknown>, path: string, graceMs: number): Promise<void> {
  let told: Promise<void> | undefined;
  const timer = setTimeout(() => {
    // The folder may have gone with the stream, and then the Jah has, too.
    told = writeFile(path, "").catch(() => {});
  }, graceMs);
  await part.catch(() => {});
  clearTimeout(timer);
  if (!told) return;
  await told;
  await rm(path, { force: true }).catch(() => {});
}
