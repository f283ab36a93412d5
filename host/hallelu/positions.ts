/** How far a sink has got, and where that is remembered. */
import { existsSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { isCount, seal, unseal } from "../store/sealed.ts";

/** The next row that a sink gets, and for a file its length. */
export interface Position {
  next: number;
  bytes: number;
}

export interface Positions {
  /** Undefined before the first start. Rejects with `sink-failed` if it cannot be told. */
  read(): Promise<Position | undefined>;
  /** Resolves when it would survive. */
  write(position: Position): Promise<void>;
}

/** What files of positions begin with that were written before they had checksums. */
const BEFORE_CHECKSUMS = '{"next":';
const VERSION = 2;

/** In a file. */
export function filePositions(path: string): Positions {
  return {
    async read() {
      if (!existsSync(path)) return undefined;
      try {
        const { next, bytes } = unseal(readFileSync(path), BEFORE_CHECKSUMS) as Record<string, unknown>;
        if (isCount(next) && isCount(bytes)) return { next, bytes };
        throw new Error("it is no position");
      } catch (cause) {
        throw unreadable(path, cause, "bring it back from a backup");
      }
    },
    async write(position) {
      const handle = await open(`${path}.new`, "w");
      try {
        await handle.writeFile(seal({ version: VERSION, ...position }));
        await handle.datasync();
      } finally {
        await handle.close();
      }
      await rename(`${path}.new`, path);
    },
  };
}

/** That what is remembered is none; `what` says where, and `then` what to do. */
export function unreadable(what: string, cause: unknown, then: string): HallelujahError {
  const message = `${what} cannot be read, so that nobody knows how far this sink has got: ${messageOf(cause)}; ${then}`;
  return new HallelujahError("sink-failed", message, { cause });
}
