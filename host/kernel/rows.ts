/**
 * The rows of a dataset as they lie in an arena: assembly/state/chunks.ts draws homes, lists and chunks. To be read between two
 * frames; whatever is read holds until the next one.
 */
import { type FieldWish, KIND } from "./columns.ts";
import * as map from "./memory-map.ts";

/** A column of a dataset. */
export interface RowField {
  /** The name by which a visiting kernel's field finds it: that in the input of the kernel that keeps it. */
  name: string;
  /** As the author wrote it, without `Optional`. */
  type: string;
  optional: boolean;
  /** Kind of its column (columns.ts), and bytes of a value. */
  kind: number;
  width: number;
}

/** A field of the record that a visiting kernel takes: `written` is its type as the author wrote it, `type` what it asks of a file. */
export interface VisitField extends FieldWish {
  written: string;
}

/** A dataset of the kernel whose arena it is. */
export interface RowSet {
  /** Its place among the kernel's datasets. */
  number: number;
  name: string;
  fields: RowField[];
}

export interface Chunk {
  address: number;
  /** Rows of the dataset before the frame that began it: tells it from one that takes its address later. */
  first: bigint;
  rows: number;
}

/** Bounds of a field, both inclusive. Times in ms, decimals in millionths. */
export interface Bounds {
  field: string;
  least?: number | bigint;
  greatest?: number | bigint;
}

const LIST_BYTES = 16;
const COLUMN_BYTES = 48;
const COLUMN_VIEWS = 16 + 8;
const COLUMN_TEXTS = 16 + 16;
const CHUNK_HEADER = 32;
const CHUNK_COLUMN = 24;

export class Rows {
  readonly fields: RowField[];
  private readonly memory: WebAssembly.Memory;
  private readonly home: number;
  private words: DataView;

  constructor(memory: WebAssembly.Memory, { number, fields }: RowSet) {
    this.memory = memory;
    this.home = map.DATASETS + number * map.DATASET_BYTES;
    this.fields = fields;
    this.words = new DataView(memory.buffer);
  }

  private u32(address: number): number {
    if (this.words.buffer !== this.memory.buffer) this.words = new DataView(this.memory.buffer);
    return this.words.getUint32(address, true);
  }

  /** Rows that are here. */
  get count(): number {
    return this.u32(this.home + 12);
  }

  /** The chunks of a partition, in the order in which their rows came. */
  chunks(partition: number): Chunk[] {
    const chunks: Chunk[] = [];
    const lists = this.u32(this.home);
    if (!lists) return chunks;
    for (let address = this.u32(lists + partition * LIST_BYTES); address !== 0; address = this.u32(address)) {
      const rows = this.u32(address + 4);
      chunks.push({ address, first: this.words.getBigUint64(address + 24, true), rows });
    }
    return chunks;
  }

  /** Addresses of a field's values in a chunk, of their validity (0 if none may lack one), and of the views of texts, and how many these are. */
  column(
    { address }: Chunk,
    field: number,
  ): { values: number; validity: number; views: number; texts: number } {
    const place = address + CHUNK_HEADER + field * CHUNK_COLUMN;
    const column = this.u32(this.home + 4) + field * COLUMN_BYTES;
    const isText = this.fields[field].kind === KIND.codes;
    return {
      values: this.u32(place),
      validity: this.u32(place + 4),
      views: isText ? this.u32(column + COLUMN_VIEWS) : 0,
      texts: isText ? this.u32(column + COLUMN_TEXTS) : 0,
    };
  }

  /** The least and the greatest value of a field in a chunk; undefined if it has none, or is of no order. */
  boundsOf({ address }: Chunk, field: number): [number | bigint, number | bigint] | undefined {
    const at = address + CHUNK_HEADER + field * CHUNK_COLUMN + 8;
    void this.u32(at);
    const { kind, type } = this.fields[field];
    if (kind === KIND.codes) return undefined;
    const read = (place: number): number | bigint => {
      if (kind === KIND.f64 || kind === KIND.f32) return this.words.getFloat64(place, true);
      return type.startsWith("u") || kind === KIND.bool
        ? this.words.getBigUint64(place, true)
        : this.words.getBigInt64(place, true);
    };
    const bounds: [number | bigint, number | bigint] = [read(at), read(at + 8)];
    return bounds[0] <= bounds[1] ? bounds : undefined;
  }

  /** Whether a row of a chunk may lie within all bounds. */
  mayHold(chunk: Chunk, bounds: Bounds[]): boolean {
    return bounds.every(({ field, least, greatest }) => {
      const found = this.fields.findIndex(({ name }) => name === field);
      if (found < 0 || this.fields[found].kind === KIND.codes) return true;
      const has = this.boundsOf(chunk, found);
      if (!has) return false;
      return (least === undefined || has[1] >= least) && (greatest === undefined || has[0] <= greatest);
    });
  }
}
