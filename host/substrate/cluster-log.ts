/**
 * A stream's log on a cluster: JetStream has its entries, so that another host can go on with it, and files of this host have them as well, from
 * which Jahs read bodies (log-cache.ts). Entry n is message n + 1 (log-message.ts); what counts of the messages, and how one writer follows
 * another, is said in log-terms.ts.
 *
 * What is appended is sent at once, as far as FLIGHT_BYTES go, and answered when JetStream has acknowledged all of its group and the files have
 * it. Where something goes wrong, there is one way on: a new term, in which all is sent again that was not answered, with other numbers. So it
 * need not be known what became of a message whose answer was lost.
 *
 * From time to time a term begins with what is known of all entries before, and JetStream forgets only what lies before such a term: a host that
 * has nothing of the log learns that first, as from the start of a segment.
 */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError } from "../core/errors.ts";
import {
  CLUSTER_PATIENCE_MS,
  FLIGHT_BYTES,
  FLIGHT_MESSAGES,
  FRAME_BYTES,
  SEGMENT_BYTES,
} from "../core/limits.ts";
import type { LogEntry } from "../store/log-format.ts";
import type { Digest, Log, LogOptions } from "../store/log.ts";
import type { Damage } from "../store/log-scan.ts";
import type { Extent } from "../store/retention.ts";
import { type Place, type StreamLog, VOID_KIND } from "../store/stream-log.ts";
import type { Cluster } from "./cluster.ts";
import { giveUpCache, openCache, trimPoints } from "./log-cache.ts";
import { Claim, type Term } from "./log-claim.ts";
import { type DigestHead, payloadBytes, payloadOf } from "./log-message.ts";
import { type LogNames, LogStream } from "./log-stream.ts";
import { kept, voids } from "./log-terms.ts";

export interface ClusterLogParts extends LogNames {
  connection: Cluster;
  /** Where the files of this host are; what else is there is removed. */
  folder: string;
  host: string;
  /** Of the leadership of the stream: a host is refused that has a smaller one than the last that opened the log. */
  epoch: number;
  digest?: Digest;
  /** Time without any progress after which what is to be appended is given up, ms. */
  patienceMs?: number;
  /** Bytes after which a place is made up to which JetStream can be trimmed. */
  trimBytes?: number;
  options?: Omit<LogOptions, "digest" | "durable" | "begin">;
}

/** A group that is to be appended. */
interface Job {
  entries: LogEntry[];
  bytes: number;
  /** Its entries are a digest. */
  isDigest: boolean;
  done: (placed: { number: number }) => void;
  fail: (error: unknown) => void;
}

/** What is under way in a term. */
interface Flight {
  term: string;
  /** The number of the next entry that is sent. */
  next: number;
  /** Which entry of which job that is. */
  job: number;
  entry: number;
  bytes: number;
  messages: number;
  /** How many messages of a job JetStream has acknowledged: of this term, as others do not count. */
  acknowledged: Map<Job, number>;
  /** Why nothing more comes of it. */
  failure: unknown;
}

const RETRY_MS = 20;
const RETRY_MS_MAX = 1_000;
const NEVER = new AbortController().signal;
/** What an entry that is a part of a digest has beside its part: header and head. */
const DIGEST_OVERHEAD = 256;

export class ClusterLog implements StreamLog {
  private readonly parts: ClusterLogParts;
  private readonly stream: LogStream;
  private readonly claim: Claim;
  private readonly cache: Log;
  private readonly patienceMs: number;
  private readonly trimBytes: number;
  /** What is not answered yet, in order. */
  private readonly jobs: Job[] = [];
  private flight: Flight | undefined;
  private working: Promise<void> | undefined;
  private wake: () => void = () => {};
  private readonly stopWatching: () => void;
  private progressAt = 0;
  /** Why nothing is appended any more. */
  private over: HallelujahError | undefined;
  private isClosed = false;
  /** Numbers up to which JetStream can be trimmed. */
  private points: number[];
  private bytesSincePoint: number;
  /** JetStream has nothing below, as far as this process knows. */
  private purgedTo: number;
  private trimming: Promise<void> = Promise.resolve();
  end: number;

