/**
 * The plain aggregates. Each lies inside a table's entry and has the same life: `init` on a fresh entry, `add` while a
 * frame is mapped, `write` into the routed entry, `merge` at the owner in frame order, `render` as part of a row.
 * `room` bounds what `write` takes; `order` is the number of a column for sorting, NaN if it has none.
 */
import { close, decimal, float, nothing, part, signed, single, text, unsigned } from "../row";
import { renderTime } from "../time";
import { touchRange } from "../dirty";
import { giveBlock, takeBlock, blockBytes } from "../heap";
import { getVarint, putVarint, varintEnd } from "../varint";
import { compareBytes } from "../text";

/** How many. */
@unmanaged export class Count {
  private n: u64;

  /** How many there were. To be read by `fold` and `close`, as all of these are. */
  @inline get value(): u64 {
    return this.n;
  }


  @inline add(by: u64 = 1): void {
    this.n += by;
  }


  @inline init(): void {
    this.n = 0;
  }


  @inline room(): usize {
    return 10;
  }


  @inline write(o: usize): usize {
    return putVarint(o, this.n);
  }


  @inline merge(p: usize): usize {
    this.n += getVarint(p);
    return varintEnd;
  }

  render(): void {
    single();
    unsigned(this.n);
  }

  order(column: u32): f64 {
    return <f64>this.n;
  }
}

/** The value of type T that is kept at `at`: a number, or a view of a time, a decimal, or a text's address and length. */
@inline function valueOf<T>(at: usize): T {
  if (isReference<T>()) return changetype<T>(at);
  else if (isFloat<T>()) return <T>load<f64>(at);
  else return <T>load<u64>(at);
}


@inline function isKept<T>(at: usize): bool {
  return isText<T>() ? changetype<KeptText>(at).has != 0 : load<u64>(at, 8) != 0;
}

/** The 8 bytes in which a value of type T is kept. */
@inline function bitsOf<T>(x: T): u64 {
  if (isReference<T>()) {
    if (isDefined(x.ms)) return <u64>x.ms;
    else return <u64>x.units;
  } else if (isFloat<T>()) return reinterpret<u64>(<f64>x);
  else return <u64>x;
}


@inline function less<T>(a: u64, b: u64): bool {
  if (isReference<T>()) return <i64>a < <i64>b;
  else if (isFloat<T>()) return reinterpret<f64>(a) < reinterpret<f64>(b);
  else if (isSigned<T>()) return <i64>a < <i64>b;
  else return a < b;
}

function renderBits<T>(bits: u64): void {
  if (isReference<T>()) {
    if (isDefined(changetype<T>(0).ms)) renderTime(<i64>bits);
    else decimal(<i64>bits);
  } else if (isFloat<T>()) float(reinterpret<f64>(bits));
  else if (isSigned<T>()) signed(<i64>bits);
  else unsigned(bits);
}

function orderBits<T>(bits: u64): f64 {
  if (isReference<T>()) return <f64>(<i64>bits);
  else if (isFloat<T>()) return reinterpret<f64>(bits);
  else if (isSigned<T>()) return <f64>(<i64>bits);
  else return <f64>bits;
}

/** The total: exact for integers and decimals (an overflow of 64 bits traps), in frame order for floats. */
@unmanaged export class Sum<T = f64> {
  private total: u64;


  @inline get value(): T {
    return valueOf<T>(changetype<usize>(this));
  }


  @inline add(x: T): void {
    this.plus(bitsOf<T>(x));
  }


  @inline private plus(bits: u64): void {
    const before = this.total;
    if (!isReference<T>() && isFloat<T>()) {
      this.total = reinterpret<u64>(reinterpret<f64>(before) + reinterpret<f64>(bits));
    } else {
      const after = before + bits;
      if (!isReference<T>() && !isSigned<T>()) {
        if (after < before) overflow();
      } else if (<i64>((before ^ after) & (bits ^ after)) < 0) overflow();
      this.total = after;
    }
  }


  @inline init(): void {
    this.total = 0;
  }


  @inline room(): usize {
    return 8;
  }


  @inline write(o: usize): usize {
    store<u64>(o, this.total);
    return o + 8;
  }


  @inline merge(p: usize): usize {
    this.plus(load<u64>(p));
    return p + 8;
  }

  render(): void {
    single();
    renderBits<T>(this.total);
  }

