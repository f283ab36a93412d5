/**
 * From a kernel's source to a WebAssembly module: the author's file with its `@record` and `@state` classes taken
 * over by generated ones, the SDK under `hallelujah`, and AssemblyScript's compiler in this process.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { asc, type Diagnostic as AscDiagnostic } from "./asc.mjs";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { packageRoot } from "../core/package-root.ts";
import { sdkVersion } from "../core/version.ts";
import { ABI_VERSION } from "../kernel/memory-map.ts";
import { sectionNames, withSections } from "./descriptor.ts";
import { CompileError, type Diagnostic } from "./diagnostics.ts";
import { describe, generate } from "./generate.ts";
import { inWords } from "./hints.ts";
import { aheadName } from "./in-place.ts";
import { className, type InPlace, type KernelModel } from "./kernel-model.ts";
import { readKernel } from "./model.ts";
import { forgetParsed } from "./parsed.ts";

const SDK = join(packageRoot, "assembly");
/** Where asc looks for `import ... from "hallelujah"`, and under which name the SDK's files are compiled. */
const SDK_IMPORT = /(?:^|\/)node_modules\/hallelujah\/(.+)$/;
/** asc takes the entry and the runtime from outside its library, where nothing unsafe is allowed; these lead inside. */
const ENTRIES: Record<string, string> = {
  "kernel-entry.ts": 'export * from "hallelujah/main";',
  "kernel-runtime.ts": 'import "hallelujah/runtime";',
};

/** A text with some ranges replaced, that knows where each of its offsets was before. */
class EditedText {
  private readonly edits: { start: number; end: number; text: string }[];
  readonly text: string;

  constructor(original: string, edits: { start: number; end: number; text: string }[]) {
    this.edits = edits.toSorted((a, b) => a.start - b.start);
    let text = "";
    let at = 0;
    for (const edit of this.edits) {
      text += original.slice(at, edit.start) + edit.text;
      at = edit.end;
    }
    this.text = text + original.slice(at);
  }

  /** Offset in the original; inside a replacement, its start. */
  original(offset: number): number {
    let shift = 0;
    for (const { start, end, text } of this.edits) {
      if (offset < start + shift) break;
      if (offset < start + shift + text.length) return start;
      shift += text.length - (end - start);
    }
    return offset - shift;
  }
}

/**
 * The author's file as it is compiled: classes become imports of the generated ones, on as many lines; and of fields that are read ahead
 * `each` reads parameters.
 */
function edit(text: string, model: KernelModel, forVisits: boolean): EditedText {
  const edits = [...model.records, ...model.states].map(({ name, start, end }) => ({
    start,
    end,
    text: `import { ${className(name)} as ${name} } from "hallelujah/generated";${text.slice(start, end).replace(/[^\n]+/g, "")}`,
  }));
  for (const { exportAt } of [...model.tables, ...model.datasets]) {
    if (exportAt !== undefined) edits.push({ start: exportAt, end: exportAt, text: "export " });
  }
  if (model.eachAt !== undefined) edits.push({ start: model.eachAt, end: model.eachAt, text: "@inline " });
  if (forVisits && model.inPlace) edits.push(...readAhead(model.inPlace, model));
  return new EditedText(text, edits);
}

function readAhead({ parameter, parametersAt, ahead, accesses }: InPlace, { records, input }: KernelModel) {
  const { fields } = records.find(({ name }) => name === input)!;
  const typeOf = (field: string) => fields.find(({ name }) => name === field)!.type;
  const parameters = ahead.map((field) => `, ${aheadName(parameter, field)}: ${typeOf(field)}`).join("");
  return [
    { start: parametersAt, end: parametersAt, text: parameters },
    ...accesses.map(({ start, end, field }) => ({ start, end, text: aheadName(parameter, field) })),
  ];
}

export interface CompiledKernel {
  wasm: Uint8Array;
  /** Files of the author that went into it, absolute; the kernel itself first. */
  sources: string[];
}

/**
 * What a kernel is built for, by the targets of asconfig.json. `quick`: Binaryen does less, which takes half the time; records in text are read
 * some 5 % slower then, and a row of a visit may take twice the time. `visit`: it can do nothing but visit rows, which leaves room in
 * registers for that, and half of the code away.
 */
export type CompileTarget = "release" | "quick" | "visit" | "quick-visit";

