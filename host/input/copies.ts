/** Temporary files that hold inputs of servers while a run reads them. */
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { REMOTE_COPY_BYTES_MAX } from "../core/limits.ts";
import type { ByteStream } from "./stream.ts";

export class Copies {
  private folder: string | undefined;
  private count = 0;
  private bytes = 0;
  private removed = false;

  /** All bytes of a stream, as a file. Throws `input-too-large` where all copies are more than is kept. */
  async add(stream: ByteStream): Promise<{ path: string; size: number }> {
    if (this.removed) throw new HallelujahError("aborted", "the run was stopped");
    this.folder ??= mkdtempSync(join(tmpdir(), "hallelujah-input-"));
    const path = join(this.folder, String(this.count++));
    const file = await open(path, "wx", 0o600);
    let size = 0;
    try {
      for (let chunk = await stream.next(); chunk; chunk = await stream.next()) {
        size += chunk.length;
        this.bytes += chunk.length;
        if (this.bytes > REMOTE_COPY_BYTES_MAX) throw tooLarge(stream.name);
        await file.writeFile(chunk);
      }
    } finally {
      stream.close();
      await file.close();
      if (this.removed) rmSync(path, { force: true });
    }
    return { path, size };
  }

  remove(): void {
    this.removed = true;
    if (this.folder !== undefined) rmSync(this.folder, { recursive: true, force: true });
  }
}

function tooLarge(name: string): HallelujahError {
  const message = `${name}: Parquet and Arrow files of servers are copied, up to ${REMOTE_COPY_BYTES_MAX / 2 ** 30} GiB in a run; copy it to a disk and read it there`;
  return new HallelujahError("input-too-large", message);
}
