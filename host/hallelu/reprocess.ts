/**
 * Another kernel over the records that a stream has had: blue and green. Green is a stream of its own that shares the log of blue and lies in
 * its folder, with Jahs, shards and checkpoints of its own; nobody can address it, and nothing of it is put out. It never passes
 * blue. When it has caught up, both are held at one frame, the *cut*: blue has applied and put out all below it, green has applied
 * all below it, and nobody was given it. One write of the registry makes green's state, version and shards the stream's; from there on
 * green answers, takes in records and puts rows out, and blue's Jahs go.
 *
 * Whoever is killed before that write finds blue, and green where its last checkpoint is; after it, green, which applies what its last
 * checkpoint lacks from the log, and puts out nothing below the cut.
 */
import { basename } from "node:path";
import { messageOf } from "../core/errors.ts";
import { PARTITIONS } from "./dispatch.ts";
import { NEVER, type StreamRecord } from "./record.ts";
import type { Stream } from "./stream.ts";

/** Backlog of green at which the cut is tried, bytes, and the time that it takes, s: blue waits for it. */
const NEAR_BYTES = 4 << 20;
const NEAR_SECONDS = 0.5;
/** How long both may take to come to the cut, and the pause after one that did not come about, ms. */
const PATIENCE_MS = 2_000;
const RETRY_MS = 500;
/** The pause where the registry could not be written, ms. */
const FAILED_RETRY_MS = 5_000;

/**
 * Time without work after which blue gives its CPU to green, ms: as soon as any other stream could take it (ledger.ts). It doubles
 * whenever blue was needed again, as to wake it means to read its state.
 */
const LEND_AFTER_MS = 250;
/** Backlog of green from which on that is worth it, s. */
const WORTH_SECONDS = 1;

/** What is decided by. */
export interface ReprocessFacts {
  /** Why green cannot go on. */
  error: string | undefined;
  /** Whether blue does not go on in this process. */
  isBlueOver: boolean;
  /** Whether all of green's shards work, and what it has to do yet up to blue. */
  isReady: boolean;
  backlogBytes: number;
  backlogSeconds: number;
  /** Whether a cut is under way, or none may be for now. */
  isBusy: boolean;
}

/** What to do now. Pure. */
export function decideReprocess(facts: ReprocessFacts): "go-on" | "cut" | "give-up" {
  if (facts.error !== undefined) return "give-up";
  const mayCut = !facts.isBusy && !facts.isBlueOver && facts.isReady;
  const isNear = facts.backlogBytes <= NEAR_BYTES && facts.backlogSeconds <= NEAR_SECONDS;
  return mayCut && isNear ? "cut" : "go-on";
}

/** The record of a new reprocess of `blue`, whose folder has the module. */
export function reprocessOf(
  blue: StreamRecord,
  kernel: { version: number; path: string; sum: number; file: string },
  { begin, open, max, isSameTime }: { begin: number; open: number[]; max: number; isSameTime: boolean },
): StreamRecord {
  const { version, path, sum, file } = kernel;
  const module = basename(path);
  return {
    name: `${blue.name}/reprocess`, // no name of a stream
    version,
    kernel: path,
    file,
    versions: [{ version, from: begin, module, file, at: new Date().toISOString(), how: "reprocessed" }],
    moduleSums: { [module]: sum },
    min: 0,
    max,
    ...(blue.shards === undefined ? {} : { shards: blue.shards }),
    paused: blue.paused || blue.max === 0,
    strict: true,
    retain: blue.retain,
    source: [],
    from: blue.name,
    shares: true,
    begin,
    ...(open.length ? { open } : {}),
    ...(isSameTime && blue.unnamedTime !== false ? {} : { unnamedTime: false as const }),
    cut: NEVER,
    sink: [],
    sources: blue.sources,
    dead: [],
    stored: [{ folder: folderOf(version), from: 0, to: PARTITIONS, start: 0 }],
    frame: begin,
    counts: { records: 0, bad: 0, late: 0 },
  };
}

/** Where a reprocess begins to keep its state: no Jah's number makes this name. */
export function folderOf(version: number): string {
  return `shard-v${version}`;
}

/** The record of the stream once green has taken over at frame `cut`: what is kept and done is green's, what its user wants is blue's. */
export function succeeded(blue: StreamRecord, green: StreamRecord, cut: number): StreamRecord {
  const { version, kernel, file, stored, frame, counts, dead, begin, open, unnamedTime, clocks, nextClose } =
    green;
  const { reprocess: _, dropped = [], open: _1, unnamedTime: _2, clocks: _3, nextClose: _4, ...rest } = blue;
  return {
    ...rest,
    version,
    kernel,
    file,
    versions: [...(blue.versions ?? []), ...(green.versions ?? [])],
    moduleSums: { ...blue.moduleSums, ...green.moduleSums },
    stored,
    frame,
    counts,
    dead,
    ...(clocks ? { clocks } : {}),
    ...(nextClose === undefined ? {} : { nextClose }),
    ...(begin ? { begin } : {}),
    ...(open ? { open } : {}),
    ...(unnamedTime === undefined ? {} : { unnamedTime }),
    cut,
    dropped: [
      ...dropped,
      ...blue.stored.map(({ folder }) => folder),
      ...blue.dead.map((letter) => `dead/${letter.frame}`),
    ],
  };
}

