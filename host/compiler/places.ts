/** Where in the author's file a kernel stopped, by the source map in its module. */
import { readFileSync } from "node:fs";
import { decodedMappings, originalPositionFor, TraceMap } from "@jridgewell/trace-mapping";
import { sectionNames, sectionText } from "./descriptor.ts";

export class KernelPlaces {
  private readonly path: string;
  private readonly file: string;
  /** Read when first needed; null if the module has none. */
  private trace: TraceMap | null | undefined;

  /** `path` is where the module lies, `file` the name of its source. */
  constructor(path: string, file: string) {
    this.path = path;
    this.file = file;
  }

  /** The innermost place of a stack in the author's file: `in each (stations.ts:9:3)`. */
  of(stack: string): string | undefined {
    if (!stack.includes("wasm://")) return undefined;
    this.trace ??= readTrace(this.path);
    if (!this.trace) return undefined;
    for (const [, name, offset] of stack.matchAll(
      /(?:at )?(\S*?) ?\(?wasm:\/\/\S*?:(?:wasm-function\[\d+\]:)?(0x[0-9a-f]+|\d+)/g,
    )) {
      const called = name.replace(/^\$/, "");
      const position = placeOf(this.trace, Number(offset), this.file);
      if (!position) continue;
      const own = called.includes("~lib/") ? inlinedInto(called) : called.split("/").at(-1) || "each";
      return `in ${own} (${this.file}:${position.line}:${position.column + 1})`;
    }
    return undefined;
  }
}

/** Null as well if what the module has is none: a place is a help, and its author may have written anything. */
function readTrace(path: string): TraceMap | null {
  try {
    const map = sectionText(readFileSync(path), sectionNames.sourceMap);
    const trace = map ? new TraceMap(map) : null;
    if (trace) decodedMappings(trace);
    return trace;
  } catch {
    return null;
  }
}

/** Which of the author's functions is inlined in a function of the engine: applying folds, closing closes, the rest maps. */
function inlinedInto(engine: string): string {
  if (/apply|fold/i.test(engine)) return "fold";
  return /close/i.test(engine) ? "close" : "each";
}

/** The author's line behind an offset of the module's code; undefined if that code is none of the author's. */
function placeOf(
  trace: TraceMap,
  offset: number,
  file: string,
): { line: number; column: number } | undefined {
  const isOwn = (source: string | null | undefined) =>
    source?.split("/").at(-1) === file && !source.includes("~lib/");
  const { source, line, column } = originalPositionFor(trace, { line: 1, column: offset });
  if (source) return isOwn(source) ? { line, column } : undefined;
  // The optimiser forgets the place of some calls and loops; the place before is near enough.
  const [mappings = []] = decodedMappings(trace);
  for (const segment of mappings.toReversed()) {
    if (segment[0] > offset || segment.length === 1) continue;
    return isOwn(trace.sources[segment[1]]) ? { line: segment[2] + 1, column: segment[3] } : undefined;
  }
  return undefined;
}
