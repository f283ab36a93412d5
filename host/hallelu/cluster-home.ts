/**
 * A stream whose home is the cluster. Its log and its outputs are JetStream's, with files of this host as caches; all else is values of one JetStream
 * stream of its own:
 *
 *   record           JSON: what the registry of a single host has, with the epoch of the leader that wrote it
 *   module.NAME.CRC.PART, file.NAME.PART
 *                    what is kept of its folder and never changes: modules; records that were set aside
 *   sink.N           how far a sink has got
 *   SHARD.           the snapshots of a shard (substrate/snapshots.ts)
 *
 * A host that becomes the leader writes the record first: whoever led before writes it no more. Then it brings its folder to what the cluster has.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";
import { replaceFile } from "../store/durable.ts";
import type { Digest } from "../store/log.ts";
import { Outputs } from "../store/outputs.ts";
import { isCount, seal, unseal } from "../store/sealed.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { Cluster } from "../substrate/cluster.ts";
import { ClusterLog, type ClusterLogParts } from "../substrate/cluster-log.ts";
import { ClusterValues } from "../substrate/cluster-values.ts";
import type { LedEntry } from "../substrate/directory.ts";
import { hydrate } from "../substrate/hydrate.ts";
import { LateLog } from "../substrate/late-log.ts";
import { REPLICA, type ReplicaTarget, type StateNames, valuesOf } from "../substrate/replica-target.ts";
import { removeSnapshots } from "../substrate/snapshots.ts";
import type { ClusterPlace } from "../wire/congregation.ts";
import type { ReplicaStart } from "../wire/live.ts";
import { type Home, keepFile, type OutputPart } from "./home.ts";
import { type Position, type Positions, unreadable } from "./positions.ts";
import { isRecordOf, located, type StreamRecord } from "./record.ts";

/** Says which leadership the folder of a stream is of. */
const MARK = "HOME";
const RECORD = "record";

export interface ClusterHomeParts {
  cluster: Cluster;
  place: ClusterPlace;
  /** The data folder of this host, and that of the stream in it. */
  data: string;
  folder: string;
  name: string;
  /** As this host leads it. */
  entry: LedEntry;
}

interface Written {
  epoch: number;
  host: string;
  /** Of this write alone: who wrote it, and his how many. */
  write: string;
  /** Left out of a stream that is removed, or was never deployed whole. */
  record?: StreamRecord;
}

/** A position, as it is kept: of a file of which host, and of whose leadership. */
interface Kept extends Position {
  folder: string;
  epoch: number;
}

export class ClusterHome implements Home {
  readonly isShared = true;
  private readonly parts: ClusterHomeParts;
  private readonly values: ClusterValues;
  private readonly writer: string = crypto.randomUUID();
  private writes = 0;
  /** The number of the record that this process wrote last; 0 before it has. */
  private revision = 0;
  /** The record as it was written last, and as it is to be written. */
  private written: StreamRecord | undefined;
  private wanted: StreamRecord | undefined;
  /** The write that is under way or was last, and the one behind it. */
  private current: Promise<void> = Promise.resolve();
  private next: Promise<void> | undefined;
  /** Modules that are kept, and their CRC-32. */
  private readonly modules = new Map<string, number>();

  private isForgotten = false;

  private constructor(parts: ClusterHomeParts, values: ClusterValues) {
    this.parts = parts;
    this.values = values;
  }

  get entry(): LedEntry {
    return this.parts.entry;
  }

  /** Rejects as `ClusterValues.open` does. */
  static async open(parts: ClusterHomeParts): Promise<ClusterHome> {
    return new ClusterHome(parts, await ClusterValues.open(parts.cluster, valuesOf(namesOf(parts))));
  }

  /**
   * Takes the stream over from whoever led it before, and brings the folder up to date. Resolves with its record; undefined if it has none, as it was
   * never deployed whole, or is being removed. Rejects with `stream-moved`, `snapshot-lost`, `registry-damaged`, or as `ClusterValues` does.
   */
  async takeUp(): Promise<StreamRecord | undefined> {
    const { data, name, entry, folder } = this.parts;
    const found = await this.claim();
    if (!found) return undefined;
    if (!isOf(folder, entry)) {
      const shards = new Set(
        [...found.stored, ...(found.reprocess?.stored ?? [])].map((each) => each.folder),
      );
      clear(folder, shards);
      await Promise.all([this.restoreFiles(found), ...[...shards].map((shard) => this.hydrate(shard))]);
      await this.mark();
    }
    for (const [module, sum] of modulesOf(found)) this.modules.set(module, sum);
    return located(structuredClone(found), data, name);
  }

