/**
 * What the compiler adds to a kernel: the module `hallelujah/generated`, with the classes behind `@record` and
 * `@state`, the decoding of fields, and one function per thing that is done to every table.
 */
import {
  className,
  type DatasetModel,
  type FieldModel,
  type KernelModel,
  kernelName,
  type RecordModel,
  type StateModel,
  type TableModel,
  tableName,
} from "./kernel-model.ts";
import { columnRead, exactRows } from "./generate-columns.ts";
import { decodedRows } from "./generate-decoded.ts";
import { inPlaceClass, inPlaceRows, inPlaceText } from "./generate-in-place.ts";
import { aliasesOf, upgradeOf } from "./generate-upgrade.ts";
import { fullType, holdsBlocks, layoutState, sizeOfFields } from "./state-layout.ts";
import { datasetFunctions, datasetName, describeDataset, rowMethods } from "./generate-datasets.ts";
import { orderFunctions } from "./generate-order.ts";
import { AGGREGATES, FIELD_TYPES, PLAIN, wideOf } from "./types.ts";
import {
  type KernelDescriptor,
  type RecordDescriptor,
  type RecordField,
  type StateField,
  type TableDescriptor,
  DECODED_VERSION,
  VISITS_VERSION,
} from "./descriptor.ts";

/** Offsets of a record's fields and its size, in bytes. */
export function layoutRecord(record: RecordModel): RecordDescriptor {
  let offset = 0;
  const fields = record.fields.map((field) => {
    const at = offset;
    offset += FIELD_TYPES[field.type].size + (field.optional ? 8 : 0);
    return { name: field.name, source: field.source, type: field.type, optional: field.optional, offset: at };
  });
  return { name: record.name, fields, size: offset };
}

export function describe(model: KernelModel, file: string, abi: number, sdk: string): KernelDescriptor {
  const states = new Map(model.states.map((state) => [state.name, layoutState(state)]));
  return {
    abi,
    sdk,
    file,
    input: layoutRecord(model.records.find((record) => record.name === model.input)!),
    outputs: model.records.filter((record) => record.name !== model.input).map(layoutRecord),
    tables: model.tables.map((table) => describeTable(table, model, states)),
    ...(model.datasets.length
      ? { datasets: model.datasets.map((each) => describeDataset(each, fieldsOf(model, each.record))) }
      : {}),
    visits: VISITS_VERSION,
    decoded: DECODED_VERSION,
    ordered: model.fold !== undefined || model.tables.some(({ kind }) => kind !== "Table"),
    ...(model.time ? { time: model.time } : {}),
    late: model.late,
  };
}

function describeTable(
  table: TableModel,
  { upgrades }: KernelModel,
  states: Map<string, StateField[]>,
): TableDescriptor {
  const { kind, name, key, state, span } = table;
  const from = upgrades.find((upgrade) => upgrade.table === table)?.from;
  return {
    kind,
    ...(span === undefined ? {} : { span }),
    name,
    key: kind === "Windows" ? ["Time", ...key] : key,
    windows: kind === "Windows",
    state,
    fields: states.get(state)!,
    ...(from === undefined ? {} : { upgrade: { state: from, fields: states.get(from)! } }),
  };
}

function fieldsOf({ records }: KernelModel, name: string): RecordField[] {
  return layoutRecord(records.find((record) => record.name === name)!).fields;
}

