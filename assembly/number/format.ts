/**
 * Numbers to text, in ASCII. Every function stores whole words: up to 40 bytes from `o` on may be
 * overwritten, whatever the length of the text. All return the end of the text.
 */
import { multiplyHigh, powerOfTen, tenTo } from "./powers";

const ZEROS: u64 = 0x3030303030303030;

/** The eight digits of x < 10^8, the first in the lowest byte: halves, then quarters, then single digits. */
// @ts-ignore: decorator
@inline
function spread(x: u64): u64 {
  const upper = x / 10000;
  const fours = upper | ((x - upper * 10000) << 32);
  const tops = ((fours * 10486) >> 20) & 0x0000007f0000007f;
  const pairs = tops | ((fours - tops * 100) << 16);
  const tens = ((pairs * 103) >> 10) & 0x000f000f000f000f;
  return tens | ((pairs - tens * 10) << 8);
}

/** Writes x < 10^8 without leading zeros. */
// @ts-ignore: decorator
@inline
function writeHead(o: usize, x: u64): usize {
  const digits = spread(x);
  const zeros = ctz(digits | 0x0100000000000000) >> 3;
  store<u64>(o, (digits | ZEROS) >> (zeros << 3));
  return o + 8 - usize(zeros);
}

/** Writes x < 10^8 as eight digits. */
// @ts-ignore: decorator
@inline
function writeEight(o: usize, x: u64): usize {
  store<u64>(o, spread(x) | ZEROS);
  return o + 8;
}

/** Writes the fraction 0 < x < 10^8 in units of 10^-8 without trailing zeros. */
// @ts-ignore: decorator
@inline
function writeFraction(o: usize, x: u64): usize {
  const digits = spread(x);
  store<u8>(o, 0x2e);
  store<u64>(o + 1, digits | ZEROS);
  return o + 9 - usize(clz(digits) >> 3);
}

/** An unsigned integer. */
export function formatU64(o: usize, x: u64): usize {
  if (x < 100000000) return writeHead(o, x);
  const upper = x / 100000000;
  const lower = x - upper * 100000000;
  if (upper < 100000000) return writeEight(writeHead(o, upper), lower);
  const top = upper / 100000000;
  return writeEight(writeEight(writeHead(o, top), upper - top * 100000000), lower);
}

/** A signed integer. */
export function formatI64(o: usize, x: i64): usize {
  const negative = x < 0;
  store<u8>(o, 0x2d);
  return formatU64(o + usize(negative), negative ? 0 - u64(x) : u64(x));
}

/** A decimal in units of 10^-scale, 0 <= scale <= 18, without trailing zeros in the fraction. */
export function formatDecimal(o: usize, units: i64, scale: i32): usize {
  const negative = units < 0;
  store<u8>(o, 0x2d);
  o += usize(negative);
  const magnitude = negative ? 0 - u64(units) : u64(units);
  const unit = tenTo(scale);
  const whole = magnitude / unit;
  let fraction = magnitude - whole * unit;
  o = formatU64(o, whole);
  if (fraction == 0) return o;
  if (scale <= 8) return writeFraction(o, fraction * tenTo(8 - scale));
  fraction *= tenTo(18 - scale);
  const first = fraction / 10000000000;
  fraction -= first * 10000000000;
  if (fraction == 0) return writeFraction(o, first);
  store<u8>(o, 0x2e);
  const second = fraction / 100;
  writeEight(o + 1, first);
  writeEight(o + 9, second);
  writeEight(o + 17, (fraction - second * 100) * 1000000);
  o += 19;
  while (load<u8>(o - 1) == 0x30) --o;
  return o;
}

/** A double, as String(x) in JavaScript: the shortest digits that read back the same. */
export function formatF64(o: usize, x: f64): usize {
  const a = abs(x);
  if (a < 9007199254740992) {
    const whole = u64(i64(a));
    store<u8>(o, 0x2d);
    if (f64(i64(whole)) == a) return formatU64(o + usize(x < 0), whole);
    if (a >= 1e-6 && a < 1e11) {
      // Few decimals, as most numbers people write down have: if a decimal of at most 15 digits reads back as
      // x, then no other one does (15 digits are fewer than a double holds), so this is the shortest.
      const small = a < 1e7;
      const unit: f64 = small ? 1e8 : 1e4;
      const units = nearest(a * unit);
      if (units / unit == a) {
        // x is no integer, so rounding has not carried into the whole part
        const fraction = u64(i64(units)) - whole * (small ? 100000000 : 10000);
        return writeFraction(formatU64(o + usize(x < 0), whole), small ? fraction : fraction * 10000);
      }
    }
  }
  return formatLongF64(o, x);
}

/**
 * Any double, by Giulietti, "The Schubfach way to render doubles" (2020): scales the double and the two
 * borders of the interval that rounds to it by a power of ten such that at most two integers, or one multiple
 * of ten, are candidates. Borders come from the one product by adding and subtracting, so two wide
 * multiplications do.
 */
