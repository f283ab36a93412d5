/** How far one stream is: what Jahs have mapped and applied is counted, and their output put in order and written. */
import type { KernelDescriptor } from "../compiler/descriptor.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { OUTPUT_BYTES_WAITING } from "../core/limits.ts";
import { untilDone } from "../core/promises.ts";
import { Assembler, type FrameOutput } from "../shuffle/assembler.ts";
import type { StreamLog } from "../store/stream-log.ts";
import type { Outputs } from "../store/outputs.ts";
import type { FromLiveJah } from "../wire/live.ts";
import { FrameCounts } from "./counts.ts";
import type { Frames } from "./frames.ts";
import type { Jah } from "./jahs.ts";
import { Problems } from "./problems.ts";
import { Rates } from "./rates.ts";
import type { StoredShard, StreamRecord } from "./record.ts";
import { whenRoom } from "./room.ts";
import type { Shards } from "./shards.ts";
import { wayOut } from "./unavailable.ts";

export interface ProgressParts {
  /** The kernel that a frame belongs to. */
  kernelOf: (frame: number) => KernelDescriptor;
  log: StreamLog;
  outputs: Outputs;
  lateOutputs: Outputs;
  frames: Frames;
  shards: Shards;
  /** Is aborted when the stream does not go on in this process. */
  over: AbortSignal;
  /** There is room for more output (`isFull`). */
  onRoom: () => void;
  /** The stream cannot go on. */
  fail: (message: string) => void;
}

export class Progress {
  /** What is applied. */
  readonly rates = new Rates();
  readonly counts: FrameCounts;
  readonly problems: Problems;
  private readonly record: StreamRecord;
  private readonly parts: ProgressParts;
  private readonly assembler: Assembler;
  /** Frames below this are counted as applied. */
  private countedTo: number;
  private readonly waiters = new Set<{ frame: number; goOn: () => void; giveUp: () => void }>();
  private writing: Promise<void> = Promise.resolve();
  /** Output of the frames from this one on is kept back here. */
  private keptFrom = Infinity;
  private readonly kept: FrameOutput[] = [];
  /** Bytes of that, and of what is being written. */
  private waitingBytes = 0;
  /** Why the output of a frame could not be written. */
  private failure: { cause: unknown } | undefined;
  /** Who waits until the output of the frames below a number is put together. */
  private readonly outputWaiters = new Set<{ frame: number; goOn: () => void }>();

  constructor(record: StreamRecord, parts: ProgressParts) {
    this.counts = new FrameCounts(record.counts, record.frame);
    this.problems = new Problems((frame) => parts.kernelOf(frame).input.fields);
    this.parts = parts;
    this.countedTo = record.frame;
    // Both outputs drop the frames that they have.
    this.assembler = new Assembler(this.countedTo, (frame) => parts.kernelOf(frame).ordered);
    this.record = record;
    if (record.outputEnded) this.endOutputs();
  }

  /**
   * A shard cannot be had: frames are done without it. What owners emit is not whole then, so such an output ends where it
   * is, for good; `save` writes the registry, before any checkpoint is beyond that.
   */
  async abandon({ from, to }: StoredShard, save: () => Promise<void>): Promise<void> {
    const { ordered, emits = true, late } = this.parts.kernelOf(Infinity);
    if (!ordered) return;
    if (emits || late) {
      this.record.outputEnded = true;
      await this.writing;
      this.endOutputs();
      await untilDone(save);
    }
    this.emit(this.assembler.abandon(from, to));
  }

  private endOutputs(): void {
    const { outputs, lateOutputs } = this.parts;
    const message = `there is no more output of ${this.record.name}, as a shard is unavailable whose rows would be missing\n${wayOut(this.record.name)}`;
    for (const each of [outputs, lateOutputs]) each.end(new HallelujahError("shard-unavailable", message));
  }

  /** Resolves when the output so far is written. */
  get written(): Promise<void> {
    return this.writing;
  }

  /** Resolves when all output of the frames below `frame` is on disk; a disk that is full is waited for. */
  async outputUpTo(frame: number): Promise<void> {
    if (this.assembler.next < frame)
      await new Promise<void>((goOn) => this.outputWaiters.add({ frame, goOn }));
    await this.writing;
    if (this.failure) throw this.failure.cause;
    const { outputs, lateOutputs, over } = this.parts;
    await Promise.all([outputs, lateOutputs].map((each) => whenRoom(() => each.sync(), over)));
  }

  /** Whether so much output waits to be let go, or to be written, that no more should be made. */
  get isFull(): boolean {
    return this.waitingBytes >= OUTPUT_BYTES_WAITING;
  }

  /** The output of frames from `frame` on is put together, but kept back until it is let go or dropped. */
  keepOutput(frame: number): void {
    this.keptFrom = Math.min(this.keptFrom, frame);
  }

  /** No frame from here on has been put out by any process. */
  get putOutBelow(): number {
    const { outputs, lateOutputs } = this.parts;
    return Math.max(outputs.lastFrame, lateOutputs.lastFrame) + 1;
  }

  /** Whether some of that is of frames below `frame`. */
  keepsBelow(frame: number): boolean {
    return this.keptFrom < frame;
  }

  /** That of the frames below `frame` is let go. */
  letOutputGo(frame = Infinity): void {
    this.keptFrom = frame;
    const kept = this.kept.findIndex((output) => output.frame >= frame);
    for (const output of this.kept.splice(0, kept < 0 ? Infinity : kept)) this.put(output);
  }