/** Source of `hallelujah/generated`. `kernel` is the path by which it imports the author's file. */
export function generate(model: KernelModel, kernel: string, forVisits = false): string {
  const input = model.records.find((record) => record.name === model.input)!;
  const tables = [
    ...model.tables.map((table) => `${table.constant} as ${tableName(table)}`),
    ...model.datasets.map((dataset) => `${dataset.constant} as ${datasetName(dataset)}`),
  ];
  const functions = [
    ...(model.each ? ["each"] : []),
    ...(model.fold ? ["key", "fold"] : []),
    ...(model.late ? ["late"] : []),
    ...model.closes.map(({ name }) => name),
    ...model.upgrades.map(({ name }) => name),
  ];
  const imported = functions.map((name) => `${name} as ${kernelName(name)}`);
  const ahead = forVisits ? model.inPlace?.ahead : undefined;
  return [
    HEAD,
    `/** Whether it maps nothing but the rows and entries that it visits. */\nexport const FOR_VISITS: bool = ${forVisits};`,
    `/** Whether the record of \`each\` is the number of a row. */\nexport const IN_PLACE: bool = ${ahead !== undefined};`,
    ...aggregateImports(model),
    `import { ${[...imported, ...tables].join(", ")} } from "${kernel}";`,
    ...model.records.map((record) =>
      ahead && record === input
        ? inPlaceClass(record, layoutRecord(record))
        : recordClass(record, record !== input, model.datasets),
    ),
    ...model.states.map((state) => stateClass(state, model)),
    inputFunctions(
      input,
      ahead
        ? inPlaceRows(input, layoutRecord(input), ahead, model.time?.field)
        : exactRows(layoutRecord(input).fields, model.tables.map(tableName)),
      ahead !== undefined,
    ),
    orderFunctions(model, layoutRecord(input), ahead),
    tableFunctions(model.tables),
    datasetFunctions(model.datasets),
  ].join("\n");
}

/** What a state of windows or sessions holds beside its fields: when it is due, and the place of its timer. */
function hiddenOf(state: StateModel, { tables, fold }: KernelModel): Hidden | undefined {
  const table = tables.find((each) => each.state === state.name);
  if (!table || table.kind === "Table") return undefined;
  return { kind: table.kind, folded: fold === table };
}

interface Hidden {
  kind: "Windows" | "Sessions";
  folded: boolean;
}

const HIDDEN_BYTES = 24;

const HEAD = `
import { DECODED_PLACES, DECODED_ROWS, INPUT, IS_NULL, NOT_AN_INTEGER, PLAN, ROWS_GOOD } from "./abi";
import { partFull } from "./heap";
import { CR, LF, structuralsAndQuotes } from "./record/structure";
import { Text, sameBytes } from "./text";
import { Time, renderTime } from "./time";
import { Decimal } from "./decimal";
import { Optional } from "./optional";
import { isInFrame } from "./record/decoded";
import { columnAt, columnBool, columnF64, columnI64, columnPresent, columnText } from "./record/columns";
import { boolField, decimalField, f32Field, f64Field, i64Field, textField, timeField, u64Field } from "./record/field";
import { boolean, decimal, float, label, nothing, raw, separator, single, put, signed, text, unsigned, format } from "./row";
import { getVarint, putVarint, varintEnd } from "./varint";
import { WIDE_ROWS, validityOf, wideF64, wideI64, widensToF64, widensToI64 } from "./record/widen";
import { SKIP } from "./record/ndjson";
import { CELLS_MAX } from "./state/entries";
import { Home as OtherHome } from "./state/home";
`;

/** Only what is used, so that a kernel does not pay for the sketches of others. */
function aggregateImports(model: KernelModel): string[] {
  const used = new Set(model.states.flatMap((state) => state.fields.map((field) => field.aggregate)));
  used.delete(PLAIN);
  return [...used].map((name) => `import { ${name} } from "./state/${AGGREGATES[name].module}";`);
}

const self = (offset: number) => `changetype<usize>(this) + ${offset}`;
const bytesOf = (value: string) => Buffer.from(value);
const data = (value: string) => `memory.data<u8>([${[...bytesOf(value)].join(",")}])`;
const words = (count: number) => Array.from({ length: count }, (_, i) => `  private __${i}: u64;`).join("\n");

