/**
 * Where what a stream is made of is kept. Its folder has all that Jahs read; its home is what counts of it: this host alone, or its cluster
 * (cluster-home.ts), from which another host can go on with the stream.
 */
import { rmSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder, replaceFile } from "../store/durable.ts";
import { type Digest, Log } from "../store/log.ts";
import { Outputs } from "../store/outputs.ts";
import type { Registry } from "../store/registry.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { ReplicaStart } from "../wire/live.ts";
import { filePositions, type Positions } from "./positions.ts";
import type { StreamRecord } from "./record.ts";

export type OutputPart = "output" | "late";

export interface Home {
  /** Of the cluster: what was there before this process is not to be taken for what counts. */
  readonly isShared: boolean;
  openLog(digest: Digest): Promise<StreamLog>;
  openOutputs(part: OutputPart): Promise<Outputs>;
  /** Writes the record, with the modules that it names. Rejects with `registry-unwritable`, and with `stream-moved` if another host leads the stream. */
  write(record: StreamRecord): Promise<void>;
  /** Keeps a file of the stream's folder, which never changes. */
  keep(file: string, bytes: Uint8Array): Promise<void>;
  /** A file that was kept. Rejects if it is not there. */
  read(file: string): Promise<Buffer>;
  drop(file: string): Promise<void>;
  /** Where it is remembered how far a sink has got. */
  positions(sink: number): Positions;
  /** Where the state of a shard is taken to beside its folder; undefined if nowhere. */
  replicaOf(shard: string): ReplicaStart | undefined;
  /** Removes the state of a shard, in its folder and elsewhere. */
  dropShard(shard: string): Promise<void>;
  /** There is no such stream any more: what is left of it is removed by `remove`, or, if this process ends before, by whoever finds it. */
  forget(): Promise<void>;
  /** Removes all of the stream, which nobody has open; its folder stays if `keepsFolder`. */
  remove(keepsFolder?: boolean): Promise<void>;
}

/** This host alone; also for what is in the folder of a stream whose home is a cluster. */
export class LocalHome implements Home {
  readonly isShared = false;
  private readonly name: string;
  private readonly folder: string;
  private readonly registry: Registry;

  constructor(name: string, folder: string, registry: Registry) {
    this.name = name;
    this.folder = folder;
    this.registry = registry;
  }

  openLog(digest: Digest): Promise<StreamLog> {
    return Log.open(join(this.folder, "log"), { digest });
  }

  openOutputs(part: OutputPart): Promise<Outputs> {
    return Outputs.open(join(this.folder, part));
  }

  async write(record: StreamRecord): Promise<void> {
    await this.registry.put(`streams/${this.name}`, record);
  }

  keep(file: string, bytes: Uint8Array): Promise<void> {
    return keepFile(this.folder, file, bytes);
  }

  read(file: string): Promise<Buffer> {
    return readFile(join(this.folder, file));
  }

  async drop(file: string): Promise<void> {
    await rm(join(this.folder, file), { force: true });
  }

  positions(sink: number): Positions {
    return filePositions(join(this.folder, `sink-${sink}.json`));
  }

  replicaOf(): undefined {
    return undefined;
  }

  async dropShard(shard: string): Promise<void> {
    await rm(join(this.folder, shard), { recursive: true, force: true });
  }

  forget(): Promise<void> {
    return this.registry.delete(`streams/${this.name}`);
  }

  async remove(keepsFolder = false): Promise<void> {
    await this.forget(); // it may have been written meanwhile
    if (!keepsFolder) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Writes a file of a stream's folder so that it survives. */
export async function keepFile(folder: string, file: string, bytes: Uint8Array): Promise<void> {
  const path = join(folder, file);
  makeFolder(dirname(path));
  await replaceFile(path, bytes);
}
