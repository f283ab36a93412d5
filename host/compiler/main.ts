/**
 * A process that builds kernels, one after the other, each as a message with its file asks for: AssemblyScript takes hundreds of
 * megabytes and half a second of one thread, which a host has better use for. Answers with { path } or { code, message }, and ends
 * with its channel. The compiler stays loaded, so that the next kernel does not wait for that.
 */
import { HallelujahError, messageOf } from "../core/errors.ts";
import { exitWithParent } from "../core/watchdog.ts";
import { buildKernel } from "./cache.ts";

exitWithParent();
process.on("disconnect", () => process.exit(0));
process.on("message", async (file: string) => {
  try {
    const { path } = await buildKernel(file);
    process.send!({ path });
  } catch (error) {
    const code = error instanceof HallelujahError ? error.code : "compiler-failed";
    process.send!({ code, message: messageOf(error) });
  }
});