  private constructor(parts: ClusterLogParts, stream: LogStream, claim: Claim, cache: Log, begun: Term) {
    this.parts = parts;
    this.stream = stream;
    this.claim = claim;
    this.cache = cache;
    this.patienceMs = parts.patienceMs ?? CLUSTER_PATIENCE_MS;
    this.trimBytes = parts.trimBytes ?? SEGMENT_BYTES;
    this.points = trimPoints(cache);
    this.bytesSincePoint = cache.bytesFrom(this.points.at(-1) ?? cache.first);
    this.purgedTo = begun.first;
    this.end = endOf(cache);
    this.flight = flightOf(begun);
    this.stopWatching = stream.link.watch(() => {
      if (this.flight?.messages && !stream.link.isUp)
        this.failed(this.flight, new Error("the connection was lost"));
    });
  }

  /**
   * Takes the log over from whoever wrote it before, and brings the files of this host up to date. Rejects with `stream-moved`, `cluster-foreign`,
   * `cluster-refused`, `cluster-unreachable`, `disk-full`, `log-damaged` or `log-version`.
   */
  static async open(parts: ClusterLogParts): Promise<ClusterLog> {
    const { connection, folder, host, epoch, digest, patienceMs = CLUSTER_PATIENCE_MS, options = {} } = parts;
    const stream = await LogStream.open(connection, parts);
    const claim = new Claim({ stream, host, epoch, patienceMs });
    // First, so that all that is read then is decided.
    const begun = await claim.begin();
    try {
      const cache = await openCache({ folder, stream, digest, options }, begun.first, begun.number + 1);
      return new ClusterLog(parts, stream, claim, cache, begun);
    } catch (cause) {
      throw stream.error(cause);
    }
  }

  /** Whether a log is there. Rejects as `remove` does. */
  static isThere(connection: Cluster, names: LogNames): Promise<boolean> {
    return LogStream.isThere(connection, names);
  }

  /** Removes a log from JetStream, which nobody has open. Rejects with `cluster-foreign`, `cluster-refused` or `cluster-unreachable`. */
  static remove(connection: Cluster, names: LogNames): Promise<void> {
    return LogStream.remove(connection, names);
  }

  // --- what is there ---------------------------------------------------------------------------------------------

  get first(): number {
    return this.cache.first;
  }

  get next(): number {
    return this.cache.next;
  }

  get bytes(): number {
    return this.cache.bytes;
  }

  get extents(): Extent[] {
    return this.cache.extents;
  }

  bytesFrom(number: number): number {
    return this.cache.bytesFrom(number);
  }

  place(number: number): Place {
    try {
      return this.cache.place(number);
    } catch (error) {
      throw this.doubted(error);
    }
  }

  kindsFrom(number: number): Set<number> {
    const kinds = this.cache.kindsFrom(number);
    kinds.delete(VOID_KIND);
    return kinds;
  }

  damageFrom(number: number): Damage | undefined {
    return this.cache.damageFrom(number);
  }

  async read(number: number): Promise<{ kind: number; head: Buffer | undefined; body: Buffer }> {
    try {
      return await this.cache.read(number);
    } catch (error) {
      throw this.doubted(error);
    }
  }

  *heads(
    from: number,
    wanted: (kind: number) => boolean,
  ): Generator<{ number: number; kind: number; head: Buffer | undefined }> {
    yield* this.cache.heads(from, (kind) => kind !== VOID_KIND && wanted(kind));
  }

  /** JetStream has what is damaged here. */
  private doubted(error: unknown): unknown {
    if ((error as HallelujahError).code === "log-damaged") giveUpCache(this.parts.folder);
    return error;
  }

  // --- what is appended ------------------------------------------------------------------------------------------

