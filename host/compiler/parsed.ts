/**
 * Files that are the same in each build, AssemblyScript's library and the SDK, are parsed once in a process: in a warm compiler that was two
 * fifths of a build.
 *
 * A parser adds what it finds to its program, so each file is parsed by one of its own, and what that found is added to those of programs. Nothing in a
 * syntax tree changes later but two marks: the number of a file in the debug information of a module, which is taken off here, and that a
 * type is being resolved, which a build that failed may leave: all are parsed again then. So builds must not overlap.
 */
import { Parser, type Source } from "./asc.mjs";

interface Parsed {
  source: Source;
  text: string;
  /** Files that it imports, and where. */
  imports: [path: string, from: unknown][];
}

const LIBRARY = "~lib/";
const NO_DEBUG_FILE = -1;

const parsed = new Map<string, Parsed>();
const parseFile = Parser.prototype.parseFile;

Parser.prototype.parseFile = function (
  this: Parser,
  text: string | null,
  path: string,
  isEntry: boolean,
): void {
  const file = text !== null && !isEntry && path.startsWith(LIBRARY) ? parsedOf(text, path) : undefined;
  if (!file) return parseFile.call(this, text, path, isEntry);
  const { source, imports } = file;
  if (this.donelog.has(source.internalPath)) return;
  this.donelog.add(source.internalPath);
  this.seenlog.add(source.internalPath);
  source.debugInfoIndex = NO_DEBUG_FILE;
  this.sources.push(source);
  for (const [imported, from] of imports) {
    if (this.seenlog.has(imported)) continue;
    this.seenlog.add(imported);
    this.dependees.set(imported, from);
    this.backlog.push(imported);
  }
};

/** A file that is parsed; undefined if something is wrong with it, which its program is to say. */
function parsedOf(text: string, path: string): Parsed | undefined {
  const known = parsed.get(path);
  if (known?.text === text) return known;
  const parser = new Parser();
  parseFile.call(parser, text, path, false);
  if (parser.diagnostics.length) return undefined;
  const file = { source: parser.sources[0], text, imports: [...parser.dependees] };
  parsed.set(path, file);
  return file;
}

/** After a build that failed. */
export function forgetParsed(): void {
  parsed.clear();
}
