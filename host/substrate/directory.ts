/**
 * Which host of a cluster has which stream: an entry `streams/NAME` in its registry. A name is one host's in the whole cluster, so that any host
 * can tell where a stream is. A host is known by its data folder, as its name may be another the next time.
 */
import { HallelujahError } from "../core/errors.ts";
import type { Registry } from "../store/registry.ts";

const PREFIX = "streams/";

export interface DirectoryEntry {
  host: string;
  /** Of the host's data folder. */
  folder: string;
}

export class Directory {
  private readonly registry: Registry;
  private readonly self: DirectoryEntry;

  constructor(registry: Registry, self: DirectoryEntry) {
    this.registry = registry;
    this.self = self;
  }

  /** The other host that has a stream; undefined if none has, or this one. */
  elsewhere(name: string): string | undefined {
    const entry = this.read(name);
    return entry && entry.folder !== this.self.folder ? entry.host : undefined;
  }

  /** Names that are this host's. */
  get own(): string[] {
    const names = this.registry.list(PREFIX).map((key) => key.slice(PREFIX.length));
    return names.filter((name) => this.read(name)?.folder === this.self.folder);
  }

  /** Streams of other hosts, and who has them. */
  get others(): Map<string, string> {
    const others = new Map<string, string>();
    for (const key of this.registry.list(PREFIX)) {
      const name = key.slice(PREFIX.length);
      const host = this.elsewhere(name);
      if (host !== undefined) others.set(name, host);
    }
    return others;
  }

  /** Makes a name this host's. Rejects with `stream-exists` if it is another's, or with what the registry rejects with. */
  async claim(name: string): Promise<void> {
    for (;;) {
      const there = this.find(name);
      if (there?.entry && there.entry.folder !== this.self.folder) throw existsError(name, there.entry);
      if (there?.entry?.host === this.self.host) return;
      try {
        await this.registry.put(PREFIX + name, this.self, there?.revision ?? 0);
        return;
      } catch (error) {
        if ((error as HallelujahError).code !== "revision-conflict") throw error;
      }
    }
  }

  /** Gives a name back, if it is this host's. */
  async release(name: string): Promise<void> {
    const there = this.find(name);
    if (there?.entry?.folder !== this.self.folder) return;
    await this.registry.delete(PREFIX + name, there.revision);
  }

  /** What cannot be read is nobody's. */
  private read(name: string): DirectoryEntry | undefined {
    try {
      return this.find(name)?.entry;
    } catch {
      return undefined;
    }
  }

  /** What was edited by hand and is no entry any more belongs to nobody. Throws what the registry throws of it. */
  private find(name: string): { entry: DirectoryEntry | undefined; revision: number } | undefined {
    const found = this.registry.get(PREFIX + name);
    return found && { entry: isEntry(found.value) ? found.value : undefined, revision: found.revision };
  }
}

function existsError(name: string, { host }: DirectoryEntry): HallelujahError {
  const message = `host ${host} has a stream ${name} already; choose another name, or ask for that one, which any host answers for`;
  return new HallelujahError("stream-exists", message);
}

function isEntry(value: unknown): value is DirectoryEntry {
  if (typeof value !== "object" || value === null) return false;
  const { host, folder } = value as Record<string, unknown>;
  return typeof host === "string" && typeof folder === "string";
}
