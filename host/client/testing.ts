/** For the tests of kernels: `import { check } from "hallelujah/testing"`. Prints nothing. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type BuiltKernel, buildKernel } from "../compiler/cache.ts";
import { HallelujahError } from "../core/errors.ts";
import { FRAME_BYTES } from "../core/limits.ts";
import { findFiles } from "../input/discover.ts";
import { NDJSON } from "../kernel/memory-map.ts";
import { type JobOptions, runJob, type Summary } from "../run/job.ts";
import type { BadRecord } from "../run/problems.ts";
import type { SourceFormat } from "../wire/jah.ts";

export interface CheckOptions {
  /** What a text is; known by its content if not given. */
  inputFormat?: SourceFormat;
  /** CSV: the byte between fields, as a character; found out if not given. */
  delimiter?: string;
  /** CSV: names of the columns, for input without a header line. */
  columns?: string[];
  /** Processes that share the small frames; 2 if not given. */
  jahs?: number;
  /** Bytes of a small frame; 16 if not given, more for input of more than 16 kB. */
  frameBytes?: number;
}

/** A row without its table's name: its key (an array for a tuple), and one member per field of the state. */
export type CheckedRow = Record<string, any>;

export interface Checked {
  /** Rows by table, in the order of their keys; an empty array for a table without rows. */
  tables: Record<string, CheckedRow[]>;
  /** What the kernel emitted, in order. */
  output: CheckedRow[];
  /** The first records that did not fit; the file of a text is called `input`. */
  problems: BadRecord[];
  /** Records that fit, and that did not. */
  rows: number;
  badRecords: number;
  /** Records that came too late for their window. */
  lateRecords: number;
}

/** Bytes of a frame that hold about one short record. */
const SMALL_FRAME_BYTES = 16;
const SMALL_FRAMES_MAX = 1000;
/** Relative difference that comes from adding floats in another order. */
const ROUNDING = 1e-9;
/** Different values up to which Top is exact, wherever frames are cut (assembly/state/top.ts). */
const TOP_EXACT = 512;

/**
 * Runs a kernel over a text, bytes or files, twice: once in frames of the usual size, and once cut into small frames
 * over several processes, where the kernel is instantiated anew for every frame. Both answers must be the same but for
 * the rounding of floats, else it rejects with the code `frame-dependent`. Other errors are those of a run.
 *
 *   const { tables } = await check("kernels/stations.ts", "station,temperature\nAbha,1\nAbha,3\n");
 *
 * A kernel's path is taken from the current folder; a URL may be given instead:
 * `new URL("../kernels/stations.ts", import.meta.url)`.
 */