/** Settles when the build before is over: they share what is parsed. */
let turn: Promise<unknown> = Promise.resolve();

/** Compiles the kernel in `file`. Throws CompileError with every diagnostic. */
export function compileKernel(file: string, target: CompileTarget = "release"): Promise<CompiledKernel> {
  const compiled = turn.then(() => compile(file, target));
  turn = compiled.catch(forgetParsed);
  return compiled;
}

async function compile(file: string, target: CompileTarget): Promise<CompiledKernel> {
  const path = resolve(file);
  const base = dirname(path);
  const name = basename(path);
  const text = readSource(path);
  const { model, problems } = readKernel(text, name);
  if (problems.length) throw new CompileError(inWords(problems, text), text);
  const forVisits = target.endsWith("visit");
  const edited = edit(text, model, forVisits);
  const generated = generate(model, `../../${name.replace(/\.ts$/, "")}`, forVisits);
  const sources = [path];
  const outputs = new Map<string, Uint8Array | string>();
  const diagnostics: Diagnostic[] = [];

  const { error, stderr } = await asc.main(
    // Everything else stands in asconfig.json, which asc asks for.
    ["kernel-entry.ts", "--baseDir", base, "--target", target],
    {
      readFile: (wanted) => {
        const sdk = SDK_IMPORT.exec(wanted.replaceAll("\\", "/"))?.[1];
        if (sdk === "generated.ts") return generated;
        if (sdk) return readOrNull(join(SDK, sdk));
        if (wanted in ENTRIES) return ENTRIES[wanted];
        if (basename(wanted) === "asconfig.json") return readOrNull(join(packageRoot, "asconfig.json"));
        const own = resolve(base, wanted);
        if (own === path) return edited.text;
        const other = readOrNull(own);
        if (other !== null && !sources.includes(own)) sources.push(own);
        return other;
      },
      writeFile: (wanted, contents) => {
        outputs.set(basename(wanted), contents);
      },
      listFiles: () => [],
      reportDiagnostic: (found) => {
        if (found.category === ERROR) diagnostics.push(own(found, name, edited, base));
      },
    },
  );
  if (error) {
    if (diagnostics.length) throw new CompileError(inWords(inAuthorsFile(diagnostics, name), text), text);
    throw new HallelujahError(
      "compiler-failed",
      `${name} did not compile: ${messageOf(error)}\n${stderr.toString()}`,
    );
  }
  const emits = sources.some((source) => IMPORTS_OUT.test(readSource(source)));
  const descriptor = { ...describe(model, name, ABI_VERSION, sdkVersion()), emits };
  const wasm = withSections(outputs.get("kernel.wasm") as Uint8Array, {
    [sectionNames.descriptor]: JSON.stringify(descriptor),
    [sectionNames.sourceMap]: withoutContents(String(outputs.get("kernel.wasm.map"))),
  });
  return { wasm, sources };
}

/** Whoever emits has imported this; who imports all may have. */
const IMPORTS_OUT = /\bimport\s*(\*|\{[^}]*\bout\b)/;

const ERROR = 3; // DiagnosticCategory.Error of AssemblyScript

/** A diagnostic of asc in terms of the author's text. */
function own(found: AscDiagnostic, name: string, edited: EditedText, base: string): Diagnostic {
  const file = found.range?.source?.normalizedPath ?? name;
  if (!found.range || file !== name) {
    const text = found.range ? readOrNull(resolve(base, file)) : null;
    const line = text === null ? "" : `:${text.slice(0, found.range!.start).split("\n").length}`;
    return { file: `${file}${line}`, message: found.message };
  }
  return {
    file,
    start: edited.original(found.range.start),
    end: edited.original(found.range.end),
    message: found.message,
  };
}

/** What the author can mend; an error that shows in the SDK as well is the author's if there is one. */
function inAuthorsFile(diagnostics: Diagnostic[], name: string): Diagnostic[] {
  const mine = diagnostics.filter((diagnostic) => diagnostic.file === name);
  return mine.length ? mine : diagnostics;
}

/** The source map without the texts of its sources, which would double the module. */
function withoutContents(map: string): string {
  const { sourcesContent: _, ...rest } = JSON.parse(map) as Record<string, unknown>;
  return JSON.stringify(rest);
}

export function readSource(path: string): string {
  if (!existsSync(path)) throw new HallelujahError("kernel-missing", `there is no kernel ${path}`);
  return readFileSync(path, "utf8");
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
