/** Where fields and lines of CSV end: structural bytes, found 64 at a time. */

export const LF: u8 = 0x0a;
export const CR: u8 = 0x0d;
export const QUOTE: u8 = 0x22;

/** Delimiters and line feeds among the 64 bytes at `p`, a bit each. */
@inline export function structurals(p: usize, delimiters: v128): u64 {
  const feeds = i8x16.splat(LF);
  const a = v128.load(p);
  const b = v128.load(p, 16);
  const c = v128.load(p, 32);
  const d = v128.load(p, 48);
  const low =
    (<u64>i8x16.bitmask(v128.or(i8x16.eq(a, delimiters), i8x16.eq(a, feeds)))) |
    ((<u64>i8x16.bitmask(v128.or(i8x16.eq(b, delimiters), i8x16.eq(b, feeds)))) << 16);
  const high =
    (<u64>i8x16.bitmask(v128.or(i8x16.eq(c, delimiters), i8x16.eq(c, feeds)))) |
    ((<u64>i8x16.bitmask(v128.or(i8x16.eq(d, delimiters), i8x16.eq(d, feeds)))) << 16);
  return low | (high << 32);
}

/** The same with quotes among them, so that a row without a quote is known to be plain. */
@inline export function structuralsAndQuotes(p: usize, delimiters: v128): u64 {
  const low = (<u64>structural16(v128.load(p), delimiters)) | ((<u64>structural16(v128.load(p, 16), delimiters)) << 16);
  const high =
    (<u64>structural16(v128.load(p, 32), delimiters)) | ((<u64>structural16(v128.load(p, 48), delimiters)) << 16);
  return low | (high << 32);
}


@inline function structural16(v: v128, delimiters: v128): i32 {
  const quotes = i8x16.eq(v, i8x16.splat(QUOTE));
  return i8x16.bitmask(v128.or(v128.or(i8x16.eq(v, delimiters), i8x16.eq(v, i8x16.splat(LF))), quotes));
}
