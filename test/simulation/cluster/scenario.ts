/** What a simulated cluster goes through, which follows from the seed. */

/**
 * - `storm`: hosts die, are stopped for a while, are cut off, leave and come back; their clocks differ as far as a cluster allows.
 * - `clocks`: the same, and clocks are far too fast or too slow, so that hosts are taken for lost that are there.
 * - `groups`: streams that take in others, and hosts that die or are stopped right when they take over what another has left.
 * - `outage`: the servers cannot be reached, by nobody, now and then: nobody is lost by that.
 */
export type ClusterKind = "storm" | "clocks" | "groups" | "outage";

export interface ClusterScenario {
  seed: number;
  kind: ClusterKind;
  hosts: number;
  streams: number;
  /** Virtual time in which things happen, ms; then all come to rest. */
  ms: number;
}

const KINDS: ClusterKind[] = ["storm", "groups", "storm", "clocks", "groups", "storm", "outage", "groups"];

export function clusterScenarioOf(seed: number, given: Partial<ClusterScenario> = {}): ClusterScenario {
  const kind = given.kind ?? KINDS[seed % KINDS.length];
  const turn = Math.floor(seed / KINDS.length);
  const sizes =
    kind === "groups"
      ? { hosts: 3 + (turn % 3), streams: 4 + (turn % 4) }
      : { hosts: 2 + (turn % 4), streams: 2 + (turn % 5) };
  return { seed, kind, ...sizes, ms: 15_000, ...given };
}

/** How a scenario is replayed. */
export function clusterCommandOf({ seed, kind }: ClusterScenario): string {
  const option = kind === clusterScenarioOf(seed).kind ? "" : ` --kind ${kind}`;
  return `npm run simulate -- --cluster --seed ${seed}${option}`;
}