export interface ReprocessParts {
  blue: Stream;
  /** Writes the registry, and has green take blue's place. Rejects if it cannot be written: nothing has changed then. */
  commit: (cut: number) => Promise<void>;
  /** Green cannot go on, for a reason. */
  giveUp: (reason: string) => void;
  /** Whether no cut may be for now. */
  isBusy: () => boolean;
}

/** One that is under way. */
export class Reprocess {
  readonly green: Stream;
  private readonly parts: ReprocessParts;
  /** Settles when no cut is under way. */
  settled: Promise<unknown> = Promise.resolve();
  /** Whether green has taken blue's place, or the reprocess was ended. */
  private isOver = false;
  private isCutting = false;
  private retryAt = 0;
  /** Time without work after which blue parks by itself, and after which it does so for green, ms. */
  private readonly parkAfterMs: number;
  private lendAfterMs = LEND_AFTER_MS;
  /** Whether blue is parked. */
  private hasLent = false;
  /** Green gets the frames below this, while a cut is under way. */
  private cutAt: number | undefined;

  /** `open` makes green, which gets the frames below what `until` says. */
  constructor(parts: ReprocessParts, open: (until: () => number) => Stream) {
    this.parts = parts;
    this.parkAfterMs = parts.blue.parkAfterMs;
    this.green = open(() => this.cutAt ?? parts.blue.lowest);
    this.lend();
  }

  /** Ten times a second. */
  tick(now: number): void {
    if (this.isOver) return;
    const { green, parts } = this;
    const { backlogBytes, shards, rates } = green;
    const error = green.error ?? shards.unavailable[0]?.reason;
    green.follow();
    green.tick(now);
    this.lend();
    const next = decideReprocess({
      error,
      isBlueOver: parts.blue.error !== undefined,
      isReady: shards.areReady,
      backlogBytes,
      backlogSeconds: rates.secondsFor(backlogBytes),
      isBusy: this.isCutting || now < this.retryAt || parts.isBusy(),
    });
    if (next === "give-up") parts.giveUp(error!);
    if (next !== "cut") return;
    this.isCutting = true;
    this.settled = this.cut()
      .then(
        (isDone) => {
          this.isOver ||= isDone;
          this.retryAt = performance.now() + RETRY_MS;
        },
        (cause: unknown) => {
          parts.blue.note("warn", `the reprocess does not take over yet: ${messageOf(cause)}`);
          this.retryAt = performance.now() + FAILED_RETRY_MS;
        },
      )
      .finally(() => {
        this.isCutting = false;
      });
  }

  /** Where green lacks a CPU, blue need not keep one for nothing. */
  private lend(): void {
    const { green, parts, hasLent } = this;
    const { blue } = parts;
    this.hasLent = blue.isResting;
    if (hasLent && !this.hasLent) this.lendAfterMs *= 2;
    const isWorthIt = green.rates.secondsFor(green.backlogBytes) >= WORTH_SECONDS;
    const lacksCpu = green.freeCpus === 0 && green.jahs.size < green.record.max;
    blue.parkAfterMs =
      isWorthIt && lacksCpu ? Math.min(this.lendAfterMs, this.parkAfterMs) : this.parkAfterMs;
  }

  /** Both come to one frame, and green takes over; whether that came about. */
  private async cut(): Promise<boolean> {
    const { green, parts } = this;
    const { blue, commit } = parts;
    const release = await blue.turn();
    const goOn = blue.drain.holdFresh();
    try {
      const frame = this.isOver ? undefined : await blue.drain.boundary(PATIENCE_MS);
      // Green may have frames of a time when blue was further.
      if (frame === undefined || frame < green.dispatch.head) return false;
      this.cutAt = frame;
      green.follow();
      if (!(await green.progress.reaches(frame, PATIENCE_MS))) return false;
      if (this.isOver || green.error !== undefined || blue.error !== undefined) return false;
      await commit(frame);
      return true;
    } finally {
      this.cutAt = undefined;
      goOn();
      release();
    }
  }

  /** It does not go on in this process. Answers whether green has taken over meanwhile. */
  private async end(how: (green: Stream) => Promise<void>): Promise<boolean> {
    const wasOver = this.isOver;
    this.isOver = true;
    this.parts.blue.parkAfterMs = this.parkAfterMs;
    await this.settled;
    const hasSucceeded = wasOver || this.green.name === this.parts.blue.name;
    if (!hasSucceeded) await how(this.green);
    return hasSucceeded;
  }

  /** Parks green, which the next process goes on with. */
  close(): Promise<boolean> {
    return this.end((green) => green.close());
  }

  /** Ends it for good. Answers whether that came too late. */
  remove(): Promise<boolean> {
    return this.end((green) => green.remove());
  }
}
