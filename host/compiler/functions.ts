/**
 * The functions of a kernel that the engine calls: `each`, or `key` and `fold`; `close`, when a window or session is
 * over; `late`, for records that come behind that; `upgrade`, for states of the kernel before. What is wrong with them, and which table each belongs to.
 */
import { CommonFlags, type Node } from "./asc.mjs";
import { type KernelModel, type TableModel, typeText } from "./kernel-model.ts";

interface TypeNode extends Node {
  name: { identifier?: { text: string } | undefined };
}

export interface FunctionNode extends Node {
  name: Node & { text: string };
  flags: number;
  signature: { parameters: (Node & { name: { text: string }; type: TypeNode })[]; returnType: TypeNode };
}

/** How problems are told. */
export interface Teller {
  problem(node: Node, message: string, hint?: string): void;
  /** Something that ought to be there is not. */
  missing(message: string, hint: string): void;
  slice(node: Node): string;
  /** What to write where a class is not of the kind that is needed. */
  classHint(name: string, kind: string, candidates: string[]): string;
}

const CLOSE = /^close([A-Z]\w*)?$/;
const UPGRADE = /^upgrade([A-Z]\w*)?$/;

/** Reads the functions of a kernel whose classes and tables are read; completes the model. */
export function readFunctions(functions: FunctionNode[], model: KernelModel, tell: Teller): void {
  const find = (name: string) => functions.find((node) => node.name.text === name);
  const each = find("each");
  const fold = find("fold");
  const key = find("key");
  const late = find("late");
  if (!each && !fold) {
    const hint = "write: export function each(record: YourRecord): void { ... }";
    return tell.missing("the kernel has no function each", hint);
  }
  model.each = each !== undefined;
  if (each) {
    checkShape(each, ["record"], tell);
    model.input = recordOf(each, model, tell);
    model.eachAt = each.range.start;
  }
  if (fold) readFold(fold, key, model, tell);
  else if (key)
    tell.problem(key.name, "key is for fold", "write: export function fold(record, state): void { ... }");
  for (const node of functions) if (CLOSE.test(node.name.text)) readClose(node, model, tell);
  for (const node of functions) if (UPGRADE.test(node.name.text)) readUpgrade(node, model, tell);
  checkTimed(model, tell);
  if (late) readLate(late, model, tell);
}

/** That a function is exported, takes so many parameters, and returns nothing. */
function checkShape(node: FunctionNode, parameters: string[], tell: Teller, returns = false): boolean {
  const name = node.name.text;
  if (!(node.flags & CommonFlags.Export))
    tell.problem(node.name, `${name} is not exported`, `write export function ${name}`);
  const { signature } = node;
  if (!returns && typeText(signature.returnType) !== "void")
    tell.problem(node.name, `${name} returns nothing`, "write : void");
  if (signature.parameters.length === parameters.length) return true;
  const taken = parameters.length === 1 ? "one record" : parameters.join(", ");
  tell.problem(node.name, `${name} takes ${taken}`);
  return false;
}

/** The record class that a function takes first. */
function recordOf(node: FunctionNode, model: KernelModel, tell: Teller): string {
  const [parameter] = node.signature.parameters;
  if (!parameter) return model.input;
  const name = typeText(parameter.type);
  const records = model.records.map((record) => record.name);
  if (!records.includes(name)) {
    const message = `${name} is no @record class of this file`;
    tell.problem(parameter.type, message, tell.classHint(name, "record", records));
  } else if (model.input && model.input !== name) {
    tell.problem(
      parameter.type,
      `the kernel's functions take one kind of record, and each takes ${model.input}`,
    );
  }
  return name;
}

function readFold(fold: FunctionNode, key: FunctionNode | undefined, model: KernelModel, tell: Teller): void {
  if (!checkShape(fold, ["a record", "the state of its key"], tell)) return;
  model.input = recordOf(fold, model, tell);
  const { type } = fold.signature.parameters[1];
  const table = tableOf(typeText(type), type, model, tell);
  if (table) model.fold = table;
  if (!key) {
    const hint = `write: export function key(record: ${model.input}): ${table?.keyType ?? "Text"} { return record...; }`;
    return tell.missing("fold needs a function key, which says whose state a record belongs to", hint);
  }
  checkShape(key, ["record"], tell, true);
  recordOf(key, model, tell);
  if (table && plain(tell.slice(key.signature.returnType)) !== plain(table.keyType)) {
    const message = `key returns ${tell.slice(key.signature.returnType) || "nothing"}`;
    tell.problem(key.signature.returnType, message, `the keys of ${table.constant} are ${table.keyType}`);
  }
}

