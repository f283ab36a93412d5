/** Builds kernels in processes of their own, few at a time; see main.ts. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { COMPILE_MS_MAX, COMPILER_HEAP_MIB, COMPILERS_MAX } from "../core/limits.ts";
import { packageRoot } from "../core/package-root.ts";
import { type BuiltKernel, findBuilt, readDescriptor } from "./cache.ts";

let running = 0;
const waiting: (() => void)[] = [];

/** The module of a kernel, as `buildKernel` gives it. */
export async function buildApart(file: string): Promise<BuiltKernel> {
  const built = findBuilt(file);
  if (built) return built;
  if (running < COMPILERS_MAX) running++;
  else await new Promise<void>((done) => waiting.push(done)); // whoever ends hands its place on
  try {
    const path = await compile(file);
    return { path, descriptor: readDescriptor(path), cached: false };
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running--;
  }
}

async function compile(file: string): Promise<string> {
  const child = fork(join(packageRoot, "dist", "compiler", "main.js"), [file], {
    execArgv: [`--max-old-space-size=${COMPILER_HEAP_MIB}`],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, COMPILE_MS_MAX);
  const { path, code, message } = await new Promise<{ path?: string; code?: string; message?: string }>(
    (done) => {
      child.on("message", (answer) => done(answer as { path: string }));
      child.on("exit", () =>
        done({
          message: late
            ? `the compiler was not done after ${COMPILE_MS_MAX / 1000} s; a loop that never ends at the top level of the kernel?`
            : "the compiler ended without an answer; does the kernel need something without end?",
        }),
      );
      child.on("error", (error) => done({ message: `the compiler cannot be started: ${error.message}` }));
    },
  );
  clearTimeout(timer);
  if (path !== undefined) return path;
  throw new HallelujahError(code ?? "compiler-failed", message ?? "the compiler failed");
}
