/**
 * The main job: frames are handed to Jahs as they have room, confirmed in order, and when every Jah has applied every
 * frame the tables are read out. This file is the control flow; what it decides by lies beside it.
 */
import { availableParallelism } from "node:os";
import type { Readable } from "node:stream";
import { buildKernel, type BuiltKernel } from "../compiler/cache.ts";
import { HallelujahError, nearest } from "../core/errors.ts";
import {
  FRAME_BYTES,
  FRAME_TIMEOUT_MS,
  PROBLEMS_SHOWN,
  RUNS_PER_JAH,
  WINDOW_FRAMES_PER_JAH,
} from "../core/limits.ts";
import { CLOCKS_MAX, CSV, JSON_ARRAY, NDJSON } from "../kernel/memory-map.ts";
import { Assembler, type FrameOutput } from "../shuffle/assembler.ts";
import type {
  Failure,
  FrameDone,
  FrameTask,
  FromJah,
  Problem,
  SourceFormat,
  SourceSpec,
} from "../wire/jah.ts";
import { Chain } from "./chain.ts";
import { explainFailure } from "./failure.ts";
import { Copies } from "../input/copies.ts";
import { framesOf } from "../input/frames.ts";
import { keyColumns, type Order, orderColumns, parseOrder } from "../kernel/order.ts";
import { gather } from "./gather.ts";
import { type Jah, Jahs } from "./jahs.ts";
import { planSources, type Source, wishesOf } from "../input/plan.ts";
import { type BadRecord, describeProblems, formatBadRecord } from "./problems.ts";
import { checkFieldsSeen } from "./fields.ts";
import { stuckStack } from "./watchdog.ts";
import { NO_SOURCE } from "../wire/batch.ts";

export interface JobOptions {
  /** The kernel: a `.ts` file, which is built if need be, or a built `.wasm`. */
  kernel: string;
  /** Files, folders, globs, http(s) and s3 URLs; `-` is standard input. */
  inputs: string[];
  inputFormat?: SourceFormat;
  /** CSV: the byte between fields; found out if not given. */
  delimiter?: number;
  /** CSV: names of the columns, for files without a header line. */
  columns?: string[];
  /** Processes; as many as there are CPUs if not given. */
  jahs?: number;
  /** End with an error at the first record that does not fit. */
  strict?: boolean;
  /** Bytes of state that each Jah may hold; 4 GiB less 128 MiB at most. */
  stateBytesMax?: number;
  /** `temperature.mean`, `-temperature.mean`, `key` or `-key`; by key if not given. */
  order?: string;
  /** Rows of each table; all if not given. */
  limit?: number;
  /** Only this table. */
  table?: string;
  frameTimeoutMs?: number;
  signal?: AbortSignal;
  /** Ends the job where it is, with what the summary is by then: whoever reads the rows has enough. */
  enough?: AbortSignal;
  stdin?: Readable;
  /** A new instance of the kernel for each frame, as its tests want it. */
  freshInstances?: boolean;
  /** Bytes of a frame: FRAME_BYTES, but for tests that want many frames of little input. */
  frameBytes?: number;
  onProgress?: (progress: Progress) => void;
}

export interface Progress {
  /** Bytes of input done, of how many; 0 if that is not known. */
  bytes: number;
  bytesTotal: number;
  rows: number;
}

export interface Summary {
  rows: number;
  badRecords: number;
  /** The first bad records. */
  problems: BadRecord[];
  frames: number;
  jahs: number;
  /** Rows written per table. */
  tables: Record<string, number>;
  emitted: number;
  /** Records that came too late for their window. */
  late: number;
  bytes: number;
}

/** Where rows go. */
export interface Sink {
  format: typeof NDJSON | typeof CSV | typeof JSON_ARRAY;
  delimiter: number;
  /** Whether Jahs may write rows to the standard output themselves. */
  shared: boolean;
  write(bytes: Uint8Array): Promise<void>;
}

const STATE_BYTES_MAX = 2 ** 32 - (128 << 20);

