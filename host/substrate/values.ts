/** What blobs and snapshots need of a home: values under names. A JetStream stream is one (cluster-values.ts), memory the other. */
import { revisionConflict } from "../store/registry.ts";

/** Names have the letters of a NATS subject, in parts that are joined by dots. */
export interface Values {
  /** Bytes that one value may have. */
  readonly bytesMax: number;

  /**
   * Stores a value in place of the one before; resolves when it is kept, with its number: each write has a higher one than all before. `bytes` must stay as
   * they are until then. With `expected`, only if the number of what is there is that one, 0 if nothing is: rejects with `revision-conflict`
   * else. A write whose answer was lost counts if it is found to be there, so values that are written with `expected` must not repeat.
   */
  put(name: string, bytes: Uint8Array, expected?: number): Promise<number>;

  /** Undefined if there is none. `isFixed` says that nothing else was or will be stored under that name, which is quicker. */
  get(name: string, options?: { isFixed?: boolean }): Promise<{ bytes: Buffer; number: number } | undefined>;

  /** Names that begin with `prefix`, which is whole parts and a dot. */
  list(prefix: string): Promise<string[]>;

  /** Removes a value if its number is below `below`, and does nothing else: one that was written later stays. */
  remove(name: string, below: number): Promise<void>;

  /** Removes all values whose names begin with `prefix`, as in `list`. */
  removeAll(prefix: string): Promise<void>;

  /** Resolves when it can be reached, or a while is over. */
  up(): Promise<void>;

  /** What is under way fails at once. */
  close(): void;
}

/** In memory, for tests. */
export class MemoryValues implements Values {
  readonly bytesMax = Infinity;
  readonly values: Map<string, { bytes: Buffer; number: number }> = new Map();
  private number = 0;

  async put(name: string, bytes: Uint8Array, expected?: number): Promise<number> {
    const there = this.values.get(name)?.number ?? 0;
    if (expected !== undefined && there !== expected) throw revisionConflict(name, there, expected);
    this.values.set(name, { bytes: Buffer.from(bytes), number: ++this.number });
    return this.number;
  }

  async get(name: string): Promise<{ bytes: Buffer; number: number } | undefined> {
    return this.values.get(name);
  }

  async list(prefix: string): Promise<string[]> {
    return [...this.values.keys()].filter((name) => name.startsWith(prefix));
  }

  async remove(name: string, below: number): Promise<void> {
    const there = this.values.get(name);
    if (there && there.number < below) this.values.delete(name);
  }

  async removeAll(prefix: string): Promise<void> {
    for (const name of await this.list(prefix)) this.values.delete(name);
  }

  async up(): Promise<void> {}

  close(): void {}
}
