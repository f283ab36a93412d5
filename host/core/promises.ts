/** Waiting, with an end to it, and trying again. */

/** Pause before work that failed is tried again, ms. */
const RETRY_MS = 1_000;

/** What a promise resolves with; undefined if that takes more than `ms` (it goes on, unwatched). Rejects as it does. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((done) => {
    timer = setTimeout(done, ms, undefined).unref();
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when `work` has come to an end without an error, however often it has to be tried; with false when it is `over` before that. */
export async function untilDone(work: () => Promise<unknown>, over?: AbortSignal): Promise<boolean> {
  while (!over?.aborted) {
    const isDone = await work().then(
      () => true,
      () => false,
    );
    if (isDone) return true;
    await new Promise((goOn) => setTimeout(goOn, RETRY_MS).unref());
  }
  return false;
}
