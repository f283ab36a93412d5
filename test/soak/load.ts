/** Load with numbers to be held against: its clock, its random numbers, what was acknowledged, and how all of it ends. */
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { HallelujahError } from "../../host/core/errors.ts";
import { random } from "../run.ts";
import type { Answered } from "./asked.ts";
import { History, type Taken } from "./handled.ts";
import { Loader } from "./loader.ts";
import type { StreamSpec, TableSpec } from "./streams.ts";

/** Records are allowed in waves, so that they come at full rate and streams come to rest between them, ms. */
const WAVE_MS = 4_000;

export interface LoadOptions {
  seed: number;
  /** Records that the fastest producers push in a minute. */
  recordsPerMinute: number;
  /** Hears what happens, line by line. */
  say: (line: string) => void;
}

export abstract class Load {
  abstract readonly summary: {
    /** Answers by what was asked for: a stream's table, or what visited it. */
    answers: Record<string, number>;
    /** Queries that were not answered, by code. */
    refusals: Record<string, number>;
  };
  readonly streams: readonly StreamSpec[];
  readonly loaders: Loader[];
  readonly histories: Map<string, History>;
  /** When things began to happen. */
  startedAt = performance.now();
  /** The time is over: nothing new begins. */
  readonly over = new AbortController();
  /** Something went wrong: everything ends. */
  readonly abandoned = new AbortController();
  private readonly load: LoadOptions;

  constructor(streams: readonly StreamSpec[], options: LoadOptions) {
    this.streams = streams;
    this.load = options;
    setMaxListeners(0, this.over.signal, this.abandoned.signal); // all that is asked at the same time waits for them
    this.histories = new Map(streams.map(({ name }) => [name, new History()]));
    this.loaders = streams.flatMap((stream) =>
      stream.producers.map((producer) => new Loader(stream, producer, this.chance(producer.id))),
    );
  }

  /** Asks for a table. */
  abstract ask(stream: StreamSpec, table: TableSpec): Promise<Answered>;

  /** Whether a query may be refused so while things go wrong. */
  abstract isRefusal(error: HallelujahError): boolean;

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
    this.load.say(`${seconds.padStart(6)} s  ${line}`);
  }

  /** Random numbers of one part, which do not depend on how often the others draw. */
  chance(part: string): () => number {
    const { seed } = this.load;
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
    return (until * share * this.load.recordsPerMinute) / 60_000;
  }
}
