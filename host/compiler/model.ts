/**
 * Reads a kernel's source with AssemblyScript's own parser: its records, states, tables and `each`, and everything
 * that a kernel may not have. Nothing is generated here.
 */
import { CommonFlags, LiteralKind, NodeKind, Parser, type Node, type Source } from "./asc.mjs";
import { nearest } from "../core/errors.ts";
import { refusals } from "./body.ts";
import { type FunctionNode, readFunctions } from "./functions.ts";
import { inPlaceOf } from "./in-place.ts";
import {
  type AggregateModel,
  type FieldModel,
  type KernelModel,
  type RecordModel,
  type TableKind,
  typeText,
} from "./kernel-model.ts";
import type { Diagnostic } from "./diagnostics.ts";
import { AGGREGATES, FIELD_TYPES, KEY_TYPES, PLAIN, TUPLES } from "./types.ts";

// The parser's nodes, as far as they are looked at here.
interface AnyNode extends Node {
  name: AnyNode;
  identifier: { text: string } | undefined;
  text: string;
  flags: number;
  members: AnyNode[];
  decorators: (AnyNode & { args: (AnyNode & { value?: string })[] | null })[] | null;
  declarations: AnyNode[];
  type: AnyNode | null;
  isNullable?: boolean;
  typeName: AnyNode;
  typeArguments: AnyNode[] | null;
  initializer: AnyNode | null;
  args: (AnyNode & { value?: string })[];
  signature: AnyNode & { parameters: AnyNode[]; returnType: AnyNode };
  value: string;
  literalKind: number;
}

const RESERVED = new Set([
  ...Object.keys(FIELD_TYPES),
  ...Object.keys(AGGREGATES),
  ...Object.keys(TUPLES),
  "Table",
  "Windows",
  "Sessions",
  "Dataset",
  "Window",
  "Optional",
  "Cursor",
  "out",
]);
const TABLE_KINDS = new Set(["Table", "Windows", "Sessions"]);
/** What authors who come from TypeScript write. */
const TYPES_OF_TYPESCRIPT: Record<string, string> = {
  string: "Text",
  number: "f64",
  boolean: "bool",
  bigint: "i64",
  Date: "Time",
};
const COLLECTIONS = new Set(["Array", "Map", "Set", "StaticArray"]);
const EACH_HINT = "write: export function each(record: YourRecord): void { ... }";
const FIELDS_MAX = 64;
const TABLES_MAX = 64;
const DATASETS_MAX = 16;

/** Reads `text`; `problems` are everything wrong with it, the model is whole only if there are none. */
export function readKernel(text: string, file: string): { model: KernelModel; problems: Diagnostic[] } {
  const parser = new Parser();
  parser.parseFile(text, file, true);
  const reader = new Reader(text, file);
  for (const problem of parser.diagnostics) {
    reader.problems.push({
      file,
      message: problem.message,
      ...(problem.range ? { start: problem.range.start, end: problem.range.end } : {}),
    });
  }
  if (!reader.problems.length) reader.read(parser.sources.find((source) => source.normalizedPath === file)!);
  return { model: reader.model, problems: reader.problems };
}