  order(column: u32): f64 {
    return orderBits<T>(this.total);
  }
}

function overflow(): void {
  throw new Error("a Sum is larger than 64 bits hold; use Sum<f64>");
}

/** A value that may not be there yet: what Min and Max share, and First and Last where they hold no text. */
@unmanaged class Held<T> {
  protected bits: u64;
  protected has: u64;

  /** Whether there was any. */
  @inline get present(): bool {
    return isKept<T>(changetype<usize>(this));
  }

  /** Only where it is `present`; that of a text changes with the state. */
  @inline get value(): T {
    return valueOf<T>(changetype<usize>(this));
  }


  @inline or(otherwise: T): T {
    return this.present ? this.value : otherwise;
  }


  @inline init(): void {
    this.bits = 0;
    this.has = 0;
  }

  /** Marks the block of a text, which may change. */
  touch(): void {
    changetype<KeptText>(this).touch();
  }

  /** Gives back the block of a text. */
  drop(): void {
    changetype<KeptText>(this).drop();
  }


  @inline room(): usize {
    return roomOf<T>(changetype<usize>(this));
  }

  write(o: usize): usize {
    if (isText<T>()) return changetype<KeptText>(this).write(o);
    store<u8>(o, <u8>this.has);
    store<u64>(o, this.bits, 1);
    return o + (this.has ? 9 : 1);
  }

  render(): void {
    if (isText<T>()) {
      changetype<KeptText>(this).render();
      return;
    }
    single();
    if (this.has) renderBits<T>(this.bits);
    else nothing();
  }

  order(column: u32): f64 {
    if (isText<T>()) return NaN;
    return this.has ? orderBits<T>(this.bits) : NaN;
  }
}

/** The smallest value, of texts by their bytes; NaN is passed over. */
@unmanaged export class Min<T = f64> extends Held<T> {

  @inline add(x: T): void {
    if (isReference<T>() && isDefined(x.ptr)) this.takeText(x.ptr, x.length);
    else this.take(bitsOf<T>(x));
  }


  @inline private take(bits: u64): void {
    if (!isReference<T>() && isFloat<T>()) if (reinterpret<f64>(bits) != reinterpret<f64>(bits)) return;
    if (!this.has || less<T>(bits, this.bits)) {
      this.bits = bits;
      this.has = 1;
    }
  }

  private takeText(ptr: usize, length: u32): void {
    const kept = changetype<KeptText>(this);
    if (!kept.has || kept.order(ptr, length) < 0) kept.keep(ptr, length);
  }


  @inline merge(p: usize): usize {
    if (isText<T>()) {
      const length = getVarint(p);
      p = varintEnd;
      if (!length) return p;
      this.takeText(p, <u32>length - 1);
      return p + <usize>length - 1;
    }
    if (!load<u8>(p)) return p + 1;
    this.take(load<u64>(p, 1));
    return p + 9;
  }
}

/** The largest value, of texts by their bytes; NaN is passed over. */
@unmanaged export class Max<T = f64> extends Held<T> {

  @inline add(x: T): void {
    if (isReference<T>() && isDefined(x.ptr)) this.takeText(x.ptr, x.length);
    else this.take(bitsOf<T>(x));
  }


  @inline private take(bits: u64): void {
    if (!isReference<T>() && isFloat<T>()) if (reinterpret<f64>(bits) != reinterpret<f64>(bits)) return;
    if (!this.has || less<T>(this.bits, bits)) {
      this.bits = bits;
      this.has = 1;
    }
  }

  private takeText(ptr: usize, length: u32): void {
    const kept = changetype<KeptText>(this);
    if (!kept.has || kept.order(ptr, length) > 0) kept.keep(ptr, length);
  }


  @inline merge(p: usize): usize {
    if (isText<T>()) {
      const length = getVarint(p);
      p = varintEnd;
      if (!length) return p;
      this.takeText(p, <u32>length - 1);
      return p + <usize>length - 1;
    }
    if (!load<u8>(p)) return p + 1;
    this.take(load<u64>(p, 1));
    return p + 9;
  }
}

/** Count, sum, least, greatest and mean of numbers. */
@unmanaged export class Stats {
  count: u64;
  sum: f64;
  /** Infinity while there is none. */
  min: f64;
  /** -Infinity while there is none. */
  max: f64;

