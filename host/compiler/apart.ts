/** Builds a kernel in a process of its own; see main.ts. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";
import { type BuiltKernel, findBuilt, readDescriptor } from "./cache.ts";

const PATIENCE_MS = 60_000;

/** The module of a kernel, as `buildKernel` gives it. */
export async function buildApart(file: string): Promise<BuiltKernel> {
  const built = findBuilt(file);
  if (built) return built;
  const child = fork(join(packageRoot, "dist", "compiler", "main.js"), [file], {
    execArgv: [],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const patience = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  const answer = await new Promise<{ path?: string; code?: string; message?: string }>((done) => {
    child.on("message", (message) => done(message as { path: string }));
    child.on("exit", (code) => {
      const long = `the kernel was not built within ${PATIENCE_MS / 1000} s; a loop that never ends at its top level?`;
      done({ message: code === null ? long : `the compiler ended with code ${code}` });
    });
    child.on("error", (error) => done({ message: `the compiler cannot be started: ${error.message}` }));
  });
  clearTimeout(patience);
  if (answer.path === undefined)
    throw new HallelujahError(answer.code ?? "compiler-failed", answer.message ?? "the compiler failed");
  return { path: answer.path, descriptor: readDescriptor(answer.path), cached: false };
}
