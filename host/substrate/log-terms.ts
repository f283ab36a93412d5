/**
 * Which messages of a log's stream count; pure. Whoever reads the stream by these rules, now or later, on any host, has the same entries.
 *
 * Whoever writes begins a term first, by an entry that says so, and that names the entry that began the term before: of two, one is refused. It sends
 * on without waiting for answers, each message with the number that it must get; the server refuses one that would get another. That alone is
 * no fence: where a new writer has taken number 10, what an old one had under way for 10 is refused, and its 11 is not. So readers have rules
 * of their own:
 *
 *   - Of a term those messages count that follow the term's entry without a gap. From the first that is of another term, or none of ours,
 *     up to the next term's entry, nothing counts: a writer knows by the answers that its messages have no gap, and answers for nothing else.
 *   - A group whose last entry does not count is void: all of it is kept, or none.
 *   - A writer that is not sure what became of its messages begins a new term, which says from which number on the one before is `void`: from
 *     the first that it has not answered for. A term of another writer says no such thing, and keeps each group that is whole.
 *
 * A number that is void stays, and holds nothing, so that entry n is message n + 1 for good. What is decided is never decided otherwise: an entry
 * is given back when its own writer says, with a later one, that it has answered for it, or when the next term begins.
 */
import type { LogEntry } from "../store/log-format.ts";
import { VOID_KIND } from "../store/stream-log.ts";
import { type Message, type Said, termIn, writerOf } from "./log-message.ts";

const NOTHING: LogEntry = { kind: VOID_KIND, body: [], records: 0 };

/** An entry as it is kept on this host: one of the log's own without its body. */
export function kept({ kind, head, body, records }: LogEntry): LogEntry {
  return { kind, head, body: kind === VOID_KIND ? [] : body, records };
}

/** So many numbers that hold nothing. */
export function voids(count: number): LogEntry[] {
  return Array.from({ length: count }, () => NOTHING);
}

interface Undecided {
  number: number;
  entry: LogEntry;
  /** How many entries of its group follow. */
  follow: number;
}

export class Terms {
  private term: string;
  /** Whether what follows may count. */
  private isWhole: boolean;
  private undecided: Undecided[] = [];

  /** Begins behind an entry of `term` that counts; at the start of the log, without. */
  constructor(term = "") {
    this.term = term;
    this.isWhole = term !== "";
  }

  /** Takes in the next message, which is none of ours if it says nothing. Gives back the entries that are decided now, in order. */
  push({ number, isTerm }: Message, said: Said | undefined): LogEntry[] {
    const begun = said && isTerm ? termIn(said) : undefined;
    if (said && begun?.term === said.term) return this.begin(number, said, begun.void);
    if (!said || !this.isWhole || said.term !== this.term) {
      this.isWhole = false;
      this.undecided.push({ number, entry: NOTHING, follow: 0 });
      return [];
    }
    const { kind, head, body, records, follow, unsynced } = said;
    const settled = number - unsynced;
    const decided = this.undecided.findIndex((each) => each.number >= settled);
    const out = this.undecided.splice(0, decided < 0 ? this.undecided.length : decided);
    this.undecided.push({ number, entry: kept({ kind, head, body: [body], records }), follow });
    return out.map(({ entry }) => entry);
  }

  private begin(number: number, said: Said, voidFrom = number): LogEntry[] {
    const end = writerOf(said.term) === writerOf(this.term) ? voidFrom : number;
    const { undecided } = this;
    const next = undecided.findIndex((each) => each.entry === NOTHING || each.number >= end);
    /** Where the last group that counts ends. */
    let counted = next < 0 ? undecided.length : next;
    while (counted && undecided[counted - 1].follow) counted--;
    const out = undecided.map(({ entry }, i) => (i < counted ? entry : NOTHING));
    this.undecided = [];
    this.term = said.term;
    this.isWhole = true;
    return [...out, kept({ kind: said.kind, head: said.head, body: [], records: 0 })];
  }
}
