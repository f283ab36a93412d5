/** Two answers of a kernel compared: which rows came, went and changed. */
import { flatten } from "../table.ts";

type Row = Record<string, unknown>;

/** What a round came to. */
export interface Result {
  rows: Row[];
  /** There are more rows, which were not read. */
  more: boolean;
  /** Of records that did not fit, and the like. */
  notes: string[];
}

export interface Line {
  /** Added, gone, changed, or as before. */
  mark: "+" | "-" | "~" | " ";
  /** Cells by the names of columns. */
  cells: Row;
  /** Of a row that has changed: the cells that it had, where they were others. */
  was: Row;
}

/** A table, or what the kernel emits. */
export interface Kind {
  title: string;
  columns: string[];
  /** Rows of the new answer in their order; those that are gone behind the one that they came after. */
  lines: Line[];
  rows: number;
  added: number;
  gone: number;
  changed: number;
  /** Columns that only one of the answers has: no row has changed by that alone. */
  newColumns: string[];
  goneColumns: string[];
}

/** The answer, with its changes since the one before; without one nothing is marked. */
export function compare(result: Result, before?: Result): Kind[] {
  const now = byKind(result.rows);
  const then = before ? byKind(before.rows) : undefined;
  const titles = [...new Set([...now.keys(), ...(then?.keys() ?? [])])];
  return titles.map((title) => compareKind(title, now.get(title) ?? [], then && (then.get(title) ?? [])));
}

function byKind(rows: Row[]): Map<string, Row[]> {
  const kinds = new Map<string, Row[]>();
  for (const row of rows) {
    const title = isOfTable(row) ? (row.table as string) : OUTPUT;
    const kind = kinds.get(title);
    if (kind) kind.push(row);
    else kinds.set(title, [row]);
  }
  return kinds;
}

/** No name of a table, as those have no spaces. */
const OUTPUT = "what it emits";

function isOfTable(row: Row): boolean {
  return typeof row.table === "string" && "key" in row;
}

function compareKind(title: string, rows: Row[], before: Row[] | undefined): Kind {
  const now = rows.map(flatten);
  const then = before?.map(flatten);
  const names = namesOf(now);
  const oldNames = then ? namesOf(then) : names;
  const bothHaveRows = now.length > 0 && (then?.length ?? 0) > 0;
  const shared = bothHaveRows ? names.filter((name) => oldNames.includes(name)) : names;
  const columns = names.length ? names : oldNames;
  const identify = title === OUTPUT ? identifyBy(shared) : identifyBy(["key"]);
  const kind: Kind = {
    title,
    columns,
    lines: [],
    rows: now.length,
    added: 0,
    gone: 0,
    changed: 0,
    newColumns: bothHaveRows ? names.filter((name) => !shared.includes(name)) : [],
    goneColumns: bothHaveRows ? oldNames.filter((name) => !shared.includes(name)) : [],
  };
  if (!then) {
    kind.lines = now.map((cells) => ({ mark: " ", cells, was: {} }));
    return kind;
  }
  const ids = identify(now);
  const oldIds = identify(then);
  const old = new Map(oldIds.map((id, i) => [id, then[i]]));
  const kept = new Set(ids);
  const goneBehind = goneBehindOf(oldIds, kept);
  const gone = (id: string | undefined) => {
    for (const each of goneBehind.get(id) ?? []) {
      kind.lines.push({ mark: "-", cells: old.get(each)!, was: {} });
      kind.gone++;
    }
  };
  gone(undefined);
  for (const [i, id] of ids.entries()) {
    const cells = now[i];
    const former = old.get(id);
    const others = former && shared.filter((name) => !same(cells[name], former[name]));
    const mark = !others ? "+" : others.length ? "~" : " ";
    if (mark === "+") kind.added++;
    if (mark === "~") kind.changed++;
    kind.lines.push({
      mark,
      cells,
      was: Object.fromEntries((others ?? []).map((name) => [name, former![name]])),
    });
    gone(id);
  }
  return kind;
}

/** Ids that are gone, by the kept one that they came after. */
function goneBehindOf(oldIds: string[], kept: Set<string>): Map<string | undefined, string[]> {
  const behind = new Map<string | undefined, string[]>();
  let last: string | undefined;
  for (const id of oldIds) {
    if (kept.has(id)) last = id;
    else {
      const list = behind.get(last);
      if (list) list.push(id);
      else behind.set(last, [id]);
    }
  }
  return behind;
}

/** Rows by these cells; equal ones are told by which of them they are. */
function identifyBy(names: string[]): (rows: Row[]) => string[] {
  return (rows) => {
    const seen = new Map<string, number>();
    return rows.map((row) => {
      const id = JSON.stringify(names.map((name) => row[name]));
      const nth = seen.get(id) ?? 0;
      seen.set(id, nth + 1);
      return `${nth} ${id}`;
    });
  };
}

function namesOf(rows: Row[]): string[] {
  return [...new Set(rows.flatMap((row) => Object.keys(row)))];
}

/** Cells are JSON: numbers, texts, null, and lists of those or of objects. */
function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
