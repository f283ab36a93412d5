/**
 * Pages over a database. A page lies under (checkpoint, page) and is never written over once its checkpoint is committed; the record
 * of a checkpoint names for each page the checkpoint under which it lies. So a page that is lost is missed, and no page of another
 * checkpoint takes its place. Both homes of `PageStore`, RocksDB and memory, are this.
 */
import { HallelujahError, messageOf } from "../core/errors.ts";
import { PAGE_BYTES, PAGES_MAX, PAGES_WRITE_BYTES } from "../core/limits.ts";
import type { Batch, Database } from "./database.ts";
import {
  type CheckpointRecord,
  checkpointOf,
  decodeRecord,
  eachPage,
  encodePage,
  encodeRecord,
  invalidPage,
  type KeyRange,
  PAGE_VALUE_BYTES,
  pageBytes,
  pageKey,
  pageOf,
  pagesOf,
  RECORD_RANGES,
  recordKeys,
} from "./keys.ts";
import type { Checkpoint, PageStore } from "./page-store.ts";
import type { Pinnable, PinnedCheckpoint, PinnedPage } from "./replica.ts";

/** Damaged pages that a message names. */
const NAMED = 3;

/** Checkpoints that can be restored. */
const CHECKPOINTS = 2;

/** Pages that are read in vain rather than that another scan is begun. */
const SKIPPED_MAX = 8;

/** What a key names that names no page: nothing that any record has. */
const NO_PAGE = { page: 0, checkpoint: -1 };

/** A page as it was read, with its header. */
export interface ReadPage {
  page: number;
  value: Buffer;
}

export class PageVersions implements PageStore, Pinnable {
  checkpoints: readonly Checkpoint[] = [];
  damage: HallelujahError | undefined;
  /** All that is kept, newest first: what can be restored, and behind that what is pinned. */
  private records: CheckpointRecord[] = [];
  /** Checkpoints whose record cannot be read. */
  private unreadable: number[] = [];
  private base: CheckpointRecord | undefined;
  /** What commits keep besides. */
  private pinned: CheckpointRecord | undefined;
  /** Number of the checkpoint in the making. */
  private next = 1;
  /** Its pages so far. */
  private readonly written = new Set<number>();
  /** What a write or a commit failed with. */
  private failure: unknown;
  /** What is being committed, or has failed to be. */
  private committing: CheckpointRecord[] | undefined;
  /** Whether pages that belong to no checkpoint, of a process that was killed, have been deleted. */
  private swept = false;
  private readonly value = Buffer.alloc(PAGE_VALUE_BYTES);
  private last: Promise<unknown> = Promise.resolve();

  private constructor(private readonly database: Database) {}

  static async open(database: Database): Promise<PageVersions> {
    const store = new PageVersions(database);
    try {
      await store.readRecords();
    } catch (error) {
      await database.close();
      throw error;
    }
    return store;
  }

  restore(number: number, take: (page: number, bytes: Uint8Array) => void): Promise<void> {
    return this.send(number, async (pages) => {
      for (const { page, value } of pages) take(page, pageBytes(value));
    });
  }

  /** Does what `restore` does, some pages at a time, each when `send` is through with those before. */
  send(number: number, send: (pages: ReadPage[]) => Promise<void>): Promise<void> {
    return this.queued(async () => {
      const record = this.records.find((each) => each.number === number);
      if (!record) throw new TypeError(`there is no checkpoint ${number}`);
      if (this.written.size) throw new TypeError("what was written has to be committed or abandoned first");
      this.base = undefined;
      const missing = new Set<number>();
      eachPage(record.versions, (page) => missing.add(page));
      for await (const pages of this.scanPages(record, missing)) await send(pages);
      for await (const pages of this.getPages(record, missing)) await send(pages);
      this.base = record;
    });
  }

  write(pages: Uint32Array, bytes: ArrayBuffer): Promise<ArrayBuffer> {
    return this.queued(async () => {
      if (bytes.byteLength !== pages.length * PAGE_BYTES || bytes.byteLength > PAGES_WRITE_BYTES)
        throw new TypeError(`${pages.length} pages of 64 KiB were expected, at most 4 MiB`);
      if (pages.some((page) => page >= PAGES_MAX)) throw new TypeError("a page lies beyond 4 GiB");
      await this.change(() => this.writePages(pages, bytes));
      return bytes;
    });
  }

  commit(meta: unknown, end: number = PAGES_MAX): Promise<number> {
    return this.queued(async () => {
      const versions = this.base?.versions.slice() ?? new Uint32Array(PAGES_MAX);
      for (const page of this.written) versions[page] = this.next;
      versions.fill(0, end);
      const record: CheckpointRecord = { number: this.next, before: this.base?.number ?? 0, versions, meta };
      const kept = [record, ...this.keptOfBefore()];
      await this.change(() => {
        this.committing = kept;
        return this.writeRecord(record, kept);
      });
      this.committed(kept);
      return record.number;
    });
  }

