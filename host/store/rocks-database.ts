/**
 * RocksDB, by one of two bindings: `rocksdb` 5.2.1 (RocksDB 6.17), whose binary cannot be loaded by Node 22, and from there on
 * `@nxtedition/rocksdb` 12.2 (RocksDB 9.7). Loading both into one process aborts it, so one is chosen by Node's version.
 * Only the thread of a store loads this (`pages-main.ts`).
 */
import { statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { HallelujahError, messageOf } from "../core/errors.ts";
import type { Batch, Database, Entry } from "./database.ts";
import type { KeyRange } from "./keys.ts";
import { STORE_ROOM_BYTES } from "../core/limits.ts";
import { Marker, type Writer } from "./marker.ts";

const require = createRequire(import.meta.url);

/** Bytes of entries that are read at once. */
const READ_BYTES = 4 << 20;

/** What both bindings can do, made the same. */
interface Binding {
  open(createIfMissing: boolean): Promise<void>;
  get(key: Buffer): Promise<Buffer | undefined>;
  scan(range: KeyRange, keysOnly: boolean): AsyncGenerator<Entry[]>;
  write(fill: (batch: Batch) => void, sync: boolean): Promise<void>;
  close(): Promise<void>;
}

const NEWER: Writer = { rocksdb: 9, node: 22 };
const OLDER: Writer = { rocksdb: 6, node: 20 };
const isNewer = Number(process.versions.node.split(".")[0]) >= NEWER.node;

/** Loads the binding, some 10 ms, before a store needs it. What fails here fails again, and is told, when one does. */
export function loadRocks(): void {
  try {
    require(isNewer ? "@nxtedition/rocksdb" : "rocksdb");
  } catch {}
}

export class RocksDatabase implements Database {
  private constructor(
    readonly name: string,
    private readonly marker: Marker,
    private binding: Binding,
  ) {}

  /** Opens the database in a folder, or makes it. Throws as `openPages` does. */
  static async open(folder: string): Promise<RocksDatabase> {
    const marker = Marker.open(folder, isNewer ? NEWER : OLDER);
    try {
      const database = new RocksDatabase(folder, marker, load(folder));
      await database.openBinding();
      return database;
    } catch (error) {
      marker.close();
      throw error;
    }
  }

  get newest(): number {
    return this.marker.checkpoint;
  }

  noteNewest(checkpoint: number): void {
    this.marker.note(checkpoint);
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    try {
      return await this.binding.get(key);
    } catch (cause) {
      throw this.unreadable(cause);
    }
  }

  async *scan(range: KeyRange, what: "entries" | "keys"): AsyncGenerator<Entry[]> {
    try {
      yield* this.binding.scan(range, what === "keys");
    } catch (cause) {
      throw this.unreadable(cause);
    }
  }

  async write(fill: (batch: Batch) => void, synced: boolean): Promise<void> {
    const { bavail, bsize } = statfsSync(this.name);
    if (bavail * bsize < STORE_ROOM_BYTES)
      throw this.error("disk-full", "cannot be written", new Error("the disk is almost full"));
    try {
      await this.binding.write(fill, synced);
    } catch (cause) {
      const code = /corruption/i.test(messageOf(cause)) ? "store-damaged" : "store-unwritable";
      throw this.error(isFull(cause) ? "disk-full" : code, "cannot be written", cause);
    }
  }

  /** RocksDB takes nothing more after a write has failed, but will when it is opened again. */
  async reopen(): Promise<void> {
    await this.binding.close().catch(() => {});
    this.binding = load(this.name);
    await this.openBinding();
  }

  async close(): Promise<void> {
    await this.binding.close();
    this.marker.close();
  }

  private async openBinding(): Promise<void> {
    try {
      // Where something was stored, files that are missing must not be made anew.
      await this.binding.open(this.marker.checkpoint === 0);
    } catch (cause) {
      const text = messageOf((cause as Error).cause ?? cause);
      if (isFull(text)) throw this.error("disk-full", "cannot be opened", text);
      if (/lock |LockFile|lock file/.test(text))
        throw this.error("store-unwritable", "is in use by another process", text);
      throw this.error(isDenied(text) ? "store-unwritable" : "store-damaged", "cannot be opened", text);
    }
  }

  private unreadable(cause: unknown): HallelujahError {
    return this.error(isDenied(cause) ? "store-unwritable" : "store-damaged", "cannot be read", cause);
  }

  private error(code: string, what: string, cause: unknown): HallelujahError {
    const advice = code === "disk-full" ? "; make room and try again" : "";
    return new HallelujahError(code, `${this.name} ${what}: ${messageOf(cause)}${advice}`, { cause });
  }
}

function load(folder: string): Binding {
  try {
    return isNewer ? loadNewer(folder) : loadOlder(folder);
  } catch (cause) {
    throw new HallelujahError(
      "store-unwritable",
      `RocksDB cannot be loaded (${messageOf(cause)}); where there is none for this platform, install again with a C++ compiler at hand`,
      { cause },
    );
  }
}

function isFull(cause: unknown): boolean {
  return /no space left|quota exceeded/i.test(messageOf(cause));
}

/** Whether the system has something against it, and not the files. */
function isDenied(cause: unknown): boolean {
  return /permission denied|read-only file system|too many open files/i.test(messageOf(cause));
}

type Callback<T = void> = (error: Error | null | undefined, value: T) => void;

function promised<T = void>(call: (done: Callback<T>) => void): Promise<T> {
  return new Promise((done, fail) => call((error, value) => (error ? fail(error) : done(value))));
}

/** All entries until none come, each time with the next ones on their way while those before are worked on. */
async function* readAhead(read: () => Promise<Entry[]>, end: () => Promise<void>): AsyncGenerator<Entry[]> {
  let next = read();
  try {
    for (;;) {
      const entries = await next;
      if (!entries.length) return;
      next = read();
      // What fails now is thrown when its turn comes.
      next.catch(() => {});
      yield entries;
    }
  } finally {
    await next.catch(() => {});
    await end();
  }
}

/** The part of `rocksdb` 5.2.1 that is used here. */
interface OlderRocksDb {
  open(options: object, done: Callback): void;
  get(key: Buffer, options: object, done: Callback<Buffer>): void;
  batch(operations: object[], options: object, done: Callback): void;
  iterator(options: object): {
    next(done: (error: Error | null, key?: Buffer, value?: Buffer) => void): void;
    end(done: Callback): void;
  };
  close(done: Callback): void;
}

function loadOlder(folder: string): Binding {
  const db = (require("rocksdb") as (folder: string) => OlderRocksDb)(folder);
  return {
    open: (createIfMissing) =>
      promised((done) =>
        // Pages are checked by themselves, and read once: neither compression nor a cache would help.
        db.open({ createIfMissing, compression: false, cacheSize: 0, writeBufferSize: 16 << 20 }, done),
      ),
    async get(key) {
      try {
        return await promised<Buffer>((done) => db.get(key, { fillCache: false }, done));
      } catch (error) {
        if (messageOf(error).startsWith("NotFound")) return undefined;
        throw error;
      }
    },
    async *scan({ from, to }, keysOnly) {
      const options = { gte: from, lt: to, values: !keysOnly, fillCache: false, highWaterMark: READ_BYTES };
      const iterator = db.iterator(options);
      // The binding reads one entry first, then so many at once; to be read ahead, chunks have to end where its own do.
      let limit = 1;
      const read = async () => {
        const entries: Entry[] = [];
        for (let bytes = 0; bytes < limit; ) {
          const entry = await promised<Entry | undefined>((done) =>
            iterator.next((error, key, value) => done(error, key && { key, value: value! })),
          );
          if (!entry) break;
          bytes += entry.key.length + entry.value.length;
          entries.push(entry);
        }
        limit = READ_BYTES;
        return entries;
      };
      yield* readAhead(read, () => promised((done) => iterator.end(done)));
    },
    write(fill, sync) {
      const operations: object[] = [];
      fill({
        put: (key, value) => operations.push({ type: "put", key, value: Buffer.from(value) }),
        delete: (key) => operations.push({ type: "del", key }),
      });
      return promised((done) => db.batch(operations, { sync }, done));
    },
    close: () => promised((done) => db.close(done)),
  };
}

/** The part of `@nxtedition/rocksdb` 12.2 that is used here. */
interface NewerRocksDb {
  open(options: object): Promise<void>;
  /** Not documented; `getMany` throws where nobody can catch it when it meets a damaged block. */
  _getManySync(keys: Buffer[], options: object): (Buffer | undefined)[];
  iterator(options: object): { nextv(count: number): Promise<[Buffer, Buffer][]>; close(): Promise<void> };
  /** Not documented, but what `batch` is made of: a batch that can be filled again. */
  _chainedBatch(): {
    _put(key: Buffer, value: Buffer, options: object): void;
    _del(key: Buffer, options: object): void;
    _writeSync(options: object): void;
    _clear(): void;
  };
  close(): Promise<void>;
}

function loadNewer(folder: string): Binding {
  const { RocksLevel } = require("@nxtedition/rocksdb") as {
    RocksLevel: new (folder: string, options: object) => NewerRocksDb;
  };
  const db = new RocksLevel(folder, { keyEncoding: "buffer", valueEncoding: "buffer" });
  let batch: ReturnType<NewerRocksDb["_chainedBatch"]> | undefined;
  return {
    // Synced keys were lost in silence where an older RocksDB met a compressed log.
    open: (createIfMissing) =>
      db.open({ createIfMissing, compression: false, walCompression: false, cacheSize: 0, parallelism: 2 }),
    get: async (key) => db._getManySync([key], { fillCache: false })[0],
    async *scan({ from, to }, keysOnly) {
      const options = {
        gte: from,
        lt: to,
        values: !keysOnly,
        fillCache: false,
        highWaterMarkBytes: READ_BYTES,
      };
      const iterator = db.iterator(options);
      const read = async () => {
        const rows = await iterator.nextv(1000);
        return rows.map(([key, value]) => ({ key, value: value ?? Buffer.alloc(0) }));
      };
      yield* readAhead(read, () => iterator.close());
    },
    async write(fill, sync) {
      // One batch for all: each new one would keep its megabytes until some garbage collection.
      const filled = (batch ??= db._chainedBatch());
      filled._clear();
      fill({ put: (key, value) => filled._put(key, value, {}), delete: (key) => filled._del(key, {}) });
      filled._writeSync({ sync });
    },
    close: () => db.close(),
  };
}
