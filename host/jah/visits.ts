/**
 * The visits that are under way in a Jah. Each goes on for a few milliseconds at a time, between frames, and all take turns; what
 * comes of the rows of all Jahs is merged in one of them, in tables of a memory of its own, which then answer as those of the stream do.
 */
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { HallelujahError } from "../core/errors.ts";
import { VISIT_GRACE_MS, VISIT_STATE_BYTES, VISIT_STEP_MS } from "../core/limits.ts";
import type { Watchdog } from "../core/watchdog.ts";
import { type LiveMethods, VISITING } from "../wire/live.ts";
import type { Visited, VisitMethods, VisitStart, VisitStep } from "../wire/visit.ts";
import { Answers } from "./answers.ts";
import { type Applied } from "./owner.ts";
import { VisitMemories, VisitResult, type Visit, Visitor } from "./visit.ts";

/** Modules that are kept: the code of one that comes again is optimised already. */
const MODULES_MAX = 8;

/** Pause until a Jah is asked again whether it is free, ms. */
const BUSY_MS = 2;

interface Open {
  visitor: Visitor;
  /** Where all comes together. */
  result: VisitResult | undefined;
  answers: Answers;
}

/** The Jah, as far as this needs it. */
export interface VisitedJah {
  memory: WebAssembly.Memory;
  watchdog: Pick<Watchdog, "enter" | "leave">;
  /** The version of the stream's kernel whose the state is. */
  version(): number;
  /** The partitions whose state is here. */
  held(): { from: number; to: number } | undefined;
  /** Whether another kernel may stand over the memory for a moment: nothing goes on that is kept in the stream's instance. */
  isFree(): boolean;
  /** The stream's kernel stands over its memory again. */
  restore(): void;
}

type Argument<M extends keyof VisitMethods> = VisitMethods[M]["argument"];

export class Visits {
  private readonly jah: VisitedJah;
  private readonly all = new Map<number, Open>();
  /** The one used last comes last. */
  private readonly modules: { wasm: Buffer; module: WebAssembly.Module }[] = [];
  private stepping: Promise<unknown> = Promise.resolve();
  private readonly memories = new VisitMemories(VISIT_STATE_BYTES);

  constructor(jah: VisitedJah) {
    this.jah = jah;
  }

  /** Whether it is one of the methods that are answered here. */
  has(method: keyof LiveMethods): method is keyof VisitMethods {
    return method.startsWith("visit");
  }

  async perform(method: keyof VisitMethods, argument: unknown): Promise<unknown> {
    switch (method) {
      case "visit":
        return this.begin(argument as Argument<"visit">);
      case "visitMore":
        return this.more(argument as Argument<"visitMore">);
      case "visitStep":
        return this.step(argument as Argument<"visitStep">);
      case "visitTake":
        return { emitted: this.take(argument as Argument<"visitTake">) };
      case "visitClose":
        return { emitted: this.close(argument as Argument<"visitClose">) };
      case "visitAsk":
        return this.ask(argument as Argument<"visitAsk">);
      case "visitEnd":
        this.end((argument as Argument<"visitEnd">).visit);
    }
  }

  /** The rows are not where they were, or of another kernel: visits have to be begun anew. */
  forget(): void {
    for (const visit of this.all.keys()) this.end(visit);
  }

  private end(visit: number): void {
    const result = this.all.get(visit)?.result;
    this.all.delete(visit);
    if (result) this.memories.giveBack(result.kernel);
  }

  private begin({ leftMs, ...start }: Argument<"visit">): { rows: number } {
    return this.guarded(start.visit, leftMs, () => this.begun(start));
  }

  private begun({ visit, version, wasm, isHome, ...what }: VisitStart): { rows: number } {
    if (version !== this.jah.version()) throw lost();
    const { memory } = this.jah;
    const { from, to } = this.jah.held() ?? { from: 0, to: 0 };
    const module = this.moduleOf(wasm);
    const visitor = new Visitor(memory, module, { ...(what as Omit<Visit, "from" | "to">), from, to });
    const result = isHome ? new VisitResult(module, this.memories.take(), what.format) : undefined;
    this.all.set(visit, { visitor, result, answers: new Answers(() => result!.kernel) });
    return { rows: visitor.count };
  }

