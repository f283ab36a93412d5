/**
 * Dataset: rows as kernels keep them. While a frame is mapped they are held in columns, in blocks of the frame heap; then they are
 * written out as a section for the owner of the frame's partition. What becomes of them there is in chunks.ts.
 *
 *   block: { u32 next block, u32 rows, u64 } then for each column ROWS_PER_BLOCK values, behind as many bytes of validity if rows may
 *          lack one; the generated `__keep` of the record's class knows where each is
 */
import { DATASETS, DATASET_BYTES, OUTPUT_END, OWNERS } from "../abi";
import { setLasting, takeFrame, visiting } from "../heap";
import { CODES, shiftOf } from "../record/kinds";
import {
  COLUMN_BYTES,
  NEVER,
  RowHome,
  SECTION_HEADER,
  appendSection,
  chunkRowsFor,
  columnAt,
  exportRows,
  openColumns,
  putHeader,
  putText,
  putTextsStart,
  removeRows,
  textsOf,
} from "./chunks";

/** Rows of a block; a constant of the layout that is generated. */
const BLOCK_ROWS: u32 = 1024;
const BLOCK_HEADER: usize = 16;
/** Frames that follow one another and go to the same partition, as a power of two: so that chunks hold rows from near one another. */
const RUN_FRAMES: u32 = 3;

let datasets: u32 = 0;
let run: u32 = 0;
let partition: u32 = 0;

/** The frame that is mapped. Runs of frames take turns over the partitions in an order that fills any share of them evenly. */
export function rowsOfFrame(frame: u32): void {
  run = frame >> RUN_FRAMES;
  partition = 0;
  for (let bit: u32 = 0; bit < 8; bit++) partition |= ((run >> bit) & 1) << (7 - bit);
}

export class Dataset<T> {
  private home: RowHome = changetype<RowHome>(0);
  private number: u32 = 0;
  private keepRows: u64 = 0;
  private keepAge: i64 = 0;
  private chunkRows: u32 = 0;
  // The frame's rows.
  private columns: usize = 0;
  private first: usize = 0;
  private last: usize = 0;
  private row: u32 = BLOCK_ROWS;
  private full: u32 = 0;

  /**
   * Rows of a `@record` class by the name under which other kernels find them. Declare it once, as a constant at the top of the kernel.
   * Of all rows at least the last `rows` are kept, and those not older than `age` ms, compared with the newest; 0: all.
   */
  constructor(name: string, rows: i64 = 0, age: i64 = 0) {
    if (rows < 0 || age < 0) throw new Error("a Dataset keeps a number of rows, and an age in ms, or 0 for all");
    const record = changetype<T>(0);
    this.number = datasets++;
    this.keepRows = rows;
    this.keepAge = age;
    this.chunkRows = chunkRowsFor(rows);
    this.columns = heap.alloc(<usize>record.__fields() * COLUMN_BYTES);
    if (!visiting()) this.open();
  }

  private open(): void {
    const record = changetype<T>(0);
    const home = changetype<RowHome>(DATASETS + <usize>this.number * DATASET_BYTES);
    this.home = home;
    if (!home.lists) {
      setLasting(true);
      home.open(record.__fields(), record.__kinds());
      setLasting(false);
    } else if (!home.fits(record.__fields(), record.__kinds())) throw new Error("the rows are of another class");
  }

  /** Keeps a record as a row. */
  @inline add(record: T): void {
    if (this.row == BLOCK_ROWS) this.addBlock();
    record.__keep(this.last, this.row, this.columns);
    this.row++;
  }

  private addBlock(): void {
    const record = changetype<T>(0);
    const block = takeFrame(BLOCK_HEADER + <usize>BLOCK_ROWS * record.__width(), true);
    store<u32>(block, 0);
    if (this.last) {
      store<u32>(this.last, <u32>block);
      this.full += BLOCK_ROWS;
    } else {
      this.first = block;
      openColumns(this.columns, record.__fields(), record.__kinds());
    }
    this.last = block;
    this.row = 0;
  }

  /** Forgets the frame's rows; the frame heap was released before. */
  reset(): void {
    this.first = 0;
    this.last = 0;
    this.row = BLOCK_ROWS;
    this.full = 0;
  }

  /** Writes the section of one owner at `o`; returns its end. All owners are told how many rows there are. */
  encode(owner: u32, o: usize): usize {
    if (!this.last) return o;
    const rows = this.full + this.row;
    const own = <u32>load<u8>(OWNERS + <usize>partition) == owner;
    if (o + SECTION_HEADER > OUTPUT_END) sectionFull();
    o = putHeader(o, this.number, own ? rows : 0, partition, 0, run, rows, this.newest(), 0, 0);
    return own ? this.encodeColumns(rows, o) : o;
  }

  private newest(): i64 {
    const record = changetype<T>(0);
    if (record.__time() < 0) return NEVER;
    let newest = NEVER;
    for (let block = this.first; block; block = load<u32>(block)) {
      for (let row: u32 = 0, rows = this.rowsOf(block); row < rows; row++)
        newest = max(newest, load<i64>(block + record.__time() + ((<usize>row) << 3)));
    }
    return newest;
  }


  @inline private rowsOf(block: usize): u32 {
    return block == this.last ? this.row : BLOCK_ROWS;
  }

  private encodeColumns(rows: u32, o: usize): usize {
    let place = BLOCK_HEADER;
    for (let i: u32 = 0; i < changetype<T>(0).__fields(); i++) {
      const column = columnAt(this.columns, i);
      const kind = load<u32>(column);
      if (o + ((<usize>rows) << 4) > OUTPUT_END) sectionFull();
      if (load<u32>(column, 4)) {
        o = this.encodeValues(place, 0, o);
        place += BLOCK_ROWS;
      }
      if (kind == CODES) {
        const texts = textsOf(column);
        const start = o;
        if (o + 8 + ((<usize>texts.count) << 2) > OUTPUT_END) sectionFull();
        o = putTextsStart(o, texts.count);
        for (let code: u32 = 0; code < texts.count; code++)
          o = putText(start, code, <usize>texts.views + ((<usize>code) << 3), o);
        if (o + ((<usize>rows) << 2) > OUTPUT_END) sectionFull();
      }
      o = this.encodeValues(place, shiftOf(kind), o);
      place += (<usize>BLOCK_ROWS) << shiftOf(kind);
    }
    return o;
  }

  private encodeValues(place: usize, shift: usize, o: usize): usize {
    for (let block = this.first; block; block = load<u32>(block)) {
      const bytes = (<usize>this.rowsOf(block)) << shift;
      memory.copy(o, block + place, bytes);
      o += bytes;
    }
    return o;
  }

  /** Takes in a section, behind its first 8 bytes, of what ends at `limit`; returns its end. */
  apply(p: usize, rows: u32, limit: usize): usize {
    const age = this.keepAge;
    const field = changetype<T>(0).__timeField();
    return appendSection(this.number, this.home, p, rows, limit, this.chunkRows, this.keepRows, age, field);
  }

  /** See exportRows. */
  exportStep(to: u32): usize {
    return exportRows(this.number, this.home, to);
  }

  /** See removeRows. */
  removeStep(to: u32): bool {
    return removeRows(this.home, to);
  }
}

function sectionFull(): void {
  throw new Error("the rows of one frame are larger than the output window (16 MiB)");
}
