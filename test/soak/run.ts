/** What the parts of one soak have in common: its host, its clock, its random numbers, what was acknowledged, and how all of it ends. */
import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Hallelujah } from "../../host/client/live.ts";
import { random } from "../run.ts";
import { History, type Taken } from "./handled.ts";
import { SoakHost } from "./host.ts";
import { Loader } from "./loader.ts";
import { type StreamSpec, STREAMS } from "./streams.ts";

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

/** Records are allowed in waves, so that they come at full rate and streams come to rest between them, ms. */
const WAVE_MS = 4_000;

export class Run {
  readonly options: Required<SoakOptions>;
  readonly folder: string;
  readonly host: SoakHost;
  readonly loaders: Loader[];
  readonly histories = new Map(STREAMS.map(({ name }) => [name, new History()]));
  /** When things began to happen. */
  startedAt = performance.now();
  /** The time is over: nothing new begins. */
  readonly over = new AbortController();
  /** Something went wrong: everything ends. */
  readonly abandoned = new AbortController();
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
    this.options = {
      cpus: 2,
      recordsPerMinute: 1_500_000,
      killEverySeconds: 3,
      powerLosses: 1,
      say: () => {},
      ...options,
    };
    this.folder = folder;
    setMaxListeners(0, this.over.signal, this.abandoned.signal); // all that is asked at the same time waits for them
    this.host = new SoakHost(join(folder, "host"), this.options.cpus, (error) => this.abandon(error));
    this.loaders = STREAMS.flatMap((stream) =>
      stream.producers.map((producer) => new Loader(stream, producer, this.chance(producer.id))),
    );
  }

  get client(): Hallelujah {
    return this.host.client;
  }

  abandon(error: Error): void {
    this.over.abort();
    this.abandoned.abort(error);
  }

  /** The same work; if it fails, everything ends. */
  watched(work: Promise<void>): Promise<void> {
    return work.catch((error: Error) => this.abandon(error));
  }

  say(line: string): void {
    const seconds = ((performance.now() - this.startedAt) / 1000).toFixed(1);
    this.options.say(`${seconds.padStart(6)} s  ${line}`);
  }

  /** Random numbers of one part, which do not depend on how often the others draw. */
  chance(part: string): () => number {
    const { seed } = this.options;
    return random([...part].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed));
  }

  /** Resolves after so long, or when the time is over. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.over.signal }).catch(() => {});
  }

  /** What is acknowledged by now, which does not change with what comes. */
  get taken(): Taken {
    const { loaders, histories } = this;
    return {
      counts: new Map(loaders.map(({ producer, acknowledged }) => [producer, acknowledged])),
      pieces: new Map(loaders.map(({ producer, pieces }) => [producer, [...pieces]])),
      histories: new Map([...histories].map(([name, history]) => [name, history.copy()])),
    };
  }

  /** How many records a producer may have pushed by now. */
  allowed({ share, steady }: StreamSpec): number {
    const ms = performance.now() - this.startedAt;
    const until = steady ? ms : Math.ceil(ms / WAVE_MS) * WAVE_MS;
    return (until * share * this.options.recordsPerMinute) / 60_000;
  }
}
