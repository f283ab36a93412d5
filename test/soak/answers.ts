/**
 * Asks for tables under load, and holds the answers against what was acknowledged. What is answered is one state: at once it is held against
 * the answer before, and at the end, when all bodies are acknowledged and their frames known, against the records in the frames below its
 * own: these and no others must be in it.
 */
import type { HallelujahError } from "../../host/core/errors.ts";
import { type Counts, Differences, type Piece } from "./handled.ts";
import type { Load } from "./load.ts";
import { producersOf, type StreamSpec, type TableSpec } from "./streams.ts";

/** Longest pause between two queries of a table, ms. */
const ASK_MS = 400;

export interface Answer {
  table: string;
  frame: number;
  /** Records by producer, and those that were sent by then, acknowledged or not. */
  counts: Counts;
  sent: Counts;
  /** Entries by producer as of the frame, and how many there can be; the records may be those of later frames then. */
  keys?: { counts: Counts; most: number };
}

export class Answers {
  private readonly run: Load;
  private readonly stream: StreamSpec;
  private readonly answers: Answer[] = [];

  constructor(run: Load, stream: StreamSpec) {
    this.run = run;
    this.stream = stream;
  }

  /** Asks for all tables, side by side, until the time is over. */
  async ask(): Promise<void> {
    await Promise.all(this.stream.tables.map((table) => this.askFor(table)));
  }

  /** Throws unless each answer was that of its frame. `pieces` are all records of the stream. */
  check(pieces: Iterable<Piece & { producer: string }>): void {
    try {
      checkAnswers(this.answers, pieces);
    } catch (error) {
      throw new Error(`${this.stream.name} was asked: ${(error as Error).message}`, { cause: error });
    }
  }

  private async askFor(table: TableSpec): Promise<void> {
    const { run, stream, answers } = this;
    const { over, summary } = run;
    const chance = run.chance(`ask ${stream.name} ${table.name}`);
    const label = `${stream.name}/${table.name}`;
    let least: Answer | undefined;
    while (!over.signal.aborted) {
      try {
        const { frame, rows } = await run.ask(stream, table);
        const counts = table.countsOf(rows);
        const sent = producersOf(stream, new Map(run.loaders.map((each) => [each.producer, each.sent])));
        const keys = table.keys && { counts: table.keys.of(rows), most: table.keys.most };
        const answer = { table: table.name, frame, counts, sent, ...(keys ? { keys } : {}) };
        checkOrder(answer, least);
        least = answer;
        answers.push(answer);
        summary.answers[label] = (summary.answers[label] ?? 0) + 1;
      } catch (error) {
        const { code, message } = error as HallelujahError;
        if (!code || !run.isRefusal(error as HallelujahError))
          throw new Error(`${stream.name} was asked for ${table.name}: ${code ?? ""} ${message}`, {
            cause: error,
          });
        summary.refusals[code] = (summary.refusals[code] ?? 0) + 1;
      }
      await run.pause(chance() * ASK_MS);
    }
  }
}

/** Throws if an answer has what was not sent, or goes back behind the one before. */
function checkOrder({ frame, counts, sent, keys }: Answer, least: Answer | undefined): void {
  for (const [producer, most] of sent) {
    const count = counts.get(producer) ?? 0;
    if (count > most) throw new Error(`it holds ${count} records of ${producer}, which sent ${most}`);
    if (!keys && count < (least?.counts.get(producer) ?? 0))
      throw new Error(
        `it holds ${count} records of ${producer} at frame ${frame}, and held ${least!.counts.get(producer)} at frame ${least!.frame} before`,
      );
  }
  if (least && frame < least.frame)
    throw new Error(`it answers at frame ${frame}, and was at ${least.frame} before`);
}

/**
 * Throws unless each answer holds the records of the frames below its own, and no others; or, where it says so, at least
 * these, and exactly their entries. `pieces` are all records, in any order.
 */
export function checkAnswers(answers: Answer[], pieces: Iterable<Piece & { producer: string }>): void {
  const all = [...pieces].sort((a, b) => a.frame - b.frame);
  const below: Counts = new Map();
  const wrong = new Differences();
  let next = 0;
  for (const { table, frame, counts, sent, keys } of [...answers].sort((a, b) => a.frame - b.frame)) {
    for (; next < all.length && all[next].frame < frame; next++) {
      const { producer, count } = all[next];
      below.set(producer, (below.get(producer) ?? 0) + count);
    }
    for (const producer of sent.keys()) {
      const due = below.get(producer) ?? 0;
      const count = counts.get(producer) ?? 0;
      if (keys ? count < due : count !== due)
        wrong.add(
          `${table} at frame ${frame} had ${count} records of ${producer}, and ${due} are in the frames below`,
        );
      const entries = keys?.counts.get(producer) ?? 0;
      if (keys && entries !== Math.min(due, keys.most))
        wrong.add(
          `${table} at frame ${frame} had ${entries} entries of ${producer}, and ${due} records are in the frames below`,
        );
    }
  }
  wrong.end();
}
