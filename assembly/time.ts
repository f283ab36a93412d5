/** Time: an instant in UTC, in milliseconds since 1970, as ISO 8601 writes it. */
import { cursor, format, put, setCursor } from "./row";
import { CSV } from "./abi";

const DAY: i64 = 86_400_000;
/** Years 0 to 9999, what ISO 8601 writes with four digits. */
const LOWEST: i64 = -62_167_219_200_000;
const HIGHEST: i64 = 253_402_300_799_999;
export const NO_TIME: i64 = i64.MIN_VALUE;


@unmanaged export class Time {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  ms: i64;

  static of(ms: i64): Time {
    const time = changetype<Time>(heap.alloc(8));
    time.ms = ms;
    return time;
  }

  get year(): i32 {
    return <i32>(civil(this.ms) >> 16);
  }

  /** 1 to 12. */
  get month(): i32 {
    return (<i32>(civil(this.ms) >> 8)) & 0xff;
  }

  /** Day of the month, 1 to 31. */
  get day(): i32 {
    return (<i32>civil(this.ms)) & 0xff;
  }

  /** 1 = Monday to 7 = Sunday. */
  get weekday(): i32 {
    return <i32>remainder(days(this.ms) + 3, 7) + 1;
  }

  get hour(): i32 {
    return <i32>(remainder(this.ms, DAY) / 3_600_000);
  }

  get minute(): i32 {
    return <i32>((remainder(this.ms, DAY) / 60_000) % 60);
  }

  get second(): i32 {
    return <i32>((remainder(this.ms, DAY) / 1000) % 60);
  }

  /** The start of the span of `ms` milliseconds in which this time lies, e.g. `time.floor(3_600_000)` for hours. */
  floor(ms: i64): Time {
    return Time.of(this.ms - remainder(this.ms, ms));
  }

  /** The start of the span of so many months in which this time lies; spans are counted from 2000: 3 for quarters, 12 for years. */
  floorMonths(months: i32): Time {
    const date = civil(this.ms);
    const month = ((date >> 16) - 2000) * 12 + ((date >> 8) & 0xff) - 1;
    const first = month - remainder(month, months);
    const within = remainder(first, 12);
    return Time.of(daysOf(2000 + (first - within) / 12, within + 1, 1) * DAY);
  }
}


@inline function remainder(a: i64, b: i64): i64 {
  const r = a % b;
  return r < 0 ? r + b : r;
}


@inline function days(ms: i64): i64 {
  return (ms - remainder(ms, DAY)) / DAY;
}

/** Year << 16 | month << 8 | day (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
function civil(ms: i64): i64 {
  const z = days(ms) + 719_468;
  const era = (z >= 0 ? z : z - 146_096) / 146_097;
  const dayOfEra = z - era * 146_097;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const shifted = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * shifted + 2) / 5 + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + <i64>(month <= 2);
  return (year << 16) | (month << 8) | day;
}

/** Days since 1970 of a date (the same source). */
function daysOf(year: i64, month: i64, day: i64): i64 {
  const y = month <= 2 ? year - 1 : year;
  const era = (y >= 0 ? y : y - 399) / 400;
  const yearOfEra = y - era * 400;
  const dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Two digits at `p`, -1 if they are none. */
@inline function two(p: usize): i64 {
  const a = <u32>load<u8>(p) - 0x30;
  const b = <u32>load<u8>(p, 1) - 0x30;
  return a < 10 && b < 10 ? <i64>(a * 10 + b) : -1;
}

function monthDays(year: i64, month: i64): i64 {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/**
 * Milliseconds of an ISO 8601 time in [p, end): `2024-02-29`, then optionally `T` or a space, `hh:mm`, `:ss`, a
 * fraction, and `Z` or an offset; without one it is UTC. NO_TIME if it is none.
 */
export function parseTime(p: usize, end: usize): i64 {
  if (end - p < 10) return NO_TIME;
  const century = two(p);
  const decade = two(p + 2);
  const month = two(p + 5);
  const day = two(p + 8);
  const year = century * 100 + decade;
  if (century < 0 || decade < 0 || month < 1 || month > 12 || day < 1) return NO_TIME;
  if (load<u8>(p, 4) != 0x2d || load<u8>(p, 7) != 0x2d || day > monthDays(year, month)) return NO_TIME;
  let ms = daysOf(year, month, day) * DAY;
  p += 10;
  if (p == end) return ms;
  const t = load<u8>(p++) | 0x20;
  if ((t != 0x74 && t != 0x20) || end - p < 5) return NO_TIME;
  const hour = two(p);
  const minute = two(p + 3);
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || load<u8>(p, 2) != 0x3a) return NO_TIME;
  ms += hour * 3_600_000 + minute * 60_000;
  p += 5;
  if (p < end && load<u8>(p) == 0x3a) {
    if (end - p < 3) return NO_TIME;
    const second = two(p + 1);
    if (second < 0 || second > 60) return NO_TIME;
    ms += second * 1000;
    p += 3;
    if (p < end && (load<u8>(p) == 0x2e || load<u8>(p) == 0x2c)) {
      p++;
      let unit: i64 = 100;
      const digits = p;
      while (p < end && <u32>load<u8>(p) - 0x30 < 10) {
        ms += <i64>(load<u8>(p) - 0x30) * unit;
        unit /= 10;
        p++;
      }
      if (p == digits) return NO_TIME;
    }
  }
  if (p == end) return ms;
  const zone = load<u8>(p++);
  if (zone == 0x5a || zone == 0x7a) return p == end ? ms : NO_TIME;
  if (zone != 0x2b && zone != 0x2d) return NO_TIME;
  if (end - p < 2) return NO_TIME;
  const offsetHour = two(p);
  p += 2;
  if (p < end && load<u8>(p) == 0x3a) p++;
  const offsetMinute = p == end ? 0 : end - p == 2 ? two(p) : -1;
  if (offsetHour < 0 || offsetHour > 23 || offsetMinute < 0 || offsetMinute > 59) return NO_TIME;
  const offset = offsetHour * 3_600_000 + offsetMinute * 60_000;
  return zone == 0x2b ? ms - offset : ms + offset;
}

function digits(o: usize, value: i64, count: i32): usize {
  for (let i = count - 1; i >= 0; i--) {
    store<u8>(o + i, <u8>(0x30 + (value % 10)));
    value /= 10;
  }
  return o + count;
}

/** `2024-02-29T13:05:00.250Z` (always with milliseconds, as JavaScript writes it); null outside years 0 to 9999. */
export function renderTime(ms: i64): void {
  if (ms < LOWEST || ms > HIGHEST) {
    if (format != CSV) {
      store<u32>(cursor, 0x6c6c756e);
      setCursor(cursor + 4);
    }
    return;
  }
  const quoted = format != CSV;
  if (quoted) put(0x22);
  const date = civil(ms);
  const time = remainder(ms, DAY);
  let o = digits(cursor, date >> 16, 4);
  store<u8>(o, 0x2d);
  o = digits(o + 1, (date >> 8) & 0xff, 2);
  store<u8>(o, 0x2d);
  o = digits(o + 1, date & 0xff, 2);
  store<u8>(o, 0x54);
  o = digits(o + 1, time / 3_600_000, 2);
  store<u8>(o, 0x3a);
  o = digits(o + 1, (time / 60_000) % 60, 2);
  store<u8>(o, 0x3a);
  o = digits(o + 1, (time / 1000) % 60, 2);
  store<u8>(o, 0x2e);
  o = digits(o + 1, time % 1000, 3);
  store<u8>(o, 0x5a);
  setCursor(o + 1);
  if (quoted) put(0x22);
}
