/** AssemblyScript's diagnostics in the words of a kernel's author: names without paths, and what to write instead. */
import { nearest } from "../core/errors.ts";
import type { Diagnostic } from "./diagnostics.ts";
import { className } from "./kernel-model.ts";
import { AGGREGATES, TUPLES } from "./types.ts";

/** What kernels import from the SDK. */
const SDK_NAMES = new Set([
  ...Object.keys(AGGREGATES),
  ...Object.keys(TUPLES),
  "Table",
  "Text",
  "Time",
  "Decimal",
  "Optional",
  "Cursor",
  "pair",
  "triple",
  "out",
]);

/** Globals of JavaScript that AssemblyScript has not. */
const JAVASCRIPT: Record<string, string> = {
  JSON: 'records are decoded for you: name the fields in a @record class, nested ones by @name("user.id")',
  RegExp: "take texts apart with a Cursor, or with indexOf and slice",
  BigInt: "write i64 or u64",
  Intl: "rows are formatted by whoever reads them",
  Promise: "a kernel waits for nothing",
  setTimeout: "a kernel waits for nothing",
  fetch: "a kernel reaches nothing but its input",
  require: 'a kernel imports from "hallelujah" and from its own files',
  undefined: "a value that may be absent is an Optional field, or a number that stands for it",
};

/** What AssemblyScript names behind `Not implemented:`. */
const NOT_IMPLEMENTED: Record<string, string> = {
  Closures:
    "a function cannot use variables of the function around it; write a loop, or give it what it needs",
  Iterators: "write for (let i = 0; i < list.length; i++)",
  Exceptions: "there is nothing to catch: a throw ends the run; test before instead",
  "Regular expressions": "take texts apart with a Cursor, or with indexOf and slice",
  "union types": "a variable has one type",
};

/** The same diagnostics, reworded; those that only follow from others are left out. `text` is the author's. */
export function inWords(diagnostics: Diagnostic[], text: string): Diagnostic[] {
  const worded = diagnostics.map((diagnostic) => reword(diagnostic, text));
  const causes = worded.filter(({ message }) => !message.includes("type 'auto'"));
  return causes.length ? causes : worded;
}

function reword(diagnostic: Diagnostic, text: string): Diagnostic {
  if (diagnostic.hint) return diagnostic;
  const { file } = diagnostic;
  const message = diagnostic.message
    .replaceAll(`~lib/hallelujah/generated/${className("")}`, "")
    .replace(/~lib\/hallelujah\/(?:[\w-]+\/)*/g, "")
    .replace("'~lib/hallelujah'", "hallelujah");
  const found = HINTS.map(([pattern, hint]) => {
    const match = pattern.exec(message);
    return match && hint(match, diagnostic, text);
  }).find((hint) => hint);
  const inSdk = file.startsWith("~lib/hallelujah/");
  return {
    ...diagnostic,
    file: inSdk ? "kernel" : file,
    message: message.replace(
      /^Not implemented: (.*)/,
      (_, what: string) => `AssemblyScript has no ${what.toLowerCase()}`,
    ),
    ...(found
      ? { hint: found }
      : inSdk
        ? { hint: "a value of this type is given to a function of the SDK that takes another" }
        : {}),
  };
}

type Hint = (match: RegExpExecArray, diagnostic: Diagnostic, text: string) => string | undefined;

const HINTS: [RegExp, Hint][] = [
  [/^Not implemented: (.*)/, ([, what]) => NOT_IMPLEMENTED[what]],
  [
    /^Conversion from type '.*' to '(\w+)' requires an explicit cast/,
    ([, type], diagnostic, text) => {
      const value = sourceOf(diagnostic, text);
      return `write <${type}>${/^[\w.]*$/.test(value) ? value : `(${value})`}`;
    },
  ],
  [
    /^The '(.+)' operator cannot be applied to type '(\w+)/,
    ([, , type]) =>
      type in AGGREGATES
        ? `a ${type} takes values by its method add: ${type.toLowerCase()}.add(...)`
        : undefined,
  ],
  [/^Ambiguous operator overload '[!=]='/, () => 'compare a text with a string by is: method.is("GET")'],
  [/^Property '(\w+)' does not exist on type 'Optional/, () => "write .present, .value or .or(...)"],
  [
    /^Cannot find name '(\w+)'/,
    ([, name]) => {
      if (SDK_NAMES.has(name)) return `import { ${name} } from "hallelujah"`;
      if (Object.hasOwn(JAVASCRIPT, name)) return JAVASCRIPT[name];
      const meant = /^[A-Z]/.test(name) ? nearest(name, SDK_NAMES) : undefined;
      return meant && `did you mean ${meant}?`;
    },
  ],
  [
    /^Module .* has no exported member '(\w+)'/,
    ([, name]) => {
      const meant = nearest(name, SDK_NAMES);
      return meant ? `did you mean ${meant}?` : `the SDK has: ${[...SDK_NAMES].join(", ")}`;
    },
  ],
  [
    /^File '~lib\/(.*)\.ts' not found/,
    ([, name]) =>
      nearest(name, ["hallelujah"])
        ? 'write from "hallelujah"'
        : 'a kernel imports from "hallelujah" and from its own files ("./...")',
  ],
  [/^Operation is unsafe/, () => "kernels have no direct access to memory"],
  [/^Optional properties are not supported/, () => "write Optional<...> as the field's type"],
  [
    /^Type expected/,
    (_, { start }, text) => {
      const after = text.slice(start);
      return /\)\s*$/.test(text.slice(0, start)) && /^\s*\{/.test(after)
        ? "write what the function returns: (...): void { ... }"
        : "write a type behind the name, e.g. station: Text";
    },
  ],
  [
    /^Identifier expected/,
    (_, { start }, text) =>
      /^(?:const|let|var)\s*[[{]/.test(text.slice(start))
        ? "there is no destructuring: write each variable alone"
        : undefined,
  ],
  [
    /^Expression expected/,
    (_, { start = 0 }, text) =>
      /\?\?|\?\./.test(text.slice(Math.max(0, start - 2), start + 2))
        ? "there is no ?? and no ?.; an Optional field has .or(...)"
        : undefined,
  ],
  [
    /^'\{' expected/,
    (_, { start }, text) =>
      /^\s*(?:export\s+)?async\b/.test(text.slice(start))
        ? "there is no async: a kernel waits for nothing"
        : undefined,
  ],
];

function sourceOf({ start = 0, end = start }: Diagnostic, text: string): string {
  return text.slice(start, end);
}
