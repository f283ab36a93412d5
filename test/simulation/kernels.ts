/** The kernels that streams of a simulated host are swapped to, as far as they stop: which do, and where, follows from the seed. */
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

  constructor(seed: number) {
    this.seed = seed;
  }

  /** The name of a module that is new. */
  next(): string {
    return `kernel-${++this.count}`;
  }

  describe(module: string): Temper {
    const number = numberOf(module);
    return number ? TEMPERS[(number * 7 + this.seed * 5) % TEMPERS.length] : "sound";
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
function numberOf(module: string): number {
  return Number(/\d+$/.exec(module)?.[0] ?? 0);
}
