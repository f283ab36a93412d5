/**
 * Which kernel handled which record. Kernels of one stream differ in a number, their *make*, which they leave with each record that they
 * take; the stream's history says from which frame on which make is due, and the answers to pushes say which records are in which
 * frame. So each record is held against the history: nothing is told by the engine of what it did.
 */
import type { VersionInfo } from "../../host/client/live.ts";
import { FRAME_BYTES } from "../../host/core/limits.ts";

/** Differences that are named. */
const SHOWN = 5;
/** Numbers of records are mixed to below this, so that two records in place of each other are seen in a total. */
const MIX = 65_521;

/** Records by producer: the first so many of each. */
export type Counts = Map<string, number>;

/** Records of one producer that are in one frame. */
export interface Piece {
  frame: number;
  first: number;
  count: number;
}

/** What a host has acknowledged, and the histories of its streams. */
export interface Taken {
  counts: Counts;
  /** By producer, ascending. */
  pieces: Map<string, Piece[]>;
  /** By stream. */
  histories: Map<string, History>;
}

/** A row of a table that tells what each make has handled. */
export interface HandledRow {
  key: number;
  n: { count: number; sum: number; min: number; max: number };
  mix: number;
}

/** Declares that table in the source of a kernel; `handle(n)` is to be called for each record. */
export const HANDLED = `
@state class Handled { n: Stats; mix: Sum<i64> }
const handled = new Table<i64, Handled>("handled");
function handle(make: i64, n: i64): void {
  const own = handled.at(make);
  own.n.add(<f64>n);
  own.mix.add((n * n) % ${MIX});
}
`;

/** The file of a make, from whose name the history tells the make. */
export function fileOf(make: number): string {
  return `make-${make}.ts`;
}

/** NaN of a kernel that stops at its first record, which is of no make: none is due. */
export function makeOfFile(file: string): number {
  return Number(/^make-(\d+)\.ts$/.exec(file)?.[1]);
}

/** A body's records, of so many bytes each, as they are cut into frames, of which the last is `frame`. */
export function piecesOf(sizes: number[], first: number, frame: number): Piece[] {
  const pieces: Piece[] = [];
  let bytes = Infinity;
  sizes.forEach((size, i) => {
    if (bytes + size > FRAME_BYTES) {
      pieces.push({ frame: 0, first: first + i, count: 0 });
      bytes = 0;
    }
    bytes += size;
    pieces.at(-1)!.count++;
  });
  pieces.forEach((piece, i) => (piece.frame = frame - (pieces.length - 1 - i)));
  return pieces;
}

/** The versions that frames belong to, between two reprocesses. */
export type Era = { from: number; make: number }[];

/** The versions of one stream, also those that its host does not remember any more. */
export class History {
  private readonly versions = new Map<number, VersionInfo>();

  /** Takes in what the host says, from its oldest version on. */
  learn(versions: VersionInfo[]): void {
    for (const version of this.versions.keys())
      if (version >= versions[0].version) this.versions.delete(version);
    for (const each of versions) this.versions.set(each.version, each);
  }

  /** All that are known, the oldest first. */
  get all(): VersionInfo[] {
    return [...this.versions.values()];
  }

  copy(): History {
    const copy = new History();
    copy.learn(this.all);
    return copy;
  }

  /**
   * What is due of output: a reprocess leaves what was put out before it took over. Of state there is only the last era, as a reprocess takes in
   * everything anew.
   */
  get eras(): Era[] {
    const eras: Era[] = [];
    for (const { file, from, how, error } of this.all) {
      if (error !== undefined) continue;
      if (how === "reprocessed" || !eras.length) eras.push([]);
      eras.at(-1)!.push({ from, make: makeOfFile(file) });
    }
    return eras;
  }
}

