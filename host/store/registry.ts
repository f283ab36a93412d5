/**
 * What must be agreed on: streams, their options, who holds what. Values have revisions, and a write may name the one
 * that it replaces. Its home is one JSON file with a checksum, written anew each time, or memory.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { makeFolder, replaceFile } from "./durable.ts";
import { isCount, seal, unseal } from "./sealed.ts";

export interface Registry {
  /** Whether all that it says is as of one moment: nothing is known yet of which it is not known what came before. */
  readonly isWhole: boolean;
  /** The value is not to be changed. */
  get(key: string): { value: unknown; revision: number } | undefined;
  /** Keys that start with `prefix`, sorted. */
  list(prefix: string): string[];
  /**
   * Writes a value; resolves with its revision when it is kept. `expected` is the revision it replaces, 0 for none;
   * rejects with `revision-conflict` if another one is there.
   */
  put(key: string, value: unknown, expected?: number): Promise<number>;
  /** Removes a value. `expected` is the revision that it must have; rejects with `revision-conflict` if it has another. */
  delete(key: string, expected?: number): Promise<void>;
  /** Calls `listener` with each key that starts with `prefix` and whose value has changed, until what it answers is called. */
  watch(prefix: string, listener: (key: string) => void): () => void;
}

/** Who wants to hear of changes. */
export class Watchers {
  private readonly all = new Set<{ prefix: string; listener: (key: string) => void }>();

  add(prefix: string, listener: (key: string) => void): () => void {
    const watcher = { prefix, listener };
    this.all.add(watcher);
    return () => void this.all.delete(watcher);
  }

  tell(key: string): void {
    for (const { prefix, listener } of this.all) if (key.startsWith(prefix)) listener(key);
  }
}

/** That a value is not the one which a write was to replace. */
export function revisionConflict(key: string, there: number, expected: number): HallelujahError {
  const message = `${key} was changed by someone else (revision ${there}, not ${expected}); read it again`;
  return new HallelujahError("revision-conflict", message);
}

interface Kept {
  value: unknown;
  revision: number;
}

/** Version 1 had no checksum. */
const VERSION = 2;
const BEFORE_CHECKSUMS = '{"version":1,';

export class MemoryRegistry implements Registry {
  readonly isWhole = true;
  protected entries = new Map<string, Kept>();
  protected revision = 0;
  private readonly watchers = new Watchers();

  get(key: string): Kept | undefined {
    const kept = this.entries.get(key);
    return kept && { value: structuredClone(kept.value), revision: kept.revision };
  }

  list(prefix: string): string[] {
    return [...this.entries.keys()].filter((key) => key.startsWith(prefix)).toSorted();
  }

  async put(key: string, value: unknown, expected?: number): Promise<number> {
    this.check(key, expected);
    const revision = ++this.revision;
    this.entries.set(key, { value: structuredClone(value), revision });
    await this.keepOrUndo(key, revision);
    this.watchers.tell(key);
    return revision;
  }

  async delete(key: string, expected?: number): Promise<void> {
    this.check(key, expected);
    if (!this.entries.delete(key)) return;
    await this.keepOrUndo(key, undefined);
    this.watchers.tell(key);
  }

  watch(prefix: string, listener: (key: string) => void): () => void {
    return this.watchers.add(prefix, listener);
  }

  private check(key: string, expected: number | undefined): void {
    const there = this.entries.get(key)?.revision ?? 0;
    if (expected !== undefined && expected !== there) throw revisionConflict(key, there, expected);
  }

  /** What cannot be kept did not happen; unless another change of the same key came after it. */
  private async keepOrUndo(key: string, revision: number | undefined): Promise<void> {
    try {
      await this.keep();
    } catch (error) {
      if (this.entries.get(key)?.revision === revision) {
        const before = this.kept(key);
        if (before) this.entries.set(key, before);
        else this.entries.delete(key);
      }
      throw error;
    }
  }

  /** An entry as it was last kept. */
  protected kept(key: string): Kept | undefined {
    return this.entries.get(key);
  }

  /** Brings the entries to where they are kept. */
  protected async keep(): Promise<void> {}
}

/** What the file of a registry with these entries holds. */
export function registryText(entries: [key: string, value: unknown][]): string {
  const kept = entries.map(([key, value], i): [string, Kept] => [key, { value, revision: i + 1 }]);
  return textOf(kept.length, kept);
}

function textOf(revision: number, entries: [string, Kept][]): string {
  return seal({ version: VERSION, revision, entries });
}

/** What such a file holds. Throws an Error that says what is wrong. */
function parse(bytes: Buffer): { revision: number; entries: [string, Kept][] } {
  const { version, revision, entries } = unseal(bytes, BEFORE_CHECKSUMS) as Record<string, unknown>;
  if (isCount(version) && version > VERSION) throw new Error("a newer version of Hallelujah wrote it");
  if (!isCount(version) || !isCount(revision) || !Array.isArray(entries) || !entries.every(isEntry))
    throw new Error("it is no registry");
  return { revision, entries };
}

function isEntry(entry: unknown): entry is [string, Kept] {
  if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== "string") return false;
  const kept = entry[1] as Partial<Kept> | null;
  return typeof kept === "object" && kept !== null && isCount(kept.revision) && "value" in kept;
}

export class FileRegistry extends MemoryRegistry {
  private readonly path: string;
  /** The write that is under way, or was last; and the one that takes in all changes since it began. */
  private current: Promise<void> = Promise.resolve();
  private next: Promise<void> | undefined;
  private onDisk = new Map<string, Kept>();

  /** Opens the registry in a file. Throws `registry-damaged`. */
  constructor(path: string) {
    super();
    this.path = path;
    makeFolder(dirname(path));
    if (!existsSync(path)) return;
    try {
      const { revision, entries } = parse(readFileSync(path));
      this.revision = revision;
      this.entries = new Map(entries);
      this.onDisk = new Map(entries);
    } catch (cause) {
      throw new HallelujahError("registry-damaged", `${path} cannot be read: ${messageOf(cause)}`, { cause });
    }
  }

  /** One write at a time; those that are asked for meanwhile are one more. */
  protected override keep(): Promise<void> {
    this.next ??= this.current
      .catch(() => {})
      .then(() => {
        this.next = undefined;
        this.current = this.write();
        return this.current;
      });
    return this.next;
  }

  protected override kept(key: string): Kept | undefined {
    return this.onDisk.get(key);
  }

  private async write(): Promise<void> {
    const entries = new Map(this.entries);
    try {
      await replaceFile(this.path, textOf(this.revision, [...this.entries]));
      this.onDisk = entries;
    } catch (cause) {
      const message = `${this.path} cannot be written: ${messageOf(cause)}; make room, or mend the disk, and try again`;
      throw new HallelujahError("registry-unwritable", message, { cause });
    }
  }
}
