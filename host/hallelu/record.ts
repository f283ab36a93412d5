/** What the registry keeps of a stream, and where its files lie. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { StreamChange } from "../wire/http.ts";
import type { DeadLetter } from "./dead-letters.ts";
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

/** A user's wishes; those that are not named stay, but the bounds keep their order. */
export function applyChange(record: StreamRecord, { min, max, shards, paused }: StreamChange): void {
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
}

/** The folder of a stream, made if it is not there. */
export function streamFolder(data: string, name: string): string {
  const folder = join(data, "streams", name);
  mkdirSync(folder, { recursive: true });
  return folder;
}
