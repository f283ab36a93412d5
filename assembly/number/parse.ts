/**
 * Numbers from text. Every function reads whole words: up to 32 bytes after `end` must be readable (whatever
 * they hold), and nothing before `p` is touched. The exact slow path of parseF64 uses static scratch memory,
 * so two threads must not run this code in one shared memory.
 */
import { FLOAT_TENS, multiplyHigh, powerOfTen, tenTo } from "./powers";

const ZEROS: u64 = 0x3030303030303030;
/** What "." becomes once ZEROS is taken off. */
const DOTS: u64 = 0x1e1e1e1e1e1e1e1e;
/** The bit that dots have then, and digits have not. */
const DOT_BITS: u64 = 0x1010101010101010;
const HIGHS: u64 = 0x8080808080808080;
/** Added to a byte, sets its high bit when the byte is over 9. */
const OVER_NINE: u64 = 0x7676767676767676;

/**
 * What to do with a word of digits for a dot at its byte 0 to 7, or (the ninth) without one. Loads are
 * cheaper here than arithmetic: masks of the bytes after the dot, before it, and of the dot itself, and the
 * most bytes of the word that may be empty.
 */
// @ts-ignore: decorator
@lazy
const MASKS: usize = memory.data<u64>([
  0xffffffffffffff00, 0xffffffffffff0000, 0xffffffffff000000, 0xffffffff00000000, 0xffffff0000000000,
  0xffff000000000000, 0xff00000000000000, 0x0000000000000000, 0xffffffffffffffff, 0x0000000000000000,
  0x00000000000000ff, 0x000000000000ffff, 0x0000000000ffffff, 0x00000000ffffffff, 0x000000ffffffffff,
  0x0000ffffffffffff, 0x00ffffffffffffff, 0x0000000000000000, 0x00000000000000ff, 0x000000000000ff00,
  0x0000000000ff0000, 0x00000000ff000000, 0x000000ff00000000, 0x0000ff0000000000, 0x00ff000000000000,
  0xff00000000000000, 0x0000000000000000, 6, 6, 6, 6, 6, 6, 6, 6, 7,
]);
const BEFORE: usize = 72;
const DOT: usize = 144;
const EMPTY: usize = 216;

/**
 * The divisors for the same; 16 entries on those of negative numbers, as dividing by a negative one also
 * gives zero its sign.
 */
// @ts-ignore: decorator
@lazy
const SCALES: usize = memory.data<f64>([
  10000000.0, 1000000.0, 100000.0, 10000.0, 1000.0, 100.0, 10.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
  -10000000.0, -1000000.0, -100000.0, -10000.0, -1000.0, -100.0, -10.0, -1.0, -1.0,
]);

/** Whether some integer or decimal was malformed or out of range since clearFailed(). */
export let failed: bool = false;

/** Forgets earlier failures (an imported global cannot be assigned). */
export function clearFailed(): void {
  failed = false;
}

/** High bits at bytes over 9; exact up to and including the lowest one, as carries only go up. */
// @ts-ignore: decorator
@inline
function nonDigits(v: u64): u64 {
  return ((v + OVER_NINE) | v) & HIGHS;
}

/** Eight digit values, the first in the lowest byte, as one number: pairs, then quads, then all. */
// @ts-ignore: decorator
@inline
function eight(v: u64): u64 {
  const pairs = v * 10 + (v >> 8);
  return (
    ((pairs & 0x000000ff000000ff) * 0x000f424000000064 + ((pairs >> 16) & 0x000000ff000000ff) * 0x0000271000000001) >>
    32
  );
}

/** Loads the n bytes (1 to 8) at p less ZEROS, moved to the end of the word with zeros before them. */
// @ts-ignore: decorator
@inline
function loadDigits(p: usize, n: usize): u64 {
  return (load<u64>(p) ^ ZEROS) << (u64(8 - n) << 3);
}

/** Eight times the place of the first byte that may be a dot; 64 if none. */
// @ts-ignore: decorator
@inline
function findDot(v: u64): usize {
  return usize(ctz(v & DOT_BITS)) & 0x78;
}

/** Takes the byte of the dot out: what is before it moves up by one byte. */
// @ts-ignore: decorator
@inline
function squeeze(v: u64, masks: usize): u64 {
  return (v & load<u64>(masks)) | ((v & load<u64>(masks, BEFORE)) << 8);
}

