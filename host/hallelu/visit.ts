/**
 * A visit of a stream: another kernel runs over the rows that its Jahs hold, a few milliseconds at a time between the frames of the stream.
 * All shards begin at one frame boundary, so the visit meets exactly the rows of the frames below it; then the stream goes on. Entries of
 * tables change in place: of a small table, or where the visit says so, the stream waits at that boundary until all are met; of others each
 * partition is met as it is when its turn comes. What comes of
 * the rows is merged in the order of (partition, frame of the visit) in the Jah that has the first partitions, so the answer is the same
 * whatever Jahs hold them.
 */
import { HallelujahError, nearest } from "../core/errors.ts";
import {
  FOLLOW_BYTES_MAX,
  VISIT_GRACE_MS,
  VISIT_HELD_BYTES,
  VISIT_HELD_ENTRIES,
  VISIT_MS,
  VISIT_MS_MAX,
  VISIT_STATE_BYTES,
} from "../core/limits.ts";
import { givenUpFile } from "../core/watchdog.ts";
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { visitFieldsOf } from "../input/plan.ts";
import type { LiveMethods } from "../wire/live.ts";
import type { VisitStart, VisitStep } from "../wire/visit.ts";
import type { VisitRequest } from "./host.ts";
import { Ahead } from "./ahead.ts";
import { giveUp } from "./give-up.ts";
import type { Jah } from "./jahs.ts";
import { answerOf, type Asked, FORMATS, holdAll, planQuery, type Query } from "./query.ts";

/** A visit, as the shards are asked. */
export interface VisitPlan {
  start: Omit<VisitStart, "visit" | "isHome">;
  /** Tables of the visiting kernel whose rows are answered, in order. */
  tables: Query[];
  timeoutMs: number;
  rowsMax: number;
  /** Whether the stream waits at the frame of the visit until all rows are met. */
  hold: boolean;
  signal: AbortSignal | undefined;
}

let visits = 0;

/**
 * A request, held against the kernel of the stream; `follows` if the visit is to stay. Throws `dataset-missing`, `table-unknown`,
 * `order-unknown`, `kernel-outdated` or `visit-format`.
 */
export function planVisit(
  stream: string,
  { version, resident }: { version: number; resident: KernelDescriptor },
  kernel: { wasm: Uint8Array; descriptor: KernelDescriptor },
  request: Omit<VisitRequest, "kernel" | "file">,
  follows = false,
): VisitPlan {
  const { descriptor } = kernel;
  const {
    format,
    table,
    order,
    limit,
    timeoutMs = VISIT_MS,
    rowsMax = Infinity,
    bounds = [],
    hold = false,
    signal,
  } = request;
  const over = residentOf(stream, resident, request.dataset);
  if (follows && "table" in over)
    throw new HallelujahError(
      "visit-format",
      `rows of ${over.table.name} change in place, so a visit of them cannot stay; ask again, or follow the table itself: hallelujah watch ${stream} --table ${over.table.name}`,
    );
  const names = table === undefined ? descriptor.tables.map(({ name }) => name) : [table];
  const emits = table === undefined && (descriptor.emits ?? true);
  if (format !== "ndjson" && names.length + Number(emits) > 1)
    throw new HallelujahError(
      "visit-format",
      `the kernel answers with more than one table or record; ask for NDJSON, or name a table`,
    );
  if (format === "json" && emits)
    throw new HallelujahError("visit-format", "records that a kernel emits come as NDJSON or CSV");
  const more = { ...(order === undefined ? {} : { order }), ...(limit === undefined ? {} : { limit }) };
  return {
    start: {
      version,
      wasm: kernel.wasm,
      over,
      fields: visitFieldsOf(descriptor),
      bounds,
      format: FORMATS[format],
    },
    tables: names.map((name) => planQuery(descriptor, descriptor.file, { table: name, format, ...more })),
    timeoutMs: Math.min(timeoutMs, VISIT_MS_MAX),
    rowsMax,
    hold,
    signal,
  };
}

