/** The part of `hallelujah/generated` that keeps rows: what is done to every dataset, and how a record goes into its columns. */
import { KIND } from "../kernel/columns.ts";
import type { DatasetDescriptor, RecordDescriptor, RecordField } from "./descriptor.ts";
import type { DatasetModel } from "./kernel-model.ts";
import { FIELD_TYPES } from "./types.ts";

/** As assembly/state/dataset.ts has them. */
const BLOCK_HEADER = 16;
const BLOCK_ROWS = 1024;
const MAY_LACK = 0x80;

/** By what name the generated module knows a dataset: authors call theirs as they like. */
export function datasetName({ constant }: DatasetModel): string {
  return `dataset_${constant}`;
}

export function describeDataset({ name, record }: DatasetModel, fields: RecordField[]): DatasetDescriptor {
  return {
    name,
    record,
    fields: fields.map((field) => {
      const { kind, width } = FIELD_TYPES[field.type];
      return { name: field.source, type: field.type, optional: field.optional, kind: KIND[kind], width };
    }),
  };
}

interface Place extends RecordField {
  /** Where in a block its values and its validity are. */
  values: number;
  validity: number;
}

function placesOf(fields: RecordField[]): { places: Place[]; width: number } {
  let at = BLOCK_HEADER;
  const places = fields.map((field) => {
    const validity = at;
    if (field.optional) at += BLOCK_ROWS;
    const values = at;
    at += BLOCK_ROWS * FIELD_TYPES[field.type].width;
    return { ...field, values, validity };
  });
  return { places, width: (at - BLOCK_HEADER) / BLOCK_ROWS };
}

/** The methods of a record's class by which datasets keep it. */
export function rowMethods({ fields }: RecordDescriptor, datasets: DatasetModel[]): string {
  if (!datasets.length) return "";
  const { places, width } = placesOf(fields);
  const kinds = places.map(({ type, optional }) => KIND[FIELD_TYPES[type].kind] | (optional ? MAY_LACK : 0));
  const age = places.findIndex(({ name }) => datasets.some(({ ageField }) => ageField === name));
  return `
  __fields(): u32 { return ${fields.length}; }
  __kinds(): usize { return memory.data<u8>([${kinds.join(",")}]); }
  __width(): usize { return ${(width + 7) & ~7}; }
  __timeField(): i32 { return ${age}; }
  __time(): i32 { return ${age < 0 ? -1 : places[age].values}; }
  __keep(block: usize, row: usize, columns: usize): void {
${places.map(keepField).join("\n")}
  }`;
}

function keepField({ type, optional, offset, values, validity }: Place, i: number): string {
  const self = "changetype<usize>(this)";
  const slot = `${self} + ${offset + (optional ? 8 : 0)}`;
  const text = type === "Text";
  const { width } = FIELD_TYPES[type];
  const number = type === "bool" ? "u8" : type === "Time" || type === "Decimal" ? "i64" : type;
  const at = `block + ${values} + (row << ${Math.log2(width)})`;
  const put = (present: boolean) => {
    if (text) return `store<u32>(${at}, codeAt(columns, ${i}, ${present ? slot : "0"}));`;
    return `store<${number}>(${at}, ${present ? `load<${number}>(${slot})` : "0"});`;
  };
  if (!optional) return `    ${put(true)}`;
  return `    if (load<u64>(${self} + ${offset})) {
      store<u8>(block + ${validity} + row, 1);
      ${put(true)}
    } else {
      store<u8>(block + ${validity} + row, 0);
      ${put(false)}
    }`;
}

export function datasetFunctions(datasets: DatasetModel[]): string {
  const all = (body: (name: string) => string) =>
    datasets.map((dataset) => `  ${body(datasetName(dataset))}`).join("\n");
  const one = (body: (name: string) => string) =>
    datasets.length
      ? `  switch (dataset) {\n${datasets.map((dataset, i) => `    case ${i}: ${body(datasetName(dataset))}`).join("\n")}\n  }`
      : "";
  return `
import { columnAt as keptColumnAt, textsOf } from "./state/chunks";

/** Datasets of the kernel. */
export const DATASETS: u32 = ${datasets.length};

/** The code of a text in a column of the frame; its view stands at \`view\`, 0 for no text. */
function codeAt(columns: usize, field: u32, view: usize): u32 {
  const texts = textsOf(keptColumnAt(columns, field));
  return texts.codeOf(load<u32>(view), load<u32>(view, 4));
}
export function resetDatasets(): void {
${all((name) => `${name}.reset();`)}
}
export function encodeDatasets(owner: u32, o: usize): usize {
${all((name) => `o = ${name}.encode(owner, o);`)}
  return o;
}
export function applyRows(dataset: u32, p: usize, rows: u32, limit: usize): usize {
${one((name) => `return ${name}.apply(p, rows, limit);`)}
  return unreachable();
}
export function exportDataset(dataset: u32, to: u32): usize {
${one((name) => `return ${name}.exportStep(to);`)}
  return unreachable();
}
export function removeFromDataset(dataset: u32, to: u32): void {
${one((name) => `${name}.removeStep(to); return;`)}
}`;
}
