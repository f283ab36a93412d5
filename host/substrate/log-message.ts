/**
 * The messages of a log on JetStream; pure. Message n + 1 of its stream is entry n:
 *
 *   subject   NAME.entry; NAME.term of an entry that begins a term
 *   header    Hallelujah-Term: the term it was written in, WRITER.COUNT
 *   payload   the entry as in a segment (store/log-format.ts): its header, head and body. What is "not known to be synced" there is here
 *             what its writer had not answered for yet when it was sent. An entry that begins a term has number 0 there, as it gets the next
 *             that is free.
 *
 * Two kinds of entries are of the log itself, VOID_KIND to all others. Their heads:
 *
 *   a term    {"term":"WRITER.COUNT","epoch":7,"host":"one","void":12}   "void": see log-terms.ts; left out when a log is opened
 *   a digest  {"digest":[0,2]}   part 0 of 2 of what is known of all entries before, right behind an entry that began a term; the body has
 *                                its bytes. Messages are trimmed up to such a place.
 */
import { crc32 } from "node:zlib";
import { HallelujahError } from "../core/errors.ts";
import {
  decodeEntry,
  ENTRY_HEADER,
  encodeEntry,
  type EntryHeader,
  type LogEntry,
} from "../store/log-format.ts";
import { isCount } from "../store/sealed.ts";
import { VOID_KIND } from "../store/stream-log.ts";

export const TERM_HEADER = "Hallelujah-Term";

/** A message, as a server gives it. */
export interface Message {
  number: number;
  /** What its header says; empty if it has none. */
  term: string;
  /** Whether it was sent to begin a term. */
  isTerm: boolean;
  payload: Buffer;
}

/** A message that is an entry. */
export interface Said extends EntryHeader {
  term: string;
  head: Buffer | undefined;
  body: Buffer;
}

export interface TermHead {
  term: string;
  epoch: number;
  host: string;
  /** Numbers from here on, up to the one of this entry, hold nothing. */
  void?: number;
}

export interface DigestHead {
  digest: [part: number, of: number];
}

/** The payload of an entry of which `follow` others of its group follow. */
export function payloadOf(entry: LogEntry, number: number, follow: number, unsettled: number): Buffer {
  const head = entry.head ? [entry.head] : [];
  return Buffer.concat([encodeEntry(entry, number, follow, unsettled), ...head, ...entry.body]);
}

export function payloadBytes({ head, body }: LogEntry): number {
  return body.reduce((sum, { length }) => sum + length, ENTRY_HEADER + (head?.length ?? 0));
}

/** The writer of a term. */
export function writerOf(term: string): string {
  return term.slice(0, term.lastIndexOf("."));
}

/**
 * What a message says; undefined if it is no entry, as when someone else has sent it. Throws `log-damaged` if it is one and is not what was
 * written.
 */
export function read({ number, term, isTerm, payload }: Message, stream: string): Said | undefined {
  if (!term) return undefined;
  const header = decodeEntry(payload);
  const why = typeof header === "string" ? header : damageOf(header, payload);
  if (why !== undefined) {
    const message = `message ${number + 1} of the JetStream stream ${stream} is damaged: ${why}; this affects entry ${number}`;
    throw new HallelujahError("log-damaged", message);
  }
  const said = header as EntryHeader;
  if (said.number !== (isTerm ? 0 : number)) return undefined;
  const body = ENTRY_HEADER + said.headBytes;
  const head = said.headBytes ? payload.subarray(ENTRY_HEADER, body) : undefined;
  return { ...said, number, term, head, body: payload.subarray(body) };
}

function damageOf(
  { headBytes, bodyBytes, headSum, bodySum }: EntryHeader,
  payload: Buffer,
): string | undefined {
  const body = ENTRY_HEADER + headBytes;
  if (body + bodyBytes !== payload.length) return "it has another length than it says";
  if (crc32(payload.subarray(ENTRY_HEADER, body)) !== headSum) return "its head was changed";
  return crc32(payload.subarray(body)) === bodySum ? undefined : "its bytes were changed";
}

/** What an entry of a term says; undefined if it is none. */
export function termIn(said: Pick<Said, "kind" | "head">): TermHead | undefined {
  const head = ownHead(said);
  if (typeof head?.term !== "string" || typeof head.host !== "string" || !isCount(head.epoch))
    return undefined;
  return head.void === undefined || isCount(head.void) ? (head as unknown as TermHead) : undefined;
}

/** What a part of a digest says; undefined if the entry is none. */
export function digestIn(said: Pick<Said, "kind" | "head">): DigestHead | undefined {
  const head = ownHead(said);
  return Array.isArray(head?.digest) && head.digest.length === 2 && head.digest.every(isCount)
    ? (head as unknown as DigestHead)
    : undefined;
}

/** The head of an entry that is the log's own. */
function ownHead({ kind, head }: Pick<Said, "kind" | "head">): Record<string, unknown> | undefined {
  if (kind !== VOID_KIND || !head) return undefined;
  try {
    return (JSON.parse(head.toString()) ?? undefined) as Record<string, unknown> | undefined;
  } catch {
    return undefined;
  }
}
