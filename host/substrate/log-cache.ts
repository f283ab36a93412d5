/**
 * The log of this host that holds what a log on JetStream has, so that its bodies can be read from files. It has decided entries alone, so it is
 * the start of what JetStream has, or of something else: then it is thrown away, and filled anew. It is not synced: what is lost of it is there.
 *
 * A file CACHE beside its segments says of which JetStream stream it is.
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HallelujahError } from "../core/errors.ts";
import { LOG_BATCH_BYTES } from "../core/limits.ts";
import { replaceFile } from "../store/durable.ts";
import type { LogEntry } from "../store/log-format.ts";
import { type Digest, Log, type LogOptions } from "../store/log.ts";
import { seal, unseal } from "../store/sealed.ts";
import { VOID_KIND } from "../store/stream-log.ts";
import { digestIn, payloadBytes, read, type Said, termIn } from "./log-message.ts";
import { type LogStream, Trimmed } from "./log-stream.ts";
import { Terms } from "./log-terms.ts";

const FILE = "CACHE";

export interface CacheParts {
  folder: string;
  stream: LogStream;
  digest: Digest | undefined;
  options: Omit<LogOptions, "digest" | "durable" | "begin">;
}

/** A log's cache that has all entries that JetStream has, from the lowest number `first` on, below `next`: in front of that a term was begun. */
export async function openCache(parts: CacheParts, first: number, next: number): Promise<Log> {
  const empty = parts.digest?.save();
  for (let from = first; ; ) {
    try {
      const { log, terms } = (await goOn(parts, from)) ?? (await anew(parts, from, empty));
      await fill(log, terms, parts.stream, next);
      return log;
    } catch (error) {
      if (!(error instanceof Trimmed)) throw error;
      const { first: trimmedTo } = await parts.stream.extents();
      if (trimmedTo <= from) throw missing(parts.stream, from);
      from = trimmedTo;
    }
  }
}

/** Messages are not there, and were not trimmed. */
function missing({ name }: LogStream, from: number): HallelujahError {
  const message = `messages of the JetStream stream ${name} behind number ${from} are missing: were they deleted by hand, or is a server of it damaged? Restore it, or remove the stream and deploy it again`;
  return new HallelujahError("log-damaged", message);
}

/** Says that the cache is not what JetStream has: it is filled anew when it is opened next. */
export function giveUpCache(folder: string): void {
  rmSync(join(folder, FILE), { force: true });
}

/** The numbers up to which messages can be trimmed, as far as the cache knows them: what is known of all before follows there. */
export function trimPoints(log: Log): number[] {
  const points: number[] = [];
  let begun: number | undefined;
  for (const { number, kind, head } of log.heads(log.first, (kind) => kind === VOID_KIND)) {
    if (digestIn({ kind, head })?.digest[0] === 0 && begun === number - 1) points.push(begun);
    begun = termIn({ kind, head }) ? number : undefined;
  }
  return points;
}

interface Opened {
  log: Log;
  /** As of its last entry. */
  terms: Terms;
}

/** What is there already; undefined if it is none, or not to be gone on with. */
async function goOn(parts: CacheParts, first: number): Promise<Opened | undefined> {
  const { folder, stream } = parts;
  if (!existsSync(folder) || madeOf(folder) !== stream.made) return undefined;
  const log = await openLog(parts);
  try {
    const isOfUse = log.next > first && log.first < log.next && !log.damageFrom(log.first);
    const term = isOfUse ? await lastTermIfSame(log, stream) : undefined;
    if (term !== undefined) return { log, terms: new Terms(term) };
  } catch (error) {
    await log.close();
    throw error;
  }
  await log.close();
  return undefined;
}

