/** What the parts of one soak have in common: its load, its host, and what is counted. */
import { join } from "node:path";
import type { Hallelujah } from "../../host/client/live.ts";
import type { HallelujahError } from "../../host/core/errors.ts";
import { type Answered, ask } from "./asked.ts";
import { SoakHost } from "./host.ts";
import { Load } from "./load.ts";
import { type StreamSpec, STREAMS, type TableSpec } from "./streams.ts";

export interface SoakOptions {
  /** Time in which things happen; bringing everything to rest and comparing it comes on top. */
  seconds: number;
  seed: number;
  cpus?: number;
  /** Records that the fastest producers push in a minute, so that what is to be compared stays bounded. */
  recordsPerMinute?: number;
  /** Mean pause between two kills; Infinity: none. */
  killEverySeconds?: number;
  /** How often the folder is copied as a loss of power would leave it. */
  powerLosses?: number;
  /** Hears what happens, line by line. */
  say?: (line: string) => void;
}

export interface SoakSummary {
  kills: Record<string, number>;
  /** Starts of the whole host after its Congregation was killed, and after an orderly end. */
  restarts: number;
  stops: number;
  /** Processes that got to nothing for a while. */
  freezes: number;
  powerLosses: number;
  /** Of capacities and shards. */
  changes: number;
  /** Swaps to a kernel of another make, back to an earlier version, to one that stops at its first record, and to one that stops late. */
  swaps: number;
  backs: number;
  badKernels: number;
  lateKernels: number;
  /** Those that were rolled back after frames that they had handled, and the frames. */
  rolledBackLate: { kernels: number; frames: number };
  /** Reprocesses that began, with a kernel of another make, and those that were then cancelled under way. */
  reprocesses: number;
  cancelled: number;
  /** Answers by what was asked for: a stream's table, or what visited it. */
  answers: Record<string, number>;
  /** Queries that were not answered, by code. */
  refusals: Record<string, number>;
  /** Records that were acknowledged, or taken in from another stream; and bodies of them. */
  records: number;
  bodies: number;
  outputs: number;
  deadLetters: number;
}

/** What a query may be answered while processes are killed, and streams are stopped, moved and woken. */
const REFUSALS = new Set([
  "host-unreachable",
  "connection-lost",
  "no-capacity",
  "shard-lost",
  "jah-lost",
  "visit-lost",
  "stream-paused",
  "stream-stopped",
  "busy",
]);

export class Run extends Load {
  readonly options: Required<SoakOptions>;
  readonly folder: string;
  readonly host: SoakHost;
  readonly summary: SoakSummary = {
    kills: {},
    restarts: 0,
    stops: 0,
    freezes: 0,
    powerLosses: 0,
    changes: 0,
    swaps: 0,
    backs: 0,
    badKernels: 0,
    lateKernels: 0,
    rolledBackLate: { kernels: 0, frames: 0 },
    reprocesses: 0,
    cancelled: 0,
    answers: {},
    refusals: {},
    records: 0,
    bodies: 0,
    outputs: 0,
    deadLetters: 0,
  };

  constructor(options: SoakOptions, folder: string) {
    const full = {
      cpus: 2,
      recordsPerMinute: 1_500_000,
      killEverySeconds: 3,
      powerLosses: 1,
      say: () => {},
      ...options,
    };
    super(STREAMS, full);
    this.options = full;
    this.folder = folder;
    this.host = new SoakHost(join(folder, "host"), full.cpus, (error) => this.abandon(error));
  }

  get client(): Hallelujah {
    return this.host.client;
  }

  ask({ name }: StreamSpec, table: TableSpec): Promise<Answered> {
    return ask(this.client, name, table, { signal: this.abandoned.signal });
  }

  isRefusal({ code }: HallelujahError): boolean {
    return REFUSALS.has(code);
  }
}
