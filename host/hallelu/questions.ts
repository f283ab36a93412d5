/**
 * What is asked of the rows of one stream. All of its shards have to be there for it, which wakes a stream that is parked, and hold at least what
 * was in an answer before: no answer goes behind another.
 */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError } from "../core/errors.ts";
import { WAKE_PATIENCE_MS } from "../core/limits.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { StreamState } from "../wire/http.ts";
import type { Answer, QueryRequest } from "./host.ts";
import type { Jah } from "./jahs.ts";
import type { Progress } from "./progress.ts";
import { ask, planQuery, refuseUnavailable } from "./query.ts";
import type { Shards } from "./shards.ts";
import { Visits } from "./visits.ts";

/** The stream, as far as this needs it. */
interface QuestionedStream {
  readonly name: string;
  readonly kernel: KernelDescriptor;
  readonly shards: Shards;
  readonly progress: Progress;
  readonly shown: StreamState;
  /** The lowest frame that is not applied everywhere. */
  readonly lowest: number;
  /** When it last had something to do, ms. */
  lastWorkAt: number;
  /** Shards without a Jah are to have one. */
  wake(): void;
  /** Waits until it alone may ask, move or end Jahs; resolves with what ends the turn. */
  turn(): Promise<() => void>;
}

interface QuestionParts {
  log: StreamLog;
  frameTimeoutMs: number;
  /** Where the watchdog of a Jah says what it was at for too long. */
  stuckFile: (jah: Jah) => string;
  /** Answers hold the frames below this. */
  answered: () => number;
  /** All answers do from now on. */
  answersHold: (frame: number) => void;
  /** Throws `stream-failed`. */
  refuseIfFailed: () => void;
  /** Throws `shard-lost` if another stream has taken its place. */
  refuseIfReplaced: () => void;
}

export class Questions {
  /** Visits that are under way, or wait for it. */
  readonly visits: Visits;
  private readonly stream: QuestionedStream;
  private readonly parts: QuestionParts;

  constructor(stream: QuestionedStream, parts: QuestionParts) {
    this.stream = stream;
    this.parts = parts;
    const { frameTimeoutMs, stuckFile, answered, answersHold, refuseIfFailed, refuseIfReplaced } = parts;
    this.visits = new Visits({
      name: stream.name,
      frameTimeoutMs,
      stuckFile,
      lowest: () => stream.lowest,
      refuse: () => {
        refuseIfFailed();
        refuseIfReplaced();
        refuseUnavailable(stream.name, undefined, stream.shards.unavailable);
      },
      turn: async () => {
        const release = await this.turnOfOwners();
        return { jahs: [...stream.shards.owners] as Jah[], least: answered(), release };
      },
      answered: answersHold,
      worked: () => {
        stream.lastWorkAt = performance.now();
      },
    });
  }

  /** Asks for rows; wakes the stream if it is parked, and then applies what was logged first. */
  async query(request: QueryRequest): Promise<Answer> {
    const { stream } = this;
    const { answered, answersHold, refuseIfFailed } = this.parts;
    refuseIfFailed();
    const plan = () => {
      const query = planQuery(stream.kernel, stream.name, request);
      refuseUnavailable(stream.name, query, stream.shards.unavailable);
      return query;
    };
    plan();
    const release = await this.turnOfOwners();
    let query;
    try {
      query = plan(); // its kernel may have been swapped meanwhile, or its state only just have been read
    } catch (error) {
      release();
      throw error;
    }
    stream.lastWorkAt = performance.now();
    const answer = await ask(stream.shards.owners as Jah[], query, answered(), release);
    answersHold(answer.frame);
    return answer;
  }

  /** A turn in which all shards are there; the one before may have been that which parked the stream. */
  private async turnOfOwners(): Promise<() => void> {
    const { stream } = this;
    const { log, answered } = this.parts;
    const until = performance.now() + WAKE_PATIENCE_MS;
    for (let tries = 2; tries && performance.now() < until; ) {
      if (stream.shards.hasVacant || stream.shown !== "running") await this.awake(log.next);
      else if (stream.lowest < answered()) await this.awake(answered());
      const release = await stream.turn();
      const areThere = stream.shards.owners.every((jah) => jah?.state === "working");
      // A swap may have come first, with a backlog before it: whoever holds the turn until that is done could not be parked.
      if (areThere && stream.lowest >= answered()) return release;
      release();
      if (!areThere) tries--;
    }
    throw new HallelujahError("shard-lost", `a part of ${stream.name} is being brought back; ask again`);
  }

  /** Resolves when all shards are there and have applied the frames below `next`. Rejects with `no-capacity`. */
  private async awake(next: number): Promise<void> {
    const { stream } = this;
    const { refuseIfFailed, refuseIfReplaced } = this.parts;
    refuseIfReplaced();
    stream.wake();
    if (await stream.progress.reaches(next, WAKE_PATIENCE_MS)) return;
    refuseIfFailed();
    refuseIfReplaced();
    const message = stream.shards.hasVacant
      ? `${stream.name} is parked and no CPU came free within ${WAKE_PATIENCE_MS / 1000} s; lower the capacity of another stream, or ask again later`
      : `${stream.name} is still working through its backlog; ask again later`;
    throw new HallelujahError("no-capacity", message);
  }
}
