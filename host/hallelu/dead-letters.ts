/** Frames that stop the kernel: tried once more, then set aside, for the partitions in which they do. */

/** While its records were mapped, or while it was applied by an owner (`fold`, `close`). */
export type Stage = "map" | "apply";

export interface DeadLetter {
  frame: number;
  /** Partitions for which it counts as empty. */
  from: number;
  to: number;
  stage: Stage;
  message: string;
  /** Version of the kernel that it stopped. */
  version: number;
}

export class DeadLetters {
  private readonly letters: DeadLetter[];
  /** Frames that failed once. */
  private readonly failures = new Set<string>();
  private readonly version: number;

  constructor(letters: DeadLetter[], version: number) {
    this.letters = [...letters];
    this.version = version;
  }

  get all(): DeadLetter[] {
    return [...this.letters];
  }

  /** Frames that were set aside. */
  get count(): number {
    return new Set(this.letters.map(({ frame }) => frame)).size;
  }

  /** A frame stopped the kernel in partitions [from, to); whether it is set aside now. */
  failed(frame: number, stage: Stage, [from, to]: [number, number], message: string): boolean {
    const known = this.letters.some(
      (letter) => letter.frame === frame && letter.stage === stage && letter.from <= from && letter.to >= to,
    );
    if (known) return false;
    const failure = `${stage} ${frame}`;
    if (!this.failures.delete(failure)) {
      this.failures.add(failure);
      return false;
    }
    this.letters.push({ frame, from, to, stage, message, version: this.version });
    return true;
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
