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
