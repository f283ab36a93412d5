/** Which shards on disk one Jah takes up together, where there are more of them than Jahs. Pure. */
import type { StoredShard } from "./record.ts";

/**
 * Groups of neighbours, at most `jahs` of them where that can be: partitions that are not in `stored` may lie between, and a Jah
 * holds one range. `stored` is sorted.
 */
export function groupsOf(stored: readonly StoredShard[], jahs: number): StoredShard[][] {
  for (let most = 1; ; most++) {
    const groups = inGroups(stored, most);
    if (groups.length <= jahs || most >= stored.length) return groups;
  }
}

function inGroups(stored: readonly StoredShard[], most: number): StoredShard[][] {
  const groups: StoredShard[][] = [];
  for (const shard of stored) {
    const group = groups.at(-1);
    if (group && group.length < most && group.at(-1)!.to === shard.from) group.push(shard);
    else groups.push([shard]);
  }
  return groups;
}