  /** NaN while there is none. */
  @inline get mean(): f64 {
    return this.sum / <f64>this.count;
  }


  @inline add<T>(x: T): void {
    const value = <f64>x;
    this.count++;
    this.sum += value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }


  @inline init(): void {
    this.count = 0;
    this.sum = 0;
    this.min = Infinity;
    this.max = -Infinity;
  }


  @inline room(): usize {
    return 34;
  }

  /** One value is itself its sum, least and greatest; unless it is NaN. */
  @inline write(o: usize): usize {
    const sum = this.sum;
    if (this.count == 1 && sum == sum) {
      store<u8>(o, 1);
      store<f64>(o, sum, 1);
      return o + 9;
    }
    o = putVarint(o, this.count == 1 ? <u64>-1 : this.count);
    store<f64>(o, sum);
    store<f64>(o, this.min, 8);
    store<f64>(o, this.max, 16);
    return o + 24;
  }


  @inline merge(p: usize): usize {
    const count = getVarint(p);
    p = varintEnd;
    const sum = load<f64>(p);
    this.sum += sum;
    let least = sum;
    let greatest = sum;
    if (count != 1) {
      least = load<f64>(p, 8);
      greatest = load<f64>(p, 16);
      p += 16;
    }
    this.count += count == <u64>-1 ? 1 : count;
    if (least < this.min) this.min = least;
    if (greatest > this.max) this.max = greatest;
    return p + 8;
  }

  render(): void {
    part(memory.data<u8>([0x7b, 0x22, 0x63, 0x6f, 0x75, 0x6e, 0x74, 0x22, 0x3a]), 9); // {"count":
    unsigned(this.count);
    part(memory.data<u8>([0x2c, 0x22, 0x73, 0x75, 0x6d, 0x22, 0x3a]), 7); // ,"sum":
    float(this.sum);
    part(memory.data<u8>([0x2c, 0x22, 0x6d, 0x69, 0x6e, 0x22, 0x3a]), 7); // ,"min":
    float(this.min);
    part(memory.data<u8>([0x2c, 0x22, 0x6d, 0x61, 0x78, 0x22, 0x3a]), 7); // ,"max":
    float(this.max);
    part(memory.data<u8>([0x2c, 0x22, 0x6d, 0x65, 0x61, 0x6e, 0x22, 0x3a]), 8); // ,"mean":
    float(this.sum / <f64>this.count);
    close();
  }

  order(column: u32): f64 {
    if (column == 0) return <f64>this.count;
    if (column == 1) return this.sum;
    if (this.count == 0) return NaN;
    return column == 2 ? this.min : column == 3 ? this.max : this.sum / <f64>this.count;
  }
}

/** Bytes of a text that are kept beyond its record: {u32 block, u32 length, u32 capacity, u32 has}. */
@unmanaged class KeptText {
  private block: u32;
  private length: u32;
  private capacity: u32;
  has: u32;


  @inline init(): void {
    this.capacity = 0;
    this.length = 0;
    this.has = 0;
  }

  keep(ptr: usize, length: u32): void {
    if (length > this.capacity) {
      if (this.capacity) giveBlock(this.block, this.capacity);
      this.block = <u32>takeBlock(length);
      this.capacity = <u32>blockBytes(length);
    }
    memory.copy(this.block, ptr, length);
    this.length = length;
    this.has = 1;
  }

  /** Negative, zero or positive as the bytes come before, are, or come after those that are kept. */
  order(ptr: usize, length: u32): i32 {
    return compareBytes(ptr, length, this.block, this.length);
  }

  touch(): void {
    if (this.capacity) touchRange(this.block, this.capacity);
  }

  drop(): void {
    if (this.capacity) giveBlock(this.block, this.capacity);
  }

  room(): usize {
    return 11 + <usize>this.length;
  }

  write(o: usize): usize {
    o = putVarint(o, this.has ? <u64>this.length + 1 : 0);
    if (!this.has) return o;
    memory.copy(o, this.block, this.length);
    return o + this.length;
  }

  render(): void {
    single();
    if (this.has) text(this.block, this.length);
    else nothing();
  }
}

/** The first value in the order of the input. */
@unmanaged export class First<T> {
  private a: u64;
  private b: u64;

  /** Whether there was any. */
  @inline get present(): bool {
    return isKept<T>(changetype<usize>(this));
  }