/**
 * Not 0 if anything is wrong with the digits squeezed out of v, in one test: another byte than a digit or a
 * dot, two dots, no digit at all, or more than 8 bytes, for which `room` is negative.
 */
// @ts-ignore: decorator
@inline
function malformed(v: u64, digits: u64, room: u64, masks: usize): u64 {
  const none = load<u64>(masks, EMPTY) - room;
  return (((digits + OVER_NINE) | digits | none | room) & HIGHS) | ((v ^ DOTS) & load<u64>(masks, DOT));
}

/**
 * The double that Number() gives for a decimal literal, correctly rounded; NaN if it is none. The short ones
 * ("-12.3") need neither loops nor branches: one word is loaded, checked and multiplied out, and as both the
 * digits and the power of ten are exact doubles, one division rounds correctly (Clinger, "How to Read
 * Floating Point Numbers Accurately", 1990).
 */
// @ts-ignore: decorator
@inline
export function parseF64(p: usize, end: usize): f64 {
  const minus = load<u8>(p) == 0x2d;
  const room = u64(u32(p + 8 - end + usize(minus)));
  // Not select: V8 makes a branch of it on x64, and signs cannot be foreseen.
  const v = (load<u64>(p + usize(minus)) ^ ZEROS) << (room << 3);
  const dot = findDot(v);
  const digits = squeeze(v, MASKS + dot);
  if (malformed(v, digits, room, MASKS + dot) != 0) return parseLongF64(p, end);
  return f64(i64(eight(digits))) / load<f64>(SCALES + dot + (usize(minus) << 7));
}

/** How many of the next 8 bytes (less ZEROS), but at most `room`, are digits. */
// @ts-ignore: decorator
@inline
function countDigits(v: u64, room: usize): usize {
  return min(usize(ctz(nonDigits(v))) >> 3, room);
}

/** Appends the first n (0 to 7) digits of v to w. */
// @ts-ignore: decorator
@inline
function append(w: u64, v: u64, n: usize): u64 {
  return w * tenTo(n) + eight((v << (56 - (u64(n) << 3))) << 8);
}

/** 9 to 16 bytes without sign and exponent, as the short ones but in two words; -1 for any others. */
// @ts-ignore: decorator
@inline
function parseMedium(p: usize, end: usize): f64 {
  const u = loadDigits(p, end - p - 8);
  const v = load<u64>(end - 8) ^ ZEROS;
  const a = findDot(u);
  const b = findDot(v);
  const upper = squeeze(u, MASKS + a);
  const lower = squeeze(v, MASKS + b);
  const stray = ((u ^ DOTS) & load<u64>(MASKS + a, DOT)) | ((v ^ DOTS) & load<u64>(MASKS + b, DOT));
  if ((nonDigits(upper) | nonDigits(lower) | stray) != 0 || ((a | b) & 64) == 0) return -1;
  const w = eight(upper) * select<u64>(100000000, 10000000, b == 64) + eight(lower);
  if (w > 0x20000000000000) return -1;
  const fraction = select<usize>(select<usize>(0, 120 - a, a == 64), 56 - b, b == 64);
  return f64(i64(w)) / load<f64>(FLOAT_TENS + fraction);
}

