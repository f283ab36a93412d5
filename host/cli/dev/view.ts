/** What `dev` shows of a round, as text: of a terminal's size, or one block of a pipe. */
import { colors } from "../colors.ts";
import { cell, cellWidth, grid } from "../table.ts";
import { compare, type Kind, type Line, type Result } from "./changes.ts";
import type { Shown } from "./loop.ts";

/** Rows of a table in a pipe, where nothing says how many fit. */
const ROWS_IN_PIPE = 20;
/** Lines of a table that are no rows: title, frame and names, and what is said of rows that do not fit. */
const FRAME_LINES = 6;
const ROWS_LEAST = 3;

export interface ViewOptions {
  /** Name of the kernel's file. */
  name: string;
  /** Columns of text. */
  width: number;
  /** Lines of the terminal; undefined in a pipe. */
  height?: number | undefined;
  /** Rows of each table, if not as many as fit. */
  limit?: number | undefined;
}

/** A round as text, which ends with a line break; empty where there is nothing to print yet. */
export function render(shown: Shown, options: ViewOptions): string {
  const { name, height } = options;
  if (shown.kind === "working")
    return height === undefined ? "" : `${colors.dim(`#${shown.round} ${name}: at work ...`)}\n`;
  const head = (what: string) => `${colors.bold(`#${shown.round} ${name}`)} ${what}\n`;
  const took = `${Math.round(shown.ms)} ms`;
  if (shown.kind === "answer") {
    const kinds = compare(shown.result, shown.before);
    const total = shown.before ? `: ${inWords(sum(kinds)) || "nothing changed"}` : "";
    const used = 1 + shown.result.notes.length;
    return head(`${took}${total}`) + notesOf(shown.result) + tables(kinds, shown.result, used, options);
  }
  const error = `${head(colors.red(`failed after ${took}`))}${printable(shown.message)}\n`;
  if (!shown.last) return error;
  const stays = `${error}${colors.dim(`#${shown.lastRound} is the last good answer${height === undefined ? "" : ":"}`)}\n`;
  if (height === undefined) return stays;
  return stays + tables(compare(shown.last), shown.last, stays.split("\n").length, options);
}

function tables(kinds: Kind[], { more }: Result, used: number, options: ViewOptions): string {
  const { width, height, limit } = options;
  if (!kinds.length) return "no rows\n";
  const share =
    height === undefined ? ROWS_IN_PIPE : Math.floor((height - used - 1) / kinds.length) - FRAME_LINES;
  const most = limit ?? (height === undefined ? share : Math.max(ROWS_LEAST, share));
  const cut = more ? colors.dim("there are more rows, which are not read and not compared\n") : "";
  return kinds.map((kind) => draw(kind, most, width)).join("") + cut;
}

function draw(kind: Kind, most: number, width: number): string {
  const { title, rows, columns, lines } = kind;
  const changes = [inWords(kind), columnsInWords(kind)].filter(Boolean).join("; ");
  const count = `${rows} ${rows === 1 ? "row" : "rows"}${changes ? `: ${changes}` : ""}`;
  const heading = `${colors.bold(title)} ${colors.dim(`(${count})`)}\n`;
  if (!lines.length) return heading;
  const shown = choose(lines, most);
  const marked = lines.some(({ mark }) => mark !== " ");
  const names = marked ? ["", ...columns] : columns;
  const numeric = columns.map((name) =>
    shown.every(
      ({ cells }) => cells[name] === null || cells[name] === undefined || typeof cells[name] === "number",
    ),
  );
  const cells = shown.map((line) => [
    ...(marked ? [line.mark] : []),
    ...columns.map((name) => cellOf(line, name, cellWidth(width))),
  ]);
  const left = lines.length - shown.length;
  const changed = countMarked(lines) - countMarked(shown);
  const rest = left ? `${left} more rows${changed ? `, ${changed} of them with changes` : ""}\n` : "";
  const framed = grid(names, marked ? [false, ...numeric] : numeric, cells, width);
  return `${heading}${marked ? paint(framed) : framed}\n${rest && colors.dim(rest)}`;
}

/** Those with changes first; in their order. */
function choose(lines: Line[], most: number): Line[] {
  if (lines.length <= most) return lines;
  const marked = Math.min(most, countMarked(lines));
  let [withChange, without] = [marked, most - marked];
  return lines.filter(({ mark }) => (mark === " " ? without-- > 0 : withChange-- > 0));
}

function countMarked(lines: Line[]): number {
  return lines.filter(({ mark }) => mark !== " ").length;
}

const PAINT: Record<string, (text: string) => string> = {
  "+": colors.green,
  "-": colors.red,
  "~": colors.yellow,
};

/** Marks in their color, as cells cannot have any. */
function paint(framed: string): string {
  return framed.replace(/^(\S* )([+~-])(?= )/gm, (_, edge: string, mark: string) => edge + PAINT[mark](mark));
}

/** A cell, with what it was if it is another now: in full where both look the same when they are rounded. */
function cellOf({ cells, was }: Line, name: string, max: number): unknown {
  if (!(name in was)) return cell(cells[name], max);
  const [now, then] = [cell(cells[name], max), cell(was[name], max)];
  if (now !== then) return `${now} (was ${then || "nothing"})`;
  return `${inFull(cells[name])} (was ${inFull(was[name])})`;
}

function inFull(value: unknown): string {
  return printable(typeof value === "string" ? value : JSON.stringify(value ?? null));
}

/** What a kernel's file holds is not for the terminal to obey. */
function printable(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\uFFFD");
}

function notesOf({ notes }: Result): string {
  return notes.map((note) => `${colors.yellow(printable(note))}\n`).join("");
}

type Counts = Pick<Kind, "added" | "gone" | "changed">;

function sum(kinds: Kind[]): Counts {
  const total = { added: 0, gone: 0, changed: 0 };
  for (const { added, gone, changed } of kinds) {
    total.added += added;
    total.gone += gone;
    total.changed += changed;
  }
  return total;
}

function inWords({ added, gone, changed }: Counts): string {
  return [
    [added, "added"],
    [gone, "gone"],
    [changed, "changed"],
  ]
    .filter(([count]) => count)
    .map(([count, what]) => `${count} ${what}`)
    .join(", ");
}

function columnsInWords({ newColumns, goneColumns }: Kind): string {
  return [
    ...(newColumns.length ? [`new: ${newColumns.join(", ")}`] : []),
    ...(goneColumns.length ? [`no more: ${goneColumns.join(", ")}`] : []),
  ].join("; ");
}