/** Runs a job to its end. Rows go to `sink`; rejects with a HallelujahError, and leaves no process behind. */
export async function runJob(options: JobOptions, sink: Sink): Promise<Summary> {
  const job = new Job(options, sink);
  try {
    return await job.run();
  } finally {
    job.stop();
  }
}

class Job {
  private readonly options: JobOptions;
  private readonly sink: Sink;
  private readonly frameBytes: number;
  private readonly jahs: Jahs;
  private kernel!: BuiltKernel;
  private sources: Source[] = [];
  private readonly copies = new Copies();
  private readonly chain = new Chain();
  private assembler!: Assembler;
  /** Frames handed out, with what is needed to hand them out again. */
  private readonly tasks = new Map<number, FrameTask>();
  private handedOut = 0;
  private allHandedOut = false;
  private rows = 0;
  private bad = 0;
  private emitted = 0;
  private late = 0;
  private fieldsSeen = 0n;
  private readonly problems: Problem[] = [];
  private readonly lines = new Map<number, number>();
  private linesInSource = { source: -1, lines: 0 };
  /** Lines that were dropped behind a frame of a stream, by its number. */
  private readonly dropped = new Map<number, Problem>();
  private bytesDone = 0;
  private quoted = false;
  private lastEnd: { source: number; end: number } | undefined;
  private writing: Promise<void> = Promise.resolve();
  private wroteRow = false;
  private readonly failure: Promise<never>;
  private fail!: (error: Error) => void;
  private wake: () => void = () => {};
  private readonly onAbort = () => this.fail(new HallelujahError("aborted", "the run was stopped"));
  private timer: NodeJS.Timeout | undefined;

  constructor(options: JobOptions, sink: Sink) {
    this.options = options;
    this.sink = sink;
    this.frameBytes = options.frameBytes ?? FRAME_BYTES;
    this.failure = new Promise((_, fail) => {
      this.fail = fail;
    });
    this.failure.catch(() => {});
    options.signal?.throwIfAborted();
    options.signal?.addEventListener("abort", this.onAbort, { once: true });
    this.jahs = new Jahs(options.jahs ?? availableParallelism(), sink.shared, {
      message: (jah, message) => this.receive(jah, message),
      failure: (error) => this.fail(this.explain(error)),
    });
  }

  stop(): void {
    clearInterval(this.timer);
    this.options.signal?.removeEventListener("abort", this.onAbort);
    this.jahs.stop();
    for (const source of this.sources) source.stream?.close();
    this.copies.remove();
    // Whoever writes to it may take long: nothing waits for that.
    if (this.options.inputs.includes("-")) (this.options.stdin ?? process.stdin).destroy();
  }

  async run(): Promise<Summary> {
    return Promise.race([this.work(), this.failure, this.left()]);
  }

  /** The summary, once the reader of the rows has left. */
  private left(): Promise<Summary> {
    const { enough } = this.options;
    return new Promise((done) => {
      if (enough?.aborted) done(this.summary({}));
      else enough?.addEventListener("abort", () => done(this.summary({})), { once: true });
    });
  }

  private async work(): Promise<Summary> {
    const { options } = this;
    this.kernel = await buildKernel(options.kernel);
    const { descriptor } = this.kernel;
    this.assembler = new Assembler(0, () => descriptor.ordered);
    const tables = this.chooseTables();
    const stdin = options.stdin ?? process.stdin;
    this.sources = await planSources(descriptor, { ...options, stdin, copies: this.copies });
    this.jahs.start({
      kernel: this.kernel.path,
      sources: this.sources.map(specOf),
      stateBytesMax: Math.min(options.stateBytesMax ?? STATE_BYTES_MAX, STATE_BYTES_MAX),
      format: this.sink.format,
      delimiter: this.sink.delimiter,
      columns: wishesOf(descriptor.input.fields),
      writeRows: this.sink.shared,
      freshInstances: options.freshInstances ?? false,
      frameBytes: this.frameBytes,
      clocks: descriptor.time ? Math.min(this.sources.length, CLOCKS_MAX) : 0,
    });
    this.timer = setInterval(() => this.watch(), 100);
    await this.header(tables);
    await this.handOut();
    await this.until(
      () =>
        this.allHandedOut &&
        this.chain.next === this.handedOut &&
        this.lowestApplied() === this.handedOut &&
        this.assembler.next === this.handedOut,
    );
    await this.writing;
    checkFieldsSeen(this.fieldsSeen, this.rows + this.bad, descriptor, this.sources);
    const counts = await this.readTables(tables);
    if (this.sink.format === JSON_ARRAY) await this.sink.write(Buffer.from(this.wroteRow ? "\n]\n" : "[]\n"));
    return this.summary(counts);
  }

