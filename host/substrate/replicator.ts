/**
 * Takes the checkpoints of a shard's store to the cluster: the newest, then the one that is the newest when that is done. The one that is on its way is pinned
 * in the store; it is let go when the cluster does not answer for too long, and the newest is begun anew when it does. What was sent by then need not be sent again.
 */
import { Backoff } from "../core/backoff.ts";
import { HallelujahError, messageOf } from "../core/errors.ts";
import { PAGES_MAX } from "../core/limits.ts";
import type { PinnedCheckpoint, Pinnable, Replica, ReplicaEvent } from "../store/replica.ts";
import { hashOf } from "./blobs.ts";
import { ZERO_PAGE } from "./manifest.ts";
import type { Snapshots } from "./snapshots.ts";

/** Pages that are read at once: the store's owner waits no longer for its turn. */
const READ_PAGES = 16;
const RETRY_MS = 100;
const RETRY_MS_MAX = 5_000;
/** What no further try would change. */
const FINAL = ["stream-moved", "cluster-lost", "cluster-foreign", "snapshot-damaged", "snapshot-version"];

export interface ReplicatorParts {
  store: Pinnable;
  /** Takes the snapshots over; called again if it rejects. */
  claim: () => Promise<Snapshots>;
  /** Resolves when the cluster can be reached, or a while is over. */
  up: () => Promise<void>;
  tell: (event: ReplicaEvent) => void;
  /** What is under way with the cluster fails at once. */
  stop: () => void;
}

export class Replicator implements Replica {
  private readonly parts: ReplicatorParts;
  private readonly closing = new AbortController();
  private readonly running: Promise<void>;
  private snapshots: Snapshots | undefined;
  /** The checkpoint that was taken last. */
  private taken = 0;
  /** Of each page the checkpoint under which it lay when its hash was found; 0 if that is not known. */
  private readonly versions = new Uint32Array(PAGES_MAX);
  private readonly hashes: (string | undefined)[] = [];
  private failed: string | undefined;
  private onWake: () => void = () => {};

  constructor(parts: ReplicatorParts) {
    this.parts = parts;
    this.running = this.run();
  }

  wake(): void {
    this.onWake();
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.parts.stop();
    this.onWake();
    await this.running;
  }

  private async run(): Promise<void> {
    const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
    while (!this.closing.signal.aborted) {
      try {
        this.snapshots ??= await this.unlessClosed(this.parts.claim());
        await this.next(this.snapshots);
        backoff.reset();
        this.failed = undefined;
      } catch (error) {
        if (this.closing.signal.aborted || this.isOver(error)) return;
        await backoff.pause(this.closing.signal);
        await this.unlessClosed(this.parts.up()).catch(() => {});
      }
    }
  }

  /** What opens a connection cannot be stopped, and need not be waited for. */
  private unlessClosed<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.closing;
    const closed = new Promise<never>((_, fail) => {
      const end = () => fail(new Error("it is closed"));
      if (signal.aborted) end();
      signal.addEventListener("abort", end, { once: true });
    });
    return Promise.race([work, closed]);
  }

  /** Tells what went wrong, once; whether it is for good. */
  private isOver(error: unknown): boolean {
    const code = error instanceof HallelujahError ? error.code : "";
    if (code === "pin-ended") return false;
    const isOver = FINAL.includes(code) || !code;
    if (isOver || code !== this.failed)
      this.parts.tell({ kind: "failed", code, message: messageOf(error), isOver });
    this.failed = code;
    return isOver;
  }

  /** Takes the next checkpoint, when there is one. */
  private async next(snapshots: Snapshots): Promise<void> {
    const pin = this.parts.store.pin();
    if (pin && pin.number !== this.taken) {
      try {
        await this.take(pin, snapshots);
      } finally {
        pin.release();
      }
    } else {
      pin?.release();
      if (this.closing.signal.aborted) return;
      await new Promise<void>((done) => (this.onWake = done));
    }
  }

  private async take(pin: PinnedCheckpoint, snapshots: Snapshots): Promise<void> {
    const startedAt = performance.now();
    const sentBefore = snapshots.blobs.sentBytes;
    const { frame } = pin.meta as { frame: number };
    await this.putPages(pin, snapshots);
    await snapshots.save(frame, pin.meta, tableOf(pin.versions, this.hashes));
    this.taken = pin.number;
    const bytes = snapshots.blobs.sentBytes - sentBefore;
    const before = snapshots.standing[1]?.entry.frame;
    const ms = performance.now() - startedAt;
    this.parts.tell({ kind: "replicated", frame, before, bytes, ms, meta: pin.meta });
  }

  /** Stores the pages that are not there yet. All that was begun has ended when it resolves, or rejects. */
  private async putPages(pin: PinnedCheckpoint, { blobs }: Snapshots): Promise<void> {
    const puts: Promise<unknown>[] = [];
    let failure: unknown;
    for (const pages of portions(this.lacking(pin.versions, (hash) => blobs.has(hash)))) {
      await blobs.room();
      if (failure !== undefined || this.closing.signal.aborted) break;
      for (const { page, bytes } of await pin.read(pages)) {
        const hash = hashOf(bytes);
        this.versions[page] = pin.versions[page];
        this.hashes[page] = hash === ZERO_PAGE ? undefined : hash;
        if (hash !== ZERO_PAGE)
          puts.push(blobs.put(bytes, hash).catch((error: unknown) => (failure ??= error)));
      }
    }
    await Promise.all(puts);
    if (failure !== undefined) throw failure;
    if (this.closing.signal.aborted) throw new HallelujahError("cluster-unreachable", "it is closed");
  }

  /** Pages whose content is not known, or not known to be in the cluster. */
  private *lacking(versions: Uint32Array, isThere: (hash: string) => boolean): Generator<number> {
    for (const [page, version] of versions.entries()) {
      if (!version) continue;
      const hash = this.versions[page] === version ? this.hashes[page] : "";
      if (hash !== undefined && !isThere(hash)) yield page;
    }
  }
}

function tableOf(versions: Uint32Array, hashes: readonly (string | undefined)[]): (string | undefined)[] {
  const end = versions.findLastIndex((version) => version > 0) + 1;
  return Array.from(versions.subarray(0, end), (version, page) => (version ? hashes[page] : undefined));
}

function* portions(pages: Iterable<number>): Generator<number[]> {
  let portion: number[] = [];
  for (const page of pages) {
    portion.push(page);
    if (portion.length < READ_PAGES) continue;
    yield portion;
    portion = [];
  }
  if (portion.length) yield portion;
}