  private keptOfBefore(): CheckpointRecord[] {
    const { base, pinned } = this;
    // What is newer than the base was given up for it.
    if (!base || (pinned && pinned.number > base.number)) this.pinned = undefined;
    if (!base) return [];
    return this.pinned && this.pinned !== base ? [base, this.pinned] : [base];
  }

  private committed(kept: CheckpointRecord[]): void {
    const [record] = kept;
    this.committing = undefined;
    this.written.clear();
    this.unreadable = [];
    this.base = record;
    this.next++;
    this.keep(kept);
    this.database.noteNewest(record.number);
  }

  abandon(): Promise<Uint32Array> {
    return this.queued(async () => {
      const failed = this.failure !== undefined;
      if (failed) await this.database.reopen();
      const pages = Uint32Array.from(this.written);
      const { committing } = this;
      if (committing && (await this.isOnDisk(committing[0]))) await this.commitAgain(committing);
      else if (failed || pages.length)
        await this.database.write((batch) => this.deleteUnfinished(batch), failed);
      this.committing = undefined;
      this.written.clear();
      this.failure = undefined;
      return pages;
    });
  }

  /** Whether a commit is on disk although it failed: what it took the place of is gone then. */
  private async isOnDisk({ number }: CheckpointRecord): Promise<boolean> {
    for (const key of recordKeys(number)) if (await this.database.get(key)) return true;
    return false;
  }

  private async commitAgain(kept: CheckpointRecord[]): Promise<void> {
    await this.database.write((batch) => this.putRecord(kept[0], batch), true);
    this.committed(kept);
  }

  pin(): PinnedCheckpoint | undefined {
    const record = this.base;
    if (!record) return undefined;
    this.pinned = record;
    const { number, meta, versions } = record;
    return {
      number,
      meta,
      versions,
      read: (pages) => this.queued(() => this.readPinned(record, pages)),
      release: () => {
        if (this.pinned === record) this.pinned = undefined;
      },
    };
  }

  private async readPinned(record: CheckpointRecord, pages: readonly number[]): Promise<PinnedPage[]> {
    const read: PinnedPage[] = [];
    if (this.pinned !== record)
      throw new HallelujahError("pin-ended", `checkpoint ${record.number} of ${this.database.name} is gone`);
    for await (const some of this.getPages(record, new Set(pages)))
      for (const { page, value } of some) read.push({ page, bytes: pageBytes(value) });
    return read;
  }

  close(): Promise<void> {
    return this.queued(() => this.database.close());
  }

