/** The database in memory, for tests: it loses what was not synced when told to, and fails when told to. */
import type { Batch, Database, Entry } from "./database.ts";
import type { KeyRange } from "./keys.ts";

type Operations = [key: string, value: Buffer | undefined][];

export class MemoryDatabase implements Database {
  readonly name = "memory";
  newest = 0;
  /** Thrown by the next write, which then leaves nothing behind; or all of it, if it fails late. */
  failure: Error | undefined;
  failsLate = false;
  private entries = new Map<string, Buffer>();
  /** What a loss of power would leave. */
  private durable = new Map<string, Buffer>();
  private unsynced: Operations[] = [];

  /** The database as it is found after a loss of power that let so many of the batches through that were not synced. */
  afterPowerLoss(batches: number): MemoryDatabase {
    const found = new MemoryDatabase();
    found.entries = new Map(this.durable);
    for (const operations of this.unsynced.slice(0, batches)) apply(found.entries, operations);
    found.durable = new Map(found.entries);
    found.newest = this.newest;
    return found;
  }

  /** Flips a bit of the value of the entry that `choice` (0 to 1) stands for. */
  flip(choice: number, bit: number): void {
    const key = [...this.entries.keys()].toSorted()[Math.floor(choice * this.entries.size)];
    const value = Buffer.from(this.entries.get(key)!);
    value[(bit >> 3) % value.length] ^= 1 << (bit & 7);
    this.entries.set(key, value);
    this.durable.set(key, value);
  }

  get size(): number {
    return this.entries.size;
  }

  noteNewest(checkpoint: number): void {
    this.newest = checkpoint;
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    const value = this.entries.get(key.toString("latin1"));
    return value && Buffer.from(value);
  }

  async *scan({ from, to }: KeyRange, what: "entries" | "keys"): AsyncGenerator<Entry[]> {
    const [first, end] = [from.toString("latin1"), to.toString("latin1")];
    const keys = [...this.entries.keys()].filter((key) => key >= first && key < end).toSorted();
    for (let at = 0; at < keys.length; at += 3) {
      yield keys.slice(at, at + 3).map((key) => ({
        key: Buffer.from(key, "latin1"),
        value: what === "keys" ? Buffer.alloc(0) : Buffer.from(this.entries.get(key)!),
      }));
    }
  }

  async write(fill: (batch: Batch) => void, synced: boolean): Promise<void> {
    const operations: Operations = [];
    fill({
      put: (key, value) => operations.push([key.toString("latin1"), Buffer.from(value)]),
      delete: (key) => operations.push([key.toString("latin1"), undefined]),
    });
    const failure = this.failure;
    this.failure = undefined;
    if (failure && !this.failsLate) throw failure;
    apply(this.entries, operations);
    this.unsynced.push(operations);
    if (failure) throw failure;
    if (!synced) return;
    this.durable = new Map(this.entries);
    this.unsynced = [];
  }

  async reopen(): Promise<void> {}

  async close(): Promise<void> {}
}

function apply(entries: Map<string, Buffer>, operations: Operations): void {
  for (const [key, value] of operations) {
    if (value) entries.set(key, value);
    else entries.delete(key);
  }
}
