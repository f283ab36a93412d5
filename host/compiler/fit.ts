/**
 * Whether the state of one kernel fits another, table by table, and what has to be done with it: pure, from what the two
 * modules say of themselves. kernel/upgrade.ts does it.
 */
import type { StateFit, TableFit } from "../wire/fit.ts";
import type { DatasetDescriptor, KernelDescriptor, StateField, TableDescriptor } from "./descriptor.ts";

/** Bytes behind the fields of a value of windows or sessions, which the engine keeps there (compiler/generate.ts). */
const HIDDEN_BYTES = 24;

/** How the state of `old` becomes that of `next`. */
export function fitState(old: KernelDescriptor, next: KernelDescriptor): StateFit {
  const misfits: string[] = [];
  const tables = next.tables.map((table): TableFit => {
    const from = old.tables.findIndex(({ name }) => name === table.name);
    if (from < 0) return { name: table.name, added: [], dropped: [] };
    const found = misfitsOf(old.tables[from], table);
    misfits.push(...found);
    return found.length
      ? { name: table.name, from, added: [], dropped: [] }
      : fitTable(old.tables[from], table, from);
  });
  const removed = old.tables
    .map(({ name }, from) => ({ name, from }))
    .filter(({ name }) => !next.tables.some((table) => table.name === name));
  misfits.push(...misfitsOfRows(old.datasets ?? [], next.datasets ?? []));
  if (timeOf(old) !== timeOf(next)) misfits.push(`the event time is ${timeOf(next)}, and was ${timeOf(old)}`);
  return { tables, removed, misfits };
}

/** Rows stay where they are: datasets keep their places and columns, and others may come behind them. */
function misfitsOfRows(old: DatasetDescriptor[], next: DatasetDescriptor[]): string[] {
  return old.flatMap(({ name, fields }, i) => {
    const now = next[i];
    if (now?.name !== name)
      return [
        `the dataset ${name} is number ${i + 1} of the old kernel's, and has to be that of the new one's`,
      ];
    const is = columnsOf(now.fields);
    const was = columnsOf(fields);
    return is === was ? [] : [`${name}: its rows are of ${is}, and were of ${was}`];
  });
}

function columnsOf(fields: DatasetDescriptor["fields"]): string {
  return fields
    .map(({ name, type, optional }) => `${name}: ${optional ? `Optional<${type}>` : type}`)
    .join(", ");
}

/** Whether owners keep clocks, and which: windows that are open were judged by them. */
function timeOf({ time }: KernelDescriptor): string {
  return time ? `${time.field}, ${time.lateness} ms late at most` : "not used";
}

function misfitsOf(old: TableDescriptor, next: TableDescriptor): string[] {
  const { name } = next;
  const misfits: string[] = [];
  const differs = (what: string, is: string, was: string) => {
    if (is !== was) misfits.push(`${name}: ${what} ${is}, and was ${was}`);
  };
  differs("it is of kind", next.kind ?? "unknown", old.kind ?? "unknown");
  differs("its key is", next.key.join(", "), old.key.join(", "));
  differs("its lengths are", next.span ?? "none", old.span ?? "none");
  for (const field of next.fields) {
    const before = old.fields.find((candidate) => candidate.name === field.name);
    if (before) differs(`the field ${field.name} is`, typeOf(field), typeOf(before));
  }
  return misfits;
}

function typeOf({ aggregate, type, size }: StateField): string {
  const full = type ? `${aggregate}<${type}>` : aggregate;
  return aggregate === "Plain" ? (type ?? `${size} bytes`) : full;
}

function fitTable(old: TableDescriptor, next: TableDescriptor, from: number): TableFit {
  const known = new Map(old.fields.map((field) => [field.name, field]));
  const kept = next.fields.filter(({ name }) => known.has(name));
  const fit = {
    name: next.name,
    from,
    added: next.fields.filter(({ name }) => !known.has(name)).map(({ name }) => name),
    dropped: old.fields
      .filter(({ name }) => !kept.some((field) => field.name === name))
      .map(({ name }) => name),
  };
  const lies = kept.every(({ name, offset }) => known.get(name)!.offset === offset);
  if (lies && !fit.added.length && !fit.dropped.length) return fit;
  const copies = kept.map(({ name, offset, size }) => ({
    from: known.get(name)!.offset,
    to: offset,
    bytes: size,
  }));
  if (next.kind !== "Table") copies.push({ from: sizeOf(old), to: sizeOf(next), bytes: HIDDEN_BYTES });
  return { ...fit, copies };
}

/** Bytes of the fields of a value. */
function sizeOf({ fields }: TableDescriptor): number {
  return fields.reduce((sum, { size }) => sum + size, 0);
}
