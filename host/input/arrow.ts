/**
 * Arrow IPC files and streams as columns. The messages are walked (arrow-messages.ts), so that a batch is read
 * alone and a large file is never held whole; flechette decodes the schema, the dictionaries and the one batch.
 *
 * Lists, structs, maps, unions, intervals and run-end encoded columns are listed, but not offered. Bodies may
 * be compressed with zstd; LZ4 is refused with an error.
 */
import { open } from "node:fs/promises";
import * as zlib from "node:zlib";
import type { Batch } from "@uwdata/flechette";
import { CompressionType, setCompressionCodec, tableFromIPC } from "@uwdata/flechette";
import { compressors } from "hyparquet-compressors";
import { HallelujahError } from "../core/errors.ts";
import type { Column, FieldWish } from "../kernel/columns.ts";
import { labelOf, readColumn, typeOf } from "./arrow-columns.ts";
import { load, type Message, type Messages, readMessage, walk } from "./arrow-messages.ts";
import { unsupported } from "./columnar.ts";
import type { FileColumn } from "./file-column.ts";
import { fileColumn, findColumn } from "./file-column.ts";

/** An Arrow file's schema and where its messages lie; the file is opened anew for each batch. */
export type ArrowFile = {
  path: string;
  bytes: number;
  columns: readonly FileColumn[];
  batches: readonly { rows: number }[];
  /** Private to this reader: the messages, and the bytes of those that every batch needs, once read. */
  messages: Messages;
  loaded: Map<Message, Uint8Array>;
};

/** Columns of one record batch, in the order of the wishes. */
export type RecordBatch = { rows: number; columns: Column[] };

/**
 * Reads the schema of an Arrow file or stream and finds its record batches; reads no values.
 * @throws HallelujahError `input-corrupt` when it is no Arrow file, truncated or damaged, `input-unsupported`
 * when it is big-endian; a missing file throws Node's own error
 */
export async function openArrow(path: string): Promise<ArrowFile> {
  const handle = await open(path, "r");
  try {
    const { size } = await handle.stat();
    const messages = await walk(handle, path, size);
    const loaded = new Map<Message, Uint8Array>();
    await load(handle, loaded, [messages.schema]);
    const { schema } = tableFromIPC([loaded.get(messages.schema)!]);
    if (schema.endianness !== 0) throw unsupported(path, "it is big-endian");
    const columns = schema.fields.map(({ name, type }) => fileColumn(name, typeOf(type), labelOf(type)));
    const batches = messages.records.map(({ rows }) => ({ rows }));
    return { path, bytes: size, columns, batches, messages, loaded };
  } catch (error) {
    throw explain(error, path);
  } finally {
    await handle.close();
  }
}

/**
 * Reads the wanted columns of one record batch. Columns are views of the batch where the layouts agree.
 * @throws HallelujahError `column-missing`, `column-type`, `column-unsupported` (before anything is read),
 * `column-value`, `input-corrupt`, `input-unsupported`
 */
export async function readBatch(
  file: ArrowFile,
  index: number,
  wanted: readonly FieldWish[],
): Promise<RecordBatch> {
  const found = wanted.map((wish) => findColumn(file.path, file.columns, wish));
  const record = file.messages.records[index];
  const shared = [file.messages.schema, ...file.messages.dictionaries.slice(0, record.dictionaries)];
  const handle = await open(file.path, "r");
  try {
    await load(handle, file.loaded, shared);
    const parts = [...shared.map((message) => file.loaded.get(message)!), await readMessage(handle, record)];
    const options = { useBigInt: true, useBigIntTimestamp: true, useDecimalInt: true };
    const table = tableFromIPC(parts, options);
    const columns = found.map((column, field): Column => {
      if (column === undefined) return { kind: "absent" };
      const where = `${file.path}: column "${column.name}"`;
      const batch = table.getChildAt(file.columns.indexOf(column)).data[0] as Batch<unknown>;
      if (batch.length !== record.rows) throw new Error(`column "${column.name}" has ${batch.length} rows`);
      return readColumn(batch, wanted[field].type, where);
    });
    return { rows: record.rows, columns };
  } catch (error) {
    throw explain(error, `${file.path}: record batch ${index}`);
  } finally {
    await handle.close();
  }
}

function explain(error: unknown, where: string): unknown {
  if (error instanceof HallelujahError) return error;
  const { message } = error as Error;
  if ("syscall" in (error as object)) return error;
  const options = { cause: error };
  if (message.startsWith("Missing compression codec")) {
    const advice = "it is compressed with LZ4, which cannot be read; write it with zstd or uncompressed";
    return new HallelujahError("input-unsupported", `${where}: ${advice}`, options);
  }
  return new HallelujahError("input-corrupt", `${where} is damaged (${message}); get the file anew`, options);
}

const native = zlib as {
  zstdDecompressSync?: (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;
};
const zstd = native.zstdDecompressSync;

/** Bytes that a byte of zstd may become, beside some at the start. */
const ZSTD_EXPANDS = 2 ** 16;
const FIRST_BYTES = 2 ** 17;

setCompressionCodec(CompressionType.ZSTD, {
  decode(bytes, length) {
    // Memory may be taken for as many bytes as it claims, before any is decompressed.
    if (!(length >= 0 && length <= FIRST_BYTES + bytes.length * ZSTD_EXPANDS))
      throw new Error(`a buffer of ${bytes.length} bytes claims to hold ${length}`);
    const options = { maxOutputLength: Math.max(length, 1) };
    const decoded = zstd === undefined ? compressors.ZSTD!(bytes, length) : zstd(bytes, options);
    if (decoded.length !== length)
      throw new Error(`a buffer of ${decoded.length} bytes instead of ${length}`);
    // flechette makes typed arrays over it
    return decoded.byteOffset % 8 === 0 ? decoded : Uint8Array.from(decoded);
  },
  encode() {
    throw new TypeError("this codec only decodes");
  },
});
