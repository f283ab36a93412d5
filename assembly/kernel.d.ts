/**
 * The kernel SDK as editors see it: what `import { ... } from "hallelujah"` gives in a kernel, and the decorators.
 * AssemblyScript compiles kernels against the sources beside this file, never against it. Its number types are all
 * `number` here, so an editor lets pass a mix of i32 and f64 that `hallelujah build` refuses.
 */
/// <reference types="assemblyscript/std/types/assembly/index.d.ts" />

declare global {
  /**
   * What is needed of each input record: fields of f64, f32, i8 to i64, u8 to u64, bool, Text, Time or Decimal, or
   * Optional of one of these. A record that lacks a field, or holds another type there, is left out and reported.
   * A class that `each` does not take is one for `out.emit`.
   */
  function record(target: Function): void;
  /** What is kept for each key of a table: fields of Count, Sum, Min, Max, Stats, First, Last, Distinct, Quantiles, Top. */
  function state(target: Function): void;
  /** The field's name in the input: a CSV column, or NDJSON keys joined by dots, e.g. `@name("user.id")`. */
  function name(source: string): (target: object, field: string) => void;
  /**
   * The field, of type Time, that says when the event was. `lateness` is how much later than others a record may come, ms:
   * `@time(10_000)`; 0 if it is left out as in `@time`.
   */
  const time: ((target: object, field: string) => void) &
    ((lateness: number) => (target: object, field: string) => void);
}

/** A key of a table: a text, an integer, a boolean, a time, a decimal, or a tuple of these. */
type Key = Text | number | boolean | Time | Decimal | Pair<any, any> | Triple<any, any, any>;

/** A view of UTF-8 bytes, mostly in the input. It ends with its record; First, Last, Top and tables copy it. */
export class Text {
  private readonly __text: never;
  private constructor();
  /** The text of a string, in UTF-8. For constants a kernel compares with, `is` is quicker. */
  static of(value: string): Text;
  /** Length in bytes. */
  readonly length: u32;
  readonly isEmpty: boolean;
  /** The byte at `index` from 0; 0 past the end. */
  byteAt(index: i32): u8;
  /** Bytes from `start` up to `end` (exclusive), cut to the text. */
  slice(start: i32, end?: i32): Text;
  /** Where the byte `byte` stands first at or after `from`; -1 if nowhere. E.g. 0x20 for a space. */
  indexOf(byte: i32, from?: i32): i32;
  /** Whether both are the same, byte for byte; `==` says the same. */
  equals(other: Text): boolean;
  /** Negative, zero or positive as this text comes before, is, or comes after the other in the order of their UTF-8 bytes. */
  compare(other: Text): i32;
  /** Whether the text is the same as a string: `method.is("GET")`. */
  is(value: string): boolean;
  startsWith(value: string): boolean;
  endsWith(value: string): boolean;
  /** Whether `value` occurs anywhere. */
  includes(value: string): boolean;
  /** Without white space (bytes up to 0x20) at both ends. */
  trim(): Text;
  /** A copy with A to Z in lower case; other letters stay as they are. */
  toLowerAscii(): Text;
  /** The number written here; NaN if it is none. */
  toF64(): f64;
  /** The integer written here; `otherwise` (0) if it is none. */
  toI64(otherwise?: i64): i64;
  /** A string; slow, and gone with the record. */
  toString(): string;
}

/** Walks through a text from left to right. */
export class Cursor {
  constructor(text: Text);
  /** Whether nothing is left. */
  readonly done: boolean;
  /** The bytes up to the next `byte` (or to the end), which is passed over. */
  until(byte: i32): Text;
  /** Passes over `count` bytes. */
  skip(count: i32): void;
  /** What is left. */
  rest(): Text;
  /** The next run of ASCII letters, digits, apostrophes inside words and bytes above 0x7f; empty at the end. */
  word(): Text;
}

