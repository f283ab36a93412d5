/** Builds a kernel in a process of its own; see main.ts. */
import { fork } from "node:child_process";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";
import { type BuiltKernel, findBuilt, readDescriptor } from "./cache.ts";

/** The module of a kernel, as `buildKernel` gives it. */
export async function buildApart(file: string): Promise<BuiltKernel> {
  const built = findBuilt(file);
  if (built) return built;
  const child = fork(join(packageRoot, "dist", "compiler", "main.js"), [file], {
    execArgv: [],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const answer = await new Promise<{ path?: string; code?: string; message?: string }>((done) => {
    child.on("message", (message) => done(message as { path: string }));
    child.on("exit", (code) => done({ message: `the compiler ended with code ${code}` }));
    child.on("error", (error) => done({ message: `the compiler cannot be started: ${error.message}` }));
  });
  if (answer.path === undefined)
    throw new HallelujahError(answer.code ?? "compiler-failed", answer.message ?? "the compiler failed");
  return { path: answer.path, descriptor: readDescriptor(answer.path), cached: false };
}
