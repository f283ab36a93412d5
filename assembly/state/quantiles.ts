/**
 * Quantiles: median, 90th and 99th percentile within 0.8 %. DDSketch (Masson, Rim, Lee, VLDB 2019) with the
 * log-linear mapping that a float's bits are: sign, exponent and the top 7 bits of the fraction name the bucket, so
 * each octave has 128 of them and a bucket is at most 2^-7 of its values wide. A bucket keeps its smallest value, and
 * that is what is reported: a value that did occur, exact for repeated values and for integers below 256.
 *
 * A quantile q of n values is the one at rank ceil(q * n) of the sorted values (nearest rank).
 *
 * At most 3072 buckets are held: enough for all values within 24 octaves (a factor of 16 million) of one sign, or 12
 * octaves of both, and for far wider ranges that are not dense. Beyond that, pairs of neighbours become one bucket all over, by one bit less of
 * the fraction, and the error doubles (uniform collapse: Epicoco, Melle, Cafaro, Pulimeno, Morleo, "UDDSketch",
 * 2020); unlike dropping the smallest buckets that keeps low quantiles right. It also makes the state a function of
 * the values alone: buckets are halved once exactly when their values fill more than 3072 of them, so neither the
 * order of adds and merges nor how the records were cut into frames can change the answer.
 *
 *   slots: { f64 smallest, u64 count }, a power of two of them, linear probing, count 0 = free; the bucket is
 *          not stored, being the top bits of `smallest`
 *   written: u8 shift, varint zeros, varint buckets, then per bucket
 *            u8: 3 bits bytes of the value - 1, 5 bits count (0: a varint follows the value);
 *            the value's bytes from the top, without those at its end that are 0
 */
import { damaged } from "../damaged";
import { touchRange } from "../dirty";
import { giveBlock, takeBlock } from "../heap";
import { close, float, part } from "../row";
import { getVarint, putVarint, varintEnd } from "../varint";

/** Bits of a float below the bucket's number: 52 less 7. */
const SHIFT: u32 = 45;
const SLOTS_MAX: u32 = 4096;
/** Three quarters of the slots. */
const BUCKETS_MAX: u32 = 3072;
const FIRST_SLOTS: u32 = 4;
const SLOT_BYTES: usize = 16;


@unmanaged export class Quantiles {
  /** Address of the slots; 0 while there are none, and then the null page is one free slot. */
  private block: u32;
  /** Slots minus one. */
  private mask: u32;
  /** Buckets. */
  private used: u32;
  private shift: u32;
  private zeros: u64;

  /** `x` is a number or a decimal. NaN is passed over. */
  @inline add<T>(x: T): void {
    const value = valueOf<T>(x);
    const bits = reinterpret<u64>(value);
    const bucket = bits >> this.shift;
    const slot = <usize>this.block + homeOf(bucket, this.mask);
    const first = load<u64>(slot);
    const count = load<u64>(slot, 8);
    // Zero and NaN, which is not above zero either, may share the top bits of others.
    if (first >> this.shift == bucket && count && abs<f64>(value) > 0) {
      store<u64>(slot, count + 1, 8);
      if (value < reinterpret<f64>(first)) store<f64>(slot, value);
    } else this.put(value, 1);
  }


  @inline init(): void {
    this.block = 0;
    this.mask = 0;
    this.used = 0;
    this.shift = SHIFT;
    this.zeros = 0;
  }

  /** Counts a value that is not in the first slot it could be in. */
  private put(value: f64, count: u64): void {
    if (value == 0) this.zeros += count;
    else if (value == value) this.putBucket(value, count);
  }

  private putBucket(value: f64, count: u64): void {
    const slots = this.mask + 1;
    if (!this.block) this.resize(FIRST_SLOTS, this.shift);
    else if (this.used >= slots - (slots >> 2) && slots < SLOTS_MAX) this.resize(slots << 1, this.shift);
    this.used += <u32>place(this.block, this.mask, this.shift, value, count);
    while (this.used > BUCKETS_MAX) this.resize(this.mask + 1, this.shift + 1);
  }

