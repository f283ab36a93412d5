/**
 * Parquet files as columns. hyparquet reads the footer, the page headers, the compressed pages and the
 * encodings; the pages of a column chunk are put together here (parquet-columns.ts) as typed arrays. hyparquet's
 * own assembly makes JavaScript values (a BigInt per INT64, a string per text), which took four times as long.
 *
 * Nested columns (lists, maps, structs) are listed, but not offered.
 */
import { open } from "node:fs/promises";
import type { ColumnMetaData, FileMetaData } from "hyparquet";
import { parquetMetadata } from "hyparquet";
import { HallelujahError } from "../core/errors.ts";
import { ROW_GROUP_ROWS_MAX } from "../core/limits.ts";
import type { Column, FieldWish } from "../kernel/columns.ts";
import { corrupt, readAt, unsupported } from "./columnar.ts";
import type { FileColumn } from "./file-column.ts";
import { findColumn } from "./file-column.ts";
import { readChunk } from "./parquet-columns.ts";
import { describe, topLevel } from "./parquet-schema.ts";
import { checkThrift } from "./thrift-check.ts";

/** A Parquet file's footer. Plain data; the file is opened anew for each row group. */
export type ParquetFile = {
  path: string;
  bytes: number;
  columns: readonly FileColumn[];
  rowGroups: readonly { rows: number }[];
  metadata: FileMetaData;
};

/** Columns of one row group, in the order of the wishes. */
export type RowGroup = { rows: number; columns: Column[] };

/**
 * Reads the footer of a Parquet file.
 * @throws HallelujahError `input-corrupt` when it is no Parquet file, truncated or damaged; a missing file
 * throws Node's own error
 */
export async function openParquet(path: string): Promise<ParquetFile> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - 8), size);
    const ends = tail.length === 8 && tail.subarray(4).toString("latin1") === "PAR1";
    if (size < 12 || !ends)
      throw corrupt(path, 'it does not end with "PAR1": it is truncated, or no Parquet file');
    const footer = tail.readUInt32LE(0);
    if (footer > size - 12) throw corrupt(path, `its footer claims ${footer} bytes of a file of ${size}`);
    const bytes = await readAt(file, size - 8 - footer, size);
    checkThrift({ view: new DataView(bytes.buffer, bytes.byteOffset, footer), offset: 0 });
    const metadata = parquetMetadata(bytes, { geoparquet: false });
    const rowGroups = metadata.row_groups.map((group) => ({ rows: Number(group.num_rows) }));
    const wrong = rowGroups.find(({ rows }) => !(rows >= 0 && rows <= ROW_GROUP_ROWS_MAX));
    if (wrong) throw corrupt(path, `a row group claims ${wrong.rows} rows`);
    return { path, bytes: size, columns: topLevel(metadata.schema).map(describe), rowGroups, metadata };
  } catch (error) {
    throw explain(error, path, "its footer is damaged");
  } finally {
    await file.close();
  }
}

/**
 * Reads the wanted columns of one row group, one after the other: of each, its compressed bytes and its pages
 * are held beside the columns that are done.
 * @throws HallelujahError `column-missing`, `column-type`, `column-unsupported` (before anything is read),
 * `column-value`, `input-corrupt`, `input-unsupported`
 */
export async function readRowGroup(
  file: ParquetFile,
  index: number,
  wanted: readonly FieldWish[],
): Promise<RowGroup> {
  const found = wanted.map((wish) => findColumn(file.path, file.columns, wish));
  const group = file.metadata.row_groups[index];
  const { rows } = file.rowGroups[index];
  const handle = await open(file.path, "r");
  try {
    const columns: Column[] = [];
    for (const [field, column] of found.entries()) {
      columns.push(column === undefined ? { kind: "absent" } : await readField(column, wanted[field]));
    }
    return { rows, columns };
  } finally {
    await handle.close();
  }

  async function readField(column: FileColumn, wish: FieldWish): Promise<Column> {
    const where = `${file.path}: column "${column.name}"`;
    try {
      const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === column.name);
      const meta = chunk?.meta_data;
      if (meta === undefined || chunk?.file_path)
        throw unsupported(where, "its data is encrypted or in another file");
      const [start, end] = byteRange(meta);
      if (start < 4 || end > file.bytes - 8) throw corrupt(where, `row group ${index} lies outside the file`);
      const bytes = await readAt(handle, start, end);
      const element = topLevel(file.metadata.schema).find(({ name }) => name === column.name);
      if (element === undefined) throw corrupt(where, "the schema lacks it");
      return readChunk({ bytes, rows, meta, element, column, wish, where });
    } catch (error) {
      throw explain(error, where, `row group ${index} is damaged`);
    }
  }
}

function byteRange(meta: ColumnMetaData): [number, number] {
  const data = Number(meta.data_page_offset);
  const dictionary = Number(meta.dictionary_page_offset ?? 0);
  const start = dictionary > 0 ? Math.min(dictionary, data) : data;
  return [start, start + Number(meta.total_compressed_size)];
}

/** What went wrong as a HallelujahError; what hyparquet and zlib throw over bytes is taken as damage. */
function explain(error: unknown, where: string, what: string): unknown {
  if (error instanceof HallelujahError) return error;
  const { message } = error as Error;
  const code = (error as { code?: unknown }).code;
  if (typeof code === "string" && "syscall" in (error as object)) return error;
  return new HallelujahError("input-corrupt", `${where}: ${what} (${message}); get the file anew`, {
    cause: error,
  });
}
