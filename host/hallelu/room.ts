/** What has to be written, to a disk that may be full for a while, or a cluster that may be away. */
import { Backoff } from "../core/backoff.ts";
import { isPassing } from "../core/errors.ts";
import { ROOM_RETRY_MS, ROOM_RETRY_MS_MAX } from "../core/limits.ts";

/**
 * Does `work`, again and again as long as there is no room for it, or no cluster; `isFull` hears of each time, with why, and of the end, without. `work` must have
 * changed nothing when it rejects. Rejects as it does otherwise, also for that once `signal` is aborted.
 */
export async function whenRoom<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  isFull: (why: unknown) => void = () => {},
): Promise<T> {
  const backoff = new Backoff(ROOM_RETRY_MS, ROOM_RETRY_MS_MAX);
  for (let waited = false; ; waited = true) {
    try {
      const result = await work();
      if (waited) isFull(undefined);
      return result;
    } catch (error) {
      if (!isPassing(error) || signal.aborted) throw error;
      isFull(error);
      await backoff.pause(signal);
    }
  }
}