/** Throws unless a table has what each make is due by the last era, and nothing else. */
export function checkHandled(rows: HandledRow[], pieces: Iterable<Piece>, history: History): void {
  const era = history.eras.at(-1)!;
  const due = new Map<number, HandledRow>();
  for (const { frame, first, count } of pieces) {
    const make = makeOf(era, frame);
    let row = due.get(make);
    if (!row)
      due.set(make, (row = { key: make, n: { count: 0, sum: 0, min: Infinity, max: -Infinity }, mix: 0 }));
    const { n } = row;
    n.count += count;
    n.min = Math.min(n.min, first);
    n.max = Math.max(n.max, first + count - 1);
    for (let each = first; each < first + count; each++) {
      n.sum += each;
      row.mix += (each * each) % MIX;
    }
  }
  const wrong = new Differences();
  const keys = new Set([...due.keys(), ...rows.map(({ key }) => key)]);
  for (const key of keys) {
    const [is, should] = [rows.find((row) => row.key === key), due.get(key)].map((row) =>
      row
        ? `${row.n.count} records from ${row.n.min} to ${row.n.max}, sum ${row.n.sum}, mix ${row.mix}`
        : "nothing",
    );
    if (is !== should) wrong.add(`make ${key} has handled ${is}, where ${should} is due of ${textOf(era)}`);
  }
  wrong.end();
}

/** The make of each record that came out, by producer and number. */
export class Makes {
  private readonly makes = new Map<string, Uint8Array>();

  set(producer: string, n: number, make: number): void {
    let makes = this.makes.get(producer);
    if (!makes || n >= makes.length) {
      const larger = new Uint8Array(Math.max(1024, 2 * n));
      if (makes) larger.set(makes);
      this.makes.set(producer, (makes = larger));
    }
    makes[n] = make;
  }

  /**
   * Throws unless all records of a frame are of one make, which is that of the history: of the era of the frames before, or of a later one, as the
   * history does not tell where a reprocess took over.
   */
  check(pieces: Map<string, Piece[]>, history: History): void {
    const { eras } = history;
    const all = [...pieces].flatMap(([producer, own]) => own.map((piece) => ({ ...piece, producer })));
    all.sort((a, b) => a.frame - b.frame);
    const wrong = new Differences();
    let era = 0;
    let before: { frame: number; make: number } | undefined;
    for (const { producer, frame, first, count } of all) {
      const makes = this.makes.get(producer)?.subarray(first, first + count) ?? [];
      const make = before?.frame === frame ? before.make : makes[0];
      before = { frame, make };
      const other = makes.findIndex((each) => each !== make);
      if (other >= 0) {
        const record = `${first + other} of ${producer}`;
        wrong.add(`frame ${frame} has records of make ${make}, and ${record} of make ${makes[other]}`);
        continue;
      }
      const next = eras.findIndex(
        (each, i) => i >= era && isOpen(eras, i, frame) && makeOf(each, frame) === make,
      );
      if (next >= 0) era = next;
      else {
        const due = eras.slice(era).map(textOf).join(" | ");
        wrong.add(`frame ${frame} has records of make ${make}, against ${due}`);
      }
    }
    wrong.end();
  }
}

/** Whether frames may belong to an era: after all that took over in those before, and before what took over in those after. */
function isOpen(eras: Era[], era: number, frame: number): boolean {
  return eras.every((each, i) =>
    i < era ? each.at(-1)!.from <= frame : i === era || !(each[1]?.from <= frame),
  );
}

/** The make that a frame is due to. */
export function makeOf(era: Era, frame: number): number {
  return (era.findLast(({ from }) => from <= frame) ?? era[0]).make;
}

function textOf(era: Era): string {
  return era.map(({ from, make }) => `${make} from frame ${from}`).join(", ");
}

/** What differs: how much, and the first of it. */
export class Differences {
  private count = 0;
  private readonly first: string[] = [];

  add(text: string): void {
    if (this.count++ < SHOWN) this.first.push(text);
  }

  /** Throws if there is any. */
  end(): void {
    if (this.count) throw new Error(`${this.count} differences, such as\n  ${this.first.join("\n  ")}`);
  }
}
