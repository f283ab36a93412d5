/**
 * Whether this host can be sure that it leads its streams: as long as its Congregation beats, nobody takes it for lost (substrate/liveness.ts). A
 * process that was paused finds that out by the clock, before it has heard anything: then it asks before it answers, once for each stream.
 */
import { HallelujahError } from "../core/errors.ts";
import { machineMs } from "../core/machine-clock.ts";
import { within } from "../core/promises.ts";

/** Time that the cluster has to answer, ms; and the time for which it is not asked again where it did not. */
const CONFIRM_MS = 1_000;

export class Lease {
  /** How often it was not held for a while: what was led before such a time may be another's since. */
  private lapses = 0;
  /** By the machine's clock, ms. */
  private until = Infinity;
  private silentUntil = 0;
  /** Streams of which it is known that this host leads them, since the last lapse. */
  private readonly sure = new WeakMap<object, number>();

  /** No other host has taken this one for lost before `until`. */
  held(until: number): void {
    if (!this.isHeld) this.lapses++;
    this.until = until;
    this.silentUntil = 0;
  }

  private get isHeld(): boolean {
    return machineMs() < this.until;
  }

  /** Whether nobody else can lead a stream. */
  isSureOf(stream: object): boolean {
    return this.isHeld && this.sure.get(stream) === this.lapses;
  }

  /**
   * To be asked when it is not sure; `confirm` writes to the cluster what the leader of a stream alone can write. Resolves with the time since
   * the lease was held, in whole seconds, from 1 on, if the cluster does not answer; else with 0. Rejects as `confirm` does if the stream has moved.
   */
  async doubted(stream: object, confirm: () => Promise<void>): Promise<number> {
    const { lapses } = this;
    if (machineMs() > this.silentUntil && (await isConfirmed(confirm))) {
      this.sure.set(stream, lapses);
      return 0;
    }
    this.silentUntil = machineMs() + CONFIRM_MS;
    return Math.max(1, Math.ceil((machineMs() - this.until) / 1000));
  }
}

async function isConfirmed(confirm: () => Promise<void>): Promise<boolean> {
  try {
    const answered = confirm().then(() => true);
    return (await within(answered, CONFIRM_MS)) ?? false;
  } catch (error) {
    if ((error as HallelujahError).code === "stream-moved") throw error;
    return false;
  }
}
