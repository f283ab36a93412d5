/** The rows of a dataset as a visiting kernel meets them: those that were there when the visit began, chunk by chunk, where they lie. */
import { VISIT_ROWS } from "../core/limits.ts";
import { type Bounds, type Chunk, Rows, type RowSet, type VisitField } from "../kernel/rows.ts";
import { VisitColumns } from "./visit-columns.ts";
import type { VisitFrame, VisitSupply } from "./visit-supply.ts";

interface ChunkFrame {
  partition: number;
  index: number;
  /** Of each, the rows behind the first `from`. */
  chunks: { chunk: Chunk; from: number }[];
}

export class RowsSupply implements VisitSupply {
  dropped = 0;
  readonly isFleeting = false;
  private readonly memory: WebAssembly.Memory;
  private readonly rows: Rows;
  private readonly columns: VisitColumns;
  private readonly from: number;
  private readonly to: number;
  private readonly bounds: Bounds[];
  /** What was there when it began, or went on, by address. */
  private readonly met = new Map<number, Chunk>();
  private frames: ChunkFrame[];
  private at = 0;

  /** The rows that are there now, in partitions [from, to). Throws `column-missing` or `column-type` where a field does not fit. */
  constructor(
    memory: WebAssembly.Memory,
    dataset: RowSet,
    fields: VisitField[],
    from: number,
    to: number,
    bounds: Bounds[] = [],
  ) {
    this.memory = memory;
    this.rows = new Rows(memory, dataset);
    this.columns = new VisitColumns(`the dataset ${dataset.name}`, this.rows, fields);
    this.from = from;
    this.to = to;
    this.bounds = bounds;
    this.frames = [...this.fresh()];
  }

  get count(): number {
    return this.rows.count;
  }

  /** It cannot if rows are gone by now that it was to meet. */
  more(): boolean {
    let still = 0;
    for (let partition = this.from; partition < this.to; partition++)
      for (const { address, first } of this.rows.chunks(partition))
        if (this.met.get(address)?.first === first) still++;
    if (still < this.met.size) return false;
    this.frames = [...this.fresh()];
    this.at = 0;
    return true;
  }

  /** It knows all chunks. Those that are gone are missed when they would be laid out. */
  find(): boolean {
    return true;
  }

  next(): VisitFrame | undefined {
    const frame = this.frames[this.at];
    if (!frame) return undefined;
    this.at++;
    return { ...frame, layOut: () => this.layOut(frame) };
  }

  private *layOut({ partition, chunks }: ChunkFrame): Generator<boolean> {
    const there = new Map(this.rows.chunks(partition).map(({ address, first }) => [address, first]));
    for (const { chunk, from: known } of chunks) {
      if (there.get(chunk.address) !== chunk.first) {
        this.dropped += chunk.rows - known;
        continue;
      }
      for (let from = known; from < chunk.rows; from += this.columns.step) {
        const bytes = new Uint8Array(this.memory.buffer);
        this.columns.layOut(bytes, chunk, from, Math.min(from + this.columns.step, chunk.rows));
        yield false;
      }
    }
  }

  /** Frames of the rows that were not met before: chunks of each partition, as many together as a visit frame may have. */
  private *fresh(): Generator<ChunkFrame> {
    for (let partition = this.from; partition < this.to; partition++) {
      let frame: ChunkFrame = { partition, index: 0, chunks: [] };
      let count = 0;
      for (const chunk of this.rows.chunks(partition)) {
        const known = this.met.get(chunk.address)?.rows ?? 0;
        this.met.set(chunk.address, chunk);
        if (known === chunk.rows || !this.rows.mayHold(chunk, this.bounds)) continue;
        frame.chunks.push({ chunk, from: known });
        count += chunk.rows - known;
        if (count < VISIT_ROWS) continue;
        yield frame;
        frame = { partition, index: frame.index + 1, chunks: [] };
        count = 0;
      }
      if (frame.chunks.length) yield frame;
    }
  }
}
