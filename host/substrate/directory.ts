/**
 * Which host of a cluster leads which stream: an entry `streams/NAME` in its registry. A name is one host's in the whole cluster, so that any host
 * can tell where a stream is. A host is known by its data folder, as its name may be another the next time.
 *
 * An entry with an identity is of a stream that the cluster keeps: another host takes it over by writing the entry with the next epoch. Others are
 * their host's alone.
 */
import { randomUUID } from "node:crypto";
import { HallelujahError } from "../core/errors.ts";
import type { Registry } from "../store/registry.ts";
import { hostsIn } from "./membership.ts";
import { takeovers } from "./placement.ts";

export const STREAMS_PREFIX = "streams/";

export interface DirectoryEntry {
  host: string;
  /** Of the host's data folder. */
  folder: string;
  /** Of the leadership: it grows with each host that takes the stream over. */
  epoch: number;
  /** Of this stream alone: one that is removed and made again has another. */
  identity?: string;
  /** The stream whose output or records it takes in: both are on one host. */
  from?: string;
  /** It reads files of its host, and waits for that. */
  isBound?: true;
}

/** An entry of a stream that the cluster keeps. */
export type LedEntry = DirectoryEntry & { identity: string };

interface Found {
  entry: DirectoryEntry | undefined;
  revision: number;
}

export class Directory {
  private readonly registry: Registry;
  private readonly self: { host: string; folder: string };
  /** All entries, if none has changed since they were read. */
  private entries: ReadonlyMap<string, DirectoryEntry> | undefined;

  constructor(registry: Registry, self: { host: string; folder: string }) {
    this.registry = registry;
    this.self = self;
    registry.watch(STREAMS_PREFIX, () => {
      this.entries = undefined;
    });
  }

  /** The other host that has a stream; undefined if none has, or this one. */
  elsewhere(name: string): string | undefined {
    const entry = this.get(name);
    return entry && !this.isOwn(entry) ? entry.host : undefined;
  }

  /** Names that are this host's. */
  get own(): string[] {
    return [...this.all].filter(([, entry]) => this.isOwn(entry)).map(([name]) => name);
  }

  /** Streams of other hosts, and who has them. */
  get others(): Map<string, string> {
    const others = [...this.all].filter(([, entry]) => !this.isOwn(entry));
    return new Map(others.map(([name, { host }]) => [name, host]));
  }

  /** All entries, by name. */
  get all(): ReadonlyMap<string, DirectoryEntry> {
    if (this.entries) return this.entries;
    const all = new Map<string, DirectoryEntry>();
    for (const key of this.registry.list(STREAMS_PREFIX)) {
      const name = key.slice(STREAMS_PREFIX.length);
      const entry = this.get(name);
      if (entry) all.set(name, entry);
    }
    this.entries = all;
    return all;
  }

  isOwn({ folder }: DirectoryEntry): boolean {
    return folder === this.self.folder;
  }

  /** What cannot be read is nobody's. */
  get(name: string): DirectoryEntry | undefined {
    try {
      return this.find(name)?.entry;
    } catch {
      return undefined;
    }
  }

  /** Makes a name this host's, for a stream that is its alone. Rejects with `stream-exists` if it is another's, or with what the registry rejects with. */
  async claim(name: string): Promise<void> {
    for (;;) {
      const there = this.find(name);
      if (there?.entry && !this.isOwn(there.entry)) throw existsError(name, there.entry);
      if (there?.entry?.host === this.self.host) return;
      if (await this.write(name, { epoch: 1, ...there?.entry, ...this.self }, there)) return;
    }
  }

  /** Makes a name that of a new stream, which the cluster keeps. Rejects as `claim` does. */
  async create(name: string, more: Pick<DirectoryEntry, "from" | "isBound">): Promise<LedEntry> {
    for (;;) {
      const there = this.find(name);
      // What was this host's alone and is of no stream of it any more was not given back yet.
      if (there?.entry && (isLed(there.entry) || !this.isOwn(there.entry)))
        throw existsError(name, there.entry);
      const entry = { ...this.self, epoch: 1, identity: randomUUID().slice(0, 8), ...more };
      if (await this.write(name, entry, there)) return entry;
    }
  }

  /**
   * Streams that this host is to take over now, in order, with their entries. None while it is not known what has happened before all that is known: a
   * host could be there again by now whose stream is known to be taken over by it.
   */
  get orphans(): Map<string, LedEntry> {
    const orphans = new Map<string, LedEntry>();
    const hosts = hostsIn(this.registry);
    // Nor if another process has this host's name by now.
    const isKnown = hosts.some(({ name, folder }) => name === this.self.host && folder === this.self.folder);
    if (!this.registry.isWhole || !isKnown) return orphans;
    const { all } = this;
    for (const name of takeovers(hosts, all, this.self.host)) {
      const entry = all.get(name)!;
      if (isLed(entry)) orphans.set(name, entry);
    }
    return orphans;
  }

  /** Makes this host the next leader of a stream, if its entry is still the one that is given. Answers whether it is. */
  async take(name: string, entry: LedEntry): Promise<boolean> {
    const there = this.find(name);
    if (!there?.entry || !isSame(there.entry, entry)) return false;
    return this.write(name, { ...entry, ...this.self, epoch: entry.epoch + 1 }, there);
  }

  /** Gives a name back, if it is this host's. */
  async release(name: string): Promise<void> {
    const there = this.find(name);
    if (!there?.entry || !this.isOwn(there.entry)) return;
    await this.registry.delete(STREAMS_PREFIX + name, there.revision);
  }

  /** Answers false if someone else was quicker. */
  private async write(name: string, entry: DirectoryEntry, there: Found | undefined): Promise<boolean> {
    try {
      await this.registry.put(STREAMS_PREFIX + name, entry, there?.revision ?? 0);
      return true;
    } catch (error) {
      if ((error as HallelujahError).code !== "revision-conflict") throw error;
      return false;
    }
  }

  /** What was edited by hand and is no entry any more belongs to nobody. Throws what the registry throws of it. */
  private find(name: string): Found | undefined {
    const found = this.registry.get(STREAMS_PREFIX + name);
    return found && { entry: entryOf(found.value), revision: found.revision };
  }
}

/** Whether the cluster keeps a stream. */
export function isLed(entry: DirectoryEntry): entry is LedEntry {
  return entry.identity !== undefined;
}

function isSame(a: DirectoryEntry, b: DirectoryEntry): boolean {
  return a.folder === b.folder && a.epoch === b.epoch && a.identity === b.identity;
}

function existsError(name: string, { host }: DirectoryEntry): HallelujahError {
  const message = `host ${host} has a stream ${name} already; choose another name, or ask for that one, which any host answers for`;
  return new HallelujahError("stream-exists", message);
}

function entryOf(value: unknown): DirectoryEntry | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  // Entries of older versions have no epoch.
  const { host, folder, epoch = 1, identity, from, isBound } = value as Record<string, unknown>;
  if (typeof host !== "string" || typeof folder !== "string" || !Number.isSafeInteger(epoch))
    return undefined;
  return {
    host,
    folder,
    epoch: epoch as number,
    ...(typeof identity === "string" ? { identity } : {}),
    ...(typeof from === "string" ? { from } : {}),
    ...(isBound === true ? { isBound } : {}),
  };
}
