/**
 * The part of `hallelujah/generated` in which order and time matter: what is done with each record, `fold` at the owner of its
 * key, and the closing of windows and sessions.
 */
import type { RecordDescriptor, RecordField } from "./descriptor.ts";
import { className, type KernelModel, kernelName, type TableModel, tableName } from "./kernel-model.ts";

/** `ahead`: the fields that are read before `each` is called, if it reads rows in place. */
export function orderFunctions(
  model: KernelModel,
  input: RecordDescriptor,
  ahead: string[] | undefined,
): string {
  const { fold, time } = model;
  const timed = model.tables.filter(({ kind }) => kind !== "Table");
  const timeAt = time && input.fields.find(({ name }) => name === time.field)!.offset;
  return `
import { countLate } from "./state/entries";
import { emitFull, emitLate } from "./output";
import { EVENT_TIME, SILENT } from "./abi";
import { RECORD_HEADER, keepRecord, sectionAt } from "./fold";
import { damaged } from "./damaged";
import { decodedTo, keepDecoded } from "./record/decoded";
import { releaseFrame, setLasting } from "./heap";

/** How late records may be, ms. */
export const LATENESS: i64 = ${time?.lateness ?? 0};

/** Whether owners emit, in the order of frames. */
export function isOrdered(): bool {
  return ${fold !== undefined || timed.length > 0};
}

/** Whether event time closes windows or sessions. */
export function isTimed(): bool {
  return ${timed.length > 0};
}

/** The greatest event time of the frame. */
@inline function noteTime(ms: i64): void {
  const time = <f64>ms;
  if (time > load<f64>(EVENT_TIME)) store<f64>(EVENT_TIME, time);
}

/** What is done with the record at hand. */
export function each(): void {
  if (decodedTo) keepDecoded(RECORD);
  eachInPlace();
}

/** The same, the author's function and all, for a loop that does nothing else. */
@inline export function eachInPlace(): void {
${timeAt === undefined ? "" : `  noteTime(load<i64>(RECORD + ${timeAt}));`}
${model.each ? callEach(className(input.name), ahead) : ""}
${fold ? "  sendRecord();" : ""}
}
${fold ? foldFunctions(model, fold, input, timeAt) : NO_FOLD}
${timed.map((table) => closeFunction(model, table)).join("\n")}
export function collectDue(table: u32, time: f64): void {
${byTable(model, timed, (name) => `${name}.collectDue(time);`)}
}
export function firstDueOf(table: u32): f64 {
${byTable(model, timed, (name) => `return ${name}.firstDue();`)}
  return Infinity;
}
/** Closes what is due in a table, until what was emitted has to be fetched, which answers true. */
export function closeSome(table: u32, silent: bool): bool {
${byTable(
  model,
  timed,
  (name) => `while (${name}.nextDue()) {
        if (silent && load<u8>(SILENT + ${name}.closingPartition())) continue;
        setLasting(${name}.closesInPlace());
        close_${name}();
        setLasting(false);
        __heap_release();
        if (emitFull()) return true;
      }
      ${name}.endDue();
      releaseFrame();
      return false;`,
)}
  return false;
}`;
}

const NO_FOLD = `
export function foldRecords(p: usize, end: usize, count: u32): usize {
  return unreachable();
}`;

function callEach(record: string, ahead: string[] | undefined): string {
  if (!ahead) return `  kernelEach(changetype<${record}>(RECORD));`;
  const fields = ahead.map((field) => `, record.${field}`).join("");
  return `  const record = changetype<${record}>(0);
  kernelEach(record${fields});`;
}

function byTable(model: KernelModel, timed: TableModel[], body: (name: string) => string): string {
  if (!timed.length) return "";
  const cases = timed.map(
    (table) => `    case ${model.tables.indexOf(table)}: {
      ${body(tableName(table))}
    }`,
  );
  return `  switch (table) {\n${cases.join("\n")}\n  }`;
}

function closeFunction(model: KernelModel, table: TableModel): string {
  const name = tableName(table);
  const close = model.closes.find((each) => each.table === table)!;
  return `
function close_${name}(): void {
  ${kernelName(close.name)}(${name}.closingWindow(), ${name}.closingKey(), ${name}.closingValue());
}`;
}