function formatLongF64(o: usize, x: f64): usize {
  const bits = reinterpret<u64>(x);
  const biased = i32((bits >> 52) & 0x7ff);
  const mantissa = bits & 0xfffffffffffff;
  if (biased == 0x7ff) return formatSpecial(o, bits);
  store<u8>(o, 0x2d);
  o += usize(bits >> 63);

  const c = biased == 0 ? mantissa : mantissa | 0x10000000000000;
  const q = max(biased, 1) - 1075;
  const odd = c & 1;
  // The gap below a power of two is half as wide as the one above.
  const narrow = i32(mantissa == 0 && biased > 1);
  // floor(log10(2^q)), or of 3/4 of it; then the power of two left over
  const k = (q * 1262611 - narrow * 524031) >> 22;
  const h = q + ((-k * 1741647) >> 19) + 1;

  const entry = powerOfTen(-k);
  const g1 = load<u64>(entry);
  const g0 = load<u64>(entry, 8);
  // p2 p1 p0 = 4c * 2^h * g, of 192 bits
  const cp = c << u64(h + 2);
  const p0 = cp * g0;
  const y0 = cp * g1;
  const p1 = y0 + multiplyHigh(cp, g0);
  const p2 = multiplyHigh(cp, g1) + u64(p1 < y0);
  // u2 u1 u0 = 2^(h + 1) * g, half a gap; l2 l1 l0 is the half gap below
  const up = u64(h + 1);
  const u0 = g0 << up;
  const u1 = (g1 << up) | (g0 >> (64 - up));
  const u2 = g1 >> (64 - up);
  const down = up - u64(narrow);
  const l0 = g0 << down;
  const l1 = (g1 << down) | ((g0 >> (63 - down)) >> 1);
  const l2 = (g1 >> (63 - down)) >> 1;

  const s0 = p0 + u0;
  const t1 = p1 + u1;
  const s1 = t1 + u64(s0 < p0);
  const s2 = p2 + u2 + (u64(t1 < p1) | u64(s1 < t1));
  const d1 = p1 - l1;
  const r1 = d1 - u64(p0 < l0);
  const r2 = p2 - l2 - (u64(p1 < l1) | u64(d1 < u64(p0 < l0)));

  // Rounded to odd: all that has to be known of the lower bits is whether there are any.
  const middle = p2 | u64(p1 > 1);
  const lower = (r2 | u64(r1 > 1)) + odd;
  const upper = (s2 | u64(s1 > 1)) - odd;

  let digits = middle >> 2;
  let exponent = k;
  const tenth = digits / 10;
  const under = lower <= tenth * 40;
  const over = tenth * 40 + 40 <= upper;
  if (digits >= 10 && under != over) {
    digits = tenth + u64(over);
    ++exponent;
  } else {
    const inside = lower <= digits << 2;
    const beyond = (digits << 2) + 4 <= upper;
    const half = (digits << 2) + 2;
    digits += u64(inside != beyond ? beyond : middle > half || (middle == half && (digits & 1) != 0));
  }
  return layOut(o, digits, exponent);
}

/** What formatF64 is not made for, but must get through. */
function formatSpecial(o: usize, bits: u64): usize {
  if ((bits & 0xfffffffffffff) != 0) {
    store<u32>(o, 0x4e614e); // NaN
    return o + 3;
  }
  store<u8>(o, 0x2d);
  o += usize(bits >> 63);
  store<u64>(o, 0x7974696e69666e49); // Infinity
  return o + 8;
}

/**
 * Writes digits * 10^exponent by the rules of JavaScript (Number::toString in ECMA-262), 0 < digits < 10^17.
 */
function layOut(o: usize, digits: u64, exponent: i32): usize {
  // Exactly 17 digits, with zeros at the end. Only subnormals have fewer than 15.
  let size = 17;
  if (digits < 10000000000000000) {
    size = 16;
    digits *= 10;
    while (digits < 10000000000000000) {
      --size;
      digits *= 10;
    }
  }
  const point = size + exponent; // the value is 0.ddd * 10^point
  const upper = digits / 100000000;
  const first = upper / 100000000;
  const second = spread(upper - first * 100000000);
  const third = spread(digits - upper * 100000000);
  const length = 17 - i32(third == 0 ? 8 + (clz(second) >> 3) : clz(third) >> 3);

  if (point <= 0 && point > -6) {
    store<u64>(o, 0x3030303030302e30); // 0.000000
    o += usize(2 - point);
  }
  store<u8>(o, u8(first) + 0x30);
  store<u64>(o + 1, second | ZEROS);
  store<u64>(o + 9, third | ZEROS);
  if (point <= 0 && point > -6) return o + length;
  if (point >= length && point <= 21) {
    store<u32>(o + 17, 0x30303030);
    return o + point;
  }
  const dot = o + (point > 0 && point <= 21 ? point : 1);
  const next = load<u64>(dot);
  const after = load<u64>(dot + 8);
  store<u8>(dot, 0x2e);
  store<u64>(dot + 1, next);
  store<u64>(dot + 9, after);
  if (point > 0 && point <= 21) return o + length + 1;

  o += length > 1 ? length + 1 : 1;
  store<u16>(o, point > 0 ? 0x2b65 : 0x2d65);
  o += 2;
  const e = u32(point > 0 ? point - 1 : 1 - point);
  const tens = e / 10;
  if (e >= 100) store<u8>(o++, u8(tens / 10) + 0x30);
  if (e >= 10) store<u8>(o++, u8(tens % 10) + 0x30);
  store<u8>(o, u8(e - tens * 10) + 0x30);
  return o + 1;
}
