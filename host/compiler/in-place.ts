/**
 * Whether rows that are visited can be read where they lie in their columns, instead of being copied into a record one after the other: whether
 * `each` does nothing with its record but read fields of it. Pure in the parsed file. What is in doubt is copied, as it always was.
 */
import { accesses, alwaysRead } from "./always-read.ts";
import { LiteralKind, type Node, NodeKind, Token } from "./asc.mjs";
import type { FieldModel, InPlace, KernelModel } from "./kernel-model.ts";
import { type AnyNode, children, walk } from "./syntax.ts";
import { FIELD_TYPES } from "./types.ts";

/** What may be asked of an optional field. The object itself there is none, where rows lie in columns. */
const OPTIONAL_PARTS = new Set(["present", "value", "or"]);
/** What views consist of: whoever writes these, writes where the view lies. */
const VIEW_PARTS = new Set(["ptr", "length", "ms", "units"]);
/** Calls that make no object in which a view could be kept beyond its row. */
const MAKE_VALUES = new Set(["Text", "Time", "Decimal", "Math", "Mathf", "NativeMath", "NativeMathf"]);

/**
 * How rows are read in place; undefined if they are copied. `parameter` is by which name `each` calls its record, `text` the file.
 */
export function inPlaceOf(
  statements: Node[],
  model: KernelModel,
  parameter: string,
  text: string,
): InPlace | undefined {
  const file = statements as AnyNode[];
  const each = file.find(({ kind, name }) => kind === NodeKind.FunctionDeclaration && name?.text === "each");
  const record = model.records.find(({ name }) => name === model.input);
  if (!each || !record || model.fold) return undefined;
  // Views of one column are the same view, those of two fields of a record never were.
  const views = record.fields.filter(({ type }) => FIELD_TYPES[type].view).map(({ source }) => source);
  if (new Set(views).size < views.length) return undefined;
  if (!file.every(keepsNothing) || named(file, record.name) !== IN_CLASS_AND_EACH) return undefined;
  const fields = new Map(record.fields.map((field) => [field.name, field]));
  const { signature, body } = each as AnyNode & { signature: Signature; body: AnyNode };
  if (named([signature], parameter) !== 1 || !reads(body, undefined, parameter, fields)) return undefined;
  const always = text.includes(`${parameter}$`) ? new Set() : alwaysRead(body, parameter);
  const ahead = record.fields.filter(
    ({ name, type, optional }) => !optional && always.has(name) && isKnown(type, file),
  );
  return {
    parametersAt: signature.parameters[0].range.end,
    ahead: ahead.map(({ name }) => name),
    accesses: accesses(body, parameter).filter(
      ({ start, end, field }) =>
        ahead.some(({ name }) => name === field) && text.slice(start, end) === `${parameter}.${field}`,
    ),
    parameter,
  };
}

/** Whether a type can be written in the author's file: classes of fields go, so that nobody may have missed an import for them. */
function isKnown(type: string, file: AnyNode[]): boolean {
  let known = !FIELD_TYPES[type].view;
  for (const statement of file)
    walk(statement, ({ kind, name }) => {
      if (kind === NodeKind.ImportDeclaration && name?.text === type) known = true;
    });
  return known;
}

/** The name of the parameter that is a field which was read ahead: as long as `record.field`, so that all that follows stays where it is. */
export function aheadName(parameter: string, field: string): string {
  return `${parameter}$${field}`;
}

interface Signature extends AnyNode {
  parameters: AnyNode[];
}

/** The class is named where it is declared and as the type of the parameter: so it is known to nothing else. */
const IN_CLASS_AND_EACH = 2;

/** How often a name is used in these, other than for a property of something. */
function named(nodes: Iterable<AnyNode>, name: string): number {
  let count = 0;
  for (const node of nodes) {
    const below = node.kind === NodeKind.PropertyAccess ? [node.expression!] : children(node);
    count += Number(isName(node.kind, node.text, name)) + named(below, name);
  }
  return count;
}

function isName(kind: number, text: string | undefined, name: string): boolean {
  return kind === NodeKind.Identifier && text === name;
}

/** Whether a node, and all below it, does nothing with the record but read its fields; nor gives its name to anything else. */
function reads(
  node: AnyNode,
  parent: AnyNode | undefined,
  record: string,
  fields: Map<string, FieldModel>,
): boolean {
  if (isName(node.kind, node.text, record)) return false;
  const target = changed(node);
  if (target && named([target], record)) return false;
  if (node.kind !== NodeKind.PropertyAccess)
    return [...children(node)].every((child) => reads(child, node, record, fields));
  const object = node.expression!;
  if (!isName(object.kind, object.text, record)) return reads(object, node, record, fields);
  const field = fields.get(node.property!.text);
  if (!field?.optional) return field !== undefined;
  return parent?.kind === NodeKind.PropertyAccess && OPTIONAL_PARTS.has(parent.property!.text);
}

/** What an assignment or a step by one changes; undefined if the node is neither. */
function changed({ kind, operator, left, operand }: AnyNode): AnyNode | undefined {
  if (kind === NodeKind.Binary && operator! >= Token.Equals && operator! <= Token.Caret_Equals) return left;
  if (kind === NodeKind.UnaryPostfix) return operand;
  if (kind !== NodeKind.UnaryPrefix) return undefined;
  return operator === Token.Plus_Plus || operator === Token.Minus_Minus ? operand : undefined;
}

/**
 * Whether a statement neither has a place that outlives a row, in which a view could be kept, nor a change of a view, nor brings in a file
 * that may have either.
 */
function keepsNothing(statement: AnyNode): boolean {
  const { kind, path } = statement;
  if (kind === NodeKind.NamespaceDeclaration) return false;
  if (path && path.value !== "hallelujah") return false;
  if (kind === NodeKind.Variable) {
    const { declarations } = statement as AnyNode & { declarations: AnyNode[] };
    if (!declarations.every(({ initializer }) => !initializer || isPlain(initializer))) return false;
  }
  let writes = false;
  walk(statement, (node) => {
    const target = changed(node);
    if (!target) return;
    walk(target, ({ kind, property }) => {
      if (kind === NodeKind.PropertyAccess && VIEW_PARTS.has(property!.text)) writes = true;
    });
  });
  return !writes;
}

/** Whether a constant is a table or a plain value. */
function isPlain(initializer: AnyNode): boolean {
  if (initializer.kind === NodeKind.New) return true; // the model lets nothing else pass than what keeps copies
  let plain = true;
  walk(initializer, ({ kind, expression, literalKind }) => {
    if (kind === NodeKind.New) plain = false;
    else if (kind === NodeKind.Literal)
      plain &&= literalKind !== LiteralKind.Array && literalKind !== LiteralKind.Object;
    else if (kind === NodeKind.Call)
      plain &&=
        expression?.kind === NodeKind.PropertyAccess && MAKE_VALUES.has(expression.expression?.text ?? "");
  });
  return plain;
}
