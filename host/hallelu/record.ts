/** What the registry keeps of a stream, and where its files lie. */
import { basename, join } from "node:path";
import { messageOf } from "../core/errors.ts";
import { untilDone } from "../core/promises.ts";
import { makeFolder } from "../store/durable.ts";
import { STREAM_NAME, type StreamChange } from "../wire/http.ts";
import type { SourceFormat } from "../wire/jah.ts";
import type { DeadLetter, DeadLetters } from "./dead-letters.ts";
import type { SavedClocks } from "./event-time.ts";
import type { StreamSource } from "./shapes.ts";

export interface StreamRecord {
  name: string;
  version: number;
  /** File of the kernel's module, and the name that its author gave it. */
  kernel: string;
  file: string;
  /** Its versions (versions.ts), ascending, of which the last ones are on trial; older records name the one alone. */
  versions?: VersionRecord[];
  trial?: number;
  /** CRC-32 of modules, by the names of their files; older records have none. */
  moduleSums?: Record<string, number>;
  min: number;
  max: number;
  paused: boolean;
  /** A frame that stops the kernel stops the stream, rather than that it is set aside. */
  strict?: boolean;
  /** How much of the log is kept (core/retain.ts). */
  retain: string;
  /** How many Jahs share the state, if the user wants a number. */
  shards?: number;
  /** Deploy options that are carried out elsewhere (feeding.ts). */
  source: string[];
  /** What `source` is, if its user said so. */
  inputFormat?: SourceFormat;
  from?: string;
  /** The records of `from` rather than its output: its log, from frame `begin` on. */
  shares?: boolean;
  begin?: number;
  /** Of one that shares records: marks what is logged of event time for it alone. */
  reader?: string;
  /** Frames of event time that name no field, as older versions logged them, do not count: they are of a kernel with another. */
  unnamedTime?: false;
  /** Clocks of event time that are waited for from `begin` on: what the log said of that may have been trimmed. */
  open?: number[];
  /**
   * A reprocess took over at this frame: those below count as they did for it (frames.ts), and their output is not put out. As long as
   * one is under way, its own record has NEVER here.
   */
  cut?: number;
  /** Folders of state from before it, which may be removed. */
  dropped?: string[];
  /** One that is under way (reprocess.ts): a stream that shares this one's log, whose `sources` are kept here alone. */
  reprocess?: StreamRecord;
  sink: string[];
  /** Inputs of `source` that were read to their end. */
  read?: number;
  sources: StreamSource[];
  dead: DeadLetter[];
  /** Which folders hold the state of which partitions: all 256, sorted. */
  stored: StoredShard[];
  /** Set when a shard became unavailable without which the output is not whole: there is no more of it. */
  outputEnded?: boolean;
  /** Frames below this are in all of them, as far as is known here, and `counts` is what was counted in those. */
  frame: number;
  counts: Counts;
  /** Event time as it stood then, and when the first window is over; null: none is open. */
  clocks?: SavedClocks;
  nextClose?: number | null;
}

/** A version, as the registry keeps it. */
export interface VersionRecord {
  version: number;
  /** The first frame that is its own. */
  from: number;
  /** Name of its module in the stream's folder, and that of its source. */
  module: string;
  file: string;
  /** When it came, ISO 8601, and how. */
  at: string;
  how: "deployed" | "swapped" | "went back" | "rolled back" | "reprocessed";
  /** The version that this is the same as. */
  sameAs?: number;
  /** Time for which a shard applied nothing as it took over, at most, ms. */
  pauseMs?: number;
  /** Why it was rolled back, or its reprocess given up: none of the frames are its own then. */
  error?: string;
}

export interface StoredShard {
  /** Its name in the stream's folder. */
  folder: string;
  /** Partitions [from, to). */
  from: number;
  to: number;
  /** The frame from which on the log alone would do for them: 0, or where they came from another folder. */
  start: number;
}

export interface Counts {
  records: number;
  bad: number;
  late: number;
}

/** A frame that no log reaches. */
export const NEVER = Number.MAX_SAFE_INTEGER;

interface RegistrationParts {
  save: (record: StreamRecord) => Promise<void>;
  note: (level: "error", message: string) => void;
}

/** A user's wishes; those that are not named stay, but the bounds keep their order. */
export function applyChange(record: StreamRecord, { min, max, shards, paused, retain }: StreamChange): void {
  if (shards !== undefined) record.shards = shards;
  if (max !== undefined) {
    record.max = max;
    // A stream that is stopped comes back with the least that it had.
    if (max > 0) record.min = Math.min(record.min, max);
  }
  if (min !== undefined) {
    record.min = min;
    record.max = Math.max(record.max, min);
  }
  if (paused !== undefined) record.paused = paused;
  if (retain !== undefined) record.retain = retain;
}

/** Writes the record of one stream when it has changed. */
export class Registration {
  private readonly record: StreamRecord;
  private readonly dead: DeadLetters;
  private readonly parts: RegistrationParts;
  private saving: Promise<void> = Promise.resolve();

  constructor(record: StreamRecord, dead: DeadLetters, parts: RegistrationParts) {
    this.record = record;
    this.dead = dead;
    this.parts = parts;
  }

  /** Rejects if the registry cannot be written. */
  async write(): Promise<void> {
    this.record.dead = this.dead.all;
    await this.parts.save(this.record);
  }

  /** The same, after what was to be saved before; where it cannot be done, that is said, and nobody has to care. */
  save(): Promise<void> {
    return this.next().catch(() => {});
  }

  /** The same; resolves when it is there, however often that has to be tried, or with false when it is `over`. */
  saved(over: AbortSignal): Promise<boolean> {
    return untilDone(() => this.next(), over);
  }

  private next(): Promise<void> {
    const writing = this.saving.then(() => this.write());
    this.saving = writing.catch((error: unknown) =>
      this.parts.note("error", `the registry cannot be written: ${messageOf(error)}`),
    );
    return writing;
  }
}

/**
 * Whether a value of the registry can be the record of the stream `name`: its name leads into no other folder, and what is read of all records
 * at once is there. Whatever else it lacks is found when that stream is opened.
 */
export function isRecordOf(name: string, value: unknown): value is StreamRecord {
  if (typeof value !== "object" || value === null || !STREAM_NAME.test(name)) return false;
  const record = value as Partial<StreamRecord>;
  return record.name === name && typeof record.kernel === "string";
}

/** The record as it is where its data lies now: the folder may have been moved or copied since it was written. */
export function located(record: StreamRecord, data: string, folderOf = record.name): StreamRecord {
  return { ...record, kernel: join(streamFolder(data, folderOf), basename(record.kernel)) };
}

/** The folder of a stream, made if it is not there. */
export function streamFolder(data: string, name: string): string {
  const folder = join(data, "streams", name);
  makeFolder(folder);
  return folder;
}
