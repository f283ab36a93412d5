/** Decimal: an exact number with six digits after the point, in 64 bits: up to about 9.2 million million. */

export const DECIMAL_SCALE: i32 = 6;
const ONE: i64 = 1_000_000;


@unmanaged export class Decimal {
  /** Millionths. */
  units: i64;

  /** A decimal of so many millionths. It lives until the record ends. */
  static of(units: i64): Decimal {
    const decimal = changetype<Decimal>(heap.alloc(8));
    decimal.units = units;
    return decimal;
  }

  /** The nearest f64. */
  @inline toF64(): f64 {
    return <f64>this.units / <f64>ONE;
  }


  @operator("+") plus(other: Decimal): Decimal {
    return Decimal.of(this.units + other.units);
  }


  @operator("-") minus(other: Decimal): Decimal {
    return Decimal.of(this.units - other.units);
  }


  @operator("<") less(other: Decimal): bool {
    return this.units < other.units;
  }


  @operator(">") greater(other: Decimal): bool {
    return this.units > other.units;
  }
}
