/** What a simulated host goes through: which kind of day it has follows from the seed, as everything does. */

/**
 * - `storm`: loads come and go, Jahs are slow and die, users change capacities, pause, deploy, remove and ask.
 * - `moves`: state moves all the time under a steady load, words come late, and Jahs die before what moved is saved.
 * - `waves`: nothing but square waves, under which the number of Jahs must settle.
 * - `vain`: more to do than can be done, and no Jah more helps: steps have to be taken back.
 * - `crowd`: many more streams than CPUs.
 */
export type Kind = "storm" | "moves" | "waves" | "vain" | "crowd";

export interface Scenario {
  seed: number;
  kind: Kind;
  cpus: number;
  /** Streams at the start. */
  streams: number;
  /** Virtual time in which things happen, ms; then all of it comes to rest. */
  ms: number;
  /** The first so many events only, if there are fewer. */
  steps: number;
}

/** Of eight seeds, four are storms. */
const KINDS: Kind[] = ["storm", "waves", "storm", "crowd", "storm", "vain", "moves", "storm"];

/** The scenario of a seed, but for what is given. */
export function scenarioOf(seed: number, given: Partial<Scenario> = {}): Scenario {
  const kind = given.kind ?? KINDS[seed % KINDS.length];
  const turn = Math.floor(seed / KINDS.length);
  const sizes = {
    storm: { cpus: 1 + (turn % 6), streams: 1 + (seed % 5), ms: seed % 3 ? 12_000 : 40_000 },
    moves: { cpus: 3 + (turn % 3), streams: 1, ms: 15_000 },
    waves: { cpus: [2, 3, 6][turn % 3], streams: 1 + (turn % 2), ms: 75_000 },
    vain: { cpus: 2 + (turn % 3), streams: 1, ms: 50_000 },
    crowd: { cpus: 1 + (turn % 2), streams: 4 + (turn % 9), ms: 30_000 },
  }[kind];
  return { seed, kind, steps: Infinity, ...sizes, ...given };
}

/** The command that replays a scenario. */
export function commandOf({ seed, kind, cpus, streams, ms, steps }: Scenario): string {
  const of = scenarioOf(seed);
  const options = [
    kind === of.kind ? "" : ` --kind ${kind}`,
    cpus === of.cpus ? "" : ` --cpus ${cpus}`,
    streams === of.streams ? "" : ` --streams ${streams}`,
    ms === of.ms ? "" : ` --seconds ${ms / 1000}`,
    steps === Infinity ? "" : ` --steps ${steps}`,
  ];
  return `npm run simulate -- --seed ${seed}${options.join("")}`;
}
