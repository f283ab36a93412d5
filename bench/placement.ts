/**
 * One decision which host takes over what: 1,000 hosts of 64 CPUs that have 10,000 streams, where one host is lost, and where half of them are. Beside
 * a search through all hosts for each stream, which comes to the same.
 */
import { hostOfNew, type KnownHost, type PlacedStream, takeovers } from "../host/substrate/placement.ts";
import type { Rounds } from "./harness.ts";
import { Random } from "./random.ts";
import { againstPeer, type Context, type Result } from "./results.ts";

const HOSTS = 1_000;
const CPUS = 64;
const STREAMS = 10_000;
const SEED = 7;

export interface PlacementSettings {
  runs: number;
  machine: Context["machine"];
  log: (line: string) => void;
}

export function placement(settings: PlacementSettings): Result[] {
  return [
    decision("takeovers", 1, settings, "one host of 1,000 is lost"),
    decision("takeovers-half", HOSTS / 2, settings, "half of 1,000 hosts are lost"),
  ];
}

function decision(
  name: string,
  lost: number,
  { runs, machine, log }: PlacementSettings,
  note: string,
): Result {
  const found: Record<string, number[]> = { ours: [], search: [] };
  for (let round = 0; round <= runs; round++) {
    const { hosts, streams } = cluster(lost, round);
    const self = hosts.at(-1)!.name;
    const [plan, ours] = timed(() => takeovers(hosts, streams, self));
    const [searched, search] = timed(() => searchedFor(hosts, streams, self));
    if (plan.join() !== searched.join()) throw new Error(`${name}: the two plans differ`);
    log(`${name} ${round || "warm-up"}: ${ours.toFixed(1)} ms, a search ${search.toFixed(0)} ms`);
    if (!round) continue;
    found.ours.push(ours);
    found.search.push(search);
  }
  const rounds: Rounds = new Map(
    Object.entries(found).map(([of, all]) => [
      of,
      all.map((wallMs) => ({ wallMs, cpuMs: null, rssMb: null })),
    ]),
  );
  return againstPeer(name, rounds, "ours", "search", { rows: null, machine }, note);
}

function timed<T>(work: () => T): [T, number] {
  const startedAt = performance.now();
  const result = work();
  return [result, performance.now() - startedAt];
}

/** Each stream is anywhere. The first hosts are lost. */
function cluster(lost: number, round: number): { hosts: KnownHost[]; streams: Map<string, PlacedStream> } {
  const random = new Random(SEED, round);
  const hosts = Array.from({ length: HOSTS }, (_, i) => ({
    name: `host-${i}`,
    folder: `folder-${i}`,
    cpus: CPUS,
    state: i < lost ? "lost" : "up",
  }));
  const streams = Array.from({ length: STREAMS }, (_, i): [string, PlacedStream] => [
    `stream-${i}`,
    { folder: `folder-${random.below(HOSTS)}`, identity: `${i}` },
  ]);
  return { hosts, streams: new Map(streams) };
}

/** The same, by looking through all hosts for each stream. */
function searchedFor(hosts: KnownHost[], streams: Map<string, PlacedStream>, self: string): string[] {
  const up = hosts.filter(({ state }) => state === "up");
  const nameOf = new Map(up.map(({ name, folder }) => [folder, name]));
  const placed = [...streams.values()].flatMap(({ folder }) => nameOf.get(folder) ?? []);
  const orphans = [...streams].flatMap(([name, { folder }]) => (nameOf.has(folder) ? [] : name));
  const taken: string[] = [];
  for (const name of orphans.sort()) {
    const host = hostOfNew(up, placed, "");
    placed.push(host);
    if (host === self) taken.push(name);
  }
  return taken;
}
