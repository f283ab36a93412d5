/**
 * A shard's state to disk while work goes on. A checkpoint is the pages that changed since the last one, as they are between two
 * frames; they are copied out at once as far as the copies may take memory, and applying waits only for what is beyond that.
 * The store's thread writes them. When all are written the Hallelu is told, who says when the checkpoint may be made
 * durable: it must not remember frames whose output could still be lost.
 */
import { CHECKPOINT_COPY_BYTES, PAGES_WRITE_BYTES } from "../core/limits.ts";
import type { KernelInstance } from "../kernel/instance.ts";
import { clearDirty, copyPages, dirtyPages, markDirty, PAGE_BYTES, pagesEnd } from "../kernel/pages.ts";
import type { PageStore } from "../store/page-store.ts";
import type { FromLiveJah, Standing } from "../wire/live.ts";
import { failureOf } from "./failure.ts";

/** How much is copied out at a time: bytes that are not written yet, and pages that are handed to the store in one batch. */
export interface Portions {
  copyBytes: number;
  batchPages: number;
}

const PORTIONS: Portions = { copyBytes: CHECKPOINT_COPY_BYTES, batchPages: PAGES_WRITE_BYTES / PAGE_BYTES };

/** Pause until a store that cannot be written is asked again to forget, ms. */
const ABANDON_AGAIN_MS = 1_000;

/** What a checkpoint says beside its pages; kept as JSON. */
export interface Meta {
  /** Version of the arena's layout. */
  abi: number;
  /** The version of the kernel whose state it is; older checkpoints do not say. */
  version?: number;
  /** The address behind the last byte of the arena. */
  end: number;
  /** The lowest frame that is not in it. */
  frame: number;
  /** Its partitions, [from, to). */
  from: number;
  to: number;
  /** Where the last frame of each source ended. */
  places: [number, number][];
  standing: Standing;
}

/** The Jah, as far as this needs it. */
export interface Checkpointed {
  kernel(): Pick<KernelInstance, "memory" | "arenaEnd">;
  /** What is to be remembered of this moment. */
  meta(): Omit<Meta, "standing">;
  tell(message: FromLiveJah): void;
  /** Applying may go on. */
  wake(): void;
}

/** How far a state is: frames, and partitions that came or went. */
interface Moment {
  frame: number;
  moves: number;
}

interface Making extends Moment {
  meta: Omit<Meta, "standing">;
  pages: readonly number[];
  /** Pages that are copied out, and bytes of those that are not written yet. */
  copied: number;
  inFlight: number;
  startedAt: number;
  bytes: number;
}

export class Checkpointer {
  private readonly store: PageStore;
  private readonly jah: Checkpointed;
  private readonly portions: Portions;
  private making: Making | undefined;
  /** The frame of the last checkpoint that is durable, and of the one before it. */
  private saved: Moment | undefined;
  /** Whether a checkpoint is wanted that is not begun yet. */
  wanted = false;
  /** Whether the store still has to forget what could not be saved. */
  private abandoning = false;
  /** Buffers that came back from the store. */
  private readonly used: ArrayBuffer[] = [];
  private moves = 0;
  private waiters: (Moment & { done: () => void; fail: (error: unknown) => void })[] = [];

  /** `saved` is the frame of the checkpoint that the state was read back from. */
  constructor(store: PageStore, saved: number | undefined, jah: Checkpointed, portions: Portions = PORTIONS) {
    this.store = store;
    this.jah = jah;
    this.portions = portions;
    if (saved !== undefined) this.saved = { frame: saved, moves: 0 };
  }

  /** Partitions came or went: what was saved of the same frame is of another state. */
  moved(): void {
    this.moves++;
  }

  /** Whether nothing may be applied now, as pages of the moment are still to be copied. */
  get blocks(): boolean {
    return this.making !== undefined && this.making.copied < this.making.pages.length;
  }

