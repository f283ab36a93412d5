/** The kernels that streams of a simulated host are swapped to, as far as they stop: which do, and where, follows from the seed. */
import { join } from "node:path";
import { PARTITIONS } from "../../host/hallelu/dispatch.ts";
import type { Poison } from "./jah.ts";

/**
 * - `sound`: it stops nowhere.
 * - `misfit`: it stops as soon as it is to take a state over.
 * - `mapping`, `applying`: it stops at one frame, while that is mapped, or in one partition; mostly of its trial.
 */
type Temper = "sound" | "misfit" | "mapping" | "applying";

const TEMPERS: Temper[] = ["sound", "sound", "sound", "misfit", "mapping", "applying"];
/** Which of its frames stops a kernel: one of so many. */
const STOPS_BEFORE = 40;

export class SimulatedKernels {
  private readonly seed: number;
  private count = 0;
  /** What the files of modules hold, by their paths: those of others are called as the kernel in them. */
  private readonly files = new Map<string, string>();

  constructor(seed: number) {
    this.seed = seed;
  }

  /** The name of a module that is new. */
  next(): string {
    return `kernel-${++this.count}`;
  }

  /** The same, of one whose author has seen which frames stop the others. */
  nextMended(): string {
    return `mended-kernel-${++this.count}`;
  }

  /** Another file has the kernel in it. */
  keep(path: string, module: string): void {
    this.files.set(path, module);
  }

  /** The kernel in a file of a folder. */
  inFile(folder: string, module: string): string {
    return this.files.get(join(folder, module)) ?? module;
  }

  isMended(module: string): boolean {
    return module.startsWith("mended");
  }

  describe(module: string): Temper {
    const number = numberOf(module);
    const temper = number ? TEMPERS[(number * 7 + this.seed * 5) % TEMPERS.length] : "sound";
    return temper === "misfit" && this.isMended(module) ? "sound" : temper; // it takes no state over
  }

  stopsAtOnce(module: string): boolean {
    return this.describe(module) === "misfit";
  }

  /** Of the frames that belong to it, the first is 0. */
  poison(module: string, frame: number): Poison {
    const temper = this.describe(module);
    const stops = (numberOf(module) * 31 + this.seed) % STOPS_BEFORE === frame;
    if (!stops || temper === "sound" || temper === "misfit") return undefined;
    return temper === "mapping" ? "map" : (frame * 37) % PARTITIONS;
  }
}

/** 0 of the one that a stream was deployed with. */
export function numberOf(module: string): number {
  return Number(/\d+$/.exec(module)?.[0] ?? 0);
}