/** `made`: whether kernels make records of this class themselves, which they may only of managed classes. */
function recordClass(record: RecordModel, made: boolean, datasets: DatasetModel[]): string {
  const layout = layoutRecord(record);
  const { fields, size } = layout;
  const keepers = datasets.filter((dataset) => dataset.record === record.name);
  return `
${made ? "" : "@unmanaged "}export class ${className(record.name)} {
${words(size / 8)}
${fields.map((field) => accessors(field, field.offset)).join("\n")}
  __emitRoom(): usize {
    return ${64 * (fields.length + 1) + fields.reduce((sum, field) => sum + bytesOf(field.name).length, 0)}${fields
      .filter((field) => field.type === "Text")
      .map((field) => ` + <usize>load<u32>(${self(field.offset + (field.optional ? 8 : 0))}, 4) * 6`)
      .join("")};
  }
  __emit(): void {
${fields.map((field, i) => emitField(field, field.offset, i === 0)).join("\n")}
    if (format != 1) put(0x7d);
    if (format != 2) put(0x0a);
  }${rowMethods(layout, keepers)}
}`;
}

function accessors(field: FieldModel, offset: number): string {
  const { name, type, optional } = field;
  if (optional) {
    return `  @inline get ${name}(): Optional<${type}> { return changetype<Optional<${type}>>(${self(offset)}); }`;
  }
  if (FIELD_TYPES[type].view) {
    return `  @inline get ${name}(): ${type} { return changetype<${type}>(${self(offset)}); }
  @inline set ${name}(value: ${type}) { store<u64>(${self(offset)}, load<u64>(changetype<usize>(value))); }`;
  }
  const wide = wideOf(type);
  return `  @inline get ${name}(): ${type} { return load<${type}>(${self(offset)}); }
  @inline set ${name}(value: ${type}) { store<${wide}>(${self(offset)}, <${wide}>value); }`;
}

function emitField(field: FieldModel, offset: number, first: boolean): string {
  const name = `${first ? ",\n{" : ","}${JSON.stringify(field.name)}:`;
  const at = self(offset + (field.optional ? 8 : 0));
  const value = field.optional
    ? `if (load<u64>(${self(offset)})) ${renderField(field.type, at)}; else nothing();`
    : `${renderField(field.type, at)};`;
  const length = bytesOf(name).length;
  const start = first
    ? `if (format == 2) raw(${data(name)}, ${length}); else if (format == 0) raw(${data(name)} + 2, ${length - 2});`
    : "";
  const next = first ? "" : `if (format != 1) raw(${data(name)}, ${bytesOf(name).length}); else separator();`;
  return `    ${start}${next}\n    ${value}`;
}

function renderField(type: string, at: string): string {
  if (type === "Text") return `text(load<u32>(${at}), load<u32>(${at}, 4))`;
  if (type === "Time") return `renderTime(load<i64>(${at}))`;
  if (type === "Decimal") return `decimal(load<i64>(${at}))`;
  if (type === "bool") return `boolean(load<u8>(${at}) != 0)`;
  if (type.startsWith("f")) return `float(<f64>load<${type}>(${at}))`;
  return type.startsWith("i") ? `signed(load<i64>(${at}))` : `unsigned(load<u64>(${at}))`;
}

/** What is done to one field of a state, as source. */
interface FieldCode {
  name: string;
  column: number;
  columns: number;
  /** At the top of the module. */
  check: string;
  accessors: string;
  init: string;
  room: string;
  write: string;
  merge: string;
  touch: string;
  drop: string;
  render: string;
  order: (column: string) => string;
}

function aggregateCode(field: StateField, column: number): FieldCode {
  const full = fullType(field);
  const call = (name: string) => `changetype<${full}>(${self(field.offset)}).${name}`;
  return {
    name: field.name,
    column,
    columns: field.columns.length || 1,
    check: `if (offsetof<${full}>() != ${field.size}) ERROR("the size of ${full} is not ${field.size}");`,
    accessors: `  @inline get ${field.name}(): ${full} { return changetype<${full}>(${self(field.offset)}); }`,
    init: `${call("init")}();`,
    room: `${call("room")}()`,
    write: `o = ${call("write")}(o);`,
    merge: `p = ${call("merge")}(p);`,
    touch: holdsBlocks(field) ? `${call("touch")}();` : "",
    drop: holdsBlocks(field) ? `${call("drop")}();` : "",
    render: `${call("render")}();`,
    order: (at) => `${call("order")}(${at})`,
  };
}