/** The one table that keeps a class of state. */
function tableOf(state: string, node: Node, model: KernelModel, tell: Teller): TableModel | undefined {
  const tables = model.tables.filter((table) => table.state === state);
  if (tables.length === 1) return tables[0];
  const states = model.states.map(({ name }) => name);
  if (!states.includes(state)) {
    tell.problem(node, `${state} is no @state class of this file`, tell.classHint(state, "state", states));
  } else if (tables.length)
    tell.problem(node, `${state} is kept by more than one table`, "give each a class of its own");
  else tell.problem(node, `no table keeps ${state}`, `write const all = new Table<Text, ${state}>("all")`);
  return undefined;
}

function readClose(node: FunctionNode, model: KernelModel, tell: Teller): void {
  if (!checkShape(node, ["a Window", "a key", "a state"], tell)) return;
  const [window, key, state] = node.signature.parameters.map(({ type }) => type);
  const table = tableOf(typeText(state), state, model, tell);
  if (!table) return;
  if (typeText(window) !== "Window")
    tell.problem(window, "close takes a Window first", 'import { Window } from "hallelujah"');
  if (plain(tell.slice(key)) !== plain(table.keyType))
    tell.problem(key, `the keys of ${table.constant} are ${table.keyType}`);
  if (table.kind === "Table")
    tell.problem(
      node.name,
      `${table.constant} is a Table, which has nothing to close`,
      "use Windows or Sessions",
    );
  else if (model.closes.some((other) => other.table === table))
    tell.problem(node.name, `there are two functions that close ${table.constant}`);
  else model.closes.push({ name: node.name.text, table });
}

function readUpgrade(node: FunctionNode, model: KernelModel, tell: Teller): void {
  if (!checkShape(node, ["a state as it was", "the state that becomes of it"], tell)) return;
  const [before, now] = node.signature.parameters.map(({ type }) => type);
  const table = tableOf(typeText(now), now, model, tell);
  const from = typeText(before);
  const states = model.states.map(({ name }) => name);
  if (!states.includes(from)) {
    tell.problem(before, `${from} is no @state class of this file`, tell.classHint(from, "state", states));
  } else if (
    model.tables.some(({ state }) => state === from) ||
    model.upgrades.some((other) => other.from === from)
  ) {
    const hint = `declare one with the fields that the kernel before had: @state class Old${from} { ... }`;
    tell.problem(before, `${node.name.text} takes the state as it was, which is a class of its own`, hint);
  } else if (table && model.upgrades.some((other) => other.table === table))
    tell.problem(node.name, `there are two functions that upgrade ${table.constant}`);
  else if (table) model.upgrades.push({ name: node.name.text, from, table });
}

/** What windows and sessions need. */
function checkTimed(model: KernelModel, tell: Teller): void {
  for (const table of model.tables) {
    const { kind, constant, keyType, state } = table;
    if (kind === "Table") continue;
    if (!model.time) {
      const message = `${constant} needs the time of each event`;
      tell.missing(message, `write @time on a field of type Time of ${model.input || "the record"}`);
    }
    if (kind === "Sessions" && model.fold !== table)
      tell.missing(
        `${constant} is kept by fold: sessions depend on the order of records`,
        `write: export function fold(record: ${model.input}, state: ${state}): void { ... }`,
      );
    if (model.closes.some((close) => close.table === table)) continue;
    const what = kind === "Windows" ? "the windows" : "the sessions";
    tell.missing(
      `${what} of ${constant} end without anybody being told`,
      `write: export function close(window: Window, key: ${keyType}, state: ${state}): void { ... }`,
    );
  }
}

function readLate(late: FunctionNode, model: KernelModel, tell: Teller): void {
  checkShape(late, ["record"], tell);
  recordOf(late, model, tell);
  if (model.fold && model.fold.kind !== "Table") model.late = true;
  else
    tell.problem(
      late.name,
      "late is for records that fold does not take as their window is over",
      "with each, what comes too late is counted and left out",
    );
}

function plain(type: string): string {
  return type.replace(/\s/g, "");
}
