/**
 * The part of `hallelujah/generated` by which `each` reads rows where they lie in their columns (in-place.ts says which kernels may): its record is
 * no memory, but the number of a row, and a field of it is looked up in the column when it is asked for; those that are always asked for
 * are given as parameters beside it. What each row costs elsewhere, to be copied into a record and read there again, is more than half of a short `each`.
 *
 * Rows whose columns are of other types are put into the record's memory as ever. Then that is what the columns are: one row, number 0.
 */
import { KIND } from "../kernel/columns.ts";
import type { RecordDescriptor, RecordField } from "./descriptor.ts";
import { ownColumns } from "./generate-columns.ts";
import { className, type RecordModel } from "./kernel-model.ts";
import { FIELD_TYPES } from "./types.ts";

const ROW = "changetype<usize>(this)";

/** The class of the record: getters alone. */
export function inPlaceClass(record: RecordModel, { fields }: RecordDescriptor): string {
  return `
${fields.map((field, i) => (field.optional ? optionalClass(field, i) : "")).join("")}
@unmanaged export class ${className(record.name)} {
${fields
  .map((field, i) =>
    field.optional
      ? `  @inline get ${field.name}(): Optional${i} { return changetype<Optional${i}>(this); }`
      : `  @inline get ${field.name}(): ${field.type} { return ${valueOf(field, i)}; }`,
  )
  .join("\n")}
}`;
}

/** What `Optional` is of a field in memory. */
function optionalClass(field: RecordField, i: number): string {
  return `
@unmanaged class Optional${i} {
  @inline get present(): bool { return load<u8>(validity${i} + ${ROW}) != 0; }
  @inline get value(): ${field.type} { return ${valueOf(field, i)}; }
  @inline or(otherwise: ${field.type}): ${field.type} { return this.present ? this.value : otherwise; }
}`;
}

/** The value of a field in a row; `local` stands before the names of what is known of its column. */
function valueOf({ type }: RecordField, i: number, row = ROW, local = ""): string {
  const { width, view } = FIELD_TYPES[type];
  const place = `${local}values${i} + (${row} << ${Math.log2(width)})`;
  if (type === "Text") return `changetype<Text>(${local}views${i} + ((<usize>load<u32>(${place})) << 3))`;
  return view ? `changetype<${type}>(${place})` : `load<${type}>(${place})`;
}

/** Where the columns are, and the loop over their rows. */
export function inPlaceRows(
  record: RecordModel,
  { fields }: RecordDescriptor,
  ahead: string[],
  timeField: string | undefined,
): string {
  const read = fields.flatMap((field, i) => (ahead.includes(field.name) ? [{ field, i }] : []));
  const texts = fields.flatMap(({ type }, i) => (type === "Text" ? [i] : []));
  const time = fields.findIndex(({ name }) => name === timeField);
  const slot = ({ offset, optional }: RecordField) => `RECORD + ${offset + (optional ? 8 : 0)}`;
  const lines = (of: (field: RecordField, i: number) => string) =>
    fields
      .map(of)
      .filter((line) => line)
      .join("\n");
  return `
/** Code 0, which the one text of a field has that lies in the record's memory. */
const NO_CODE: usize = memory.data(8, 8);
${lines(
  (field, i) => `let values${i}: usize = ${field.type === "Text" ? "NO_CODE" : slot(field)};
${field.optional ? `let validity${i}: usize = RECORD + ${field.offset};` : ""}
${field.type === "Text" ? `let views${i}: usize = ${slot(field)};\nlet viewBytes${i}: usize = 0;` : ""}`,
)}

/** Whether the columns of the frame at \`base\` can be read in place, some of them made wide. */
export function isExact(base: usize): bool {
  return ${fields.map(reads).join(" &&\n    ")};
}

/** Maps rows [from, to) of such a frame. Returns the row behind the last one that was mapped. */
export function mapExactRows(base: usize, from: u32, to: u32): u32 {
  const step = isOwn(base) ? to - from : WIDE_ROWS;
  let row = from;
  while (row < to && !partFull) {
    const end = min(row + step, to);
    placeColumns(base, row, end);
    row = mapPlaced(row, end);
  }
${lines(
  (field, i) => `  values${i} = ${field.type === "Text" ? "NO_CODE" : slot(field)};
${field.optional ? `  validity${i} = RECORD + ${field.offset};` : ""}
${field.type === "Text" ? `  views${i} = ${slot(field)};\n  viewBytes${i} = 0;` : ""}`,
)}
  return row;
}

function placeColumns(base: usize, from: u32, to: u32): void {
${lines(
  ({ type, optional }, i) => `  values${i} = ${columnPlace(type, i)};
${optional ? `  validity${i} = validityOf(columnAt(base, ${i}), from);` : ""}
${
  type === "Text"
    ? `  views${i} = <usize>load<u32>(columnAt(base, ${i}), 16);
  viewBytes${i} = (<usize>load<u32>(columnAt(base, ${i}), 12)) << 3;`
    : ""
}`,
)}
}

function mapPlaced(from: u32, to: u32): u32 {
${read
  .map(
    ({ field: { type }, i }) => `  const own_values${i} = values${i};
${type === "Text" ? `  const own_views${i} = views${i};` : ""}`,
  )
  .join("\n")}
  let row = from;
  while (row < to) {
${time < 0 ? "" : `    noteTime(load<i64>(values${time} + ((<usize>row) << 3)));`}
    kernelEach(${[
      `changetype<${className(record.name)}>(row)`,
      ...read.map(({ field, i }) => valueOf(field, i, "(<usize>row)", "own_")),
    ].join(", ")});
    row++;
    __heap_release();
    if (partFull) break;
  }
  return row;
}

${ownColumns(fields, "function isOwn")}

/** Whether a view is one of those that the rows of a dataset share, which stay where they are. */
export function isShared(view: usize): bool {
${texts.map((i) => `  if (view - views${i} < viewBytes${i}) return true;`).join("\n")}
  return false;
}

/** For kernels with a record in memory. */
export function cellOf(text: usize): u32 {
  return 0;
}`;
}

/** Whether a field can be read in place from its column. */
function reads({ type, optional }: RecordField, i: number): string {
  const column = `columnAt(base, ${i})`;
  const kind = `load<u32>(${column})`;
  const fits =
    type === "i64"
      ? `widensToI64(${kind})`
      : type === "f64"
        ? `widensToF64(${kind})`
        : `${kind} == ${kindOf(type)}`;
  return optional ? fits : `${fits} && !load<u32>(${column}, 4)`;
}

function columnPlace(type: string, i: number): string {
  const column = `columnAt(base, ${i})`;
  if (type === "i64") return `wideI64(${column}, ${i}, from, to)`;
  return type === "f64" ? `wideF64(${column}, ${i}, from, to)` : `<usize>load<u32>(${column}, 8)`;
}

function kindOf(type: string): number {
  return KIND[FIELD_TYPES[type].kind];
}

/**
 * Reads a text of a row whose record is made in memory: one of a dictionary is still read where it lies, by which tables know it.
 */
export function inPlaceText(i: number, at: string): string {
  return `if (load<u32>(d) == ${KIND.codes}) {
      values${i} = <usize>load<u32>(d, 8) + ((<usize>row) << 2);
      views${i} = <usize>load<u32>(d, 16);
      viewBytes${i} = (<usize>load<u32>(d, 12)) << 3;
    } else {
      values${i} = NO_CODE;
      views${i} = ${at};
      viewBytes${i} = 0;
      columnText(d, row, ${at});
    }`;
}
