/**
 * What the functions of a kernel may not do: what AssemblyScript compiles wrongly, and what would make an answer
 * depend on anything but the input. Pure in the parsed file.
 */
import { type Node, NodeKind } from "./asc.mjs";
import { type AnyNode, children, walk } from "./syntax.ts";

export interface Refusal {
  node: Node;
  message: string;
  hint: string;
}

const NO_CLOCK = "a kernel has no clock: its answer follows from its input alone";
const CLOCK_HINT = "read the time from a field of the record, of type Time";
const NO_RANDOM = "a kernel has no randomness: its answer follows from its input alone";
const RANDOM_HINT = "choose records by a hash or a digit of one of their fields";
const NO_HOST = "a kernel reaches nothing but its input";
const PRINT_HINT = "to see values, emit a record: out.emit(record)";
const NO_OUTPUT = "upgrade belongs to no frame, and so has no output";
const NO_OUTPUT_HINT = "keep it in the state, and emit it in each, fold or close";
const HOST_HINT = "keep what you need in a Table, or emit a record: out.emit(record)";

/** Globals of AssemblyScript's that would call the host, and what to do instead. */
const GLOBALS: Record<string, [message: string, hint: string]> = {
  console: [NO_HOST, PRINT_HINT],
  process: [NO_HOST, HOST_HINT],
  crypto: [NO_RANDOM, RANDOM_HINT],
  performance: [NO_CLOCK, CLOCK_HINT],
  Date: [NO_CLOCK, CLOCK_HINT],
};
const MEMBERS: Record<string, [message: string, hint: string]> = {
  "Math.random": [NO_RANDOM, RANDOM_HINT],
  "NativeMath.random": [NO_RANDOM, RANDOM_HINT],
  "NativeMathf.random": [NO_RANDOM, RANDOM_HINT],
  "Mathf.random": [NO_RANDOM, RANDOM_HINT],
};

/** Functions that run at the owner of a key, where tables are not filled. */
const AT_OWNER = /^(fold|late|key|(close|upgrade)([A-Z]\w*)?)$/;
const UPGRADE = /^upgrade([A-Z]\w*)?$/;

/** Everything refused in statements. `record` is the parameter of `each` and the names of its optional fields. */
export function refusals(
  statements: Node[],
  model: {
    tables: { constant: string }[];
    datasets: { constant: string }[];
    fold?: { constant: string; state: string };
  },
  record?: { parameter: string; optional: Set<string> },
): Refusal[] {
  const found: Refusal[] = [];
  const own = declaredNames(statements);
  const tables = new Set(model.tables.map(({ constant }) => constant));
  const datasets = new Set(model.datasets.map(({ constant }) => constant));
  for (const statement of statements as AnyNode[]) {
    const name = statement.kind === NodeKind.FunctionDeclaration ? (statement.name?.text ?? "") : "";
    const atOwner = AT_OWNER.test(name);
    const upgrades = UPGRADE.test(name);
    walk(statement, (node, inFunction) => {
      const refuse = ([message, hint]: [string, string]) => found.push({ node, message, hint });
      if (node.kind === NodeKind.For && !node.condition && breaks(node)) {
        refuse([
          "AssemblyScript 0.28 compiles a for loop without a condition wrongly when it has a break",
          "write while (true)",
        ]);
      } else if (node.kind === NodeKind.PropertyAccess && node.expression?.kind === NodeKind.Identifier) {
        const object = node.expression.text!;
        const member = MEMBERS[`${object}.${node.property!.text}`];
        if (own.has(object)) return;
        if (Object.hasOwn(GLOBALS, object)) refuse(GLOBALS[object]);
        else if (member) refuse(member);
      } else if (node.kind === NodeKind.New) {
        const name = node.typeName!.identifier.text;
        if (name === "Date") refuse(GLOBALS.Date);
        if ((name === "Table" || name === "Dataset") && inFunction) {
          refuse([
            `a ${name} is declared at the top of the kernel`,
            `write const t = new ${name}<...>("name") outside of functions`,
          ]);
        }
      } else if (node.kind === NodeKind.Call) {
        const refusal =
          tableCall(node, tables, model.fold, atOwner) ?? (atOwner ? rowCall(node, datasets) : undefined);
        if (refusal) refuse(refusal);
        if (upgrades && emits(node)) refuse([NO_OUTPUT, NO_OUTPUT_HINT]);
        if (node.expression?.text === "trace") refuse([NO_HOST, PRINT_HINT]);
        for (const argument of record ? node.args! : []) refuseOptional(argument, record!, found);
      }
    });
  }
  return found;
}

function emits({ expression }: AnyNode): boolean {
  return (
    expression?.kind === NodeKind.PropertyAccess &&
    expression.property!.text === "emit" &&
    expression.expression?.text === "out"
  );
}

/** A call of `table.at` where it would be lost. */
function tableCall(
  { expression }: AnyNode,
  tables: Set<string>,
  fold: { constant: string; state: string } | undefined,
  atOwner: boolean,
): [string, string] | undefined {
  if (expression?.kind !== NodeKind.PropertyAccess || expression.property!.text !== "at") return undefined;
  const table = expression.expression?.text ?? "";
  if (!tables.has(table)) return undefined;
  if (atOwner)
    return [
      `${table}.at fills a table while records are read, which is over here`,
      "fold changes the state that it is given; send other things on by out.emit",
    ];
  if (table !== fold?.constant) return undefined;
  return [
    `${table} is kept by fold`,
    `change it there: fold is given the ${fold.state} of the record's key; or use another table here`,
  ];
}

/** A call of `dataset.add` where it would be lost. */
function rowCall({ expression }: AnyNode, datasets: Set<string>): [string, string] | undefined {
  if (expression?.kind !== NodeKind.PropertyAccess || expression.property!.text !== "add") return undefined;
  const dataset = expression.expression?.text ?? "";
  if (!datasets.has(dataset)) return undefined;
  return [`${dataset} takes rows while records are read, which is over here`, "add them in each"];
}

/** An optional field of the record, given as it is where its value is meant. */
function refuseOptional(
  node: AnyNode,
  { parameter, optional }: { parameter: string; optional: Set<string> },
  found: Refusal[],
): void {
  if (node.kind !== NodeKind.PropertyAccess || node.expression?.text !== parameter) return;
  const field = node.property!.text;
  if (!optional.has(field)) return;
  const path = `${parameter}.${field}`;
  const hint = `write if (${path}.present) ... ${path}.value, or ${path}.or(a value for where it is not)`;
  found.push({ node, message: `${path} is an Optional: the record may lack it`, hint });
}

/** Names that the file declares itself, of whatever kind: they are not AssemblyScript's globals. */
function declaredNames(statements: Node[]): Set<string> {
  const names = new Set<string>();
  for (const statement of statements) {
    walk(statement as AnyNode, ({ name }) => {
      if (name?.text !== undefined) names.add(name.text);
    });
  }
  return names;
}

/** Whether a break below ends this loop rather than one inside it. */
function breaks(loop: AnyNode): boolean {
  const inner: number[] = [
    NodeKind.For,
    NodeKind.ForOf,
    NodeKind.While,
    NodeKind.Do,
    NodeKind.Switch,
    NodeKind.Function,
  ];
  const below = (node: AnyNode): boolean =>
    node.kind === NodeKind.Break || (!inner.includes(node.kind) && [...children(node)].some(below));
  return [...children(loop)].some(below);
}