  /** Only where it is `present`; changes with the state. */
  @inline get value(): T {
    return valueOf<T>(changetype<usize>(this));
  }


  @inline or(otherwise: T): T {
    return this.present ? this.value : otherwise;
  }


  @inline add(x: T): void {
    if (isReference<T>() && isDefined(x.ptr)) {
      const kept = changetype<KeptText>(this);
      if (!kept.has) kept.keep(x.ptr, x.length);
    } else if (!this.b) {
      this.a = bitsOf<T>(x);
      this.b = 1;
    }
  }


  @inline init(): void {
    this.a = 0;
    this.b = 0;
  }

  /** Nothing to mark: the block of a text stays as it is once it is there. */
  touch(): void {}

  /** Gives back the block of a text. */
  drop(): void {
    changetype<KeptText>(this).drop();
  }

  room(): usize {
    return roomOf<T>(changetype<usize>(this));
  }

  write(o: usize): usize {
    return writeKept<T>(changetype<usize>(this), o);
  }

  merge(p: usize): usize {
    return mergeKept<T>(changetype<usize>(this), p, false);
  }

  render(): void {
    renderKept<T>(changetype<usize>(this));
  }

  order(column: u32): f64 {
    return orderKept<T>(changetype<usize>(this));
  }
}

/** The last value in the order of the input. */
@unmanaged export class Last<T> {
  private a: u64;
  private b: u64;

  /** Whether there was any. */
  @inline get present(): bool {
    return isKept<T>(changetype<usize>(this));
  }

  /** Only where it is `present`; changes with the state. */
  @inline get value(): T {
    return valueOf<T>(changetype<usize>(this));
  }


  @inline or(otherwise: T): T {
    return this.present ? this.value : otherwise;
  }


  @inline add(x: T): void {
    if (isReference<T>() && isDefined(x.ptr)) changetype<KeptText>(this).keep(x.ptr, x.length);
    else {
      this.a = bitsOf<T>(x);
      this.b = 1;
    }
  }


  @inline init(): void {
    this.a = 0;
    this.b = 0;
  }

  /** Marks the block of a text, which may change. */
  touch(): void {
    changetype<KeptText>(this).touch();
  }

  /** Gives back the block of a text. */
  drop(): void {
    changetype<KeptText>(this).drop();
  }

  room(): usize {
    return roomOf<T>(changetype<usize>(this));
  }

  write(o: usize): usize {
    return writeKept<T>(changetype<usize>(this), o);
  }

  merge(p: usize): usize {
    return mergeKept<T>(changetype<usize>(this), p, true);
  }

  render(): void {
    renderKept<T>(changetype<usize>(this));
  }

  order(column: u32): f64 {
    return orderKept<T>(changetype<usize>(this));
  }
}


@inline function isText<T>(): bool {
  if (isReference<T>()) {
    if (isDefined(changetype<T>(0).ptr)) return true;
    else return false;
  } else return false;
}


@inline function roomOf<T>(at: usize): usize {
  return isText<T>() ? changetype<KeptText>(at).room() : 9;
}


@inline function writeKept<T>(at: usize, o: usize): usize {
  return isText<T>() ? changetype<KeptText>(at).write(o) : changetype<Held<u64>>(at).write(o);
}


@inline function mergeKept<T>(at: usize, p: usize, replace: bool): usize {
  if (isText<T>()) {
    const length = getVarint(p);
    p = varintEnd;
    if (!length) return p;
    const kept = changetype<KeptText>(at);
    if (replace || !kept.has) kept.keep(p, <u32>length - 1);
    return p + <usize>length - 1;
  }
  if (!load<u8>(p)) return p + 1;
  if (replace || !load<u64>(at, 8)) {
    store<u64>(at, load<u64>(p, 1));
    store<u64>(at, 1, 8);
  }
  return p + 9;
}


@inline function renderKept<T>(at: usize): void {
  if (isReference<T>()) {
    if (isDefined(changetype<T>(0).ptr)) changetype<KeptText>(at).render();
    else changetype<Held<T>>(at).render();
  } else changetype<Held<T>>(at).render();
}


@inline function orderKept<T>(at: usize): f64 {
  if (isReference<T>()) {
    if (isDefined(changetype<T>(0).ptr)) return NaN;
    else return changetype<Held<T>>(at).order(0);
  } else return changetype<Held<T>>(at).order(0);
}
