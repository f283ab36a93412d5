/**
 * What each figure has to reach. A ratio is always the peer's wall time over ours, taken round by round: 2
 * says that we need half the time, 0.5 that we need twice as long.
 */
export interface Bar {
  figure: string;
  /** The peer as the figure names it, or null where the value stands alone. */
  peer: string | null;
  ratioMin?: number;
  valueMax?: number;
  valueMin?: number;
  /** The bar in words, for the table. */
  words: string;
}

export const bars: Bar[] = [
  { figure: "csv", peer: "duckdb", ratioMin: 5, words: ">= 5x as fast" },
  { figure: "csv", peer: "c", ratioMin: 1 / 1.25, words: "<= 1.25x the time" },
  { figure: "ndjson", peer: "duckdb", ratioMin: 3, words: ">= 3x as fast" },
  { figure: "keys", peer: "duckdb", ratioMin: 2, words: ">= 2x as fast" },
  { figure: "parquet", peer: "duckdb", ratioMin: 1 / 3, words: "<= 3x the time" },
  { figure: "parquet", peer: "loop", ratioMin: 2, words: ">= 2x as fast" },
  { figure: "scaling", peer: "one-jah", ratioMin: 1.8, words: ">= 1.8x as fast" },
  { figure: "start", peer: "node", valueMax: 300, words: "<= 300 ms" },
  { figure: "memory", peer: null, valueMax: 150, words: "<= 150 MB" },
  { figure: "answer", peer: null, valueMax: 1, words: "1 for any --jahs" },
  { figure: "live-push-large", peer: null, valueMin: 250, words: ">= 250 MB/s" },
  { figure: "live-push-records", peer: null, valueMin: 4, words: ">= 4 M records/s" },
  { figure: "live-push-small", peer: null, valueMin: 12_000, words: ">= 12,000 requests/s" },
  { figure: "live-push-small-p99", peer: null, valueMax: 50, words: "<= 50 ms" },
  { figure: "live-visible-p50", peer: null, valueMax: 10, words: "<= 10 ms" },
  { figure: "live-visible-p99", peer: null, valueMax: 40, words: "<= 40 ms" },
  { figure: "live-new-jah", peer: null, valueMax: 500, words: "<= 500 ms" },
  { figure: "live-gap", peer: null, valueMax: 100, words: "<= 100 ms" },
  { figure: "live-up", peer: null, valueMax: 800, words: "<= 800 ms" },
  { figure: "live-idle-memory", peer: null, valueMax: 200, words: "<= 200 MB" },
  { figure: "live-idle-cpu", peer: null, valueMax: 1, words: "<= 1 %" },
  { figure: "store-restore", peer: "bare", ratioMin: 1 / 1.5, words: "<= 1.5x the time" },
  { figure: "store-wake", peer: null, valueMax: 250, words: "<= 250 ms" },
  {
    figure: "log-push",
    peer: null,
    valueMin: 150,
    ratioMin: 0.4,
    words: ">= 150 MB/s and 0.4x of the bare loop",
  },
  { figure: "recovery-wake", peer: null, valueMax: 250, words: "<= 250 ms" },
  { figure: "recovery-wake-large", peer: null, valueMax: 4_000, words: "<= 4 s" },
  { figure: "recovery-few", peer: null, ratioMin: 0.95, words: ">= 0.95x" },
  { figure: "recovery-many", peer: null, ratioMin: 0.7, words: ">= 0.7x" },
  { figure: "recovery-memory", peer: null, valueMax: 1.3, words: "<= 1.3x" },
  { figure: "recovery-killed", peer: null, valueMax: 1_500, words: "<= 1.5 s" },
  { figure: "recovery-rest-memory", peer: null, valueMax: 1, words: "<= 1 MB" },
  { figure: "recovery-rest-cpu", peer: null, valueMax: 1, words: "<= 1 %" },
  { figure: "recovery-rest-jahs", peer: null, valueMax: 0, words: "none" },
  { figure: "reprocess", peer: null, ratioMin: 0.8, words: ">= 0.8x as fast" },
  { figure: "reprocess-long", peer: null, ratioMin: 0.8, words: ">= 0.8x as fast" },
  { figure: "decoded-ndjson-shared", peer: "alone", ratioMin: 1.2, words: ">= 1.2x as fast" },
  { figure: "decoded-ndjson-keeping", peer: "plain", ratioMin: 0.85, words: ">= 0.85x as fast" },
  { figure: "visit", peer: null, ratioMin: 5, words: ">= 5x as fast" },
  { figure: "visit-filter", peer: null, ratioMin: 3, words: ">= 3x as fast" },
  { figure: "visit-host", peer: null, ratioMin: 5, words: ">= 5x as fast" },
  { figure: "visit-sql", peer: null, ratioMin: 3, words: ">= 3x as fast" },
  { figure: "dev-save", peer: null, valueMax: 500, words: "<= 500 ms" },
  { figure: "swap-pause", peer: null, valueMax: 20, words: "<= 20 ms" },
  { figure: "takeovers", peer: "search", valueMax: 50, words: "<= 50 ms" },
  { figure: "takeovers-half", peer: "search", valueMax: 50, words: "<= 50 ms" },
  { figure: "messages", peer: "ten-hosts", ratioMin: 0.95, words: "as many as with 10" },
  { figure: "messages-loss", peer: "ten-hosts", ratioMin: 0.95, words: "as many as with 10" },
  { figure: "log-push-small", peer: null, valueMin: 6_000, words: ">= 6,000 requests/s" },
];

export function barOf(figure: string, peer: string | null): Bar | undefined {
  return bars.find((bar) => bar.figure === figure && bar.peer === peer);
}

export function isMet(bar: Bar, value: number, ratio: number | null): boolean {
  if (bar.valueMax !== undefined && value > bar.valueMax) return false;
  if (bar.valueMin !== undefined && value < bar.valueMin) return false;
  return bar.ratioMin === undefined || (ratio !== null && ratio >= bar.ratioMin);
}
