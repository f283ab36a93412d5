/**
 * The loop of `dev`: sources that have changed and are at rest again are built and run, and what comes of it is shown. All that
 * it needs of the world it is given, so tests run it on a clock of their own.
 *
 *   resting --touched, other sources--> settling --the same twice--> working --answer or error--> resting
 *                                          ^                            |
 *                                          '---- touched, other sources-'  (the round is stopped, and waited for)
 */
import { HallelujahError } from "../../core/errors.ts";
import type { Result } from "./changes.ts";

/** Sources are taken for whole when they have been the same for so long, ms: editors write in pieces. */
export const SETTLE_MS = 20;
/** The same where the kernel's file is gone: editors remove it before they write the new one. */
export const GONE_MS = 200;

export type Shown =
  | { kind: "working"; round: number }
  /** `before` is the last good one, undefined at first; `ms` from when the change was noticed. */
  | { kind: "answer"; round: number; ms: number; result: Result; before: Result | undefined }
  /** `last` is the last good one, of the round `lastRound`. */
  | {
      kind: "error";
      round: number;
      ms: number;
      message: string;
      last: Result | undefined;
      lastRound: number;
    };

export interface LoopParts<Built> {
  /** The sources as they are now: equal texts, equal sources; undefined where the kernel's file is not there. */
  read(): string | undefined;
  /** Both reject with a HallelujahError where the user can do something, and soon after `signal` is aborted. */
  build(signal: AbortSignal): Promise<Built>;
  rerun(built: Built, signal: AbortSignal): Promise<Result>;
  show(shown: Shown): void;
  /** Calls once after so many ms, unless what it returns is called before. */
  after(ms: number, call: () => void): () => void;
  /** ms from anywhere. */
  now(): number;
}

export class Loop<Built> {
  private readonly parts: LoopParts<Built>;
  /** Sources of the round that is under way, or of the last one; NONE before the first. */
  private current: string | undefined | typeof NONE = NONE;
  /** What they were when they were last read while they settle. */
  private settling: { text: string | undefined; since: number; cancel: () => void } | undefined;
  private stopRound: AbortController | undefined;
  private working: Promise<void> = Promise.resolve();
  private round = 0;
  private good: { result: Result; round: number } | undefined;
  private stopped = false;
  private fail!: (error: unknown) => void;
  /** Rejects if a part fails in a way that is not the user's to mend; else stays as it is. */
  readonly failure: Promise<never>;

  constructor(parts: LoopParts<Built>) {
    this.parts = parts;
    this.failure = new Promise((_, reject) => (this.fail = reject));
    this.failure.catch(() => {});
  }

  /** Begins the first round at once. */
  start(): void {
    this.begin(this.parts.read(), this.parts.now());
  }

  /** The sources may have changed: to be called as often as one likes. */
  touched(): void {
    if (!this.stopped && !this.settling) this.look(this.parts.now());
  }

  /** No more rounds; resolves when the one that is under way has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.settling?.cancel();
    this.settling = undefined;
    this.stopRound?.abort();
    await this.working;
  }

  private look(since: number): void {
    const text = this.parts.read();
    const before = this.settling;
    this.settling = undefined;
    if (text === this.current) return; // a file beside them, or the same text once more
    if (before && before.text === text) return this.begin(text, since);
    const ms = text === undefined ? GONE_MS : SETTLE_MS;
    this.settling = { text, since, cancel: this.parts.after(ms, () => this.look(since)) };
  }

  private begin(text: string | undefined, since: number): void {
    this.current = text;
    this.stopRound?.abort();
    const stop = new AbortController();
    this.stopRound = stop;
    // One after the other: what is stopped may still have processes, or a swap that the host is at.
    this.working = this.working.then(() => (stop.signal.aborted ? undefined : this.work(stop.signal, since)));
  }

  private async work(signal: AbortSignal, since: number): Promise<void> {
    const { build, rerun, show, now } = this.parts;
    const round = ++this.round;
    try {
      show({ kind: "working", round });
      const result = await rerun(await build(signal), signal);
      if (signal.aborted) return;
      show({ kind: "answer", round, ms: now() - since, result, before: this.good?.result });
      this.good = { result, round };
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof HallelujahError)) return this.fail(error);
      const last = { last: this.good?.result, lastRound: this.good?.round ?? 0 };
      show({ kind: "error", round, ms: now() - since, message: error.message, ...last });
    }
  }
}

const NONE = Symbol("none");
