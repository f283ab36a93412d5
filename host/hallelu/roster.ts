/** The streams of a host by their names, and which names are being deployed, changed or removed. */
import { HallelujahError, nearest } from "../core/errors.ts";
import type { Running } from "./running.ts";
import type { Stream } from "./stream.ts";

/** Time for which it is said of a stream that it has moved, ms: all know by then where to. */
const MOVED_MS = 10_000;

export class Roster {
  private readonly running = new Map<string, Running>();
  /** Names that are being deployed or removed. */
  private readonly changing = new Set<string>();
  /** Names whose streams are about to be opened here, and why they are not yet. */
  private readonly awaited = new Map<string, string>();
  /** Names of streams that other hosts have taken over from this one, and when, ms: who was on the way here asks again. */
  private readonly moved = new Map<string, number>();
  private readonly changed: () => void;

  /** `changed` hears of streams that came or went. */
  constructor(changed: () => void) {
    this.changed = changed;
  }

  get size(): number {
    return this.running.size;
  }

  /** In the order in which they came. */
  [Symbol.iterator](): Iterator<Running> {
    return this.running.values();
  }

  get all(): Running[] {
    return [...this];
  }

  get(name: string): Running | undefined {
    return this.running.get(name);
  }

  /** Throws `stream-unknown`, `stream-opening` if it is about to be opened, or `stream-moved` if it just was here. */
  find(name: string): Running {
    const found = this.running.get(name);
    if (found) return found;
    this.refuseIfAwaited(name);
    if (performance.now() - (this.moved.get(name) ?? -Infinity) < MOVED_MS)
      throw new HallelujahError("stream-moved", `another host has taken ${name} over; ask again`);
    const meant = nearest(name, this.running.keys());
    const hint = meant ? `; did you mean ${meant}?` : "; hallelujah ps lists them";
    throw new HallelujahError(
      "stream-unknown",
      `there is no stream ${JSON.stringify(name.slice(0, 80))}${hint}`,
    );
  }

  /** A stream that may have Jahs. Throws `stream-unknown`, `stream-stopped` or `stream-paused`. */
  awake(name: string): Stream {
    const { stream } = this.find(name);
    const { max, paused } = stream.record;
    if (stream.error === undefined && max === 0) {
      const message = `${name} is stopped; let it go on first: hallelujah capacity ${name} 1`;
      throw new HallelujahError("stream-stopped", message);
    }
    if (stream.error === undefined && paused) {
      const message = `${name} is paused; let it go on first: hallelujah resume ${name}`;
      throw new HallelujahError("stream-paused", message);
    }
    return stream;
  }

  /** Whether it is still the one of its name. */
  has(running: Running): boolean {
    return this.running.get(running.stream.record.name) === running;
  }

  add(running: Running): void {
    this.running.set(running.stream.record.name, running);
    this.moved.delete(running.stream.record.name);
    this.changed();
  }

  /** Another host has taken a stream over. */
  letGo(name: string): void {
    this.moved.set(name, performance.now());
    this.delete(name);
  }

  delete(name: string): void {
    this.running.delete(name);
    this.changed();
  }

  /** Whoever asks for a stream is told that it is about to be opened; or, without `why`, that it is not. */
  await(name: string, why: string | undefined): void {
    if (why === undefined) this.awaited.delete(name);
    else this.awaited.set(name, why);
  }

  /** Throws `stream-opening`. */
  refuseIfAwaited(name: string): void {
    const why = this.awaited.get(name);
    if (why === undefined) return;
    const message = `${name} is about to be opened here: ${why}; try again in a moment`;
    throw new HallelujahError("stream-opening", message);
  }

  isChanging(name: string): boolean {
    return this.changing.has(name);
  }

  /** Throws `stream-exists` while somebody else changes what has this name. */
  refuseIfChanging(name: string): void {
    if (!this.changing.has(name)) return;
    const message = `${name} is being deployed, swapped or removed right now; try again`;
    throw new HallelujahError("stream-exists", message);
  }

  /** Does something with a stream, which nobody else deploys, swaps or reprocesses meanwhile. */
  async change<T>(name: string, work: () => Promise<T>): Promise<T> {
    this.changing.add(name);
    try {
      return await work();
    } finally {
      this.changing.delete(name);
    }
  }
}
