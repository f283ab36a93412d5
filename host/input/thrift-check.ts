/**
 * Walks a struct in Thrift's compact protocol, of which Parquet's footer and page headers are made, before hyparquet decodes it:
 * that makes an array as long as a list claims to be, for each level of lists in lists, and shifts a number by as many bits as come.
 */
const DEPTH_MAX = 32;
/** Bytes of 64 bits, seven at a time. */
const VARINT_BYTES_MAX = 10;

const STOP = 0;
const TRUE = 1;
const FALSE = 2;
const BYTE = 3;
const I64 = 6;
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const STRUCT = 12;

/** Throws an Error if the struct at `offset` is not whole, or claims what cannot be there. */
export function checkThrift({ view, offset }: { view: DataView; offset: number }): void {
  new Walk(view, offset).struct(0);
}

class Walk {
  constructor(
    private readonly view: DataView,
    private at: number,
  ) {}

  struct(depth: number): void {
    if (depth > DEPTH_MAX) throw new Error(`structs and lists nested more than ${DEPTH_MAX} deep`);
    for (let head = this.byte(); (head & 0x0f) !== STOP; head = this.byte()) {
      if (!(head >> 4)) this.varint();
      this.value(head & 0x0f, depth, false);
    }
  }

  /** In a list a boolean is a byte; elsewhere its type is its value. */
  private value(type: number, depth: number, listed: boolean): void {
    if (type === TRUE || type === FALSE) this.skip(listed ? 1 : 0);
    else if (type === BYTE) this.skip(1);
    else if (type > BYTE && type <= I64) this.varint();
    else if (type === DOUBLE) this.skip(8);
    else if (type === BINARY) this.skip(this.varint());
    else if (type === LIST) this.list(depth + 1);
    else if (type === STRUCT) this.struct(depth + 1);
    else throw new Error(`a value of the unknown type ${type}`);
  }

  private list(depth: number): void {
    const head = this.byte();
    const count = head >> 4 === 15 ? this.varint() : head >> 4;
    // No element takes less than a byte.
    if (count > this.view.byteLength - this.at) throw new Error(`a list of ${count} elements`);
    if (depth > DEPTH_MAX) throw new Error(`structs and lists nested more than ${DEPTH_MAX} deep`);
    for (let i = 0; i < count; i++) this.value(head & 0x0f, depth, true);
  }

  /** Exact below 2^53. */
  private varint(): number {
    let value = 0;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** (7 * i);
      if (byte < 0x80) return value;
    }
    throw new Error(`a number of more than ${VARINT_BYTES_MAX} bytes`);
  }

  private skip(bytes: number): void {
    if (bytes > this.view.byteLength - this.at) throw new Error(`a value of ${bytes} bytes exceeds the rest`);
    this.at += bytes;
  }

  private byte(): number {
    if (this.at >= this.view.byteLength) throw new Error("it ends too early");
    return this.view.getUint8(this.at++);
  }
}
