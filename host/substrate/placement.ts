/** Which host of a cluster a new stream goes to. Pure. */

export interface PlacementHost {
  name: string;
  cpus: number;
}

/**
 * The host that has the fewest streams for each of its CPUs when it has one more: `here` if no other is better, else of those that are alike the
 * one whose name comes first. `hostOfStream` are the hosts of all streams, which may not be among `hosts`.
 */
export function hostOfNew(
  hosts: readonly PlacementHost[],
  hostOfStream: Iterable<string>,
  here: string,
): string {
  const counts = new Map<string, number>();
  for (const host of hostOfStream) counts.set(host, (counts.get(host) ?? 0) + 1);
  const loadOf = ({ name, cpus }: PlacementHost) => ((counts.get(name) ?? 0) + 1) / Math.max(1, cpus);
  const rank = (a: PlacementHost, b: PlacementHost) =>
    loadOf(a) - loadOf(b) || Number(b.name === here) - Number(a.name === here) || (a.name < b.name ? -1 : 1);
  return hosts.toSorted(rank)[0]?.name ?? here;
}

export function takeovers(
  hosts: readonly { name: string; folder: string; cpus: number; state: string }[],
  entries: ReadonlyMap<
    string,
    { host: string; folder: string; identity?: string; from?: string; isBound?: true }
  >,
  self: string,
): string[] {
  const up = hosts.filter(({ state }) => state === "up");
  const folders = new Set(up.map(({ folder }) => folder));
  const rootOf = (name: string): string => {
    const from = entries.get(name)?.from;
    return from !== undefined && entries.has(from) ? rootOf(from) : name;
  };
  const groups = new Map<string, string[]>();
  for (const name of [...entries.keys()].toSorted()) {
    const root = rootOf(name);
    groups.set(root, [...(groups.get(root) ?? []), name]);
  }
  const placed = [...entries.values()].filter(({ folder }) => folders.has(folder)).map(({ host }) => host);
  const mine: string[] = [];
  for (const [, names] of groups) {
    const all = names.map((name) => entries.get(name)!);
    if (all.some(({ folder, identity, isBound }) => folders.has(folder) || identity === undefined || isBound))
      continue;
    const host = hostOfNew(up, placed, "");
    for (const _ of names) placed.push(host);
    if (host === self) mine.push(...names);
  }
  return mine;
}