/** A value as it is: it changes in `fold` only, so that merging one into a fresh state is all there is. */
function plainCode(field: StateField, column: number): FieldCode {
  const type = field.type!;
  const at = self(field.offset);
  const number = type.startsWith("f") ? `<f64>load<${type}>(${at})` : `<f64>load<${wideOf(type)}>(${at})`;
  return {
    name: field.name,
    column,
    columns: 1,
    check: "",
    accessors: accessors({ name: field.name, source: field.name, type, optional: false }, field.offset),
    init: `store<u64>(${at}, 0);`,
    room: "8",
    write: `store<u64>(o, load<u64>(${at})); o += 8;`,
    merge: `store<u64>(${at}, load<u64>(p)); p += 8;`,
    touch: "",
    drop: "",
    render: `single(); ${renderField(type, at)};`,
    order: () => number,
  };
}

function hiddenCode(hidden: Hidden | undefined, offset: number): FieldCode[] {
  if (!hidden) return [];
  const word = (name: string, type: string, at: number) =>
    `  @inline get ${name}(): ${type} { return load<${type}>(${self(at)}); }
  @inline set ${name}(value: ${type}) { store<${type}>(${self(at)}, value); }`;
  const windows = hidden.kind === "Windows";
  const [first, second] = windows ? ["__next", "__touched"] : ["__start", "__end"];
  return [
    {
      name: "",
      column: 0,
      columns: 0,
      check: "",
      accessors: [
        word(first, "i64", offset),
        word(second, "i64", offset + 8),
        word("__slot", "u32", offset + 16),
        hidden.folded ? "  __folded(): void {}" : "",
      ].join("\n"),
      init: `store<u64>(${self(offset)}, 0); store<u64>(${self(offset + 8)}, 0); store<u64>(${self(offset + 16)}, 0);`,
      room: windows ? "10" : "16",
      write: windows
        ? `o = putVarint(o, this.__touched);`
        : `store<i64>(o, this.__start); store<i64>(o, this.__end, 8); o += 16;`,
      merge: windows
        ? `this.__touched += getVarint(p); p = varintEnd;`
        : `this.__start = load<i64>(p); this.__end = load<i64>(p, 8); p += 16;`,
      touch: "",
      drop: "",
      render: "",
      order: () => "NaN",
    },
  ];
}

function stateClass(state: StateModel, model: KernelModel): string {
  const hidden = hiddenOf(state, model);
  const upgrade = upgradeOf(state, model);
  const aliases = aliasesOf(state, model);
  let column = 0;
  const fields = layoutState(state).map((field) => {
    const code = field.aggregate === PLAIN ? plainCode(field, column) : aggregateCode(field, column);
    column += code.columns;
    const alias = aliases.get(field.name);
    return alias === undefined ? code : { ...code, accessors: alias };
  });
  const size = sizeOfFields(layoutState(state));
  const all = [...fields, ...hiddenCode(hidden, size)];
  const lines = (of: (field: FieldCode) => string) =>
    all
      .map(of)
      .filter((line) => line)
      .map((line) => `    ${line}`)
      .join("\n");
  return `
${all.map(({ check }) => check).join("\n")}
${upgrade.head}
@unmanaged export class ${className(state.name)} {
${words((size + (hidden ? HIDDEN_BYTES : 0)) / 8)}
${all.map((field) => field.accessors).join("\n")}
  @inline __init(): void {
${lines(({ init }) => init)}
  }
  @inline __room(): usize {
    return ${all.map(({ room }) => room).join(" + ")};
  }
  @inline __write(o: usize): usize {
${lines(({ write }) => write)}
    return o;
  }
  @inline __merge(p: usize): usize {
${lines(({ merge }) => merge)}
    return p;
  }
  @inline __touch(): void {
${lines(({ touch }) => touch)}
  }
  @inline __drop(): void {
${lines(({ drop }) => drop)}
  }
  __render(): void {
${fields
  .map(({ name, render }) => {
    const label = `,${JSON.stringify(name)}:`;
    return `    label(${data(label)}, ${bytesOf(label).length}); ${render}`;
  })
  .join("\n")}
  }
  __order(column: u32): f64 {
${fields.map((field) => `    if (column < ${field.column + field.columns}) return ${field.order(`column - ${field.column}`)};`).join("\n")}
    return NaN;
  }
${upgrade.methods}
}`;
}

