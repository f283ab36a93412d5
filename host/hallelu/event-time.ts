/**
 * Event time of a live stream, for the one thing that the Hallelu has to do with it: when no records come, time passes
 * all the same, and windows must close. Pure. Each way by which records come is a clock (assembly/clock.ts): all pushes are
 * one, each file of `--source` is one, and so is another stream. While a clock's records are missing it is taken to go on
 * with the wall clock from its last one; where that closes a window, the Hallelu logs a frame that says so, so that
 * replay needs no clock.
 */
import { CLOCKS_MAX } from "../kernel/memory-map.ts";
import type { StreamSource } from "./shapes.ts";

/** The first clocks; there are CLOCKS_MAX, of which files beyond share the last. */
export const PUSHES = 0;
const STREAM = 1;
const FILES = 2;
/** Time without records after which a clock is taken to go on by itself, ms. */
export const IDLE_MS = 1_000;

/** What a frame without records says; kept as the head of its log entry. */
export interface TimeHead {
  clock: number;
  /** ms; `open`: it is waited for from now on; `end`: no more records will come. */
  time: number | "open" | "end";
  /** What is no fact but taken to be so, as no records came, is in terms of this field of the records. */
  field?: string;
  /** Who took it to be so, if it shares the log of another stream. */
  of?: string;
}

/** A stream that reads the frames of a log. */
export interface TimeReader {
  /** What its kernel takes the event time from. */
  field: string | undefined;
  /** Its mark, if it shares the log of another stream; a reprocess reads for the stream that it is of. */
  of: string | undefined;
  /** Whether what older logs say without a field is in terms of its own. */
  takesUnnamed: boolean;
}

/**
 * Whether what a frame says counts for a stream. Facts count for all who read the log. What was taken to be so counts for who took it, so
 * that no stream's results depend on others that share its log; and for a reprocess of it, if that goes by the same field: the same windows
 * close at the same frames.
 */
export function countsFor(reader: TimeReader, { time, field, of }: TimeHead): boolean {
  if (time === "open" || (time === "end" && field === undefined)) return true;
  return of === reader.of && (field === undefined ? reader.takesUnnamed : field === reader.field);
}

interface Clock {
  /** Greatest event time, ms; -Infinity while there is none. */
  time: number;
  /** What was last said of it in the log; Infinity: it says nothing of event time, and is not waited for until it does. */
  told: number;
  /** When its last record came, by the wall clock, ms. */
  at: number;
  ended: boolean;
}

export type SavedClocks = [clock: number, time: number | null, at: number, ended: boolean][];

export class EventTime {
  private readonly clocks = new Map<number, Clock>();
  private readonly numbers: number[] = [];
  private filesSeen = 0;
  /** Files that there are, as far as is known. */
  files = 0;

  constructor(saved: SavedClocks = []) {
    this.restore(saved);
  }

  /** Takes in what was saved of clocks, where that is more than is known. */
  restore(saved: SavedClocks): void {
    for (const [clock, saidTime, at, ended] of saved) {
      const time = saidTime ?? -Infinity;
      const known = this.clocks.get(clock);
      if (!known) this.clocks.set(clock, { time, told: time, at, ended });
      else if (known.time < time) Object.assign(known, { time, told: Math.max(known.told, time) });
    }
  }

  /** The clocks of so many files. */
  clocksOfFiles(files: number): number[] {
    return [...new Set(Array.from({ length: files }, (_, file) => this.clockOfFile(file)))];
  }

  /** The clocks of files that have not ended, whether any of their records has come or not. */
  get openFiles(): number[] {
    return this.clocksOfFiles(this.files).filter((clock) => !this.hasEnded(clock));
  }

  /** The clocks that have ended. */
  get endedOnes(): number[] {
    return [...this.clocks].filter(([, { ended }]) => ended).map(([clock]) => clock);
  }