/** What is visited: the dataset or the table of this name; without one the only dataset, or of a kernel that has none its only table. */
function residentOf(
  stream: string,
  { datasets = [], tables }: KernelDescriptor,
  name: string | undefined,
): VisitStart["over"] {
  const all = [...datasets, ...tables];
  const names = all.map((each) => each.name);
  const first = datasets.length ? datasets : tables;
  const number = name === undefined ? (first.length === 1 ? all.indexOf(first[0]) : -1) : names.indexOf(name);
  if (number >= datasets.length) {
    const { kind, key, fields } = tables[number - datasets.length];
    const table = { number: number - datasets.length, name: names[number], key, fields };
    return { table: kind === undefined ? table : { ...table, kind } };
  }
  if (number >= 0) return { dataset: { number, name: names[number], fields: datasets[number].fields } };
  if (!all.length)
    throw new HallelujahError(
      "dataset-missing",
      `${stream} keeps nothing that could be visited: its kernel has neither a Dataset nor a table; swap in a kernel that has one`,
    );
  const has = `it has: ${names.join(", ")}`;
  if (name === undefined) {
    const several = datasets.length ? "datasets" : "tables";
    throw new HallelujahError(
      "dataset-missing",
      `${stream} has several ${several}; say which one (dataset)\n${has}`,
    );
  }
  const meant = nearest(name, names);
  const hint = meant ? `; did you mean ${meant}?` : "";
  throw new HallelujahError("dataset-missing", `${stream} has no dataset or table ${name}${hint}\n${has}`);
}

/** A visit that stays has one result after the other. Throws `visit-format` where that cannot be. */
export function checkFollow({ emits = true, tables }: KernelDescriptor): void {
  if (!emits && tables.length) return;
  throw new HallelujahError(
    "visit-format",
    emits
      ? "what a kernel emits cannot be kept up to date, tables can; for records as they come: hallelujah deploy NAME KERNEL --from STREAM"
      : "the kernel has no table that could be kept up to date",
  );
}

/** The shards are to be held at one frame, the `least` at least, and let go with `release`. */
export interface VisitTurn {
  /** The owners of all shards, by their partitions. */
  jahs: Jah[];
  least: number;
  release(): void;
}

/** What a visit asks of its stream. */
interface Visitable {
  frameTimeoutMs: number;
  /** Where the watchdog of a Jah says what it was at for too long. */
  stuckFile(jah: Jah): string;
  /** Something was visited. */
  worked(): void;
  /** Where in its source the visiting kernel stopped. */
  placeOf(stack: string): string | undefined;
}

/** Resolves when the first chunk is there, or it is known that there is none. */
export async function begun(rows: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = rows[Symbol.asyncIterator]();
  const first = await iterator.next();
  return {
    async *[Symbol.asyncIterator]() {
      try {
        for (let next = first; !next.done; next = await iterator.next()) yield next.value;
      } finally {
        await iterator.return?.();
      }
    },
  };
}

/** The same rows; then calls `over`, however reading them ends. */
export async function* ending(rows: AsyncIterable<Uint8Array>, over: () => void): AsyncGenerator<Uint8Array> {
  try {
    yield* rows;
  } finally {
    over();
  }
}

/** One visit, from its beginning until its rows are read or given up. */
export class Course {
  private readonly id = ++visits;
  private readonly plan: VisitPlan;
  private readonly jahs: Jah[];
  private readonly stream: Visitable;
  private deadline = Infinity;
  /** The stream goes on. */
  private letGo: () => void = () => {};
  /** Whether it waits for the visit. */
  private holds = false;
  /** Gives up the parts that Jahs are at. */
  private readonly underWay = new Set<() => void>();
  private readonly left = () => {
    for (const leave of this.underWay) leave();
  };

  constructor(plan: VisitPlan, jahs: Jah[], stream: Visitable) {
    this.plan = plan;
    this.jahs = jahs;
    this.stream = stream;
    plan.signal?.addEventListener("abort", this.left);
  }

