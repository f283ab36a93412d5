/** Where the entries of one segment lie: columns that grow, 22 bytes an entry. In a sidecar they follow one another. */
import { crc32 } from "node:zlib";
import { ENTRY_HEADER } from "./log-format.ts";

/** An entry of a segment. */
export interface Indexed {
  /** Where it starts in the file. */
  offset: number;
  kind: number;
  headBytes: number;
  bytes: number;
  records: number;
  /** CRC-32 of the body. */
  sum: number;
}

const ROOM = 256;

export class SegmentIndex {
  count = 0;
  private room: number;
  private offsets: Uint32Array;
  private headBytes: Uint32Array;
  private records: Uint32Array;
  private sums: Uint32Array;
  /** Bytes of all bodies before this one. */
  private before: Uint32Array;
  private kinds: Uint16Array;

  constructor(room = ROOM) {
    this.room = room;
    this.offsets = new Uint32Array(room);
    this.headBytes = new Uint32Array(room);
    this.records = new Uint32Array(room);
    this.sums = new Uint32Array(room);
    this.before = new Uint32Array(room + 1);
    this.kinds = new Uint16Array(room);
  }

  /** Bytes of all bodies. */
  get bodyBytes(): number {
    return this.before[this.count];
  }

  push({ offset, kind, headBytes, bytes, records, sum }: Indexed): void {
    const i = this.count;
    if (i === this.room) this.grow();
    this.offsets[i] = offset;
    this.kinds[i] = kind;
    this.headBytes[i] = headBytes;
    this.records[i] = records;
    this.sums[i] = sum;
    this.before[i + 1] = this.before[i] + bytes;
    this.count++;
  }

  at(i: number): Indexed {
    return {
      offset: this.offsets[i],
      kind: this.kinds[i],
      headBytes: this.headBytes[i],
      bytes: this.before[i + 1] - this.before[i],
      records: this.records[i],
      sum: this.sums[i],
    };
  }

  /** Where the i-th ends in the file. */
  endOf(i: number): number {
    return this.offsets[i] + ENTRY_HEADER + this.headBytes[i] + this.before[i + 1] - this.before[i];
  }

  /** Bytes of the bodies from the i-th on. */
  bytesFrom(i: number): number {
    return this.before[this.count] - this.before[Math.min(i, this.count)];
  }

  /** Forgets the entries from the i-th on. */
  cut(i: number): void {
    this.count = i;
  }

  // --- in a sidecar ----------------------------------------------------------------------------------------------

  static bytesOf(count: number): number {
    return count * 22 + 4;
  }

  encode(): { bytes: Buffer; sum: number } {
    const { count } = this;
    const columns = [
      this.offsets.subarray(0, count),
      this.headBytes.subarray(0, count),
      this.records.subarray(0, count),
      this.sums.subarray(0, count),
      this.before.subarray(0, count + 1),
      this.kinds.subarray(0, count),
    ];
    const bytes = Buffer.concat(
      columns.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
    );
    return { bytes, sum: crc32(bytes) };
  }

  /** Undefined if the bytes are not what was written, or tell of places outside of the segment's `size` bytes. */
  static decode(bytes: Buffer, count: number, sum: number, size: number): SegmentIndex | undefined {
    if (bytes.length !== SegmentIndex.bytesOf(count) || crc32(bytes) !== sum) return undefined;
    const index = new SegmentIndex(count);
    let at = 0;
    const read = (column: Uint32Array | Uint16Array) => {
      const target = new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
      target.set(bytes.subarray(at, at + target.length));
      at += target.length;
    };
    read(index.offsets);
    read(index.headBytes);
    read(index.records);
    read(index.sums);
    read(index.before);
    read(index.kinds);
    index.count = count;
    for (let i = 0; i < count; i++) {
      if (index.before[i + 1] < index.before[i] || index.endOf(i) > size) return undefined;
    }
    return index;
  }

  private grow(): void {
    const room = Math.max(ROOM, this.room * 2);
    const moved = <A extends Uint32Array | Uint16Array>(from: A, to: A): A => {
      to.set(from);
      return to;
    };
    this.room = room;
    this.offsets = moved(this.offsets, new Uint32Array(room));
    this.headBytes = moved(this.headBytes, new Uint32Array(room));
    this.records = moved(this.records, new Uint32Array(room));
    this.sums = moved(this.sums, new Uint32Array(room));
    this.before = moved(this.before, new Uint32Array(room + 1));
    this.kinds = moved(this.kinds, new Uint16Array(room));
  }
}
