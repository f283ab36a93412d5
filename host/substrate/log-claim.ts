/**
 * How a process becomes, and stays, the one that writes a log: by an entry that begins a term (log-terms.ts). It names the one that began the term
 * before, and is refused if that is not the last any more.
 */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError } from "../core/errors.ts";
import { CLUSTER_ANSWER_MS } from "../core/limits.ts";
import type { LogEntry } from "../store/log-format.ts";
import { VOID_KIND } from "../store/stream-log.ts";
import { payloadOf, read, type TermHead, termIn, writerOf } from "./log-message.ts";
import type { LogStream } from "./log-stream.ts";

const RETRY_MS = 50;
const RETRY_MS_MAX = 1_000;

export interface ClaimParts {
  stream: LogStream;
  /** Of the leadership of this stream: a greater one has taken over from a smaller one. */
  epoch: number;
  host: string;
  /** Time without success after which it is given up, ms. */
  patienceMs: number;
}

/** A term that has begun. */
export interface Term {
  term: string;
  /** The number of the entry that began it. */
  number: number;
  entry: LogEntry;
  /** The lowest number that JetStream has. */
  first: number;
}

export class Claim {
  private readonly parts: ClaimParts;
  private readonly writer: string = crypto.randomUUID();
  private count = 0;

  constructor(parts: ClaimParts) {
    this.parts = parts;
  }

  /**
   * Begins a term; the first time it takes over from whoever wrote before. All from `next` on is void then, if that is given: what was answered for
   * ends there. Rejects with `stream-moved`, `cluster-lost`, or what JetStream said when patience was over.
   */
  async begin(next?: number): Promise<Term> {
    const { stream, patienceMs } = this.parts;
    const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
    const signal = new AbortController().signal;
    for (const until = performance.now() + patienceMs; ; ) {
      try {
        await stream.link.up(Math.min(patienceMs, CLUSTER_ANSWER_MS));
        return await this.tryOnce(next);
      } catch (cause) {
        const error = stream.error(cause);
        const isFinal = ["stream-moved", "cluster-lost", "disk-full", "log-damaged"].includes(error.code);
        if (isFinal || stream.isClosed || performance.now() > until) throw error;
        await backoff.pause(signal);
      }
    }
  }

  private async tryOnce(next: number | undefined): Promise<Term> {
    const { stream, epoch, host } = this.parts;
    const { first } = await stream.extents();
    const last = await this.last(next !== undefined);
    // Of a new name each time: whether an earlier attempt was kept may not be known.
    const term = `${this.writer}.${++this.count}`;
    const head: TermHead = { term, epoch, host, ...(next === undefined ? {} : { void: next }) };
    const entry = { kind: VOID_KIND, head: Buffer.from(JSON.stringify(head)), body: [], records: 0 };
    const number = await stream.sendTerm(last, term, payloadOf(entry, 0, 0, 0));
    // By what it got, not by what is said to be there: a server that was cut off may say less.
    if (next !== undefined && number < next)
      throw new HallelujahError(
        "cluster-lost",
        `JetStream has lost the entries ${number} to ${next - 1} of ${stream.name}, which it had acknowledged: was one of its servers without power, or restored from a copy? Stop the stream and start it, and it goes on with what is there`,
      );
    return { term, number, entry, first };
  }

  /** The entry that began the last term: one of this process, or, before it has begun any, of whoever had the stream before. */
  private async last(isOurs: boolean): Promise<number | undefined> {
    const { stream, epoch } = this.parts;
    const message = await stream.lastTerm();
    const said = message && read(message, stream.name);
    const last = said && termIn(said);
    if (last && writerOf(last.term) !== this.writer && (isOurs || last.epoch > epoch))
      throw movedError(stream.name, last);
    return message?.number;
  }
}

function movedError(name: string, { host, epoch }: TermHead): HallelujahError {
  return new HallelujahError(
    "stream-moved",
    `the log ${name} is led by host ${host} now (epoch ${epoch}), and what was not answered here may be in it or not; send it there again`,
  );
}
