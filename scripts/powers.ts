/**
 * Writes assembly/number/powers.ts: the one table of powers of ten that both reading and printing of doubles
 * need.
 *
 * Run: npx tsx scripts/powers.ts
 */
import { writeFileSync } from "node:fs";

const LOWEST = -342; // 19 digits times 10^-342 is the least product that may still round to 5e-324
const HIGHEST = 324; // Schubfach divides subnormals by 10^-324

/** The leading 128 bits of 10^q, rounded up; exact for 0 <= q <= 55. */
function leading(q: number): bigint {
  const one = 1n << 128n;
  const round = (n: bigint, d: bigint): bigint => (n + d - 1n) / d;
  const numerator = q < 0 ? 1n : 10n ** BigInt(q);
  const denominator = q < 0 ? 10n ** BigInt(-q) : 1n;
  // 2^(shift) brings the quotient into [2^127, 2^128); the bit lengths leave two candidates.
  let shift = 128n - BigInt(numerator.toString(2).length - denominator.toString(2).length);
  const scaled = (): bigint =>
    shift < 0n ? round(numerator, denominator << -shift) : round(numerator << shift, denominator);
  while (scaled() >= one) shift--;
  const result = scaled();
  if (result < one >> 1n) throw new Error(`10^${q} is not normalized`);
  return result;
}

const hex = (x: bigint): string => `0x${x.toString(16).padStart(16, "0")}`;

/** Breaks a list of literals into lines, as many in each as the formatter would put there. */
function lines(words: string[]): string {
  const out: string[] = [];
  let line = "";
  for (const word of words) {
    const longer = line === "" ? `  ${word},` : `${line} ${word},`;
    if (longer.length > 110) {
      out.push(line);
      line = `  ${word},`;
    } else line = longer;
  }
  return [...out, line].join("\n");
}

const wide: string[] = [];
for (let q = LOWEST; q <= HIGHEST; q++) {
  const g = leading(q);
  const low = g & 0xffffffffffffffffn;
  // The reader turns "rounded up" into "rounded down" by taking one from the low half alone.
  if ((q < 0 || q > 55) && low === 0n) throw new Error(`10^${q} would borrow`);
  wide.push(hex(g >> 64n), hex(low));
}

const whole = Array.from({ length: 20 }, (_, n) => String(10n ** BigInt(n)));
const float = Array.from({ length: 23 }, (_, n) => (n < 16 ? `1${"0".repeat(n)}.0` : `1e${n}`));

writeFileSync(
  new URL("../assembly/number/powers.ts", import.meta.url),
  `// Written by scripts/powers.ts: change that, then run \`npx tsx scripts/powers.ts\`.

/** The least power in POWERS. */
export const LOWEST_POWER: i32 = ${LOWEST};

/**
 * The leading 128 bits (high half, low half) of 10^q for q from ${LOWEST} to ${HIGHEST}, rounded up.
 * Eisel-Lemire reading (Lemire, "Number Parsing at a Gigabyte per Second", 2021) and Schubfach printing
 * (Giulietti, "The Schubfach way to render doubles", 2020) share it: one table of ${wide.length * 8} bytes
 * instead of two.
 */
// @ts-ignore: decorator
@lazy
export const POWERS: usize = memory.data<u64>([
${lines(wide)}
]);

/** 10^0 to 10^19, all that fit 64 bits. */
// @ts-ignore: decorator
@lazy
export const TENS: usize = memory.data<u64>([
${lines(whole)}
]);

/** 10^0 to 10^22, all that are exact doubles. */
// @ts-ignore: decorator
@lazy
export const FLOAT_TENS: usize = memory.data<f64>([
${lines(float)}
]);

/** Where the two halves of 10^q are. */
// @ts-ignore: decorator
@inline
export function powerOfTen(q: i32): usize {
  return POWERS + (usize(q - LOWEST_POWER) << 4);
}

/** The integer 10^n, 0 <= n <= 19. */
// @ts-ignore: decorator
@inline
export function tenTo(n: usize): u64 {
  return load<u64>(TENS + (n << 3));
}

/** The upper 64 bits of a product; WebAssembly has no such instruction yet (the wide-arithmetic proposal). */
// @ts-ignore: decorator
@inline
export function multiplyHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const middle = a1 * b0 + ((a0 * b0) >> 32);
  const other = a0 * b1 + (middle & 0xffffffff);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}
`,
);