/** Any literal: at most 19 digits go into one word, the rest is left to Eisel-Lemire or big integers. */
function parseLongF64(p: usize, end: usize): f64 {
  if (p >= end) return NaN;
  const sign = u32(load<u8>(p));
  const negative = u64(sign == 0x2d) << 63;
  p += usize(sign == 0x2d) | usize(sign == 0x2b);
  if (end - p - 9 <= 7) {
    const x = parseMedium(p, end);
    if (x >= 0) return reinterpret<f64>(reinterpret<u64>(x) | negative);
  }

  const first = p;
  let w: u64 = 0; // wraps beyond 19 digits and is then read again
  while (true) {
    const v = load<u64>(p) ^ ZEROS;
    const n = countDigits(v, end - p);
    p += n;
    if (n < 8) {
      w = append(w, v, n);
      break;
    }
    w = w * 100000000 + eight(v);
  }
  const point = p;
  let exponent: i64 = 0;
  let count = p - first;
  if (p < end && load<u8>(p) == 0x2e) {
    ++p;
    while (true) {
      const v = load<u64>(p) ^ ZEROS;
      const n = countDigits(v, end - p);
      p += n;
      if (n < 8) {
        w = append(w, v, n);
        break;
      }
      w = w * 100000000 + eight(v);
    }
    const fraction = p - point - 1;
    count += fraction;
    exponent = -i64(fraction);
  }
  if (count == 0) return NaN;
  const last = p;

  if (p < end) {
    if ((load<u8>(p) | 0x20) != 0x65) return NaN;
    ++p;
    const mark = p < end ? u32(load<u8>(p)) : 0;
    p += usize(mark == 0x2d) | usize(mark == 0x2b);
    if (p >= end) return NaN;
    let e: i64 = 0;
    do {
      const digit = u32(load<u8>(p)) - 0x30;
      if (digit > 9) return NaN;
      if (e < 1000000000000) e = e * 10 + i64(digit); // more than any text has digits
    } while (++p < end);
    exponent += mark == 0x2d ? -e : e;
  }

  let bits: u64;
  if (count <= 19) {
    if (w <= 0x20000000000000 && exponent >= -22 && exponent <= 22) {
      const x = f64(i64(w));
      const power = load<f64>(FLOAT_TENS + (usize(exponent < 0 ? -exponent : exponent) << 3));
      bits = reinterpret<u64>(exponent < 0 ? x / power : x * power);
    } else bits = nearest64(w, exponent);
  } else bits = parseMany(first, last, exponent);
  return reinterpret<f64>(bits | negative);
}

/** A mantissa of 20 or more digits, counting leading zeros. */
function parseMany(p: usize, last: usize, exponent: i64): u64 {
  // The first 19 significant digits bound the value from both sides. They nearly always round alike.
  while (p < last && (load<u8>(p) == 0x30 || load<u8>(p) == 0x2e)) ++p;
  let w: u64 = 0;
  let taken = 0;
  let q = p;
  while (q < last && taken < 19) {
    const c = u32(load<u8>(q++));
    if (c == 0x2e) continue;
    w = w * 10 + u64(c - 0x30);
    ++taken;
  }
  let left = last - q;
  for (let r = q; r < last; ++r) {
    if (load<u8>(r) == 0x2e) {
      --left;
      break;
    }
  }
  const low = nearest64(w, exponent + i64(left));
  if (left == 0 || nearest64(w + 1, exponent + i64(left)) == low) return low;
  return nearestBig(p, last, exponent, low);
}

/**
 * The bits of the double nearest to w * 10^q: Lemire, "Number Parsing at a Gigabyte per Second" (2021), with
 * no fallback, as Mushtak and Lemire, "Fast Number Parsing Without Fallback" (2023), prove 128 bits to be
 * enough.
 */
function nearest64(w: u64, q: i64): u64 {
  if (w == 0 || q < -342) return 0;
  if (q > 308) return 0x7ff0000000000000;
  const power = i32(q);
  const zeros = clz(w);
  w <<= zeros;
  const entry = powerOfTen(power);
  const g = load<u64>(entry);
  let low = w * g;
  let high = multiplyHigh(w, g);
  if ((high & 0x1ff) == 0x1ff) {
    // POWERS are rounded up, the proof wants them rounded down, save for the small ones.
    const rest = load<u64>(entry, 8) - u64(u32(power + 27) > 82);
    const more = multiplyHigh(w, rest);
    low += more;
    if (low < more) ++high;
  }
  const upper = high >> 63;
  const shift = upper + 9;
  let m = high >> shift;
  // floor(power * log2(10)), and the bias of the exponent
  let e = ((power * 217706) >> 16) + 63 + i32(upper) - i32(zeros) + 1023;
  if (e <= 0) {
    if (e < -62) return 0;
    m >>= u64(1 - e);
    return (m + (m & 1)) >> 1; // a carry into the exponent makes it normal, as it should
  }
  // Halfway between two doubles, to the last bit: to even. Only these powers can do it.
  if (low <= 1 && power >= -4 && power <= 23 && (m & 3) == 1 && m << shift == high) m &= ~1;
  m = (m + (m & 1)) >> 1;
  if (m == 0x20000000000000) {
    m = 0x10000000000000;
    ++e;
  }
  return e >= 0x7ff ? 0x7ff0000000000000 : (m & 0xfffffffffffff) | (u64(e) << 52);
}

/** Midpoints of doubles have at most 767 significant digits; what follows only tells above from equal. */
const MOST_DIGITS: i32 = 780;