  /** Whether all of its rows are still where it began. */
  isAt(jahs: Jah[]): boolean {
    return jahs.length === this.jahs.length && jahs.every((jah, i) => jah === this.jahs[i]);
  }

  private get leftMs(): number {
    return this.deadline - performance.now();
  }

  /** All shards begin; the rows are those of the frames below the one that is answered. */
  begin(turn: VisitTurn): Promise<number> {
    const { id: visit } = this;
    return this.held(turn, (jah, i) =>
      this.ask(jah, "visit", { ...this.plan.start, visit, isHome: i === 0 }),
    );
  }

  /** The same for the rows that came since. Rejects with `visit-lost` if others are gone. */
  more(turn: VisitTurn): Promise<number> {
    return this.held(turn, (jah) => this.ask(jah, "visitMore", { visit: this.id }));
  }

  private async held(
    { least, release }: VisitTurn,
    call: (jah: Jah, i: number) => Promise<{ rows: number }>,
  ): Promise<number> {
    const { timeoutMs, rowsMax, hold, start } = this.plan;
    this.deadline = performance.now() + timeoutMs;
    this.letGo = () => {
      this.letGo = () => {};
      for (const jah of this.jahs) void jah.call("release", undefined).catch(() => {});
      release();
    };
    this.holds = false;
    try {
      const frame = await holdAll(this.jahs, least);
      const counts = await Promise.all(this.jahs.map(call));
      const rows = counts.reduce((sum, count) => sum + count.rows, 0);
      if (rows > rowsMax)
        throw new HallelujahError(
          "visit-too-large",
          `there are ${rows} rows, and the visit may meet ${rowsMax}; allow more (--rows, ?rows=)`,
        );
      this.holds = hold || ("table" in start.over && rows <= VISIT_HELD_ENTRIES);
      return frame;
    } finally {
      if (!this.holds) this.letGo();
    }
  }

  /** It is over. */
  end(): void {
    this.letGo();
    this.plan.signal?.removeEventListener("abort", this.left);
    for (const jah of this.jahs) void jah.call("visitEnd", { visit: this.id }).catch(() => {});
  }

