/** The text of a query: its tokens, its syntax tree, names as they are written, and what to say of a place in it. */
import { HallelujahError } from "../core/errors.ts";
import { SQL_CHARACTERS_MAX, SQL_TOKENS_MAX } from "../core/limits.ts";

// biome-ignore lint/suspicious/noExplicitAny: a tree of PostgreSQL's parser; what is read of it is checked where it is read
export type Node = Record<string, any>;

interface Token {
  /** Bytes of the text in UTF-8. */
  start: number;
  end: number;
  text: string;
  tokenName: string;
  keywordName?: string;
}

/** A name of a query. Unquoted ones are matched whatever their case. */
export interface Name {
  text: string;
  quoted: boolean;
  /** Byte of the query. */
  at: number;
}

/** Characters of a line that are shown around a place. */
const SHOWN = 100;

export class SqlText {
  readonly text: string;
  /** The one statement. */
  readonly select: Node;
  private readonly bytes: Buffer;
  private readonly tokens: Token[];

  private constructor(text: string, tokens: Token[], select: Node) {
    this.text = text;
    this.bytes = Buffer.from(text);
    this.tokens = tokens;
    this.select = select;
  }

  /** Parses a query. Throws `sql-invalid` with the place, or `sql-unsupported` for what is no SELECT. */
  static async of(text: string): Promise<SqlText> {
    if (!text.trim())
      throw new HallelujahError("sql-invalid", "the query is empty; write SELECT ... FROM ...");
    if (text.length > SQL_CHARACTERS_MAX)
      throw new HallelujahError(
        "sql-too-long",
        `the query has ${text.length} characters, and at most ${SQL_CHARACTERS_MAX} are taken`,
      );
    const odd = text.search(/\0|\p{Surrogate}/u);
    if (odd >= 0)
      throw new HallelujahError("sql-invalid", `${mark(text, odd)[0]}: this character belongs to no text`);
    const parser = await import("libpg-query");
    await parser.loadModule();
    const tokens = tokensOf(text, parser.scanSync);
    // What the parser makes of a text is as deep as it has tokens: more of them overflow its stack.
    if (tokens.length > SQL_TOKENS_MAX)
      throw new HallelujahError(
        "sql-too-long",
        `the query has ${tokens.length} words and signs, and at most ${SQL_TOKENS_MAX} are taken`,
      );
    const tree = parsed(text, tokens, parser.parseSync);
    const [first, second] = tree.stmts ?? [];
    if (!first) throw new HallelujahError("sql-invalid", "the query is empty; write SELECT ... FROM ...");
    const sql = new SqlText(
      text,
      tokens.filter(({ tokenName }) => !/COMMENT/.test(tokenName)),
      first.stmt.SelectStmt ?? {},
    );
    if (second) throw sql.unsupported(sql.from(second.stmt_location ?? 0), "a second statement");
    if (!first.stmt.SelectStmt) {
      const kind = Object.keys(first.stmt)[0].replace(/Stmt$/, "");
      throw sql.unsupported(sql.from(0), `${kind.toUpperCase()}`, "only SELECT is");
    }
    return sql;
  }

  /** The error of what is wrong at a place. */
  invalid(at: number, message: string, hint?: string): HallelujahError {
    return this.error("sql-invalid", at, message, hint);
  }

  /** The error of a construct that SQL has and this has not. */
  unsupported(at: number, construct: string, hint?: string): HallelujahError {
    return this.error("sql-unsupported", at, `${construct} is not supported`, hint);
  }

  private error(code: string, at: number, message: string, hint?: string): HallelujahError {
    const [place, shown] = mark(this.text, this.index(at), this.tokenAt(at)?.text.length);
    return new HallelujahError(code, `${place}: ${message}\n${shown}${hint ? `\n      ${hint}` : ""}`);
  }

