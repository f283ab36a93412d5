/**
 * Whether the state of one kernel fits another, table by table, and what has to be done with it: pure, from what the two
 * modules say of themselves. kernel/upgrade.ts does it.
 */
import type { Copy, StateFit, TableFit } from "../wire/fit.ts";
import type { DatasetDescriptor, KernelDescriptor, StateField, TableDescriptor } from "./descriptor.ts";
import { sizeOfFields } from "./state-layout.ts";

/** Bytes behind the fields of a value of windows or sessions, which the engine keeps there (compiler/generate.ts). */
const HIDDEN_BYTES = 24;

/** How the state of `old` becomes that of `next`. */
export function fitState(old: KernelDescriptor, next: KernelDescriptor): StateFit {
  const misfits: string[] = [];
  const tables = next.tables.map((table): TableFit => {
    const from = old.tables.findIndex(({ name }) => name === table.name);
    if (from < 0) return { name: table.name, added: [], dropped: [] };
    const before = old.tables[from];
    const upgrades = table.upgrade !== undefined && !hasSameFields(before.fields, table.fields);
    const found = [
      ...misfitsOfKeys(before, table),
      ...(upgrades ? misfitsOfUpgrade(before, table) : misfitsOfFields(before, table)),
    ];
    misfits.push(...found);
    return found.length
      ? { name: table.name, from, added: [], dropped: [] }
      : { ...fitTable(before, table, from), ...(upgrades ? { upgrade: copiesToOld(before, table) } : {}) };
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

/** Whether a state is as it was: then there is nothing to upgrade, even if the kernel can. */
function hasSameFields(old: StateField[], next: StateField[]): boolean {
  return old.length === next.length && next.every((field) => old.some((before) => isSame(before, field)));
}

function isSame(one: StateField, other: StateField): boolean {
  return one.name === other.name && typeOf(one) === typeOf(other);
}

/** An `upgrade` knows one state to start from, which has to be that of the old kernel as a whole. */
function misfitsOfUpgrade({ fields }: TableDescriptor, { name, upgrade }: TableDescriptor): string[] {
  const expected = upgrade!;
  const before = (field: StateField) => fields.find((each) => each.name === field.name);
  return [
    ...expected.fields.flatMap((field) => {
      const was = before(field);
      const is = `${name}: the field ${field.name} of ${expected.state}, which upgrade takes, is ${typeOf(field)}`;
      if (!was) return [`${is}, and there was none`];
      return isSame(was, field) ? [] : [`${is}, and was ${typeOf(was)}`];
    }),
    ...fields
      .filter((field) => !expected.fields.some((each) => each.name === field.name))
      .map(
        (field) =>
          `${name}: the field ${field.name}, which was ${typeOf(field)}, is not in ${expected.state}, which upgrade takes`,
      ),
  ];
}

function copiesToOld({ fields }: TableDescriptor, { upgrade }: TableDescriptor): Copy[] {
  return upgrade!.fields.map(({ name, offset, size }) => ({
    from: fields.find((field) => field.name === name)!.offset,
    to: offset,
    bytes: size,
  }));
}

function misfitsOfKeys(old: TableDescriptor, next: TableDescriptor): string[] {
  const { name } = next;
  const misfits: string[] = [];
  const differs = (what: string, is: string, was: string) => {
    if (is !== was) misfits.push(`${name}: ${what} ${is}, and was ${was}`);
  };
  differs("it is of kind", next.kind ?? "unknown", old.kind ?? "unknown");
  differs("its key is", next.key.join(", "), old.key.join(", "));
  differs("its lengths are", next.span ?? "none", old.span ?? "none");
  return misfits;
}

function misfitsOfFields(old: TableDescriptor, next: TableDescriptor): string[] {
  const misfits: string[] = [];
  for (const field of next.fields) {
    const before = old.fields.find((candidate) => candidate.name === field.name);
    if (before && !isSame(before, field))
      misfits.push(`${next.name}: the field ${field.name} is ${typeOf(field)}, and was ${typeOf(before)}`);
  }
  return misfits;
}

function typeOf({ aggregate, type, size }: StateField): string {
  const full = type ? `${aggregate}<${type}>` : aggregate;
  return aggregate === "Plain" ? (type ?? `${size} bytes`) : full;
}

function fitTable(old: TableDescriptor, next: TableDescriptor, from: number): TableFit {
  const known = new Map(old.fields.map((field) => [field.name, field]));
  const kept = next.fields.filter((field) => old.fields.some((before) => isSame(before, field)));
  const fit = {
    name: next.name,
    from,
    added: next.fields.filter((field) => !kept.includes(field)).map(({ name }) => name),
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
  if (next.kind !== "Table")
    copies.push({ from: sizeOfFields(old.fields), to: sizeOfFields(next.fields), bytes: HIDDEN_BYTES });
  return { ...fit, copies };
}
