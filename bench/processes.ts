import { readdirSync, readFileSync } from "node:fs";

/** Peaks move slowly, so this misses little: at most what a Jah takes in its last 20 ms. */
const SAMPLE_INTERVAL_MS = 20;

export interface Peak {
  pid: number;
  /** Its command line, words separated by blanks. */
  command: string;
  /**
   * The greatest resident size it ever had, by its own VmHWM: shared pages such as Node's code are counted
   * in.
   */
  rssMb: number;
}

/** Looks at a process and all that descend from it until stopped. Linux only: it reads /proc. */
export class PeakSampler {
  readonly #root: number;
  readonly #peaks = new Map<number, Peak>();
  readonly #timer: NodeJS.Timeout;

  constructor(root: number) {
    this.#root = root;
    this.#timer = setInterval(() => this.#sample(), SAMPLE_INTERVAL_MS);
  }

  /** Ends the sampling and returns the peaks of all processes seen below the root. */
  stop(): Peak[] {
    clearInterval(this.#timer);
    return [...this.#peaks.values()];
  }

  #sample(): void {
    const parents = new Map<number, number>();
    for (const entry of readdirSync("/proc")) {
      const parent = /^\d+$/.test(entry) && /^PPid:\s+(\d+)/m.exec(readOrEmpty(`/proc/${entry}/status`));
      if (parent) parents.set(Number(entry), Number(parent[1]));
    }
    for (const pid of parents.keys()) if (this.#descends(pid, parents)) this.#look(pid);
  }

  /**
   * Between fork and exec a child shows its parent's command and peak. The command is read first, so that a
   * peak is never taken for that of a later command; a peak of an earlier command is replaced.
   */
  #look(pid: number): void {
    const command = readOrEmpty(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
    const peak = /^VmHWM:\s+(\d+) kB/m.exec(readOrEmpty(`/proc/${pid}/status`)); // a zombie has none
    if (command === "" || peak === null) return;
    this.#peaks.set(pid, { pid, command, rssMb: (Number(peak[1]) * 1024) / 1e6 });
  }

  #descends(pid: number, parents: Map<number, number>): boolean {
    for (let at = parents.get(pid); at !== undefined; at = parents.get(at))
      if (at === this.#root) return true;
    return false;
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // the process ended meanwhile
  }
}