  /** Does one thing after the other. */
  private queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work);
    this.last = result.catch(() => {});
    return result;
  }

  /** Carries out a change, unless one has failed before. */
  private async change(work: () => Promise<void>): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    try {
      await work();
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }

  private async writePages(pages: Uint32Array, bytes: ArrayBuffer): Promise<void> {
    await this.sweep();
    // What fails may be on disk all the same, and has to be deleted then.
    for (const page of pages) this.written.add(page);
    await this.database.write((batch) => {
      pages.forEach((page, i) => {
        encodePage(this.value, this.next, page, new Uint8Array(bytes, i * PAGE_BYTES, PAGE_BYTES));
        batch.put(pageKey(this.next, page), this.value);
      });
    }, false);
  }

  private async writeRecord(record: CheckpointRecord, kept: CheckpointRecord[]): Promise<void> {
    await this.sweep();
    await this.database.write((batch) => {
      this.putRecord(record, batch);
      this.deleteAllBut(kept, batch);
    }, true);
  }

  private putRecord(record: CheckpointRecord, batch: Batch): void {
    const value = encodeRecord(record);
    for (const key of recordKeys(record.number)) batch.put(key, value);
  }

  private async readRecords(): Promise<void> {
    const found = new Map<number, CheckpointRecord | string>();
    let unreadable: string | undefined;
    for (const range of RECORD_RANGES) {
      try {
        for await (const entries of this.database.scan(range, "entries")) {
          for (const { key, value } of entries) {
            const number = checkpointOf(key);
            if (number === undefined) {
              unreadable = `the key ${key.toString("hex")} names no checkpoint`;
              continue;
            }
            const before = found.get(number);
            if (before === undefined || typeof before === "string")
              found.set(number, decodeRecord(value, number));
          }
        }
      } catch (error) {
        if (!isDamage(error)) throw error;
        unreadable = messageOf(error);
      }
    }
    const records: CheckpointRecord[] = [];
    for (const [number, record] of found) {
      if (typeof record !== "string") records.push(record);
      else this.unreadable.push(number);
    }
    this.keep(records.toSorted((a, b) => b.number - a.number));
    const newest = Math.max(this.database.newest, ...found.keys());
    this.next = newest + 1;
    const wanted = newest ? [newest, this.records[0]?.before || newest] : [];
    const lost = wanted.find((number) => this.records.every((each) => each.number !== number));
    if (lost === undefined) return;
    const why = found.get(lost) ?? unreadable ?? "it is not there";
    this.damage = this.damaged(`the record of checkpoint ${lost}: ${why as string}`);
  }

  private keep(records: CheckpointRecord[]): void {
    this.records = records;
    this.checkpoints = records.slice(0, CHECKPOINTS).map(({ number, meta }) => ({ number, meta }));
  }

  /** The pages of a checkpoint as they lie; those that came leave `missing`. Ends early where something cannot be read. */
  private async *scanPages(record: CheckpointRecord, missing: Set<number>): AsyncGenerator<ReadPage[]> {
    for (const range of rangesOf(record, this.records)) {
      try {
        for await (const entries of this.database.scan(range, "entries")) {
          const good: ReadPage[] = [];
          for (const { key, value } of entries) {
            const { page, checkpoint } = pageOf(key) ?? NO_PAGE;
            if (record.versions[page] !== checkpoint || invalidPage(value, checkpoint, page)) continue;
            missing.delete(page);
            good.push({ page, value });
          }
          if (good.length) yield good;
        }
      } catch (error) {
        // It may be that only what is not needed is damaged.
        if (!isDamage(error)) throw error;
      }
    }
  }

  /** Pages that no scan found, one by one. Throws `store-damaged`, with the first that are not there. */
  private async *getPages(record: CheckpointRecord, missing: Set<number>): AsyncGenerator<ReadPage[]> {
    const damages: string[] = [];
    let count = 0;
    for (const page of missing) {
      const version = record.versions[page];
      let why: string | undefined;
      try {
        const value = await this.database.get(pageKey(version, page));
        why = value ? invalidPage(value, version, page) : "it is not there";
        if (!why) yield [{ page, value: value! }];
      } catch (error) {
        if (!isDamage(error)) throw error;
        why = messageOf(error);
      }
      if (!why) continue;
      count++;
      if (damages.length < NAMED) damages.push(`page ${page} (${why})`);
    }
    if (!count) return;
    const more = count > damages.length ? ` and ${count - damages.length} more` : "";
    throw this.damaged(`${damages.join(", ")}${more} of checkpoint ${record.number}`);
  }

  /** Deletes the pages that no checkpoint has. Where they cannot be read they stay, and cost room. */
  private async sweep(): Promise<void> {
    if (this.swept) return;
    // Behind the newest only, unless there may be pages of one that nobody knows any more.
    const range = pagesOf(this.damage ? 1 : (this.records[0]?.number ?? 0) + 1);
    const unknown: Buffer[] = [];
    try {
      for await (const entries of this.database.scan(range, "keys")) {
        for (const { key } of entries) {
          const { page, checkpoint } = pageOf(key) ?? NO_PAGE;
          if (this.records.every(({ versions }) => versions[page] !== checkpoint)) unknown.push(key);
        }
      }
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    if (unknown.length)
      await this.database.write((batch) => {
        for (const key of unknown) batch.delete(key);
      }, false);
    this.swept = true;
  }

  /** Deletes the records of all other checkpoints, and the pages that only they have, and those that were written in vain. */
  private deleteAllBut(kept: CheckpointRecord[], batch: Batch): void {
    for (const number of this.unreadable) for (const key of recordKeys(number)) batch.delete(key);
    for (const page of this.written)
      if (kept[0].versions[page] !== kept[0].number) batch.delete(pageKey(kept[0].number, page));
    for (const { number, versions } of this.records) {
      if (kept.some((each) => each.number === number)) continue;
      for (const key of recordKeys(number)) batch.delete(key);
      eachPage(versions, (page, version) => {
        // Two that go may share a page, which is then deleted twice.
        if (kept.every((each) => each.versions[page] !== version)) batch.delete(pageKey(version, page));
      });
    }
  }

  private deleteUnfinished(batch: Batch): void {
    for (const key of recordKeys(this.next)) batch.delete(key);
    for (const page of this.written) batch.delete(pageKey(this.next, page));
  }

  private damaged(what: string): HallelujahError {
    return new HallelujahError("store-damaged", `${this.database.name} is damaged: ${what}`);
  }
}

/** The ranges of keys in which the pages of a record lie, without most of what only other records need. */
function rangesOf(record: CheckpointRecord, records: CheckpointRecord[]): KeyRange[] {
  // Keys as numbers, in their order.
  const keys = new Set<number>();
  for (const { versions } of records)
    eachPage(versions, (page, version) => keys.add(version * PAGES_MAX + page));
  const ranges: [first: number, last: number][] = [];
  let skipped = Infinity;
  for (const key of Float64Array.from(keys).sort()) {
    const page = key % PAGES_MAX;
    if (record.versions[page] !== (key - page) / PAGES_MAX) skipped++;
    else if (skipped <= SKIPPED_MAX) ranges[ranges.length - 1][1] = key;
    else ranges.push([key, key]);
    if (ranges.at(-1)?.[1] === key) skipped = 0;
  }
  const keyOf = (key: number, more = 0) => pageKey(Math.floor(key / PAGES_MAX), (key % PAGES_MAX) + more);
  return ranges.map(([first, last]) => ({ from: keyOf(first), to: keyOf(last, 1) }));
}

function isDamage(error: unknown): boolean {
  return error instanceof HallelujahError && error.code === "store-damaged";
}
