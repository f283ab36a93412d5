/** Pauses between tries of what fails: each up to twice as long as the one before, with jitter, so that several do not come back at once. */
import { setTimeout as sleep } from "node:timers/promises";

export class Backoff {
  private readonly leastMs: number;
  private readonly mostMs: number;
  private nextMs: number;

  constructor(leastMs: number, mostMs: number) {
    this.leastMs = leastMs;
    this.mostMs = mostMs;
    this.nextMs = leastMs;
  }

  /** It went well: the next pause is the shortest again. */
  reset(): void {
    this.nextMs = this.leastMs;
  }

  /** Resolves after the next pause, which is `askedMs` at least as far as the bound allows; or when `signal` is aborted. */
  async pause(signal: AbortSignal, askedMs = 0): Promise<void> {
    const ms = Math.max(Math.min(askedMs, this.mostMs), this.nextMs * (0.5 + Math.random() / 2));
    this.nextMs = Math.min(this.nextMs * 2, this.mostMs);
    await sleep(ms, undefined, { signal }).catch(() => {});
  }
}
