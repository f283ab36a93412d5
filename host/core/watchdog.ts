/**
 * Ends this process when its parent has gone, even while the main thread is inside a kernel that never returns: a thread
 * of its own looks whether the parent is still the same.
 */
import { Worker } from "node:worker_threads";

/** How often the thread looks, ms. */
const INTERVAL_MS = 250;

const SOURCE = `
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
}, ${INTERVAL_MS});
`;

/** Call once, early. The thread costs some 4 MB, and does not keep the process alive. */
export function exitWithParent(): void {
  const worker = new Worker(SOURCE, {
    eval: true,
    stdout: false,
    resourceLimits: { maxOldGenerationSizeMb: 16 },
  });
  worker.unref();
}