/** Everything that the decoders ask of the input record. */
/** `rows` is the loop over rows in columns. */
function inputFunctions(input: RecordModel, rows: string, inPlace: boolean): string {
  const { fields, size } = layoutRecord(input);
  const mask = (test: (field: FieldModel) => boolean) =>
    `0x${fields.reduce((bits, field, i) => (test(field) ? bits | (1n << BigInt(i)) : bits), 0n).toString(16)}`;
  const cases = (body: (field: (typeof fields)[number], i: number) => string) =>
    fields.map((field, i) => `    case ${i}: ${body(field, i)}`).join("\n");
  return `
const RECORD: usize = memory.data(${Math.max(8, size)}, 8);
/** Fields that a record must have, a bit each. */
export const REQUIRED: u64 = ${mask((field) => !field.optional)};
const OPTIONAL: u64 = ${mask((field) => field.optional)};
const JSON_KINDS: usize = memory.data<u8>([${fields.map((field) => FIELD_TYPES[field.type].json).join(",")}]);

/** Before a record: optional fields are absent until they are seen. */
@inline export function begin(): void {
${fields
  .filter((field) => field.optional)
  .map((field) => `  store<u64>(RECORD + ${field.offset}, 0);`)
  .join("\n")}
}

@inline export function isEmptyAbsent(field: u32): bool {
  return ${fields.some((field) => field.optional) ? "((OPTIONAL >> field) & 1) != 0" : "false"};
}

@inline export function jsonKinds(field: u32): u32 {
  return load<u8>(JSON_KINDS + field);
}

/** A field that is null: fine if it is optional, else \`reason\`. */
export function absent(field: u32, reason: u32): u32 {
  switch (field) {
${cases((field) => (field.optional ? `store<u64>(RECORD + ${field.offset}, 0); return 0;` : "return reason;"))}
  }
  return reason;
}

@inline export function decode(field: u32, p: usize, end: usize): u32 {
  switch (field) {
${cases((field) => {
  const at = `RECORD + ${field.offset + (field.optional ? 8 : 0)}`;
  const set = field.optional ? `store<u64>(RECORD + ${field.offset}, 1); ` : "";
  return `{ ${set}return ${FIELD_TYPES[field.type].decode(at)}; }`;
})}
  }
  return 0;
}

@inline export function column(field: u32, d: usize, row: u32): u32 {
  switch (field) {
${cases((field, i) => {
  const at = `RECORD + ${field.offset + (field.optional ? 8 : 0)}`;
  const read = inPlace && field.type === "Text" ? inPlaceText(i, at) : columnRead(field.type, at);
  const missing = field.optional ? "return 0;" : "return IS_NULL;";
  const set = field.optional ? `store<u64>(RECORD + ${field.offset}, 1); ` : "";
  return `{ if (!columnPresent(d, row)) ${missing} ${set}${read} return 0; }`;
})}
  }
  return 0;
}
${rows}
${decodedRows(fields)}
${plainRows(fields)}
${nameTable(fields)}`;
}

/**
 * The loop over plain CSV rows, the fields one after the other in the order of the record: no plan to follow, no
 * switch. It ends before the first row that is not plain, not whole, or has a field that does not fit.
 */
