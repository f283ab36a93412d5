/** Stores whose RocksDB lives in another thread (`pages-main.ts`), seen from the thread that has the pages. */
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { HallelujahError } from "../core/errors.ts";
import { PAGE_BYTES } from "../core/limits.ts";
import { packageRoot } from "../core/package-root.ts";
import type { Checkpoint, ReplicatedStore } from "./page-store.ts";
import type { PagesError, PagesMessage, PagesReply, PagesRequest } from "./pages-main.ts";
import type { ReplicaEvent } from "./replica.ts";

/**
 * The thread of this process. There is one for all stores and for good: the binary of `rocksdb` 5.2.1 cannot be loaded a second
 * time once the thread that had it is gone. It does not keep the process alive while no store waits for it.
 */
class PagesThread {
  private readonly worker: Worker;
  private readonly stores = new Map<number, ThreadPages>();
  private opened = 0;

  constructor() {
    this.worker = new Worker(join(packageRoot, "dist", "store", "pages.js"), {
      // Not those of the process: a loader for TypeScript costs 200 ms.
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    this.worker.on("message", (reply: PagesReply) => this.stores.get(reply.store)!.receive(reply));
    this.worker.on("error", (error) => this.end(`the thread of its store failed: ${error.message}`));
    this.worker.on("exit", () => this.end("the thread of its store ended"));
    this.worker.unref();
  }

  add(store: ThreadPages): number {
    this.stores.set(++this.opened, store);
    return this.opened;
  }

  remove(id: number): void {
    this.stores.delete(id);
  }

  post(message: PagesMessage, transfer: ArrayBuffer[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  /** Keeps the process alive while any store waits for an answer. */
  hold(): void {
    if ([...this.stores.values()].some((store) => store.waits)) this.worker.ref();
    else this.worker.unref();
  }

  private end(why: string): void {
    thread = undefined;
    for (const store of this.stores.values()) store.end(why);
  }
}

let thread: PagesThread | undefined;

/** Starts the thread and loads RocksDB in it, so that the first store opens sooner. */
export function preparePages(): void {
  thread ??= new PagesThread();
}

interface Waiting {
  done: (value: unknown) => void;
  fail: (error: unknown) => void;
  /** Where the pages go that come before the answer. */
  take: ((page: number, bytes: Uint8Array) => void) | undefined;
  /** What `take` threw. */
  thrown?: unknown;
}

/** A store, see `PageStore`. */
export class ThreadPages implements ReplicatedStore {
  checkpoints: readonly Checkpoint[] = [];
  damage: HallelujahError | undefined;
  private readonly id: number;
  /** Requests that are not answered, in order. */
  private readonly waiting: Waiting[] = [];
  private ended: HallelujahError | undefined;
  private onReplica: (event: ReplicaEvent) => void = () => {};

  private constructor(
    private readonly thread: PagesThread,
    private readonly folder: string,
  ) {
    this.id = thread.add(this);
  }

  /** See `openPages`. */
  static async open(folder: string): Promise<ThreadPages> {
    preparePages();
    const store = new ThreadPages(thread!, folder);
    try {
      await store.ask({ call: "open", folder });
      return store;
    } catch (error) {
      store.thread.remove(store.id);
      throw error;
    }
  }

  get waits(): boolean {
    return this.waiting.length > 0;
  }

  async restore(number: number, take: (page: number, bytes: Uint8Array) => void): Promise<void> {
    await this.ask({ call: "restore", number }, [], take);
  }

  write(pages: Uint32Array, bytes: ArrayBuffer): Promise<ArrayBuffer> {
    return this.ask({ call: "write", pages, bytes }, [bytes]) as Promise<ArrayBuffer>;
  }

  commit(meta: unknown, end?: number): Promise<number> {
    return this.ask({ call: "commit", meta, end }) as Promise<number>;
  }

  abandon(): Promise<Uint32Array> {
    return this.ask({ call: "abandon" }) as Promise<Uint32Array>;
  }

  replicate(module: string, target: unknown, told: (event: ReplicaEvent) => void): void {
    if (this.ended) throw this.ended;
    this.onReplica = told;
    this.thread.post({ call: "replicate", store: this.id, module, target });
  }

  async close(): Promise<void> {
    if (this.ended) return;
    const closed = this.ask({ call: "close" });
    this.ended = this.unusable("it is closed");
    await closed.finally(() => this.thread.remove(this.id));
  }

  /** What the thread says. */
  receive(reply: PagesReply): void {
    if (reply.kind === "pages") return this.take(this.waiting[0], reply.pages, reply.bytes);
    if (reply.kind === "replica") return this.onReplica(reply.event);
    const { done, fail, thrown } = this.waiting.shift()!;
    this.thread.hold();
    if (reply.kind === "failed") return fail(revived(reply.error));
    this.checkpoints = reply.checkpoints;
    this.damage = reply.damage && (revived(reply.damage) as HallelujahError);
    if (thrown !== undefined) fail(thrown);
    else done(reply.value);
  }

  /** The thread is gone. */
  end(why: string): void {
    this.ended ??= this.unusable(why);
    for (const { fail } of this.waiting.splice(0)) fail(this.ended);
  }

  private ask(request: PagesRequest, transfer: ArrayBuffer[] = [], take?: Waiting["take"]): Promise<unknown> {
    return new Promise((done, fail) => {
      if (this.ended) throw this.ended;
      this.thread.post({ ...request, store: this.id }, transfer);
      this.waiting.push({ done, fail, take });
      this.thread.hold();
    });
  }

  private take(waiting: Waiting, pages: Uint32Array, bytes: ArrayBuffer): void {
    try {
      if (waiting.thrown === undefined)
        pages.forEach((page, i) => waiting.take!(page, new Uint8Array(bytes, i * PAGE_BYTES, PAGE_BYTES)));
    } catch (error) {
      waiting.thrown = error;
    }
    this.thread.post({ call: "taken", store: this.id, bytes }, [bytes]);
  }

  private unusable(why: string): HallelujahError {
    return new HallelujahError("store-unwritable", `${this.folder} cannot be used: ${why}`);
  }
}

function revived({ code, message }: PagesError): Error {
  return code ? new HallelujahError(code, message) : new TypeError(message);
}
