/**
 * A process that builds one kernel and ends: AssemblyScript takes hundreds of megabytes and half a second of one thread,
 * which a host has better use for. Argument: the kernel's file. Answers over its channel with { path } or { code, message }.
 */
import { HallelujahError, messageOf } from "../core/errors.ts";
import { exitWithParent } from "../core/watchdog.ts";
import { buildKernel } from "./cache.ts";

exitWithParent();
try {
  const { path } = await buildKernel(process.argv[2]);
  process.send!({ path }, () => process.exit(0));
} catch (error) {
  const code = error instanceof HallelujahError ? error.code : "compiler-failed";
  process.send!({ code, message: messageOf(error) }, () => process.exit(0));
}