  append(entry: LogEntry): Promise<{ number: number }> {
    return this.appendGroup([entry]);
  }

  appendGroup(entries: LogEntry[]): Promise<{ number: number }> {
    if (this.over) return Promise.reject(this.over);
    if (this.isClosed)
      return Promise.reject(new HallelujahError("log-closed", `the log ${this.stream.name} is closed`));
    const sizes = entries.map(payloadBytes);
    const largest = Math.max(0, ...sizes);
    if (largest > this.stream.entryBytesMax) return Promise.reject(this.tooLarge(largest));
    return new Promise((done, fail) => {
      const bytes = sizes.reduce((sum, each) => sum + each, 0);
      this.add(this.jobs.length, { entries, bytes, isDigest: false, done, fail });
    });
  }

  private tooLarge(bytes: number): HallelujahError {
    const message = `a frame takes ${bytes} bytes with its head, and the servers of the cluster take ${this.stream.entryBytesMax}, nothing was stored; let nats-server take more (max_payload), or send fewer producers' bodies at once`;
    return new HallelujahError("frame-too-large", message);
  }

  private add(at: number, job: Job): void {
    if (!this.jobs.length) this.progressAt = performance.now();
    this.jobs.splice(at, 0, job);
    this.wake();
    this.working ??= this.work();
  }

  /** Until all jobs are answered. */
  private async work(): Promise<void> {
    await Promise.resolve(); // so that `working` is set before it can be over
    const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
    while (this.jobs.length) {
      try {
        this.flight ??= await this.begin();
        await this.fly(this.flight, backoff);
      } catch (cause) {
        this.flight = undefined;
        const error = this.stream.error(cause);
        const isOver = error.code === "stream-moved" || error.code === "cluster-lost";
        if (isOver) this.over = error;
        const isLate = this.stream.isClosed || performance.now() - this.progressAt > this.patienceMs;
        const isTransient = error.code === "cluster-unreachable" || error.code === "cluster-refused";
        if (isOver || isLate || !isTransient) for (const job of this.jobs.splice(0)) job.fail(error);
        else await backoff.pause(NEVER);
      }
    }
    // At once: what is appended before this promise is settled has to find nobody at work.
    this.working = undefined;
  }

  /** Begins a term behind what was answered. */
  private async begin(): Promise<Flight> {
    const { next } = this.cache;
    const begun = await this.claim.begin(next);
    await this.cache.appendGroup([...voids(begun.number - next), kept(begun.entry)]);
    return flightOf(begun);
  }

  /** Sends and answers until nothing is left to do; rejects when something goes wrong. */
  private async fly(flight: Flight, backoff: Backoff): Promise<void> {
    while (this.jobs.length) {
      if (flight.failure !== undefined) throw flight.failure;
      if (this.isPointDue && !flight.job && !flight.entry) return this.beginPoint();
      // Nothing is sent that is certain to be lost: if nothing was under way, the term goes on.
      if (!this.stream.link.isUp) {
        await this.stream.link.up(this.patienceMs);
        if (!this.stream.link.isUp) throw new Error("the connection was lost");
        continue;
      }
      this.send(flight);
      const next = this.jobs.findIndex((job) => (flight.acknowledged.get(job) ?? 0) < job.entries.length);
      const landed = next < 0 ? this.jobs.length : next;
      if (landed) {
        await this.keep(flight, landed);
        backoff.reset();
      } else
        await new Promise<void>((done) => {
          this.wake = done;
        });
    }
  }

  private send(flight: Flight): void {
    while (
      flight.job < this.jobs.length &&
      flight.bytes < FLIGHT_BYTES &&
      flight.messages < FLIGHT_MESSAGES
    ) {
      const job = this.jobs[flight.job];
      if (this.isPointDue && !flight.entry) return;
      this.sendEntry(flight, job, flight.entry++);
      if (flight.entry >= job.entries.length) {
        flight.job++;
        flight.entry = 0;
      }
    }
  }

