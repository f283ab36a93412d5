// AssemblyScript behind types of our own (asc.d.mts): its types declare AssemblyScript's globals, which would take the
// place of JavaScript's in the whole program.
export { CommonFlags, LiteralKind, NodeKind, Parser, Token } from "assemblyscript";
export { default as asc } from "assemblyscript/asc";