  /** The folder is of this leadership from now on. */
  private async mark(): Promise<void> {
    const { folder, entry } = this.parts;
    await replaceFile(join(folder, MARK), seal({ format: 1, identity: entry.identity, epoch: entry.epoch }));
  }

  /** Writes the record with this leadership's epoch: also that there is none, so that whoever was about to deploy the stream writes none. */
  private async claim(): Promise<StreamRecord | undefined> {
    const { name, entry } = this.parts;
    for (;;) {
      const found = await this.values.get(RECORD);
      const there = found && this.parse(found.bytes);
      if (there && there.epoch > entry.epoch) throw movedError(name, there.host, there.epoch);
      this.revision = found?.number ?? 0;
      try {
        await this.put(there?.record);
        return there?.record;
      } catch (error) {
        if ((error as HallelujahError).code !== "revision-conflict") throw error;
      }
    }
  }

  private parse(bytes: Buffer): Written {
    const { name } = this.parts;
    try {
      const { epoch, host, write, record } = JSON.parse(bytes.toString()) as Partial<Written>;
      const isWhole = record === undefined || isRecordOf(name, record);
      if (isCount(epoch) && typeof host === "string" && typeof write === "string" && isWhole)
        return { epoch, host, write, ...(record ? { record } : {}) };
    } catch {}
    throw new HallelujahError(
      "registry-damaged",
      `the record of ${name} in the cluster is not what Hallelujah wrote there, or another version did; put back what was there, or remove the stream`,
    );
  }

  /** A shard's newest snapshot takes the place of what is in its folder; without one the log has all. */
  private async hydrate(shard: string): Promise<void> {
    const { place, entry, folder } = this.parts;
    const leader = { epoch: entry.epoch, host: place.host };
    const done = await hydrate({ values: this.values, shard }, leader, join(folder, shard));
    if (!done) await rm(join(folder, shard), { recursive: true, force: true });
  }

  // --- the record ------------------------------------------------------------------------------------------------

  /** Resolves if this host leads the stream: it writes what it wrote last. Rejects as `write` does. */
  confirm(): Promise<void> {
    return this.enqueue();
  }

  write(record: StreamRecord): Promise<void> {
    this.wanted = structuredClone(record);
    return this.enqueue();
  }

  /** One write at a time; those that are asked for meanwhile are one more. */
  private enqueue(): Promise<void> {
    this.next ??= this.current
      .catch(() => {})
      .then(() => {
        this.next = undefined;
        this.current = this.writeNext();
        return this.current;
      });
    return this.next;
  }

  private async writeNext(): Promise<void> {
    const record = this.wanted ?? this.written;
    this.wanted = undefined;
    if (!record) return;
    if (this.isForgotten) throw new HallelujahError("stream-unknown", `${this.parts.name} is being removed`);
    if (!this.revision) await this.mark(); // it is new
    for (const [module, sum] of modulesOf(record)) {
      if (this.modules.get(module) === sum) continue;
      const bytes = await readFile(join(this.parts.folder, module));
      await this.putParts(moduleName(module, sum), bytes);
      this.modules.set(module, sum);
    }
    await this.insist(record);
  }

  private async insist(record: StreamRecord | undefined): Promise<void> {
    for (;;) {
      try {
        return await this.put(record);
      } catch (error) {
        if ((error as HallelujahError).code !== "revision-conflict") throw error;
        await this.findOwn();
      }
    }
  }

  /** Learns of a write of this process whose answer was lost. Rejects with `stream-moved` if another one has written since. */
  private async findOwn(): Promise<void> {
    const { name } = this.parts;
    const found = await this.values.get(RECORD);
    if (!found) throw movedError(name);
    const { epoch, host, write } = this.parse(found.bytes);
    if (!write.startsWith(`${this.writer}.`)) throw movedError(name, host, epoch);
    this.revision = found.number;
  }

