/**
 * Which fields of its record `each` reads whatever they are: these may be read before it is called. The others are better left alone until
 * they are asked for, as a filter may never come to them, and memory is what a fast loop waits for.
 */
import { type Node, NodeKind, Token } from "./asc.mjs";
import { type AnyNode, children } from "./syntax.ts";

/** A read of a field: where `record.field` stands in the text. */
export interface Access {
  start: number;
  end: number;
  field: string;
}

const LEAVES: number[] = [NodeKind.Break, NodeKind.Continue, NodeKind.Return, NodeKind.Throw];
/** Statements of which nothing but a condition is certain to be reached. */
const LOOPS: number[] = [
  NodeKind.Do,
  NodeKind.For,
  NodeKind.ForOf,
  NodeKind.Switch,
  NodeKind.Try,
  NodeKind.While,
];

/** The names of the fields that a body reads always. */
export function alwaysRead(body: Node, record: string): Set<string> {
  const names = new Set<string>();
  reached(body, (node) => {
    const field = fieldOf(node, record);
    if (field !== undefined) names.add(field);
  });
  return names;
}

/** All reads of fields in a body, but for those of functions within. */
export function accesses(node: AnyNode, record: string): Access[] {
  if (node.kind === NodeKind.Function) return [];
  const field = fieldOf(node, record);
  if (field !== undefined) return [{ start: node.range.start, end: node.range.end, field }];
  return [...children(node)].flatMap((child) => accesses(child, record));
}

function fieldOf({ kind, expression, property }: AnyNode, record: string): string | undefined {
  const isField =
    kind === NodeKind.PropertyAccess &&
    expression!.kind === NodeKind.Identifier &&
    expression!.text === record;
  return isField ? property!.text : undefined;
}

/** Visits what is reached whenever the node is; whether what stands behind it is, too. */
function reached(node: AnyNode, visit: (node: AnyNode) => void): boolean {
  const { kind, operator, left, condition } = node;
  visit(node);
  if (kind === NodeKind.Function) return true;
  if (kind === NodeKind.Binary && (operator === Token.Ampersand_Ampersand || operator === Token.Bar_Bar))
    return reached(left!, visit);
  if (
    kind === NodeKind.If ||
    kind === NodeKind.Ternary ||
    kind === NodeKind.While ||
    kind === NodeKind.Switch
  )
    reached(condition as AnyNode, visit);
  if (kind === NodeKind.If || kind === NodeKind.Ternary || LOOPS.includes(kind)) return !leaves(node);
  const all = [...children(node)].every((child) => reached(child, visit));
  return all && !LEAVES.includes(kind);
}

function leaves(node: AnyNode): boolean {
  if (node.kind === NodeKind.Function) return false;
  return LEAVES.includes(node.kind) || [...children(node)].some(leaves);
}