  /** The name whose token starts at a byte; `folded` is what the parser made of it. */
  name(at: number, folded: string): Name {
    const written = this.tokenAt(at)?.text ?? folded;
    if (written.startsWith('"'))
      return { text: written.slice(1, -1).replaceAll('""', '"'), quoted: true, at };
    if (/^u&"/i.test(written)) return { text: folded, quoted: true, at };
    return { text: written, quoted: false, at };
  }

  /** The parts of a dotted name that starts at a byte. */
  names(at: number, folded: string[]): Name[] {
    const first = this.tokens.findIndex(({ start }) => start === at);
    return folded.map((part, i) => this.name(this.tokens[first + 2 * i]?.start ?? at, part));
  }

  /** The name behind the expression of a result column: its last token before `end`, and before the comma or FROM. */
  alias(start: number, end: number, folded: string): Name {
    const own = this.between(start, end);
    return this.name(own.at(-2)?.start ?? start, folded);
  }

  /** The text of an expression without comments; it ends before the comma or FROM in front of `end`. */
  written(start: number, end: number): string {
    const own = this.between(start, end).slice(0, -1);
    let text = "";
    for (const [i, token] of own.entries()) {
      const gap = i > 0 && token.start > own[i - 1].end ? " " : "";
      text += gap + token.text;
    }
    return text;
  }

  /** Where the word `word` stands first at or after a byte; that byte if nowhere. */
  word(word: string, from = 0): number {
    const found = this.tokens.find((token) => token.start >= from && token.text.toUpperCase() === word);
    return found?.start ?? from;
  }

  /** The start of the first token at or after a byte. */
  private from(at: number): number {
    return this.tokens.find(({ start }) => start >= at)?.start ?? at;
  }

  private between(start: number, end: number): Token[] {
    return this.tokens.filter((token) => token.start >= start && token.start < end);
  }

  private tokenAt(at: number): Token | undefined {
    return this.tokens.find(({ start }) => start === at);
  }

  private index(at: number): number {
    return this.bytes.toString("utf8", 0, Math.max(0, at)).length;
  }
}

const QUOTES =
  'a name that is a word of SQL, or has other signs than letters, digits and _, is written in quotes: "my-rows"';

type Tree = { stmts?: { stmt: Node; stmt_location?: number }[] };

function parsed(text: string, tokens: Token[], parse: (text: string) => unknown): Tree {
  try {
    return parse(text) as Tree;
  } catch (cause) {
    throw inWords(cause, text, tokens);
  }
}

/** The tokens of a text, comments among them; none if it has some that are none, of which the parser says more. */
function tokensOf(text: string, scan: (text: string) => unknown): Token[] {
  try {
    // In the answer of `scanSync` (libpg-query 18.1.5) control characters are not escaped, so that it is no JSON.
    const { tokens } = scan(text.replace(/[\x01-\x08\x0b\x0c\x0e-\x1f]/g, " ")) as { tokens: Token[] };
    const bytes = Buffer.from(text);
    return tokens.map((token) => ({ ...token, text: bytes.toString("utf8", token.start, token.end) }));
  } catch {
    return [];
  }
}

/** What the parser threw, with its place, and the way out where a name is one only in quotes. */
function inWords(cause: unknown, text: string, tokens: Token[]): HallelujahError {
  const { message, sqlDetails } = cause as Error & { sqlDetails?: { cursorPosition?: number } };
  if (cause instanceof RangeError || /memory exhausted|stack depth/.test(message))
    return new HallelujahError("sql-too-deep", "the query is nested too deeply; write it flatter", { cause });
  // The parser counts code points here, and bytes in its tree.
  const points = sqlDetails?.cursorPosition ?? 0;
  const before = [...text].slice(0, points).join("");
  const [place, shown] = mark(text, before.length);
  const start = Buffer.byteLength(before);
  const token = tokens.find((token) => token.start === start);
  const isName = token?.text === "-" || token?.keywordName === "RESERVED_KEYWORD";
  const hint = isName ? `\n      ${QUOTES}` : "";
  return new HallelujahError("sql-invalid", `${place}: ${message}\n${shown}${hint}`, { cause });
}

/** `SQL 1:8`, and the line of a place with a mark under it. */
function mark(text: string, index: number, length = 1): [place: string, shown: string] {
  const before = text.slice(0, index).split(/\r\n|\r|\n/);
  const line = before.length;
  const column = before.at(-1)!.length;
  const whole = text.split(/\r\n|\r|\n/)[line - 1] ?? "";
  const from = Math.max(0, column - SHOWN / 2);
  const part = whole.slice(from, from + SHOWN).replace(/[^\P{Cc}\t]/gu, " ");
  const [left, right] = [from > 0 ? "..." : "", from + SHOWN < whole.length ? "..." : ""];
  const under = part.slice(0, column - from).replace(/[^\t]/g, " ");
  const tail = "~".repeat(Math.max(0, Math.min(length, part.length - (column - from)) - 1));
  return [
    `SQL ${line}:${column + 1}`,
    `${String(line).padStart(4)} | ${left}${part}${right}\n     | ${" ".repeat(left.length)}${under}^${tail}`,
  ];
}

/** The one kind of a node, and what it holds. */
export function only(node: Node): [string, Node] {
  return Object.entries(node)[0] as [string, Node];
}

/** Whether a name means `name`: whatever the case if it is unquoted. */
export function matches(written: Name, name: string): boolean {
  if (written.quoted) return written.text === name;
  return written.text.toLowerCase() === name.toLowerCase();
}

/** A text for a message. */
export function short(text: string): string {
  const shown = text.replace(/\p{Cc}/gu, " ");
  return shown.length > 60 ? `${shown.slice(0, 60)}...` : shown;
}
