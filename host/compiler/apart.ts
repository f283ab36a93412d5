/**
 * Builds kernels in processes of their own, few at a time; see main.ts. One that is done waits for a while for the next kernel
 * (`Compilers`), as its compiler is loaded then. They never keep this process alive, and end with it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { join, resolve } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { COMPILE_MS_MAX, COMPILER_HEAP_MIB, COMPILER_WARM_MS, COMPILERS_MAX } from "../core/limits.ts";
import { packageRoot } from "../core/package-root.ts";
import { type BuiltKernel, findBuilt, readDescriptor } from "./cache.ts";
import type { CompileTarget } from "./compile.ts";
import type { CompileRequest } from "./main.ts";

interface Answer {
  path?: string;
  code?: string;
  message?: string;
}

export interface CompilersOptions {
  /** Processes at a time. */
  max?: number;
  /** For how long one waits for the next kernel, ms; Infinity until `end`. */
  warmMs?: number;
}

/** One process, which builds one kernel at a time. */
class Compiler {
  private readonly child: ChildProcess;
  private onAnswer: (answer: Answer | undefined) => void = () => {};
  private idle: NodeJS.Timeout | undefined;
  /** Whether it has answered before. */
  warm = false;
  alive = true;

  constructor() {
    this.child = fork(join(packageRoot, "dist", "compiler", "main.js"), [], {
      execArgv: [
        `--max-old-space-size=${COMPILER_HEAP_MIB}`,
        // What a kernel makes is garbage at its end: with the usual 16 MiB a third of a warm compiler's time was to copy it.
        "--min-semi-space-size=32",
        "--max-semi-space-size=64",
      ],
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    this.child.unref();
    this.child.channel?.unref();
    this.child.on("message", (answer) => this.onAnswer(answer as Answer));
    this.child.on("exit", () => this.gone(undefined));
    this.child.on("error", (error) =>
      this.gone({ message: `the compiler cannot be started: ${error.message}` }),
    );
  }

  /** What it answers; undefined if it ends before. */
  async compile(request: CompileRequest): Promise<Answer | undefined> {
    clearTimeout(this.idle);
    const answer = await new Promise<Answer | undefined>((done) => {
      this.onAnswer = done;
      if (this.alive) this.child.send(request, (error) => error && done(undefined));
      else done(undefined);
    });
    this.onAnswer = () => {};
    this.warm = true;
    return answer;
  }

  /** Ends it unless it is asked for something before. */
  rest(warmMs: number, ended: () => void): void {
    if (warmMs === Number.POSITIVE_INFINITY) return;
    this.idle = setTimeout(() => {
      this.end();
      ended();
    }, warmMs);
    this.idle.unref();
  }

  end(): void {
    clearTimeout(this.idle);
    this.child.kill("SIGKILL");
  }

  private gone(answer: Answer | undefined): void {
    this.alive = false;
    this.onAnswer(answer);
  }
}

/** Compilers that stay for the next kernel. */
export class Compilers {
  private readonly max: number;
  private readonly warmMs: number;
  private readonly all = new Set<Compiler>();
  private resting: Compiler[] = [];
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor({ max = COMPILERS_MAX, warmMs = COMPILER_WARM_MS }: CompilersOptions = {}) {
    this.max = max;
    this.warmMs = warmMs;
  }

  /**
   * The module of a kernel, as `buildKernel` gives it. Rejects with `kernel-invalid`, whose message has all errors with their lines,
   * with `compiler-failed`, or, when `signal` is aborted, with `aborted`; the compiler that was at it is ended then.
   */
  async build(
    file: string,
    { target = "release", signal }: { target?: CompileTarget; signal?: AbortSignal } = {},
  ): Promise<BuiltKernel> {
    const path = resolve(file);
    const built = findBuilt(path, target);
    if (built) return built;
    if (this.running < this.max) this.running++;
    else await new Promise<void>((done) => this.waiting.push(done)); // whoever ends hands its place on
    try {
      const module = await this.compile({ file: path, target }, signal);
      return { path: module, descriptor: readDescriptor(module), cached: false };
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.running--;
    }
  }

  /** Ends all processes, also those that are at work. */
  end(): void {
    for (const compiler of this.all) compiler.end();
    this.all.clear();
    this.resting = [];
  }

  private async compile(request: CompileRequest, signal: AbortSignal | undefined): Promise<string> {
    while (true) {
      if (signal?.aborted) throw aborted();
      const compiler = this.take();
      const { warm } = compiler;
      const { answer, ended } = await within(compiler, request, signal);
      if (answer && compiler.alive) this.keep(compiler);
      else this.drop(compiler);
      if (answer?.path !== undefined) return answer.path;
      if (ended === "aborted") throw aborted();
      // One that has built others may have had no memory left for this one.
      if (!answer && warm && ended === undefined) continue;
      throw new HallelujahError(answer?.code ?? "compiler-failed", answer?.message ?? whyNot(ended));
    }
  }

  private take(): Compiler {
    this.resting = this.resting.filter(({ alive }) => alive);
    const compiler = this.resting.pop() ?? new Compiler();
    this.all.add(compiler);
    return compiler;
  }

  private keep(compiler: Compiler): void {
    // One is enough to be quick; the others would hold their memory for nothing.
    if (this.resting.some(({ alive }) => alive)) return this.drop(compiler);
    this.resting = [compiler];
    compiler.rest(this.warmMs, () => this.drop(compiler));
  }

  private drop(compiler: Compiler): void {
    compiler.end();
    this.all.delete(compiler);
    this.resting = this.resting.filter((each) => each !== compiler);
  }
}

const shared = new Compilers();

/** The module of a kernel, by the compilers of this process. */
export function buildApart(file: string, target: CompileTarget): Promise<BuiltKernel> {
  return shared.build(file, { target });
}

/** What a compiler answers within its time; it is ended if it does not, or when `signal` is aborted. */
async function within(
  compiler: Compiler,
  request: CompileRequest,
  signal: AbortSignal | undefined,
): Promise<{ answer: Answer | undefined; ended?: "late" | "aborted" }> {
  let ended: "late" | "aborted" | undefined;
  const end = (why: "late" | "aborted") => () => {
    ended ??= why;
    compiler.end();
  };
  const onAbort = end("aborted");
  const timer = setTimeout(end("late"), COMPILE_MS_MAX);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const answer = await compiler.compile(request);
    return { answer, ...(ended === undefined ? {} : { ended }) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function whyNot(ended: "late" | "aborted" | undefined): string {
  return ended === "late"
    ? `the compiler was not done after ${COMPILE_MS_MAX / 1000} s; a loop that never ends at the top level of the kernel?`
    : "the compiler ended without an answer; does the kernel need something without end?";
}

function aborted(): HallelujahError {
  return new HallelujahError("aborted", "the compiler was stopped");
}
