/** From inputs to sources: what each file is, where its records start, and how many frames it has. */
import type { Readable } from "node:stream";
import { type KernelDescriptor, type RecordField, VISITS_VERSION } from "../compiler/descriptor.ts";
import { FIELD_TYPES } from "../compiler/types.ts";
import { HallelujahError } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";
import { bomLength, csvShape } from "./csv-header.ts";
import {
  findFiles,
  formatOf,
  type InputFile,
  isGzip,
  isRemote,
  nameWithoutGz,
  readHead,
  refuseBinary,
} from "./discover.ts";
import type { Copies } from "./copies.ts";
import { ByteStream } from "./stream.ts";
import type { FieldWish } from "../kernel/columns.ts";
import type { VisitField } from "../kernel/rows.ts";
import type { SourceFormat, SourceSpec } from "../wire/jah.ts";

/** A source with what only the main job knows of it. */
export interface Source extends SourceSpec {
  /** Name for messages. */
  name: string;
  kind: "range" | "rows" | "bytes";
  /** Frames, where they are known beforehand. */
  frames: number;
  /** CSV that is not empty: its columns, from which the plan of any kernel follows. */
  columns?: string[];
  /** Lines before the first record. */
  headerLines: number;
  /** Bytes on disk, for progress. */
  diskBytes: number;
  /** Whether the file was opened as a stream already (its head was needed). */
  stream?: ByteStream;
}

export interface InputOptions {
  inputs: string[];
  inputFormat?: SourceFormat;
  delimiter?: number;
  columns?: string[];
  frameBytes?: number;
  stdin: Readable;
  /** What `-` is called in messages. */
  stdinName?: string;
  /** Ends what is read from servers. */
  signal?: AbortSignal;
  /** Where Parquet and Arrow files of servers may be copied to; without it, they are refused. */
  copies?: Copies;
}

export async function planSources(kernel: KernelDescriptor, options: InputOptions): Promise<Source[]> {
  const files = await findFiles(options.inputs, options.signal);
  if (!files.length)
    throw new HallelujahError("input-missing", "name at least one input: a file, a folder, a URL, or -");
  const sources: Source[] = [];
  for (const file of files) sources.push(await planSource(kernel, file, options));
  return sources;
}

/** What the columns of Parquet and Arrow are asked for. */
export function wishesOf(fields: RecordField[]): FieldWish[] {
  return fields.map(({ source, type, optional }) => ({
    name: source,
    type: FIELD_TYPES[type].column,
    optional,
  }));
}

/** What a kernel asks of the columns of a dataset. Throws `kernel-outdated` if it was built before kernels could visit rows. */
export function visitFieldsOf({ file, input, visits }: KernelDescriptor): VisitField[] {
  if (visits !== VISITS_VERSION)
    throw new HallelujahError("kernel-outdated", `${file} was built for another version; build it again`);
  return wishesOf(input.fields).map((wish, i) => ({ ...wish, written: input.fields[i].type }));
}

/** What one file is. */
export async function planSource(
  kernel: KernelDescriptor,
  file: InputFile,
  options: Omit<InputOptions, "inputs">,
): Promise<Source> {
  const { fields } = kernel.input;
  const fromPipe = file.path === "-" || file.size === 0 || isRemote(file.path);
  const head = fromPipe ? undefined : readHead(file.path);
  if (head && !isGzip(head)) return planFile(fields, file, head, options);
  const stream = await ByteStream.open(file.path, options.stdin, options.stdinName, options.signal);
  const name = nameWithoutGz(file.path === "-" ? "" : file.path);
  const text = await stream.head();
  const format = formatOf(name, text, options.inputFormat, wantsLines(fields), stream.name);
  if ((format === "parquet" || format === "arrow") && !text.length) {
    throw new HallelujahError("input-format", `${stream.name} is empty, so it is no ${format} file`);
  }
  if (format === "parquet" || format === "arrow") {
    if (isRemote(file.path) && !stream.compressed) return planCopy(fields, stream, format, options);
    throw new HallelujahError(
      "input-format",
      `${stream.name}: ${format} is read from files that are not compressed`,
    );
  }
  if (!options.inputFormat) refuseBinary(stream.name, text);
  const base = {
    name: stream.name,
    kind: "bytes" as const,
    frames: 0,
    diskBytes: file.size,
    size: 0,
    stream,
    format,
  };
  return { ...base, ...(await shapeOf(format, stream.name, text, fields, options)) };
}