export async function check(
  kernel: string | URL,
  input: string | Uint8Array | { files: string[] },
  options: CheckOptions = {},
): Promise<Checked> {
  const { delimiter, jahs = 2, frameBytes, ...shape } = options;
  if (delimiter !== undefined && Buffer.byteLength(delimiter) !== 1)
    throw new TypeError("delimiter is one byte");
  const path = kernel instanceof URL ? fileURLToPath(kernel) : kernel;
  const built = await buildKernel(path);
  const folder = mkdtempSync(join(tmpdir(), "hallelujah-test-"));
  const text = join(folder, "input");
  try {
    const given = typeof input === "string" || input instanceof Uint8Array;
    if (given) writeFileSync(text, input);
    const inputs = given ? [text] : input.files;
    const bytes = (await findFiles(inputs)).reduce((sum, file) => sum + file.size, 0);
    const small = frameBytes ?? Math.max(SMALL_FRAME_BYTES, Math.ceil(bytes / SMALL_FRAMES_MAX));
    const job: JobOptions = {
      ...shape,
      ...(delimiter === undefined ? {} : { delimiter: delimiter.charCodeAt(0) }),
      kernel: path,
      inputs,
      freshInstances: true,
      stdin: Readable.from([]),
    };
    const [whole, cut] = await Promise.allSettled([
      answer({ ...job, jahs: 1, frameBytes: FRAME_BYTES }),
      answer({ ...job, jahs, frameBytes: small }),
    ]);
    if (whole.status === "rejected") throw whole.reason;
    if (cut.status === "rejected") throw cut.reason;
    compare(whole.value, cut.value, built, path, small);
    const problems = whole.value.problems.map((problem) =>
      problem.file === text ? { ...problem, file: "input" } : problem,
    );
    return { ...whole.value, problems };
  } catch (error) {
    throw given(error, text);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An error without the path of the temporary file. */
function given(error: unknown, text: string): unknown {
  if (!(error instanceof HallelujahError) || !error.message.includes(text)) return error;
  return new HallelujahError(error.code, error.message.replaceAll(text, "input"), { cause: error });
}

async function answer(options: JobOptions): Promise<Checked> {
  const chunks: Buffer[] = [];
  const summary = await runJob(options, {
    format: NDJSON,
    delimiter: 0x2c,
    shared: false,
    write: async (bytes) => {
      chunks.push(Buffer.from(bytes));
    },
  });
  return sorted(Buffer.concat(chunks).toString(), summary);
}

/** What was emitted comes first, then the tables. */
function sorted(ndjson: string, summary: Summary): Checked {
  const { emitted, tables: counts, problems, rows, badRecords, late: lateRecords } = summary;
  const all = ndjson
    .split("\n")
    .filter((line) => line)
    .map((line) => JSON.parse(line) as CheckedRow);
  const tables: Record<string, CheckedRow[]> = Object.fromEntries(
    Object.keys(counts).map((name) => [name, []]),
  );
  for (const { table, ...row } of all.slice(emitted)) tables[table].push(row);
  return { tables, output: all.slice(0, emitted), problems, rows, badRecords, lateRecords };
}

function compare(
  whole: Checked,
  cut: Checked,
  { descriptor }: BuiltKernel,
  kernel: string,
  bytes: number,
): void {
  const fail = (place: string, one: unknown, other: unknown): never => {
    const shown = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value));
    const message = [
      `the answer of ${kernel} depends on where its input is cut into frames:`,
      `  ${place}: ${shown(one)} in one frame, ${shown(other)} in frames of ${bytes} bytes`,
      "what a kernel keeps outside its tables is forgotten after every frame; keep it in a @state class",
    ].join("\n");
    throw new HallelujahError("frame-dependent", message);
  };
  if (whole.rows !== cut.rows) fail("records", whole.rows, cut.rows);
  if (whole.badRecords !== cut.badRecords) fail("records that do not fit", whole.badRecords, cut.badRecords);
  // Time moves between frames, so what is late depends on where they are cut; nothing else does.
  if (whole.lateRecords || cut.lateRecords) return;
  const output = descriptor.ordered ? [byText(whole.output), byText(cut.output)] : [whole.output, cut.output];
  compareRows(output[0], output[1], (_, i) => `emitted record ${i + 1}`, fail);
  for (const { name, fields } of descriptor.tables) {
    const inexact = whole.rows > TOP_EXACT ? fields.filter((field) => field.aggregate === "Top") : [];
    const exact = (rows: CheckedRow[]) => {
      if (!inexact.length) return rows;
      return rows.map((row) => ({
        ...row,
        ...Object.fromEntries(inexact.map((field) => [field.name, null])),
      }));
    };
    const place = (row: CheckedRow) => `table ${name}, key ${JSON.stringify(row.key)}`;
    compareRows(exact(whole.tables[name]), exact(cut.tables[name]), place, fail);
  }
}

/** Rows of several keys come out with the frame in which they are due: their order is that of the frames. */
function byText(rows: CheckedRow[]): CheckedRow[] {
  const text = new Map(rows.map((row) => [row, JSON.stringify(row)]));
  return rows.toSorted((a, b) => (text.get(a)! < text.get(b)! ? -1 : 1));
}

type Fail = (place: string, one: unknown, other: unknown) => never;

function compareRows(
  one: CheckedRow[],
  other: CheckedRow[],
  place: (row: CheckedRow, i: number) => string,
  fail: Fail,
): void {
  for (let i = 0; i < Math.max(one.length, other.length); i++) {
    const [a, b] = [one[i], other[i]];
    if (!a || !b || JSON.stringify(a.key) !== JSON.stringify(b.key)) fail(place(a ?? b, i), a, b);
    const size = Math.max(1, largest(a), largest(b));
    const different = difference(a, b, size * ROUNDING, "");
    if (different) fail(`${place(a, i)}${different.path && `, ${different.path}`}`, different.a, different.b);
  }
}

/** The greatest number in a row: what its floats may be rounded to is measured by it. */
function largest(value: unknown): number {
  if (typeof value === "number") return Math.abs(value);
  if (typeof value !== "object" || value === null) return 0;
  return Math.max(0, ...Object.values(value).map(largest));
}

/** The first place where two values differ by more than `tolerance`. */
function difference(
  a: unknown,
  b: unknown,
  tolerance: number,
  path: string,
): { path: string; a: unknown; b: unknown } | undefined {
  if (typeof a === "number" && typeof b === "number") {
    const exact = Number.isInteger(a) && Number.isInteger(b);
    return a === b || (!exact && Math.abs(a - b) <= tolerance) ? undefined : { path, a, b };
  }
  if (typeof a === "object" && typeof b === "object" && a !== null && b !== null) {
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const below = path ? `${path}.${name}` : name;
      const found = difference((a as CheckedRow)[name], (b as CheckedRow)[name], tolerance, below);
      if (found) return found;
    }
    return undefined;
  }
  return a === b ? undefined : { path, a, b };
}
