/** Makes a data folder of a backup. */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import { extract } from "tar-stream";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { BACKUP_BEFORE_CHECKSUMS, BACKUP_FILE, BACKUP_VERSION, type Contents } from "../hallelu/backup.ts";
import { syncFolder } from "../store/durable.ts";
import { isCount, unseal } from "../store/sealed.ts";

/** What a backup may hold; nothing leads out of the folder. */
const NAME = /^(registry\.json|streams\/[a-z0-9-]{1,63}(\/[A-Za-z0-9_-][A-Za-z0-9._-]*){1,2})$/;

/**
 * Writes the files of a backup into a folder, which is there as a whole or not at all. Rejects with `data-there` if the folder is not empty, `backup-invalid`
 * if this is no backup, or not all of one.
 */
export async function restoreBackup(file: string, data: string): Promise<void> {
  if (existsSync(data) && readdirSync(data).length)
    throw new HallelujahError("data-there", `${data} is not empty; give a new folder with --data`);
  if (!existsSync(file)) throw new HallelujahError("backup-missing", `there is no backup ${file}`);
  const unfinished = `${data}.restoring`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  try {
    await unpack(createReadStream(file), unfinished);
    rmSync(data, { recursive: true, force: true });
    renameSync(unfinished, data);
    await syncFolder(dirname(data));
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    if (error instanceof HallelujahError) throw error;
    throw new HallelujahError("backup-invalid", `${file} cannot be restored: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function unpack(source: Readable, folder: string): Promise<void> {
  const entries = extract();
  // What the source fails with, the entries do, too.
  const piped = pipeline(source, entries as unknown as NodeJS.WritableStream);
  piped.catch(() => {});
  let last: Partial<Contents> | undefined;
  const names: string[] = [];
  const sums: number[] = [];
  for await (const entry of entries) {
    const { name } = entry.header;
    if (last) throw new Error(`${name} comes behind its end`);
    const chunks = entry as unknown as AsyncIterable<Uint8Array>;
    if (name === BACKUP_FILE) {
      last = await contentsOf(chunks);
      continue;
    }
    if (!NAME.test(name) || entry.header.type !== "file")
      throw new Error(`${JSON.stringify(name)} is no file of a backup`);
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    let sum = 0;
    const summed = async function* () {
      for await (const chunk of chunks) {
        sum = crc32(chunk, sum);
        yield chunk;
      }
    };
    await pipeline(summed, createWriteStream(path, { flags: "wx", flush: true }));
    sums.push(sum);
    names.push(name);
  }
  await piped;
  if (!last) throw new Error("its end is missing: it was cut off, or is no backup");
  if (!isCount(last.version) || last.version < 1 || last.version > BACKUP_VERSION)
    throw new Error(`it is of version ${String(last.version)}, this is ${BACKUP_VERSION}`);
  if (last.files !== sums.length)
    throw new Error(`it holds ${sums.length} files instead of ${String(last.files)}`);
  if (last.version === 1) return;
  const changed = sums.findIndex((sum, i) => sum !== last.sums?.[i]);
  if (changed >= 0) throw new Error(`${names[changed]} is not what was written`);
}

/** What the last file says. */
async function contentsOf(chunks: AsyncIterable<Uint8Array>): Promise<Partial<Contents>> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  try {
    return unseal(Buffer.concat(parts), BACKUP_BEFORE_CHECKSUMS) as Partial<Contents>;
  } catch (cause) {
    throw new Error(`${BACKUP_FILE} cannot be read: ${messageOf(cause)}`, { cause });
  }
}