  private more({ visit }: Argument<"visitMore">): { rows: number } {
    const { visitor } = this.of(visit);
    if (!visitor.more()) throw lost();
    return { rows: visitor.count };
  }

  private moduleOf(wasm: Uint8Array): WebAssembly.Module {
    const { modules } = this;
    const at = modules.findIndex((known) => known.wasm.equals(wasm));
    const found =
      at < 0
        ? { wasm: Buffer.from(wasm), module: new WebAssembly.Module(new Uint8Array(wasm)) }
        : modules.splice(at, 1)[0];
    modules.push(found);
    if (modules.length > MODULES_MAX) modules.shift();
    return found.module;
  }

  /** One after the other, as they are asked for. */
  private step({ visit, leftMs }: Argument<"visitStep">): Promise<VisitStep> {
    const deadline = performance.now() + leftMs;
    const step = this.stepping.then(() => this.stepped(visit, deadline));
    this.stepping = step.catch(() => {});
    return step;
  }

  private async stepped(visit: number, deadline: number): Promise<VisitStep> {
    await setImmediate(); // frames that wait come first
    while (!this.jah.isFree()) await sleep(BUSY_MS);
    const { visitor, result } = this.of(visit);
    const until = performance.now() + VISIT_STEP_MS;
    const step: VisitStep = { over: false, dropped: 0, rows: 0, emitted: [], visited: [] };
    const take = (visited: Visited) => {
      step.rows += visited.rows + visited.bad;
      if (result) step.emitted.push(...emittedOf(visited, result));
      else step.visited.push({ ...visited, parts: visited.parts.map((part) => part.slice()) });
    };
    this.guarded(visit, deadline - performance.now(), () => {
      try {
        step.over = !visitor.step(() => performance.now() >= until, take);
      } catch (error) {
        this.end(visit); // the next step was asked for already
        throw error;
      } finally {
        this.jah.restore();
      }
    });
    step.dropped = visitor.dropped;
    return step;
  }

  private take({ visit, leftMs, visited }: Argument<"visitTake">): Uint8Array[] {
    const { result } = this.of(visit);
    return this.guarded(visit, leftMs, () => visited.flatMap((each) => emittedOf(each, result!)));
  }

  private close({ visit, leftMs }: Argument<"visitClose">): Uint8Array[] {
    return this.guarded(visit, leftMs, () => emittedBy(this.of(visit).result!.end()));
  }

  private ask({ visit, method, argument }: Argument<"visitAsk">): unknown {
    return this.of(visit).answers.perform(method as keyof LiveMethods, argument);
  }

  private of(visit: number): Open {
    const open = this.all.get(visit);
    if (open) return open;
    throw lost();
  }

  /** The visiting kernel is at work, which may never return; when its time is over, nobody waits for it. */
  private guarded<T>(visit: number, leftMs: number, work: () => T): T {
    this.jah.watchdog.enter(visit, VISITING, Math.ceil(Math.max(0, leftMs) + VISIT_GRACE_MS));
    try {
      return work();
    } finally {
      this.jah.watchdog.leave();
    }
  }
}

function lost(): HallelujahError {
  return new HallelujahError(
    "visit-lost",
    "the stream's kernel was swapped, or its rows moved, while they were visited; ask again",
  );
}

/** Merges what was visited; what is emitted by it follows what the rows themselves emitted. */
function emittedOf(visited: Visited, result: VisitResult): Uint8Array[] {
  return [...visited.emitted, ...emittedBy(result.take(visited))];
}

function emittedBy(applied: Applied | undefined): Uint8Array[] {
  return applied ? applied.emitted.filter(({ length }) => length) : [];
}