  private async put(record: StreamRecord | undefined): Promise<void> {
    const { name, place, entry } = this.parts;
    const write = this.nextWrite();
    const written: Written = { epoch: entry.epoch, host: place.host, write, ...(record ? { record } : {}) };
    const bytes = Buffer.from(JSON.stringify(written));
    if (bytes.length > this.values.bytesMax)
      throw new HallelujahError(
        "registry-too-large",
        `the record of ${name} takes ${bytes.length} bytes, and the servers of the cluster take ${this.values.bytesMax}; drop dead letters, or let nats-server take more (max_payload)`,
      );
    this.revision = await this.values.put(RECORD, bytes, this.revision);
    this.written = record;
  }

  /** Makes what is written differ each time, so that a write whose answer was lost is known again. */
  private nextWrite(): string {
    return `${this.writer}.${++this.writes}`;
  }

  // --- its log, outputs and files --------------------------------------------------------------------------------

  openLog(digest: Digest): Promise<StreamLog> {
    return ClusterLog.open(this.logParts("log", digest));
  }

  openOutputs(part: OutputPart): Promise<Outputs> {
    return Outputs.over((digest) => LateLog.open(this.logParts(part, digest)));
  }

  private logParts(part: "log" | OutputPart, digest: Digest): ClusterLogParts {
    const { cluster, place, folder, entry } = this.parts;
    return {
      ...this.logNames(part),
      connection: cluster,
      folder: join(folder, part),
      host: place.host,
      epoch: entry.epoch,
      digest,
    };
  }

  private logNames(part: "log" | OutputPart): StateNames {
    const names = namesOf(this.parts);
    return part === "log" ? names : { ...names, identity: `${names.identity}-${part}` };
  }

  async keep(file: string, bytes: Uint8Array): Promise<void> {
    await keepFile(this.parts.folder, file, bytes);
    await this.putParts(fileName(file), bytes);
  }

  read(file: string): Promise<Buffer> {
    return readFile(join(this.parts.folder, file));
  }

  async drop(file: string): Promise<void> {
    await rm(join(this.parts.folder, file), { force: true });
    const sum = this.modules.get(file);
    this.modules.delete(file);
    await this.values.removeAll(`${sum === undefined ? fileName(file) : moduleName(file, sum)}.`);
  }

  private async putParts(name: string, bytes: Uint8Array): Promise<void> {
    const count = Math.max(1, Math.ceil(bytes.length / FRAME_BYTES));
    for (let i = 0; i < count; i++)
      await this.values.put(`${name}.${i}`, bytes.subarray(i * FRAME_BYTES, (i + 1) * FRAME_BYTES));
  }

  /** Brings the modules of a record, and all else that is kept, to the folder. What is not whole is found when it is read: the record has a checksum of each. */
  private async restoreFiles(record: StreamRecord): Promise<void> {
    const { folder } = this.parts;
    for (const [module, sum] of modulesOf(record))
      await keepFile(folder, module, await this.getParts(moduleName(module, sum)));
    const files = (await this.values.list("file.")).map((name) => name.split(".")[1]);
    for (const file of new Set(files))
      await keepFile(folder, Buffer.from(file, "base64url").toString(), await this.getParts(`file.${file}`));
  }

  private async getParts(name: string): Promise<Buffer> {
    const parts = await this.values.list(`${name}.`);
    const found = await Promise.all(parts.map((_, i) => this.values.get(`${name}.${i}`)));
    return Buffer.concat(found.map((each) => each?.bytes ?? Buffer.alloc(0)));
  }

  // --- sinks and shards ------------------------------------------------------------------------------------------

