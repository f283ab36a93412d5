/** The parser's nodes as a tree, whatever they are. */
import { type Node, NodeKind } from "./asc.mjs";

/** The parts of nodes that are looked at, where they have them. */
export interface AnyNode extends Node {
  name?: { text?: string };
  text?: string;
  condition?: Node | null;
  expression?: AnyNode;
  property?: { text: string };
  typeName?: { identifier: { text: string } };
  args?: AnyNode[];
  operator?: number;
  left?: AnyNode;
  operand?: AnyNode;
  initializer?: AnyNode | null;
  literalKind?: number;
  path?: { value: string } | null;
}

/** Visits a node and all below it; `inFunction` says whether a function's body is around the node. */
export function walk(
  node: AnyNode,
  visit: (node: AnyNode, inFunction: boolean) => void,
  inFunction = false,
): void {
  visit(node, inFunction);
  const inside =
    inFunction || node.kind === NodeKind.FunctionDeclaration || node.kind === NodeKind.MethodDeclaration;
  for (const child of children(node)) walk(child, visit, inside);
}

export function* children(node: AnyNode): Generator<AnyNode> {
  for (const [name, value] of Object.entries(node)) {
    if (name === "range") continue;
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) yield child;
  }
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === "object" && value !== null && "kind" in value && "range" in value;
}
