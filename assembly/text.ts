/** Text: a view of UTF-8 bytes that lie elsewhere, usually in the input window. It ends with its record. */
import { parseF64, parseI64, clearFailed, failed } from "./number/parse";

/** Bytes readable behind any text: wide loads may run past its end. */

@unmanaged export class Text {
  /** Address of the first byte. */
  ptr: u32;
  /** Length in bytes. */
  length: u32;

  /** A text over bytes that are already there. The view itself lives until the record ends. */
  static view(ptr: usize, length: u32): Text {
    const text = changetype<Text>(heap.alloc(8));
    text.ptr = <u32>ptr;
    text.length = length;
    return text;
  }

  /** Fills the 8-byte view at `at`, whose bytes follow it and end at `end`; returns `at`. */
  @inline static header(at: usize, end: usize): usize {
    store<u32>(at, <u32>at + 8);
    store<u32>(at, <u32>(end - at) - 8, 4);
    return at;
  }

  /** The text of an AssemblyScript string, in UTF-8. */
  static of(value: string): Text {
    const bytes = String.UTF8.byteLength(value);
    const at = heap.alloc(bytes + 32);
    String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, at);
    return Text.view(at, bytes);
  }


  @inline get isEmpty(): bool {
    return this.length == 0;
  }

  /** The byte at `index`; 0 past the end. */
  @inline byteAt(index: i32): u8 {
    return <u32>index < this.length ? load<u8>(<usize>this.ptr + index) : 0;
  }

  /** Bytes from `start` up to `end` (exclusive), cut to the text. */
  slice(start: i32, end: i32 = i32.MAX_VALUE): Text {
    const length = <i32>this.length;
    const from = min(max(start, 0), length);
    const to = min(max(end, from), length);
    return Text.view(<usize>this.ptr + from, <u32>(to - from));
  }

  /** Where the byte `byte` stands first at or after `from`; -1 if nowhere. Pass a character code, e.g. 0x20. */
  indexOf(byte: i32, from: i32 = 0): i32 {
    const start = <usize>this.ptr;
    const end = start + this.length;
    const wanted = i8x16.splat(<i8>byte);
    for (let p = start + <usize>max(from, 0); p < end; p += 16) {
      const hits = i8x16.bitmask(i8x16.eq(v128.load(p), wanted));
      if (hits) {
        const at = p + <usize>ctz(hits);
        return at < end ? <i32>(at - start) : -1;
      }
    }
    return -1;
  }

  /** Whether the text is the same as `value`, byte for byte. */
  @operator("==") equals(other: Text): bool {
    return this.length == other.length && sameBytes(this.ptr, other.ptr, this.length);
  }


  @operator("!=") differs(other: Text): bool {
    return !this.equals(other);
  }

  /** Negative, zero or positive as this text comes before, is, or comes after the other in the order of their UTF-8 bytes. */
  compare(other: Text): i32 {
    return compareBytes(this.ptr, this.length, other.ptr, other.length);
  }

  /** Whether the text is the same as a string, e.g. `line.is("GET")`. */
  is(value: string): bool {
    return <i32>this.length == String.UTF8.byteLength(value) && this.startsWith(value);
  }

  /** ASCII prefixes only are compared without encoding; others are encoded first. */
  startsWith(value: string): bool {
    const length = value.length;
    if (<u32>length > this.length) return false;
    for (let i = 0; i < length; i++) {
      const unit = <u32>value.charCodeAt(i);
      if (unit > 0x7f) {
        const text = Text.of(value);
        return text.length <= this.length && sameBytes(this.ptr, text.ptr, text.length);
      }
      if (<u32>load<u8>(<usize>this.ptr + i) != unit) return false;
    }
    return true;
  }

  endsWith(value: string): bool {
    const text = Text.of(value);
    return text.length <= this.length && sameBytes(this.ptr + this.length - text.length, text.ptr, text.length);
  }

  /** Whether `value` occurs anywhere. */
  includes(value: string): bool {
    const text = Text.of(value);
    if (text.length == 0) return true;
    let from = 0;
    while (true) {
      from = this.indexOf(load<u8>(text.ptr), from);
      if (from < 0 || <u32>from + text.length > this.length) return false;
      if (sameBytes(this.ptr + from, text.ptr, text.length)) return true;
      from++;
    }
  }

  /** Without white space (bytes up to 0x20) at both ends. */
  trim(): Text {
    let from: usize = this.ptr;
    let to: usize = from + this.length;
    while (from < to && load<u8>(from) <= 0x20) from++;
    while (to > from && load<u8>(to - 1) <= 0x20) to--;
    return Text.view(from, <u32>(to - from));
  }

  /** A copy with A to Z in lower case; other letters stay as they are. */
  toLowerAscii(): Text {
    const copy = heap.alloc(this.length + 32);
    for (let i: usize = 0; i < <usize>this.length; i++) {
      const byte = load<u8>(<usize>this.ptr + i);
      store<u8>(copy + i, byte - 0x41 < 26 ? byte | 0x20 : byte);
    }
    return Text.view(copy, this.length);
  }

  /** The number written here, as `Number()` reads it; NaN if it is none. */
  toF64(): f64 {
    return parseF64(this.ptr, <usize>this.ptr + this.length);
  }

  /** The integer written here, or `otherwise`. */
  toI64(otherwise: i64 = 0): i64 {
    clearFailed();
    const value = parseI64(this.ptr, <usize>this.ptr + this.length, i64.MIN_VALUE, i64.MAX_VALUE);
    return failed ? otherwise : value;
  }

  /** An AssemblyScript string; allocates, and ends with the record. */
  toString(): string {
    return String.UTF8.decodeUnsafe(this.ptr, this.length);
  }
}

