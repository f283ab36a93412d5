/**
 * What the records of a pushed body look like: its format, and for CSV its delimiter and columns. Bodies of one shape are
 * one source of the stream, whose number their frames carry in the log; so a header line is read once, and frames hold
 * records only.
 */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { HEAD_BYTES, SHAPES_MAX } from "../core/limits.ts";
import { bomLength, csvShape, planOf } from "../input/csv-header.ts";
import type { SourceSpec } from "../wire/jah.ts";
import type { PushBody } from "./host.ts";
import type { IntakeBody } from "./intake.ts";

/** Bytes of chunks that are joined to find the first line. */
const HEAD_CHUNKS_BYTES = 64 << 10;
const LF = 0x0a;
const BRACE = 0x7b;

/** A source of a stream, as the registry keeps it. */
export interface StreamSource extends SourceSpec {
  /** Where its frames come from: pushes, files of `--source`, the output of another stream, or dead letters that are retried. */
  origin: "push" | "source" | "stream" | "dead";
  /** Of dead letters: the source that they were of, and the partitions for which alone they count; all if it is left out. */
  again?: { of: number; only?: [from: number, to: number][] };
  /** How its frames lie in the log: the records themselves, or a reference to a range or a row group. */
  kind: "slice" | "range" | "rows";
  /** For messages. */
  name: string;
  /** CSV: its columns, from which the plan of any kernel follows; older sources do not say. */
  columns?: string[];
}

/**
 * A source as a kernel reads it. One that lacks a field is read by the plan that it came with: no frame of it is the
 * kernel's then (`misfitOf`).
 */
export function specFor(source: StreamSource, kernel: KernelDescriptor): StreamSource {
  return misfitOf(source, kernel) !== undefined || !source.columns
    ? { ...source }
    : { ...source, plan: planOf(source.name, source.columns, kernel.input.fields) };
}