  /** What is emitted, then the rows of the tables. It is over with that. */
  async *rows(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.steps();
      yield* (await this.ask(this.jahs[0], "visitClose", { visit: this.id })).emitted;
      yield* this.tables();
    } finally {
      this.end();
    }
  }

  /** The rows of the tables, NDJSON. It may go on. */
  async result(): Promise<Uint8Array[]> {
    for await (const emitted of this.steps()) void emitted;
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of this.tables()) {
      bytes += chunk.length;
      if (bytes > FOLLOW_BYTES_MAX)
        throw new HallelujahError(
          "visit-too-large",
          `a result would be longer than ${FOLLOW_BYTES_MAX / (1 << 20)} MiB; set a limit (--limit, ?limit=)`,
        );
      chunks.push(chunk);
    }
    return chunks;
  }

  /** What is emitted. While the stream waits for the visit, so much is kept that it does not wait for the client, too. */
  private async *steps(): AsyncGenerator<Uint8Array> {
    const kept: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of this.met()) {
      kept.push(chunk);
      bytes += chunk.length;
      if (!this.holds || bytes > VISIT_HELD_BYTES) yield* kept.splice(0);
    }
    yield* kept;
  }

  private async *met(): AsyncGenerator<Uint8Array> {
    const visit = this.id;
    const [home, ...others] = this.jahs;
    const ahead = others.map((jah) => new Ahead(this.stepsOf(jah)));
    try {
      for await (const { emitted } of this.stepsOf(home)) yield* emitted;
      for (const each of ahead) {
        for await (const visited of each.all()) {
          const { emitted } = await this.ask(home, "visitTake", { visit, visited });
          yield* emitted;
        }
      }
    } finally {
      for (const each of ahead) each.stop();
      this.letGo();
    }
  }

  /** All steps of a Jah, which is asked for the next one before it has answered, as it would be idle until then. */
  private async *stepsOf(jah: Jah): AsyncGenerator<VisitStep> {
    for (let next = this.step(jah); ; ) {
      const following = this.step(jah);
      following.catch(() => {}); // nobody may want it
      const step = await next;
      yield step;
      if (step.over) {
        await following.catch(() => {}); // it would take rows that come later
        return;
      }
      next = following;
    }
  }

  /** Throws `visit-dropped` where rows are gone that it was to meet. */
  private async step(jah: Jah): Promise<VisitStep> {
    const step = await this.ask(jah, "visitStep", { visit: this.id });
    if (!step.dropped) return step;
    const { over } = this.plan.start;
    const name = "dataset" in over ? over.dataset.name : over.table.name;
    throw new HallelujahError(
      "visit-dropped",
      `${name} dropped ${step.dropped} rows, as it keeps no more, before the visit came to them; ask again, with hold to have the stream wait meanwhile`,
    );
  }

  private async *tables(): AsyncGenerator<Uint8Array> {
    const [home] = this.jahs;
    const asked: Asked = {
      call: (method, argument) =>
        this.ask(home, "visitAsk", { visit: this.id, method, argument }) as Promise<
          LiveMethods[typeof method]["answer"]
        >,
    };
    for (const table of this.plan.tables) yield* answerOf([asked], table);
  }

  /**
   * Asks a Jah for a part of it. What goes wrong there is told as the client's kernel, or the want of time, explains it. If the client leaves
   * meanwhile, rejects with the reason of its signal.
   */
  private async ask<M extends "visit" | "visitMore" | "visitStep" | "visitTake" | "visitClose" | "visitAsk">(
    jah: Jah,
    method: M,
    argument: Omit<LiveMethods[M]["argument"], "leftMs">,
  ): Promise<LiveMethods[M]["answer"]> {
    const { signal } = this.plan;
    signal?.throwIfAborted();
    const { leftMs } = this;
    if (leftMs <= 0) throw this.late();
    const asked = { ...argument, leftMs } as LiveMethods[M]["argument"];
    const part = jah.call(method, asked);
    let timer: NodeJS.Timeout | undefined;
    let leave = () => {};
    const givenUp = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(this.late()), leftMs);
      leave = () => {
        void giveUp(part, givenUpFile(this.stream.stuckFile(jah), this.id), VISIT_GRACE_MS);
        fail(signal!.reason as Error);
      };
    });
    this.underWay.add(leave);
    try {
      return await Promise.race([part, givenUp]);
    } catch (error) {
      throw this.explained(error, jah);
    } finally {
      clearTimeout(timer);
      this.underWay.delete(leave);
      this.stream.worked();
    }
  }

  /** Its time is over. A Jah whose kernel does not come back ends itself. */
  private late(): HallelujahError {
    return new HallelujahError(
      "visit-timeout",
      `the visit was not over after ${this.plan.timeoutMs / 1000} s; give it more time (--timeout, ?timeout= in ms), visit fewer rows, or look for a loop that never ends`,
    );
  }

  private explained(error: unknown, jah: Jah): unknown {
    if (!(error instanceof HallelujahError)) return error;
    const { code, message } = error;
    const { frameTimeoutMs, placeOf } = this.stream;
    if (code === "kernel-trapped") {
      const place = placeOf((error.cause as Error | undefined)?.stack ?? "");
      return new HallelujahError(code, `the visiting kernel stopped: ${message}${place ? ` ${place}` : ""}`);
    }
    if (code === "out-of-memory")
      return new HallelujahError(
        code,
        `the tables of the visiting kernel would take more than ${VISIT_STATE_BYTES / (1 << 20)} MiB; use fewer keys, or sketches`,
      );
    if (jah.stuckVisit === this.id)
      return new HallelujahError(
        "kernel-trapped",
        `the visiting kernel did not return within ${frameTimeoutMs / 1000} s; a loop that never ends?`,
      );
    return error;
  }
}
