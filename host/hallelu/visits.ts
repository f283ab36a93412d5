/** The visits of one stream: how many there may be, and that they are begun again where shards move, are lost, or change their kernel. */
import { setTimeout as sleep } from "node:timers/promises";
import { HallelujahError } from "../core/errors.ts";
import { FOLLOW_MS_MIN, FOLLOW_REST, VISITS_MAX } from "../core/limits.ts";
import type { Answer, VisitResult } from "./host.ts";
import type { Jah } from "./jahs.ts";
import { begun, Course, ending, type VisitPlan, type VisitTurn } from "./visit.ts";

/** Times that a visit is begun where shards move or are lost; and what says that they did. */
const TRIES = 3;
const PASSING = new Set(["visit-lost", "jah-lost", "shard-lost", "visit-dropped"]);

/** The stream, as far as visits need it. */
interface VisitedStream {
  readonly name: string;
  readonly frameTimeoutMs: number;
  stuckFile(jah: Jah): string;
  /** The lowest frame that is not applied everywhere. */
  lowest(): number;
  /** Throws `stream-failed` or `shard-unavailable`. */
  refuse(): void;
  /** A turn in which all shards are there. */
  turn(): Promise<VisitTurn>;
  /** Something was answered as of a frame: nothing may be, from now on, as of one below it. */
  answered(frame: number): void;
  worked(): void;
}

/** A kernel that visits. */
export interface VisitingKernel {
  /** The visit, held against the stream's kernel as it is now. */
  plan(): VisitPlan;
  /** Where in its source it stopped, by a stack. */
  placeOf(stack: string): string | undefined;
}

export class Visits {
  private readonly stream: VisitedStream;
  private count = 0;

  constructor(stream: VisitedStream) {
    this.stream = stream;
  }

  /** Runs a kernel over the rows. Where a shard moves or is lost before anything was answered, it begins again. */
  async visit(kernel: VisitingKernel): Promise<Answer> {
    const over = this.enter();
    try {
      return await this.visited(kernel, async (course, frame) => ({
        frame,
        rows: ending(await begun(course.rows()), over),
      }));
    } catch (error) {
      over();
      throw error;
    }
  }

  /** Runs a kernel over the rows, and over those that come: one result after the other, each of them whole, until `signal`. */
  async *follow(kernel: VisitingKernel, signal: AbortSignal): AsyncGenerator<VisitResult> {
    const over = this.enter();
    let course: Course | undefined;
    try {
      while (!signal.aborted) {
        const startedAt = performance.now();
        const result = await this.visited(
          kernel,
          async (current, frame) => {
            course = current;
            return { frame, chunks: await current.result() };
          },
          course,
        );
        const tookMs = performance.now() - startedAt;
        yield result;
        await this.changed(result.frame, Math.max(FOLLOW_MS_MIN, FOLLOW_REST * tookMs), signal);
      }
    } finally {
      course?.end();
      over();
    }
  }

  /** Resolves when there are frames behind those below `frame`, `pauseMs` from now at the earliest; or at `signal`. */
  private async changed(frame: number, pauseMs: number, signal: AbortSignal): Promise<void> {
    for (let ms = pauseMs; !signal.aborted; ms = FOLLOW_MS_MIN) {
      await sleep(ms, undefined, { signal }).catch(() => {});
      this.stream.refuse();
      if (this.stream.lowest() > frame) return;
    }
  }

  /** Answers what is to be called when the visit is over. */
  private enter(): () => void {
    this.stream.refuse();
    if (this.count >= VISITS_MAX)
      throw new HallelujahError(
        "busy",
        `${this.stream.name} is visited by ${VISITS_MAX} kernels now; ask again when one is done`,
      );
    this.count++;
    return () => void this.count--;
  }

  /** Begins a visit, or goes on with one, and reads what it says. */
  private async visited<T>(
    kernel: VisitingKernel,
    read: (course: Course, frame: number) => Promise<T>,
    before?: Course,
  ): Promise<T> {
    let goesOn = before;
    // Where rows were dropped before they were met, the stream waits for the next one.
    let hold = false;
    for (let tries = TRIES; ; tries--) {
      this.stream.refuse();
      const turn = await this.stream.turn();
      this.stream.worked();
      if (!goesOn?.isAt(turn.jahs)) {
        goesOn?.end();
        goesOn = undefined;
      }
      const course = goesOn ?? this.begin(kernel, turn, hold);
      try {
        const frame = await (goesOn ? course.more(turn) : course.begin(turn));
        this.stream.answered(frame);
        return await read(course, frame);
      } catch (error) {
        course.end();
        const isPassing = error instanceof HallelujahError && PASSING.has(error.code);
        if (!isPassing || tries === 1) throw error;
        hold ||= error.code === "visit-dropped";
      }
      goesOn = undefined;
    }
  }

  private begin({ plan, placeOf }: VisitingKernel, turn: VisitTurn, hold: boolean): Course {
    try {
      const { frameTimeoutMs, stuckFile, worked } = this.stream;
      const planned = plan();
      const all = hold ? { ...planned, hold } : planned;
      return new Course(all, turn.jahs, { frameTimeoutMs, stuckFile, worked, placeOf });
    } catch (error) {
      turn.release();
      throw error;
    }
  }
}
