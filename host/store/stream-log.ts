/**
 * What a stream asks of its log, whichever home that has: files of this host (log.ts), or JetStream with files of this host as its cache
 * (substrate/cluster-log.ts).
 */
import type { LogEntry } from "./log-format.ts";
import type { Damage } from "./log-scan.ts";
import type { Extent } from "./retention.ts";

/** The kind of a number that holds nothing: no source has it. Such numbers are passed over, and no digest hears of them. */
export const VOID_KIND = 0xfffe;

/** Where an entry lies in a file of this host. */
export interface Place {
  kind: number;
  path: string;
  /** Where the body starts in the file. */
  offset: number;
  /** Bytes of the body. */
  bytes: number;
  /** CRC-32 of the body. */
  sum: number;
  headBytes: number;
  records: number;
}

/** Entries numbered from 0, of which the first ones may have been trimmed. */
export interface StreamLog {
  /** The lowest number that is kept. */
  readonly first: number;
  /** The number of the next entry. All below are kept: nothing of them is void later. */
  readonly next: number;
  /** Behind the last number that holds something: all from here on are void. */
  readonly end: number;
  /** Bytes on disk. */
  readonly bytes: number;
  /** What can be trimmed only as a whole (retention.ts). */
  readonly extents: Extent[];
  /** Bytes of the bodies from `number` on. */
  bytesFrom(number: number): number;
  /** Where an entry lies; its kind is VOID_KIND if its number holds nothing. Throws `log-damaged`. */
  place(number: number): Place;
  /** Kinds of the entries from `number` on. */
  kindsFrom(number: number): Set<number>;
  /** The first damage, as far as is known, that affects an entry from `number` on. */
  damageFrom(number: number): Damage | undefined;
  /**
   * Appends an entry; resolves when it is kept for good. Rejects with `disk-full` or `log-unwritable`, and nothing of it is kept; on a cluster
   * also with `cluster-unreachable`, and nothing of it is kept if this process lives until the log is written again, with `stream-moved` or
   * `cluster-lost`, after which nothing is appended by this process, or with `frame-too-large`.
   */
  append(entry: LogEntry): Promise<{ number: number }>;
  /** Appends entries of which all are kept or none, one behind the other; resolves with the number of the first. */
  appendGroup(entries: LogEntry[]): Promise<{ number: number }>;
  /** Rejects with `log-damaged` if it is not what was written. */
  read(number: number): Promise<{ kind: number; head: Buffer | undefined; body: Buffer }>;
  /** Kinds and heads of the entries from `from` on that are `wanted`. What is damaged or void is left out. */
  heads(
    from: number,
    wanted: (kind: number) => boolean,
  ): Iterable<{ number: number; kind: number; head: Buffer | undefined }>;
  /** Forgets what lies below, as far as it can be forgotten. */
  trim(below: number): Promise<void>;
  /** Resolves when all that appends were answered for would survive a loss of power. */
  sync(): Promise<void>;
  close(): Promise<void>;
}
