/**
 * A thread beside the main one, which may be inside a kernel that never returns. It ends this process when its parent has
 * gone, and, where asked to, when the main thread has been at one piece of work for too long, or for some time at one that
 * nobody waits for any more.
 */
import { Worker } from "node:worker_threads";
import { VISIT_GRACE_MS } from "./limits.ts";

/** How often the thread looks, ms. */
const INTERVAL_MS = 250;

// words: 0 what is in work + 1, or 0; 1 its kind; 2 counts pieces of work, so that two of the same name differ;
// 3 its own patience, ms, or 0
const SOURCE = `
const { parentPort, workerData: words } = require("node:worker_threads");
const { existsSync, writeFileSync } = require("node:fs");
const parent = process.ppid;
let guard;
let seen = -1;
let since = 0;
parentPort.on("message", (message) => { guard = message; });
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
  const patienceMs = Math.min(guard?.patienceMs ?? Infinity, Atomics.load(words, 3) || Infinity);
  const count = Atomics.load(words, 2);
  const work = Atomics.load(words, 0);
  if (count !== seen || !work) {
    seen = count;
    since = performance.now();
    return;
  }
  const tookMs = performance.now() - since;
  const isGivenUp = () =>
    tookMs > ${VISIT_GRACE_MS} && Atomics.load(words, 3) > 0 && existsSync(guard.givenUp + (work - 1));
  if (guard && (tookMs > patienceMs || isGivenUp())) {
    try {
      writeFileSync(guard.path, JSON.stringify({ work: work - 1, kind: Atomics.load(words, 1) }));
    } catch {}
    process.kill(process.pid, "SIGKILL");
  }
}, ${INTERVAL_MS});
`;

/** What the main thread was at when its time was over. */
export interface Stuck {
  work: number;
  kind: number;
}

/** Where the watchdog that is given `path` looks whether a piece of work that has a patience of its own is given up: see hallelu/give-up.ts. */
export function givenUpFile(path: string, work: number | ""): string {
  return `${path}-left-${work}`;
}

export class Watchdog {
  private readonly words = new Int32Array(new SharedArrayBuffer(16));
  private readonly worker: Worker;

  /** The thread costs some 4 MB, and does not keep the process alive. */
  constructor() {
    this.worker = new Worker(SOURCE, {
      eval: true,
      stdout: false,
      workerData: this.words,
      resourceLimits: { maxOldGenerationSizeMb: 16 },
    });
    this.worker.unref();
  }

  /** From now on a piece of work may take `patienceMs`; then it is written to `path` (see Stuck), and the process killed. */
  guard(patienceMs: number, path: string): void {
    this.worker.postMessage({ patienceMs, path, givenUp: givenUpFile(path, "") });
  }

  /** A piece of work begins, which may take `patienceMs` if that is less than others may. */
  enter(work: number, kind: number, patienceMs = 0): void {
    Atomics.store(this.words, 1, kind);
    Atomics.store(this.words, 3, patienceMs);
    Atomics.add(this.words, 2, 1);
    Atomics.store(this.words, 0, work + 1);
  }

  /** It is over. */
  leave(): void {
    Atomics.store(this.words, 0, 0);
  }
}

/** Ends this process with its parent. Call once, early. */
export function exitWithParent(): Watchdog {
  return new Watchdog();
}