// Two numbers of at most 2800 bits: 780 digits, or 54 bits times 5^1105, rounded up generously.
// @ts-ignore: decorator
@lazy
const LEFT: usize = memory.data(512, 8);
// @ts-ignore: decorator
@lazy
const RIGHT: usize = memory.data(512, 8);

/** Multiplies the number of `size` 32-bit limbs at p and adds to it; returns the new size. */
function multiplyAdd(p: usize, size: i32, factor: u32, addend: u32): i32 {
  let carry: u64 = addend;
  for (let i = 0; i < size; ++i) {
    const at = p + (usize(i) << 2);
    carry += u64(load<u32>(at)) * u64(factor);
    store<u32>(at, u32(carry));
    carry >>= 32;
  }
  if (carry != 0) store<u32>(p + (usize(size++) << 2), u32(carry));
  return size;
}

/** Multiplies by 2^twos * 5^fives. */
function scale(p: usize, size: i32, twos: i32, fives: i32): i32 {
  for (; fives >= 13; fives -= 13) size = multiplyAdd(p, size, 1220703125, 0);
  for (; fives > 0; --fives) size = multiplyAdd(p, size, 5, 0);
  for (; twos >= 31; twos -= 31) size = multiplyAdd(p, size, 1 << 31, 0);
  return twos > 0 ? multiplyAdd(p, size, 1 << twos, 0) : size;
}

/**
 * Decides between the double `low` and the next one (which may be Infinity): compares the digits, which start
 * with one that is not 0, with the midpoint of the two, both as integers.
 */
function nearestBig(p: usize, last: usize, exponent: i64, low: u64): u64 {
  let size = 0;
  let taken = 0;
  let chunk: u32 = 0;
  let unit: u32 = 1;
  for (; p < last && taken < MOST_DIGITS; ++p) {
    const c = u32(load<u8>(p));
    if (c == 0x2e) continue;
    chunk = chunk * 10 + (c - 0x30);
    unit *= 10;
    ++taken;
    if (unit == 1000000000) {
      size = multiplyAdd(LEFT, size, unit, chunk);
      chunk = 0;
      unit = 1;
    }
  }
  size = multiplyAdd(LEFT, size, unit, chunk);
  let more = false;
  for (; p < last; ++p) {
    const c = u32(load<u8>(p));
    if (c == 0x2e) continue;
    more = more || c != 0x30;
    ++exponent;
  }
  if (more) {
    size = multiplyAdd(LEFT, size, 10, 1);
    --exponent;
  }

  // low = m * 2^e, so the midpoint is (2m + 1) * 2^(e - 1)
  const biased = i32(low >> 52);
  const m = (low & 0xfffffffffffff) | (u64(biased != 0) << 52);
  const middle = 2 * m + 1;
  store<u64>(RIGHT, middle);
  const ten = i32(exponent);
  const twos = ten - (max(biased, 1) - 1076);
  size = scale(LEFT, size, max(twos, 0), max(ten, 0));
  const other = scale(RIGHT, middle >> 32 == 0 ? 1 : 2, max(-twos, 0), max(-ten, 0));

  if (size != other) return low + u64(size > other);
  for (let i = size - 1; i >= 0; --i) {
    const a = load<u32>(LEFT + (usize(i) << 2));
    const b = load<u32>(RIGHT + (usize(i) << 2));
    if (a != b) return low + u64(a > b);
  }
  return low + (low & 1);
}

/** The value of the digits in [p, end) when there are none or more than 8. */
function parseMagnitude(p: usize, end: usize): u64 {
  if (p >= end) {
    failed = true;
    return 0;
  }
  while (end - p > 16 && load<u8>(p) == 0x30) ++p;
  const n = end - p;
  if (n <= 8) {
    const v = loadDigits(p, n);
    if (nonDigits(v) != 0) failed = true;
    return eight(v);
  }
  if (n <= 16) {
    const v = load<u64>(p) ^ ZEROS;
    const w = loadDigits(p + 8, n - 8);
    if ((nonDigits(v) | nonDigits(w)) != 0) failed = true;
    return eight(v) * tenTo(n - 8) + eight(w);
  }
  if (n > 20) {
    failed = true;
    return 0;
  }
  const u = loadDigits(p, n - 16);
  const v = load<u64>(end - 16) ^ ZEROS;
  const w = load<u64>(end - 8) ^ ZEROS;
  const head = eight(u);
  const tail = eight(v) * 100000000 + eight(w);
  const sum = head * 10000000000000000 + tail;
  if ((nonDigits(u) | nonDigits(v) | nonDigits(w)) != 0 || head > 1844 || sum < tail) failed = true;
  return sum;
}

