/** What has to come out of a soak's streams, row by row. */
import { type Counts, Differences, type History, Makes, type Taken } from "./handled.ts";
import { BASE_MS, STEP_MS } from "./kernels.ts";

/** Keys of one producer. */
export const LINES = 100;
const TAGS = 40;
const USERS = 7;
/** The windows of examples/trending.ts, ms. */
const WINDOW_MS = 60 * 60_000;
const SLIDE_MS = 10 * 60_000;

// biome-ignore lint/suspicious/noExplicitAny: rows are whatever the kernels make
type Row = any;

export interface OutputCheck {
  take(row: Row): void;
  /** Throws unless all rows of these records, and no others, were taken. */
  end(counts: Counts): void;
  /** Throws unless each row came of the make that the history says. */
  endMakes?(pieces: Taken["pieces"], history: History): void;
}

/** Each line goes on from its last number, with the sum of all so far. */
export class Chains implements OutputCheck {
  private readonly lines = new Map<string, { last: number; sum: number }>();
  private readonly counts: Counts = new Map();
  private readonly makes = new Makes();

  take(row: Row): void {
    const { line, n, before, sum, make } = row;
    const [producer, key] = (line as string).split("-");
    const known = this.lines.get(line);
    const due = known ? known.last + LINES : Number(key);
    const total = (known?.sum ?? 0) + due;
    if (n !== due || before !== (known?.last ?? 0) || sum !== total)
      throw new Error(`${JSON.stringify(row)} came where ${due} is due, with the sum ${total}`);
    this.lines.set(line, { last: n, sum });
    this.counts.set(producer, (this.counts.get(producer) ?? 0) + 1);
    this.makes.set(producer, n, make);
  }

  endMakes(pieces: Taken["pieces"], history: History): void {
    this.makes.check(pieces, history);
  }

  end(counts: Counts): void {
    const wrong = new Differences();
    for (const [producer, count] of counts) {
      const got = this.counts.get(producer) ?? 0;
      if (got !== count) wrong.add(`${got} rows came of the ${count} records of ${producer}`);
    }
    wrong.end();
  }
}

/** Windows of each tag, in the order of their ends. */
export class Trends implements OutputCheck {
  private readonly rows = new Map<string, string[]>();

  take(row: Row): void {
    const rows = this.rows.get(row.tag) ?? [];
    this.rows.set(row.tag, rows);
    rows.push(`${row.until} ${row.posts} ${row.users}`);
  }

  end(counts: Counts): void {
    const count = counts.get("t0") ?? 0;
    const wrong = new Differences();
    for (let tag = 0; tag < TAGS; tag++) {
      const due = trendsOf(tag, count);
      const came = this.rows.get(`t${tag}`) ?? [];
      const at = due.findIndex((row, i) => row !== came[i]);
      if (at >= 0 || came.length !== due.length)
        wrong.add(
          `t${tag} has ${came.length} windows of ${due.length}; "${came[at]}" where "${due[at]}" is due`,
        );
    }
    wrong.end();
  }
}

/** A record of trends. */
export function post(n: number): string {
  const at = new Date(BASE_MS + n * STEP_MS).toISOString();
  return `{"tag":"t${n % TAGS}","at":"${at}","user":"u${Math.floor(n / TAGS) % USERS}"}\n`;
}

/** The windows of a tag over the first `count` records: the end, how many there are, and of how many users. */
function trendsOf(tag: number, count: number): string[] {
  const rows: string[] = [];
  const over = BASE_MS + (count - 1) * STEP_MS + WINDOW_MS;
  /** Records of the tag among the first so many of all. */
  const upTo = (n: number) => Math.max(0, Math.ceil((Math.min(Math.max(n, 0), count) - tag) / TAGS));
  for (let end = Math.ceil(BASE_MS / SLIDE_MS) * SLIDE_MS; end <= over; end += SLIDE_MS) {
    const posts =
      upTo(Math.ceil((end - BASE_MS) / STEP_MS)) - upTo(Math.ceil((end - WINDOW_MS - BASE_MS) / STEP_MS));
    if (posts >= 2) rows.push(`${new Date(end).toISOString()} ${posts} ${Math.min(posts, USERS)}`);
  }
  return rows;
}