function plainRows(fields: RecordField[]): string {
  const slotOf = (field: RecordField) => `RECORD + ${field.offset + (field.optional ? 8 : 0)}`;
  const next = `
    while (!hits) {
      block += 64;
      hits = structuralsAndQuotes(block, delimiters);
    }
    stop = block + <usize>ctz(hits);
    hits &= hits - 1;`;
  const pass = (count: string, last: string) => `
    for (let i = ${count}; i; i--) {${next}
      if (load<u8>(stop) != ${last}) return plainEnd(row, rows);
      p = stop + 1;
    }`;
  const decodeField = (field: RecordField, end: string) => {
    const decoded = FIELD_TYPES[field.type].decode(slotOf(field)).replace("p, end", `p, ${end}`);
    if (!field.optional) return `if (${decoded}) return plainEnd(row, rows);`;
    return `if (p == ${end}) store<u64>(RECORD + ${field.offset}, 0);
    else {
      store<u64>(RECORD + ${field.offset}, 1);
      if (${decoded}) return plainEnd(row, rows);
    }`;
  };
  const body = fields.map((field, i) => {
    const last = i === fields.length - 1;
    if (!last) {
      return `${pass(`skip${i}`, "delimiter")}${next}
    if (load<u8>(stop) != delimiter) return plainEnd(row, rows);
    ${decodeField(field, "stop")}
    p = stop + 1;`;
    }
    return `${pass(`skip${i}`, "delimiter")}${next}
    if (load<u8>(stop) != (rest ? delimiter : <u32>LF)) return plainEnd(row, rows);
    const end${i} = !rest && load<u8>(stop - 1) == CR && stop > p ? stop - 1 : stop;
    ${fields.length === 1 ? `if (end${i} == row) return plainEnd(row, rows); // a blank line` : ""}
    ${decodeField(field, `end${i}`)}
    for (let i = rest; i; i--) {${next}
      if (load<u8>(stop) != (i == 1 ? <u32>LF : delimiter)) return plainEnd(row, rows);
    }`;
  });
  return `
/** Columns in the plan. */
export const PLANNED: u32 = ${fields.length};

function plainEnd(row: usize, rows: u32): usize {
  store<u32>(ROWS_GOOD, rows);
  return row;
}

export function mapPlainRows(from: usize, limit: usize, end: usize, delimiter: u32): usize {
  const delimiters = i8x16.splat(<i8>delimiter);
${fields.map((_, i) => `  const skip${i} = <u32>load<u16>(PLAN + ${i * 4});`).join("\n")}
  const rest = <u32>load<u16>(PLAN + ${fields.length * 4});
  let rows = load<u32>(ROWS_GOOD);
  let row = from;
  let block = from;
  let hits = structuralsAndQuotes(block, delimiters);
  while (row < limit) {
    let p = row;
    let stop: usize;
${body.join("\n")}
    if (stop >= end) break;
    rows++;
    each();
    __heap_release();
    row = stop + 1;
    if (partFull) break;
  }
  return plainEnd(row, rows);
}`;
}

/** The tree of NDJSON names: `user.id` is the key `id` below the node `user`, or the key `user.id` itself. */
function nameTable(fields: FieldModel[]): string {
  const entries: { node: number; target: number; name: string }[] = [];
  const nodes = new Map<string, number>([["", 0]]);
  fields.forEach((field, index) => {
    const parts = field.source.split(".");
    let path = "";
    for (const [depth, part] of parts.entries()) {
      const node = nodes.get(path)!;
      path = depth ? `${path}.${part}` : part;
      if (depth === parts.length - 1) entries.push({ node, target: index, name: part });
      else if (!nodes.has(path)) {
        nodes.set(path, nodes.size);
        entries.push({ node, target: 0x80000000 + nodes.get(path)!, name: part });
      }
    }
    if (parts.length > 1) entries.push({ node: 0, target: index, name: field.source });
  });
  const names = entries.map((entry) => bytesOf(entry.name));
  let offset = 0;
  const table = entries.flatMap(({ node, target }, i) => {
    const at = offset;
    offset += names[i].length;
    return [node, target, at, names[i].length];
  });
  return `
const NAME_BYTES: usize = memory.data<u8>([${[...Buffer.concat(names), 0, 0, 0, 0, 0, 0, 0, 0].join(",")}]);
const NAME_TABLE: usize = memory.data<u32>([${table.join(",")}]);

/** What the key [p, p + length) below a node means: a field, a node, or nothing that is wanted. */
export function lookup(node: u32, p: usize, length: u32): u32 {
  for (let at = NAME_TABLE, end = NAME_TABLE + ${entries.length * 16}; at < end; at += 16) {
    if (load<u32>(at) == node && load<u32>(at, 12) == length) {
      if (sameBytes(NAME_BYTES + load<u32>(at, 8), p, length)) return load<u32>(at, 4);
    }
  }
  return SKIP;
}`;
}

function tableFunctions(tables: TableModel[]): string {
  const all = (body: (name: string) => string) =>
    tables.map((table) => `  ${body(tableName(table))}`).join("\n");
  const one = (body: (name: string, table: TableModel) => string) =>
    `  switch (table) {\n${tables.map((table, i) => `    case ${i}: ${body(tableName(table), table)}`).join("\n")}\n  }`;
  const prefix = (table: TableModel) => `,\n{"table":${JSON.stringify(table.name)},"key":`;
  return `
export function resetTables(): void {
${all((name) => `${name}.reset();`)}
}
export function groupTables(owners: u32): void {
${all((name) => `${name}.group(owners);`)}
}
export function encodeTables(owner: u32, o: usize): usize {
${all((name) => `o = ${name}.encode(owner, o);`)}
  return o;
}
export function applyTable(table: u32, p: usize, count: u32): usize {
${one((name) => `return ${name}.apply(p, count);`)}
  return unreachable();
}
export function adoptTable(table: u32, p: usize, count: u32): usize {
${one((name) => `return ${name}.adopt(p, count);`)}
  return unreachable();
}
export function size(table: u32): u32 {
${one((name) => `return ${name}.size();`)}
  return 0;
}
export function orderBy(table: u32, column: i32, descending: bool): void {
${one((name) => `${name}.orderBy(column, descending); return;`)}
}
export function sample(table: u32, most: u32): usize {
${one((name) => `return ${name}.sample(most);`)}
  return 0;
}
export function split(table: u32, addresses: usize, splitters: u32): void {
${one((name) => `${name}.split(addresses, splitters); return;`)}
}
export function splitStep(table: u32): bool {
${one((name) => `return ${name}.splitStep();`)}
  return false;
}
export function splitEnd(table: u32): void {
${one((name) => `${name}.splitEnd(); return;`)}
}
export function startPass(): void {
${all((name) => `${name}.startPass();`)}
}
/** Tables by number: what is left to export of one, see Table.exportStep. */
export function exportTable(table: u32, from: u32, to: u32): usize {
${one((name) => `return ${name}.exportStep(from, to);`)}
  return 0;
}
export function removeFromTable(table: u32, from: u32, to: u32): bool {
${one((name) => `return ${name}.removeStep(from, to);`)}
  return false;
}
export function takeOverTable(table: u32, other: OtherHome, plan: usize): void {
${one((name) => `${name}.takeOver(other, plan); return;`)}
}
/** Renders the row of a key at OUTPUT; 0 if there is none. */
export function find(table: u32, key: usize, length: u32): u32 {
${one((name) => `if (!${name}.find(key, length)) return 0; break;`)}
  return render(table, 0, 1);
}
/** Tables of the kernel. */
export const TABLES: u32 = ${tables.length};
export function rangeSize(table: u32, range: u32): u32 {
${one((name) => `return ${name}.rangeSize(range);`)}
  return 0;
}
export function encodeRange(table: u32, range: u32, from: u32, to: u32): usize {
${one((name) => `return ${name}.encodeRange(range, from, to);`)}
  return 0;
}
export function sortRange(table: u32, range: u32): u32 {
${one((name) => `return ${name}.sortRange(range);`)}
  return 0;
}
/** Renders rows; see Table.render. The bytes end at \`renderedEnd\`. */
export function render(table: u32, from: u32, to: u32): u32 {
${one((name, table) => {
  const json = bytesOf(prefix(table)).length;
  const csv = `${table.name},`;
  return `return format == 1
      ? ${name}.render(from, to, ${data(csv)}, ${bytesOf(csv).length})
      : format == 2
      ? ${name}.render(from, to, ${data(prefix(table))}, ${json})
      : ${name}.render(from, to, ${data(prefix(table))} + 2, ${json - 2});`;
})}
  return 0;
}`;
}
