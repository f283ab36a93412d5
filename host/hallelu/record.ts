/** What the registry keeps of a stream, and where its files lie. */
import { join } from "node:path";
import { messageOf } from "../core/errors.ts";
import { makeFolder } from "../store/durable.ts";
import type { StreamChange } from "../wire/http.ts";
import type { DeadLetter, DeadLetters } from "./dead-letters.ts";
import type { SavedClocks } from "./event-time.ts";
import type { StreamSource } from "./shapes.ts";

export interface StreamRecord {
  name: string;
  version: number;
  /** File of the kernel's module, and the name that its author gave it. */
  kernel: string;
  file: string;
  min: number;
  max: number;
  paused: boolean;
  /** How much of the log is kept (core/retain.ts). */
  retain: string;
  /** How many Jahs share the state, if the user wants a number. */
  shards?: number;
  /** Deploy options that are carried out elsewhere (streams.ts). */
  source: string[];
  from?: string;
  sink: string[];
  /** Inputs of `source` that were read to their end. */
  read?: number;
  sources: StreamSource[];
  dead: DeadLetter[];
  /** The image that a shard starts from, and what was counted up to its frame. */
  image?: { path: string; frame: number };
  counts: Counts;
  /** Event time as it stood when the image was written, and when the first window is over; null: none is open. */
  clocks?: SavedClocks;
  nextClose?: number | null;
}

export interface Counts {
  records: number;
  bad: number;
  late: number;
}

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
    this.saving = this.saving
      .then(() => this.write())
      .catch((error: unknown) =>
        this.parts.note("error", `the registry cannot be written: ${messageOf(error)}`),
      );
    return this.saving;
  }
}

/** The folder of a stream, made if it is not there. */
export function streamFolder(data: string, name: string): string {
  const folder = join(data, "streams", name);
  makeFolder(folder);
  return folder;
}