/** Why a kernel cannot read a source; undefined if it can. */
export function misfitOf(source: StreamSource, kernel: KernelDescriptor): string | undefined {
  const { fields } = kernel.input;
  if (source.format === "lines" && !takesLines(kernel))
    return `${source.name} are lines, which a kernel takes whose record is one Text field`;
  if (source.format !== "csv") return undefined;
  try {
    if (source.columns) planOf(source.name, source.columns, fields);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Why a kernel cannot read all that a stream has had. */
export function misfitsOf(sources: StreamSource[], kernel: KernelDescriptor): string[] {
  return sources.flatMap((each) => unknownColumns(each) ?? misfitOf(each, kernel) ?? []);
}

/**
 * Columns of a kernel's input that no record of a stream has had. Header lines tell them; where some of the records came without, as NDJSON
 * does, it is not known, and none is named.
 */
export function unseenColumns(sources: StreamSource[], { input }: KernelDescriptor): string[] {
  const read = sources.filter(({ origin }) => origin !== "dead");
  if (!read.length || read.some(({ columns }) => !columns)) return [];
  const seen = new Set(read.flatMap(({ columns }) => columns!));
  return input.fields.map(({ source }) => source).filter((column) => !seen.has(column));
}

/** Sources of older versions do not tell their columns. */
function unknownColumns({ format, columns, plan, name }: StreamSource): string | undefined {
  if (format !== "csv" || columns || plan.length <= 2) return undefined; // an empty file has none
  return `the columns of ${name} are not known, as it was read by an older version; remove and deploy the stream again`;
}

function takesLines({ input: { fields } }: KernelDescriptor): boolean {
  return fields.length === 1 && fields[0].type === "Text";
}

export class Shapes {
  /** The stream's sources by their numbers. */
  readonly sources: StreamSource[];
  private kernel: KernelDescriptor;
  private readonly byShape = new Map<string, number>();
  private readonly onNew: (source: number) => void;

  /** `onNew` is told of a source before its first frame is logged. */
  constructor(sources: StreamSource[], kernel: KernelDescriptor, onNew: (source: number) => void) {
    this.sources = sources;
    this.kernel = kernel;
    this.onNew = onNew;
    sources.forEach((source, number) => {
      if (source.origin === "push") this.byShape.set(shapeKey(source), number);
    });
  }

  /** Another kernel reads what comes from now on. */
  use(kernel: KernelDescriptor): void {
    this.kernel = kernel;
  }

  /** A source that is not of pushes; its number. */
  add(source: StreamSource): number {
    const number = this.sources.push(source) - 1;
    this.onNew(number);
    return number;
  }

  /** The source of frames that come again; `only` for these partitions, if given. */
  again(source: number, only: [from: number, to: number][] | undefined): number {
    const of = this.sources[source].again?.of ?? source;
    const again = only ? { of, only } : { of };
    const key = JSON.stringify(again);
    const known = this.sources.findIndex((each) => JSON.stringify(each.again) === key);
    return known < 0 ? this.add({ ...this.sources[of], origin: "dead", again }) : known;
  }

  /** A body without what is before its first record. Throws `body-invalid` if it is not what it says. */
  read(body: PushBody): IntakeBody {
    const head = headOf(body.chunks);
    if (head.includes(0)) throw invalid("the body holds NUL bytes, so it is no text");
    const { shape, skip } =
      body.format === "csv"
        ? this.readCsv(head, body)
        : { shape: this.plain(body.format, head), skip: bomLength(head) };
    const key = shapeKey(shape);
    let source = this.byShape.get(key);
    if (source === undefined) {
      if (this.byShape.size >= SHAPES_MAX)
        throw invalid(
          `the stream has had ${SHAPES_MAX} different header lines; send bodies with the same columns`,
        );
      source = this.add(shape);
      this.byShape.set(key, source);
    }
    const { producer, sequence } = body;
    return {
      source,
      quotes: body.format === "csv",
      delimiter: shape.delimiter,
      chunks: behind(body.chunks, skip),
      ...(producer === undefined || sequence === undefined ? {} : { producer, sequence }),
    };
  }

  private plain(format: "ndjson" | "lines", head: Buffer): StreamSource {
    if (format === "lines" && !takesLines(this.kernel))
      throw invalid("lines are taken by a kernel whose record is one Text field; send NDJSON or CSV");
    if (format === "ndjson") {
      const first = head.subarray(bomLength(head)).find((byte) => byte > 0x20);
      if (first !== undefined && first !== BRACE)
        throw invalid("the body is said to be NDJSON, but does not start with an object in braces");
    }
    return { ...EMPTY, format, delimiter: 0, plan: [] };
  }

  private readCsv(head: Buffer, body: PushBody): { shape: StreamSource; skip: number } {
    const given = {
      ...(body.delimiter === undefined ? {} : { delimiter: body.delimiter.charCodeAt(0) }),
      ...(body.columns === undefined ? {} : { columns: body.columns }),
    };
    try {
      const { delimiter, dataStart, plan, columns } = csvShape(
        "the body",
        head,
        this.kernel.input.fields,
        given,
      );
      return { shape: { ...EMPTY, format: "csv", delimiter, plan, columns }, skip: dataStart };
    } catch (error) {
      throw error instanceof HallelujahError ? invalid(error.message) : error;
    }
  }
}

const EMPTY = { origin: "push", kind: "slice", name: "pushed records", size: 0, dataStart: 0 } as const;

/** Bodies of other columns are another source, even if this kernel reads the same of them. */
function shapeKey({ format, delimiter, plan, columns }: StreamSource): string {
  return JSON.stringify([format, delimiter, columns ?? plan]);
}

function invalid(message: string): HallelujahError {
  return new HallelujahError("body-invalid", message);
}

/** The first bytes of a body, in which its first line is, if that is not very long; however small the chunks are that it came in. */
function headOf(chunks: Buffer[]): Buffer {
  let count = 0;
  for (let bytes = 0; count < chunks.length && bytes < HEAD_CHUNKS_BYTES; count++)
    bytes += chunks[count].length;
  const head = count === 1 ? chunks[0] : Buffer.concat(chunks.slice(0, count));
  if (head.includes(LF) || count === chunks.length) return head.subarray(0, HEAD_BYTES);
  return Buffer.concat(chunks).subarray(0, HEAD_BYTES);
}

function behind(chunks: Buffer[], skip: number): Buffer[] {
  let left = skip;
  const rest: Buffer[] = [];
  for (const chunk of chunks) {
    if (left < chunk.length) rest.push(left ? chunk.subarray(left) : chunk);
    left = Math.max(0, left - chunk.length);
  }
  return rest;
}
