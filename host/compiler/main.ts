/**
 * A process that builds kernels, one after the other, each as a message asks for: AssemblyScript takes hundreds of
 * megabytes and half a second of one thread, which a host has better use for. Answers with { path } or { code, message }, and ends
 * with its channel. The compiler stays loaded, so that the next kernel does not wait for that.
 */
import { setFlagsFromString } from "node:v8";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { exitWithParent } from "../core/watchdog.ts";
import { buildKernel } from "./cache.ts";
import type { CompileTarget } from "./compile.ts";

export interface CompileRequest {
  file: string;
  target: CompileTarget;
}

// V8 would optimise much of Binaryen, which takes longer than it saves in one kernel: 6.3 s of CPU for the first one, 3.8 s so.
setFlagsFromString("--wasm-tiering-budget=200000000");
exitWithParent();
process.on("disconnect", () => process.exit(0));
process.on("message", async ({ file, target }: CompileRequest) => {
  try {
    const { path } = await buildKernel(file, { target });
    process.send!({ path });
  } catch (error) {
    const code = error instanceof HallelujahError ? error.code : "compiler-failed";
    process.send!({ code, message: messageOf(error) });
  }
});
