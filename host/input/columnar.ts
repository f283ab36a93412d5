/** What the readers of columnar files (Parquet, Arrow) share: reading at a place, and what to say of bad files. */
import type { open } from "node:fs/promises";
import { HallelujahError } from "../core/errors.ts";

/** An open file. */
export type File = Awaited<ReturnType<typeof open>>;

/** The bytes from `start` to `end`, all of them, `pad` bytes into a buffer of their own. */
export async function readAt(file: File, start: number, end: number, pad = 0): Promise<Buffer> {
  const bytes = Buffer.from(new ArrayBuffer(end - start + pad), pad);
  const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
  if (bytesRead < bytes.length) throw new Error(`the file ends at byte ${start + bytesRead}`);
  return bytes;
}

export function corrupt(where: string, why: string): HallelujahError {
  return new HallelujahError("input-corrupt", `${where}: ${why}; get the file anew from its source`);
}

export function unsupported(where: string, why: string): HallelujahError {
  return new HallelujahError("input-unsupported", `${where}: ${why}; write the file anew without it`);
}