class Reader {
  readonly problems: Diagnostic[] = [];
  readonly model: KernelModel = {
    records: [],
    states: [],
    tables: [],
    datasets: [],
    input: "",
    each: false,
    late: false,
    closes: [],
    upgrades: [],
  };
  private readonly text: string;
  private readonly file: string;
  private eachVariable: AnyNode | undefined;
  /** Fields of states whose types are no aggregates. */
  private readonly plain: { node: Node; state: string; type: string }[] = [];
  private readonly classes = new Set<string>();
  /** The class in which `@time` stands. */
  private timeRecord: string | undefined;

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
  }

  read(source: Source): void {
    const statements = source.statements as unknown as AnyNode[];
    for (const node of statements) {
      if (node.kind !== NodeKind.ClassDeclaration) continue;
      this.classes.add(node.name.text);
      this.readClass(node);
    }
    for (const node of statements) {
      if (node.kind !== NodeKind.Variable) continue;
      for (const variable of node.declarations) this.readVariable(node, variable);
    }
    const functions = statements.filter((node) => node.kind === NodeKind.FunctionDeclaration);
    if (this.eachVariable && !functions.some((node) => node.name.text === "each")) {
      this.problem(this.eachVariable, "each is a function", EACH_HINT);
      return;
    }
    readFunctions(functions as unknown as FunctionNode[], this.model, {
      problem: (node, message, hint) => this.problem(node, message, hint),
      missing: (message, hint) => this.problems.push({ file: this.file, message, hint }),
      slice: (node) => this.slice(node),
      classHint: (name, kind, candidates) => this.classHint(name, kind, candidates),
    });
    this.checkStates();
    const each = functions.find((node) => node.name.text === "each" || node.name.text === "fold");
    const record = this.optionalsOf(each);
    for (const { node, message, hint } of refusals(statements, this.model, record))
      this.problem(node, message, hint);
    // What is refused may have types that nobody knows.
    const isSound = !this.problems.length;
    const inPlace = isSound && record && inPlaceOf(statements, this.model, record.parameter, this.text);
    if (inPlace) this.model.inPlace = inPlace;
  }

  /** What can be said of classes only when it is known which functions there are. */
  private checkStates(): void {
    const { model } = this;
    if (this.timeRecord !== undefined && model.input && this.timeRecord !== model.input) {
      const message = `@time stands in ${this.timeRecord}, which the kernel does not take as its input`;
      this.problems.push({ file: this.file, message, hint: `write it on a field of ${model.input}` });
    }
    for (const { node, state, type } of this.plain) {
      if (model.fold?.state === state || model.upgrades.some(({ from }) => from === state)) continue;
      const hint = `write what is to be kept: ${aggregatesOf(type)}; or change it in fold, which sees records in order`;
      this.problem(node, `${type} has no rule for merging two of them`, hint);
    }
  }

  /** By which name a function calls its record, and which of the fields may be absent. */
  private optionalsOf(each: AnyNode | undefined): { parameter: string; optional: Set<string> } | undefined {
    const record = this.model.records.find(({ name }) => name === this.model.input);
    const [parameter] = each?.signature.parameters ?? [];
    if (!record || !parameter) return undefined;
    const optional = record.fields.filter((field) => field.optional).map((field) => field.name);
    return { parameter: parameter.name.text, optional: new Set(optional) };
  }

  private problem(node: Node, message: string, hint?: string): void {
    const { start, end } = node.range;
    this.problems.push({ file: this.file, start, end, message, ...(hint ? { hint } : {}) });
  }

  private readClass(node: AnyNode): void {
    const kinds = (node.decorators ?? []).map((decorator) => decorator.name.text);
    for (const decorator of node.decorators ?? []) {
      const meant = nearest(decorator.name.text, ["record", "state"]);
      if (meant && meant !== decorator.name.text) {
        this.problem(decorator, `@${decorator.name.text} is unknown`, `did you mean @${meant}?`);
      }
    }
    if (kinds.includes("record")) this.readRecord(node);
    else if (kinds.includes("state")) this.readState(node);
    else {
      for (const member of node.members) {
        if (member.kind === NodeKind.FieldDeclaration && member.flags & CommonFlags.Static) {
          this.problem(member, "a static field is forgotten after every frame", "keep it in a Table");
        }
      }
    }
  }

  /** The fields of a @record or @state class; everything else in it is refused. */
  private fieldsOf(node: AnyNode, kind: string): AnyNode[] {
    const name = node.name.text;
    if (RESERVED.has(name))
      this.problem(node.name, `${name} is a name of the SDK`, "give the class another name");
    const fields: AnyNode[] = [];
    for (const member of node.members) {
      if (member.kind !== NodeKind.FieldDeclaration || member.flags & CommonFlags.Static) {
        this.problem(
          member,
          `a @${kind} class has fields only`,
          "write a function outside the class instead",
        );
      } else if (!member.type) this.problem(member.name, `the field ${member.name.text} has no type`);
      else if (member.initializer)
        this.problem(member.initializer, `a field of a @${kind} class has no initializer`);
      else if (member.name.text.startsWith("__")) this.problem(member.name, "names with __ are the engine's");
      else fields.push(member);
    }
    if (!node.members.length) this.problem(node.name, `${name} has no fields`);
    return fields;
  }

  private readRecord(node: AnyNode): void {
    const fields: FieldModel[] = [];
    for (const member of this.fieldsOf(node, "record")) {
      const written = member.type!;
      const optional = typeText(written) === "Optional";
      const inner = optional ? written.typeArguments?.[0] : written;
      const type = inner ? typeText(inner) : "";
      if (!inner) this.problem(written, "Optional takes a type", "write Optional<f64>");
      else if (!(type in FIELD_TYPES)) {
        this.problem(
          inner,
          `${this.slice(inner)} is no type of a record's field`,
          suggestion(type, Object.keys(FIELD_TYPES), TYPES_OF_TYPESCRIPT[type]),
        );
      } else if (written.isNullable || inner.isNullable) {
        this.problem(written, "a field that a record may lack is an Optional", `write Optional<${type}>`);
      }
      this.readTime(node, member, optional ? "Optional" : type);
      fields.push({ name: member.name.text, source: this.sourceName(member), type, optional });
    }
    if (fields.length > FIELDS_MAX) this.problem(node.name, `a record has at most ${FIELDS_MAX} fields`);
    this.model.records.push({ name: node.name.text, start: node.range.start, end: node.range.end, fields });
  }

  /** `@time` on a field: it is the time of the event. */
  private readTime(record: AnyNode, member: AnyNode, type: string): void {
    const decorator = (member.decorators ?? []).find(({ name }) => name.text === "time");
    if (!decorator) return;
    const [argument] = decorator.args ?? [];
    const lateness = argument ? product(this.slice(argument)) : 0;
    const { time } = this.model;
    if (type !== "Time") this.problem(decorator, "the time of an event is a field of type Time");
    else if (time)
      this.problem(decorator, "one field is the time of an event", `there is @time on ${time.field}`);
    else if (lateness === undefined)
      this.problem(argument, "@time takes how late records may come, in ms", "write @time(10_000)");
    else this.model.time = { field: member.name.text, lateness };
    this.timeRecord = record.name.text;
  }

  /** The name in the input: that of the field, unless `@name("...")` gives another. */
  private sourceName(member: AnyNode): string {
    for (const decorator of member.decorators ?? []) {
      const value = decorator.args?.[0]?.value;
      if (decorator.name.text === "time") continue;
      if (decorator.name.text !== "name")
        this.problem(decorator, `@${decorator.name.text} is unknown on a field`);
      else if (typeof value !== "string" || !value)
        this.problem(decorator, '@name takes a text: @name("user.id")');
      else return value;
    }
    return member.name.text;
  }

  private readState(node: AnyNode): void {
    const fields: AggregateModel[] = [];
    for (const member of this.fieldsOf(node, "state")) {
      const name = member.name.text;
      const aggregate = typeText(member.type!);
      if (name === "table" || name === "key")
        this.problem(member.name, `a state field is never called ${name}`);
      const found = AGGREGATES[aggregate];
      if (!found) {
        const plain = TYPES_OF_TYPESCRIPT[aggregate] ?? aggregate;
        if (plain in FIELD_TYPES && plain === aggregate && plain !== "Text") {
          this.plain.push({ node: member.type!, state: node.name.text, type: plain });
          fields.push({ name, aggregate: PLAIN, type: plain });
        } else if (plain in FIELD_TYPES) {
          const hint = `write what is to be kept: ${aggregatesOf(plain)}`;
          this.problem(member.type!, `${aggregate} has no rule for merging two of them`, hint);
        } else if (COLLECTIONS.has(aggregate)) {
          const hint =
            "a second Table keeps values by a key of its own; Distinct counts different values, Top the most frequent";
          this.problem(member.type!, `${aggregate} is no aggregate`, hint);
        } else
          this.problem(
            member.type!,
            `${aggregate} is no aggregate`,
            suggestion(aggregate, Object.keys(AGGREGATES)),
          );
        continue;
      }
      const argument = member.type!.typeArguments?.[0];
      const type = argument ? typeText(argument) : found.takes[0];
      if (argument && !found.takes.includes(type!)) {
        const takes = found.takes.length ? `it takes ${found.takes.join(", ")}` : `write ${aggregate} alone`;
        this.problem(argument, `${aggregate} does not take ${this.slice(argument)}`, takes);
      } else if (!argument && found.needsType) {
        this.problem(
          member.type!,
          `${aggregate} needs a type`,
          `write ${aggregate}<${found.takes.includes("Text") ? "Text" : found.takes[0]}>`,
        );
      }
      fields.push({ name, aggregate, ...(type ? { type } : {}) });
    }
    this.model.states.push({ name: node.name.text, start: node.range.start, end: node.range.end, fields });
  }

  private readVariable(statement: AnyNode, variable: AnyNode): void {
    const value = variable.initializer;
    if (variable.name.text === "each") this.eachVariable = variable.name;
    if (!(variable.flags & CommonFlags.Const)) {
      this.problem(
        statement,
        `${variable.name.text} would be forgotten after every frame`,
        "a kernel's state lives in a Table; a constant is written with const",
      );
    } else if (value?.kind === NodeKind.New && TABLE_KINDS.has(typeText(value)))
      this.readTable(statement, variable, value, typeText(value) as TableKind);
    else if (value?.kind === NodeKind.New && typeText(value) === "Dataset")
      this.readDataset(statement, variable, value);
    else if (value && isCollection(value)) {
      this.problem(
        value,
        `${variable.name.text} is a collection, and what is put into it is forgotten after every frame`,
        "keep what lasts in a Table; write a fixed list as a function with a switch",
      );
    }
  }

  private readTable(statement: AnyNode, variable: AnyNode, value: AnyNode, kind: TableKind): void {
    const [key, state] = value.typeArguments ?? [];
    const name = value.args[0]?.value;
    if (!key || !state) {
      this.problem(
        value,
        `a ${kind} takes the types of its key and of its state`,
        `write new ${kind}<Text, Weather>(...)`,
      );
      return;
    }
    if (typeof name !== "string" || !/^[A-Za-z_][\w-]*$/.test(name)) {
      this.problem(
        value,
        `a ${kind} takes a name of letters, digits, - and _`,
        `write new ${kind}<...>("stations")`,
      );
      return;
    }
    this.checkTable(statement, value, name, "table");
    const parts = this.keyParts(key);
    for (const part of parts) {
      if (!KEY_TYPES.includes(typeText(part))) {
        const meant = typeText(part) === "string" ? "did you mean Text? " : "";
        this.problem(
          part,
          `${this.slice(part)} is no type of a key`,
          `${meant}keys are ${KEY_TYPES.join(", ")}, Pair or Triple`,
        );
      }
    }
    if (!this.model.states.some((candidate) => candidate.name === typeText(state))) {
      const states = this.model.states.map((candidate) => candidate.name);
      this.problem(
        state,
        `${typeText(state)} is no @state class of this file`,
        this.classHint(typeText(state), "state", states),
      );
    }
    this.model.tables.push({
      kind,
      constant: variable.name.text,
      name,
      key: parts.map(typeText),
      keyType: this.slice(key),
      state: typeText(state),
      ...(kind === "Table" ? {} : { span: this.spanOf(value.args.slice(1)) }),
      ...(variable.flags & CommonFlags.Export ? {} : { exportAt: statement.range.start }),
    });
    if (this.model.tables.length > TABLES_MAX)
      this.problem(value, `a kernel has at most ${TABLES_MAX} tables`);
  }

  /** By which two kernels' windows are told to be the same; one length is size and step. */
  private spanOf(lengths: AnyNode[]): string {
    return lengths.map((length) => String(product(this.slice(length)) ?? this.slice(length))).join(",");
  }

  /** The parts of a key, those of a tuple within a tuple among them. */
  private keyParts(key: AnyNode): AnyNode[] {
    if (!(typeText(key) in TUPLES)) return [key];
    const parts = key.typeArguments ?? [];
    if (parts.length !== TUPLES[typeText(key)])
      this.problem(key, `${typeText(key)} takes ${TUPLES[typeText(key)]} types`);
    return parts.flatMap((part) => this.keyParts(part));
  }

  private checkTable(statement: AnyNode, value: AnyNode, name: string, what: string): void {
    if ([...this.model.tables, ...this.model.datasets].some((other) => other.name === name))
      this.problem(value, `there are two ${what}s called ${name}`);
    if (statement.declarations.length > 1)
      this.problem(statement, `declare each ${what} in a statement of its own`);
  }

  private readDataset(statement: AnyNode, variable: AnyNode, value: AnyNode): void {
    const [record] = value.typeArguments ?? [];
    const name = value.args[0]?.value;
    if (!record || typeof name !== "string" || !/^[A-Za-z_][\w-]*$/.test(name)) {
      const message = "a Dataset takes the class of its rows, and a name of letters, digits, - and _";
      this.problem(value, message, 'write new Dataset<Flight>("flights")');
      return;
    }
    this.checkTable(statement, value, name, "dataset");
    const { datasets, records } = this.model;
    const found = records.find((candidate) => candidate.name === typeText(record));
    if (!found) {
      const names = records.map((candidate) => candidate.name);
      const hint = this.classHint(typeText(record), "record", names);
      this.problem(record, `${typeText(record)} is no @record class of this file`, hint);
    }
    const ages = value.args[2] !== undefined && product(this.slice(value.args[2])) !== 0;
    const ageField = ages ? found && this.ageField(found) : undefined;
    if (ages && found && !ageField) {
      const hint = `give ${found.name} a field of type Time that is not Optional`;
      this.problem(value.args[2], "rows grow old by a time of theirs", hint);
    }
    datasets.push({
      constant: variable.name.text,
      name,
      record: typeText(record),
      ...(ageField ? { ageField } : {}),
      ...(variable.flags & CommonFlags.Export ? {} : { exportAt: statement.range.start }),
    });
    if (datasets.length > DATASETS_MAX) this.problem(value, `a kernel has at most ${DATASETS_MAX} datasets`);
  }

  /** The field by which rows grow old: the one with @time, or the first that is a time. */
  private ageField({ name, fields }: RecordModel): string | undefined {
    const times = fields.filter(({ type, optional }) => type === "Time" && !optional);
    const marked = this.timeRecord === name ? this.model.time?.field : undefined;
    return (times.find((field) => field.name === marked) ?? times[0])?.name;
  }

  /** What to write where a class is not of the kind that is needed. */
  private classHint(name: string, kind: string, candidates: string[]): string {
    if (this.classes.has(name)) return `write @${kind} before class ${name}`;
    return candidates.length
      ? suggestion(name, candidates)
      : `declare it: @${kind} class ${name || "Name"} { ... }`;
  }

  private slice(node: Node): string {
    return this.text.slice(node.range.start, node.range.end);
  }
}

