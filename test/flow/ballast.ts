/** What fills a disk. */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

const REFILL_MS = 10;

/** Leaves no room on the disk of a folder, also where something gives some back, until it is removed. */
export class Ballast {
  private readonly path: string;
  private readonly filling: NodeJS.Timeout;

  /** `isThere`: whether the disk is, still. */
  constructor(folder: string, isThere: () => boolean = () => true) {
    this.path = join(folder, "ballast");
    fill(this.path);
    this.filling = setInterval(() => isThere() && fill(this.path), REFILL_MS);
  }

  /** Makes room. */
  remove(): void {
    this.leave();
    rmSync(this.path);
  }

  /** Fills it no more. */
  leave(): void {
    clearInterval(this.filling);
  }
}

/** Writes to a file until there is no room for more. */
function fill(path: string): void {
  const fd = openSync(path, "a");
  try {
    // Small pieces at the end, so that nothing at all is left.
    for (const bytes of [1 << 20, 4096]) {
      const piece = Buffer.alloc(bytes, 1);
      try {
        while (writeSync(fd, piece) === bytes);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    }
  } finally {
    closeSync(fd);
  }
}
