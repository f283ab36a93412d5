/**
 * The log of a stream as its leader writes it: the product's `Claim` begins terms, its `Terms` say what counts. What sends entries and waits for them is
 * like `ClusterLog`, without the files of a host.
 */
import type { LogEntry } from "../../../host/store/log-format.ts";
import { VOID_KIND } from "../../../host/store/stream-log.ts";
import { Claim, type Term } from "../../../host/substrate/log-claim.ts";
import { type Message, payloadOf, read } from "../../../host/substrate/log-message.ts";
import type { LogStream } from "../../../host/substrate/log-stream.ts";
import { Terms, voids } from "../../../host/substrate/log-terms.ts";
import type { LogOfProcess } from "./servers.ts";

const PATIENCE_MS = 10_000;
/** The kind of an entry that has a record. */
const RECORD = 1;

/** A record that a producer has sent: its numbers are 1, 2, 3 and so on. */
export interface Sent {
  producer: number;
  sequence: number;
}

interface Job {
  entry: LogEntry;
  isAcknowledged: boolean;
  done: (number: number) => void;
  fail: (error: unknown) => void;
}

interface Flight {
  term: string;
  next: number;
  /** Jobs of which entries were sent, from the first. */
  sent: number;
  failure: unknown;
}

/** What counts of messages, by number: a record, or nothing. */
export function recordsIn(messages: readonly Message[], name: string): (Sent | undefined)[] {
  const terms = new Terms();
  return messages.flatMap((message) => terms.push(message, read(message, name))).map(sentIn);
}

/** What the next leader would find, if it began now. */
export function recordsAsOfNow(messages: readonly Message[], name: string): (Sent | undefined)[] {
  const head = Buffer.from(JSON.stringify({ term: "next.1", epoch: Number.MAX_SAFE_INTEGER, host: "next" }));
  const entry = { kind: VOID_KIND, head, body: [], records: 0 };
  const next = { number: messages.length, term: "next.1", isTerm: true, payload: payloadOf(entry, 0, 0, 0) };
  return recordsIn([...messages, next], name);
}

function sentIn({ kind, body }: LogEntry): Sent | undefined {
  if (kind === VOID_KIND) return undefined;
  return { producer: body[0][0], sequence: Buffer.from(body[0]).readUInt32LE(1) };
}

function entryOf({ producer, sequence }: Sent): LogEntry {
  const body = Buffer.alloc(5);
  body[0] = producer;
  body.writeUInt32LE(sequence, 1);
  return { kind: RECORD, head: undefined, body: [body], records: 1 };
}

export class LedLog {
  /** What is decided, by number. */
  readonly records: (Sent | undefined)[];
  private readonly stream: LogOfProcess;
  private readonly claim: Claim;
  private readonly jobs: Job[] = [];
  private flight: Flight | undefined;
  private isWorking = false;
  private wake = () => {};

  private constructor(stream: LogOfProcess, claim: Claim, begun: Term, records: (Sent | undefined)[]) {
    this.stream = stream;
    this.claim = claim;
    this.records = records;
    this.flight = flightOf(begun);
  }

  /** Takes the log over from whoever wrote it before. Rejects as `ClusterLog.open` does. */
  static async open(stream: LogOfProcess, epoch: number, host: string): Promise<LedLog> {
    const claim = new Claim({ stream: stream as unknown as LogStream, epoch, host, patienceMs: PATIENCE_MS });
    const begun = await claim.begin();
    try {
      const records = recordsIn(await stream.read(begun.number + 1), stream.name);
      return new LedLog(stream, claim, begun, records);
    } catch (cause) {
      throw stream.error(cause);
    }
  }

  get next(): number {
    return this.records.length;
  }

  /** Resolves with its number when it is kept for good. */
  append(sent: Sent): Promise<number> {
    return new Promise((done, fail) => {
      this.jobs.push({ entry: entryOf(sent), isAcknowledged: false, done, fail });
      this.wake();
      if (!this.isWorking) void this.work();
    });
  }

  private async work(): Promise<void> {
    this.isWorking = true;
    while (this.jobs.length) {
      try {
        this.flight ??= await this.begin();
        await this.fly(this.flight);
      } catch (cause) {
        this.flight = undefined;
        const error = this.stream.error(cause);
        const isTransient = error.code === "cluster-unreachable" || error.code === "cluster-refused";
        if (!isTransient || this.stream.isClosed) for (const job of this.jobs.splice(0)) job.fail(error);
      }
    }
    this.isWorking = false;
  }

  /** A new term, behind what was answered. */
  private async begin(): Promise<Flight> {
    const begun = await this.claim.begin(this.next);
    this.records.push(...voids(begun.number - this.next + 1).map(sentIn));
    for (const job of this.jobs) job.isAcknowledged = false;
    return flightOf(begun);
  }

  private async fly(flight: Flight): Promise<void> {
    while (this.jobs.length) {
      if (flight.failure !== undefined) throw flight.failure;
      while (flight.sent < this.jobs.length) this.send(flight, this.jobs[flight.sent++]);
      while (this.jobs[0]?.isAcknowledged) this.keep(flight);
      if (this.jobs.length && flight.sent === this.jobs.length)
        await new Promise<void>((done) => {
          this.wake = done;
        });
    }
  }

  private send(flight: Flight, job: Job): void {
    const number = flight.next++;
    const payload = payloadOf(job.entry, number, 0, number - this.next);
    this.stream.sendEntry(number, flight.term, payload).then(
      () => {
        if (this.flight === flight) job.isAcknowledged = true;
        this.wake();
      },
      (error: unknown) => {
        flight.failure ??= error;
        this.wake();
      },
    );
  }

  /** The first job is done. */
  private keep(flight: Flight): void {
    const { entry, done } = this.jobs.shift()!;
    flight.sent--;
    const number = this.records.push(sentIn(entry)) - 1;
    done(number);
  }
}

function flightOf({ term, number }: Term): Flight {
  return { term, next: number + 1, sent: 0, failure: undefined };
}
