import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Writes all bytes; waits while a pipe that does not block is full. */
export async function writeFully(fd: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      await sleep(1);
    }
  }
}
