import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { HallelujahError } from "./errors.ts";

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

/** What is put out cannot be written: whoever read it has gone, or the disk is full. `code` is that of the system. */
export function outputError(what: "rows" | "output", code: string, message: string): HallelujahError {
  if (code === "EPIPE")
    return new HallelujahError("output-closed", "the output was closed before all rows were written");
  return new HallelujahError("output-failed", `the ${what} cannot be written: ${message} (${code})`);
}

/** An error of writing, as above; any other error as it is. */
export function inWriting(what: "rows" | "output", error: unknown): Error & { code?: string } {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall !== "write" || !code) return error as Error;
  return outputError(what, code, message.replace(/^\w+: /, "").replace(/, write$/, ""));
}