/** An instant in UTC; read from ISO 8601 as in `2024-02-29T13:05:00Z` (without an offset it is UTC). */
export class Time {
  private readonly __time: never;
  private constructor();
  static of(ms: i64): Time;
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  ms: i64;
  readonly year: i32;
  /** 1 to 12. */
  readonly month: i32;
  /** Day of the month, 1 to 31. */
  readonly day: i32;
  /** 1 = Monday to 7 = Sunday. */
  readonly weekday: i32;
  readonly hour: i32;
  readonly minute: i32;
  readonly second: i32;
  /** The start of the span of `ms` milliseconds in which this time lies: `time.floor(3_600_000)` for hours. */
  floor(ms: i64): Time;
  /** The start of the span of so many months, counted from 2000: `time.floorMonths(3)` for quarters, 12 for years. */
  floorMonths(months: i32): Time;
}

/** An exact number with six digits after the point, in 64 bits: up to about 9.2 million million. */
export class Decimal {
  private readonly __decimal: never;
  private constructor();
  /** A decimal of so many millionths. */
  static of(units: i64): Decimal;
  /** Millionths. */
  units: i64;
  /** The nearest f64. */
  toF64(): f64;
  plus(other: Decimal): Decimal;
  minus(other: Decimal): Decimal;
  less(other: Decimal): boolean;
  greater(other: Decimal): boolean;
}

/** A field that a record may lack: an empty CSV cell, JSON null, a key that is not there. */
export class Optional<T> {
  private constructor();
  /** Whether the record has the field. */
  readonly present: boolean;
  /** The field's value; only where it is `present`. Set it in a record that is emitted. */
  value: T;
  /** The value, or `otherwise` where it is absent. */
  or(otherwise: T): T;
}

/** Values of a `@state` class by key. Declare each once, as a constant at the top of the kernel. */
export class Table<K extends Key, V extends object> {
  private readonly __key: K;
  /** `name` (letters, digits, - and _) is the one under which its rows come out. */
  constructor(name: string);
  /** The value of a key; a new one if the key was not there. Valid until the frame ends: do not keep it. */
  at(key: K): V;
}

/**
 * Rows of a `@record` class, in columns, for other kernels to visit by the name of the dataset and of its fields. Declare each once, as a
 * constant at the top of the kernel.
 */
export class Dataset<T extends object> {
  private readonly __row: T;
  /**
   * Of all rows at least the last `rows` are kept, and all that are not older than `age` ms, by their field with `@time` or else the
   * first that is a Time; 0, or nothing, keeps all.
   */
  constructor(name: string, rows?: i64, age?: i64);
  /** For `each`: keeps a record as a row. */
  add(record: T): void;
}

/**
 * Values of a `@state` class by key and span of event time. Spans are aligned to 1970 in UTC. A record lies in one window if
 * `step` is left out, else in `size / step` of them. When event time has passed a window's end, `close` is called for
 * each of its keys, and they are removed.
 */
export class Windows<K extends Key, V extends object> {
  private readonly __key: K;
  /** `size` and `step` in ms; `size` is a multiple of `step`. */
  constructor(name: string, size: i64, step?: i64);
  /** For `each`: the value of a key in the span of length `step` that `time` lies in. Valid until the frame ends. */
  at(key: K, time: Time): V;
}

/** Values of a `@state` class by key, each for as long as its records follow one another; kept by `fold`. */
export class Sessions<K extends Key, V extends object> {
  private readonly __key: K;
  /** A session is over `gap` ms after its last record. */
  constructor(name: string, gap: i64);
}

/** The span of event time that `close` is called for. */
export class Window {
  private constructor();
  /** The first instant of a window; of a session the time of its first record. */
  readonly start: Time;
  /** The first instant behind a window; of a session the time of its last record. */
  readonly end: Time;
}

/** A key of two parts; rows have it as an array. A part that is a tuple itself has its parts in the same array. */
export class Pair<A extends Key, B extends Key> {
  private readonly __parts: [A, B];
  private constructor();
}

/** A key of three parts, as Pair is of two. */
export class Triple<A extends Key, B extends Key, C extends Key> {
  private readonly __parts: [A, B, C];
  private constructor();
}