  private summary(tables: Record<string, number>): Summary {
    return {
      rows: this.rows,
      badRecords: this.bad,
      problems: this.problems.length ? this.badRecords() : [],
      frames: this.handedOut,
      jahs: this.jahs.all.length,
      tables,
      emitted: this.emitted,
      late: this.late,
      bytes: this.bytesDone,
    };
  }

  /** The tables that are written, each with its order: what is wrong with the options shows before the work. */
  private chooseTables(): { table: number; order: Order }[] {
    const { descriptor } = this.kernel;
    const { table: wanted, order } = this.options;
    const names = descriptor.tables.map((table) => table.name);
    if (wanted !== undefined && !names.includes(wanted)) {
      const meant = nearest(wanted, names);
      const hint = meant ? `; did you mean ${meant}?` : "";
      throw new HallelujahError(
        "table-unknown",
        `the kernel has no table ${wanted}${hint}\nit has: ${names.join(", ")}`,
      );
    }
    const chosen = descriptor.tables.flatMap((table, index) =>
      wanted === undefined || table.name === wanted ? [{ table: index, descriptor: table }] : [],
    );
    const streams = chosen.length + (wanted === undefined ? descriptor.outputs.length : 0);
    if (this.sink.format === CSV && streams > 1) {
      const all = [...names, ...descriptor.outputs.map((output) => output.name)].join(", ");
      const message = `one CSV holds one kind of row, but the kernel has ${all}; choose a table with --table, or another --format`;
      throw new HallelujahError("csv-tables", message);
    }
    return chosen.map(({ table, descriptor: described }) => ({
      table,
      order: order === undefined ? { column: -1, descending: false } : parseOrder(order, described),
    }));
  }

  /** What comes before the rows. */
  private async header(tables: { table: number }[]): Promise<void> {
    if (this.sink.format === JSON_ARRAY) return;
    if (this.sink.format !== CSV) return;
    const { descriptor } = this.kernel;
    const delimiter = String.fromCharCode(this.sink.delimiter);
    const [chosen] = tables;
    const names = chosen
      ? [
          "table",
          ...keyColumns(descriptor.tables[chosen.table].key),
          ...orderColumns(descriptor.tables[chosen.table]),
        ]
      : descriptor.outputs[0]?.fields.map((field) => field.name);
    if (names) await this.sink.write(Buffer.from(`${names.join(delimiter)}\n`));
  }

  private async handOut(): Promise<void> {
    const onDropped = (problem: Problem) => this.dropped.set(problem.frame, problem);
    const timed = this.kernel.descriptor.time !== undefined;
    for await (const run of framesOf(this.sources, this.jahs.all.length, this.frameBytes, timed, onDropped)) {
      await this.until(() => this.freeJah() !== undefined && this.inWindow());
      const [first] = run;
      if (first.kind === "range" && this.quoted && this.lastEnd?.source === first.source) {
        first.quotesFrom = this.lastEnd.end;
      }
      for (const task of run)
        this.tasks.set(task.frame, task.kind === "bytes" ? { ...task, bytes: EMPTY } : task);
      this.handedOut = run.at(-1)!.frame + 1;
      this.assign(this.freeJah()!, run);
    }
    this.allHandedOut = true;
  }

  private freeJah(): Jah | undefined {
    const [least] = this.jahs.all.toSorted((a, b) => a.runs - b.runs);
    return least.runs < RUNS_PER_JAH ? least : undefined;
  }

  private inWindow(): boolean {
    return this.handedOut - this.lowestApplied() < WINDOW_FRAMES_PER_JAH * this.jahs.all.length;
  }

  private lowestApplied(): number {
    return Math.min(...this.jahs.all.map((jah) => jah.applied));
  }