function isCollection(node: AnyNode): boolean {
  if (node.kind === NodeKind.New) return true;
  return (
    node.kind === NodeKind.Literal &&
    (node.literalKind === LiteralKind.Array || node.literalKind === LiteralKind.Object)
  );
}

/** The value of an integer, or of a product of some, as it is written; undefined if it is none. */
function product(text: string): number | undefined {
  const factors = text.split("*").map((factor) => factor.trim().replaceAll("_", ""));
  if (!factors.every((factor) => /^\d{1,15}$/.test(factor))) return undefined;
  return factors.reduce((value, factor) => value * Number(factor), 1);
}

/** The aggregates that take values of a type, as they are written. */
function aggregatesOf(type: string): string {
  const taking = Object.entries(AGGREGATES).filter(([, { takes }]) => takes.includes(type));
  const numeric = AGGREGATES.Sum.takes.includes(type);
  const others = numeric ? ["Stats", "Quantiles", "Distinct"] : ["Distinct"];
  return `${[...taking.map(([name]) => `${name}<${type}>`), ...others].join(", ")} or Count`;
}

function suggestion(name: string, candidates: string[], meant = nearest(name, candidates)): string {
  return meant
    ? `did you mean ${meant}?`
    : candidates.length
      ? `write one of: ${candidates.join(", ")}`
      : "declare it";
}
