/** What the streams of a simulated host are, what their frames cost, and how many come. */
import type { KernelDescriptor } from "../../host/compiler/descriptor.ts";
import type { StreamRecord } from "../../host/hallelu/record.ts";
import type { Costs } from "./jah.ts";
import type { Scenario } from "./scenario.ts";

export const FRAME_BYTES = 400_000;
/** Time before more comes than can be done, where that is so, ms. */
const GENTLE_MS = 10_000;

/** Frames a second while a load is on, and how long it is on and off, ms. */
export interface Load {
  rate: number;
  period: number;
}

/** What a stream's frames cost, and how many come. */
export function workloadOf(
  { kind, cpus, streams: wanted }: Scenario,
  chance: () => number,
): { costs: Costs; load: Load } {
  const streams = Math.max(1, wanted);
  const map =
    { storm: 1, moves: 4, waves: 4, vain: 2.5, crowd: 2 }[kind] * (1 + chance() * (kind === "storm" ? 8 : 2));
  const apply = map * chance() * { storm: 3, moves: 2, waves: 1.5, vain: 1, crowd: 2 }[kind];
  const costs = { map, apply, bytes: FRAME_BYTES };
  /** Frames a second that one Jah can do. */
  const one = 1000 / (map + apply);
  const period = 1000 + Math.floor(chance() * 20_000);
  const load = {
    storm: { rate: chance() * 150, period },
    moves: { rate: one * (0.3 + chance()), period: Infinity },
    waves: { rate: one * (0.5 + (chance() * cpus) / streams), period },
    vain: { rate: one * (1.3 + chance()), period: Infinity },
    // Some of them never rest.
    crowd: { rate: (one * 1.4 * cpus * chance()) / streams, period: chance() < 0.5 ? Infinity : period },
  }[kind];
  return { costs, load };
}

/** Frames a second that come now. */
export function rateOf({ kind }: Scenario, { rate, period }: Load, now: number): number {
  if (kind === "vain" && now < GENTLE_MS) return rate / 3;
  const isOn = Math.floor(now / period) % 2 === 0;
  return isOn ? rate : kind === "waves" ? 0 : 0.4;
}

export const NO_COSTS: Costs = { map: 1, apply: 1, bytes: FRAME_BYTES };

const KERNEL: KernelDescriptor = {
  abi: 0,
  sdk: "",
  file: "",
  outputs: [],
  ordered: false,
  late: false,
  input: { name: "", fields: [], size: 0 },
  tables: [{ name: "t", key: ["u32"], state: "", fields: [] }],
};

/** The kernels of a host: of every other eight seeds, owners have a word for each frame, which is put out when all have. */
export function descriptorOf({ seed }: Scenario): KernelDescriptor {
  return { ...KERNEL, ordered: Math.floor(seed / 8) % 2 === 1 };
}

export function recordOf(name: string, min: number, max: number): StreamRecord {
  const source = {
    origin: "push",
    kind: "slice",
    name: "",
    format: "ndjson",
    size: 0,
    dataStart: 0,
  } as const;
  return {
    name,
    version: 1,
    kernel: "",
    file: "",
    min,
    max,
    paused: false,
    retain: "applied",
    source: [],
    sink: [],
    dead: [],
    stored: [{ folder: "shard-0", from: 0, to: 256, start: 0 }],
    frame: 0,
    counts: { records: 0, bad: 0, late: 0 },
    sources: [{ ...source, delimiter: 0, plan: [] }],
  };
}