/** Two parts as one key: `routes.at(pair(flight.origin, flight.destination))`. */
export function pair<A extends Key, B extends Key>(a: A, b: B): Pair<A, B>;
/** Three parts as one key. */
export function triple<A extends Key, B extends Key, C extends Key>(a: A, b: B, c: C): Triple<A, B, C>;

// Aggregates have an `add` for records; what can be read of them is for `fold` and `close`. In `each` it is that of the
// frame at hand only.

/** How many. In rows: a number. */
export class Count {
  private readonly __count: never;
  readonly value: u64;
  add(by?: u64): void;
}

/**
 * The total. Integers and Decimal: exact, and a total beyond 64 bits stops the run. Floats: added in the order of the
 * input, frame by frame, so the last digits are the same in every run.
 */
export class Sum<T extends number | Decimal = f64> {
  private readonly __sum: T;
  readonly value: T;
  add(x: T): void;
}

/** The smallest value, of texts by their UTF-8 bytes; NaN is passed over. In rows: null if there was none. */
export class Min<T extends number | Text | Time | Decimal = f64> {
  private readonly __min: T;
  /** Whether there was any. */
  readonly present: boolean;
  /** Only where it is `present`. */
  readonly value: T;
  or(otherwise: T): T;
  add(x: T): void;
}

/** The largest value, of texts by their UTF-8 bytes; NaN is passed over. In rows: null if there was none. */
export class Max<T extends number | Text | Time | Decimal = f64> {
  private readonly __max: T;
  /** Whether there was any. */
  readonly present: boolean;
  /** Only where it is `present`. */
  readonly value: T;
  or(otherwise: T): T;
  add(x: T): void;
}

/** Count, sum, least, greatest and mean. In rows: `{"count","sum","min","max","mean"}`. */
export class Stats {
  private readonly __stats: never;
  readonly count: u64;
  readonly sum: f64;
  /** Infinity while there is none. */
  readonly min: f64;
  /** -Infinity while there is none. */
  readonly max: f64;
  /** NaN while there is none. */
  readonly mean: f64;
  add(x: number): void;
}

/** The first value in the order of the input. In rows: null if there was none. */
export class First<T extends number | Text | Time | Decimal> {
  private readonly __first: T;
  /** Whether there was any. */
  readonly present: boolean;
  /** Only where it is `present`. */
  readonly value: T;
  or(otherwise: T): T;
  add(x: T): void;
}

/** The last value in the order of the input. In rows: null if there was none. */
export class Last<T extends number | Text | Time | Decimal> {
  private readonly __last: T;
  /** Whether there was any. */
  readonly present: boolean;
  /** Only where it is `present`. */
  readonly value: T;
  or(otherwise: T): T;
  add(x: T): void;
}

/** How many different values there were: exact up to 384, beyond that with a standard error of 1.6 %. */
export class Distinct {
  private readonly __distinct: never;
  readonly value: u64;
  add(x: Key): void;
}

/** Median, 90th and 99th percentile within 0.8 %; NaN is passed over. In rows: `{"p50","p90","p99"}`. */
export class Quantiles {
  private readonly __quantiles: never;
  /** The value at a quantile from 0 to 1; NaN if there is none. */
  at(q: f64): f64;
  add(x: number | Decimal): void;
}

/**
 * The ten values that occur most often, most frequent first. In rows: `[{"key","count"}]`. Exact while there are no
 * more than 512 different values; beyond that a count may be short by less than 1/256 of all that was added.
 */
export class Top<T extends Text | number | Time> {
  private readonly __top: T;
  /** How many values are reported: ten at most. */
  readonly size: i32;
  /** A value that is reported; 0 is the most frequent. */
  keyAt(rank: i32): T;
  /** How often it was counted. */
  countAt(rank: i32): u64;
  add(x: T): void;
  /** Counts a value `weight` times. */
  addMany(x: T, weight: u64): void;
}

export namespace out {
  /** Sends a record, of a `@record` class that `each` does not take, to the output, in the order of the input. */
  function emit<T extends object>(record: T): void;
}