  /** What another that begins with the same log knows of its clocks at first: when their last records came. */
  get seen(): SavedClocks {
    return [...this.clocks].map(([number, { at }]) => [number, null, at, false]);
  }

  /** For the registry. */
  get saved(): SavedClocks {
    return [...this.clocks].map(([number, { time, at, ended }]) => [
      number,
      Number.isFinite(time) ? time : null,
      at,
      ended,
    ]);
  }

  /** The clock of a source, by the number it has in the log: 0 for all pushes, 1 for another stream, then one a file. */
  clockOf(sources: StreamSource[], source: number): number {
    while (this.numbers.length <= source) {
      const { origin, again } = sources[this.numbers.length];
      if (origin === "source") this.numbers.push(this.clockOfFile(this.filesSeen++));
      else if (again) this.numbers.push(this.numbers[again.of]);
      else this.numbers.push(origin === "push" ? PUSHES : STREAM);
    }
    return this.numbers[source];
  }

  /** The clock of a file of `--source`. */
  clockOfFile(file: number): number {
    this.files = Math.max(this.files, file + 1);
    return Math.min(FILES + file, CLOCKS_MAX - 1);
  }

  /** Whether files share this clock, so that it stands still until all of them have ended. */
  isShared(clock: number): boolean {
    return clock === CLOCKS_MAX - 1 && this.files > CLOCKS_MAX - FILES;
  }

  isKnown(clock: number): boolean {
    return this.clocks.has(clock);
  }

  /** Records came. */
  came(clock: number, now: number): void {
    this.goesOn(clock, now);
    this.of(clock, now).at = now;
  }

  /** Records came before this process, nobody knows when: what the log said before of the clock's end is over. */
  goesOn(clock: number, now: number): void {
    const known = this.of(clock, now);
    known.ended = false;
    if (known.told === Infinity) known.told = known.time;
  }

  /** A frame was mapped, whose greatest event time is `time`. */
  mapped(clock: number, time: number): void {
    const known = this.clocks.get(clock);
    if (known && Number.isFinite(time)) known.time = Math.max(known.time, time);
  }

  /** A frame that only says how time passes was logged, which counts here. */
  logged({ clock, time, field }: TimeHead, now: number): void {
    const known = this.of(clock, now);
    if (time === "end" && field === undefined) known.ended = true;
    else if (time === "end") known.told = Infinity;
    else if (time !== "open") known.told = Math.max(known.told, time);
  }

  hasEnded(clock: number): boolean {
    return this.clocks.get(clock)?.ended ?? false;
  }

  /**
   * What has to be logged now, so that a window or session that is over at `nextClose` (event time by which all clocks must
   * have passed it, ms) closes. Nothing while records come.
   */
  due(nextClose: number, now: number): TimeHead[] {
    if (!Number.isFinite(nextClose)) return [];
    const open = [...this.clocks].filter(([, { ended, told }]) => !ended && told !== Infinity);
    const idle = open.every(([, { at }]) => now - at >= IDLE_MS);
    // Whoever never had a record with a time says nothing of it, and is not waited for.
    const telling = open.filter(([, { time }]) => Number.isFinite(time));
    if (!idle || !telling.length) return [];
    const estimate = ({ time, at }: Clock) => time + (now - at);
    if (telling.some(([, clock]) => estimate(clock) < nextClose)) return [];
    const silent = open
      .filter(([, { time }]) => !Number.isFinite(time))
      .map(([clock]): TimeHead => ({ clock, time: "end" }));
    const passed = telling
      .filter(([, clock]) => Math.max(clock.time, clock.told) < nextClose)
      .map(([number, clock]): TimeHead => ({ clock: number, time: Math.floor(estimate(clock)) }));
    return [...silent, ...passed];
  }

  private of(clock: number, now: number): Clock {
    let known = this.clocks.get(clock);
    if (!known) this.clocks.set(clock, (known = { time: -Infinity, told: -Infinity, at: now, ended: false }));
    return known;
  }
}
