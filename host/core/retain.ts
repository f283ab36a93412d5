/** How much of a stream's log is kept, as users say it: in one place for HTTP, the command line and the registry. */
import { HallelujahError } from "./errors.ts";

export type Retain =
  /** What checkpoints need. */
  | { kind: "applied" }
  | { kind: "all" }
  /** Of what is applied, so much or for so long. */
  | { kind: "bytes"; bytes: number }
  | { kind: "age"; ms: number };

/** What holds where nothing is said. */
export const RETAIN_DEFAULT = "applied";

/** For descriptions. */
export const RETAIN_WORDS =
  "how much of the log is kept: applied (what is not applied yet, and checkpoints need), all, a size such as 10GB, or an age such as 7d";

const BYTES: Record<string, number> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};
const MS: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86_400e3, w: 604_800e3 };

/** Throws `retain-invalid`. */
export function parseRetain(text: string): Retain {
  const plain = text.trim().toLowerCase();
  if (plain === "applied" || plain === "all") return { kind: plain };
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([a-z]+)$/.exec(plain) ?? [];
  const bytes = Math.floor(Number(digits) * (BYTES[unit] ?? Number.NaN));
  if (Number.isSafeInteger(bytes)) return { kind: "bytes", bytes };
  const ms = Math.floor(Number(digits) * (MS[unit] ?? Number.NaN));
  if (Number.isSafeInteger(ms)) return { kind: "age", ms };
  const message = `a stream's log can retain applied, all, a size such as 10GB, or an age such as 7d, and not ${JSON.stringify(text.slice(0, 80))}`;
  throw new HallelujahError("retain-invalid", message);
}
