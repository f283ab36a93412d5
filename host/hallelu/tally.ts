/**
 * What has to be known of all frames of a stream, also of those that were trimmed from its log: the last number of each
 * producer, how many frames each source has, and how far another stream's output was taken in. The log keeps it
 * (store/log.ts).
 */
import { PRODUCERS_MAX } from "../core/limits.ts";
import type { Digest } from "../store/log.ts";
import { isCount } from "../store/sealed.ts";

/** The last body of a producer that is logged. */
export interface LoggedBody {
  sequence: number;
  frame: number;
}

/** Heads of entries, as far as they matter here. */
interface Head {
  producers?: [producer: string, sequence: number][];
  rows?: number;
}

interface Saved {
  producers: [producer: string, sequence: number, frame: number][];
  frames: [source: number, count: number][];
  rows: [source: number, next: number][];
}

export class Tally implements Digest {
  /** The one heard of last is at the end. */
  private producers = new Map<string, LoggedBody>();
  private frames = new Map<number, number>();
  private rows = new Map<number, number>();

  lastOf(producer: string): LoggedBody | undefined {
    return this.producers.get(producer);
  }

  /** Frames of a source that were logged. */
  framesOf(source: number): number {
    return this.frames.get(source) ?? 0;
  }

  /** The row behind the last one that was taken in from another stream; undefined if there is none. */
  nextRowOf(source: number): number | undefined {
    return this.rows.get(source);
  }

  add(frame: number, source: number, head: Buffer | undefined): void {
    this.frames.set(source, this.framesOf(source) + 1);
    if (!head) return;
    const { producers = [], rows } = JSON.parse(head.toString()) as Head;
    for (const [producer, sequence] of producers) this.logged(producer, sequence, frame);
    if (rows !== undefined) this.rows.set(source, rows);
  }

  private logged(producer: string, sequence: number, frame: number): void {
    this.producers.delete(producer); // the one heard of last is the last to be forgotten
    this.producers.set(producer, { sequence, frame });
    if (this.producers.size > PRODUCERS_MAX) this.producers.delete(this.producers.keys().next().value!);
  }

  save(): Buffer {
    const producers = [...this.producers].map(
      ([producer, { sequence, frame }]): Saved["producers"][number] => [producer, sequence, frame],
    );
    const saved: Saved = { producers, frames: [...this.frames], rows: [...this.rows] };
    return Buffer.from(JSON.stringify(saved));
  }

  load(bytes: Buffer): void {
    const saved: unknown = JSON.parse(bytes.toString());
    if (!isSaved(saved)) throw new Error("it is no digest of a stream's log");
    const { producers, frames, rows } = saved;
    const known = new Map(producers.map(([producer, sequence, frame]) => [producer, { sequence, frame }]));
    [this.producers, this.frames, this.rows] = [known, new Map(frames), new Map(rows)];
  }
}

function isSaved(value: unknown): value is Saved {
  const { producers, frames, rows } = (value ?? {}) as Partial<Record<keyof Saved, unknown>>;
  const isList = (list: unknown, isKey: (key: unknown) => boolean, length: number) =>
    Array.isArray(list) &&
    list.every(
      (each) =>
        Array.isArray(each) && each.length === length && isKey(each[0]) && each.slice(1).every(isCount),
    );
  return (
    isList(producers, (name) => typeof name === "string", 3) &&
    isList(frames, isCount, 2) &&
    isList(rows, isCount, 2)
  );
}
