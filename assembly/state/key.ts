/**
 * Keys of tables. Integers, booleans, times and decimals are one word; texts and tuples are bytes. A tuple is
 * encoded so that its bytes sort as its parts do:
 *
 *   integer, boolean, time, decimal: 8 bytes, big-endian, signed ones with the top bit flipped
 *   text: its bytes with 00 written as 00 ff, then 00 01
 *   tuple: its parts, as if they stood in the outer one
 */
import { boolean, close, decimal, format, put, separator, signed, text, unsigned } from "../row";
import { CSV } from "../abi";
import { Text } from "../text";
import { Decimal } from "../decimal";
import { Time, renderTime } from "../time";
import { KEY_LENGTH, KEY_PTR } from "./home";

const SIGN: u64 = 0x8000_0000_0000_0000;

/** Whether keys of type K are one word (else they are bytes). Folded at compile time. */
@inline export function isWord<K>(): bool {
  if (isReference<K>()) {
    if (isDefined(changetype<K>(0).ms)) return true;
    else if (isDefined(changetype<K>(0).units)) return true;
    else return false;
  } else return true;
}

/** The word of a key. */
@inline export function wordOf<K>(key: K): u64 {
  if (isReference<K>()) {
    if (isDefined(key.ms)) return <u64>key.ms;
    else if (isDefined(key.units)) return <u64>key.units;
    else return 0;
  } else return <u64>key;
}

/** A word whose unsigned order is the order of the keys. */
@inline export function rankOf<K>(word: u64): u64 {
  if (isReference<K>()) return word ^ SIGN;
  else if (isSigned<K>()) return word ^ SIGN;
  else return word;
}

/** Renders the key behind a word. */
export function renderWord<K>(word: u64): void {
  if (isReference<K>()) {
    if (isDefined(changetype<K>(0).ms)) renderTime(<i64>word);
    else decimal(<i64>word);
  } else if (isBoolean<K>()) boolean(word != 0);
  else if (isSigned<K>()) signed(<i64>word);
  else unsigned(word);
}

/** Renders the key behind bytes: a text as it is, a tuple as its parts. */
export function renderBytes<K>(ptr: usize, length: u32): void {
  if (isDefined(changetype<K>(0).renderParts)) {
    if (format != CSV) put(0x5b);
    changetype<K>(0).renderParts(ptr);
    if (format != CSV) put(0x5d);
  } else text(ptr, length);
}

/** Two parts as one key: `table.at(pair(trip.origin, trip.destination))`. */
export function pair<A, B>(a: A, b: B): Pair<A, B> {
  const at = heap.alloc(8 + room<A>(a) + room<B>(b) + 16);
  const end = putPart<B>(putPart<A>(at + 8, a), b);
  return changetype<Pair<A, B>>(Text.header(at, end));
}

/** Three parts as one key. */
export function triple<A, B, C>(a: A, b: B, c: C): Triple<A, B, C> {
  const at = heap.alloc(8 + room<A>(a) + room<B>(b) + room<C>(c) + 16);
  const end = putPart<C>(putPart<B>(putPart<A>(at + 8, a), b), c);
  return changetype<Triple<A, B, C>>(Text.header(at, end));
}


@unmanaged export class Pair<A, B> {
  ptr: u32;
  length: u32;

  renderParts(ptr: usize): usize {
    const second = renderPart<A>(ptr);
    separator();
    return renderPart<B>(second);
  }
}


@unmanaged export class Triple<A, B, C> {
  ptr: u32;
  length: u32;

  renderParts(ptr: usize): usize {
    const second = renderPart<A>(ptr);
    separator();
    const third = renderPart<B>(second);
    separator();
    return renderPart<C>(third);
  }
}

/** The start of a span, then the key that the author wrote, as one tuple: the key of a window. */
export function timedKey<K>(start: i64, key: K): Windowed<K> {
  if (isDefined(changetype<K>(0).renderParts)) {
    const bytes = changetype<usize>(key);
    const length = <usize>load<u32>(bytes, 4);
    const at = heap.alloc(16 + length + 32);
    store<u64>(at, bswap<u64>((<u64>start) ^ SIGN), 8);
    memory.copy(at + 16, load<u32>(bytes), length);
    return changetype<Windowed<K>>(Text.header(at, at + 16 + length));
  } else {
    const at = heap.alloc(16 + room<K>(key) + 32);
    store<u64>(at, bswap<u64>((<u64>start) ^ SIGN), 8);
    return changetype<Windowed<K>>(Text.header(at, putPart<K>(at + 16, key)));
  }
}


