/**
 * The messages of an Arrow IPC file or stream: where they lie, and whether their counts can be true.
 *
 * ```
 * file     "ARROW1" 0 0 | stream | footer | u32 footer bytes | "ARROW1"
 * stream   messages: schema, then dictionaries and record batches; at the end 0xFFFFFFFF 0 (may be missing)
 * message  0xFFFFFFFF (missing before Arrow 0.15) | u32 metadata bytes | metadata (flatbuffer) | body
 * ```
 */
import { Type } from "@uwdata/flechette";
import { corrupt, type File, readAt } from "./columnar.ts";

/** Where a message lies, and what it is. */
export type Message = {
  kind: number;
  start: number;
  /** Where its body starts, relative to `start`. */
  body: number;
  end: number;
  /** Of a record batch. */
  rows: number;
  /** Of a record batch: how many of the file's dictionaries it sees. */
  dictionaries: number;
};

/** All messages of a file that matter, in its order. */
export type Messages = { schema: Message; dictionaries: Message[]; records: Message[] };

const SCHEMA = 1;
const DICTIONARY = 2;
const RECORDS = 3;

const MAGIC = "ARROW1";
/** Read at once for a message's metadata; longer metadata takes a second read. */
const METADATA_READ = 4_096;

/** Finds the messages of a file or stream, and checks what flechette would take on trust. */
export async function walk(file: File, path: string, size: number): Promise<Messages> {
  const head = await readAt(file, 0, Math.min(size, 8));
  const isFile = head.subarray(0, 6).toString("latin1") === MAGIC;
  let end = size;
  if (isFile) {
    const tail = await readAt(file, Math.max(size - 10, 0), size);
    if (tail.subarray(4).toString("latin1") !== MAGIC)
      throw corrupt(path, `it does not end with "${MAGIC}": truncated`);
    end = size - 10 - tail.readUInt32LE(0);
  }
  const dictionaries: Message[] = [];
  const records: Message[] = [];
  let schema: Message | undefined;
  for (let at = isFile ? 8 : 0; at < end; ) {
    const message = await readHeader(file, at, end);
    if (message === undefined) break;
    if (schema === undefined && message.kind !== SCHEMA) break;
    if (message.kind === SCHEMA) schema ??= message;
    if (message.kind === DICTIONARY) dictionaries.push(message);
    if (message.kind === RECORDS) records.push({ ...message, dictionaries: dictionaries.length });
    at = message.end;
  }
  if (schema === undefined)
    throw corrupt(path, "it does not start with an Arrow schema: it is no Arrow IPC file");
  // A file's dictionaries hold for all of its batches, wherever they lie; a stream's for those that follow.
  if (isFile) for (const record of records) record.dictionaries = dictionaries.length;
  return { schema, dictionaries, records };
}

/** The message at `start`; undefined at the mark that ends the stream. */
async function readHeader(file: File, start: number, limit: number): Promise<Message | undefined> {
  let bytes = await readAt(file, start, Math.min(start + METADATA_READ, limit));
  const prefix = bytes.readUInt32LE(0) === 0xffffffff ? 8 : 4;
  const length = bytes.readUInt32LE(prefix - 4);
  if (length === 0) return undefined;
  const body = prefix + length;
  if (start + body > limit) throw new Error(`a message at byte ${start} exceeds the file`);
  if (body > bytes.length) bytes = await readAt(file, start, start + body);
  const view = new DataView(bytes.buffer, bytes.byteOffset + prefix, length);
  const message = tableAt(view, 0);
  const kind = message(6, (at) => view.getUint8(at)) ?? 0;
  const header = message(8, (at) => at) ?? 0;
  const bodyBytes = message(10, (at) => Number(view.getBigInt64(at, true))) ?? 0;
  const end = start + body + bodyBytes;
  if (!(bodyBytes >= 0 && end <= limit))
    throw new Error(`the body of a message at byte ${start} exceeds the file`);
  if (kind === SCHEMA) checkFields(view, tableAt(view, header), 4);
  if (kind === DICTIONARY) {
    const data = tableAt(view, header)(6, (at) => at);
    if (data !== undefined) checkBatch(view, data, bodyBytes);
  }
  const rows = kind === RECORDS ? checkBatch(view, header) : 0;
  return { kind, start, body, end, rows, dictionaries: 0 };
}

type Table = <T>(slot: number, read: (at: number) => T) => T | undefined;

/** Checks a record batch's counts, which flechette would make arrays of; gives its rows. */
function checkBatch(view: DataView, at: number, dictionaryBytes?: number): number {
  const batch = tableAt(view, at);
  const rows = batch(4, (place) => Number(view.getBigInt64(place, true))) ?? 0;
  if (!(rows >= 0 && rows < 2 ** 31)) throw new Error(`a record batch of ${rows} rows`);
  const [nodes, count] = vector(view, batch, 6, 16);
  vector(view, batch, 8, 16);
  vector(view, batch, 12, 8);
  if (dictionaryBytes === undefined) return rows;
  // flechette makes a value of each entry; a bit is the least that one takes when nothing is compressed
  const most = batch(10, () => true) ? 2 ** 26 : dictionaryBytes * 8;
  for (let node = 0; node < count; node++) {
    const entries = Number(view.getBigInt64(nodes + node * 16, true));
    if (!(entries >= 0 && entries <= most)) throw new Error(`a dictionary of ${entries} entries`);
  }
  return rows;
}

/** Checks the counts of a schema's fields (in `slot` of a schema or of a field), and of their children. */
function checkFields(view: DataView, table: Table, slot: number, depth = 0): void {
  if (depth > 64) throw new Error("fields nested more than 64 deep");
  const [fields, count] = vector(view, table, slot, 4);
  for (let index = 0; index < count; index++) {
    const field = tableAt(view, fields + index * 4);
    vector(view, field, 16, 4);
    if (field(8, (at) => view.getUint8(at)) === Type.Union) {
      const type = field(10, (at) => at);
      if (type !== undefined) vector(view, tableAt(view, type), 6, 4);
    }
    checkFields(view, field, 14, depth + 1);
  }
}

/** Where the elements of a vector lie, and how many: within the metadata. */
function vector(view: DataView, table: Table, slot: number, stride: number): [number, number] {
  const at = table(slot, (place) => place);
  if (at === undefined) return [0, 0];
  const base = at + view.getUint32(at, true);
  const count = view.getUint32(base, true);
  if (base + 4 + count * stride > view.byteLength)
    throw new Error(`a list of ${count} elements in the metadata`);
  return [base + 4, count];
}

/** Reads fields of the flatbuffer table that the offset at `at` points to, each named by its vtable slot. */
function tableAt(view: DataView, at: number): Table {
  const table = at + view.getUint32(at, true);
  const vtable = table - view.getInt32(table, true);
  const slots = view.getUint16(vtable, true);
  return (slot, read) => {
    const offset = slot < slots ? view.getUint16(vtable + slot, true) : 0;
    return offset === 0 ? undefined : read(table + offset);
  };
}

/** Reads those messages that are not held yet. */
export async function load(
  file: File,
  loaded: Map<Message, Uint8Array>,
  messages: readonly Message[],
): Promise<void> {
  for (const message of messages)
    if (!loaded.has(message)) loaded.set(message, await readMessage(file, message));
}

/** The bytes of a message, placed so that its body is aligned to 8: flechette makes typed arrays over it. */
export async function readMessage(file: File, { start, body, end }: Message): Promise<Uint8Array> {
  return readAt(file, start, end, (8 - (body % 8)) % 8);
}