/** An integer from `lowest` to `highest`, with an optional sign; else sets `failed`. */
// @ts-ignore: decorator
@inline
export function parseI64(p: usize, end: usize, lowest: i64, highest: i64): i64 {
  const sign = u32(load<u8>(p));
  const negative = u64(sign == 0x2d);
  const start = p + (usize(sign == 0x2d) | usize(sign == 0x2b));
  const n = end - start;
  let magnitude: u64;
  if (n - 1 < 8) {
    const v = loadDigits(start, n);
    if (nonDigits(v) != 0) failed = true;
    magnitude = eight(v);
  } else {
    magnitude = parseMagnitude(start, end);
    if (magnitude > u64(i64.MAX_VALUE) + negative) failed = true;
  }
  const x = i64((magnitude ^ (0 - negative)) + negative);
  if (x < lowest || x > highest) failed = true;
  return x;
}

/** An integer from 0 to `highest`, with an optional sign ("-0" is fine); else sets `failed`. */
// @ts-ignore: decorator
@inline
export function parseU64(p: usize, end: usize, highest: u64): u64 {
  const sign = u32(load<u8>(p));
  const start = p + (usize(sign == 0x2d) | usize(sign == 0x2b));
  const n = end - start;
  let x: u64;
  if (n - 1 < 8) {
    const v = loadDigits(start, n);
    if (nonDigits(v) != 0) failed = true;
    x = eight(v);
  } else x = parseMagnitude(start, end);
  if (x > (sign == 0x2d ? 0 : highest)) failed = true;
  return x;
}

/**
 * A decimal in units of 10^-scale, 0 <= scale <= 18: "12.34" is 12340000 at scale 6. Sets `failed` when it is
 * no decimal, does not fit, or has more fraction digits (other than zeros) than the scale keeps. "5." and
 * ".5" are fine, exponents are not.
 */
// @ts-ignore: decorator
@inline
export function parseDecimal(p: usize, end: usize, scale: i32): i64 {
  const negative = u64(load<u8>(p) == 0x2d);
  const start = p + usize(negative);
  const room = u64(u32(start + 8 - end));
  const v = (load<u64>(start) ^ ZEROS) << (room << 3);
  const dot = findDot(v);
  const digits = squeeze(v, MASKS + dot);
  // The fraction has 7 less the place of the dot digits, or none (not -1).
  const shift = u32(scale - 7 + i32(dot >> 3) - i32(dot >> 6));
  // 8 digits times 10^10 always fit.
  if (malformed(v, digits, room, MASKS + dot) != 0 || shift > 10) return parseLongDecimal(p, end, scale);
  return i64(((eight(digits) * tenTo(shift)) ^ (0 - negative)) + negative);
}

function parseLongDecimal(p: usize, end: usize, scale: i32): i64 {
  const sign = u32(load<u8>(p));
  const negative = u64(sign == 0x2d);
  p += usize(sign == 0x2d) | usize(sign == 0x2b);
  let point = p;
  while (point < end && load<u8>(point) != 0x2e) ++point;
  let fraction = point + 1;
  if (fraction > end) fraction = end;
  // one digit at least, and end may even be before p
  if (p >= end || (point == p && fraction == end)) {
    failed = true;
    return 0;
  }
  const whole = point > p ? parseMagnitude(p, point) : 0;
  let kept = fraction + usize(scale);
  if (kept > end) kept = end;
  for (let q = kept; q < end; ++q) {
    if (load<u8>(q) != 0x30) failed = true;
  }
  const part = kept > fraction ? parseMagnitude(fraction, kept) : 0;
  const unit = tenTo(scale);
  const limit = u64(i64.MAX_VALUE) + negative;
  const units = part * tenTo(usize(scale) - (kept - fraction));
  // the fraction is under one unit, which is at most 10^18, so only the first product can wrap
  if (whole > limit / unit || whole * unit + units > limit) {
    failed = true;
    return 0;
  }
  return i64(((whole * unit + units) ^ (0 - negative)) + negative);
}