  positions(sink: number): Positions {
    const name = `sink.${sink}`;
    const { name: stream, place, entry } = this.parts;
    let number = 0;
    return {
      read: async () => {
        const found = await this.values.get(name);
        number = found?.number ?? 0;
        if (!found) return undefined;
        try {
          const { next, bytes, folder } = JSON.parse(found.bytes.toString()) as Kept;
          if (!isCount(next) || !isCount(bytes)) throw new Error("it is no position");
          // The file of another host: that of this one is gone on with at its end.
          return { next, bytes: folder === place.folder ? bytes : Number.MAX_SAFE_INTEGER };
        } catch (cause) {
          throw unreadable(`${name} of ${stream} in the cluster`, cause, "put back what was there");
        }
      },
      write: async ({ next, bytes }) => {
        const { epoch } = entry;
        const text = JSON.stringify({ next, bytes, folder: place.folder, epoch, write: this.nextWrite() });
        for (;;) {
          try {
            number = await this.values.put(name, Buffer.from(text), number);
            return;
          } catch (error) {
            if ((error as HallelujahError).code !== "revision-conflict") throw error;
          }
          const found = await this.values.get(name);
          if (!found || (JSON.parse(found.bytes.toString()) as Kept).epoch !== epoch)
            throw movedError(stream);
          number = found.number;
        }
      },
    };
  }

  replicaOf(shard: string): ReplicaStart {
    const { place, entry } = this.parts;
    const { url, replicas, host } = place;
    const { epoch } = entry;
    const target: ReplicaTarget = { ...namesOf(this.parts), url, replicas, shard, host, epoch };
    return { module: REPLICA, target };
  }

  async dropShard(shard: string): Promise<void> {
    // A removal names no revision: whoever does not lead the stream any more removes nothing.
    await this.confirm();
    await rm(join(this.parts.folder, shard), { recursive: true, force: true });
    await removeSnapshots({ values: this.values, shard });
  }

  // --- its end ---------------------------------------------------------------------------------------------------

  /** Writes that there is no such stream: whoever does not lead it any more cannot. */
  async forget(): Promise<void> {
    if (this.isForgotten) return;
    this.isForgotten = true;
    try {
      await this.current.catch(() => {});
      await this.insist(undefined);
    } catch (error) {
      if ((error as HallelujahError).code === "cluster-lost") return; // all of it is gone
      this.isForgotten = false;
      throw error;
    }
  }

  async remove(keepsFolder = false): Promise<void> {
    const { cluster, folder } = this.parts;
    await this.forget();
    for (const part of ["log", "output", "late"] as const)
      await ClusterLog.remove(cluster, this.logNames(part));
    this.values.close();
    await ClusterValues.remove(cluster, valuesOf(namesOf(this.parts)));
    if (!keepsFolder) rmSync(folder, { recursive: true, force: true });
  }

  close(): void {
    this.values.close();
  }
}

function namesOf({ place, name, entry }: ClusterHomeParts): StateNames {
  return { cluster: place.cluster, stream: name, identity: entry.identity };
}

/** Names of the modules that a record needs, and their CRC-32. */
function modulesOf({ moduleSums, reprocess }: StreamRecord): [string, number][] {
  return [...Object.entries(moduleSums ?? {}), ...Object.entries(reprocess?.moduleSums ?? {})];
}

/** Whether a folder is as this leadership left it, or nobody else has led the stream since. */
function isOf(folder: string, { identity, epoch }: LedEntry): boolean {
  try {
    const mark = unseal(readFileSync(join(folder, MARK)), "{") as { identity?: unknown; epoch?: unknown };
    return mark.identity === identity && mark.epoch === epoch;
  } catch {
    return false;
  }
}

/** Removes what may be of another time, but the state of `shards`, of whose pages those need not come again that are alike, and caches of logs. */
function clear(folder: string, shards: ReadonlySet<string>): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (!shards.has(name) && !["log", "output", "late"].includes(name))
      rmSync(join(folder, name), { recursive: true, force: true });
}

/** A letter of NATS for each that a path may have. */
function fileName(file: string): string {
  return `file.${Buffer.from(file).toString("base64url")}`;
}

/** Names of modules are used again where a version did not come about. */
function moduleName(module: string, sum: number): string {
  return `module.${Buffer.from(module).toString("base64url")}.${sum}`;
}

function movedError(stream: string, host?: string, epoch?: number): HallelujahError {
  const who = host === undefined ? "by another host" : `by host ${host} (epoch ${epoch})`;
  return new HallelujahError("stream-moved", `${stream} is led ${who} now; ask again`);
}
