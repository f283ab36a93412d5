/**
 * A Jah at work: frames are mapped and their entries routed to the owners of their partitions; entries that arrive for
 * this Jah's own partitions are applied in frame order. Applying goes before mapping. The event loop turns between
 * frames, so that peers and the main job are heard.
 */
import { HallelujahError } from "../core/errors.ts";
import { INBOX_BYTES, RUN_FRAMES } from "../core/limits.ts";
import type { FieldWish } from "../kernel/columns.ts";
import { createMemory, KernelInstance } from "../kernel/instance.ts";
import * as map from "../kernel/memory-map.ts";
import { Peers } from "../shuffle/peers.ts";
import { type Batch, decodeBatch, encodeBatch, RANGE, ROUTED } from "../wire/batch.ts";
import type { FrameDone, FrameTask, FromJah, OwnerOutput, StartMessage } from "../wire/jah.ts";
import { openClocks } from "./clocks.ts";
import { failureOf } from "./failure.ts";
import { Inbox } from "./inbox.ts";
import { Mapper } from "./mapper.ts";
import { Owner } from "./owner.ts";
import { Results } from "./results.ts";

/** Time after which the main job is told which frame is in work, ms. */
const SLOW_MS = 200;

export class Pipeline {
  readonly peers: Peers;
  readonly results: Results;
  /** The frame that the kernel is at; read from outside by whoever stops one that never returns. */
  frame: number | undefined;
  /** The frame that is being mapped. */
  private current: FrameTask | undefined;
  private kernel: KernelInstance;
  private readonly module: WebAssembly.Module;
  private readonly memory: WebAssembly.Memory;
  private readonly mapper: Mapper;
  private readonly owner: Owner;
  private readonly inbox = new Inbox();
  private readonly job: StartMessage;
  private readonly tell: (message: FromJah) => void;
  private readonly tasks: FrameTask[] = [];
  private done: FrameDone[] = [];
  private outputs: OwnerOutput[] = [];
  /** Fields seen in the frames that are to be told of; the kernel knows those of its last frame. */
  private fieldsSeen = 0n;
  private lastMapped: { frame: number; source: number; end: number } | undefined;
  private lastTold = performance.now();
  private appliedTold = 0;
  private running = false;
  private failed = false;

  constructor(module: WebAssembly.Module, job: StartMessage, tell: (message: FromJah) => void) {
    this.module = module;
    this.job = job;
    this.tell = tell;
    this.memory = createMemory(job.stateBytesMax);
    this.kernel = this.instantiate();
    this.mapper = new Mapper(this.kernel, job.sources, job.jahs, job.columns as FieldWish[], job.frameBytes);
    this.owner = new Owner(this.kernel);
    openClocks(
      this.kernel,
      Array.from({ length: job.clocks }, (_, clock) => clock),
    );
    this.peers = new Peers(
      job,
      () => this.wake(),
      (error) => this.fail(error),
    );
    this.results = new Results(this.kernel, this.peers, job);
  }

  private instantiate(): KernelInstance {
    const kernel = new KernelInstance(this.module, this.memory);
    kernel.exports.start(this.job.format, this.job.delimiter);
    return kernel;
  }

  /** Serves this Jah's socket; its port, or 0 as there is none to serve for a lone Jah. */
  async listen(): Promise<number> {
    return this.job.jahs > 1 ? this.peers.listen((batch) => this.receive(batch)) : 0;
  }

  /** Takes on frames to be mapped, in this order. */
  take(frames: FrameTask[]): void {
    this.tasks.push(...frames);
    this.wake();
  }

  private receive(batch: Batch): boolean {
    if (batch.kind === RANGE) {
      this.results.receive(batch);
      return true;
    }
    this.inbox.add(batch);
    this.wake();
    return this.inbox.bytes < INBOX_BYTES;
  }

  private wake(): void {
    if (this.running || this.failed) return;
    this.running = true;
    setImmediate(() => void this.work());
  }

