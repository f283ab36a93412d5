/** What users are told of a shard whose state cannot be had, while the others of its stream go on. */
import type { StoredShard } from "./record.ts";

export interface UnavailableShard extends StoredShard {
  /** What is wrong, with the file; a sentence without its end. */
  reason: string;
}

/** What its user can do. */
export function wayOut(stream: string): string {
  return `restore a backup, or bring the shard's folder back from one and start the host again; or remove ${stream} and push again`;
}

/** For the journal. */
export function sentenceOf({ from, to, folder, reason }: UnavailableShard): string {
  return `partitions ${from} to ${to - 1} (${folder}) are unavailable: ${reason}`;
}
