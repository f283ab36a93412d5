/**
 * The disk of a simulated host, as far as the pages of shards go: databases under the product's `PageVersions`, on virtual time.
 * A write takes time, and is not synced but for the one that says that a checkpoint is whole. A process that dies while it writes
 * pages leaves none of them, all, or some, and so does a write that fails. Power that goes takes what was not synced, in
 * whole or in part, in no order.
 *
 * That is more than RocksDB loses, which keeps whole batches in their order. What holds here, too: what was synced stays, and
 * a batch that was to be synced is there as a whole, with all that came before it, or not at all.
 */
import { HallelujahError } from "../../host/core/errors.ts";
import type { Batch, Database, Entry } from "../../host/store/database.ts";
import type { KeyRange } from "../../host/store/keys.ts";
import type { PageStore } from "../../host/store/page-store.ts";
import { PageVersions } from "../../host/store/page-versions.ts";

type Operation = [key: string, value: Buffer | undefined];

interface Written {
  operations: Operation[];
  /** Whether it was to be synced. */
  synced: boolean;
}

/** The process that has a database open. */
export interface Writer {
  alive(): boolean;
  later(ms: number, what: () => void): void;
  /** How long a write takes, ms. */
  writing(synced: boolean): number;
  /** Whether a write fails. */
  fails(): boolean;
}

export class SimulatedDisk {
  private readonly folders = new Map<string, Folder>();
  private readonly chance: () => number;

  constructor(chance: () => number) {
    this.chance = chance;
  }

  /** Opens the store in a folder; whoever had it open before writes nothing any more. */
  open(name: string, writer: Writer): Promise<PageStore> {
    let folder = this.folders.get(name);
    if (!folder) this.folders.set(name, (folder = new Folder(this.chance)));
    folder.tear();
    return PageVersions.open(new SimulatedDatabase(name, folder, writer));
  }

  has(name: string): boolean {
    return (this.folders.get(name)?.entries.size ?? 0) > 0;
  }

  /** Whether a process that lives has a folder open. */
  isOpen(name: string): boolean {
    return this.folders.get(name)?.openedBy?.isOpen ?? false;
  }

  remove(name: string): void {
    this.folders.delete(name);
  }

  /** Whoever writes ends; with `power`, so does all that is not on disk. */
  crash(power: boolean): void {
    for (const folder of this.folders.values())
      if (power) folder.losePower();
      else folder.tear();
  }
}

class Folder {
  entries = new Map<string, Buffer>();
  /** The database that has it open. */
  openedBy: SimulatedDatabase | undefined;
  /** What is being written. */
  underWay: Written | undefined;
  /** The note of the newest checkpoint. */
  newest = 0;
  private newestBefore = 0;
  /** What survives a loss of power for certain, and what was written since. */
  private durable = new Map<string, Buffer>();
  private unsynced: Written[] = [];
  private readonly chance: () => number;

  constructor(chance: () => number) {
    this.chance = chance;
  }

  /** What was under way is there. */
  end(): void {
    const { operations, synced } = this.underWay!;
    apply(this.entries, operations);
    this.unsynced.push(this.underWay!);
    this.underWay = undefined;
    if (!synced) return;
    for (const written of this.unsynced) apply(this.durable, written.operations);
    this.unsynced = [];
  }

  /** What was under way, if anything, ends in the middle: none of it is there, all, or some. */
  tear(): void {
    const { underWay } = this;
    this.underWay = undefined;
    const roll = this.chance();
    if (!underWay || roll < 0.3) return;
    const { synced } = underWay;
    const operations = synced || roll < 0.6 ? underWay.operations : this.some(underWay.operations);
    apply(this.entries, operations);
    this.unsynced.push({ operations, synced });
  }

  losePower(): void {
    this.tear();
    const reached = this.unsynced.slice(0, Math.floor(this.chance() * (this.unsynced.length + 1)));
    const last = reached.findLastIndex(({ synced }) => synced);
    reached.forEach(({ operations }, i) => {
      apply(this.durable, i <= last ? operations : this.some(operations));
    });
    this.entries = new Map(this.durable);
    this.unsynced = [];
    if (this.chance() < 0.5) this.newest = this.newestBefore;
  }

  note(checkpoint: number): void {
    this.newestBefore = this.newest;
    this.newest = checkpoint;
  }

  private some(operations: Operation[]): Operation[] {
    return operations.filter(() => this.chance() < 0.5);
  }
}

function apply(entries: Map<string, Buffer>, operations: Operation[]): void {
  for (const [key, value] of operations) {
    if (value) entries.set(key, value);
    else entries.delete(key);
  }
}

class SimulatedDatabase implements Database {
  readonly name: string;
  private readonly folder: Folder;
  private readonly writer: Writer;

  constructor(name: string, folder: Folder, writer: Writer) {
    this.name = name;
    this.folder = folder;
    this.writer = writer;
    folder.openedBy = this;
  }

  get isOpen(): boolean {
    return this.writer.alive();
  }

  get newest(): number {
    return this.folder.newest;
  }

  noteNewest(checkpoint: number): void {
    this.folder.note(checkpoint);
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    const value = this.folder.entries.get(key.toString("latin1"));
    return value && Buffer.from(value);
  }

  async *scan({ from, to }: KeyRange, what: "entries" | "keys"): AsyncGenerator<Entry[]> {
    const [first, end] = [from.toString("latin1"), to.toString("latin1")];
    const { entries } = this.folder;
    const keys = [...entries.keys()].filter((key) => key >= first && key < end).toSorted();
    if (!keys.length) return;
    yield keys.map((key) => ({
      key: Buffer.from(key, "latin1"),
      value: what === "keys" ? Buffer.alloc(0) : entries.get(key)!,
    }));
  }

  /** Of a process that is dead, or of which another has the folder, nobody hears any more. */
  write(fill: (batch: Batch) => void, synced: boolean): Promise<void> {
    const { folder, writer } = this;
    const operations: Operation[] = [];
    fill({
      put: (key, value) => operations.push([key.toString("latin1"), Buffer.from(value)]),
      delete: (key) => operations.push([key.toString("latin1"), undefined]),
    });
    const written = { operations, synced };
    const isHere = () => writer.alive() && folder.openedBy === this;
    return new Promise((done, fail) => {
      if (!isHere()) return;
      folder.underWay = written;
      writer.later(writer.writing(synced), () => {
        if (!isHere()) return;
        if (writer.fails()) {
          folder.tear();
          return fail(new HallelujahError("disk-full", `${this.name} cannot be written: no room`));
        }
        folder.end();
        done();
      });
    });
  }

  async reopen(): Promise<void> {}

  async close(): Promise<void> {
    if (this.folder.openedBy === this) this.folder.openedBy = undefined;
  }
}
