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

/** So often a frame may stop the kernel where it went well once, before its stream is given up. */
const TRIES_MAX = 5;

/** What comes of a frame that stopped the kernel. */
export type Verdict = "again" | "aside" | "hopeless";

export class DeadLetters {
  /** Those that the registry has: they hold. */
  private letters: DeadLetter[];
  /** Those that are decided, and do not hold yet. */
  private readonly pending = new Set<DeadLetter>();
  /** Those of them whose records are kept, so that the registry may be told. */
  private readonly told = new Set<DeadLetter>();
  /** How often each frame has stopped the kernel, by stage and place. */
  private readonly failures = new Map<string, { frame: number; times: number }>();
  private readonly versionOf: (frame: number) => number;

  /** `versionOf` tells to which version of the kernel a frame belongs. */
  constructor(letters: DeadLetter[], versionOf: (frame: number) => number) {
    this.letters = [...letters];
    this.versionOf = versionOf;
  }

  /** Those that the registry is to know of. */
  get all(): DeadLetter[] {
    return [...this.letters, ...this.told];
  }

  /** Those that users see: frames that were set aside, and that nobody retried or dropped. */
  get open(): DeadLetter[] {
    return this.letters.filter(({ done }) => done === undefined);
  }

  /** Of no frame from here on anything is decided: what is, was decided of the version that the frame belongs to. */
  get decidedBelow(): number {
    return [...this.letters, ...this.pending].reduce((below, { frame }) => Math.max(below, frame + 1), 0);
  }

  /** How many frames these are. */
  get count(): number {
    return new Set(this.open.map(({ frame }) => frame)).size;
  }

  /**
   * A frame stopped the kernel, in the shard whose first partition is `from`: the first time it is tried again, then set aside. Where it
   * went well once (`before`) it must not be set aside, as that may be in an answer: it is tried some times more.
   */
  failed({ frame, stage }: Pick<Stop, "frame" | "stage">, from: number, before: boolean): Verdict {
    const failure = `${stage} ${frame} ${from}`;
    const times = (this.failures.get(failure)?.times ?? 0) + 1;
    this.failures.set(failure, { frame, times });
    if (before) return times < TRIES_MAX ? "again" : "hopeless";
    if (times < 2) return "again";
    this.failures.delete(failure);
    return "aside";
  }

  /** Whether it is decided that a frame does not count for a partition. */
  isDecided({ frame, stage }: Pick<Stop, "frame" | "stage">, partition: number): boolean {
    const isHere = ({ from, to }: DeadLetter) => from <= partition && partition < to;
    return [...this.letters, ...this.pending].some(
      (letter) => letter.frame === frame && letter.stage === stage && isHere(letter),
    );
  }

  /** The frame is to count as empty there, from when the letter is `kept`; nobody may be given it until then. */
  setAside(stop: Stop, bytes: number): DeadLetter {
    const letter = { ...stop, version: this.versionOf(stop.frame), bytes, sum: 0, source: 0 };
    this.pending.add(letter);
    return letter;
  }

  /** Its records are kept: the registry is to be told. */
  tell(letter: DeadLetter, body: Pick<DeadLetter, "sum" | "source">): void {
    Object.assign(letter, body);
    this.told.add(letter);
  }

  /** The registry has it: it holds. */
  kept(letter: DeadLetter): void {
    this.pending.delete(letter);
    this.told.delete(letter);
    this.letters.push(letter);
  }

  /** Whether anything of a frame is decided that does not hold yet. */
  isPending(frame: number): boolean {
    return [...this.pending].some((letter) => letter.frame === frame);
  }

  /** What was set aside of a frame, unless it was retried or dropped. */
  openOf(frame: number): DeadLetter[] {
    return this.open.filter((letter) => letter.frame === frame);
  }

  /** Forgets those that are done with, of frames that will not be replayed. */
  forgetBelow(frame: number): void {
    for (const [failure, { frame: of }] of this.failures) if (of < frame) this.failures.delete(failure);
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

/**
 * The partitions that lack a frame with these letters; undefined if that is all of it, as nobody mapped it. `counted` are those for which
 * it was to count, if it came again itself.
 */
export function lacking(
  letters: DeadLetter[],
  counted: [from: number, to: number][] | undefined,
): [from: number, to: number][] | undefined {
  if (letters.some(({ stage }) => stage === "map")) return counted;
  const isIn = (ranges: Iterable<[number, number]>, p: number) =>
    [...ranges].some(([from, to]) => from <= p && p < to);
  const aside = letters.map(({ from, to }): [number, number] => [from, to]);
  return rangesOf(0, PARTITIONS, (p) => isIn(aside, p) && isIn(counted ?? [[0, PARTITIONS]], p));
}

/** The partitions in [from, to) for which something holds, in ranges. */
export function rangesOf(
  from: number,
  to: number,
  holds: (partition: number) => boolean,
): [from: number, to: number][] {
  const ranges: [number, number][] = [];
  for (let p = from; p < to; p++) {
    if (!holds(p)) continue;
    const last = ranges.at(-1);
    if (last?.[1] === p) last[1]++;
    else ranges.push([p, p + 1]);
  }
  return ranges;
}
