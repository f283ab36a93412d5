/**
 * What must be agreed on: streams, their options, who holds what. Values have revisions, and a write may name the one
 * that it replaces. Its home is one JSON file, written anew each time, or memory.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { HallelujahError, messageOf } from "../core/errors.ts";

export interface Registry {
  get(key: string): { value: unknown; revision: number } | undefined;
  /** Keys that start with `prefix`, sorted. */
  list(prefix: string): string[];
  /**
   * Writes a value; resolves with its revision when it is kept. `expected` is the revision it replaces, 0 for none;
   * rejects with `revision-conflict` if another one is there.
   */
  put(key: string, value: unknown, expected?: number): Promise<number>;
  delete(key: string): Promise<void>;
}

interface Kept {
  value: unknown;
  revision: number;
}

const VERSION = 1;

export class MemoryRegistry implements Registry {
  protected entries = new Map<string, Kept>();
  protected revision = 0;

  get(key: string): Kept | undefined {
    const kept = this.entries.get(key);
    return kept && { value: structuredClone(kept.value), revision: kept.revision };
  }

  list(prefix: string): string[] {
    return [...this.entries.keys()].filter((key) => key.startsWith(prefix)).toSorted();
  }

  async put(key: string, value: unknown, expected?: number): Promise<number> {
    const there = this.entries.get(key)?.revision ?? 0;
    if (expected !== undefined && expected !== there) {
      const message = `${key} was changed by someone else (revision ${there}, not ${expected}); read it again`;
      throw new HallelujahError("revision-conflict", message);
    }
    const revision = ++this.revision;
    this.entries.set(key, { value: structuredClone(value), revision });
    await this.keep();
    return revision;
  }

  async delete(key: string): Promise<void> {
    if (this.entries.delete(key)) await this.keep();
  }

  /** Brings the entries to where they are kept. */
  protected async keep(): Promise<void> {}
}

export class FileRegistry extends MemoryRegistry {
  private readonly path: string;
  private keeping: Promise<void> | undefined;
  private again = false;

  /** Opens the registry in a file. Throws `registry-damaged`. */
  constructor(path: string) {
    super();
    this.path = path;
    mkdirSync(dirname(path), { recursive: true });
    if (!existsSync(path)) return;
    try {
      const { version, revision, entries } = JSON.parse(readFileSync(path, "utf8")) as {
        version: number;
        revision: number;
        entries: [string, Kept][];
      };
      if (version > VERSION) throw new Error("a newer version of Hallelujah wrote it");
      this.revision = revision;
      this.entries = new Map(entries);
    } catch (cause) {
      throw new HallelujahError("registry-damaged", `${path} cannot be read: ${messageOf(cause)}`, { cause });
    }
  }

  /** One write at a time; those that are asked for meanwhile are one more. */
  protected override async keep(): Promise<void> {
    if (this.keeping) {
      this.again = true;
      await this.keeping;
      if (this.again) {
        this.again = false;
        this.keeping = this.write();
      }
    } else this.keeping = this.write();
    const mine = this.keeping;
    await mine;
    if (this.keeping === mine) this.keeping = undefined;
  }

  private async write(): Promise<void> {
    const unfinished = `${this.path}.new`;
    const text = JSON.stringify({ version: VERSION, revision: this.revision, entries: [...this.entries] });
    const handle = await open(unfinished, "w");
    try {
      await handle.writeFile(text);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    await rename(unfinished, this.path);
  }
}