  /** Moves the buckets to a block of so many slots; those that a greater shift makes the same become one. */
  private resize(slots: u32, shift: u32): void {
    const before = <usize>this.block;
    const beforeBytes = before ? (<usize>this.mask + 1) * SLOT_BYTES : 0;
    const block = takeBlock(<usize>slots * SLOT_BYTES);
    memory.fill(block, 0, <usize>slots * SLOT_BYTES);
    let used: u32 = 0;
    for (let at = before, end = before + beforeBytes; at < end; at += SLOT_BYTES) {
      const count = load<u64>(at, 8);
      if (count) used += <u32>place(block, slots - 1, shift, load<f64>(at), count);
    }
    if (before) giveBlock(before, beforeBytes);
    this.block = <u32>block;
    this.mask = slots - 1;
    this.used = used;
    this.shift = shift;
  }

  /** Marks its block, which may change. */
  touch(): void {
    if (this.block) touchRange(this.block, (<usize>this.mask + 1) * SLOT_BYTES);
  }

  /** Gives its block back. */
  drop(): void {
    if (this.block) giveBlock(this.block, (<usize>this.mask + 1) * SLOT_BYTES);
  }

  room(): usize {
    return 24 + <usize>this.used * 20;
  }

  write(o: usize): usize {
    store<u8>(o, <u8>this.shift);
    o = putVarint(o + 1, this.zeros);
    o = putVarint(o, this.used);
    if (!this.used) return o;
    for (let at = <usize>this.block, end = at + (<usize>this.mask + 1) * SLOT_BYTES; at < end; at += SLOT_BYTES) {
      const count = load<u64>(at, 8);
      if (!count) continue;
      const bits = load<u64>(at);
      const bytes = 8 - ((<u32>ctz<u64>(bits)) >> 3);
      const short = count < 32;
      store<u8>(o, <u8>((bytes - 1) | ((short ? <u32>count : 0) << 3)));
      store<u64>(o, bswap<u64>(bits), 1);
      o += 1 + <usize>bytes;
      if (!short) o = putVarint(o, count);
    }
    return o;
  }

  merge(p: usize): usize {
    const shift = <u32>load<u8>(p);
    if (shift < SHIFT || shift > 63) damaged();
    this.zeros += getVarint(p + 1);
    const buckets = getVarint(varintEnd);
    if (buckets > <u64>BUCKETS_MAX) damaged();
    const used = <u32>buckets;
    p = varintEnd;
    if (!this.block) {
      if (used) this.resize(slotsFor(used), max(shift, this.shift));
    } else if (shift > this.shift) this.resize(this.mask + 1, shift);
    for (let i: u32 = 0; i < used; i++) {
      const head = <u32>load<u8>(p);
      const unused = (7 - ((<u64>head) & 7)) << 3;
      const bits = (bswap<u64>(load<u64>(p, 1)) >> unused) << unused;
      let count = <u64>(head >> 3);
      p += 2 + <usize>(head & 7);
      if (!count) {
        count = getVarint(p);
        p = varintEnd;
        if (!count) damaged();
      }
      this.putBucket(reinterpret<f64>(bits), count);
    }
    return p;
  }

  /** The value at rank ceil(q * n); NaN if there is none. `q` is from 0 to 1. */
  at(q: f64): f64 {
    const buckets = this.gather();
    return buckets ? select(buckets, rankOf(q)) : NaN;
  }

  /** Copies the buckets to `scratch`; returns how many. Their counts add up to `total`. */
  private gather(): u32 {
    let o = scratch;
    total = this.zeros;
    if (total) {
      store<f64>(o, 0);
      store<u64>(o, total, 8);
      o += SLOT_BYTES;
    }
    if (!this.used) return <u32>((o - scratch) / SLOT_BYTES);
    for (let at = <usize>this.block, end = at + (<usize>this.mask + 1) * SLOT_BYTES; at < end; at += SLOT_BYTES) {
      const count = load<u64>(at, 8);
      if (!count) continue;
      total += count;
      v128.store(o, v128.load(at));
      o += SLOT_BYTES;
    }
    return <u32>((o - scratch) / SLOT_BYTES);
  }

