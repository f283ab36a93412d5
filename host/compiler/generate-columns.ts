/** The part of `hallelujah/generated` that reads columns into the input record. */
import { KIND } from "../kernel/columns.ts";
import type { RecordField } from "./descriptor.ts";
import { FIELD_TYPES, wideOf } from "./types.ts";

/** Reads the value of `row` from any kind of column that serves a field. */
export function columnRead(type: string, at: string): string {
  if (type === "Text") return `columnText(d, row, ${at});`;
  if (type === "f64") return `store<f64>(${at}, columnF64(d, row));`;
  if (type === "f32") return `store<f32>(${at}, <f32>columnF64(d, row));`;
  if (type === "bool") return `store<u64>(${at}, <u64>columnBool(d, row));`;
  // Files hold 64-bit integers where a kernel wants fewer bits: what does not fit is a bad record, not another number.
  const narrow = /^[iu](8|16|32)$/.test(type);
  const fits = narrow
    ? `if (value < <i64>${type}.MIN_VALUE || value > <i64>${type}.MAX_VALUE) return NOT_AN_INTEGER; `
    : "";
  return `const value = columnI64(d, row); ${fits}store<i64>(${at}, value);`;
}

/**
 * The loop over rows whose columns are of the fields' own types, as a dataset of the same class has them: where each is, is known before
 * the loop, and nothing has to be checked.
 */
export function exactRows(fields: RecordField[]): string {
  const test = ({ type, optional }: RecordField, i: number) =>
    `load<u32>(columnAt(base, ${i})) == ${KIND[FIELD_TYPES[type].kind]} && (load<u32>(columnAt(base, ${i}), 4) != 0) == ${optional}`;
  const places = fields.flatMap(({ type, optional }, i) => [
    `  const data${i} = <usize>load<u32>(columnAt(base, ${i}), 8);`,
    ...(type === "Text" ? [`  const texts${i} = <usize>load<u32>(columnAt(base, ${i}), 16);`] : []),
    ...(optional ? [`  const validity${i} = <usize>load<u32>(columnAt(base, ${i}), 4);`] : []),
  ]);
  return `
/** Whether the columns of the frame at \`base\` are of the fields' own types. */
export function isExact(base: usize): bool {
  return ${fields.map(test).join(" &&\n    ")};
}

/** Maps rows [from, to) of a frame that is exact. Returns the row behind the last one that was mapped. */
export function mapExactRows(base: usize, from: u32, to: u32): u32 {
${places.join("\n")}
  let row = from;
  while (row < to) {
${fields.map(readExact).join("\n")}
    row++;
    eachInPlace();
    __heap_release();
    if (partFull) break;
  }
  return row;
}`;
}

function readExact({ type, optional, offset }: RecordField, i: number): string {
  const { width } = FIELD_TYPES[type];
  const own = type === "bool" ? "u8" : type === "Time" || type === "Decimal" ? "i64" : type;
  const at = `RECORD + ${offset + (optional ? 8 : 0)}`;
  const place = `data${i} + ((<usize>row) << ${Math.log2(width)})`;
  const read =
    type === "Text"
      ? `store<u64>(${at}, load<u64>(texts${i} + ((<usize>load<u32>(${place})) << 3)));`
      : `store<${wideOf(type)}>(${at}, load<${own}>(${place}));`;
  return optional
    ? `    store<u64>(RECORD + ${offset}, load<u8>(validity${i} + row));\n    ${read}`
    : `    ${read}`;
}
