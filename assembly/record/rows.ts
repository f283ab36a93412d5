/** Rows of a column frame: what Parquet and Arrow inputs become (see host/kernel/columns.ts for the layout). */
import { DONE, FRAME_END, ROWS_GOOD } from "../abi";
import { begin, column, each } from "../generated";
import { partFull } from "../heap";
import { part } from "./csv";
import { problem } from "./problem";

const HEADER: usize = 8;
const DESCRIPTOR: usize = 32;

/** Maps the rows from `from` on of the column frame at `base`. Returns DONE, or PART with the next row in NEXT. */
export function mapColumnRows(base: usize, from: u32): u32 {
  const count = load<u32>(base);
  const fields = load<u32>(base, 4);
  let good = load<u32>(ROWS_GOOD);
  for (let row = from; row < count; row++) {
    begin();
    let reason: u32 = 0;
    for (let field: u32 = 0; field < fields; field++) {
      const why = column(field, base + HEADER + <usize>field * DESCRIPTOR, row);
      if (why) {
        problem(row, why, field, 0);
        reason = why;
        break;
      }
    }
    if (!reason) {
      good++;
      each();
    }
    __heap_release();
    if (partFull) {
      store<u32>(ROWS_GOOD, good);
      return part(row + 1);
    }
  }
  store<u32>(ROWS_GOOD, good);
  store<u32>(FRAME_END, count);
  return DONE;
}
