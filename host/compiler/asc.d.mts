// The parts of AssemblyScript's API that are used here.
export interface Range {
  start: number;
  end: number;
}
export interface Node {
  kind: number;
  range: Range;
}
export interface Source {
  normalizedPath: string;
  internalPath: string;
  statements: Node[];
  debugInfoIndex: number;
}
export class Parser {
  diagnostics: { message: string; range: Range | null }[];
  sources: Source[];
  /** Files to be parsed next, those that were asked for, and those that are parsed. */
  backlog: string[];
  seenlog: Set<string>;
  donelog: Set<string>;
  /** Where each file was first asked for. */
  dependees: Map<string, unknown>;
  parseFile(text: string | null, path: string, isEntry: boolean): void;
}
export const NodeKind: Record<
  | "Binary"
  | "Break"
  | "Call"
  | "ClassDeclaration"
  | "Continue"
  | "Do"
  | "FieldDeclaration"
  | "For"
  | "ForOf"
  | "Function"
  | "FunctionDeclaration"
  | "Identifier"
  | "If"
  | "ImportDeclaration"
  | "Literal"
  | "MethodDeclaration"
  | "NamespaceDeclaration"
  | "New"
  | "PropertyAccess"
  | "Return"
  | "Switch"
  | "Ternary"
  | "Throw"
  | "Try"
  | "UnaryPostfix"
  | "UnaryPrefix"
  | "Variable"
  | "While",
  number
>;
export const LiteralKind: Record<"Array" | "Object", number>;
/** Those of assignments stand between `Equals` and `Caret_Equals`. */
export const Token: Record<
  "Ampersand_Ampersand" | "Bar_Bar" | "Caret_Equals" | "Equals" | "Minus_Minus" | "Plus_Plus",
  number
>;
export const CommonFlags: Record<"Const" | "Export" | "Static", number>;

export interface Diagnostic {
  message: string;
  category: number;
  range?: { start: number; end: number; source: { normalizedPath: string } | null } | null;
}
export interface Options {
  readFile(name: string, base: string): string | null;
  writeFile(name: string, contents: Uint8Array | string, base: string): void;
  listFiles(folder: string, base: string): string[] | null;
  reportDiagnostic?(diagnostic: Diagnostic): void;
}
export interface Result {
  error: Error | null;
  stderr: { toString(): string };
}
export const asc: { main(argv: string[], options: Options): Promise<Result> };
