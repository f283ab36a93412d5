/**
 * A copy of a host's data while it runs. Each stream is at rest for a moment, in which a snapshot of its folder is made: hard links to the files
 * that are only appended to or never written again, of which as much counts as was there then, and copies of the small rest. The
 * snapshots become a tar archive while the streams go on.
 *
 * A stream that takes in another one's output is copied before that one: it must not have rows that the other has yet to make.
 */
import { createReadStream, linkSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { pack as newPack, type Pack } from "tar-stream";
import { sdkVersion } from "../core/version.ts";
import type { Extent } from "../store/retention.ts";
import { seal } from "../store/sealed.ts";
import { Segment } from "../store/segment.ts";
import type { StreamRecord } from "./record.ts";

/** The version of what a backup holds, in its last file. Version 1 had no checksums. */
export const BACKUP_VERSION = 2;
/** The archive's last file: what is in it (Contents). One without was cut off. */
export const BACKUP_FILE = "backup.json";
/** What that file begins with where version 1 wrote it. */
export const BACKUP_BEFORE_CHECKSUMS = '{"version":1,';

/** What a backup says of itself, sealed (store/sealed.ts). */
export interface Contents {
  version: number;
  /** The version of Hallelujah that made it. */
  hallelujah: string;
  /** When, ISO 8601. */
  made: string;
  files: number;
  /** CRC-32 of each file, in the order of the archive. */
  sums: number[];
}

/** A stream, as far as this needs it. */
export interface BackedUp {
  readonly record: StreamRecord;
  readonly folder: string;
  readonly logExtents: Extent[];
  /** Does something while no Jah has the stream, and nothing of its folder changes but the log. */
  atRest<T>(work: () => Promise<T>): Promise<T>;
}

export interface SnapshotFile {
  /** Its name in the archive. */
  name: string;
  path: string;
  bytes: number;
}

/** Streams in the order in which they are copied: none after the one whose output it takes in. */
export function inBackupOrder<S extends { record: StreamRecord }>(streams: S[]): S[] {
  const byName = new Map(streams.map((stream) => [stream.record.name, stream]));
  const depth = ({ record }: S): number => {
    const from = record.from === undefined ? undefined : byName.get(record.from);
    return from ? 1 + depth(from) : 0;
  };
  return streams.toSorted((a, b) => depth(b) - depth(a));
}

/** Makes a snapshot of a stream in `folder`; resolves with its files, and its record as it was then. */
export function snapshot(
  stream: BackedUp,
  folder: string,
): Promise<{ record: StreamRecord; files: SnapshotFile[] }> {
  return stream.atRest(async () => {
    // The log goes on. As it is now, and what is known of it now: nothing is awaited until that is linked.
    const record = structuredClone(stream.record);
    delete record.reprocess; // its state is not copied
    const files: SnapshotFile[] = [];
    const keep = async (name: string, link: boolean, bytes?: number) => {
      const from = join(stream.folder, name);
      const path = join(folder, name);
      mkdirSync(dirname(path), { recursive: true });
      if (link) linkSync(from, path);
      else await copyFile(from, path);
      files.push({ name: `streams/${record.name}/${name}`, path, bytes: bytes ?? statSync(path).size });
    };
    const dead = namesIn(join(stream.folder, "dead"), /^\d+$/);
    await Promise.all([
      ...stream.logExtents.map(({ first, bytes }) => keep(Segment.pathOf("log", first), true, bytes)),
      ...dead.map((name) => keep(join("dead", name), true)),
    ]);
    for (const part of ["output", "late"])
      for (const name of namesIn(join(stream.folder, part), /\.seg$/)) await keep(join(part, name), true);
    for (const { folder: shard } of record.stored)
      for (const name of namesIn(join(stream.folder, shard), /^(?!LOG|LOCK)/))
        await keep(join(shard, name), name.endsWith(".sst"));
    for (const name of namesIn(stream.folder, /^(kernel-\d+\.wasm|sink-\d+\.json)$/)) await keep(name, false);
    return { record, files };
  });
}

/** The archive, as it is read: `texts` are files of their own, before `files`. Calls `done` when it is over, however that comes. */
export function archiveOf(
  texts: [name: string, text: string][],
  files: SnapshotFile[],
  done: () => void,
): AsyncIterable<Uint8Array> {
  const pack = newPack();
  const fill = async () => {
    const sums: number[] = [];
    for (const [name, text] of texts) {
      pack.entry({ name }, text);
      sums.push(crc32(text));
    }
    for (const file of files) sums.push(await addFile(pack, file));
    const made = new Date().toISOString();
    const last: Contents = {
      version: BACKUP_VERSION,
      hallelujah: sdkVersion(),
      made,
      files: sums.length,
      sums,
    };
    pack.entry({ name: BACKUP_FILE }, seal(last));
    pack.finalize();
  };
  const chunks = pack[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let filling: Promise<void> | undefined;
  const end = () => {
    pack.destroy();
    done();
  };
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        filling ??= fill().catch((error: Error) => pack.destroy(error));
        const result = await chunks.next();
        if (result.done) end();
        return result;
      },
      async return() {
        end();
        return { done: true, value: undefined };
      },
    }),
  };
}

/** Resolves with the file's CRC-32. */
async function addFile(pack: Pack, { name, path, bytes }: SnapshotFile): Promise<number> {
  if (!bytes) {
    pack.entry({ name }, "");
    return 0;
  }
  const entry = pack.entry({ name, size: bytes });
  const written = new Promise<void>((done, fail) => {
    entry.on("finish", done);
    entry.on("error", fail);
    entry.on("close", () => fail(new Error("nobody reads the backup any more")));
  });
  const source = createReadStream(path, { end: bytes - 1 });
  let sum = 0;
  source.on("data", (chunk) => (sum = crc32(chunk, sum)));
  source.on("error", (error) => entry.destroy(error));
  source.pipe(entry);
  await written;
  return sum;
}

function namesIn(folder: string, wanted: RegExp): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => wanted.test(name))
      .toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