  /** Begins a checkpoint of this moment if one is wanted; to be called between frames, with no state on its way from or to another Jah. */
  begin(): void {
    if (!this.wanted || this.making || this.abandoning) return;
    this.wanted = false;
    const { memory, arenaEnd } = this.jah.kernel();
    const pages = dirtyPages(memory, arenaEnd);
    clearDirty(memory);
    const startedAt = performance.now();
    const meta = this.jah.meta();
    const { frame } = meta;
    this.making = {
      meta,
      frame,
      moves: this.moves,
      pages,
      copied: 0,
      inFlight: 0,
      startedAt,
      bytes: 0,
    };
    this.goOn(this.making);
  }

  /** Copies pages out, as far as they may take memory; when all are written, says so. */
  private goOn(making: Making): void {
    const { pages } = making;
    const { copyBytes, batchPages } = this.portions;
    while (making.copied < pages.length && making.inFlight < copyBytes) {
      const batch = pages.slice(making.copied, making.copied + batchPages);
      const bytes = copyPages(this.jah.kernel().memory, batch, this.used.pop());
      making.copied += batch.length;
      making.inFlight += bytes.byteLength;
      making.bytes += bytes.byteLength;
      const size = bytes.byteLength;
      this.store.write(Uint32Array.from(batch), bytes).then(
        (used) => {
          this.used.push(used);
          this.written(making, size);
        },
        (error: unknown) => this.failed(making, error),
      );
    }
    if (this.blocks) return;
    this.jah.wake();
    if (!making.inFlight) this.jah.tell({ type: "prepared", frame: making.frame });
  }

  private written(making: Making, bytes: number): void {
    if (this.making !== making) return;
    making.inFlight -= bytes;
    this.goOn(making);
  }

  /** The Hallelu allows it: the checkpoint is made durable. */
  commit(standing: Standing): void {
    const { making } = this;
    if (!making) return;
    const { frame, moves, meta } = making;
    this.store.commit({ ...meta, standing } satisfies Meta, pagesEnd(meta.end)).then(
      () => {
        const ms = performance.now() - making.startedAt;
        this.making = undefined;
        const before = this.saved && { before: this.saved.frame };
        this.saved = { frame, moves };
        this.used.length = 0;
        this.jah.tell({ type: "saved", frame, ...before, bytes: making.bytes, ms });
        this.answer();
      },
      (error: unknown) => this.failed(making, error),
    );
  }

  /** What was copied counts as changed again; those who wait are told. */
  private failed(making: Making, error: unknown): void {
    if (this.making !== making) return;
    this.making = undefined;
    const { memory } = this.jah.kernel();
    for (const page of making.pages) markDirty(memory, page * PAGE_BYTES, PAGE_BYTES);
    this.jah.tell({ type: "unsaved", failure: failureOf(error) });
    for (const { fail } of this.waiters.splice(0)) fail(error);
    this.jah.wake();
    void this.abandon();
  }

  /** Has the store forget what was written of it, as soon as it can. */
  private async abandon(): Promise<void> {
    this.abandoning = true;
    while (this.abandoning) {
      try {
        await this.store.abandon();
        this.abandoning = false;
      } catch {
        await new Promise((done) => setTimeout(done, ABANDON_AGAIN_MS));
      }
    }
    this.jah.wake();
  }

  /** Resolves when a checkpoint is durable that holds all frames below `frame`; the state must be there. */
  save(frame: number): Promise<void> {
    const { moves } = this;
    if (this.isSaved({ frame, moves })) return Promise.resolve();
    this.wanted = true;
    return new Promise((done, fail) => {
      this.waiters.push({ frame, moves, done, fail });
      this.jah.wake();
    });
  }

  private answer(): void {
    this.waiters = this.waiters.filter((waiter) => {
      if (!this.isSaved(waiter)) return true;
      waiter.done();
      return false;
    });
    this.wanted ||= this.waiters.length > 0;
    this.jah.wake();
  }

  private isSaved({ frame, moves }: Moment): boolean {
    return this.saved !== undefined && this.saved.frame >= frame && this.saved.moves >= moves;
  }

  /** Resolves when the store is closed; what was not committed is forgotten. */
  close(): Promise<void> {
    this.making = undefined;
    this.abandoning = false;
    return this.store.close();
  }
}
