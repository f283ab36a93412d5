/** Frames that stop the kernel: tried once more, then set aside, for the partitions in which they do. */

export interface DeadLetter {
  frame: number;
  /** Partitions for which it counts as empty. */
  from: number;
  to: number;
  message: string;
  /** Version of the kernel that it stopped. */
  version: number;
}

export class DeadLetters {
  private readonly letters: DeadLetter[];
  /** How often each frame failed that is not set aside. */
  private readonly failures = new Map<number, number>();
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

  /** A frame stopped the kernel; whether it is set aside now. */
  failed(frame: number, [from, to]: [number, number], message: string): boolean {
    if (this.of(frame).some(([a, b]) => a <= from && b >= to)) return false;
    const times = (this.failures.get(frame) ?? 0) + 1;
    this.failures.set(frame, times);
    if (times < 2) return false;
    this.failures.delete(frame);
    this.letters.push({ frame, from, to, message, version: this.version });
    return true;
  }

  /** One of these frames did not end: each is tried by itself, and set aside if it fails once more. */
  suspect(frames: number[]): void {
    for (const frame of frames) this.failures.set(frame, Math.max(1, this.failures.get(frame) ?? 0));
  }

  isSuspect(frame: number): boolean {
    return this.failures.has(frame);
  }

  /** A frame was mapped. */
  passed(frame: number): void {
    this.failures.delete(frame);
  }

  /** Partitions [from, to) in which a frame counts as empty. */
  of(frame: number): [number, number][] {
    return this.letters.filter((letter) => letter.frame === frame).map(({ from, to }) => [from, to]);
  }
}
