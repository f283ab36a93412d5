/**
 * Rows of a column frame: what Parquet and Arrow inputs become, and the rows of datasets (see host/kernel/columns.ts for the layout).
 * And rows that another kernel has decoded (decoded.ts).
 */
import { DONE, FRAME_END, ROWS_GOOD } from "../abi";
import { begin, column, each, isExact, mapDecodedRows, mapExactRows } from "../generated";
import { partFull } from "../heap";
import { columnAt, columnRows } from "./columns";
import { part } from "./csv";
import { problem } from "./problem";

/** Maps the rows from `from` on of the column frame at `base`. Returns DONE, or PART with the next row in NEXT. */
export function mapColumnRows(base: usize, from: u32): u32 {
  const count = columnRows(base);
  const good = load<u32>(ROWS_GOOD);
  let next: u32;
  if (isExact(base)) {
    next = mapExactRows(base, from, count);
    store<u32>(ROWS_GOOD, good + (next - from));
  } else next = mapAnyRows(base, from, count);
  if (partFull) return part(next);
  store<u32>(FRAME_END, count);
  return DONE;
}

/** Whatever its columns are, and each record checked. Returns the row behind the last one that was mapped. */
function mapAnyRows(base: usize, from: u32, count: u32): u32 {
  const fields = load<u32>(base, 4);
  let good = load<u32>(ROWS_GOOD);
  let row = from;
  while (row < count) {
    begin();
    let reason: u32 = 0;
    for (let field: u32 = 0; field < fields; field++) {
      const why = column(field, columnAt(base, field), row);
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
    row++;
    if (partFull) break;
  }
  store<u32>(ROWS_GOOD, good);
  return row;
}

/** Maps the decoded rows [from, to), of `stride` bytes each. Returns DONE, or PART with the next row in NEXT. */
export function mapDecoded(from: u32, to: u32, stride: usize): u32 {
  const good = load<u32>(ROWS_GOOD);
  const next = mapDecodedRows(from, to, stride);
  store<u32>(ROWS_GOOD, good + (next - from));
  return partFull ? part(next) : DONE;
}