  private async work(): Promise<void> {
    try {
      const applied = this.applyReady();
      const task = this.peers.full ? undefined : this.tasks.shift();
      if (task) await this.mapFrame(task);
      this.running = false;
      if (applied || task) this.wake();
      else this.tellApplied();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Applies what is next in frame order; whether there was any. */
  private applyReady(): boolean {
    let batch = this.inbox.take();
    if (!batch) {
      this.peers.release(); // the frame that is lacking may be what was held back
      return false;
    }
    for (let i = 0; batch; i++) {
      this.apply(batch);
      if (i === RUN_FRAMES) break;
      batch = this.inbox.take();
    }
    if (this.inbox.bytes < INBOX_BYTES) this.peers.release();
    // Usually the next frames that are done tell it, too.
    if (this.inbox.next - this.appliedTold >= 2 * RUN_FRAMES) this.tellApplied();
    return true;
  }

  private apply(batch: Batch): void {
    this.enter(batch.frame);
    const applied = this.owner.apply(batch);
    this.frame = undefined;
    if (!applied) return;
    const { jah, jahs } = this.job;
    // The inverse of how partitions are shared out (Mapper).
    const first = (owner: number) => Math.ceil((owner * 256) / jahs);
    this.outputs.push({ frame: batch.frame, from: first(jah), to: first(jah + 1), ...applied });
  }

  /** The kernel begins with a frame. */
  private enter(frame: number): void {
    this.frame = frame;
    if (performance.now() - this.lastTold < SLOW_MS) return;
    this.tell({ type: "at", frame });
    this.lastTold = performance.now();
  }

  private async mapFrame(task: FrameTask): Promise<void> {
    this.enter(task.frame);
    if (this.job.freshInstances) {
      this.kernel = this.instantiate();
      this.mapper.use(this.kernel);
      this.owner.use(this.kernel);
    }
    this.current = task;
    const last = this.lastMapped;
    const follows = last && last.frame + 1 === task.frame && last.source === task.source;
    const exact = task.kind === "range" && task.start === undefined && follows ? last.end : undefined;
    const { done, parts } = await this.mapper.map(task, exact);
    this.current = undefined;
    this.frame = undefined;
    this.fieldsSeen |= this.kernel.u64(map.FIELDS_SEEN);
    this.lastMapped = { frame: done.frame, source: done.source, end: done.end };
    const { frame, source, start, end } = done;
    const head = { kind: ROUTED, frame, source, start, end, ...this.timeOf(task, done) };
    for (let owner = 0; owner < this.job.jahs; owner++) {
      const batch = encodeBatch(head, parts[owner]);
      if (owner === this.job.jah) this.inbox.add(decodeBatch(batch));
      else this.peers.send(owner, batch);
    }
    this.done.push(done);
    if (!this.tasks.length || this.done.length >= RUN_FRAMES) this.tellDone();
  }

  /**
   * What a frame says of event time. Sources beyond the number of clocks share the last one, which stands still until all of
   * them have ended.
   */
  private timeOf(task: FrameTask, done: FrameDone): { clock: number; time: number } {
    const { clocks, sources } = this.job;
    if (!clocks) return { clock: 0, time: -Infinity };
    const source = task.kind === "time" ? task.ended : task.source;
    const clock = Math.min(source, clocks - 1);
    const shared = sources.length > clocks && clock === clocks - 1;
    const stands = shared && !(task.kind === "time" && source === sources.length - 1);
    return { clock, time: stands ? -Infinity : done.time };
  }

  private tellDone(): void {
    const { done, outputs, fieldsSeen } = this;
    this.tell({ type: "done", frames: done, outputs, applied: this.inbox.next, fieldsSeen });
    this.done = [];
    this.outputs = [];
    this.fieldsSeen = 0n;
    this.appliedTold = this.inbox.next;
    this.lastTold = performance.now();
  }

  private tellApplied(): void {
    if (this.inbox.next === this.appliedTold) return;
    this.appliedTold = this.inbox.next;
    this.tell({ type: "applied", outputs: this.outputs, applied: this.inbox.next });
    this.outputs = [];
  }

  fail(error: unknown): void {
    if (this.failed) return;
    this.failed = true;
    const task = this.current;
    const source = task && this.job.sources[task.source];
    if (error instanceof HallelujahError && !task)
      return this.tell({ type: "failed", failure: failureOf(error) });
    this.tell({ type: "failed", failure: failureOf(error, this.kernel, task, source, this.job.frameBytes) });
  }
}