/** The term of the last entry, if that is what JetStream has there: all before is the same then, too, as each entry follows from term and number. */
async function lastTermIfSame(log: Log, stream: LogStream): Promise<string | undefined> {
  const number = log.next - 1;
  const message = await stream.message(number);
  const said = message && read(message, stream.name);
  if (!said || said.term !== lastTerm(log)) return undefined;
  const { kind, bytes, sum, headBytes } = log.place(number);
  if (kind !== said.kind || headBytes !== said.headBytes) return undefined;
  const isSame =
    kind === VOID_KIND ? termIn(said) || digestIn(said) : bytes === said.bodyBytes && sum === said.bodySum;
  return isSame ? said.term : undefined;
}

function lastTerm(log: Log): string | undefined {
  let next = log.next;
  for (const { first } of log.extents.toReversed()) {
    let last: string | undefined;
    for (const { number, kind, head } of log.heads(first, (kind) => kind === VOID_KIND)) {
      if (number >= next) break;
      last = termIn({ kind, head })?.term ?? last;
    }
    if (last !== undefined) return last;
    next = first;
  }
  return undefined;
}

/** An empty one, which begins with what JetStream has first. */
async function anew(parts: CacheParts, first: number, empty: Buffer | undefined): Promise<Opened> {
  const { folder, stream, digest } = parts;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await replaceFile(join(folder, FILE), seal({ format: 1, made: stream.made }));
  if (empty?.length) digest?.load(empty);
  if (first > 0) {
    const before = await digestAt(stream, first);
    if (before.length) digest?.load(before);
  }
  return { log: await openLog(parts, first), terms: new Terms() };
}

/** What is known of all entries before `first`, behind the entry that begins a term there. */
async function digestAt(stream: LogStream, first: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let of = 1;
  for (let number = first + 1; parts.length < of; number++) {
    const message = await stream.message(number);
    if (!message && (await stream.extents()).first > first) throw new Trimmed();
    const said: Said | undefined = message && read(message, stream.name);
    const digest = said && digestIn(said)?.digest;
    if (digest?.[0] !== parts.length)
      throw new HallelujahError(
        "log-damaged",
        `what is known of the entries below ${first} is missing in the JetStream stream ${stream.name}: were its messages purged by hand? Remove the stream, and deploy it again`,
      );
    of = digest[1];
    parts.push(said!.body);
  }
  return Buffer.concat(parts);
}

/** Takes in what JetStream has below `next`. */
async function fill(log: Log, terms: Terms, stream: LogStream, next: number): Promise<void> {
  let batch: LogEntry[] = [];
  let bytes = 0;
  try {
    for await (const message of stream.messages(log.next, next)) {
      for (const entry of terms.push(message, read(message, stream.name))) {
        batch.push(entry);
        bytes += payloadBytes(entry);
      }
      if (bytes < LOG_BATCH_BYTES && message.number + 1 < next) continue;
      if (batch.length) await log.appendGroup(batch);
      batch = [];
      bytes = 0;
    }
  } catch (cause) {
    await log.close();
    throw cause instanceof Trimmed ? cause : stream.error(cause);
  }
  if (log.next !== next) throw new TypeError(`the cache ends at ${log.next}, and not at ${next}`);
}

function openLog({ folder, digest, options }: CacheParts, begin = 0): Promise<Log> {
  return Log.open(folder, {
    ...options,
    durable: false,
    begin,
    ...(digest ? { digest: ofEntries(digest) } : {}),
  });
}

/** Hears of nothing that is the log's own. */
function ofEntries(digest: Digest): Digest {
  return {
    add(number, kind, head) {
      if (kind !== VOID_KIND) digest.add(number, kind, head);
    },
    save: () => digest.save(),
    load: (saved) => digest.load(saved),
  };
}

/** The mark of the stream that a cache is of; undefined if that is not known. */
function madeOf(folder: string): string | undefined {
  try {
    const { format, made } = unseal(readFileSync(join(folder, FILE)), "{") as {
      format: unknown;
      made: unknown;
    };
    return format === 1 && typeof made === "string" ? made : undefined;
  } catch {
    return undefined;
  }
}
