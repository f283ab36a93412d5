/** What the pages of a shard need of a database with sorted keys. RocksDB is one home of it, memory the other. */
import type { KeyRange } from "./keys.ts";

/** Keys that are written or deleted together. */
export interface Batch {
  /** The value is copied. */
  put(key: Buffer, value: Buffer): void;
  delete(key: Buffer): void;
}

export interface Entry {
  key: Buffer;
  /** Empty where only keys were asked for. */
  value: Buffer;
}

/**
 * One caller at a time, which waits for each call. Throws `store-damaged` when reading, and `disk-full`, `store-unwritable`
 * or `store-damaged` when writing; what can be done after a failed write is settled by `reopen` alone.
 */
export interface Database {
  /** Where it lies, for messages. */
  readonly name: string;
  /** The newest checkpoint that is known to have been durable, from a note outside of the database; 0 if there is none. */
  readonly newest: number;
  /** Sets that note. A lost note costs nothing but a check, so it is not synced each time. */
  noteNewest(checkpoint: number): void;
  get(key: Buffer): Promise<Buffer | undefined>;
  /** Entries in the order of their keys, so many at once that they are worth a message. */
  scan(range: KeyRange, what: "entries" | "keys"): AsyncGenerator<Entry[]>;
  /** All of a batch or nothing, after those before; if `synced`, it is on disk with all of them when this resolves. */
  write(fill: (batch: Batch) => void, synced: boolean): Promise<void>;
  /** Closes and opens it: what was synced is there, what was not may be. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}