  render(): void {
    const buckets = this.gather();
    part(memory.data<u8>([0x7b, 0x22, 0x70, 0x35, 0x30, 0x22, 0x3a]), 7); // {"p50":
    float(buckets ? select(buckets, rankOf(0.5)) : NaN);
    part(memory.data<u8>([0x2c, 0x22, 0x70, 0x39, 0x30, 0x22, 0x3a]), 7); // ,"p90":
    float(buckets ? select(buckets, rankOf(0.9)) : NaN);
    part(memory.data<u8>([0x2c, 0x22, 0x70, 0x39, 0x39, 0x22, 0x3a]), 7); // ,"p99":
    float(buckets ? select(buckets, rankOf(0.99)) : NaN);
    close();
  }

  order(column: u32): f64 {
    return this.at(column == 0 ? 0.5 : column == 1 ? 0.9 : 0.99);
  }
}


@inline function valueOf<T>(x: T): f64 {
  if (isReference<T>()) {
    if (isDefined(x.units)) return x.toF64();
    else {
      ERROR("Quantiles takes numbers and decimals");
      return 0;
    }
  } else return <f64>x;
}

/** Where a bucket's slot is looked for first, from the start of the slots. */
@inline function homeOf(bucket: u64, mask: u32): usize {
  return <usize>(((<u32>bucket * 0x9e3779b1) >> 20) & mask) * SLOT_BYTES;
}

/** Adds to a bucket; returns whether it is a new one. There is a free slot. */
function place(block: usize, mask: u32, shift: u64, value: f64, count: u64): bool {
  const bucket = reinterpret<u64>(value) >> shift;
  const last = <usize>mask * SLOT_BYTES;
  let i = homeOf(bucket, mask);
  while (true) {
    const slot = block + i;
    const there = load<u64>(slot, 8);
    if (!there) {
      store<f64>(slot, value);
      store<u64>(slot, count, 8);
      return true;
    }
    if (load<u64>(slot) >> shift == bucket) {
      store<u64>(slot, there + count, 8);
      if (value < load<f64>(slot)) store<f64>(slot, value);
      return false;
    }
    i = (i + SLOT_BYTES) & last;
  }
}

function slotsFor(buckets: u32): u32 {
  let slots = FIRST_SLOTS;
  while (slots - (slots >> 2) <= buckets && slots < SLOTS_MAX) slots <<= 1;
  return slots;
}

/** Room for all buckets and the zeros; taken when the module starts, so that it outlives the records. */
// @ts-ignore: decorator
@lazy const scratch: usize = heap.alloc((<usize>BUCKETS_MAX + 1) * SLOT_BYTES);
let total: u64 = 0;

/** ceil(q * total), from 1 to total; q * total may round up past an integer. */
function rankOf(q: f64): u64 {
  const n = <f64>total;
  let rank = Math.ceil(q * n);
  if ((rank - 1) / n >= q) rank -= 1;
  return min<u64>(max<u64>(<u64>max<f64>(rank, 1), 1), total);
}

/** The value at a rank of the buckets in `scratch`, which are put in another order (Hoare's find, by weight). */
function select(buckets: u32, rank: u64): f64 {
  let low = scratch;
  let high = scratch + (<usize>buckets - 1) * SLOT_BYTES;
  while (low < high) {
    swap(low + (((high - low) / SLOT_BYTES) >> 1) * SLOT_BYTES, high);
    const pivot = load<f64>(high);
    let border = low;
    let below: u64 = 0;
    for (let at = low; at < high; at += SLOT_BYTES) {
      if (load<f64>(at) >= pivot) continue;
      below += load<u64>(at, 8);
      swap(at, border);
      border += SLOT_BYTES;
    }
    swap(border, high);
    if (rank <= below) high = border - SLOT_BYTES;
    else {
      rank -= below;
      const here = load<u64>(border, 8);
      if (rank <= here) return pivot;
      rank -= here;
      low = border + SLOT_BYTES;
    }
  }
  return load<f64>(low);
}


@inline function swap(a: usize, b: usize): void {
  const bucket = v128.load(a);
  v128.store(a, v128.load(b));
  v128.store(b, bucket);
}
