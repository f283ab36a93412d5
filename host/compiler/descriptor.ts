/** What a built module says of itself: JSON in its custom section `hallelujah`. */

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
  name: string;
  /** Types of the key's parts; one, unless the key is a tuple. */
  key: string[];
  state: string;
  fields: StateField[];
}

export interface KernelDescriptor {
  abi: number;
  sdk: string;
  file: string;
  /** The record that `each` takes. */
  input: RecordDescriptor;
  /** Other records: those that the kernel emits. */
  outputs: RecordDescriptor[];
  tables: TableDescriptor[];
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

/** Reads a section of a module as text; undefined if it has none. */
export function sectionText(module: WebAssembly.Module, name: string): string | undefined {
  const [bytes] = WebAssembly.Module.customSections(module, name);
  return bytes && Buffer.from(bytes).toString();
}
