/** What a built module says of itself: JSON in its custom section `hallelujah`. */
import type { RowField } from "../kernel/rows.ts";

export interface RecordField {
  /** Name in the kernel. */
  name: string;
  /** Name in the input: a CSV column, or a path of NDJSON keys joined by dots. */
  source: string;
  /** Without `Optional`. */
  type: string;
  optional: boolean;
  /** Bytes from the start of the record. */
  offset: number;
}

export interface RecordDescriptor {
  name: string;
  fields: RecordField[];
  size: number;
}

export interface StateField {
  name: string;
  aggregate: string;
  type?: string;
  offset: number;
  size: number;
  /** Names of the numbers it renders; empty if it is one value. */
  columns: string[];
}

export interface TableDescriptor {
  /** Older modules do not say; nor do they have the means to be swapped. */
  kind?: "Table" | "Windows" | "Sessions";
  /** Of windows and sessions: their lengths, ms, as the kernel gives them. */
  span?: string;
  name: string;
  /** Types of the key's parts; one, unless the key is a tuple. */
  key: string[];
  /** Whether it has windows: the key starts with their time, behind which is the author's. Older modules do not say. */
  windows?: boolean;
  state: string;
  fields: StateField[];
  /** The state of which the kernel's function `upgrade` makes this one, if there is such a function. */
  upgrade?: { state: string; fields: StateField[] };
}

/** Rows that a kernel keeps in columns. */
export interface DatasetDescriptor {
  name: string;
  /** Class of the rows. */
  record: string;
  fields: RowField[];
}

/** Version of how rows are laid out for a kernel that visits them; a module says which one it reads. */
export const VISITS_VERSION = 1;

/** Version of the rows that a kernel keeps of what it decodes, and takes from others; a module says which one it has. */
export const DECODED_VERSION = 1;

export interface KernelDescriptor {
  abi: number;
  sdk: string;
  file: string;
  /** The record that `each` takes. */
  input: RecordDescriptor;
  /** Other records: those that the kernel emits. */
  outputs: RecordDescriptor[];
  tables: TableDescriptor[];
  /** What it keeps as rows; older modules do not say, as they keep none. */
  datasets?: DatasetDescriptor[];
  /** VISITS_VERSION, if the module can visit rows; older ones cannot. */
  visits?: number;
  /** DECODED_VERSION, if the module keeps and takes decoded records; older ones do not. */
  decoded?: number;
  /** Whether owners emit, in the order of frames: there is a `fold`, or there are windows. */
  ordered: boolean;
  /** The field of event time, and how late records may be, ms. */
  time?: { field: string; lateness: number };
  /** Whether records that come too late have an output of their own. */
  late: boolean;
  /** Whether it can emit, as it imports `out`; older modules do not say. */
  emits?: boolean;
}

const SECTION = "hallelujah";

/** The module with its descriptor and source map appended as custom sections (WebAssembly core spec, 5.5.3). */
export function withSections(wasm: Uint8Array, sections: Record<string, string>): Uint8Array {
  const parts = [wasm];
  for (const [name, text] of Object.entries(sections)) {
    const title = Buffer.from(name);
    const body = Buffer.concat([leb(title.length), title, Buffer.from(text)]);
    parts.push(Buffer.concat([Buffer.from([0]), leb(body.length), body]));
  }
  return Buffer.concat(parts);
}

export const sectionNames = { descriptor: SECTION, sourceMap: `${SECTION}.map` };

function leb(value: number): Uint8Array {
  const bytes: number[] = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>>= 7;
  } while (value);
  return Uint8Array.from(bytes);
}

/**
 * Reads a custom section of a module as text, without compiling it; undefined if it has none, or if its sections do not
 * follow one another up to its end.
 */
export function sectionText(wasm: Buffer, name: string): string | undefined {
  for (let at = 8; at < wasm.length; ) {
    const size = readLeb(wasm, at + 1);
    const end = size && size.end + size.value;
    if (end === undefined || end > wasm.length) return undefined;
    const text = wasm[at] === 0 ? textOf(wasm, size!.end, end, name) : undefined;
    if (text !== undefined) return text;
    at = end;
  }
  return undefined;
}

/** What the custom section in [from, to) holds, if it has this name. */
function textOf(wasm: Buffer, from: number, to: number, name: string): string | undefined {
  const title = readLeb(wasm, from);
  const body = title && title.end + title.value;
  if (body === undefined || body > to || wasm.toString("utf8", title!.end, body) !== name) return undefined;
  return wasm.toString("utf8", body, to);
}

/** A number of at most 32 bits; undefined if there is none (WebAssembly core spec, 5.2.2). */
function readLeb(bytes: Buffer, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value < 2 ** 32 ? { value, end: start + i + 1 } : undefined;
  }
  return undefined;
}
