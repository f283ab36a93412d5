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

/** Whether the columns of a frame are of the fields' own types, as a dataset of the same class has them. */
export function ownColumns(fields: RecordField[], declaration: string): string {
  const test = ({ type, optional }: RecordField, i: number) =>
    `load<u32>(columnAt(base, ${i})) == ${KIND[FIELD_TYPES[type].kind]} && (load<u32>(columnAt(base, ${i}), 4) != 0) == ${optional}`;
  return `
/** Whether the columns of the frame at \`base\` are of the fields' own types. */
${declaration}(base: usize): bool {
  return ${fields.map(test).join(" &&\n    ")};
}`;
}

/**
 * The loop over rows whose columns are of the fields' own types: where each is, is known before the loop, and nothing has to be checked.
 */
export function exactRows(fields: RecordField[], tables: string[]): string {
  const places = fields.flatMap(({ type, optional }, i) => [
    `  const data${i} = <usize>load<u32>(columnAt(base, ${i}), 8);`,
    ...(type === "Text"
      ? [
          `  const texts${i} = <usize>load<u32>(columnAt(base, ${i}), 16);`,
          `  const count${i} = load<u32>(columnAt(base, ${i}), 12);`,
          `  const from${i} = cells;`,
          `  cells += count${i};`,
        ]
      : []),
    ...(optional ? [`  const validity${i} = <usize>load<u32>(columnAt(base, ${i}), 4);`] : []),
  ]);
  const texts = fields.flatMap((field, i) => (field.type === "Text" ? [{ i, at: placeOf(field) }] : []));
  const openCells = texts.length
    ? [
        "  const all: u32 = cells > CELLS_MAX ? 0 : <u32>-1;",
        ...texts.map(({ i }) => `  mask${i} = count${i} ? all : 0;`),
        ...tables.map((name) => `  if (all) ${name}.openCells(cells);`),
      ].join("\n")
    : "";
  return `${ownColumns(fields, "export function isExact")}

/** Maps rows [from, to) of a frame that is exact. Returns the row behind the last one that was mapped. */
export function mapExactRows(base: usize, from: u32, to: u32): u32 {
  let cells: u32 = 1;
${places.join("\n")}
${openCells}
  let row = from;
  while (row < to) {
${fields.map(readExact).join("\n")}
    row++;
    eachInPlace();
    __heap_release();
    if (partFull) break;
  }
${texts.map(({ i }) => `  cell${i} = 0;`).join("\n")}
  return row;
}

${texts.map(({ i }) => `let cell${i}: u32 = 0;\nlet mask${i}: u32 = 0;\nlet view${i}: u64 = 0;`).join("\n")}

/** The cell of a field's text in all tables (state/entries.ts); 0, in which there is nothing, if it has none, or the kernel has put another text there. */
@inline export function cellOf(text: usize): u32 {
${texts.map(({ i, at }) => `  if (text == ${at}) return load<u64>(text) == view${i} ? cell${i} : 0;`).join("\n")}
  return 0;
}

/** For kernels that read rows in place. */
export function isShared(view: usize): bool {
  return false;
}`;
}

/** Where in the record a field's value is. */
function placeOf({ offset, optional }: Pick<RecordField, "offset" | "optional">): string {
  return `RECORD + ${offset + (optional ? 8 : 0)}`;
}

function readExact({ type, optional, offset }: RecordField, i: number): string {
  const { width } = FIELD_TYPES[type];
  const own = type === "bool" ? "u8" : type === "Time" || type === "Decimal" ? "i64" : type;
  const at = placeOf({ offset, optional });
  const place = `data${i} + ((<usize>row) << ${Math.log2(width)})`;
  const read =
    type === "Text"
      ? `const code${i} = load<u32>(${place});
    view${i} = load<u64>(texts${i} + ((<usize>code${i}) << 3));
    store<u64>(${at}, view${i});
    cell${i} = (from${i} + code${i}) & mask${i};`
      : `store<${wideOf(type)}>(${at}, load<${own}>(${place}));`;
  return optional
    ? `    store<u64>(RECORD + ${offset}, load<u8>(validity${i} + row));\n    ${read}`
    : `    ${read}`;
}