/** A columnar file of a server: its reader needs all places of it, so it is copied. */
async function planCopy(
  fields: RecordField[],
  stream: ByteStream,
  format: SourceFormat,
  options: Omit<InputOptions, "inputs">,
): Promise<Source> {
  const { name } = stream;
  if (!options.copies) {
    stream.close();
    const message = `${name}: ${format} is read from files of the host; copy it there, or have hallelujah run read it`;
    throw new HallelujahError("input-format", message);
  }
  const { path, size } = await options.copies.add(stream);
  const as = { ...options, inputFormat: format };
  try {
    return { ...(await planFile(fields, { path, size }, readHead(path), as)), name };
  } catch (error) {
    if (!(error instanceof HallelujahError)) throw error;
    throw new HallelujahError(error.code, error.message.replaceAll(path, name), { cause: error });
  }
}

async function planFile(
  fields: RecordField[],
  file: InputFile,
  head: Buffer,
  options: Omit<InputOptions, "inputs">,
): Promise<Source> {
  const { path, size } = file;
  const format = formatOf(path, head, options.inputFormat, wantsLines(fields));
  const base = { name: path, path, format, size, diskBytes: size };
  if (format === "parquet" || format === "arrow") {
    // Loaded only where needed: their libraries cost every other run 40 ms.
    const opened =
      format === "parquet"
        ? await (await import("./parquet.ts")).openParquet(path)
        : await (await import("./arrow.ts")).openArrow(path);
    const { findColumn } = await import("./file-column.ts");
    for (const wish of wishesOf(fields)) findColumn(path, opened.columns, wish);
    const frames = "rowGroups" in opened ? opened.rowGroups.length : opened.batches.length;
    return { ...base, kind: "rows", frames, headerLines: 0, dataStart: 0, delimiter: 0, plan: [] };
  }
  if (!options.inputFormat) refuseBinary(path, head);
  const shape = await shapeOf(format, path, head, fields, options);
  return { ...base, ...shape, kind: "range", frames: Math.ceil(size / (options.frameBytes ?? FRAME_BYTES)) };
}

async function shapeOf(
  format: SourceFormat,
  name: string,
  head: Buffer,
  fields: RecordField[],
  options: Omit<InputOptions, "inputs">,
): Promise<Pick<Source, "delimiter" | "dataStart" | "plan" | "headerLines" | "columns">> {
  if (format === "lines" && !(fields.length === 1 && fields[0].type === "Text")) {
    const message = `${name} is read as lines, which a record of one Text field takes: @record class Line { line: Text }`;
    throw new HallelujahError("input-format", message);
  }
  if (format !== "csv") return { delimiter: 0, dataStart: bomLength(head), plan: [], headerLines: 0 };
  if (!head.length) return { delimiter: 0x2c, dataStart: 0, plan: [0, 0xffff], headerLines: 0 };
  const { delimiter, dataStart, plan, columns } = csvShape(name, head, fields, options);
  let headerLines = 0;
  for (let lf = head.indexOf(0x0a); lf >= 0 && lf < dataStart; lf = head.indexOf(0x0a, lf + 1)) headerLines++;
  return { delimiter, dataStart, plan, headerLines, columns };
}

function wantsLines(fields: RecordField[]): boolean {
  return fields.length === 1 && fields[0].type === "Text" && fields[0].source === "line";
}
