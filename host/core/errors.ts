/** The one error class that users meet: a stable code, a sentence that says what to do next, and the cause. */
export class HallelujahError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "HallelujahError";
    this.code = code;
  }
}

/** The sentence of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether there is no room to write, as the system said, here or in what this came of. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, cause } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT" || code === "disk-full" || isDiskFull(cause);
}

/** What a host waits for: its cluster, or to hear that it does not lead a stream any more. */
const PASSING: readonly unknown[] = ["cluster-unreachable", "cluster-refused", "stream-moved"];

/** Whether what was not done can be done later, without anybody doing anything about it here. */
export function isPassing(error: unknown): boolean {
  return isDiskFull(error) || (error instanceof HallelujahError && PASSING.includes(error.code));
}

/** The candidate nearest to `name` by edit distance (Levenshtein 1966), if one is near enough to be meant. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + cost));
    }
    row = next;
  }
  return row[b.length];
}
