/** Frames that stop the kernel: tried once more, then set aside, for the partitions in which they do. */
import { PARTITIONS } from "./dispatch.ts";

/** While its records were mapped, or while it was applied by an owner (`fold`, `close`). */
export type Stage = "map" | "apply";

/** What stopped the kernel, and where. */
export interface Stop {
  frame: number;
  /** Partitions for which it counts as empty. */
  from: number;
  to: number;
  stage: Stage;
  message: string;
}

export interface DeadLetter extends Stop {
  /** Version of the kernel that it stopped. */
  version: number;
  /** Bytes of the frame's records, which are kept in a file (dead-bodies.ts), and their CRC-32; none if they lie elsewhere. */
  bytes: number;
  sum: number;
  /** The number of its source, as the log has it. */
  source: number;
  /** What its user did with it: logged its records again, as this frame, or dropped them. It stays set aside. */
  done?: { retried: number } | "dropped";
}

export class DeadLetters {
  private letters: DeadLetter[];
  /** Those whose records are not kept yet. */
  private readonly fresh = new Set<DeadLetter>();
  /** Frames that failed once. */
  private readonly failures = new Set<string>();
  private readonly versionOf: (frame: number) => number;

  /** `versionOf` tells to which version of the kernel a frame belongs. */
  constructor(letters: DeadLetter[], versionOf: (frame: number) => number) {
    this.letters = [...letters];
    this.versionOf = versionOf;
  }

  /** Those that the registry may know of. */
  get all(): DeadLetter[] {
    return this.letters.filter((letter) => !this.fresh.has(letter));
  }

  /** Those that users see: frames that were set aside, and that nobody retried or dropped. */
  get open(): DeadLetter[] {
    return this.letters.filter(({ done }) => done === undefined);
  }

  /** How many frames these are. */
  get count(): number {
    return new Set(this.open.map(({ frame }) => frame)).size;
  }

  /** A frame stopped the kernel; whether it did so before, so that it is not tried again. */
  failed({ frame, stage, from, to }: Stop): boolean {
    const known = this.letters.some(
      (letter) => letter.frame === frame && letter.stage === stage && letter.from <= from && letter.to >= to,
    );
    if (known) return false;
    const failure = `${stage} ${frame}`;
    if (this.failures.delete(failure)) return true;
    this.failures.add(failure);
    return false;
  }

  /** The frame counts as empty there from now on; its letter is known to the registry when it is `kept`. */
  setAside(stop: Stop, bytes: number): DeadLetter {
    const letter = { ...stop, version: this.versionOf(stop.frame), bytes, sum: 0, source: 0 };
    this.letters.push(letter);
    this.fresh.add(letter);
    return letter;
  }

  kept(letter: DeadLetter, body: Pick<DeadLetter, "sum" | "source">): void {
    Object.assign(letter, body);
    this.fresh.delete(letter);
  }

  /** What was set aside of a frame, unless it was retried or dropped. */
  openOf(frame: number): DeadLetter[] {
    return this.open.filter((letter) => letter.frame === frame);
  }

  /** Forgets those that are done with, of frames that will not be replayed. */
  forgetBelow(frame: number): void {
    this.letters = this.letters.filter((letter) => letter.frame >= frame || letter.done === undefined);
  }

  /** Whether nothing of a frame counts, as it stopped the kernel while it was mapped. */
  isSkipped(frame: number): boolean {
    return this.letters.some((letter) => letter.frame === frame && letter.stage === "map");
  }

  /** Partitions [from, to) whose owner a frame stopped. */
  voidsOf(frame: number): [number, number][] {
    return this.letters
      .filter((letter) => letter.frame === frame && letter.stage === "apply")
      .map(({ from, to }) => [from, to]);
  }
}

/** Whether letters of one frame set it aside as a whole. */
export function isWhole(letters: DeadLetter[]): boolean {
  let next = 0;
  for (const { from, to } of letters.toSorted((a, b) => a.from - b.from))
    if (from <= next) next = Math.max(next, to);
  return next === PARTITIONS;
}