  private sendEntry(flight: Flight, job: Job, i: number): void {
    const { entries } = job;
    if (!entries.length) return;
    const number = flight.next++;
    const payload = payloadOf(entries[i], number, entries.length - 1 - i, number - this.cache.next);
    flight.bytes += payload.length;
    flight.messages++;
    this.stream.sendEntry(number, flight.term, payload).then(
      () => {
        flight.bytes -= payload.length;
        flight.messages--;
        flight.acknowledged.set(job, (flight.acknowledged.get(job) ?? 0) + 1);
        this.progressAt = performance.now();
        this.wake();
      },
      (error: unknown) => this.failed(flight, error),
    );
  }

  private failed(flight: Flight, why: unknown): void {
    flight.failure ??= why;
    this.wake();
  }

  /** The first jobs are all acknowledged: the files get them, and they are answered. */
  private async keep(flight: Flight, count: number): Promise<void> {
    const jobs = this.jobs.slice(0, count);
    let number = this.cache.next;
    const entries = jobs.flatMap((job) => job.entries.map(kept));
    if (entries.length) await this.cache.appendGroup(entries);
    this.jobs.splice(0, count);
    for (const job of jobs) flight.acknowledged.delete(job);
    flight.job -= count;
    this.progressAt = performance.now();
    for (const { entries: placed, bytes, done, isDigest } of jobs) {
      if (isDigest) this.points.push(number - 1);
      else if (placed.length) this.end = number + placed.length;
      this.bytesSincePoint = isDigest ? 0 : this.bytesSincePoint + bytes;
      done({ number });
      number += placed.length;
    }
  }

  // --- what is forgotten -----------------------------------------------------------------------------------------

  private get isPointDue(): boolean {
    return this.bytesSincePoint >= this.trimBytes && !this.jobs[0]?.isDigest;
  }

  /** All that was sent is answered: a term begins with what is known of all entries so far. */
  private async beginPoint(): Promise<void> {
    this.flight = await this.begin();
    const digest = this.parts.digest?.save() ?? Buffer.alloc(0);
    const partBytes = Math.min(FRAME_BYTES, this.stream.entryBytesMax - DIGEST_OVERHEAD);
    const of = Math.max(1, Math.ceil(digest.length / partBytes));
    const entries = Array.from({ length: of }, (_, part) => ({
      kind: VOID_KIND,
      head: Buffer.from(JSON.stringify({ digest: [part, of] } satisfies DigestHead)),
      body: [digest.subarray(part * partBytes, (part + 1) * partBytes)],
      records: 0,
    }));
    const bytes = digest.length;
    this.jobs.unshift({ entries, bytes, isDigest: true, done: () => {}, fail: () => {} });
  }

  trim(below: number): Promise<void> {
    this.trimming = this.trimming.catch(() => {}).then(() => this.trimNow(below));
    return this.trimming;
  }

  private async trimNow(below: number): Promise<void> {
    const point = this.points.findLast((each) => each <= below);
    if (point !== undefined && point > this.purgedTo && !this.over) {
      try {
        await this.stream.purge(point);
      } catch (cause) {
        throw this.stream.error(cause);
      }
      this.purgedTo = point;
      this.points = this.points.filter((each) => each >= point);
    }
    await this.cache.trim(below);
  }

  /** What is answered is with JetStream. */
  sync(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.working;
    await this.trimming.catch(() => {});
    this.stopWatching();
    await this.cache.close();
  }
}

/** See `StreamLog.end`. */
function endOf(log: Log): number {
  let end = log.next;
  // What is damaged here holds something, as far as is known.
  while (end > log.first && !log.damageFrom(end - 1) && log.place(end - 1).kind === VOID_KIND) end--;
  return end;
}

function flightOf({ term, number }: Term): Flight {
  return {
    term,
    next: number + 1,
    job: 0,
    entry: 0,
    bytes: 0,
    messages: 0,
    acknowledged: new Map(),
    failure: undefined,
  };
}