/** Walks through a text from left to right: `new Cursor(line)`, then `until`, `skip`, `word`. */
export class Cursor {
  private at: usize;
  private end: usize;

  constructor(text: Text) {
    this.at = text.ptr;
    this.end = <usize>text.ptr + text.length;
  }

  /** Whether nothing is left. */
  @inline get done(): bool {
    return this.at >= this.end;
  }

  /** The bytes up to the next `byte` (or to the end), which is passed over. */
  until(byte: i32): Text {
    const start = this.at;
    const length = Text.view(start, <u32>(this.end - start)).indexOf(byte);
    if (length < 0) {
      this.at = this.end;
      return Text.view(start, <u32>(this.end - start));
    }
    this.at = start + length + 1;
    return Text.view(start, length);
  }

  /** Passes over `count` bytes. */
  skip(count: i32): void {
    this.at = min(this.at + count, this.end);
  }

  /** What is left. */
  rest(): Text {
    return Text.view(this.at, <u32>(this.end - this.at));
  }

  /** The next run of ASCII letters, digits, apostrophes inside words and bytes above 0x7f; empty at the end. */
  word(): Text {
    let p = this.at;
    const end = this.end;
    while (p < end && !isWordByte(load<u8>(p))) p++;
    const start = p;
    while (p < end && (isWordByte(load<u8>(p)) || (load<u8>(p) == 0x27 && isWordByte(load<u8>(p + 1))))) p++;
    this.at = p;
    return Text.view(start, <u32>(min(p, end) - start));
  }
}


@inline function isWordByte(byte: u8): bool {
  return (byte | 0x20) - 0x61 < 26 || byte - 0x30 < 10 || byte >= 0x80;
}

/** Compares `length` bytes; reads up to 8 bytes past both ends. */
export function sameBytes(a: usize, b: usize, length: u32): bool {
  let i: u32 = 0;
  while (i + 8 <= length) {
    if (load<u64>(a + i) != load<u64>(b + i)) return false;
    i += 8;
  }
  if (i == length) return true;
  return (load<u64>(a + i) ^ load<u64>(b + i)) << ((8 - (length - i)) << 3) == 0;
}

/** Order of UTF-8 bytes, which is the order of code points: negative, zero or positive. */
export function compareBytes(a: usize, aLength: u32, b: usize, bLength: u32): i32 {
  const length = min(aLength, bLength);
  let i: u32 = 0;
  while (i + 8 <= length) {
    const x = load<u64>(a + i);
    const y = load<u64>(b + i);
    if (x != y) return bswap<u64>(x) < bswap<u64>(y) ? -1 : 1;
    i += 8;
  }
  while (i < length) {
    const difference = <i32>load<u8>(a + i) - <i32>load<u8>(b + i);
    if (difference) return difference;
    i++;
  }
  return aLength < bLength ? -1 : <i32>(aLength > bLength);
}