  /** The frames from `frame` on come again, and are other ones then: what is known of them is forgotten, and no output is kept back that comes. */
  rewind(frame: number): void {
    this.keptFrom = Infinity;
    const dropped = this.kept.filter((output) => output.frame >= frame);
    this.kept.splice(0, Infinity, ...this.kept.filter((output) => output.frame < frame));
    this.waitingBytes -= dropped.reduce((sum, output) => sum + bytesOf(output), 0); // all Jahs start anew, and are given frames then
    this.assembler.rewind(frame);
  }

  /** A shard's checkpoint is as of `frame`: the output of all frames below was written before it. */
  goOn(frame: number): void {
    this.countedTo = Math.max(this.countedTo, frame);
    this.emit(this.assembler.goOn(frame));
  }

  /** A Jah tells what it has done. */
  did(jah: Jah, { mapped, outputs, next, nextClose }: Extract<FromLiveJah, { type: "did" }>): void {
    const { frames, log, shards } = this.parts;
    const { dispatch } = shards;
    for (const { routing, done, ...shared } of mapped) {
      const again = frames.mapped(done, shared);
      if (again !== undefined) dispatch.again(routing, again);
      if (again === done.frame) continue;
      if (dispatch.mapped(jah.id, routing, done.frame)) {
        this.counts.set(done.frame, { records: done.rows, bad: done.bad });
        if (done.bad) this.problems.mapped(done, frames.shapes.sources[done.source].name);
        this.rates.mapped(done.rows + done.bad, log.bytesFrom(done.frame) - log.bytesFrom(done.frame + 1));
      }
      this.emit(this.assembler.mapped(done.frame, done.emitted, done.emittedRows));
    }
    jah.nextClose = nextClose ?? Infinity;
    for (const output of outputs) this.emit(this.assembler.applied(output));
    dispatch.appliedUpTo(jah.id, next);
    this.count();
  }

  private emit(complete: FrameOutput[]): void {
    for (const waiter of this.outputWaiters) {
      if (waiter.frame > this.assembler.next) continue;
      this.outputWaiters.delete(waiter);
      waiter.goOn();
    }
    for (const output of complete) {
      const { frame, rows, late, lateRows } = output;
      this.counts.set(frame, { late });
      const isOut = frame < (this.record.cut ?? 0); // another version's is there in its place
      if ((!rows && !lateRows) || isOut || this.record.outputEnded) continue;
      this.waitingBytes += bytesOf(output);
      if (output.frame < this.keptFrom) this.put(output);
      else this.kept.push(output);
    }
  }

  private put(output: FrameOutput): void {
    const { frame, rows, bytes, lateRows, lateBytes } = output;
    this.writing = this.writing.then(async () => {
      const { outputs, lateOutputs } = this.parts;
      if (rows) await this.write(outputs, Buffer.concat(bytes), rows, frame);
      if (lateRows) await this.write(lateOutputs, Buffer.concat(lateBytes), lateRows, frame);
      const wasFull = this.isFull;
      this.waitingBytes -= bytesOf(output);
      if (wasFull && !this.isFull) this.parts.onRoom();
    });
  }

  /** Where a frame's output cannot be written, none behind it is: replay takes what is there for whole. */
  private async write(to: Outputs, bytes: Buffer, rows: number, frame: number): Promise<void> {
    if (this.failure) return;
    try {
      await whenRoom(() => to.append(bytes, rows, frame), this.parts.over);
    } catch (cause) {
      this.failure = { cause };
      this.parts.fail(`its output cannot be written: ${messageOf(cause)}`);
    }
  }

  /** What all shards have applied since the last time. */
  private count(): void {
    const { log, shards } = this.parts;
    const { lowest } = shards;
    if (shards.hasVacant || lowest <= this.countedTo) return;
    this.rates.applied(log.bytesFrom(this.countedTo) - log.bytesFrom(lowest));
    this.countedTo = lowest;
  }

  /** Whether somebody waits for frames to be applied, or for shards to be there. */
  get isAwaited(): boolean {
    return this.waiters.size > 0;
  }

  /** Whether every shard has applied all frames below `frame`, within `patienceMs`. */
  reaches(frame: number, patienceMs: number): Promise<boolean> {
    const { shards } = this.parts;
    if (shards.areReady && shards.lowest >= frame) return Promise.resolve(true);
    return new Promise((done) => {
      const end = (reached: boolean) => {
        clearTimeout(timer);
        this.waiters.delete(waiter);
        done(reached);
      };
      const timer = setTimeout(() => end(false), patienceMs).unref();
      const waiter = { frame, goOn: () => end(true), giveUp: () => end(false) };
      this.waiters.add(waiter);
    });
  }

  /** Nothing more is applied: whoever waits is told so. */
  giveUp(): void {
    for (const { giveUp } of this.waiters) giveUp();
    this.waiters.clear();
  }

  /** Something was applied, or a shard is there: whoever waits for that may go on. */
  settle(): void {
    const { areReady, lowest } = this.parts.shards;
    if (!areReady) return;
    for (const waiter of this.waiters) {
      if (waiter.frame > lowest) continue;
      this.waiters.delete(waiter);
      waiter.goOn();
    }
  }
}

function bytesOf({ bytes, lateBytes }: FrameOutput): number {
  return [...bytes, ...lateBytes].reduce((sum, { length }) => sum + length, 0);
}