  private assign(jah: Jah, run: FrameTask[]): void {
    if (!jah.frames.size) jah.heardAt = performance.now();
    for (const task of run) jah.frames.add(task.frame);
    jah.runs++;
    jah.send({ type: "map", frames: run });
  }

  private until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((done) => {
      this.wake = () => {
        if (!condition()) return;
        this.wake = () => {};
        done();
      };
    });
  }

  private receive(jah: Jah, message: FromJah): void {
    jah.heardAt = performance.now();
    switch (message.type) {
      case "listening":
        this.jahs.listens(jah, message.port);
        break;
      case "done":
        jah.applied = message.applied;
        this.fieldsSeen |= message.fieldsSeen;
        for (const done of message.frames) this.mapped(jah, done);
        for (const output of message.outputs) this.write(this.assembler.applied(output));
        jah.runs = jah.frames.size ? Math.max(1, jah.runs - 1) : 0;
        break;
      case "applied":
        jah.applied = message.applied;
        for (const output of message.outputs) this.write(this.assembler.applied(output));
        break;
      case "failed":
        this.fail(this.explain(message.failure));
        break;
      case "answer":
        jah.answer(message.id, message.value);
        break;
      case "at":
        break;
    }
    this.wake();
  }

  private mapped(jah: Jah, done: FrameDone): void {
    jah.frames.delete(done.frame);
    if (done.quoted) this.quoted = true;
    const further = !this.lastEnd || done.source > this.lastEnd.source || done.end > this.lastEnd.end;
    if (further && done.source !== NO_SOURCE) {
      this.lastEnd = { source: done.source, end: done.end };
    }
    const { confirmed, again } = this.chain.add(done);
    for (const frame of confirmed) this.confirm(frame);
    if (again) {
      const task = this.tasks.get(again.frame)!;
      this.assign(jah, [{ ...task, start: again.start } as FrameTask]);
    }
  }

  /** A frame's numbers count from here on, in frame order. */
  private confirm(done: FrameDone): void {
    this.tasks.delete(done.frame);
    this.rows += done.rows;
    this.bad += done.bad;
    if (this.linesInSource.source !== done.source && done.source !== NO_SOURCE)
      this.linesInSource = { source: done.source, lines: 0 };
    const dropped = this.dropped.get(done.frame);
    for (const problem of dropped ? [...done.problems, dropped] : done.problems) {
      if (this.problems.length >= PROBLEMS_SHOWN) break;
      this.problems.push(problem);
      this.lines.set(done.frame, this.linesInSource.lines);
    }
    this.linesInSource.lines += done.lines;
    if (dropped) {
      this.bad++;
      this.linesInSource.lines++;
    }
    this.write(this.assembler.mapped(done.frame, done.emitted, done.emittedRows));
    if (done.source !== NO_SOURCE) this.progress(done);
    if (this.options.strict && this.bad) {
      const [first] = this.badRecords();
      this.fail(new HallelujahError("bad-record", `${formatBadRecord(first)}\nstopped, as --strict asks`));
    }
  }

  /** Writes what frames emitted, in their order. */
  private write(frames: FrameOutput[]): void {
    for (const { rows, bytes, late } of frames) {
      this.emitted += rows;
      this.late += late;
      if (!rows || this.options.table !== undefined) continue;
      this.writing = this.writing
        .then(() => this.writeRows(bytes.length > 1 ? Buffer.concat(bytes) : bytes[0]))
        .catch((error) => this.fail(error as Error));
    }
  }

  private async writeRows(bytes: Uint8Array): Promise<void> {
    const first = !this.wroteRow && this.sink.format === JSON_ARRAY;
    if (first) await this.sink.write(Buffer.from("["));
    this.wroteRow = true;
    await this.sink.write(first ? bytes.subarray(1) : bytes);
  }

  private progress(done: FrameDone): void {
    const source = this.sources[done.source];
    if (source.kind === "bytes")
      this.bytesDone = this.sources.reduce((sum, each, i) => sum + diskDone(each, i, done.source), 0);
    else {
      const part = source.kind === "range" ? done.end - done.start : source.size / source.frames;
      this.bytesDone += part;
    }
    const known = this.sources.every((each) => each.diskBytes > 0);
    const bytesTotal = known ? this.sources.reduce((sum, each) => sum + each.diskBytes, 0) : 0;
    this.options.onProgress?.({ bytes: this.bytesDone, bytesTotal, rows: this.rows });
  }

  private badRecords(): BadRecord[] {
    const shown = this.problems.slice(0, PROBLEMS_SHOWN);
    return describeProblems(shown, this.sources, this.kernel.descriptor.input.fields, (problem) => {
      const before = this.lines.get(problem.frame);
      if (before === undefined || problem.line === undefined) return undefined;
      return before + problem.line + 1 + this.sources[problem.source].headerLines;
    });
  }

  private async readTables(tables: { table: number; order: Order }[]): Promise<Record<string, number>> {
    const { descriptor } = this.kernel;
    const jahs = this.jahs.all;
    const sizes = await Promise.all(
      jahs.map((jah) => jah.call("sizes", { tables: descriptor.tables.length })),
    );
    const stateBytes = sizes.reduce((sum, size) => sum + size.bytes, 0);
    const counts: Record<string, number> = {};
    for (const { table, order } of tables) {
      const entries = sizes.reduce((sum, size) => sum + size.entries[table], 0);
      if (entries && !this.wroteRow && this.sink.format === JSON_ARRAY)
        await this.sink.write(Buffer.from("["));
      const request = {
        table,
        order,
        entries,
        stateBytes,
        limit: this.options.limit ?? Infinity,
        written: this.wroteRow,
      };
      const rows = await gather(jahs, request, (bytes) => this.sink.write(bytes));
      counts[descriptor.tables[table].name] = rows;
      this.wroteRow ||= rows > 0;
    }
    return counts;
  }

  /** Stops the run when a Jah has been at one frame for too long, be it mapping or applying it. */
  private watch(): void {
    const limit = this.options.frameTimeoutMs ?? FRAME_TIMEOUT_MS;
    const since = performance.now() - limit;
    const all = this.jahs.all;
    const mapping = all.filter((jah) => jah.frames.size);
    const behind = all.filter((jah) => jah.frames.size || jah.applied < this.handedOut);
    // One that has nothing to map may wait for another's frame; when nobody maps, it waits for nobody.
    const stuck = mapping.length
      ? mapping.some((jah) => jah.heardAt < since)
      : behind.length > 0 && all.every((jah) => jah.heardAt < since);
    if (!stuck) return;
    clearInterval(this.timer);
    void this.tellStuck(behind, limit);
  }

  private async tellStuck(jahs: Jah[], limit: number): Promise<void> {
    const stacks = await Promise.all(jahs.map(stuckStack));
    // Those that only wait for the one that is stuck are in no frame.
    const { frame, stack } = stacks.find((each) => each.frame !== undefined) ?? stacks[0];
    const failure: Failure = {
      kind: "trap",
      code: "frame-timeout",
      message: `the kernel was still at one frame after ${limit / 1000} s; a loop that never ends? (--frame-timeout gives it more)`,
      stack,
      frame: frame ?? Math.min(...jahs.flatMap((jah) => [...jah.frames])),
    };
    this.fail(this.explain(failure));
  }

  private explain(error: Failure | HallelujahError): HallelujahError {
    if (error instanceof HallelujahError) return error;
    const task = error.frame === undefined ? undefined : this.tasks.get(error.frame);
    const { stateBytesMax = STATE_BYTES_MAX } = this.options;
    return explainFailure(error, this.kernel, this.sources, task, stateBytesMax, this.frameBytes);
  }
}

const EMPTY = new Uint8Array(0);

/** What a Jah needs of a source. */
function specOf({ path, format, size, dataStart, delimiter, plan }: Source): SourceSpec {
  return { ...(path === undefined ? {} : { path }), format, size, dataStart, delimiter, plan };
}

function diskDone(source: Source, index: number, current: number): number {
  if (index > current) return 0;
  return index < current ? source.diskBytes : (source.stream?.rawBytes ?? source.diskBytes);
}
