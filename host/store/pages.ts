/** The two homes of a `PageStore`. */
import type { MemoryDatabase } from "./memory-database.ts";
import type { PageStore, ReplicatedStore } from "./page-store.ts";
import { PageVersions } from "./page-versions.ts";
import { ThreadPages } from "./pages-thread.ts";

export { preparePages } from "./pages-thread.ts";

/**
 * The store in a folder, which is made if it is not there; RocksDB, in a thread of its own. Rejects with `store-damaged` if
 * nothing in it can be read, with `store-newer` if a newer Node has written it than this one can read, and as above.
 */
export function openPages(folder: string): Promise<ReplicatedStore> {
  return ThreadPages.open(folder);
}

/** The store in memory, for tests. */
export function memoryPages(database: MemoryDatabase): Promise<PageStore> {
  return PageVersions.open(database);
}