/** Where the view of a field's text is in the record. */
function textAt({ offset, optional }: RecordField): number {
  return offset + (optional ? 8 : 0);
}

function foldFunctions(
  model: KernelModel,
  fold: TableModel,
  { name: record, fields, size }: RecordDescriptor,
  timeAt: number | undefined,
): string {
  const name = className(record);
  const texts = fields.filter(({ type }) => type === "Text");
  const partitionOf = fold.kind === "Windows" ? "partitionOfKey" : "partitionOf";
  const lengths = texts.map((field, i) => {
    const length = `load<u32>(RECORD + ${textAt(field)}, 4)`;
    return `  const length${i}: usize = ${field.optional ? `load<u64>(RECORD + ${field.offset}) ? ${length} : 0` : length};`;
  });
  const copies = texts.map(
    (field, i) => `  store<u32>(to, <u32>length${i}, ${textAt(field) + 4});
  memory.copy(o, load<u32>(RECORD + ${textAt(field)}), length${i});
  o += length${i};`,
  );
  return `
/** Sends the record to the owner of its key. */
function sendRecord(): void {
  const partition = ${tableName(fold)}.${partitionOf}(kernelKey(changetype<${name}>(RECORD)));
${lengths.join("\n")}
  const to = keepRecord(partition, ${[size, ...texts.map((_, i) => `length${i}`)].join(" + ")});
  memory.copy(to, RECORD, ${size});
  ${texts.length ? `let o = to + ${size};` : ""}
${copies.join("\n")}
}

/** Makes the texts of a record that was sent, and has \`left\` bytes, views of its bytes. */
@inline function restoreTexts(record: usize, left: usize): void {
  ${texts.length ? `let o = record + ${size};` : ""}
  left -= ${size};
${texts
  .map((field, i) => {
    const length = `length${i}`;
    return `  const ${length} = <usize>load<u32>(record, ${textAt(field) + 4});
  if (${length} > left) damaged();
  store<u32>(record, <u32>o, ${textAt(field)});
  o += ${length};
  left -= ${length};`;
  })
  .join("\n")}
}

/** Folds records, until what was emitted has to be fetched; see fold.ts. */
export function foldRecords(p: usize, end: usize, count: u32): usize {
  setLasting(true);
  while (count) {
    if (end - p < RECORD_HEADER + ${size}) damaged();
    const bytes = <usize>load<u32>(p);
    if (bytes < RECORD_HEADER + ${size} || bytes > end - p) damaged();
    const record = changetype<${name}>(p + RECORD_HEADER);
    restoreTexts(p + RECORD_HEADER, bytes - RECORD_HEADER);
    foldRecord(record);
    __heap_release();
    p += bytes;
    count--;
    if (count && emitFull()) {
      p -= 8;
      sectionAt(p, count);
      break;
    }
  }
  setLasting(false);
  return p;
}

function isTooLate(record: ${name}): void {
  countLate(1);
${
  model.late
    ? `  emitLate(true);
  kernelLate(record);
  emitLate(false);`
    : ""
}
}

function foldRecord(record: ${name}): void {
${foldBody(fold, timeAt)}
}`;
}

function foldBody(fold: TableModel, timeAt: number | undefined): string {
  const { kind, state } = fold;
  const name = tableName(fold);
  const time = `const ms = load<i64>(changetype<usize>(record) + ${timeAt ?? 0});`;
  if (kind === "Windows")
    return `  const key = kernelKey(record);
  ${time}
  let taken = false;
  const last = ${name}.startOf(ms);
  for (let start = ${name}.firstStart(ms); start <= last; start += ${name}.stepMs) {
    const state = ${name}.own(key, start);
    if (!changetype<usize>(state)) continue;
    taken = true;
    kernelFold(record, state);
  }
  if (!taken) isTooLate(record);`;
  if (kind === "Sessions")
    return `  const key = kernelKey(record);
  ${time}
  const entry = ${name}.entryIfAny(key);
  let state: ${className(state)};
  if (entry && ${name}.isBehind(entry, ms)) {
    ${name}.closeAt(entry);
    close_${name}();
    state = ${name}.restart(entry, ms);
  } else state = ${name}.own(key, ms);
  if (changetype<usize>(state)) kernelFold(record, state);
  else isTooLate(record);`;
  return `  kernelFold(record, ${name}.own(kernelKey(record)));`;
}
