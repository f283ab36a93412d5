/** The files of a kernel, read and watched. */
import { type FSWatcher, existsSync, watch } from "node:fs";
import { dirname, resolve } from "node:path";
import { sourcesOf } from "../../compiler/cache.ts";

/** How often the files are read even if nothing says that they have changed: not every file system says so, ms. */
const LOOK_MS = 1000;

/** All of a kernel's sources as one text; undefined where its file is not there. */
export function readSources(kernel: string): string | undefined {
  if (!existsSync(kernel)) return undefined;
  try {
    return JSON.stringify([...sourcesOf(kernel)]);
  } catch (error) {
    return `unreadable: ${String(error)}`;
  }
}

/**
 * Calls `touched` when something happens in the folders of a kernel and of what it imports, and once a second. It is folders that are
 * watched, as editors that write a new file and rename it leave a watched file behind.
 */
export class SourceWatcher {
  private readonly kernel: string;
  private readonly touched: () => void;
  private readonly watchers = new Map<string, FSWatcher>();
  private readonly timer: NodeJS.Timeout;

  constructor(kernel: string, touched: () => void) {
    this.kernel = resolve(kernel);
    this.touched = touched;
    this.timer = setInterval(() => this.look(), LOOK_MS);
    this.follow();
  }

  close(): void {
    clearInterval(this.timer);
    for (const watcher of this.watchers.values()) watcher.close();
    this.watchers.clear();
  }

  private look(): void {
    this.follow();
    this.touched();
  }

  /** The folders of the sources as they are now, and those of before. */
  private follow(): void {
    for (const folder of foldersOf(this.kernel)) {
      if (this.watchers.has(folder)) continue;
      try {
        const watcher = watch(folder, () => this.look());
        // A folder that goes is watched again when it is back, which the timer sees.
        watcher.on("error", () => this.drop(folder, watcher));
        watcher.on("close", () => this.drop(folder, watcher));
        this.watchers.set(folder, watcher);
      } catch {
        // It is not there, or the system has no watches left; the timer looks.
      }
    }
    for (const [folder, watcher] of this.watchers) if (!existsSync(folder)) this.drop(folder, watcher);
  }

  private drop(folder: string, watcher: FSWatcher): void {
    if (this.watchers.get(folder) === watcher) this.watchers.delete(folder);
    watcher.close();
  }
}

function foldersOf(kernel: string): Set<string> {
  try {
    return new Set([...sourcesOf(kernel).keys()].map((path) => dirname(path)));
  } catch {
    return new Set([dirname(kernel)]);
  }
}
