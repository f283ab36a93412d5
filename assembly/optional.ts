/** Optional: a field that a record may lack (an empty CSV cell, JSON null, a key that is not there). */

@unmanaged export class Optional<T> {
  private has: u64;
  private content: u64;

  /** Whether the record has the field. */
  @inline get present(): bool {
    return this.has != 0;
  }

  /** The field's value; only where it is `present`. */
  @inline get value(): T {
    if (isReference<T>()) return changetype<T>(changetype<usize>(this) + 8);
    else return load<T>(changetype<usize>(this), 8);
  }

  /** Sets the field of a record that is emitted. */
  set value(value: T) {
    this.has = 1;
    if (isReference<T>()) store<u64>(changetype<usize>(this), load<u64>(changetype<usize>(value)), 8);
    else store<T>(changetype<usize>(this), value, 8);
  }

  /** The value, or `otherwise` where it is absent. */
  @inline or(otherwise: T): T {
    return this.has ? this.value : otherwise;
  }
}