@unmanaged export class Windowed<K> {
  ptr: u32;
  length: u32;

  renderParts(ptr: usize): usize {
    renderPart<Time>(ptr);
    separator();
    return renderPart<K>(ptr + 8);
  }
}

/** The author's key in the bytes of a window's key. Lives until the record ends. */
export function keyBehindTime<K>(ptr: usize, length: u32): K {
  if (isDefined(changetype<K>(0).renderParts)) return changetype<K>(Text.view(ptr + 8, length - 8));
  else if (isWord<K>()) return keyOfWord<K>(rankOf<K>(bswap<u64>(load<u64>(ptr, 8))));
  else {
    const bytes = <usize>length - 10; // without the two that end the part
    const copy = heap.alloc(bytes + 32);
    let o = copy;
    for (let p = ptr + 8, end = ptr + 8 + bytes; p < end; p++) {
      const byte = load<u8>(p);
      store<u8>(o++, byte);
      if (!byte) p++;
    }
    return changetype<K>(Text.view(copy, <u32>(o - copy)));
  }
}

/** The key of an entry. Lives until the record ends. */
export function keyOfEntry<K>(entry: usize): K {
  if (isWord<K>()) return keyOfWord<K>(load<u64>(entry));
  else return changetype<K>(Text.view(load<u32>(entry, KEY_PTR), load<u32>(entry, KEY_LENGTH)));
}

/** The key behind a word. Lives until the record ends. */
@inline export function keyOfWord<K>(word: u64): K {
  if (isReference<K>()) {
    if (isDefined(changetype<K>(0).ms)) return changetype<K>(Time.of(<i64>word));
    else return changetype<K>(Decimal.of(<i64>word));
  } else return <K>word;
}


@inline function room<T>(part: T): usize {
  if (isReference<T>()) {
    if (isDefined(part.ptr)) return 2 + ((<usize>part.length) << 1);
    else return 8;
  } else return 8;
}


@inline function putPart<T>(o: usize, part: T): usize {
  if (isReference<T>()) {
    if (isDefined(part.renderParts)) {
      memory.copy(o, part.ptr, part.length);
      return o + part.length;
    } else if (isDefined(part.ptr)) return putText(o, part.ptr, part.length);
    else {
      store<u64>(o, bswap<u64>(rankOf<T>(wordOf<T>(part))));
      return o + 8;
    }
  } else {
    store<u64>(o, bswap<u64>(rankOf<T>(wordOf<T>(part))));
    return o + 8;
  }
}

function putText(o: usize, ptr: usize, length: u32): usize {
  const end = ptr + length;
  for (let p = ptr; p < end; p++) {
    const byte = load<u8>(p);
    store<u8>(o++, byte);
    if (!byte) store<u8>(o++, 0xff);
  }
  store<u16>(o, 0x0100);
  return o + 2;
}

/** Renders the part at `p`; returns where the next one starts. */
function renderPart<T>(p: usize): usize {
  if (isReference<T>()) {
    if (isDefined(changetype<T>(0).renderParts)) return changetype<T>(0).renderParts(p);
    else if (isDefined(changetype<T>(0).ptr)) return renderTextPart(p);
    else {
      renderWord<T>(rankOf<T>(bswap<u64>(load<u64>(p))));
      return p + 8;
    }
  } else {
    renderWord<T>(rankOf<T>(bswap<u64>(load<u64>(p))));
    return p + 8;
  }
}

function renderTextPart(p: usize): usize {
  const copy = heap.alloc(textPartBytes(p) + 16);
  let o = copy;
  while (true) {
    const byte = load<u8>(p++);
    if (!byte && load<u8>(p++) == 1) break;
    store<u8>(o++, byte);
  }
  text(copy, <u32>(o - copy));
  __heap_release(); // rows are rendered between frames, so nothing else lives there
  return p;
}

function textPartBytes(start: usize): usize {
  let p = start;
  while (load<u8>(p) != 0 || load<u8>(p + 1) != 1) p += load<u8>(p) ? 1 : 2;
  return p - start;
}
