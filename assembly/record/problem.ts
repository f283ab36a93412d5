/** Counts records and lists the first that do not fit, in the control block. */
import { PROBLEMS, PROBLEMS_MAX, PROBLEM_COUNT, ROWS_BAD } from "../abi";

/** A record at `row` (an address in the input window) is bad. `detail` is what the reason's sentence needs. */
export function problem(row: usize, reason: u32, field: u32, detail: u32): void {
  store<u32>(ROWS_BAD, load<u32>(ROWS_BAD) + 1);
  const listed = load<u32>(PROBLEM_COUNT);
  if (listed >= PROBLEMS_MAX) return;
  const at = PROBLEMS + ((<usize>listed) << 4);
  store<u32>(at, <u32>row);
  store<u32>(at, reason, 4);
  store<u32>(at, field, 8);
  store<u32>(at, detail, 12);
  store<u32>(PROBLEM_COUNT, listed + 1);
}
